//! What monitoring is told of each name: Prometheus' text format, and CloudWatch's embedded metric format.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;

/// What is measured of one name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NameMetrics {
    pub(crate) name: String,
    /// The release that was deployed last.
    pub(crate) release: Option<ReleaseInfo>,
    pub(crate) up: bool,
    /// None where that is not known: of a swarm's service, or of what does not run.
    pub(crate) healthy: Option<bool>,
    /// A person has stopped it.
    pub(crate) stopped: bool,
    pub(crate) under_way: bool,
    /// Options changed by hand; none where that is not known.
    pub(crate) drift: Option<usize>,
    /// Killed deployments that left something.
    pub(crate) leftovers: usize,
    /// Tasks of a service that run, and that should.
    pub(crate) tasks: Option<(u64, u64)>,
    /// All deployments of this host.
    pub(crate) deployments: u64,
    /// How many of those that are remembered ended so.
    pub(crate) results: Vec<(&'static str, u64)>,
    pub(crate) last: Option<LastDeployment>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReleaseInfo {
    pub(crate) image: String,
    pub(crate) tag: String,
    pub(crate) digest: String,
    pub(crate) deployment: String,
}

/// The last deployment that ended; one that is under way is not counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LastDeployment {
    pub(crate) succeeded: bool,
    /// When it ended, in seconds since 1970.
    pub(crate) ended: f64,
    pub(crate) seconds: f64,
    pub(crate) moved: u64,
    pub(crate) down: Option<f64>,
}

/// One metric: how Prometheus and CloudWatch call it, and its value where it has one.
struct Metric {
    name: &'static str,
    /// `Up`, and CloudWatch's unit.
    emf: (&'static str, &'static str),
    kind: &'static str,
    help: &'static str,
    value: fn(&NameMetrics) -> Option<f64>,
}

const fn gauge(
    name: &'static str,
    emf: (&'static str, &'static str),
    help: &'static str,
    value: fn(&NameMetrics) -> Option<f64>,
) -> Metric {
    Metric { name, emf, kind: "gauge", help, value }
}

fn yes(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[allow(clippy::cast_precision_loss)] // counts and bytes, far below 2^52
fn count(count: u64) -> f64 {
    count as f64
}

const METRICS: [Metric; 14] = [
    gauge("balehook_up", ("Up", "None"), "Whether what was deployed runs: of a service all of its tasks.", |it| {
        Some(yes(it.up))
    }),
    gauge("balehook_healthy", ("Healthy", "None"), "Whether its health check passes now.", |it| it.healthy.map(yes)),
    gauge("balehook_stopped", ("Stopped", "None"), "Whether a person has stopped it with balehook stop.", |it| {
        Some(yes(it.stopped))
    }),
    gauge("balehook_deployment_under_way", ("UnderWay", "None"), "Whether a deployment is at work now.", |it| {
        Some(yes(it.under_way))
    }),
    gauge("balehook_drift", ("Drift", "Count"), "Options changed by hand since the release was deployed.", |it| {
        it.drift.map(|changes| count(changes as u64))
    }),
    gauge("balehook_leftovers", ("Leftovers", "Count"), "Killed deployments that left something.", |it| {
        Some(count(it.leftovers as u64))
    }),
    gauge("balehook_tasks_running", ("TasksRunning", "Count"), "Tasks of a swarm's service that run.", |it| {
        it.tasks.map(|(running, _)| count(running))
    }),
    gauge("balehook_tasks_wanted", ("TasksWanted", "Count"), "Tasks of a swarm's service that should run.", |it| {
        it.tasks.map(|(_, wanted)| count(wanted))
    }),
    Metric {
        name: "balehook_deployments_total",
        emf: ("Deployments", "Count"),
        kind: "counter",
        help: "Deployments, and commands such as rollback and stop, that this host has run.",
        value: |it| Some(count(it.deployments)),
    },
    gauge(
        "balehook_last_deployment_success",
        ("LastDeploymentSuccess", "None"),
        "Whether the last deployment that ended was successful.",
        |it| Some(yes(it.last.as_ref()?.succeeded)),
    ),
    gauge(
        "balehook_last_deployment_timestamp_seconds",
        ("LastDeploymentTimestamp", "Seconds"),
        "When the last deployment ended, in seconds since 1970.",
        |it| Some(it.last.as_ref()?.ended),
    ),
    gauge(
        "balehook_last_deployment_duration_seconds",
        ("LastDeploymentDuration", "Seconds"),
        "How long the last deployment took, from its first event to its last.",
        |it| Some(it.last.as_ref()?.seconds),
    ),
    gauge(
        "balehook_last_deployment_downtime_seconds",
        ("LastDeploymentDowntime", "Seconds"),
        "How long the service was down in the last deployment, where that is known.",
        |it| it.last.as_ref()?.down,
    ),
    gauge(
        "balehook_last_deployment_transferred_bytes",
        ("LastDeploymentTransferred", "Bytes"),
        "Bytes of images that the last deployment transferred.",
        |it| Some(count(it.last.as_ref()?.moved)),
    ),
];

/// The text that node_exporter's textfile collector reads. `engine`: whether the engine answers; where it does not, nothing is
/// said of names.
pub(crate) fn prometheus(engine: bool, all: &[NameMetrics]) -> String {
    let mut out = String::new();
    let build = format!("{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    family(&mut out, "balehook_build_info", "gauge", "The version of balehook.", &[build]);
    let up = [format!(" {}", yes(engine))];
    family(&mut out, "balehook_engine_up", "gauge", "Whether the engine answers.", &up);
    let releases: Vec<String> = all.iter().filter_map(release_info).collect();
    family(&mut out, "balehook_release_info", "gauge", "The release that was deployed last.", &releases);
    for metric in &METRICS {
        let samples =
            all.iter().filter_map(|it| Some(format!("{} {}", labels(&[("name", &it.name)]), (metric.value)(it)?)));
        family(&mut out, metric.name, metric.kind, metric.help, &samples.collect::<Vec<_>>());
    }
    let results = all.iter().flat_map(|it| {
        it.results
            .iter()
            .map(|(result, count)| format!("{} {count}", labels(&[("name", &it.name), ("result", result)])))
    });
    let help = "How many of the last 100 deployments ended so.";
    family(&mut out, "balehook_recent_deployments", "gauge", help, &results.collect::<Vec<_>>());
    out
}

/// Source: Prometheus, "Exposition formats".
fn family(out: &mut String, name: &str, kind: &str, help: &str, samples: &[String]) {
    if samples.is_empty() {
        return;
    }
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    samples.iter().for_each(|sample| _ = writeln!(out, "{name}{sample}"));
}

fn release_info(it: &NameMetrics) -> Option<String> {
    let ReleaseInfo { image, tag, digest, deployment } = it.release.as_ref()?;
    let all =
        [("name", it.name.as_str()), ("image", image), ("tag", tag), ("digest", digest), ("deployment", deployment)];
    Some(format!("{} 1", labels(&all)))
}

fn labels(all: &[(&str, &str)]) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let each: Vec<String> = all.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", each.join(","))
}

/// A line for each name. `at`: milliseconds since 1970.
///
/// Source: Amazon CloudWatch, "Specification: Embedded metric format".
pub(crate) fn emf(all: &[NameMetrics], host: &str, at: i64) -> String {
    all.iter().map(|it| format!("{}\n", line(it, host, at))).collect()
}

fn line(it: &NameMetrics, host: &str, at: i64) -> Value {
    let known = METRICS.iter().filter_map(|metric| Some((metric.emf, (metric.value)(it)?)));
    let known: Vec<((&str, &str), f64)> = known.collect();
    let definitions: Vec<Value> = known.iter().map(|((name, unit), _)| json!({ "Name": name, "Unit": unit })).collect();
    let mut members = Map::new();
    let directive = json!({ "Namespace": "balehook", "Dimensions": [["Name"]], "Metrics": definitions });
    members.insert("_aws".into(), json!({ "Timestamp": at, "CloudWatchMetrics": [directive] }));
    members.insert("Name".into(), it.name.clone().into());
    members.insert("Host".into(), host.into());
    if let Some(release) = &it.release {
        members.insert("Image".into(), release.image.clone().into());
        members.insert("Digest".into(), release.digest.clone().into());
        members.insert("Deployment".into(), release.deployment.clone().into());
    }
    members.extend(known.into_iter().map(|((name, _), value)| (name.to_owned(), json!(value))));
    Value::Object(members)
}
