//! Values of the engine's API as Compose writes them.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};

/// What the engine writes where nothing was chosen.
pub(super) fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(value) => !value,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty() || text == "no",
        Json::Array(items) => items.is_empty(),
        Json::Object(entries) => entries.values().all(is_nothing),
    }
}

/// As it is, without what nobody chose.
pub(super) fn yaml(value: Json) -> Value {
    serde_yaml::to_value(value).unwrap_or_default()
}

pub(super) fn cpus(nano: &Json) -> Value {
    let cpus = nano.as_f64().unwrap_or_default() / 1e9;
    if cpus.fract() == 0.0 { (cpus as i64).into() } else { cpus.into() }
}

pub(super) fn texts(value: &Json) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

/// The keys of an object, or a list's texts.
pub(super) fn keys(value: &Json) -> BTreeSet<String> {
    match value {
        Json::Object(entries) => entries.keys().cloned().collect(),
        other => texts(other).into_iter().collect(),
    }
}

pub(super) fn publication(port: &str, binding: &Json) -> String {
    let [host, published] = ["HostIp", "HostPort"].map(|member| binding[member].as_str().unwrap_or_default());
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let port = port.strip_suffix("/tcp").unwrap_or(port);
    match (host.as_str(), published) {
        ("", "" | "0") => port.to_owned(),
        ("", published) => format!("{published}:{port}"),
        (host, published) => format!("{host}:{published}:{port}"),
    }
}

/// Durations are nanoseconds there.
pub(super) fn healthcheck(check: Json) -> Value {
    let mut found = Mapping::new();
    match texts(&check["Test"]).as_slice() {
        [] => {}
        [none] if none == "NONE" => drop(found.insert("disable".into(), true.into())),
        [shell, command] if shell == "CMD-SHELL" => drop(found.insert("test".into(), command.as_str().into())),
        _ => drop(found.insert("test".into(), yaml(check["Test"].clone()))),
    }
    for (member, key) in [
        ("Interval", "interval"),
        ("Timeout", "timeout"),
        ("StartPeriod", "start_period"),
        ("StartInterval", "start_interval"),
    ] {
        if let Some(time) = check[member].as_u64().filter(|time| *time > 0) {
            found.insert(key.into(), format!("{:?}", std::time::Duration::from_nanos(time)).into());
        }
    }
    if let Some(retries) = check["Retries"].as_i64().filter(|retries| *retries > 0) {
        found.insert("retries".into(), retries.into());
    }
    Value::Mapping(found)
}

/// What was chosen of a place in a network.
pub(super) fn endpoint(endpoint: &Json) -> Mapping {
    let ipam = &endpoint["IPAMConfig"];
    let settings = [
        ("aliases", &endpoint["Aliases"]),
        ("ipv4_address", &ipam["IPv4Address"]),
        ("ipv6_address", &ipam["IPv6Address"]),
        ("link_local_ips", &ipam["LinkLocalIPs"]),
        ("driver_opts", &endpoint["DriverOpts"]),
    ];
    let chosen = settings.into_iter().filter(|(_, value)| !is_nothing(value));
    chosen.map(|(key, value)| (key.into(), yaml(value.clone()))).collect()
}

pub(super) fn mount(mount: &Json) -> Value {
    let mut found = Mapping::new();
    for (member, key) in [
        ("Type", "type"),
        ("Source", "source"),
        ("Target", "target"),
        ("ReadOnly", "read_only"),
        ("Consistency", "consistency"),
    ] {
        if !is_nothing(&mount[member]) {
            found.insert(key.into(), yaml(mount[member].clone()));
        }
    }
    let mut group = |name: &str, members: &[(&str, Value)]| {
        let given = members.iter().filter(|(_, value)| !value.is_null());
        let inner: Mapping = given.map(|(key, value)| ((*key).into(), value.clone())).collect();
        if !inner.is_empty() {
            found.insert(name.into(), Value::Mapping(inner));
        }
    };
    let of = |options: &str, member: &str| {
        Some(&mount[options][member])
            .filter(|value| !is_nothing(value))
            .map_or(Value::Null, |value| yaml(value.clone()))
    };
    let is_bind = mount["Type"] == "bind";
    let creates = mount["BindOptions"]["CreateMountpoint"].as_bool().unwrap_or_default();
    let create = if is_bind && !creates { false.into() } else { Value::Null };
    group("bind", &[("propagation", of("BindOptions", "Propagation")), ("create_host_path", create)]);
    group(
        "volume",
        &[
            ("nocopy", of("VolumeOptions", "NoCopy")),
            ("subpath", of("VolumeOptions", "Subpath")),
            ("labels", of("VolumeOptions", "Labels")),
        ],
    );
    let size = mount["TmpfsOptions"]["SizeBytes"]
        .as_i64()
        .filter(|size| *size > 0)
        .map_or(Value::Null, |size| size.to_string().into());
    let mode = mount["TmpfsOptions"]["Mode"]
        .as_u64()
        .filter(|mode| *mode > 0)
        .map_or(Value::Null, |mode| format!("{mode:o}").into());
    group("tmpfs", &[("size", size), ("mode", mode)]);
    Value::Mapping(found)
}

pub(super) fn device_request(request: &Json) -> Value {
    let mut found = Mapping::new();
    let ids = &request["DeviceIDs"];
    for (key, value) in [("driver", &request["Driver"]), ("device_ids", ids), ("options", &request["Options"])] {
        if !is_nothing(value) {
            found.insert(key.into(), yaml(value.clone()));
        }
    }
    if is_nothing(ids) && !is_nothing(&request["Count"]) {
        found.insert("count".into(), yaml(request["Count"].clone()));
    }
    if let Some(capabilities) = request["Capabilities"].as_array().and_then(|all| all.first()) {
        found.insert("capabilities".into(), yaml(capabilities.clone()));
    }
    Value::Mapping(found)
}
