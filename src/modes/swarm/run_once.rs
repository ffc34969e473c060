//! Tasks around a deployment that are run once in the whole swarm.

use std::time::Duration;

use crate::engine::api::Api;
use crate::error::{Failure, Kind};
use crate::modes::host::Host;
use crate::modes::swarm::facts::LeftoverKind;
use crate::modes::swarm::observe::text;
use crate::modes::swarm::task::{SwarmTask, SwarmWork, TaskLock};
use crate::modes::swarm::task_lock::Turn;
use crate::modes::swarm::{job, task_lock};
use crate::tasks::{Output, command};
use crate::values::labels::LABEL_NODE;

/// How much longer than the task itself another manager may take to say how it ended.
const WORD: Duration = Duration::from_secs(15);

/// Runs the task where its claim is ours; waits for its end where it is another manager's, which is said.
///
/// # Errors
/// [`Kind::Task`]: it failed, here or there.
pub(crate) async fn run(host: &mut Host, task: &SwarmTask) -> Result<Vec<String>, Failure> {
    let (api, name) = (Api::of(&host.engine), &task.task_lock.task);
    let patience = task.timeout.max(job::BEGINS) + task.timeout + WORD;
    let me = this_node(host, &api).await?;
    match task_lock::take(&api, &me, &task.task_lock, patience, &mut host.tasks.creation).await? {
        Turn::Theirs(node, ended) => ended.map(|()| vec![format!("task {name}: {node} ran it")]),
        Turn::Ours => {
            let ended = here(host, &api, &me, task).await;
            let told = task_lock::close(&api, &me, &task.task_lock, ended.as_ref().err()).await;
            if let Err(failure) = told {
                tracing::warn!(%failure, "the other managers wait");
            }
            ended.map(|()| Vec::new())
        }
    }
}

async fn here(host: &mut Host, api: &Api, me: &str, task: &SwarmTask) -> Result<(), Failure> {
    let name = &task.task_lock.task;
    match &task.work {
        SwarmWork::Command(command) => {
            command::command(&mut host.tasks.under_way, name, command, &host.tasks.env, task.timeout).await
        }
        SwarmWork::Job(request) => {
            let image = host.image(&request.image).await?;
            // The plan does not know the node where this very deployment made the swarm.
            let mut request = request.clone();
            request.spec["Labels"][LABEL_NODE] = me.into();
            job::run(api, name, &request, &image, &host.images.credentials, task.timeout, &mut host.tasks.creation)
                .await
        }
    }
}

/// Ends the task where this node runs it, and says so in its claim.
///
/// # Errors
/// [`Kind::Engine`].
pub(crate) async fn abandon(host: &mut Host, task_lock: &TaskLock) -> Result<(), Failure> {
    if let Some(group) = host.tasks.under_way.take() {
        group.end(&mut Output::new(&task_lock.task)).await;
    }
    let api = Api::of(&host.engine);
    let me = this_node(host, &api).await?;
    let ended = Failure::new(
        Kind::Task,
        format!("task {} was ended before its end: its deployment had to stop", task_lock.task),
    );
    let look = async || {
        task_lock::close(&api, &me, task_lock, Some(&ended)).await?;
        job::end(&api, &me, &task_lock.task, &task_lock.object).await
    };
    host.tasks.creation.settle(look).await
}

/// The ID of this node, asked for once.
async fn this_node(host: &mut Host, api: &Api) -> Result<String, Failure> {
    if host.tasks.node.is_empty() {
        let info = api.get("/info").await.map_err(|error| error.failure("ask the engine which node it is"))?;
        host.tasks.node = text(&info["Swarm"]["NodeID"]);
    }
    Ok(host.tasks.node.clone())
}

/// Removes what a task has left.
///
/// # Errors
/// [`Kind::Engine`].
pub(crate) async fn clear(host: &Host, kind: LeftoverKind, name: &str, id: &str) -> Result<(), Failure> {
    let (collection, word) = match kind {
        LeftoverKind::Job => ("services", "service"),
        LeftoverKind::TaskLock => ("configs", "config"),
    };
    let removed = Api::of(&host.engine).remove(&format!("/{collection}/{id}")).await;
    removed.map_err(|error| error.failure(&format!("remove {word} {name}")))
}
