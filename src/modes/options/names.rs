//! The Compose specification's names for what the API calls otherwise, and the form of values that are no plain text.

use serde_json::Value;

use crate::modes::options::values;

/// What becomes of a value.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// Members of an object one by one, items of a list one by one, anything else as it is.
    Plain,
    /// An object whose keys are the user's own.
    Keys,
    /// A list of objects, distinguished by that member.
    By(&'static str),
    /// One value.
    Text(fn(&Value) -> String),
    /// A value for each item of a list.
    Each(fn(&Value) -> String),
    /// Several values.
    Texts(fn(&Value) -> Vec<String>),
}

/// A member of a request that has another name than the API's in snake case, or is more than plain text.
pub(super) struct Named {
    /// The end of its path.
    path: &'static str,
    /// Its name. One that begins with a dot follows its parent's; a dot alone is the parent's own name.
    name: &'static str,
    pub(super) form: Form,
}

const fn plain(path: &'static str, name: &'static str) -> Named {
    Named { path, name, form: Form::Plain }
}

const fn keys(path: &'static str, name: &'static str) -> Named {
    Named { path, name, form: Form::Keys }
}

const fn text(path: &'static str, name: &'static str, text: fn(&Value) -> String) -> Named {
    Named { path, name, form: Form::Text(text) }
}

const fn each(path: &'static str, name: &'static str, text: fn(&Value) -> String) -> Named {
    Named { path, name, form: Form::Each(text) }
}

const fn texts(path: &'static str, name: &'static str, texts: fn(&Value) -> Vec<String>) -> Named {
    Named { path, name, form: Form::Texts(texts) }
}

/// The first whose path fits counts. Source: Docker Engine API 1.53, Compose specification.
const NAMED: &[Named] = &[
    // A container's create request.
    plain("container.HostConfig", ""),
    plain("NetworkingConfig", ""),
    keys("EndpointsConfig", "networks"),
    plain("IPAMConfig", "."),
    plain("IPv4Address", ".ipv4_address"),
    plain("IPv6Address", ".ipv6_address"),
    plain("LinkLocalIPs", ".link_local_ips"),
    text("Cmd", "command", values::words),
    texts("ExposedPorts", "expose", values::keys),
    texts("container.Volumes", "volumes", values::keys),
    texts("Tmpfs", "tmpfs", values::keys),
    texts("PortBindings", "ports", values::publications),
    plain("Binds", "volumes"),
    plain("LogConfig", "logging"),
    plain("LogConfig.Type", ".driver"),
    keys("LogConfig.Config", ".options"),
    text("HostConfig.RestartPolicy", "restart", values::restart),
    text("StopTimeout", "stop_grace_period", values::seconds),
    plain("OpenStdin", "stdin_open"),
    plain("ReadonlyRootfs", "read_only"),
    plain("DnsOptions", "dns_opt"),
    plain("IpcMode", "ipc"),
    plain("PidMode", "pid"),
    plain("UTSMode", "uts"),
    plain("CgroupnsMode", "cgroup"),
    text("HostConfig.Memory", "mem_limit", values::bytes),
    text("MemoryReservation", "mem_reservation", values::bytes),
    text("MemorySwap", "memswap_limit", values::bytes),
    plain("MemorySwappiness", "mem_swappiness"),
    text("ShmSize", "shm_size", values::bytes),
    text("NanoCpus", "cpus", values::cpus),
    plain("CpuRealtimeRuntime", "cpu_rt_runtime"),
    plain("CpuRealtimePeriod", "cpu_rt_period"),
    plain("CpusetCpus", "cpuset"),
    plain("BlkioWeight", "blkio_config.weight"),
    plain("BlkioWeightDevice", "blkio_config.weight_device"),
    plain("BlkioDeviceReadBps", "blkio_config.device_read_bps"),
    plain("BlkioDeviceReadIOps", "blkio_config.device_read_iops"),
    plain("BlkioDeviceWriteBps", "blkio_config.device_write_bps"),
    plain("BlkioDeviceWriteIOps", "blkio_config.device_write_iops"),
    plain("DeviceRequests", "gpus"),
    each("SecurityOpt", "security_opt", values::security_opt),
    each("Devices", "devices", values::device),
    // A service's spec.
    keys("service.Labels", "deploy.labels"),
    plain("service.Mode", "deploy"),
    plain("Mode.Replicated", "."),
    text("Mode.Global", ".mode", |_| "global".to_owned()),
    plain("UpdateConfig", "deploy.update_config"),
    plain("RollbackConfig", "deploy.rollback_config"),
    plain("EndpointSpec", "deploy"),
    plain("EndpointSpec.Mode", ".endpoint_mode"),
    each("EndpointSpec.Ports", "ports", values::service_port),
    plain("service.TaskTemplate", "deploy"),
    plain("TaskTemplate.ContainerSpec", ""),
    Named { path: "TaskTemplate.Networks", name: "networks", form: Form::By("Target") },
    plain("Placement.MaxReplicas", ".max_replicas_per_node"),
    each("Placement.Platforms", "platform", values::platform),
    each("Placement.Preferences", ".preferences", values::preference),
    text("NanoCPUs", ".cpus", values::cpus),
    text("MemoryBytes", ".memory", values::bytes),
    each("GenericResources", ".generic_resources", values::generic_resource),
    plain("LogDriver", "logging"),
    plain("LogDriver.Name", ".driver"),
    text("ContainerSpec.Args", "command", values::words),
    text("ContainerSpec.Command", "entrypoint", values::words),
    plain("Dir", "working_dir"),
    plain("Groups", "group_add"),
    plain("Hosts", "extra_hosts"),
    plain("DNSConfig", ""),
    plain("DNSConfig.Nameservers", "dns"),
    plain("DNSConfig.Search", "dns_search"),
    plain("DNSConfig.Options", "dns_opt"),
    plain("CapabilityAdd", "cap_add"),
    plain("CapabilityDrop", "cap_drop"),
    each("Secrets", "secrets", values::file),
    each("Configs", "configs", values::file),
    text("StopGracePeriod", "stop_grace_period", values::nanoseconds),
    text("Delay", ".delay", values::nanoseconds),
    text("Monitor", ".monitor", values::nanoseconds),
    text("Window", ".window", values::nanoseconds),
    // Both.
    text("Entrypoint", "entrypoint", values::words),
    plain("Mounts", "volumes"),
    Named { path: "Ulimits", name: "ulimits", form: Form::By("Name") },
    text("Healthcheck.Test", ".test", values::words),
    text("Interval", ".interval", values::nanoseconds),
    text("Timeout", ".timeout", values::nanoseconds),
    text("StartPeriod", ".start_period", values::nanoseconds),
    text("StartInterval", ".start_interval", values::nanoseconds),
    keys("Labels", ".labels"),
    keys("Options", ".options"),
    keys("DriverOpts", ".driver_opts"),
    keys("Sysctls", "sysctls"),
    keys("Annotations", ".annotations"),
    keys("StorageOpt", ".storage_opt"),
];

/// What is known of the member at `path`.
pub(super) fn named(path: &str) -> Option<&'static Named> {
    NAMED.iter().find(|named| {
        let before = path.strip_suffix(named.path);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

/// The name of the member `key` at `path`, of the parent that is called `parent`.
pub(super) fn member(path: &str, parent: &str, key: &str) -> String {
    match named(path).map(|named| named.name) {
        None => below(parent, &snake_case(key)),
        Some(".") => parent.to_owned(),
        Some(name) => match name.strip_prefix('.') {
            Some(name) => below(parent, name),
            None => name.to_owned(),
        },
    }
}

/// `parent.name`; at the top the name alone.
pub(super) fn below(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// `DnsSearch` as `dns_search`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let mut follows_small = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && follows_small {
            snake.push('_');
        }
        follows_small = !letter.is_ascii_uppercase();
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
