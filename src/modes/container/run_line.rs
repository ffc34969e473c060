//! A create request as the `docker run` that says the same.
//!
//! It reads only the request that the engine is given, and whatever has no flag of its own is printed under the API's
//! name: nothing that is sent can be missing from the plan.

use serde_json::Value;

use crate::engine::request::{ContainerOptions, ContainerSpec};
use crate::values::types::EnvVar;

/// The API's names and docker's flags, in the order in which they are printed.
const FLAGS: &[(&str, &str)] = &[
    ("HostConfig.RestartPolicy", "--restart"),
    ("HostConfig.PortBindings", "--publish"),
    ("ExposedPorts", "--expose"),
    ("HostConfig.NetworkMode", "--network"),
    ("Hostname", "--hostname"),
    ("Domainname", "--domainname"),
    ("HostConfig.ExtraHosts", "--add-host"),
    ("HostConfig.Dns", "--dns"),
    ("HostConfig.DnsSearch", "--dns-search"),
    ("HostConfig.DnsOptions", "--dns-option"),
    ("HostConfig.Binds", "--volume"),
    ("Volumes", "--volume"),
    ("HostConfig.Mounts", "--mount"),
    ("HostConfig.Tmpfs", "--tmpfs"),
    ("User", "--user"),
    ("WorkingDir", "--workdir"),
    ("Entrypoint", "--entrypoint"),
    ("HostConfig.LogConfig.Type", "--log-driver"),
    ("HostConfig.LogConfig.Config", "--log-opt"),
    ("StopSignal", "--stop-signal"),
    ("StopTimeout", "--stop-timeout"),
    ("HostConfig.Init", "--init"),
    ("HostConfig.Privileged", "--privileged"),
    ("HostConfig.ReadonlyRootfs", "--read-only"),
    ("HostConfig.CapAdd", "--cap-add"),
    ("HostConfig.CapDrop", "--cap-drop"),
    ("HostConfig.SecurityOpt", "--security-opt"),
    ("HostConfig.Devices", "--device"),
    ("HostConfig.DeviceCgroupRules", "--device-cgroup-rule"),
    ("HostConfig.DeviceRequests", "--gpus"),
    ("HostConfig.Ulimits", "--ulimit"),
    ("HostConfig.Sysctls", "--sysctl"),
    ("HostConfig.ShmSize", "--shm-size"),
    ("HostConfig.GroupAdd", "--group-add"),
    ("HostConfig.IpcMode", "--ipc"),
    ("HostConfig.PidMode", "--pid"),
    ("HostConfig.UTSMode", "--uts"),
    ("HostConfig.UsernsMode", "--userns"),
    ("HostConfig.CgroupnsMode", "--cgroupns"),
    ("HostConfig.CgroupParent", "--cgroup-parent"),
    ("HostConfig.Memory", "--memory"),
    ("HostConfig.MemoryReservation", "--memory-reservation"),
    ("HostConfig.MemorySwap", "--memory-swap"),
    ("HostConfig.MemorySwappiness", "--memory-swappiness"),
    ("HostConfig.OomKillDisable", "--oom-kill-disable"),
    ("HostConfig.OomScoreAdj", "--oom-score-adj"),
    ("HostConfig.NanoCpus", "--cpus"),
    ("HostConfig.CpuShares", "--cpu-shares"),
    ("HostConfig.CpuQuota", "--cpu-quota"),
    ("HostConfig.CpuPeriod", "--cpu-period"),
    ("HostConfig.CpuRealtimeRuntime", "--cpu-rt-runtime"),
    ("HostConfig.CpuRealtimePeriod", "--cpu-rt-period"),
    ("HostConfig.CpusetCpus", "--cpuset-cpus"),
    ("HostConfig.PidsLimit", "--pids-limit"),
    ("HostConfig.BlkioWeight", "--blkio-weight"),
    ("HostConfig.StorageOpt", "--storage-opt"),
    ("HostConfig.Runtime", "--runtime"),
    ("HostConfig.Annotations", "--annotation"),
    ("OpenStdin", "--interactive"),
    ("Tty", "--tty"),
    ("Labels", "--label"),
];

/// Printed behind the image, or beside the options.
const ELSEWHERE: &[&str] = &["Cmd"];

/// The options, one item each: `["--publish", "80:80"]`. Hidden values of variables are `***`.
pub fn run_options(options: &ContainerOptions, environment: &[EnvVar]) -> Vec<Vec<String>> {
    let body = serde_json::to_value(&options.body).unwrap_or_default();
    let mut rendered: Vec<Vec<String>> = Vec::new();
    let mut left = flat(&body);
    let health = taken(&mut left, "Healthcheck");
    let endpoints = taken(&mut left, "NetworkingConfig");
    for (name, flag) in FLAGS {
        if let Some(at) = left.iter().position(|(known, _)| known == name) {
            let (_, value) = left.remove(at);
            rendered.extend(values(name, &value, &body).into_iter().map(|value| option(flag, value)));
        }
    }
    rendered.extend(health.iter().flat_map(health_options));
    rendered.extend(endpoints.iter().flat_map(|endpoints| further_networks(endpoints, &body)));
    left.retain(|(name, _)| !ELSEWHERE.contains(&name.as_str()));
    rendered.extend(left.into_iter().map(|(name, value)| vec![format!("--{name}"), plain(&value)]));
    for (network, endpoint) in &options.extra_networks {
        let endpoint = serde_json::to_value(endpoint).unwrap_or_default();
        rendered.push(vec!["--network".into(), joined(network, &endpoint)]);
    }
    rendered.extend(options.platform.iter().map(|platform| vec!["--platform".into(), platform.clone()]));
    rendered.extend(environment.iter().map(|var| vec!["--env".into(), variable(var)]));
    rendered
}

/// The whole line; the container is created, and started by a step of its own.
pub fn create_line(spec: &ContainerSpec) -> String {
    line(&["docker", "create"], spec)
}

/// The whole line of a container that is run to its end and removed.
pub fn run_line(spec: &ContainerSpec) -> String {
    line(&["docker", "run", "--rm"], spec)
}

fn line(command: &[&str], spec: &ContainerSpec) -> String {
    let mut words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    words.extend(["--name".to_owned(), spec.name.clone()]);
    words.extend(spec.run_options().into_iter().flatten());
    words.push(spec.image.argument());
    words.extend(spec.options.body.cmd.iter().flatten().cloned());
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word as a POSIX shell takes it.
pub fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=@,+%*".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

fn option(flag: &str, value: Option<String>) -> Vec<String> {
    std::iter::once(flag.to_owned()).chain(value).collect()
}

pub(crate) fn variable(var: &EnvVar) -> String {
    match &var.value {
        None => var.name.clone(),
        Some(_) if var.hidden => format!("{}=***", var.name),
        Some(value) => format!("{}={}", var.name, value.reveal()),
    }
}

/// The body's entries, those of `HostConfig` and `LogConfig` with their own; nulls left out.
fn flat(body: &Value) -> Vec<(String, Value)> {
    let mut entries = Vec::new();
    for (name, value) in body.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("HostConfig", Value::Object(inner)) => {
                for (name, value) in inner {
                    match (name.as_str(), value) {
                        (_, Value::Null) => {}
                        ("LogConfig", Value::Object(log)) => {
                            entries.extend(
                                log.iter().map(|(name, value)| (format!("HostConfig.LogConfig.{name}"), value.clone())),
                            );
                        }
                        _ => entries.push((format!("HostConfig.{name}"), value.clone())),
                    }
                }
            }
            _ => entries.push((name.clone(), value.clone())),
        }
    }
    entries
}

/// A flag's values; `None` is a flag without one.
fn values(name: &str, value: &Value, body: &Value) -> Vec<Option<String>> {
    let some = |texts: Vec<String>| texts.into_iter().map(Some).collect();
    match name {
        "HostConfig.PortBindings" => some(publications(value)),
        "ExposedPorts" => some(exposed(value, body)),
        "HostConfig.RestartPolicy" => some(vec![restart(value)]),
        "HostConfig.Mounts" => some(items(value).iter().map(compact).collect()),
        "HostConfig.Devices" => some(items(value).iter().map(device).collect()),
        "HostConfig.DeviceRequests" => some(items(value).iter().map(compact).collect()),
        "HostConfig.Ulimits" => some(items(value).iter().map(ulimit).collect()),
        "HostConfig.NanoCpus" => some(vec![(value.as_f64().unwrap_or_default() / 1e9).to_string()]),
        "Entrypoint" => some(vec![plain(value)]),
        "HostConfig.NetworkMode" => some(vec![network(value, body)]),
        _ => generic(value),
    }
}

fn generic(value: &Value) -> Vec<Option<String>> {
    match value {
        Value::Bool(true) => vec![None],
        Value::Bool(false) => vec![Some("false".into())],
        Value::Array(items) => items.iter().map(|item| Some(plain(item))).collect(),
        Value::Object(entries) => entries
            .iter()
            .map(|(name, value)| match plain(value).as_str() {
                "" => Some(name.clone()),
                value => Some(format!("{name}={value}")),
            })
            .collect(),
        other => vec![Some(plain(other))],
    }
}

pub(crate) fn items(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// A text as it is, anything else as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// `Type=bind,Source=/a,Target=/b`: the API's own names, whatever there is.
pub(crate) fn compact(value: &Value) -> String {
    let entries = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    entries.map(|(name, value)| format!("{name}={}", plain(value))).collect::<Vec<_>>().join(",")
}

fn publications(value: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for (port, bindings) in value.as_object().into_iter().flatten() {
        for binding in items(bindings) {
            let host = plain(&binding["HostIp"]);
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            let published = plain(&binding["HostPort"]);
            let port = port.strip_suffix("/tcp").unwrap_or(port);
            lines.push(match (host.as_str(), published.as_str()) {
                ("", "") => port.to_owned(),
                ("", published) => format!("{published}:{port}"),
                (host, published) => format!("{host}:{published}:{port}"),
            });
        }
    }
    lines
}

/// What is published is exposed too; only the rest is said.
fn exposed(value: &Value, body: &Value) -> Vec<String> {
    let published = body["HostConfig"]["PortBindings"].as_object();
    let is_published = |port: &str| published.is_some_and(|published| published.contains_key(port));
    let ports = match value {
        Value::Object(entries) => entries.keys().cloned().collect(),
        other => items(other).iter().map(plain).collect::<Vec<_>>(),
    };
    ports.into_iter().filter(|port| !is_published(port)).collect()
}

fn restart(value: &Value) -> String {
    match value["MaximumRetryCount"].as_i64() {
        Some(count) if count > 0 => format!("{}:{count}", plain(&value["Name"])),
        _ => plain(&value["Name"]),
    }
}

fn device(value: &Value) -> String {
    format!(
        "{}:{}:{}",
        plain(&value["PathOnHost"]),
        plain(&value["PathInContainer"]),
        plain(&value["CgroupPermissions"])
    )
}

pub(crate) fn ulimit(value: &Value) -> String {
    format!("{}={}:{}", plain(&value["Name"]), value["Soft"], value["Hard"])
}

fn network(mode: &Value, body: &Value) -> String {
    let mode = plain(mode);
    joined(&mode, &body["NetworkingConfig"]["EndpointsConfig"][&mode])
}

/// `front`, or `name=front,alias=www,ip=10.0.0.2` as docker's advanced form has it.
pub(crate) fn joined(network: &str, endpoint: &Value) -> String {
    let mut settings = Vec::new();
    for (name, value) in endpoint.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("Aliases", aliases) => {
                settings.extend(items(aliases).iter().map(|alias| format!("alias={}", plain(alias))))
            }
            ("IPAMConfig", ipam) => settings.push(compact(ipam)),
            (name, value) => settings.push(format!("{name}={}", plain(value))),
        }
    }
    match settings.is_empty() {
        true => network.to_owned(),
        false => format!("name={network},{}", settings.join(",")),
    }
}

fn taken(left: &mut Vec<(String, Value)>, name: &str) -> Option<Value> {
    let at = left.iter().position(|(known, _)| known == name)?;
    Some(left.remove(at).1)
}

/// Endpoints beside the one of the network mode.
fn further_networks(endpoints: &Value, body: &Value) -> Vec<Vec<String>> {
    let first = plain(&body["HostConfig"]["NetworkMode"]);
    let all = endpoints["EndpointsConfig"].as_object().into_iter().flatten();
    let further = all.filter(|(name, _)| **name != first);
    further.map(|(name, endpoint)| vec!["--network".to_owned(), joined(name, endpoint)]).collect()
}

/// `--health-cmd` with a shell's text, or with a list as JSON; times as Go prints them.
pub(crate) fn health_options(check: &Value) -> Vec<Vec<String>> {
    let mut options = Vec::new();
    let test = items(&check["Test"]);
    match test.first().and_then(Value::as_str) {
        Some("NONE") => options.push(vec!["--no-healthcheck".to_owned()]),
        Some("CMD-SHELL") => {
            options.push(vec!["--health-cmd".into(), test[1..].iter().map(plain).collect::<Vec<_>>().join(" ")])
        }
        Some(_) => options.push(vec!["--health-cmd".into(), Value::Array(test[1..].to_vec()).to_string()]),
        None => {}
    }
    for (name, flag) in [
        ("Interval", "--health-interval"),
        ("Timeout", "--health-timeout"),
        ("StartPeriod", "--health-start-period"),
        ("StartInterval", "--health-start-interval"),
    ] {
        let nanoseconds = check[name].as_u64().map(std::time::Duration::from_nanos);
        options.extend(nanoseconds.map(|time| vec![flag.to_owned(), format!("{time:?}")]));
    }
    options.extend(check["Retries"].as_i64().map(|count| vec!["--health-retries".to_owned(), count.to_string()]));
    options
}

impl ContainerSpec {
    /// The options as `docker run` takes them, one item each, secrets hidden.
    pub fn run_options(&self) -> Vec<Vec<String>> {
        run_options(&self.options, &self.environment)
    }
}
