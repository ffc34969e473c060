//! The Compose specification's names for what the API calls otherwise, and the form of values that are no plain text.

use serde_json::Value;

use crate::modes::options::names::Form::{By, Each, Keys, Plain, Text, Texts};
use crate::modes::options::values;

#[derive(Clone, Copy)]
pub(super) enum Form {
    /// Members of an object one by one, items of a list one by one, anything else as it is.
    Plain,
    /// An object whose keys are the user's own.
    Keys,
    /// A list of objects, distinguished by that member.
    By(&'static str),
    Text(fn(&Value) -> String),
    /// A value for each item of a list.
    Each(fn(&Value) -> String),
    Texts(fn(&Value) -> Vec<String>),
}

/// A member of a request that has another name than the API's in snake case, or is more than plain text: the end of its
/// path, its name and its form. A name that begins with a dot follows its parent's; a dot alone is the parent's own name.
type Named = (&'static str, &'static str, Form);

/// The first whose path fits counts. Source: Docker Engine API 1.53, Compose specification.
const NAMED: &[Named] = &[
    // A container's create request.
    ("container.HostConfig", "", Plain),
    ("NetworkingConfig", "", Plain),
    ("EndpointsConfig", "networks", Keys),
    ("IPAMConfig", ".", Plain),
    ("Cmd", "command", Text(values::words)),
    ("ExposedPorts", "expose", Texts(values::keys)),
    ("container.Volumes", "volumes", Texts(values::keys)),
    ("Tmpfs", "tmpfs", Texts(values::keys)),
    ("PortBindings", "ports", Texts(values::publications)),
    ("Binds", "volumes", Plain),
    ("LogConfig", "logging", Plain),
    ("LogConfig.Type", ".driver", Plain),
    ("LogConfig.Config", ".options", Keys),
    ("HostConfig.RestartPolicy", "restart", Text(values::restart)),
    ("StopTimeout", "stop_grace_period", Text(values::seconds)),
    ("OpenStdin", "stdin_open", Plain),
    ("ReadonlyRootfs", "read_only", Plain),
    ("DnsOptions", "dns_opt", Plain),
    ("IpcMode", "ipc", Plain),
    ("PidMode", "pid", Plain),
    ("UTSMode", "uts", Plain),
    ("CgroupnsMode", "cgroup", Plain),
    ("HostConfig.Memory", "mem_limit", Text(values::bytes)),
    ("MemoryReservation", "mem_reservation", Text(values::bytes)),
    ("MemorySwap", "memswap_limit", Text(values::bytes)),
    ("MemorySwappiness", "mem_swappiness", Plain),
    ("ShmSize", "shm_size", Text(values::bytes)),
    ("NanoCpus", "cpus", Text(values::cpus)),
    ("CpuRealtimeRuntime", "cpu_rt_runtime", Plain),
    ("CpuRealtimePeriod", "cpu_rt_period", Plain),
    ("CpusetCpus", "cpuset", Plain),
    ("BlkioWeight", "blkio_config.weight", Plain),
    ("BlkioWeightDevice", "blkio_config.weight_device", Plain),
    ("BlkioDeviceReadBps", "blkio_config.device_read_bps", Plain),
    ("BlkioDeviceReadIOps", "blkio_config.device_read_iops", Plain),
    ("BlkioDeviceWriteBps", "blkio_config.device_write_bps", Plain),
    ("BlkioDeviceWriteIOps", "blkio_config.device_write_iops", Plain),
    ("DeviceRequests", "gpus", Plain),
    ("SecurityOpt", "security_opt", Each(values::security_opt)),
    ("Devices", "devices", Each(values::device)),
    // A service's spec.
    ("service.Labels", "deploy.labels", Keys),
    ("service.Mode", "deploy", Plain),
    ("Mode.Replicated", ".", Plain),
    ("Mode.Global", ".mode", Text(|_| "global".to_owned())),
    ("UpdateConfig", "deploy.update_config", Plain),
    ("RollbackConfig", "deploy.rollback_config", Plain),
    ("EndpointSpec", "deploy", Plain),
    ("EndpointSpec.Mode", ".endpoint_mode", Plain),
    ("EndpointSpec.Ports", "ports", Each(values::service_port)),
    ("service.TaskTemplate", "deploy", Plain),
    ("TaskTemplate.ContainerSpec", "", Plain),
    ("TaskTemplate.Networks", "networks", By("Target")),
    ("Placement.MaxReplicas", ".max_replicas_per_node", Plain),
    ("Placement.Platforms", "platform", Each(values::platform)),
    ("Placement.Preferences", ".preferences", Each(values::preference)),
    ("NanoCPUs", ".cpus", Text(values::cpus)),
    ("MemoryBytes", ".memory", Text(values::bytes)),
    ("GenericResources", ".generic_resources", Each(values::generic_resource)),
    ("LogDriver", "logging", Plain),
    ("LogDriver.Name", ".driver", Plain),
    ("ContainerSpec.Args", "command", Text(values::words)),
    ("ContainerSpec.Command", "entrypoint", Text(values::words)),
    ("Dir", "working_dir", Plain),
    ("Groups", "group_add", Plain),
    ("Hosts", "extra_hosts", Plain),
    ("DNSConfig", "", Plain),
    ("DNSConfig.Nameservers", "dns", Plain),
    ("DNSConfig.Search", "dns_search", Plain),
    ("DNSConfig.Options", "dns_opt", Plain),
    ("CapabilityAdd", "cap_add", Plain),
    ("CapabilityDrop", "cap_drop", Plain),
    ("Secrets", "secrets", Each(values::file)),
    ("Configs", "configs", Each(values::file)),
    ("StopGracePeriod", "stop_grace_period", Text(values::nanoseconds)),
    ("Delay", ".delay", Text(values::nanoseconds)),
    ("Monitor", ".monitor", Text(values::nanoseconds)),
    ("Window", ".window", Text(values::nanoseconds)),
    // Both.
    ("Entrypoint", "entrypoint", Text(values::words)),
    ("Mounts", "volumes", Plain),
    ("Ulimits", "ulimits", By("Name")),
    ("Healthcheck.Test", ".test", Text(values::words)),
    ("Interval", ".interval", Text(values::nanoseconds)),
    ("Timeout", ".timeout", Text(values::nanoseconds)),
    ("StartPeriod", ".start_period", Text(values::nanoseconds)),
    ("StartInterval", ".start_interval", Text(values::nanoseconds)),
    ("Labels", ".labels", Keys),
    ("Options", ".options", Keys),
    ("DriverOpts", ".driver_opts", Keys),
    ("Sysctls", "sysctls", Keys),
    ("Annotations", ".annotations", Keys),
    ("StorageOpt", ".storage_opt", Keys),
];

fn known(path: &str) -> Option<&'static Named> {
    NAMED.iter().find(|(end, ..)| {
        let before = path.strip_suffix(end);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

/// What becomes of the member at `path`.
pub(super) fn form(path: &str) -> Form {
    known(path).map_or(Plain, |(.., form)| *form)
}

/// The name of the member `key` at `path`, of the parent that is called `parent`.
pub(super) fn member(path: &str, parent: &str, key: &str) -> String {
    match known(path) {
        None => below(parent, &snake_case(key)),
        Some((_, ".", _)) => parent.to_owned(),
        Some((_, name, _)) => match name.strip_prefix('.') {
            Some(name) => below(parent, name),
            None => (*name).to_owned(),
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
