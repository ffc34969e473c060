//! `deploy`: Compose's deploy specification, as swarm honours it.

use std::time::Duration;

use crate::config::service::labels;
use crate::config::service::read::Field;
use crate::config::service::resources::{memory, nano_cpus};
use crate::config::yaml::Value;

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
    /// How it is rolled back.
    pub(crate) rollback: Rollout,
    /// `restart_policy`.
    pub(crate) restart: Restart,
    /// `placement.constraints`.
    pub(crate) constraints: Vec<String>,
    /// `placement.preferences`.
    pub(crate) preferences: Vec<Spread>,
    /// `placement.max_replicas_per_node`; 0 is no limit.
    pub(crate) max_replicas_per_node: u64,
    /// `resources.limits`: a billionth of a processor, bytes, processes.
    pub(crate) limits: (Option<i64>, Option<i64>, Option<i64>),
    /// `resources.reservations`.
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

const KEYS: &[&str] = &[
    "mode", "replicas", "labels", "update_config", "rollback_config", "restart_policy", "placement", "resources",
    "endpoint_mode",
];

const ROLLOUT: &[&str] = &["parallelism", "delay", "monitor", "failure_action", "max_failure_ratio", "order"];

/// Reads `deploy` of the service `field`. A port of the host can be had by one task of a node only: there the old task
/// must stop first.
pub(crate) fn read(field: &mut Field<'_, '_>, host_ports: bool) -> Deploy {
    let order = if host_ports { Order::StopFirst } else { Order::StartFirst };
    let rollout = |action| Rollout {
        parallelism: 1,
        delay: Duration::ZERO,
        monitor: Duration::from_secs(5),
        failure_action: action,
        max_failure_ratio: 0.0,
        order,
    };
    let mut deploy = Deploy {
        global: false,
        replicas: None,
        labels: Vec::new(),
        update: rollout(FailureAction::Rollback),
        rollback: rollout(FailureAction::Pause),
        restart: restart_of(field.node.get("restart").and_then(|(_, value)| value.as_text())),
        constraints: Vec::new(),
        preferences: Vec::new(),
        max_replicas_per_node: 0,
        limits: (None, None, None),
        reservations: Reservations::default(),
        dnsrr: false,
    };
    let Some((_, node)) = field.node.get("deploy").filter(|(_, node)| !node.is_null()) else { return deploy };
    let mut field = field.inner(node, "deploy");
    field.known(KEYS, |name, field| one(name, field, &mut deploy));
    check(&mut field, &deploy, host_ports);
    deploy
}

fn one(name: &str, field: &mut Field<'_, '_>, deploy: &mut Deploy) -> bool {
    match name {
        "mode" => mode(field, deploy),
        "replicas" => deploy.replicas = field.integer(0).and_then(|count| u64::try_from(count).ok()),
        "labels" => {
            deploy.labels = labels(field).into_iter().collect();
            deploy.labels.sort_unstable();
        }
        "update_config" => rollout(field, &mut deploy.update, true),
        "rollback_config" => rollout(field, &mut deploy.rollback, false),
        "restart_policy" => restart(field, &mut deploy.restart),
        "placement" => placement(field, deploy),
        "resources" => resources(field, deploy),
        "endpoint_mode" => deploy.dnsrr = field.one_of(&["vip", "dnsrr"]).as_deref() == Some("dnsrr"),
        _ => return false,
    }
    true
}

fn mode(field: &mut Field<'_, '_>, deploy: &mut Deploy) {
    match field.node.as_text() {
        Some("replicated-job" | "global-job") => {
            field.refuse::<()>("a job ends, and cannot be deployed as a service", "use `before:` or `after:`");
        }
        _ => deploy.global = field.one_of(&["replicated", "global"]).as_deref() == Some("global"),
    }
}

fn check(field: &mut Field<'_, '_>, deploy: &Deploy, host_ports: bool) {
    if deploy.global && deploy.replicas.is_some() {
        field.refuse::<()>("`replicas` means nothing with `mode: global`", "leave one of them out");
    }
    if deploy.global && deploy.max_replicas_per_node > 0 {
        field.refuse::<()>("`max_replicas_per_node` means nothing with `mode: global`", "leave it out");
    }
    if host_ports && deploy.update.order == Order::StartFirst {
        field.refuse::<()>(
            "`order: start-first` cannot work with a port of the host: the old task holds it",
            "leave `order` out, or publish in ingress mode",
        );
    }
}

fn rollout(field: &mut Field<'_, '_>, rollout: &mut Rollout, is_update: bool) {
    let actions: &[&str] = if is_update { &["continue", "rollback", "pause"] } else { &["continue", "pause"] };
    field.known(ROLLOUT, |name, field| {
        match name {
            "parallelism" => {
                set(&mut rollout.parallelism, field.integer(0).and_then(|count| u64::try_from(count).ok()))
            }
            "delay" => set(&mut rollout.delay, field.duration()),
            "monitor" => set(&mut rollout.monitor, field.duration()),
            "failure_action" => set(&mut rollout.failure_action, field.one_of(actions).map(|text| action(&text))),
            "max_failure_ratio" => set(&mut rollout.max_failure_ratio, ratio(field)),
            "order" => set(&mut rollout.order, field.one_of(&["start-first", "stop-first"]).map(|text| order(&text))),
            _ => return false,
        }
        true
    });
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
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

fn ratio(field: &mut Field<'_, '_>) -> Option<f64> {
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

fn restart(field: &mut Field<'_, '_>, restart: &mut Restart) {
    field.known(&["condition", "delay", "max_attempts", "window"], |name, field| {
        match name {
            "condition" => {
                let found = field.one_of(&["none", "on-failure", "any"]);
                set(
                    &mut restart.condition,
                    found.map(|text| match text.as_str() {
                        "none" => "none",
                        "on-failure" => "on-failure",
                        _ => "any",
                    }),
                );
            }
            "delay" => set(&mut restart.delay, field.duration()),
            "max_attempts" => set(&mut restart.max_attempts, field.integer(0).and_then(|n| u64::try_from(n).ok())),
            "window" => set(&mut restart.window, field.duration()),
            _ => return false,
        }
        true
    });
}

fn placement(field: &mut Field<'_, '_>, deploy: &mut Deploy) {
    field.known(&["constraints", "preferences", "max_replicas_per_node"], |name, field| {
        match name {
            "constraints" => deploy.constraints = field.items(constraint),
            "preferences" => deploy.preferences = field.items(preference),
            "max_replicas_per_node" => {
                set(&mut deploy.max_replicas_per_node, field.integer(0).and_then(|count| u64::try_from(count).ok()));
            }
            _ => return false,
        }
        true
    });
}

fn constraint(field: &mut Field<'_, '_>) -> Option<String> {
    let text = field.text()?;
    match text.split_once("==").or_else(|| text.split_once("!=")) {
        Some((key, value)) if !key.trim().is_empty() && !value.trim().is_empty() => Some(text),
        _ => field.refuse(format!("`{text}` is no constraint"), "write `node.role==worker` or `node.labels.zone!=b`"),
    }
}

fn preference(field: &mut Field<'_, '_>) -> Option<Spread> {
    let mut spread = None;
    field.known(&["spread"], |name, field| {
        if name == "spread" {
            spread = field.text().map(Spread);
        }
        name == "spread"
    });
    spread
}

fn resources(field: &mut Field<'_, '_>, deploy: &mut Deploy) {
    field.known(&["limits", "reservations"], |name, field| {
        match name {
            "limits" => limits(field, deploy),
            "reservations" => reservations(field, &mut deploy.reservations),
            _ => return false,
        }
        true
    });
}

fn limits(field: &mut Field<'_, '_>, deploy: &mut Deploy) {
    field.known(&["cpus", "memory", "pids"], |name, field| {
        match name {
            "cpus" => deploy.limits.0 = nano_cpus(field),
            "memory" => deploy.limits.1 = memory(field),
            "pids" => deploy.limits.2 = field.integer(-1),
            _ => return false,
        }
        true
    });
}

fn reservations(field: &mut Field<'_, '_>, reservations: &mut Reservations) {
    field.known(&["cpus", "memory", "generic_resources"], |name, field| {
        match name {
            "cpus" => reservations.nano_cpus = nano_cpus(field),
            "memory" => reservations.memory = field.size(),
            "generic_resources" => reservations.generic = field.items(generic),
            "devices" => {
                field.refuse::<()>("swarm gives no devices", "use `generic_resources`, as the nodes announce them");
            }
            _ => return false,
        }
        true
    });
}

fn generic(field: &mut Field<'_, '_>) -> Option<(String, i64)> {
    let (mut kind, mut count) = (None, None);
    field.known(&["discrete_resource_spec"], |_, field| {
        if !matches!(field.node.value, Value::Mapping(_)) {
            return false;
        }
        field.known(&["kind", "value"], |name, field| {
            match name {
                "kind" => kind = field.text(),
                "value" => count = field.integer(1),
                _ => return false,
            }
            true
        });
        true
    });
    match (kind, count) {
        (Some(kind), Some(count)) => Some((kind, count)),
        _ => field.refuse("`kind` and `value` are needed", "write `discrete_resource_spec: {kind: gpu, value: 1}`"),
    }
}
