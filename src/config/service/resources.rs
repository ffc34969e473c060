//! What the process may use: processor, memory, devices, limits.

use bollard::models::{
    DeviceMapping, DeviceRequest, HostConfig, ResourcesBlkioWeightDevice, ResourcesUlimits, ThrottleDevice,
};

use crate::config::field::Field;
use crate::config::keys::Keys;
use crate::config::yaml::Value;
use crate::values::types::Refused;

const NANO: f64 = 1e9;

/// The least memory that the engine gives a container. Source: moby, `linuxMinMemory`.
const LEAST_MEMORY: i64 = 6 * 1024 * 1024;

/// What a container alone has; of a service of a swarm its `deploy` says more.
pub(crate) fn of_container(keys: &mut Keys<'_, '_>, host: &mut HostConfig) {
    host.memory_swap = keys.get("memswap_limit", |field| match field.node.as_text() {
        Some("-1") => Some(-1),
        _ => field.size(),
    });
    host.memory_swappiness = keys.get("mem_swappiness", |field| field.within(0, 100));
    host.oom_kill_disable = keys.get("oom_kill_disable", Field::boolean);
    host.oom_score_adj = keys.get("oom_score_adj", |field| field.within(-1000, 1000));
    host.cpu_shares = keys.get("cpu_shares", |field| field.integer(0));
    host.cpu_quota = keys.get("cpu_quota", microseconds);
    host.cpu_period = keys.get("cpu_period", microseconds);
    host.cpu_realtime_runtime = keys.get("cpu_rt_runtime", microseconds);
    host.cpu_realtime_period = keys.get("cpu_rt_period", microseconds);
    host.cpuset_cpus = keys.get("cpuset", Field::text);
    host.shm_size = keys.get("shm_size", Field::size);
    host.cgroup_parent = keys.get("cgroup_parent", Field::text);
    host.devices = keys.all("devices", |field| field.items(device));
    host.device_cgroup_rules = keys.all("device_cgroup_rules", Field::texts);
    keys.all("blkio_config", |field| blkio(field, host));
    keys.all("deploy", |field| deploy(field, host));
    if let Some(gpus) = keys.all("gpus", gpus) {
        host.device_requests.get_or_insert_default().extend(gpus);
    }
}

/// Each limit that Compose's services and its `deploy` have a key for.
pub(crate) const LIMITS: [[&str; 2]; 3] = [
    ["mem_limit", "deploy.resources.limits.memory"],
    ["cpus", "deploy.resources.limits.cpus"],
    ["pids_limit", "deploy.resources.limits.pids"],
];

pub(crate) const RESERVED: [&str; 2] = ["mem_reservation", "deploy.resources.reservations.memory"];

/// A second key's value for what another one may have set: it must be the same, as in Compose.
fn once<T: PartialEq>(field: &Field<'_>, place: &mut Option<T>, value: Option<T>, keys: [&str; 2]) {
    match (&place, &value) {
        (Some(known), Some(value)) if known != value => refuse_different(field, keys),
        _ => *place = value.or_else(|| place.take()),
    }
}

pub(crate) fn refuse_different(field: &Field<'_>, [one, other]: [&str; 2]) {
    field.error(format!("`{one}` and `{other}` have different values"), "keep one of them");
}

/// A size that the engine takes; 0 is no limit.
pub(crate) fn memory(field: &Field<'_>) -> Option<i64> {
    match field.size()? {
        size @ 1..LEAST_MEMORY => field.refuse(
            format!("{size} bytes are less than the 6 MB that the engine wants at least"),
            "write the unit: `512m`",
        ),
        size => Some(size),
    }
}

pub(crate) fn nano_cpus(field: &Field<'_>) -> Option<i64> {
    field.number().map(|cpus| (cpus * NANO) as i64)
}

/// A number of microseconds, or a duration.
fn microseconds(field: &Field<'_>) -> Option<i64> {
    match field.node.as_i64() {
        Some(number) => Some(number),
        None => field.nanoseconds().map(|nanoseconds| nanoseconds / 1000),
    }
}

pub(crate) fn ulimits(field: &Field<'_>) -> Vec<ResourcesUlimits> {
    let mut limits = field.entries(ulimit);
    limits.sort_by(|a, b| a.name.cmp(&b.name));
    limits
}

/// `{soft: 1024, hard: 2048}`, or one number for both.
fn ulimit(name: &str, field: &Field<'_>) -> Option<ResourcesUlimits> {
    let number = |field: &Field<'_>| field.integer(-1);
    let (soft, hard) = match field.node.value {
        Value::Mapping(_) => field.mapping(|keys| (keys.get("soft", number), keys.get("hard", number))),
        _ => {
            let both = number(field);
            (both, both)
        }
    };
    match (soft, hard) {
        (Some(soft), Some(hard)) if soft > hard && hard != -1 => {
            field.refuse(format!("soft limit {soft} is above hard limit {hard}"), "lower `soft` or raise `hard`")
        }
        (Some(_), Some(_)) => Some(ResourcesUlimits { name: Some(name.to_owned()), soft, hard }),
        _ => field.refuse("`soft` and `hard` are needed", "write one number for both, or `{soft: 1024, hard: 2048}`"),
    }
}

fn device(field: &Field<'_>) -> Option<DeviceMapping> {
    if !matches!(field.node.value, Value::Mapping(_)) {
        return field.parsed(short_device);
    }
    let mut device = field.mapping(|keys| DeviceMapping {
        path_on_host: keys.get("source", Field::text),
        path_in_container: keys.get("target", Field::text),
        cgroup_permissions: keys.get("permissions", Field::text),
    });
    device.path_in_container = device.path_in_container.or_else(|| device.path_on_host.clone());
    device.cgroup_permissions.get_or_insert_with(|| "rwm".into());
    match device.path_on_host.is_some() {
        true => Some(device),
        false => field.lacks("`source` is missing", "write `source: /dev/ttyUSB0`"),
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

fn gpus(field: &Field<'_>) -> Vec<DeviceRequest> {
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

fn device_request(field: &Field<'_>) -> DeviceRequest {
    let count = |field: &Field<'_>| if field.node.as_text() == Some("all") { Some(-1) } else { field.integer(-1) };
    let mut request = field.mapping(|keys| DeviceRequest {
        driver: keys.get("driver", Field::text),
        count: keys.get("count", count),
        device_ids: keys.all("device_ids", Field::texts),
        capabilities: keys.all("capabilities", Field::texts).map(|names| vec![names]),
        options: keys.all("options", Field::map),
    });
    if request.count.is_some() && request.device_ids.is_some() {
        field.error("`count` and `device_ids` exclude each other", "keep one of them");
    } else if request.count.is_none() && request.device_ids.is_none() {
        request.count = Some(-1);
    }
    request
}

/// `deploy.resources.reservations.devices[]`: what kind of device it is must be said.
fn reserved_device(field: &Field<'_>) -> Option<DeviceRequest> {
    let request = device_request(field);
    match request.capabilities.is_some() {
        true => Some(request),
        false => field.lacks("`capabilities` is missing", "write `capabilities: [gpu]`"),
    }
}

fn blkio(field: &Field<'_>, host: &mut HostConfig) {
    let throttles = |field: &Field<'_>| field.items(throttle);
    field.mapping(|keys| {
        let weight = keys.get("weight", |field| field.within(10, 1000));
        host.blkio_weight = weight.and_then(|weight| u16::try_from(weight).ok());
        host.blkio_weight_device = keys.all("weight_device", |field| field.items(weight_device));
        host.blkio_device_read_bps = keys.all("device_read_bps", throttles);
        host.blkio_device_write_bps = keys.all("device_write_bps", throttles);
        host.blkio_device_read_iops = keys.all("device_read_iops", throttles);
        host.blkio_device_write_iops = keys.all("device_write_iops", throttles);
    });
}

fn throttle(field: &Field<'_>) -> Option<ThrottleDevice> {
    Some(
        field.mapping(|keys| ThrottleDevice {
            path: keys.get("path", Field::text),
            rate: keys.get("rate", Field::size),
        }),
    )
}

fn weight_device(field: &Field<'_>) -> Option<ResourcesBlkioWeightDevice> {
    Some(field.mapping(|keys| ResourcesBlkioWeightDevice {
        path: keys.get("path", Field::text),
        weight: keys.get("weight", Field::count).and_then(|weight| usize::try_from(weight).ok()),
    }))
}

/// `deploy.resources`, mapped as Compose maps it for one container. The rest of `deploy` is for swarm.
fn deploy(field: &Field<'_>, host: &mut HostConfig) {
    field.mapping(|keys| {
        keys.all("resources", |field| {
            field.mapping(|keys| {
                keys.all("limits", |field| limits(field, host));
                keys.all("reservations", |field| reservations(field, host));
            });
        });
    });
}

fn limits(field: &Field<'_>, host: &mut HostConfig) {
    field.mapping(|keys| {
        keys.all("cpus", |field| once(field, &mut host.nano_cpus, nano_cpus(field), LIMITS[1]));
        keys.all("memory", |field| once(field, &mut host.memory, memory(field), LIMITS[0]));
        keys.all("pids", |field| once(field, &mut host.pids_limit, field.integer(-1), LIMITS[2]));
    });
}

fn reservations(field: &Field<'_>, host: &mut HostConfig) {
    field.mapping(|keys| {
        // Swarm alone reserves processors; Compose reads the key and drops it elsewhere, and so do we.
        keys.get("cpus", Field::number);
        keys.all("memory", |field| once(field, &mut host.memory_reservation, memory(field), RESERVED));
        if let Some(devices) = keys.all("devices", |field| field.items(reserved_device)) {
            host.device_requests = Some(devices);
        }
    });
}
