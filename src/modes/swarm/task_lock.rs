//! Who runs a task in a swarm: of the managers that create a config of the task's name, the one whose creation is taken.
//! The others wait until its labels say how the task ended.

use std::time::{Duration, Instant};

use base64::Engine as _;
use http::Method;
use serde_json::{Value, json};

use crate::engine::api::{Api, ApiError};
use crate::engine::creation::Creation;
use crate::error::{Failure, Kind};
use crate::modes::swarm::observe::text;
use crate::modes::swarm::retry::{PAUSE, retry_on_conflict};
use crate::modes::swarm::task::TaskLock;
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_NAME, LABEL_NODE, LABEL_OUTCOME, LABEL_SAID, LABEL_TASK};

/// What the config holds, for whoever finds it.
const CONTENT: &str =
    "balehook: who runs a task around a deployment, and how it ended, is in the labels of this config\n";
/// The last lines that are kept with an outcome, in bytes.
const LINES: usize = 2000;

/// Whose turn it is.
pub(crate) enum Turn {
    /// Ours: nobody else runs the task.
    Ours,
    /// Another manager's, named, that has come to this end.
    Theirs(String, Result<(), Failure>),
}

/// Creates the claim for this node, `me`, or waits for the end that whoever did comes to.
///
/// # Errors
/// [`Kind::Task`]: there is no end within `patience`; [`Kind::Engine`].
pub(crate) async fn take(
    api: &Api,
    me: &str,
    task_lock: &TaskLock,
    patience: Duration,
    creation: &mut Creation,
) -> Result<Turn, Failure> {
    let began = Instant::now();
    loop {
        if creation.of(create(api, task_lock, me)).await? {
            return Ok(Turn::Ours);
        }
        let Some(found) = find(api, task_lock).await? else { continue };
        if let Some(ended) = found.outcome(task_lock) {
            let node = node_name(api, found.node()).await;
            let ended =
                ended.map_err(|failure| Failure { message: format!("{} ({node} ran it)", failure.message), ..failure });
            return Ok(Turn::Theirs(node, ended));
        }
        // This name's lock is ours: whoever began it here was killed.
        if found.node() == me {
            api.remove(&format!("/configs/{}", found.id())).await.map_err(|error| cannot(task_lock, &error))?;
            continue;
        }
        if began.elapsed() >= patience {
            return Err(silent(task_lock, &node_name(api, found.node()).await, patience));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Writes how the task ended (how it failed, or that it did not) into the claim, where it is of this node, `me`, and
/// says nothing yet.
///
/// # Errors
/// [`Kind::Engine`].
pub(crate) async fn close(api: &Api, me: &str, task_lock: &TaskLock, failure: Option<&Failure>) -> Result<(), Failure> {
    retry_on_conflict(&format!("tell the other managers how task {} ended", task_lock.task), async || {
        let found = find(api, task_lock).await?;
        let Some(found) = found.filter(|found| found.node() == me && found.outcome(task_lock).is_none()) else {
            return Ok(Some(()));
        };
        let mut spec = found.0["Spec"].clone();
        spec["Labels"][LABEL_OUTCOME] = if failure.is_none() { "done" } else { "failed" }.into();
        if let Some(failure) = failure {
            spec["Labels"][LABEL_SAID] = said(failure).into();
        }
        let path = format!("/configs/{}/update?version={}", found.id(), found.0["Version"]["Index"]);
        match api.call(Method::POST, &path, Some(&spec), None).await {
            Ok(_) => Ok(Some(())),
            Err(error) if error.is_stale() => Ok(None),
            Err(error) => Err(cannot(task_lock, &error)),
        }
    })
    .await
}

/// A claim as the swarm has it.
struct Found(Value);

impl Found {
    fn id(&self) -> String {
        text(&self.0["ID"])
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.0["Spec"]["Labels"][name].as_str()
    }

    fn node(&self) -> &str {
        self.label(LABEL_NODE).unwrap_or_default()
    }

    /// How the task ended; `None` while it runs.
    fn outcome(&self, task_lock: &TaskLock) -> Option<Result<(), Failure>> {
        if self.label(LABEL_OUTCOME)? == "done" {
            return Some(Ok(()));
        }
        let mut lines = self.label(LABEL_SAID).unwrap_or_default().lines();
        let message = lines.next().map_or_else(|| format!("task {} failed", task_lock.task), str::to_owned);
        let next = "correct it and deploy again; balehook.log on that node has all of its output";
        Some(Err(Failure::new(Kind::Task, message).evidence(lines.map(str::to_owned).collect()).next(next)))
    }
}

/// How it failed, and as many of its last lines as there is room for.
fn said(failure: &Failure) -> String {
    let mut room = LINES;
    let fits = |line: &&String| {
        room = room.saturating_sub(line.len() + 1);
        room > 0
    };
    let mut lines: Vec<&str> = failure.evidence.iter().rev().take_while(fits).map(String::as_str).collect();
    lines.push(&failure.message);
    lines.reverse();
    lines.join("\n")
}

/// Whether it was taken; `false` where there is one.
async fn create(api: &Api, task_lock: &TaskLock, node: &str) -> Result<bool, Failure> {
    let body = json!({
        "Name": task_lock.object,
        "Labels": {
            LABEL_NAME: task_lock.owner,
            LABEL_DEPLOYMENT: task_lock.deployment,
            LABEL_TASK: task_lock.task,
            LABEL_NODE: node,
        },
        "Data": base64::engine::general_purpose::STANDARD.encode(CONTENT),
    });
    match api.call(Method::POST, "/configs/create", Some(&body), None).await {
        Ok(_) => Ok(true),
        Err(error) if error.status == Some(409) => Ok(false),
        Err(error) => Err(cannot(task_lock, &error)),
    }
}

async fn find(api: &Api, task_lock: &TaskLock) -> Result<Option<Found>, Failure> {
    let found = api.find(&format!("/configs/{}", task_lock.object)).await;
    found.map(|found| found.map(Found)).map_err(|error| cannot(task_lock, &error))
}

async fn node_name(api: &Api, id: &str) -> String {
    let found = api.get(&format!("/nodes/{id}")).await.unwrap_or_default();
    let name = text(&found["Description"]["Hostname"]);
    if name.is_empty() { format!("node {id}") } else { name }
}

fn cannot(task_lock: &TaskLock, error: &ApiError) -> Failure {
    error.failure(&format!("agree with the other managers on task {}", task_lock.task))
}

fn silent(task_lock: &TaskLock, node: &str, patience: Duration) -> Failure {
    let TaskLock { task, object, .. } = task_lock;
    Failure::new(Kind::Task, format!("task {task}: {node} began it, and has not said within {patience:?} how it ended"))
        .next(format!(
            "look at {node}; where no balehook runs there any more: docker config rm {object}, and deploy again"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task_lock() -> TaskLock {
        TaskLock { object: "balehook-task-a-1".into(), task: "a".into(), owner: "web".into(), deployment: "d-1".into() }
    }

    fn found(labels: &Value) -> Found {
        Found(json!({ "ID": "id", "Spec": { "Labels": labels } }))
    }

    #[test]
    fn how_a_task_failed_is_read_as_it_was_written_and_the_last_lines_are_those_that_stay() {
        let lines: Vec<String> = (0..200).map(|line| format!("line {line} of what it said")).collect();
        let failure = Failure::new(Kind::Task, "task a ended with exit code 3").evidence(lines.clone());
        let read = found(&json!({ LABEL_OUTCOME: "failed", LABEL_SAID: said(&failure) })).outcome(&task_lock());
        let nothing = || Failure::new(Kind::Unexpected, "no failure was read");
        let read = read.and_then(Result::err).unwrap_or_else(nothing);
        assert_eq!((read.kind, read.message), (Kind::Task, failure.message));
        assert!(read.evidence.len() > 20 && read.evidence.len() < 200, "{}", read.evidence.len());
        assert!(lines.ends_with(&read.evidence));
    }

    #[test]
    fn a_claim_without_an_outcome_is_of_a_task_that_runs() {
        assert!(found(&json!({ LABEL_NODE: "n" })).outcome(&task_lock()).is_none());
        assert_eq!(found(&json!({ LABEL_OUTCOME: "done" })).outcome(&task_lock()), Some(Ok(())));
    }
}
