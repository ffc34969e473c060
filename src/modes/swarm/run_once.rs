//! Runs a task once in the whole swarm: on the manager that takes its lock.

use std::time::Duration;

use http::HeaderValue;
use serde_json::Value;

use crate::engine::api::Api;
use crate::error::{Failure, Kind};
use crate::modes::host::Host;
use crate::modes::swarm::observe::text;
use crate::modes::swarm::task::{SwarmTask, SwarmWork, TaskLock};
use crate::modes::swarm::task_lock::Taken;
use crate::modes::swarm::{follow, service, task_lock};
use crate::tasks::{Output, command};
use crate::values::labels::LABEL_NODE;

/// How much longer than the task itself another manager may take to say how it ended.
const ANSWER: Duration = Duration::from_secs(15);

/// Runs the task where this node takes its lock; else waits for its end on the manager that has it, and names that.
pub(crate) async fn run(host: &mut Host, task: &SwarmTask) -> Result<Vec<String>, Failure> {
    let (api, lock) = (Api::of(&host.engine), &task.task_lock);
    let me = this_node(&api).await?;
    let (body, auth) = request(host, &api, &me, task).await?;
    let patience = task.timeout.max(follow::STARTS) + task.timeout + ANSWER;
    let request = (&body, auth.as_ref());
    match task_lock::take(&api, &me, lock, request, patience, &mut host.tasks.creation).await? {
        Taken::There(node, ended) => ended.map(|()| vec![format!("task {}: {node} ran it", lock.task)]),
        Taken::Here => {
            let ended = match &task.work {
                SwarmWork::Command(command) => {
                    let (tasks, limit) = (&mut host.tasks, task.timeout);
                    command::command(&mut tasks.under_way, &lock.task, command, &tasks.env, limit).await
                }
                SwarmWork::Service(_) => follow::to_its_end(&api, lock, task.timeout).await,
            };
            if let Err(failure) = task_lock::close(&api, &me, lock, ended.as_ref().err()).await {
                tracing::warn!(%failure, "the other managers wait until their time is up");
            }
            ended.map(|()| Vec::new())
        }
    }
}

/// The service that this node creates as the lock, with the credentials for its image.
async fn request(host: &Host, api: &Api, me: &str, task: &SwarmTask) -> Result<(Value, Option<HeaderValue>), Failure> {
    match &task.work {
        SwarmWork::Command(_) => Ok((task_lock::without_container(&task.task_lock, me), None)),
        SwarmWork::Service(request) => {
            let (mut body, auth, _) = service::to_send(api, host, request).await?;
            // The plan does not know the node where this very deployment made the swarm.
            body["Labels"][LABEL_NODE] = me.into();
            Ok((body, auth))
        }
    }
}

/// Ends the task where this node runs it, and says so in its lock.
pub(crate) async fn end(host: &mut Host, lock: &TaskLock) -> Result<(), Failure> {
    let api = Api::of(&host.engine);
    let me = this_node(&api).await?;
    let message = format!("task {} was ended before its end: its deployment had to stop", lock.task);
    let ended = Failure::new(Kind::Task, message);
    let close = async || {
        follow::log_last_output(&api, lock).await;
        task_lock::close(&api, &me, lock, Some(&ended)).await
    };
    let group = host.tasks.under_way.take();
    let end_command = async {
        if let Some(group) = group {
            group.end(&mut Output::new(&lock.task)).await;
        }
    };
    // At once: an undo has little time, and a command may take half a second to end.
    tokio::join!(end_command, host.tasks.creation.settle(close)).1
}

async fn this_node(api: &Api) -> Result<String, Failure> {
    let info = api.get("/info").await.map_err(|error| error.failure("ask the engine which node it is"))?;
    Ok(text(&info["Swarm"]["NodeID"]))
}
