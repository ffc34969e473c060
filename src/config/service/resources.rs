//! What the process may use: processor, memory, devices, limits.

use bollard::models::{
    DeviceMapping, DeviceRequest, HostConfig, ResourcesBlkioWeightDevice, ResourcesUlimits, ThrottleDevice,
};

use crate::config::service::read::Field;
use crate::config::yaml::Value;
use crate::values::types::Refused;

const NANO: f64 = 1e9;

/// The least memory that the engine gives a container. Source: moby, `linuxMinMemory`.
const LEAST_MEMORY: i64 = 6 * 1024 * 1024;

pub(crate) fn read(name: &str, field: &mut Field<'_, '_>, host: &mut HostConfig) -> bool {
    match name {
        "mem_limit" => once(field, &mut host.memory, memory, LIMITS[0]),
        "mem_reservation" => once(field, &mut host.memory_reservation, memory, RESERVED),
        "memswap_limit" => host.memory_swap = if field.node.as_text() == Some("-1") { Some(-1) } else { field.size() },
        "mem_swappiness" => host.memory_swappiness = field.within(0, 100),
        "oom_kill_disable" => host.oom_kill_disable = field.boolean(),
        "oom_score_adj" => host.oom_score_adj = field.within(-1000, 1000),
        "cpus" => once(field, &mut host.nano_cpus, nano_cpus, LIMITS[1]),
        "cpu_shares" => host.cpu_shares = field.integer(0),
        "cpu_quota" => host.cpu_quota = microseconds(field),
        "cpu_period" => host.cpu_period = microseconds(field),
        "cpu_rt_runtime" => host.cpu_realtime_runtime = microseconds(field),
        "cpu_rt_period" => host.cpu_realtime_period = microseconds(field),
        "cpuset" => host.cpuset_cpus = field.text(),
        "pids_limit" => once(field, &mut host.pids_limit, |field| field.integer(-1), LIMITS[2]),
        "shm_size" => host.shm_size = field.size(),
        "cgroup_parent" => host.cgroup_parent = field.text(),
        "ulimits" => host.ulimits = Some(ulimits(field)),
        "devices" => host.devices = Some(field.items(device)),
        "device_cgroup_rules" => host.device_cgroup_rules = Some(field.texts()),
        "gpus" => host.device_requests.get_or_insert_default().extend(gpus(field)),
        "blkio_config" => blkio(field, host),
        "deploy" => deploy(field, host),
        _ => return false,
    }
    true
}

/// Each limit that Compose's services and its `deploy` have a key for.
pub(crate) const LIMITS: [[&str; 2]; 3] = [
    ["mem_limit", "deploy.resources.limits.memory"],
    ["cpus", "deploy.resources.limits.cpus"],
    ["pids_limit", "deploy.resources.limits.pids"],
];

pub(crate) const RESERVED: [&str; 2] = ["mem_reservation", "deploy.resources.reservations.memory"];

/// A value that two keys may set: to the same value, as in Compose.
fn once<'a, T: PartialEq>(
    field: &mut Field<'a, '_>,
    place: &mut Option<T>,
    read: impl FnOnce(&mut Field<'a, '_>) -> Option<T>,
    keys: [&str; 2],
) {
    let value = read(field);
    match (&place, &value) {
        (Some(known), Some(value)) if known != value => refuse_different(field, keys),
        _ => *place = value.or_else(|| place.take()),
    }
}

pub(crate) fn refuse_different(field: &mut Field<'_, '_>, [one, other]: [&str; 2]) {
    field.refuse::<()>(format!("`{one}` and `{other}` have different values"), "keep one of them");
}

/// A size that the engine takes; 0 is no limit.
pub(crate) fn memory(field: &mut Field<'_, '_>) -> Option<i64> {
    match field.size()? {
        size @ 1..LEAST_MEMORY => field.refuse(
            format!("{size} bytes are less than the 6 MB that the engine wants at least"),
            "write the unit: `512m`",
        ),
        size => Some(size),
    }
}

pub(crate) fn nano_cpus(field: &mut Field<'_, '_>) -> Option<i64> {
    field.number().map(|cpus| (cpus * NANO) as i64)
}

/// A number of microseconds, or a duration.
fn microseconds(field: &mut Field<'_, '_>) -> Option<i64> {
    match field.node.as_i64() {
        Some(number) => Some(number),
        None => field.nanoseconds().map(|nanoseconds| nanoseconds / 1000),
    }
}

fn ulimits(field: &mut Field<'_, '_>) -> Vec<ResourcesUlimits> {
    let mut limits =
        field.entries(|name, field| {
            let mut limit = ResourcesUlimits { name: Some(name.to_owned()), soft: None, hard: None };
            if matches!(field.node.value, Value::Mapping(_)) {
                field.known(&["soft", "hard"], |name, field| {
                    match name {
                        "soft" => limit.soft = field.integer(-1),
                        "hard" => limit.hard = field.integer(-1),
                        _ => return false,
                    }
                    true
                });
            } else {
                limit.soft = field.integer(-1);
                limit.hard = limit.soft;
            }
            match (limit.soft, limit.hard) {
                (Some(soft), Some(hard)) if soft > hard && hard != -1 => field
                    .refuse(format!("soft limit {soft} is above hard limit {hard}"), "lower `soft` or raise `hard`"),
                (Some(_), Some(_)) => Some(limit),
                _ => field
                    .refuse("`soft` and `hard` are needed", "write one number for both, or `{soft: 1024, hard: 2048}`"),
            }
        });
    limits.sort_by(|a, b| a.name.cmp(&b.name));
    limits
}

fn device(field: &mut Field<'_, '_>) -> Option<DeviceMapping> {
    if !matches!(field.node.value, Value::Mapping(_)) {
        return field.parsed(short_device);
    }
    let mut device = DeviceMapping::default();
    field.known(&["source", "target", "permissions"], |name, field| {
        match name {
            "source" => device.path_on_host = field.text(),
            "target" => device.path_in_container = field.text(),
            "permissions" => device.cgroup_permissions = field.text(),
            _ => return false,
        }
        true
    });
    device.path_in_container = device.path_in_container.or_else(|| device.path_on_host.clone());
    device.cgroup_permissions.get_or_insert_with(|| "rwm".into());
    match device.path_on_host.is_some() {
        true => Some(device),
        false => field.refuse("`source` is missing", "write `source: /dev/ttyUSB0`"),
    }
}

fn short_device(text: &str) -> Result<DeviceMapping, Refused> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_rights = |text: &str| !text.is_empty() && text.chars().all(|letter| "rwm".contains(letter));
    let (source, target, rights) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, rights] if is_rights(rights) => (source, source, rights),
        [source, target] => (source, target, "rwm"),
        [source, target, rights] if is_rights(rights) => (source, target, rights),
        _ => return Err(Refused("is no device: write `/dev/a`, `/dev/a:/dev/b` or `/dev/a:/dev/b:rwm`".into())),
    };
    if !source.starts_with('/') || !target.starts_with('/') {
        return Err(Refused("is no device: both paths must be absolute (CDI names are not supported)".into()));
    }
    Ok(DeviceMapping {
        path_on_host: Some(source.to_owned()),
        path_in_container: Some(target.to_owned()),
        cgroup_permissions: Some(rights.to_owned()),
    })
}

fn gpus(field: &mut Field<'_, '_>) -> Vec<DeviceRequest> {
    match field.node.value {
        Value::Sequence(_) => field.items(|field| {
            let mut request = device_request(field);
            request.capabilities = Some(vec![with_gpu(request.capabilities.take())]);
            Some(request)
        }),
        _ => match field.one_of(&["all"]) {
            Some(_) => vec![DeviceRequest {
                count: Some(-1),
                capabilities: Some(vec![vec!["gpu".into()]]),
                ..DeviceRequest::default()
            }],
            None => Vec::new(),
        },
    }
}

fn with_gpu(capabilities: Option<Vec<Vec<String>>>) -> Vec<String> {
    let mut all: Vec<String> = capabilities.into_iter().flatten().flatten().collect();
    if !all.iter().any(|name| name == "gpu") {
        all.insert(0, "gpu".into());
    }
    all
}

fn device_request(field: &mut Field<'_, '_>) -> DeviceRequest {
    let mut request = DeviceRequest::default();
    field.known(&["driver", "count", "device_ids", "capabilities", "options"], |name, field| {
        match name {
            "driver" => request.driver = field.text(),
            "count" if field.node.as_text() == Some("all") => request.count = Some(-1),
            "count" => request.count = field.integer(-1),
            "device_ids" => request.device_ids = Some(field.texts()),
            "capabilities" => request.capabilities = Some(vec![field.texts()]),
            "options" => request.options = Some(field.map()),
            _ => return false,
        }
        true
    });
    if request.count.is_some() && request.device_ids.is_some() {
        field.refuse::<()>("`count` and `device_ids` exclude each other", "keep one of them");
    } else if request.count.is_none() && request.device_ids.is_none() {
        request.count = Some(-1);
    }
    request
}

/// `deploy.resources.reservations.devices[]`: what kind of device it is must be said.
fn reserved_device(field: &mut Field<'_, '_>) -> Option<DeviceRequest> {
    let request = device_request(field);
    match request.capabilities.is_some() {
        true => Some(request),
        false => field.refuse("`capabilities` is missing", "write `capabilities: [gpu]`"),
    }
}

fn blkio(field: &mut Field<'_, '_>, host: &mut HostConfig) {
    let known =
        ["weight", "weight_device", "device_read_bps", "device_write_bps", "device_read_iops", "device_write_iops"];
    field.known(&known, |name, field| {
        match name {
            "weight" => host.blkio_weight = field.within(10, 1000).and_then(|weight| u16::try_from(weight).ok()),
            "weight_device" => host.blkio_weight_device = Some(field.items(weight_device)),
            "device_read_bps" => host.blkio_device_read_bps = Some(field.items(throttle)),
            "device_write_bps" => host.blkio_device_write_bps = Some(field.items(throttle)),
            "device_read_iops" => host.blkio_device_read_iops = Some(field.items(throttle)),
            "device_write_iops" => host.blkio_device_write_iops = Some(field.items(throttle)),
            _ => return false,
        }
        true
    });
}

fn throttle(field: &mut Field<'_, '_>) -> Option<ThrottleDevice> {
    let mut device = ThrottleDevice::default();
    field.known(&["path", "rate"], |name, field| {
        match name {
            "path" => device.path = field.text(),
            "rate" => device.rate = field.size(),
            _ => return false,
        }
        true
    });
    Some(device)
}

fn weight_device(field: &mut Field<'_, '_>) -> Option<ResourcesBlkioWeightDevice> {
    let mut device = ResourcesBlkioWeightDevice::default();
    field.known(&["path", "weight"], |name, field| {
        match name {
            "path" => device.path = field.text(),
            "weight" => device.weight = field.integer(0).and_then(|weight| usize::try_from(weight).ok()),
            _ => return false,
        }
        true
    });
    Some(device)
}

/// `deploy.resources`, mapped as Compose maps it for one container. The rest of `deploy` is for swarm.
fn deploy(field: &mut Field<'_, '_>, host: &mut HostConfig) {
    field.known(&["resources"], |name, field| {
        if name != "resources" {
            return false;
        }
        field.known(&["limits", "reservations"], |name, field| {
            match name {
                "limits" => limits(field, host),
                "reservations" => reservations(field, host),
                _ => return false,
            }
            true
        });
        true
    });
}

fn limits(field: &mut Field<'_, '_>, host: &mut HostConfig) {
    field.known(&["cpus", "memory", "pids"], |name, field| {
        match name {
            "memory" => once(field, &mut host.memory, memory, LIMITS[0]),
            "cpus" => once(field, &mut host.nano_cpus, nano_cpus, LIMITS[1]),
            "pids" => once(field, &mut host.pids_limit, |field| field.integer(-1), LIMITS[2]),
            _ => return false,
        }
        true
    });
}

fn reservations(field: &mut Field<'_, '_>, host: &mut HostConfig) {
    field.known(&["cpus", "memory", "devices"], |name, field| {
        match name {
            // Swarm alone reserves processors; Compose reads the key and drops it elsewhere, and so do we.
            "cpus" => drop(field.number()),
            "memory" => once(field, &mut host.memory_reservation, memory, RESERVED),
            "devices" => drop(host.device_requests.get_or_insert_default().splice(..0, field.items(reserved_device))),
            _ => return false,
        }
        true
    });
}
