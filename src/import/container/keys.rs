//! Members of a container's request that become a key as they are.

/// The labels that Compose, Swarm and balehook give, by their beginnings.
pub(super) const LABELS_OF_OTHERS: [(&str, &str); 4] = [
    ("com.docker.compose.", "Compose knows its containers by it"),
    ("com.docker.swarm.", "a swarm knows its tasks by it"),
    ("com.docker.stack.", "a swarm knows its stacks by it"),
    ("balehook.", "balehook sets it itself"),
];

/// Members of the request, and the keys that they become as they are.
pub(super) const AS_THEY_ARE: [(&str, &str); 31] = [
    ("/WorkingDir", "working_dir"),
    ("/User", "user"),
    ("/Domainname", "domainname"),
    ("/StopSignal", "stop_signal"),
    ("/Tty", "tty"),
    ("/OpenStdin", "stdin_open"),
    ("/HostConfig/ReadonlyRootfs", "read_only"),
    ("/HostConfig/CapAdd", "cap_add"),
    ("/HostConfig/CapDrop", "cap_drop"),
    ("/HostConfig/GroupAdd", "group_add"),
    ("/HostConfig/Sysctls", "sysctls"),
    ("/HostConfig/MemoryReservation", "mem_reservation"),
    ("/HostConfig/MemorySwap", "memswap_limit"),
    ("/HostConfig/Memory", "mem_limit"),
    ("/HostConfig/PidsLimit", "pids_limit"),
    ("/HostConfig/ExtraHosts", "extra_hosts"),
    ("/HostConfig/Dns", "dns"),
    ("/HostConfig/DnsSearch", "dns_search"),
    ("/HostConfig/DnsOptions", "dns_opt"),
    ("/HostConfig/Annotations", "annotations"),
    ("/HostConfig/Init", "init"),
    ("/HostConfig/Privileged", "privileged"),
    ("/HostConfig/SecurityOpt", "security_opt"),
    ("/HostConfig/PidMode", "pid"),
    ("/HostConfig/UTSMode", "uts"),
    ("/HostConfig/UsernsMode", "userns_mode"),
    ("/HostConfig/StorageOpt", "storage_opt"),
    ("/HostConfig/OomKillDisable", "oom_kill_disable"),
    ("/HostConfig/OomScoreAdj", "oom_score_adj"),
    ("/HostConfig/CgroupParent", "cgroup_parent"),
    ("/HostConfig/DeviceCgroupRules", "device_cgroup_rules"),
];

/// The same, of limits that are numbers.
pub(super) const NUMBERS: [(&str, &str); 6] = [
    ("/HostConfig/CpuShares", "cpu_shares"),
    ("/HostConfig/CpuPeriod", "cpu_period"),
    ("/HostConfig/CpuQuota", "cpu_quota"),
    ("/HostConfig/CpuRealtimePeriod", "cpu_rt_period"),
    ("/HostConfig/CpuRealtimeRuntime", "cpu_rt_runtime"),
    ("/HostConfig/CpusetCpus", "cpuset"),
];
