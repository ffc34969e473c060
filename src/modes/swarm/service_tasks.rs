//! A service with its tasks, as a manager gets them from the engine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engine::api::{Api, ApiError, filter};
use crate::modes::swarm::observe::{items, text};
use crate::values::types::STOP_GRACE;

/// How long a task may find no node. The scheduler reports that at once, and nodes come back.
const UNPLACED: Duration = Duration::from_secs(5);

/// The same while an active node is not ready: after an election the new leader does not know of any for a while. And how
/// much longer than its grace period another task may take to end, which holds the port or the room that this one needs.
const AWAY: Duration = Duration::from_secs(30);

pub(crate) struct Service(Value);

impl Service {
    pub(crate) const fn new(value: Value) -> Self {
        Self(value)
    }

    pub(crate) fn id(&self) -> String {
        text(&self.0["ID"])
    }

    pub(crate) fn version(&self) -> u64 {
        self.0["Version"]["Index"].as_u64().unwrap_or_default()
    }

    pub(crate) fn spec(&self) -> &Value {
        &self.0["Spec"]
    }

    /// The spec that a rollback would put back.
    pub(crate) fn previous(&self) -> Option<Value> {
        self.0.get("PreviousSpec").filter(|spec| spec.is_object()).cloned()
    }

    /// Whether the swarm rolls back by itself when a task fails.
    pub(crate) fn rolls_back(&self) -> bool {
        self.0["Spec"]["UpdateConfig"]["FailureAction"] == "rollback"
    }

    pub(crate) fn label(&self, name: &str) -> &str {
        self.0["Spec"]["Labels"][name].as_str().unwrap_or_default()
    }

    /// `updating`, `paused`, `completed`, `rollback_started`, `rollback_paused`, `rollback_completed`, or nothing.
    pub(crate) fn update_state(&self) -> &str {
        self.0["UpdateStatus"]["State"].as_str().unwrap_or_default()
    }

    pub(crate) fn update_message(&self) -> String {
        text(&self.0["UpdateStatus"]["Message"])
    }

    pub(crate) fn update_began(&self) -> Option<String> {
        self.0["UpdateStatus"]["StartedAt"].as_str().map(str::to_owned)
    }

    /// When the spec in force began to roll out.
    pub(crate) fn since(&self) -> String {
        self.update_began().unwrap_or_else(|| text(&self.0["CreatedAt"]))
    }

    pub(crate) fn updated_at(&self) -> Option<jiff::Timestamp> {
        self.0["UpdatedAt"].as_str()?.parse().ok()
    }
}

pub(crate) struct Tasks {
    pub(crate) service: Service,
    tasks: Vec<Value>,
    nodes: BTreeMap<String, String>,
}

pub(crate) struct Task<'a> {
    value: &'a Value,
    node: &'a str,
}

impl Tasks {
    /// Gets both; `None` where there is no such service.
    pub(crate) async fn of(api: &Api, name: &str) -> Result<Option<Self>, ApiError> {
        let services = api.get(&format!("/services?status=true&{}", filter("name", name))).await?;
        let Some(service) = items(&services).find(|found| found["Spec"]["Name"] == *name).cloned() else {
            return Ok(None);
        };
        let id = text(&service["ID"]);
        let tasks = items(&api.get(&format!("/tasks?{}", filter("service", &id))).await?).cloned().collect();
        Ok(Some(Self { service: Service(service), tasks, nodes: BTreeMap::new() }))
    }

    pub(crate) async fn name_nodes(&mut self, api: &Api) {
        let nodes = api.get("/nodes").await.unwrap_or_default();
        self.nodes = items(&nodes).map(|node| (text(&node["ID"]), text(&node["Description"]["Hostname"]))).collect();
    }

    pub(crate) fn desired(&self) -> usize {
        let wanted = self.service.0["ServiceStatus"]["DesiredTasks"].as_u64().unwrap_or_default();
        usize::try_from(wanted).unwrap_or(usize::MAX)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Task<'_>> {
        self.tasks.iter().map(|value| {
            let node = self.nodes.get(value["NodeID"].as_str().unwrap_or_default());
            Task { value, node: node.map_or("", String::as_str) }
        })
    }

    /// Tasks that run the spec in force.
    pub(crate) fn running(&self) -> Vec<Task<'_>> {
        self.all().filter(|task| task.is_up() && self.is_current(task)).collect()
    }

    /// Tasks of the spec in force that are not up yet.
    pub(crate) fn unfinished(&self) -> Vec<Task<'_>> {
        let is_wanted = |task: &Task<'_>| !task.has_ended() && !task.is_ending();
        self.all().filter(|task| is_wanted(task) && !task.is_up() && self.is_current(task)).collect()
    }

    /// Tasks that run another spec.
    pub(crate) fn outdated(&self) -> usize {
        self.all().filter(|task| task.is_up() && !self.is_current(task)).count()
    }

    /// Tasks that failed since a moment, of whichever spec.
    pub(crate) fn failed_since<'a>(&'a self, since: &'a str) -> impl Iterator<Item = Task<'a>> {
        self.all().filter(move |task| task.has_failed() && task.created() >= timestamp(since))
    }

    /// Tasks of the spec in force that failed since it began to roll out.
    pub(crate) fn failed(&self) -> Vec<Task<'_>> {
        let since = self.service.since();
        self.all().filter(|t| t.has_failed() && self.is_current(t) && t.created() >= timestamp(&since)).collect()
    }

    pub(crate) fn unplaced(&self) -> Vec<Task<'_>> {
        self.all().filter(|task| task.state() == "pending" && !task.error().is_empty()).collect()
    }

    /// Placement does not count: the swarm replaces only tasks that may not stay where they are.
    fn is_current(&self, task: &Task<'_>) -> bool {
        let without_place = |spec: &Value| {
            let mut spec = spec.clone();
            if let Some(entries) = spec.as_object_mut() {
                entries.remove("Placement");
                entries.remove("Runtime");
            }
            spec
        };
        without_place(&task.value["Spec"]) == without_place(&self.service.0["Spec"]["TaskTemplate"])
    }
}

/// Counts how long tasks have found no node.
#[derive(Default)]
pub(crate) struct Patience {
    unplaced: Option<Instant>,
    ending: Option<Instant>,
}

impl Patience {
    pub(crate) async fn is_over(&mut self, api: &Api, seen: &Tasks) -> bool {
        let grace = seen.all().filter(Task::is_ending).map(|task| task.grace()).max();
        self.ending = grace.map(|_| self.ending.unwrap_or_else(Instant::now));
        if grace.zip(self.ending).is_some_and(|(grace, since)| since.elapsed() <= grace + AWAY) {
            self.unplaced = None;
            return false;
        }
        let age = self.unplaced.get_or_insert_with(Instant::now).elapsed();
        age > AWAY || (age > UNPLACED && !is_a_node_away(api).await)
    }
}

async fn is_a_node_away(api: &Api) -> bool {
    let nodes = api.get("/nodes").await.unwrap_or_default();
    items(&nodes).any(|node| node["Spec"]["Availability"] == "active" && node["Status"]["State"] != "ready")
}

fn timestamp(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

impl Task<'_> {
    pub(crate) fn state(&self) -> &str {
        self.value["Status"]["State"].as_str().unwrap_or_default()
    }

    fn is_up(&self) -> bool {
        self.state() == "running" && self.value["DesiredState"] == "running"
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_failed() || matches!(self.state(), "complete" | "shutdown" | "remove")
    }

    fn is_ending(&self) -> bool {
        self.value["DesiredState"] == "shutdown" && !self.has_ended()
    }

    /// How long it may take to stop.
    fn grace(&self) -> Duration {
        self.value["Spec"]["ContainerSpec"]["StopGracePeriod"].as_u64().map_or(STOP_GRACE, Duration::from_nanos)
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.state(), "failed" | "rejected" | "orphaned")
    }

    fn created(&self) -> Option<jiff::Timestamp> {
        timestamp(self.value["CreatedAt"].as_str().unwrap_or_default())
    }

    pub(crate) fn changed(&self) -> Option<jiff::Timestamp> {
        timestamp(self.value["Status"]["Timestamp"].as_str().unwrap_or_default())
    }

    pub(crate) fn error(&self) -> &str {
        self.value["Status"]["Err"].as_str().unwrap_or_default()
    }

    /// Of its container, where that has ended.
    pub(crate) fn exit_code(&self) -> Option<i64> {
        self.value["Status"]["ContainerStatus"]["ExitCode"].as_i64()
    }

    pub(crate) fn node(&self) -> &str {
        self.node
    }

    pub(crate) fn id(&self) -> String {
        text(&self.value["ID"])
    }

    /// `task 2 on node-b: starting: its HEALTHCHECK has not passed yet`.
    pub(crate) fn waits_for(&self) -> String {
        match self.state() {
            // The container runs: what has no HEALTHCHECK is `running` by then.
            "starting" => format!("{}: starting: its HEALTHCHECK has not passed yet", self.name()),
            _ => self.describe(),
        }
    }

    /// `task 2 on node-b: failed: task: non-zero exit (3)`.
    pub(crate) fn describe(&self) -> String {
        let error =
            if self.error().is_empty() { text(&self.value["Status"]["Message"]) } else { self.error().to_owned() };
        format!("{}: {}: {error}", self.name(), self.state())
    }

    /// `task 2 on node-b`.
    fn name(&self) -> String {
        let slot = self.value["Slot"].as_u64().filter(|slot| *slot > 0).map(|slot| format!(" {slot}"));
        let place = if self.node.is_empty() { String::new() } else { format!(" on {}", self.node) };
        format!("task{}{place}", slot.unwrap_or_default())
    }
}
