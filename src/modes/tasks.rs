//! Tasks around a deployment: their steps, and the container that one of them is run in.
//!
//! A task runs beside what serves. Its container has the service's options, but for those by which somebody would find
//! it in the service's place: ports, network aliases, fixed addresses, labels.

use std::collections::HashMap;

use bollard::models::{EndpointSettings, HealthConfig};

use crate::config::task::{InContainer, OnHost, Task, Tasks, Work};
use crate::config::{Container, Deployment, ImageNeed};
use crate::deploy::origin::Origin;
use crate::engine::request::{ContainerOptions, ContainerSpec};
use crate::error::{Failure, Kind};
use crate::images::facts::ImageFacts;
use crate::modes;
use crate::modes::create;
use crate::modes::facts::Facts;
use crate::modes::host::Host;
use crate::modes::images::Imports;
use crate::modes::operation::{Action, Operation, Plan};
use crate::tasks::operation::{HostCommand, TaskOperation};
use crate::tasks::{Output, command};
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_DIGEST, LABEL_NAME, LABEL_REVISION, LABEL_TASK};
use crate::values::operation::Outcome;
use crate::values::types::{EnvVar, Name};

/// The tasks of a deployment as steps.
#[derive(Debug, Default)]
pub(crate) struct TaskActions {
    /// Before the old release is touched.
    pub(crate) before: Vec<Action>,
    /// When the new release is healthy and not saved yet: up to the last that is required.
    pub(crate) healthy: Vec<Action>,
    /// When it is on record.
    pub(crate) recorded: Vec<Action>,
}

pub(crate) fn container_name(name: &Name, task: &Name) -> String {
    format!("{name}.balehook-task-{task}")
}

/// The tasks of a deployment in container mode.
pub(crate) fn around(
    deployment: &Deployment,
    container: &Container,
    origin: &Origin,
    facts: &Facts,
    image: &ImageFacts,
    imports: &Imports,
) -> Result<TaskActions, Failure> {
    TaskActions::of(&deployment.tasks, |task, inside| {
        let of_service = inside.image.is_none();
        let image = match task.need() {
            Some(need) => facts.image(&need.key(&deployment.bundle_root))?,
            None => image,
        };
        let mut options = create::options(&container.service, facts);
        beside(&mut options);
        run(&mut options, inside, of_service);
        options.body.labels = Some(labels(deployment, origin, image, task));
        let of_the_service = facts.environment.yes().map(Vec::as_slice).unwrap_or_default();
        let spec = ContainerSpec {
            name: container_name(&deployment.name, &task.name),
            image: image.pin.clone(),
            options,
            environment: environment(of_the_service, &task.environment),
        };
        let if_lost = imports.if_lost_of(&image.pin);
        Ok(in_container(task, spec).repaired_by(&[Kind::Image], if_lost))
    })
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
        let (healthy, recorded) = tasks.after.split_at(required);
        Ok(Self { before: actions(&tasks.before)?, healthy: actions(healthy)?, recorded: actions(recorded)? })
    }
}

/// What killed deployments left of their tasks, and of tried images, goes first: the lock is ours, so that no
/// event waits for it.
pub(crate) fn remove_left(facts: &Facts) -> Vec<Action> {
    let each = facts.task_containers.iter();
    each.map(|left| Action::best_effort(TaskOperation::Remove { container: left.clone() })).collect()
}

/// A task in a container, and what undoes it while it runs.
pub(crate) fn in_container(task: &Task, spec: ContainerSpec) -> Action {
    let undo = Operation::Task(TaskOperation::Remove { container: spec.name.clone() });
    let (name, timeout) = (task.name.to_string(), task.timeout);
    action(task, TaskOperation::Container { name, spec: Box::new(spec), timeout }, undo)
}

/// A command on the host, and what undoes it while it runs.
pub(crate) fn on_host(task: &Task, command: &OnHost) -> Action {
    let name = task.name.to_string();
    let command = host_command(task, command);
    let step = TaskOperation::Command { name: name.clone(), command, timeout: task.timeout };
    action(task, step, Operation::Task(TaskOperation::End { name }))
}

pub(crate) fn host_command(task: &Task, command: &OnHost) -> HostCommand {
    HostCommand {
        words: command.words.clone(),
        folder: command.folder.to_string_lossy().into_owned(),
        environment: task.environment.clone(),
    }
}

pub(crate) fn action(task: &Task, step: impl Into<Operation>, undo: Operation) -> Action {
    Action { best_effort: !task.required, ..Action::undone_by(step, vec![undo]) }
}

fn labels(deployment: &Deployment, origin: &Origin, image: &ImageFacts, task: &Task) -> HashMap<String, String> {
    let labels = [
        (LABEL_NAME, deployment.name.to_string()),
        (LABEL_DEPLOYMENT, origin.deployment.clone()),
        (LABEL_REVISION, origin.revision.clone()),
        (LABEL_DIGEST, image.pin.identity().to_string()),
        (LABEL_TASK, task.name.to_string()),
    ];
    labels.into_iter().map(|(label, value)| (label.to_owned(), value)).collect()
}

/// What the container runs. The service's own command, user and folder mean nothing to another image.
pub(crate) fn run(options: &mut ContainerOptions, inside: &InContainer, of_service: bool) {
    let body = &mut options.body;
    if !of_service {
        (body.cmd, body.entrypoint, body.user, body.working_dir) = (None, None, None, None);
        options.platform = None;
    }
    // As everywhere: another entrypoint takes the command away.
    body.cmd = inside.command.clone().or_else(|| body.cmd.take().filter(|_| inside.entrypoint.is_none()));
    body.entrypoint = inside.entrypoint.clone().or_else(|| body.entrypoint.take());
    body.user = inside.user.clone().or_else(|| body.user.take());
}

/// Takes away what belongs to the container that serves: whoever looks for that must not find the task.
pub(crate) fn beside(options: &mut ContainerOptions) {
    let body = &mut options.body;
    body.exposed_ports = None;
    body.healthcheck = Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() });
    (body.open_stdin, body.tty) = (None, None);
    let host = body.host_config.get_or_insert_default();
    (host.port_bindings, host.publish_all_ports, host.restart_policy) = (None, None, None);
    let endpoints = body.networking_config.iter_mut().flat_map(|config| config.endpoints_config.iter_mut()).flatten();
    endpoints.for_each(|(_, endpoint)| *endpoint = nameless(endpoint));
    options.extra_networks.iter_mut().for_each(|(_, endpoint)| *endpoint = nameless(endpoint));
}

/// A place in a network without names and fixed addresses.
fn nameless(endpoint: &EndpointSettings) -> EndpointSettings {
    EndpointSettings { driver_opts: endpoint.driver_opts.clone(), ..EndpointSettings::default() }
}

/// The task's variables win over the service's.
pub(crate) fn environment(service: &[EnvVar], task: &[EnvVar]) -> Vec<EnvVar> {
    let kept = service.iter().filter(|var| !task.iter().any(|own| own.name == var.name));
    kept.chain(task).cloned().collect()
}

/// Runs a task to its end, or ends one that was left under way.
/// Errors: [`Kind::Task`] with its last lines; [`Kind::Image`] where its image is lost; [`Kind::Engine`].
pub(crate) async fn perform(operation: &TaskOperation, host: &mut Host) -> Result<Outcome, Failure> {
    let (engine, tasks) = (&host.engine, &mut host.tasks);
    match operation {
        TaskOperation::Container { name, spec, timeout } => {
            let image = host.images.argument(engine, &spec.image).await?;
            crate::tasks::container(engine, name, spec, image, *timeout, &mut tasks.creation).await?;
        }
        TaskOperation::Command { name, command, timeout } => {
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
