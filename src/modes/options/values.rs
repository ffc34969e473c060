//! Values of a request in the Compose specification's short syntaxes.

use std::time::Duration;

use serde_json::Value;

use crate::values::text::command_line;
use crate::values::types::ContentDigest;

/// A text that cannot be mistaken: what would break the line, or could not be seen, is quoted as in JSON.
pub(super) fn text(text: &str) -> String {
    let is_seen = !text.is_empty() && text.trim() == text && !text.contains(char::is_control);
    if is_seen { text.to_owned() } else { Value::from(text).to_string() }
}

/// A text as it is, anything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A list of words as a shell takes them; an empty list takes away what the image has.
pub(super) fn words(value: &Value) -> String {
    let words: Vec<String> = items(value).map(plain).collect();
    if words.is_empty() { "[]".to_owned() } else { text(&command_line(&words)) }
}

/// Of an object by path or port `/run`, or `/run:size=64m`.
pub(super) fn keys(value: &Value) -> Vec<String> {
    let entries = value.as_object().into_iter().flatten();
    let each = entries.map(|(key, value)| match value.as_str() {
        Some(options) if !options.is_empty() => format!("{key}:{options}"),
        _ => key.clone(),
    });
    each.collect()
}

/// `127.0.0.1:80:8080/udp` for each port that is published.
pub(super) fn publications(value: &Value) -> Vec<String> {
    let ports = value.as_object().into_iter().flatten();
    ports.flat_map(|(port, bindings)| items(bindings).map(|binding| publication(port, binding))).collect()
}

fn publication(port: &str, binding: &Value) -> String {
    let (host, published) = (plain(&binding["HostIp"]), plain(&binding["HostPort"]));
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let port = port.strip_suffix("/tcp").unwrap_or(port);
    match (host.as_str(), published.as_str()) {
        ("", "") => port.to_owned(),
        ("", published) => format!("{published}:{port}"),
        (host, published) => format!("{host}:{published}:{port}"),
    }
}

/// `80:8080`, or the long syntax where it is more than that.
pub(super) fn service_port(port: &Value) -> String {
    let [published, target, protocol, mode] =
        ["PublishedPort", "TargetPort", "Protocol", "PublishMode"].map(|member| plain(&port[member]));
    match (published.as_str(), protocol.as_str(), mode.as_str()) {
        ("", _, _) => format!("target={target},protocol={protocol},mode={mode}"),
        (published, "tcp", "ingress") => format!("{published}:{target}"),
        _ => format!("published={published},target={target},protocol={protocol},mode={mode}"),
    }
}

/// `on-failure:3`.
pub(super) fn restart(value: &Value) -> String {
    match value["MaximumRetryCount"].as_i64() {
        Some(count) if count > 0 => format!("{}:{count}", plain(&value["Name"])),
        _ => plain(&value["Name"]),
    }
}

/// `/dev/a:/dev/b:rwm`.
pub(super) fn device(value: &Value) -> String {
    ["PathOnHost", "PathInContainer", "CgroupPermissions"].map(|member| plain(&value[member])).join(":")
}

/// `linux/arm64`.
pub(super) fn platform(value: &Value) -> String {
    ["OS", "Architecture"].map(|member| plain(&value[member])).join("/")
}

/// `spread=node.labels.zone`.
pub(super) fn preference(value: &Value) -> String {
    format!("spread={}", plain(&value["Spread"]["SpreadDescriptor"]))
}

/// `gpu=2`.
pub(super) fn generic_resource(value: &Value) -> String {
    let resource = value.get("DiscreteResourceSpec").or(value.get("NamedResourceSpec")).unwrap_or(value);
    format!("{}={}", plain(&resource["Kind"]), plain(&resource["Value"]))
}

/// A secret or a config: `source=db,target=db,uid=0,gid=0,mode=0444`.
pub(super) fn file(value: &Value) -> String {
    let source = value.get("SecretName").or(value.get("ConfigName")).unwrap_or(&Value::Null);
    let [target, uid, gid] = ["Name", "UID", "GID"].map(|member| plain(&value["File"][member]));
    let mode = value["File"]["Mode"].as_u64().unwrap_or_default();
    format!("source={},target={target},uid={uid},gid={gid},mode={mode:04o}", plain(source))
}

/// `512M` where it is a whole number of a unit, bytes otherwise.
pub(crate) fn bytes(value: &Value) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    let whole = value.as_u64().filter(|bytes| *bytes > 0).and_then(|bytes| {
        let (power, unit) = units.into_iter().find(|(power, _)| bytes.trailing_zeros() >= *power)?;
        Some(format!("{}{unit}", bytes >> power))
    });
    whole.unwrap_or_else(|| plain(value))
}

/// `0.5`: the API counts in billionths.
pub(super) fn cpus(value: &Value) -> String {
    value.as_f64().map_or_else(|| plain(value), |billionths| (billionths / 1e9).to_string())
}

/// `20s`.
pub(super) fn seconds(value: &Value) -> String {
    format!("{}s", plain(value))
}

/// `1.5s`, `100ms`.
pub(super) fn nanoseconds(value: &Value) -> String {
    value.as_u64().map_or_else(|| plain(value), |time| format!("{:?}", Duration::from_nanos(time)))
}

/// `label=disable`; of a seccomp profile its digest.
pub(super) fn security_opt(value: &Value) -> String {
    let option = plain(value);
    match option.strip_prefix("seccomp=").filter(|profile| profile.starts_with('{')) {
        Some(profile) => format!("seccomp=(profile {})", ContentDigest::of(profile.as_bytes()).short()),
        None => text(&option),
    }
}
