//! The options of a project's service as a plan shows them.

use serde_json::Value;

use crate::modes::options;
use crate::values::secret::masked;

/// Options whose value no one takes for a secret. What Compose has put into others may come from any file with variables.
const SHOWN: [&str; 29] = [
    "cap_add", "cap_drop", "cpu_shares", "cpus", "cpuset", "devices", "dns", "domainname", "extra_hosts", "group_add",
    "hostname", "init", "ipc", "mem_limit", "mem_reservation", "memswap_limit", "network_mode", "pid", "pids_limit",
    "platform", "ports", "privileged", "read_only", "restart", "shm_size", "stop_grace_period", "user", "volumes",
    "working_dir",
];

/// The value of an option of the resolved project, where it may be shown.
pub(super) fn shown(name: &str, value: &Value) -> Option<String> {
    let each =
        |text: fn(&Value) -> String| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ");
    let bytes = || value.as_str()?.parse::<u64>().ok().map(|bytes| options::bytes(&bytes.into()));
    SHOWN
        .contains(&name)
        .then(|| match (name, value) {
            ("ports", Value::Array(_)) => each(port),
            ("volumes", Value::Array(_)) => each(volume),
            (_, Value::Array(_)) => each(plain),
            ("mem_limit" | "mem_reservation" | "memswap_limit" | "shm_size", _) => {
                bytes().unwrap_or_else(|| plain(value))
            }
            _ => plain(value),
        })
        .map(|text| masked(&text))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `127.0.0.1:8080:80/udp`, as in the short syntax.
fn port(port: &Value) -> String {
    if !port.is_object() {
        return plain(port);
    }
    let before = |key: &str| Some(plain(&port[key])).filter(|_| !port[key].is_null()).map(|text| text + ":");
    let protocol = port["protocol"].as_str().filter(|protocol| *protocol != "tcp").map(|name| format!("/{name}"));
    let parts = [before("host_ip"), before("published"), Some(plain(&port["target"])), protocol];
    parts.into_iter().flatten().collect()
}

/// `data:/data:ro`, as in the short syntax.
fn volume(volume: &Value) -> String {
    if !volume.is_object() {
        return plain(volume);
    }
    let source = volume["source"].as_str().map(|source| format!("{source}:")).unwrap_or_default();
    let read_only = if volume["read_only"] == true { ":ro" } else { "" };
    format!("{source}{}{read_only}", plain(&volume["target"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_are_shown_in_the_short_syntax_but_for_those_that_may_hold_a_secret() {
        for (name, value, wanted) in [
            ("environment.LEVEL", json!("info"), None),
            ("labels", json!({ "team": "shop" }), None),
            ("command", json!(["serve", "hunter2"]), None),
            ("mem_limit", json!("536870912"), Some("512M")),
            ("restart", json!("always"), Some("always")),
            (
                "ports",
                json!([{ "mode": "ingress", "host_ip": "127.0.0.1", "target": 80, "published": "8080", "protocol": "tcp" },
                       { "target": 53, "protocol": "udp" }]),
                Some("127.0.0.1:8080:80, 53/udp"),
            ),
            (
                "volumes",
                json!([{ "type": "volume", "source": "data", "target": "/data", "volume": {} },
                       { "type": "bind", "source": "/srv", "target": "/srv", "read_only": true }]),
                Some("data:/data, /srv:/srv:ro"),
            ),
            ("cap_add", json!(["NET_ADMIN"]), Some("NET_ADMIN")),
        ] {
            assert_eq!(shown(name, &value).as_deref(), wanted, "{name}");
        }
    }
}
