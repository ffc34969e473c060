//! The one translation of a validated service into swarm's ServiceSpec, without image and environment.
//!
//! Source: Docker Engine API 1.41, `ServiceSpec`. What is zero or empty is left out: that is what the engine assumes.

use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::config::swarm::{Deploy, FileKind, FileSource, MountedFile, Rollout, ServiceNetwork, ServicePort, Swarm};
use crate::values::labels::LABEL_NAME;

/// What is not in the file: the swarm's state, and digests of files.
pub(crate) struct SpecContext<'a> {
    pub(crate) name: &'a str,
    /// Tasks, where the file does not say how many.
    pub(crate) replicas: u64,
    /// `ForceUpdate` as the service has it: a counter whose value means nothing.
    pub(crate) force: u64,
    pub(crate) file_name: &'a dyn Fn(&MountedFile) -> String,
}

/// The request's body. Labels of ours are added by the caller, but for the name.
pub(crate) fn service_spec(swarm: &Swarm, around: &SpecContext<'_>) -> Value {
    let deploy = &swarm.deploy;
    let mut labels: Map<String, Value> =
        deploy.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    labels.insert(LABEL_NAME.into(), around.name.into());
    object([
        ("Name", around.name.into()),
        ("Labels", Value::Object(labels)),
        ("TaskTemplate", task(swarm, around)),
        ("Mode", mode(deploy, around.replicas)),
        ("UpdateConfig", rollout(&deploy.update)),
        ("RollbackConfig", rollout(&deploy.rollback)),
        ("EndpointSpec", endpoint(deploy, &swarm.ports)),
    ])
}

/// An object without what is null, zero or empty; `Mode` keeps its empty `Global`.
fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let kept = entries.into_iter().filter(|(name, value)| *name == "Mode" || !is_nothing(value));
    Value::Object(kept.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// What the engine takes for "not given".
pub(crate) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.values().all(is_nothing),
    }
}

fn nanoseconds(duration: Duration) -> Value {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX).into()
}

fn value_of<T: Serialize>(value: &T) -> Value {
    pruned(serde_json::to_value(value).unwrap_or_default())
}

/// A copy without nulls.
fn pruned(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let kept = entries.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, pruned(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(pruned).collect(),
        other => other,
    }
}

fn mode(deploy: &Deploy, replicas: u64) -> Value {
    match deploy.global {
        true => json!({ "Global": {} }),
        false => json!({ "Replicated": { "Replicas": deploy.replicas.unwrap_or(replicas) } }),
    }
}

fn rollout(rollout: &Rollout) -> Value {
    // Always sent: 0 means all at once, which is not the default.
    let mut config = object([
        ("Delay", nanoseconds(rollout.delay)),
        ("Monitor", nanoseconds(rollout.monitor)),
        ("FailureAction", rollout.failure_action.as_str().into()),
        ("MaxFailureRatio", rollout.max_failure_ratio.into()),
        ("Order", rollout.order.as_str().into()),
    ]);
    config["Parallelism"] = rollout.parallelism.into();
    config
}

fn endpoint(deploy: &Deploy, ports: &[ServicePort]) -> Value {
    let ports = ports.iter().map(|port| {
        object([
            ("Protocol", port.protocol.clone().into()),
            ("TargetPort", port.target.into()),
            ("PublishedPort", port.published.into()),
            ("PublishMode", if port.host { "host" } else { "ingress" }.into()),
        ])
    });
    object([("Mode", if deploy.dnsrr { "dnsrr" } else { "vip" }.into()), ("Ports", ports.collect())])
}

fn task(swarm: &Swarm, around: &SpecContext<'_>) -> Value {
    let host = swarm.service.body.host_config.clone().unwrap_or_default();
    let deploy = &swarm.deploy;
    let restart = &deploy.restart;
    object([
        ("ContainerSpec", container(swarm, &host, around)),
        ("Resources", resources(deploy, &host)),
        (
            "RestartPolicy",
            object([
                ("Condition", restart.condition.into()),
                ("Delay", nanoseconds(restart.delay)),
                ("MaxAttempts", restart.max_attempts.into()),
                ("Window", nanoseconds(restart.window)),
            ]),
        ),
        ("Placement", placement(swarm)),
        ("Networks", swarm.networks.iter().map(network).collect()),
        ("LogDriver", log_driver(&host)),
        ("ForceUpdate", around.force.into()),
    ])
}

/// Where tasks may run, of the service and of the one that checks the nodes.
pub(crate) fn placement(swarm: &Swarm) -> Value {
    let deploy = &swarm.deploy;
    let preferences = deploy.preferences.iter().map(|spread| json!({ "Spread": { "SpreadDescriptor": spread.0 } }));
    object([
        ("Constraints", deploy.constraints.clone().into()),
        ("Preferences", preferences.collect()),
        ("MaxReplicas", deploy.max_replicas_per_node.into()),
        ("Platforms", swarm.service.platform.iter().map(|text| platform(text)).collect()),
    ])
}

fn platform(text: &str) -> Value {
    let mut parts = text.split('/');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    match second {
        Some(architecture) => json!({ "OS": first, "Architecture": architecture }),
        None => json!({ "OS": "linux", "Architecture": first }),
    }
}

fn network(network: &ServiceNetwork) -> Value {
    let options: Map<String, Value> =
        network.driver_opts.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    object([
        ("Target", network.name.clone().into()),
        ("Aliases", network.aliases.clone().into()),
        ("DriverOpts", Value::Object(options)),
    ])
}

fn log_driver(host: &HostConfig) -> Value {
    let Some(log) = &host.log_config else { return Value::Null };
    object([("Name", value_of(&log.typ)), ("Options", value_of(&log.config))])
}

fn resources(deploy: &Deploy, host: &HostConfig) -> Value {
    let (cpus, memory, pids) = deploy.limits;
    let reserved = &deploy.reservations;
    let generic = reserved
        .generic
        .iter()
        .map(|(kind, count)| json!({ "DiscreteResourceSpec": { "Kind": kind, "Value": count } }));
    object([
        (
            "Limits",
            object([
                ("NanoCPUs", value_of(&cpus.or(host.nano_cpus))),
                ("MemoryBytes", value_of(&memory.or(host.memory))),
                ("Pids", value_of(&pids.or(host.pids_limit))),
            ]),
        ),
        (
            "Reservations",
            object([
                ("NanoCPUs", value_of(&reserved.nano_cpus)),
                ("MemoryBytes", value_of(&reserved.memory.or(host.memory_reservation))),
                ("GenericResources", generic.collect()),
            ]),
        ),
    ])
}

fn container(swarm: &Swarm, host: &HostConfig, around: &SpecContext<'_>) -> Value {
    let body: &ContainerCreateBody = &swarm.service.body;
    let files = |kind| swarm.files.iter().filter(move |file| file.kind == kind).map(|file| mounted(file, around));
    object([
        ("Labels", value_of(&body.labels)),
        ("Command", value_of(&body.entrypoint)),
        ("Args", value_of(&body.cmd)),
        ("Hostname", value_of(&body.hostname)),
        ("Dir", value_of(&body.working_dir)),
        ("User", value_of(&body.user)),
        ("Groups", value_of(&host.group_add)),
        ("TTY", value_of(&body.tty)),
        ("OpenStdin", value_of(&body.open_stdin)),
        ("ReadOnly", value_of(&host.readonly_rootfs)),
        ("Mounts", value_of(&swarm.mounts)),
        ("StopSignal", value_of(&body.stop_signal)),
        ("StopGracePeriod", value_of(&body.stop_timeout.map(|seconds| seconds.saturating_mul(1_000_000_000)))),
        ("Healthcheck", value_of(&body.healthcheck)),
        ("Hosts", host.extra_hosts.iter().flatten().map(|entry| hosts_line(entry)).collect()),
        (
            "DNSConfig",
            object([
                ("Nameservers", value_of(&host.dns)),
                ("Search", value_of(&host.dns_search)),
                ("Options", value_of(&host.dns_options)),
            ]),
        ),
        ("Secrets", files(FileKind::Secret).collect()),
        ("Configs", files(FileKind::Config).collect()),
        ("Init", value_of(&swarm.init_process)),
        ("Sysctls", value_of(&host.sysctls)),
        ("CapabilityAdd", capabilities(host.cap_add.as_deref())),
        ("CapabilityDrop", capabilities(host.cap_drop.as_deref())),
        ("Ulimits", value_of(&host.ulimits)),
    ])
}

/// As `/etc/hosts` has it: the address first.
fn hosts_line(entry: &str) -> Value {
    let (name, address) = entry.split_once(':').unwrap_or((entry, ""));
    format!("{address} {name}").into()
}

/// Swarm's own spelling: `CAP_NET_ADMIN`.
fn capabilities(names: Option<&[String]>) -> Value {
    let each = names.unwrap_or_default().iter().map(|name| {
        let name = name.to_uppercase();
        let known = name == "ALL" || name.starts_with("CAP_");
        Value::String(if known { name } else { format!("CAP_{name}") })
    });
    each.collect()
}

fn mounted(file: &MountedFile, around: &SpecContext<'_>) -> Value {
    let word = match file.kind {
        FileKind::Secret => "SecretName",
        FileKind::Config => "ConfigName",
    };
    let target = json!({ "Name": file.target, "UID": file.uid, "GID": file.gid, "Mode": file.mode });
    json!({ word: (around.file_name)(file), "File": target })
}

/// The name of a secret or a config: what is made from a file is named by its content too.
pub(crate) fn file_name(file: &MountedFile, digest: Option<&str>) -> String {
    match &file.source {
        FileSource::Existing(name) => name.clone(),
        FileSource::File { stem, .. } | FileSource::Variable { stem, .. } | FileSource::Fetched { stem, .. } => {
            format!("{stem}-{}", digest.unwrap_or("unread"))
        }
    }
}
