//! Tasks around a deployment: their steps in the file's order, and what each of them does.

use crate::config::task::{InContainer, OnHost, Task, Tasks, Work};
use crate::config::{Deployment, ImageNeed};
use crate::engine::request::ContainerSpec;
use crate::error::Failure;
use crate::images::facts::ImageFacts;
use crate::modes;
use crate::modes::facts::Facts;
use crate::modes::fill;
use crate::modes::host::Host;
use crate::modes::operation::{Action, Operation, Plan};
use crate::tasks::operation::{HostCommand, TaskOperation};
use crate::tasks::{Output, command};
use crate::values::operation::Outcome;
use crate::values::types::{EnvVar, Name};

#[derive(Debug, Default)]
pub(crate) struct TaskActions {
    /// Before the old release is touched.
    pub(crate) before: Vec<Action>,
    /// When the new release is healthy and not saved yet: up to the last that is required.
    pub(crate) healthy: Vec<Action>,
    pub(crate) saved: Vec<Action>,
}

pub(crate) fn container_name(name: &Name, task: &Name) -> String {
    format!("{name}.balehook-task-{task}")
}

/// The images that tasks have of their own, which the host can run.
pub(crate) fn images<'a>(
    plan: &mut Plan,
    deployment: &Deployment,
    facts: &'a Facts,
) -> Result<Vec<(ImageNeed, &'a ImageFacts)>, Failure> {
    let mut found: Vec<(ImageNeed, &ImageFacts)> = Vec::new();
    for need in deployment.task_images() {
        let image = facts.image(&need.key(&deployment.bundle_root))?;
        if found.iter().any(|(_, known)| known.key == image.key) {
            continue;
        }
        if let Some(engine) = facts.engine.yes() {
            modes::images::check_architecture(None, engine, image)?;
        }
        modes::images::assume(plan, image);
        found.push((need, image));
    }
    Ok(found)
}

impl TaskActions {
    /// Their steps, in the file's order. `container` makes that of a task in a container.
    pub(crate) fn of(
        tasks: &Tasks,
        container: impl Fn(&Task, &InContainer) -> Result<Action, Failure>,
    ) -> Result<Self, Failure> {
        Self::each(tasks, |task| match &task.work {
            Work::Container(inside) => container(task, inside),
            Work::Command(command) => Ok(on_host(task, command)),
        })
    }

    /// The same, where `action` makes that of any task.
    pub(crate) fn each(tasks: &Tasks, action: impl Fn(&Task) -> Result<Action, Failure>) -> Result<Self, Failure> {
        let actions = |tasks: &[Task]| tasks.iter().map(&action).collect::<Result<Vec<_>, Failure>>();
        let required = tasks.after.iter().rposition(|task| task.required).map_or(0, |last| last + 1);
        let (healthy, saved) = tasks.after.split_at(required);
        Ok(Self { before: actions(&tasks.before)?, healthy: actions(healthy)?, saved: actions(saved)? })
    }
}

/// What killed deployments left of their tasks, and of tried images, goes first: the lock is ours, so that no
/// event waits for it.
pub(crate) fn remove_left(facts: &Facts) -> Vec<Action> {
    let each = facts.task_containers.iter();
    each.map(|left| Action::best_effort(TaskOperation::Remove { container: left.clone() })).collect()
}

pub(crate) fn on_host(task: &Task, command: &OnHost) -> Action {
    let name = task.name.to_string();
    let command = host_command(task, command);
    let step = TaskOperation::Command { name: name.clone(), command, timeout: task.timeout };
    action(task, step, TaskOperation::End { name })
}

pub(crate) fn host_command(task: &Task, command: &OnHost) -> HostCommand {
    HostCommand {
        words: command.words.clone(),
        folder: command.folder.to_string_lossy().into_owned(),
        environment: task.environment.clone(),
    }
}

pub(crate) fn action(task: &Task, step: impl Into<Operation>, undo: impl Into<Operation>) -> Action {
    Action { best_effort: !task.required, ..Action::undone_by(step, [undo]) }
}

/// The task's variables win over the service's.
pub(crate) fn environment(service: &[EnvVar], task: &[EnvVar]) -> Vec<EnvVar> {
    let kept = service.iter().filter(|var| !task.iter().any(|own| own.name == var.name));
    kept.chain(task).cloned().collect()
}

/// Runs a task to its end, or ends one that was left under way.
/// Errors: `Kind::Task` with its last lines; `Kind::Image` where its image is lost; `Kind::Engine`.
pub(crate) async fn perform(operation: &TaskOperation, host: &mut Host) -> Result<Outcome, Failure> {
    let (engine, tasks) = (&host.engine, &mut host.tasks);
    match operation {
        TaskOperation::Container { name, spec, timeout } => {
            let (environment, _) = fill::filled(&host.fetcher, &spec.environment).await?;
            let spec = &ContainerSpec { environment, ..(**spec).clone() };
            let image = host.images.argument(engine, &spec.image).await?;
            crate::tasks::container(engine, name, spec, image, *timeout, &mut tasks.creation).await?;
        }
        TaskOperation::Command { name, command, timeout } => {
            let (environment, _) = fill::filled(&host.fetcher, &command.environment).await?;
            let command = &HostCommand { environment, ..command.clone() };
            command::command(&mut tasks.under_way, name, command, &tasks.env, *timeout).await?;
        }
        TaskOperation::Remove { container } => {
            tasks.creation.settle(async || Ok(engine.inspect(container).await?.is_some())).await?;
            engine.remove(container).await?;
        }
        TaskOperation::End { name } => {
            if let Some(group) = tasks.under_way.take() {
                group.end(&mut Output::new(name)).await;
            }
        }
    }
    Ok(Outcome::changed())
}
