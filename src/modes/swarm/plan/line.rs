//! A service's request as the `docker service create` or `update` that says the same.
//!
//! It reads only the request that the engine is given, and whatever has no flag of its own is printed under the API's
//! name: nothing that is sent can be missing from the plan.

use serde_json::Value;

use crate::config::service::is_secret;
use crate::modes::container::run_line::{compact, health_options, items, joined, plain, quoted, ulimit, variable};
use crate::modes::swarm::operation::ServiceRequest;
use crate::modes::swarm::plan::service_spec::is_nothing;
use crate::values::types::EnvVar;

/// The API's names and docker's flags, in the order in which they are printed.
const FLAGS: &[(&str, &str)] = &[
    ("Mode.Global", "--mode"),
    ("Mode.Replicated.Replicas", "--replicas"),
    ("EndpointSpec.Mode", "--endpoint-mode"),
    ("EndpointSpec.Ports", "--publish"),
    ("TaskTemplate.Networks", "--network"),
    ("UpdateConfig.Parallelism", "--update-parallelism"),
    ("UpdateConfig.Delay", "--update-delay"),
    ("UpdateConfig.Monitor", "--update-monitor"),
    ("UpdateConfig.FailureAction", "--update-failure-action"),
    ("UpdateConfig.MaxFailureRatio", "--update-max-failure-ratio"),
    ("UpdateConfig.Order", "--update-order"),
    ("RollbackConfig.Parallelism", "--rollback-parallelism"),
    ("RollbackConfig.Delay", "--rollback-delay"),
    ("RollbackConfig.Monitor", "--rollback-monitor"),
    ("RollbackConfig.FailureAction", "--rollback-failure-action"),
    ("RollbackConfig.MaxFailureRatio", "--rollback-max-failure-ratio"),
    ("RollbackConfig.Order", "--rollback-order"),
    ("TaskTemplate.RestartPolicy.Condition", "--restart-condition"),
    ("TaskTemplate.RestartPolicy.Delay", "--restart-delay"),
    ("TaskTemplate.RestartPolicy.MaxAttempts", "--restart-max-attempts"),
    ("TaskTemplate.RestartPolicy.Window", "--restart-window"),
    ("TaskTemplate.Placement.Constraints", "--constraint"),
    ("TaskTemplate.Placement.Preferences", "--placement-pref"),
    ("TaskTemplate.Placement.MaxReplicas", "--replicas-max-per-node"),
    ("TaskTemplate.Resources.Limits.NanoCPUs", "--limit-cpu"),
    ("TaskTemplate.Resources.Limits.MemoryBytes", "--limit-memory"),
    ("TaskTemplate.Resources.Limits.Pids", "--limit-pids"),
    ("TaskTemplate.Resources.Reservations.NanoCPUs", "--reserve-cpu"),
    ("TaskTemplate.Resources.Reservations.MemoryBytes", "--reserve-memory"),
    ("TaskTemplate.Resources.Reservations.GenericResources", "--generic-resource"),
    ("TaskTemplate.LogDriver.Name", "--log-driver"),
    ("TaskTemplate.LogDriver.Options", "--log-opt"),
    ("TaskTemplate.ContainerSpec.Hostname", "--hostname"),
    ("TaskTemplate.ContainerSpec.Hosts", "--host"),
    ("TaskTemplate.ContainerSpec.DNSConfig.Nameservers", "--dns"),
    ("TaskTemplate.ContainerSpec.DNSConfig.Search", "--dns-search"),
    ("TaskTemplate.ContainerSpec.DNSConfig.Options", "--dns-option"),
    ("TaskTemplate.ContainerSpec.Mounts", "--mount"),
    ("TaskTemplate.ContainerSpec.Secrets", "--secret"),
    ("TaskTemplate.ContainerSpec.Configs", "--config"),
    ("TaskTemplate.ContainerSpec.User", "--user"),
    ("TaskTemplate.ContainerSpec.Groups", "--group"),
    ("TaskTemplate.ContainerSpec.Dir", "--workdir"),
    ("TaskTemplate.ContainerSpec.Command", "--entrypoint"),
    ("TaskTemplate.ContainerSpec.StopSignal", "--stop-signal"),
    ("TaskTemplate.ContainerSpec.StopGracePeriod", "--stop-grace-period"),
    ("TaskTemplate.ContainerSpec.Init", "--init"),
    ("TaskTemplate.ContainerSpec.ReadOnly", "--read-only"),
    ("TaskTemplate.ContainerSpec.CapabilityAdd", "--cap-add"),
    ("TaskTemplate.ContainerSpec.CapabilityDrop", "--cap-drop"),
    ("TaskTemplate.ContainerSpec.Ulimits", "--ulimit"),
    ("TaskTemplate.ContainerSpec.Sysctls", "--sysctl"),
    ("TaskTemplate.ContainerSpec.TTY", "--tty"),
    ("TaskTemplate.ContainerSpec.Labels", "--container-label"),
    ("Labels", "--label"),
];

/// Objects whose entries are printed one by one.
const INNER: &[&str] = &[
    "Mode",
    "Mode.Replicated",
    "EndpointSpec",
    "UpdateConfig",
    "RollbackConfig",
    "TaskTemplate",
    "TaskTemplate.RestartPolicy",
    "TaskTemplate.Placement",
    "TaskTemplate.Resources",
    "TaskTemplate.Resources.Limits",
    "TaskTemplate.Resources.Reservations",
    "TaskTemplate.LogDriver",
    "TaskTemplate.ContainerSpec",
    "TaskTemplate.ContainerSpec.DNSConfig",
];

/// Printed elsewhere: behind the image, hidden, or by rules of their own.
const ELSEWHERE: &[&str] = &[
    "Name",
    "TaskTemplate.ContainerSpec.Args",
    "TaskTemplate.ContainerSpec.Env",
    "TaskTemplate.ContainerSpec.Image",
    "TaskTemplate.ContainerSpec.Healthcheck",
    "TaskTemplate.ContainerSpec.Isolation",
    "TaskTemplate.Runtime",
    "TaskTemplate.ForceUpdate",
];

/// Flags that an update spells with `-add`.
const ADDED: &[&str] = &[
    "--publish",
    "--network",
    "--constraint",
    "--placement-pref",
    "--generic-resource",
    "--host",
    "--dns",
    "--dns-search",
    "--dns-option",
    "--mount",
    "--secret",
    "--config",
    "--group",
    "--ulimit",
    "--sysctl",
    "--container-label",
    "--label",
    "--env",
];

/// The options, one item each: `["--replicas", "2"]`. Hidden values of variables are `***`.
pub fn options(spec: &Value, environment: &[EnvVar], auth: bool) -> Vec<Vec<String>> {
    let mut left = Vec::new();
    flatten("", spec, &mut left);
    let mut rendered: Vec<Vec<String>> = Vec::new();
    for (name, flag) in FLAGS {
        if let Some(at) = left.iter().position(|(known, _)| known == name) {
            let (_, value) = left.remove(at);
            rendered.extend(values(name, &value).into_iter().map(|value| word(flag, value)));
        }
    }
    rendered.extend(health_options(&spec["TaskTemplate"]["ContainerSpec"]["Healthcheck"]));
    left.retain(|(name, _)| !ELSEWHERE.contains(&name.as_str()));
    rendered.extend(left.into_iter().map(|(name, value)| vec![format!("--{name}"), plain(&value)]));
    rendered.extend(environment.iter().map(|var| vec!["--env".into(), variable(var)]));
    if auth {
        rendered.push(vec!["--with-registry-auth".into()]);
    }
    rendered
}

/// The options of a service as it is, for comparing: variables of which `hidden` says so have no value.
pub fn live_options(spec: &Value, hidden: &dyn Fn(&str) -> bool) -> Vec<Vec<String>> {
    let env = items(&spec["TaskTemplate"]["ContainerSpec"]["Env"]);
    let vars = env.iter().map(|text| {
        let text = plain(text);
        let (name, value) = text.split_once('=').map_or((text.as_str(), None), |(name, value)| (name, Some(value)));
        let value = value.map(crate::values::types::Secret::new);
        EnvVar { name: name.to_owned(), value, hidden: hidden(name) || is_secret(name) }
    });
    options(spec, &vars.collect::<Vec<_>>(), false)
}

/// The command behind the image.
pub fn arguments(spec: &Value) -> Vec<String> {
    items(&spec["TaskTemplate"]["ContainerSpec"]["Args"]).iter().map(plain).collect()
}

/// The whole `docker service create`.
pub fn create_line(name: &str, spec: &Value, environment: &[EnvVar], auth: bool, image: &str) -> String {
    let mut words: Vec<String> = ["docker", "service", "create", "--name", name].map(str::to_owned).into();
    words.extend(options(spec, environment, auth).into_iter().flatten());
    words.push(image.to_owned());
    words.extend(arguments(spec));
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// The whole `docker service update`.
pub fn update_line(request: &ServiceRequest) -> String {
    let mut words: Vec<String> = ["docker", "service", "update", "--image"].map(str::to_owned).into();
    words.push(request.image.argument());
    for mut option in request.options() {
        if ADDED.contains(&option[0].as_str()) {
            option[0].push_str("-add");
        }
        words.extend(option);
    }
    let arguments = arguments(&request.spec);
    if !arguments.is_empty() {
        words.push("--args".into());
        words.push(arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
    }
    words.push(request.name.clone());
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn flatten(path: &str, value: &Value, out: &mut Vec<(String, Value)>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if INNER.contains(&path.as_str()) {
            flatten(&path, value, out);
        } else if path == "Mode.Global"
            || path.ends_with(".Parallelism")
            || path.ends_with(".Replicas")
            || !is_nothing(value)
        {
            out.push((path, value.clone()));
        }
    }
}

fn word(flag: &str, value: Option<String>) -> Vec<String> {
    std::iter::once(flag.to_owned()).chain(value).collect()
}

/// A flag's values; `None` is a flag without one.
fn values(name: &str, value: &Value) -> Vec<Option<String>> {
    let one = |text: String| vec![Some(text)];
    let each = |render: fn(&Value) -> String| items(value).iter().map(|item| Some(render(item))).collect();
    let last = name.rsplit('.').next().unwrap_or_default();
    match last {
        "Global" => one("global".into()),
        "Delay" | "Monitor" | "Window" | "StopGracePeriod" => one(duration(value)),
        "NanoCPUs" => one((value.as_f64().unwrap_or_default() / 1e9).to_string()),
        "Ports" => each(port),
        "Networks" => each(|network| {
            let entries = network.as_object().into_iter().flatten();
            let rest: Value =
                entries.filter(|(key, _)| *key != "Target").map(|(key, v)| (key.clone(), v.clone())).collect();
            joined(&plain(&network["Target"]), &rest)
        }),
        "Preferences" => each(|item| format!("spread={}", plain(&item["Spread"]["SpreadDescriptor"]))),
        "GenericResources" => each(|item| {
            let resource = &item["DiscreteResourceSpec"];
            format!("{}={}", plain(&resource["Kind"]), plain(&resource["Value"]))
        }),
        "Mounts" => each(compact),
        "Secrets" | "Configs" => each(file),
        "Ulimits" => each(ulimit),
        "Command" => one(items(value).iter().map(|word| quoted(&plain(word))).collect::<Vec<_>>().join(" ")),
        _ => generic(value),
    }
}

fn generic(value: &Value) -> Vec<Option<String>> {
    match value {
        Value::Bool(true) => vec![None],
        Value::Bool(false) => vec![Some("false".into())],
        Value::Array(items) => items.iter().map(|item| Some(plain(item))).collect(),
        Value::Object(entries) => {
            entries.iter().map(|(name, value)| Some(format!("{name}={}", plain(value)))).collect()
        }
        other => vec![Some(plain(other))],
    }
}

fn duration(value: &Value) -> String {
    format!("{:?}", std::time::Duration::from_nanos(value.as_u64().unwrap_or_default()))
}

/// `80:80`, or the long form where it is more than that.
fn port(port: &Value) -> String {
    let (published, target) = (plain(&port["PublishedPort"]), plain(&port["TargetPort"]));
    let is_plain = port["PublishMode"] != "host" && port["Protocol"] == "tcp" && !published.is_empty();
    if is_plain {
        return format!("{published}:{target}");
    }
    let published = if published.is_empty() { published } else { format!("published={published},") };
    format!("{published}target={target},protocol={},mode={}", plain(&port["Protocol"]), plain(&port["PublishMode"]))
}

fn file(file: &Value) -> String {
    let source = plain(file.get("SecretName").or(file.get("ConfigName")).unwrap_or(&Value::Null));
    let target = &file["File"];
    let mode = target["Mode"].as_u64().unwrap_or_default();
    format!(
        "source={source},target={},uid={},gid={},mode={mode:04o}",
        plain(&target["Name"]),
        plain(&target["UID"]),
        plain(&target["GID"])
    )
}
