//! The tasks of a swarm's services, each with its node.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::engine::Engine;
use crate::engine::api::{Api, filter};
use crate::error::Failure;
use crate::ui::status::{ServiceStatus, TaskStatus};
use crate::values::secret::masked;
use crate::values::text::printable;

/// What the swarm keeps of tasks, and the names of its nodes by their IDs.
pub(crate) struct Tasks {
    all: Vec<Value>,
    nodes: BTreeMap<String, String>,
}

pub(crate) async fn tasks(engine: &Engine, services: &[ServiceStatus]) -> Result<Tasks, Failure> {
    let (api, mut all) = (Api::of(engine), Vec::new());
    for service in services {
        let found = api.get(&format!("/tasks?{}", filter("service", &service.id))).await;
        all.extend(found.map_err(|error| error.failure("list tasks"))?.as_array().cloned().unwrap_or_default());
    }
    if all.is_empty() {
        return Ok(Tasks { all, nodes: BTreeMap::new() });
    }
    let nodes = api.get("/nodes").await.map_err(|error| error.failure("list nodes"))?;
    let named = |node: &Value| (text(&node["ID"]), text(&node["Description"]["Hostname"]));
    let nodes = nodes.as_array().into_iter().flatten().map(named).collect();
    Ok(Tasks { all, nodes })
}

/// The newest of each slot, or of each node of a global service, and where that one does not run yet the one that failed before
/// it: it says why. Of tasks that should not run any more nothing is said.
pub(crate) fn tasks_of(service: &str, tasks: &Tasks) -> Vec<TaskStatus> {
    let mut of_it: Vec<&Value> = tasks.all.iter().filter(|task| task["ServiceID"] == *service).collect();
    of_it.sort_by_key(|task| (task["Slot"].as_u64().unwrap_or_default(), std::cmp::Reverse(text(&task["CreatedAt"]))));
    let place = |task: &Value| (task["Slot"].as_u64(), task["Slot"].is_null().then(|| text(&task["NodeID"])));
    let is_failed = |task: &Value| matches!(task["Status"]["State"].as_str(), Some("failed" | "rejected"));
    let mut open = BTreeSet::new();
    let mut shown = Vec::new();
    for task in of_it {
        let (is_wanted, at) = (task["DesiredState"] == "running" || task["DesiredState"] == "ready", place(task));
        if is_wanted {
            shown.push(status(task, tasks));
        } else if is_failed(task) && open.remove(&at) {
            shown.push(status(task, tasks));
        }
        if is_wanted && task["Status"]["State"] != "running" {
            open.insert(at);
        }
    }
    shown
}

fn status(task: &Value, tasks: &Tasks) -> TaskStatus {
    let state = &task["Status"];
    let node = text(&task["NodeID"]);
    let error = printable(&text(&state["Err"]));
    TaskStatus {
        slot: task["Slot"].as_u64(),
        node: (!node.is_empty()).then(|| tasks.nodes.get(&node).cloned().unwrap_or(node)),
        state: text(&state["State"]),
        since: text(&state["Timestamp"]),
        error: (!error.is_empty()).then(|| masked(&error)),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_that_does_not_run_yet_is_shown_with_the_one_that_failed_before_it_and_old_ones_are_not() {
        let task = |slot: u64, at: &str, wanted: &str, state: &str, error: &str| {
            json!({ "ServiceID": "s1", "Slot": slot, "NodeID": "n1", "DesiredState": wanted, "CreatedAt": at,
                "Status": { "State": state, "Timestamp": at, "Err": error } })
        };
        let all = vec![
            task(1, "2026-01-01T00:00:01Z", "shutdown", "failed", "older"),
            task(1, "2026-01-01T00:00:02Z", "shutdown", "failed", "task: non-zero exit (3)"),
            task(1, "2026-01-01T00:00:03Z", "running", "starting", ""),
            task(2, "2026-01-01T00:00:01Z", "shutdown", "failed", "long ago"),
            task(2, "2026-01-01T00:00:02Z", "running", "running", ""),
        ];
        let tasks = Tasks { all, nodes: BTreeMap::from([("n1".into(), "host-a".into())]) };
        let shown: Vec<(Option<u64>, String, Option<String>)> =
            tasks_of("s1", &tasks).into_iter().map(|task| (task.slot, task.state, task.error)).collect();
        assert_eq!(
            shown,
            [
                (Some(1), "starting".into(), None),
                (Some(1), "failed".into(), Some("task: non-zero exit (3)".into())),
                (Some(2), "running".into(), None),
            ]
        );
        assert_eq!(tasks_of("s1", &tasks)[0].node.as_deref(), Some("host-a"));
        assert_eq!(tasks_of("other", &tasks), []);
    }
}
