//! `deploy`: Compose's deploy specification, as swarm honours it.

use std::time::Duration;

use crate::config::field::Field;
use crate::config::service::labels;
use crate::config::service::resources::{memory, nano_cpus};

/// `deploy`.
#[derive(Debug, Clone, PartialEq)]
pub struct Deploy {
    /// One task on every node that may run it.
    pub(crate) global: bool,
    /// How many tasks; `None` keeps what is there (1 at first).
    pub(crate) replicas: Option<u64>,
    /// Labels of the service, sorted. (`labels` beside `deploy` are the containers'.)
    pub(crate) labels: Vec<(String, String)>,
    /// How a new release rolls out. `start-first` and `rollback`, where nothing else is said.
    pub(crate) update: Rollout,
    pub(crate) rollback: Rollout,
    pub(crate) restart: Restart,
    pub(crate) constraints: Vec<String>,
    pub(crate) preferences: Vec<Spread>,
    /// `placement.max_replicas_per_node`; 0 is no limit.
    pub(crate) max_replicas_per_node: u64,
    /// `resources.limits`: a billionth of a processor, bytes, processes.
    pub(crate) limits: (Option<i64>, Option<i64>, Option<i64>),
    pub(crate) reservations: Reservations,
    /// `endpoint_mode: dnsrr` instead of a virtual address.
    pub(crate) dnsrr: bool,
}

/// `update_config` and `rollback_config`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// Tasks at once; 0 is all.
    pub(crate) parallelism: u64,
    /// Between two batches.
    pub(crate) delay: Duration,
    /// How long after its start a task's failure counts.
    pub(crate) monitor: Duration,
    /// What follows too many failures.
    pub(crate) failure_action: FailureAction,
    /// The part of the tasks that may fail.
    pub(crate) max_failure_ratio: f64,
    /// Whether the new task starts before the old one stops.
    pub(crate) order: Order,
}

/// What follows too many failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureAction {
    /// Stop where it is.
    Pause,
    /// Go on.
    Continue,
    /// The previous spec comes back.
    Rollback,
}

/// Which comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The new task.
    StartFirst,
    /// The old one's end.
    StopFirst,
}

/// `restart_policy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// `none`, `on-failure` or `any`.
    pub(crate) condition: &'static str,
    /// Between two attempts.
    pub(crate) delay: Duration,
    /// At most; 0 is without end.
    pub(crate) max_attempts: u64,
    /// Within what time attempts are counted; zero is always.
    pub(crate) window: Duration,
}

/// `resources.reservations`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reservations {
    /// A billionth of a processor.
    pub(crate) nano_cpus: Option<i64>,
    /// Bytes.
    pub(crate) memory: Option<i64>,
    /// Kinds with their numbers.
    pub(crate) generic: Vec<(String, i64)>,
}

/// One of `placement.preferences`: spread evenly over the values of a node's label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread(pub String);

impl FailureAction {
    /// The API's word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Continue => "continue",
            Self::Rollback => "rollback",
        }
    }
}

impl Order {
    /// The API's word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::StartFirst => "start-first",
            Self::StopFirst => "stop-first",
        }
    }
}

impl Deploy {
    /// What stands where `deploy` says nothing, with `restart` beside it. A port of the host can be had by one task of a
    /// node only: there the old task must stop first.
    pub(crate) fn new(restart: Option<&str>, host_ports: bool) -> Self {
        let rollout = |failure_action| Rollout {
            parallelism: 1,
            delay: Duration::ZERO,
            monitor: Duration::from_secs(5),
            failure_action,
            max_failure_ratio: 0.0,
            order: if host_ports { Order::StopFirst } else { Order::StartFirst },
        };
        Self {
            global: false,
            replicas: None,
            labels: Vec::new(),
            update: rollout(FailureAction::Rollback),
            rollback: rollout(FailureAction::Pause),
            restart: restart_of(restart),
            constraints: Vec::new(),
            preferences: Vec::new(),
            max_replicas_per_node: 0,
            limits: (None, None, None),
            reservations: Reservations::default(),
            dnsrr: false,
        }
    }
}

/// Reads `deploy`.
pub(crate) fn read(field: &Field<'_>, default: &Deploy, host_ports: bool) -> Deploy {
    let mut deploy = default.clone();
    field.mapping(|keys| {
        deploy.global = keys.get("mode", mode) == Some("global");
        deploy.replicas = keys.get("replicas", Field::count);
        deploy.labels = keys.all("labels", labels).unwrap_or_default().into_iter().collect();
        deploy.labels.sort_unstable();
        keys.all("update_config", |field| rollout(field, &mut deploy.update, &["continue", "rollback", "pause"]));
        keys.all("rollback_config", |field| rollout(field, &mut deploy.rollback, &["continue", "pause"]));
        keys.all("restart_policy", |field| restart(field, &mut deploy.restart));
        keys.all("placement", |field| placement(field, &mut deploy));
        keys.all("resources", |field| resources(field, &mut deploy));
        deploy.dnsrr = keys.one_of("endpoint_mode", &["vip", "dnsrr"]) == Some("dnsrr");
    });
    check(field, &deploy, host_ports);
    deploy
}

fn mode(field: &Field<'_>) -> Option<&'static str> {
    match field.node.as_text() {
        Some("replicated-job" | "global-job") => {
            field.refuse("a job ends, and cannot be deployed as a service", "use `before:` or `after:`")
        }
        _ => field.one_of(&["replicated", "global"]),
    }
}

fn check(field: &Field<'_>, deploy: &Deploy, host_ports: bool) {
    if deploy.global && deploy.replicas.is_some() {
        field.error("`replicas` means nothing with `mode: global`", "leave one of them out");
    }
    if deploy.global && deploy.max_replicas_per_node > 0 {
        field.error("`max_replicas_per_node` means nothing with `mode: global`", "leave it out");
    }
    if host_ports && deploy.update.order == Order::StartFirst {
        field.error(
            "`order: start-first` cannot work with a port of the host: the old task holds it",
            "leave `order` out, or publish in ingress mode",
        );
    }
}

fn rollout(field: &Field<'_>, rollout: &mut Rollout, actions: &[&'static str]) {
    *rollout = field.mapping(|keys| Rollout {
        parallelism: keys.get("parallelism", Field::count).unwrap_or(rollout.parallelism),
        delay: keys.get("delay", Field::duration).unwrap_or(rollout.delay),
        monitor: keys.get("monitor", Field::duration).unwrap_or(rollout.monitor),
        failure_action: keys.one_of("failure_action", actions).map_or(rollout.failure_action, action),
        max_failure_ratio: keys.get("max_failure_ratio", ratio).unwrap_or(rollout.max_failure_ratio),
        order: keys.one_of("order", &["start-first", "stop-first"]).map_or(rollout.order, order),
    });
}

fn action(text: &str) -> FailureAction {
    match text {
        "continue" => FailureAction::Continue,
        "rollback" => FailureAction::Rollback,
        _ => FailureAction::Pause,
    }
}

fn order(text: &str) -> Order {
    if text == "stop-first" { Order::StopFirst } else { Order::StartFirst }
}

fn ratio(field: &Field<'_>) -> Option<f64> {
    let ratio = field.number()?;
    match ratio <= 1.0 {
        true => Some(ratio),
        false => field.refuse(format!("`{ratio}` is no part of the tasks"), "write a number from 0 to 1"),
    }
}

/// `restart` beside `deploy`, as `docker stack deploy` reads it. Its text was checked already.
fn restart_of(text: Option<&str>) -> Restart {
    let (condition, attempts) = match text.map(|text| text.split_once(':').unwrap_or((text, ""))) {
        Some(("no" | "false", _)) => ("none", 0),
        Some(("on-failure", attempts)) => ("on-failure", attempts.parse().unwrap_or(0)),
        _ => ("any", 0),
    };
    Restart { condition, delay: Duration::from_secs(5), max_attempts: attempts, window: Duration::ZERO }
}

fn restart(field: &Field<'_>, restart: &mut Restart) {
    *restart = field.mapping(|keys| Restart {
        condition: keys.one_of("condition", &["none", "on-failure", "any"]).unwrap_or(restart.condition),
        delay: keys.get("delay", Field::duration).unwrap_or(restart.delay),
        max_attempts: keys.get("max_attempts", Field::count).unwrap_or(restart.max_attempts),
        window: keys.get("window", Field::duration).unwrap_or(restart.window),
    });
}

fn placement(field: &Field<'_>, deploy: &mut Deploy) {
    field.mapping(|keys| {
        deploy.constraints = keys.all("constraints", |field| field.items(constraint)).unwrap_or_default();
        deploy.preferences = keys.all("preferences", |field| field.items(preference)).unwrap_or_default();
        deploy.max_replicas_per_node = keys.get("max_replicas_per_node", Field::count).unwrap_or(0);
    });
}

fn constraint(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    match text.split_once("==").or_else(|| text.split_once("!=")) {
        Some((key, value)) if !key.trim().is_empty() && !value.trim().is_empty() => Some(text),
        _ => field.refuse(format!("`{text}` is no constraint"), "write `node.role==worker` or `node.labels.zone!=b`"),
    }
}

fn preference(field: &Field<'_>) -> Option<Spread> {
    field.mapping(|keys| keys.get("spread", Field::text).map(Spread))
}

fn resources(field: &Field<'_>, deploy: &mut Deploy) {
    field.mapping(|keys| {
        deploy.limits = keys.all("limits", limits).unwrap_or_default();
        deploy.reservations = keys.all("reservations", reservations).unwrap_or_default();
    });
}

fn limits(field: &Field<'_>) -> (Option<i64>, Option<i64>, Option<i64>) {
    field.mapping(|keys| {
        (keys.get("cpus", nano_cpus), keys.get("memory", memory), keys.get("pids", |field| field.integer(-1)))
    })
}

fn reservations(field: &Field<'_>) -> Reservations {
    field.mapping(|keys| {
        if let Some(devices) = keys.unlisted("devices") {
            devices.error("swarm gives no devices", "use `generic_resources`, as the nodes announce them");
        }
        Reservations {
            nano_cpus: keys.get("cpus", nano_cpus),
            memory: keys.get("memory", Field::size),
            generic: keys.all("generic_resources", |field| field.items(generic)).unwrap_or_default(),
        }
    })
}

fn generic(field: &Field<'_>) -> Option<(String, i64)> {
    let spec = |field: &Field<'_>| {
        field.mapping(|keys| keys.get("kind", Field::text).zip(keys.get("value", |field| field.integer(1))))
    };
    field.mapping(|keys| keys.get("discrete_resource_spec", spec)).or_else(|| {
        field.refuse("`kind` and `value` are needed", "write `discrete_resource_spec: {kind: gpu, value: 1}`")
    })
}
