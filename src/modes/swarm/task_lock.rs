//! A task's lock: a service of the swarm. Of the managers that create it the swarm takes one, because no two services may
//! bear one name. That manager runs the task and writes into the service's labels how it ended; the service runs nothing
//! any more then. The other managers, also those that come later, read these labels. It stays until a next deployment.

use std::time::{Duration, Instant};

use http::{HeaderValue, Method};
use serde_json::{Value, json};

use crate::engine::api::{Api, ApiError};
use crate::engine::creation::Creation;
use crate::error::{Failure, Kind};
use crate::modes::swarm::observe::text;
use crate::modes::swarm::retry::{PAUSE, retry_on_conflict, unless_stale};
use crate::modes::swarm::task::TaskLock;
use crate::poll;
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_MESSAGE, LABEL_NAME, LABEL_NODE, LABEL_OUTCOME, LABEL_TASK};

/// The image of a service that runs nothing; it is never pulled.
const NO_IMAGE: &str = "scratch";

pub(crate) enum Taken {
    /// This node's: it runs the task, and closes the lock.
    Here,
    /// Another manager's, by its host name, with the end that the task came to.
    There(String, Result<(), Failure>),
}

/// Takes the lock for this node, `me`, by creating `service`, or waits for the end of the task on the manager that has it.
/// Errors: [`Kind::Task`]: the service is refused, or there is no end within `patience`; [`Kind::Engine`].
pub(crate) async fn take(
    api: &Api,
    me: &str,
    lock: &TaskLock,
    (service, auth): (&Value, Option<&HeaderValue>),
    patience: Duration,
    creation: &mut Creation,
) -> Result<Taken, Failure> {
    let began = Instant::now();
    let taken = poll::without_limit(PAUSE, async || {
        let Some(found) = find(api, lock).await? else {
            return match creation.of(api.call(Method::POST, "/services/create", Some(service), auth)).await {
                Ok(_) => Ok(Some(Taken::Here)),
                Err(error) if error.status == Some(409) => Ok(None),
                Err(error) => Err(refused(lock, &error)),
            };
        };
        if let Some(ended) = found.ended(lock) {
            let node = node_name(api, found.node()).await;
            let ended =
                ended.map_err(|failure| Failure { message: format!("{} ({node} ran it)", failure.message), ..failure });
            return Ok(Some(Taken::There(node, ended)));
        }
        // The swarm took it from us, and its leader was lost before it could answer.
        if found.node() == me {
            return Ok(Some(Taken::Here));
        }
        match began.elapsed() >= patience {
            true => Err(no_end(lock, &node_name(api, found.node()).await, patience)),
            false => Ok(None),
        }
    });
    taken.await
}

/// Writes into this node's lock how the task ended (how it failed, or that it did not); its service runs nothing any more.
/// Returns whether there is such a lock. What it says already stays.
pub(crate) async fn close(api: &Api, me: &str, lock: &TaskLock, failure: Option<&Failure>) -> Result<bool, Failure> {
    let what = format!("save in the swarm how task {} ended", lock.task);
    retry_on_conflict(&what, async || {
        let Some(found) = find(api, lock).await?.filter(|found| found.node() == me) else { return Ok(Some(false)) };
        if found.ended(lock).is_some() {
            return Ok(Some(true));
        }
        let path = format!("/services/{}/update?version={}", text(&found.0["ID"]), found.0["Version"]["Index"]);
        let written = unless_stale(api.call(Method::POST, &path, Some(&found.closed(failure)), None).await);
        Ok(written.map_err(|error| error.failure(&what))?.map(|_| true))
    })
    .await
}

/// Removes a lock with whatever it still runs. Nothing to do when it is gone.
pub(crate) async fn remove(api: &Api, service: &str, id: &str) -> Result<(), Failure> {
    let removed = api.remove(&format!("/services/{id}")).await;
    removed.map_err(|error| error.failure(&format!("remove service {service}")))
}

/// The service of a task that is a command of the host of this node, `me`.
pub(crate) fn without_container(lock: &TaskLock, me: &str) -> Value {
    let labels = json!({
        LABEL_NAME: lock.owner,
        LABEL_DEPLOYMENT: lock.deployment,
        LABEL_TASK: lock.task,
        LABEL_NODE: me,
    });
    runs_nothing(&lock.service, labels, NO_IMAGE)
}

/// A service without tasks: it holds no network, secret or config either.
fn runs_nothing(name: &str, labels: Value, image: &str) -> Value {
    json!({
        "Name": name,
        "Labels": labels,
        "Mode": { "Replicated": { "Replicas": 0 } },
        "TaskTemplate": { "ContainerSpec": { "Image": image }, "RestartPolicy": { "Condition": "none" } },
    })
}

struct Found(Value);

impl Found {
    fn label(&self, name: &str) -> Option<&str> {
        self.0["Spec"]["Labels"][name].as_str()
    }

    fn node(&self) -> &str {
        self.label(LABEL_NODE).unwrap_or_default()
    }

    /// How the task ended; `None` while it runs.
    fn ended(&self, lock: &TaskLock) -> Option<Result<(), Failure>> {
        if self.label(LABEL_OUTCOME)? == "done" {
            return Some(Ok(()));
        }
        let mut lines = self.label(LABEL_MESSAGE).unwrap_or_default().lines();
        let message = lines.next().map_or_else(|| format!("task {} failed", lock.task), str::to_owned);
        let next = "correct it and deploy again; balehook.log on that node has all of its output";
        Some(Err(Failure::new(Kind::Task, message).evidence(lines.map(str::to_owned).collect()).next(next)))
    }

    fn closed(&self, failure: Option<&Failure>) -> Value {
        let spec = &self.0["Spec"];
        let mut labels = spec["Labels"].clone();
        labels[LABEL_OUTCOME] = if failure.is_none() { "done" } else { "failed" }.into();
        if let Some(failure) = failure {
            let lines = std::iter::once(&failure.message).chain(&failure.evidence);
            labels[LABEL_MESSAGE] = lines.map(String::as_str).collect::<Vec<_>>().join("\n").into();
        }
        let image = &spec["TaskTemplate"]["ContainerSpec"]["Image"];
        runs_nothing(&text(&spec["Name"]), labels, image.as_str().unwrap_or(NO_IMAGE))
    }
}

async fn find(api: &Api, lock: &TaskLock) -> Result<Option<Found>, Failure> {
    let found = api.find(&format!("/services/{}", lock.service)).await;
    found.map(|found| found.map(Found)).map_err(|error| error.failure(&format!("inspect service {}", lock.service)))
}

async fn node_name(api: &Api, id: &str) -> String {
    let found = api.get(&format!("/nodes/{id}")).await.unwrap_or_default();
    let name = text(&found["Description"]["Hostname"]);
    if name.is_empty() { format!("node {id}") } else { name }
}

fn refused(lock: &TaskLock, error: &ApiError) -> Failure {
    match error.status.is_some() && !error.is_leaderless() {
        true => Failure::new(Kind::Task, format!("task {}: cannot create its service: {}", lock.task, error.message))
            .next("correct it and deploy again"),
        false => error.failure(&format!("create the service of task {}", lock.task)),
    }
}

fn no_end(lock: &TaskLock, node: &str, patience: Duration) -> Failure {
    let TaskLock { task, service, .. } = lock;
    Failure::new(Kind::Task, format!("task {task}: {node} started it, and it has no end after {patience:?}")).next(
        format!("look at {node}; where no balehook runs there any more: docker service rm {service}, and deploy again"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> TaskLock {
        TaskLock {
            service: "balehook-task-a-1".into(),
            task: "a".into(),
            owner: "web".into(),
            deployment: "d-1".into(),
        }
    }

    fn running() -> Found {
        let mut spec = without_container(&lock(), "n1");
        spec["Mode"]["Replicated"]["Replicas"] = 1.into();
        spec["TaskTemplate"]["Networks"] = json!([{ "Target": "front" }]);
        spec["TaskTemplate"]["ContainerSpec"] = json!({ "Image": "web@sha256:1", "Secrets": [{ "SecretName": "db" }] });
        Found(json!({ "ID": "id", "Spec": spec }))
    }

    fn closed(failure: Option<&Failure>) -> Found {
        Found(json!({ "ID": "id", "Spec": running().closed(failure) }))
    }

    #[test]
    fn how_a_task_failed_is_read_as_it_was_written_with_all_of_its_last_lines() {
        let lines: Vec<String> = (0..20).map(|line| format!("line {line} of its output")).collect();
        let failure = Failure::new(Kind::Task, "task a ended with exit code 3").evidence(lines.clone());
        let read = closed(Some(&failure)).ended(&lock()).and_then(Result::err);
        let read = read.map(|read| (read.kind, read.message, read.evidence));
        assert_eq!(read, Some((Kind::Task, failure.message, lines)));
    }

    #[test]
    fn a_lock_without_an_outcome_is_of_a_task_that_runs() {
        assert_eq!(running().ended(&lock()), None);
        assert_eq!(closed(None).ended(&lock()), Some(Ok(())));
    }

    #[test]
    fn a_closed_lock_says_whose_task_it_was_and_holds_nothing_that_a_person_may_want_to_remove() {
        let spec = closed(None).0["Spec"].clone();
        assert_eq!(spec["Mode"], json!({ "Replicated": { "Replicas": 0 } }));
        let template =
            json!({ "ContainerSpec": { "Image": "web@sha256:1" }, "RestartPolicy": { "Condition": "none" } });
        assert_eq!(spec["TaskTemplate"], template);
        for (label, value) in [(LABEL_NAME, "web"), (LABEL_DEPLOYMENT, "d-1"), (LABEL_TASK, "a"), (LABEL_NODE, "n1")] {
            assert_eq!(spec["Labels"][label], value);
        }
    }
}
