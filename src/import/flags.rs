//! Every option of `docker run`, `docker create` and `podman run`: whether it has a value, and what becomes of it.
//!
//! Source: `docker run --help` of Docker 29.1; podman-run(1) of Podman 5.6.

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Becomes {
    /// A key with one text; of several the last counts.
    Text(&'static str),
    /// A key that is true or false.
    Switch(&'static str),
    /// A key with a list.
    List(&'static str),
    /// A key with names and values: `name=value`.
    Pairs(&'static str),
    /// More than that.
    Special(Special),
    /// Nothing: why, and what to write instead.
    Nothing(&'static str, &'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    AliasOfFirst,
    AddressOfFirst(&'static str),
    BlockDevice(&'static str),
    BlockWeight,
    BlockWeightDevice,
    EnvFile,
    Gpus,
    Health(&'static str),
    LogDriver,
    LogOption,
    Mount,
    Name,
    Network,
    NoHealthCheck,
    NoSwappiness,
    Port,
    StopTimeout,
    Ulimit,
    Variable,
    Volume,
}

/// An option.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    /// Without the dashes; the first is the one that is documented.
    pub(super) names: &'static [&'static str],
    pub(super) has_value: bool,
    pub(super) becomes: Becomes,
}

use Becomes::{List, Nothing, Pairs, Switch, Text};
use Special::*;

const fn value(names: &'static [&'static str], becomes: Becomes) -> Flag {
    Flag { names, has_value: true, becomes }
}

const fn switch(names: &'static [&'static str], becomes: Becomes) -> Flag {
    Flag { names, has_value: false, becomes }
}

const fn special(names: &'static [&'static str], what: Special) -> Flag {
    value(names, Becomes::Special(what))
}

const WINDOWS: &str = "it is for Windows only";
const BY_HAND: &str = "it is for the person who runs the line by hand";
const PODMAN: &str = "it is an option of Podman alone";
const NO_KEY: &str = "x-balehook has no key for it";
const BY_VOLUME: &str = "create the volume on the host with `docker volume create --driver`, and name it in `volumes:`";
const BY_NETWORKS: &str = "put both containers on one of `networks:`; they find each other by name";
const BY_HEALTH: &str = "write `health:` of x-balehook: it says when a deployment has failed";

/// `docker run`.
pub(super) const DOCKER: &[Flag] = &[
    value(&["add-host"], List("extra_hosts")),
    value(&["annotation"], Pairs("annotations")),
    value(&["attach", "a"], Nothing(BY_HAND, "")),
    special(&["blkio-weight"], BlockWeight),
    special(&["blkio-weight-device"], BlockWeightDevice),
    value(&["cap-add"], List("cap_add")),
    value(&["cap-drop"], List("cap_drop")),
    value(&["cgroup-parent"], Text("cgroup_parent")),
    value(&["cgroupns"], Text("cgroup")),
    value(&["cidfile"], Nothing(BY_HAND, "the container has the deployment's name: `docker inspect NAME`")),
    value(&["cpu-count"], Nothing(WINDOWS, "use `cpus`")),
    value(&["cpu-percent"], Nothing(WINDOWS, "use `cpus`")),
    value(&["cpu-period"], Text("cpu_period")),
    value(&["cpu-quota"], Text("cpu_quota")),
    value(&["cpu-rt-period"], Text("cpu_rt_period")),
    value(&["cpu-rt-runtime"], Text("cpu_rt_runtime")),
    value(&["cpu-shares", "c"], Text("cpu_shares")),
    value(&["cpus"], Text("cpus")),
    value(&["cpuset-cpus"], Text("cpuset")),
    value(&["cpuset-mems"], Nothing(NO_KEY, "")),
    switch(&["detach", "d"], Nothing("a deployment always runs it in the background", "")),
    value(&["detach-keys"], Nothing(BY_HAND, "")),
    value(&["device"], List("devices")),
    value(&["device-cgroup-rule"], List("device_cgroup_rules")),
    special(&["device-read-bps"], BlockDevice("device_read_bps")),
    special(&["device-read-iops"], BlockDevice("device_read_iops")),
    special(&["device-write-bps"], BlockDevice("device_write_bps")),
    special(&["device-write-iops"], BlockDevice("device_write_iops")),
    switch(&["disable-content-trust"], Nothing("content trust is not checked", "name the image by its digest")),
    value(&["dns"], List("dns")),
    value(&["dns-option", "dns-opt"], List("dns_opt")),
    value(&["dns-search"], List("dns_search")),
    value(&["domainname"], Text("domainname")),
    value(&["entrypoint"], List("entrypoint")),
    special(&["env", "e"], Variable),
    special(&["env-file"], EnvFile),
    value(&["expose"], List("expose")),
    special(&["gpus"], Gpus),
    value(&["group-add"], List("group_add")),
    special(&["health-cmd"], Health("test")),
    special(&["health-interval"], Health("interval")),
    special(&["health-retries"], Health("retries")),
    special(&["health-start-interval"], Health("start_interval")),
    special(&["health-start-period"], Health("start_period")),
    special(&["health-timeout"], Health("timeout")),
    switch(&["help"], Nothing(BY_HAND, "")),
    value(&["hostname", "h"], Text("hostname")),
    switch(&["init"], Switch("init")),
    switch(&["interactive", "i"], Switch("stdin_open")),
    value(&["io-maxbandwidth"], Nothing(WINDOWS, "use `blkio_config`")),
    value(&["io-maxiops"], Nothing(WINDOWS, "use `blkio_config`")),
    special(&["ip"], AddressOfFirst("ipv4_address")),
    special(&["ip6"], AddressOfFirst("ipv6_address")),
    value(&["ipc"], Text("ipc")),
    value(&["isolation"], Nothing(WINDOWS, "")),
    value(&["kernel-memory"], Nothing("kernels and engines of today have no such limit", "use `mem_limit`")),
    value(&["label", "l"], Pairs("labels")),
    value(&["label-file"], Nothing("its file is not read", "write its lines as `labels:`")),
    value(&["link"], Nothing("links are of the engine's old default network", BY_NETWORKS)),
    special(&["link-local-ip"], AddressOfFirst("link_local_ips")),
    special(&["log-driver"], LogDriver),
    special(&["log-opt"], LogOption),
    value(&["mac-address"], Text("mac_address")),
    value(&["memory", "m"], Text("mem_limit")),
    value(&["memory-reservation"], Text("mem_reservation")),
    value(&["memory-swap"], Text("memswap_limit")),
    special(&["memory-swappiness"], NoSwappiness),
    special(&["mount"], Mount),
    special(&["name"], Name),
    special(&["network", "net"], Network),
    special(&["network-alias", "net-alias"], AliasOfFirst),
    switch(&["no-healthcheck"], Becomes::Special(NoHealthCheck)),
    switch(&["oom-kill-disable"], Switch("oom_kill_disable")),
    value(&["oom-score-adj"], Text("oom_score_adj")),
    value(&["pid"], Text("pid")),
    value(&["pids-limit"], Text("pids_limit")),
    value(&["platform"], Text("platform")),
    switch(&["privileged"], Switch("privileged")),
    special(&["publish", "p"], Port),
    switch(
        &["publish-all", "P"],
        Nothing(
            "it publishes what the image exposes, on ports that nobody chose",
            "write each one: `ports: [\"80:8080\"]`",
        ),
    ),
    value(
        &["pull"],
        Nothing(
            "a deployment always resolves the tag",
            "for the engine's own image write `image: {reference: …, pull: missing}`",
        ),
    ),
    switch(&["quiet", "q"], Nothing(BY_HAND, "")),
    switch(&["read-only"], Switch("read_only")),
    value(&["restart"], Text("restart")),
    switch(&["rm"], Nothing("a deployed container stays until the next one is healthy, and is removed then", "")),
    value(&["runtime"], Text("runtime")),
    value(&["security-opt"], List("security_opt")),
    value(&["shm-size"], Text("shm_size")),
    switch(&["sig-proxy"], Nothing(BY_HAND, "")),
    value(&["stop-signal"], Text("stop_signal")),
    special(&["stop-timeout"], StopTimeout),
    value(&["storage-opt"], Pairs("storage_opt")),
    value(&["sysctl"], Pairs("sysctls")),
    value(&["tmpfs"], List("tmpfs")),
    switch(&["tty", "t"], Switch("tty")),
    special(&["ulimit"], Ulimit),
    switch(
        &["use-api-socket"],
        Nothing(
            "the container would hold the engine's socket and your credentials",
            "mount `/var/run/docker.sock` in `volumes:` where it must be",
        ),
    ),
    value(&["user", "u"], Text("user")),
    value(&["userns"], Text("userns_mode")),
    value(&["uts"], Text("uts")),
    special(&["volume", "v"], Volume),
    value(&["volume-driver"], Nothing("a deployment creates no volumes of a driver", BY_VOLUME)),
    value(&["volumes-from"], Nothing("the other container may be gone", "mount the same named volume in `volumes:`")),
    value(&["workdir", "w"], Text("working_dir")),
];

/// What Podman has beside those.
pub(super) const PODMAN_ALONE: &[Flag] = &[
    value(&["arch"], Nothing(PODMAN, "write `platform: linux/arm64`")),
    value(&["authfile"], Nothing(PODMAN, "credentials are docker's: `DOCKER_CONFIG`")),
    value(&["cert-dir"], Nothing(PODMAN, "the engine trusts `/etc/docker/certs.d`")),
    value(&["cgroup-conf"], Nothing(PODMAN, "")),
    value(&["cgroups"], Nothing(PODMAN, "")),
    value(&["chrootdirs"], Nothing(PODMAN, "")),
    value(&["conmon-pidfile"], Nothing(PODMAN, "")),
    value(&["cpuset"], Text("cpuset")),
    value(
        &["creds"],
        Nothing("credentials do not belong into a revision", "use a credential helper of docker's configuration"),
    ),
    value(&["decryption-key"], Nothing(PODMAN, "")),
    switch(&["env-host"], Nothing("a hook has none of a shell's variables", "write each one in `environment:`")),
    value(&["env-merge"], Nothing(PODMAN, "write the whole value in `environment:`")),
    value(&["gidmap"], Nothing(PODMAN, "")),
    value(&["group-entry"], Nothing(PODMAN, "")),
    value(&["gpu"], Nothing(PODMAN, "write `gpus: all`")),
    value(&["health-log-destination"], Nothing(PODMAN, "")),
    value(&["health-max-log-count"], Nothing(PODMAN, "")),
    value(&["health-max-log-size"], Nothing(PODMAN, "")),
    value(&["health-on-failure"], Nothing(PODMAN, BY_HEALTH)),
    value(&["health-startup-cmd"], Nothing(PODMAN, BY_HEALTH)),
    value(&["health-startup-interval"], Nothing(PODMAN, BY_HEALTH)),
    value(&["health-startup-retries"], Nothing(PODMAN, BY_HEALTH)),
    value(&["health-startup-success"], Nothing(PODMAN, BY_HEALTH)),
    value(&["health-startup-timeout"], Nothing(PODMAN, BY_HEALTH)),
    value(&["hosts-file"], Nothing(PODMAN, "write `extra_hosts:`")),
    value(&["hostuser"], Nothing(PODMAN, "")),
    switch(&["http-proxy"], Nothing(PODMAN, "write the proxy's variables in `environment:`")),
    value(&["image-volume"], Nothing(PODMAN, "")),
    value(&["init-path"], Nothing(PODMAN, "`init: true` takes the engine's own")),
    value(&["label-key"], Nothing(PODMAN, "write `labels:`")),
    switch(&["no-hosts"], Nothing(PODMAN, "")),
    switch(&["no-hostname"], Nothing(PODMAN, "write `hostname:`")),
    value(&["os"], Nothing(PODMAN, "write `platform:`")),
    switch(&["passwd"], Nothing(PODMAN, "")),
    value(&["passwd-entry"], Nothing(PODMAN, "")),
    value(&["personality"], Nothing(PODMAN, "")),
    value(&["pidfile"], Nothing(PODMAN, "")),
    value(&["pod"], Nothing("there are no pods", "deploy them as one Compose project")),
    value(&["pod-id-file"], Nothing("there are no pods", "deploy them as one Compose project")),
    value(&["preserve-fd"], Nothing(PODMAN, "")),
    value(&["preserve-fds"], Nothing(PODMAN, "")),
    value(&["rdt-class"], Nothing(PODMAN, "")),
    switch(&["read-only-tmpfs"], Nothing(PODMAN, "write `tmpfs: [/run, /tmp]`")),
    switch(&["replace"], Nothing("a deployment always replaces the container of its name", "")),
    value(&["requires"], Nothing(PODMAN, "deploy them as one Compose project")),
    value(&["retry"], Nothing(PODMAN, "")),
    value(&["retry-delay"], Nothing(PODMAN, "")),
    switch(&["rmi"], Nothing("images go when no kept release needs them", "write `keep:`")),
    switch(&["rootfs"], Nothing("only images are deployed", "build an image of it")),
    value(&["sdnotify"], Nothing(PODMAN, BY_HEALTH)),
    value(&["seccomp-policy"], Nothing(PODMAN, "write `security_opt: [seccomp=FILE]`")),
    value(&["secret"], Nothing("secrets are of a swarm", "write an `env_file:`, or mount a file of the host")),
    value(&["shm-size-systemd"], Nothing(PODMAN, "")),
    value(&["subgidname"], Nothing(PODMAN, "")),
    value(&["subuidname"], Nothing(PODMAN, "")),
    value(&["systemd"], Nothing(PODMAN, "")),
    value(&["timeout"], Nothing("a deployed container runs on", "")),
    switch(&["tls-verify"], Nothing(PODMAN, "the engine knows `insecure-registries`")),
    value(&["tz"], Nothing(PODMAN, "write `environment: {TZ: Europe/Berlin}`")),
    value(&["uidmap"], Nothing(PODMAN, "")),
    value(&["umask"], Nothing(PODMAN, "")),
    value(&["unsetenv"], Nothing(PODMAN, "`NAME:` without a value takes a variable of the image away")),
    switch(&["unsetenv-all"], Nothing(PODMAN, "")),
    value(&["variant"], Nothing(PODMAN, "write `platform: linux/arm/v7`")),
];

/// The option of that name, without the dashes.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    DOCKER.iter().chain(PODMAN_ALONE).find(|flag| flag.names.contains(&name))
}
