//! Tasks around a Compose project: a service of it, run once.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Deployment;
use crate::config::task::{InContainer, Task};
use crate::deploy::origin::Origin;
use crate::error::{Failure, Kind};
use crate::modes::compose::fetched::with_values;
use crate::modes::compose::operation::{ComposeOperation, unwritable};
use crate::modes::compose::plan::wanted::Wanted;
use crate::modes::compose::project::Project;
use crate::modes::compose::snapshot;
use crate::modes::compose::tool::{self, Processes};
use crate::modes::fill;
use crate::modes::host::Host;
use crate::modes::images::Imports;
use crate::modes::operation::{Action, Operation};
use crate::modes::tasks::{TaskActions, container_name};
use crate::tasks::command;
use crate::tasks::operation::TaskOperation;
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_NAME, LABEL_TASK};
use crate::values::secret::masked_words;
use crate::values::text::command_line;
use crate::values::types::EnvVar;

/// A service of a Compose project that is run once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComposeTask {
    pub(crate) name: String,
    pub(crate) project: Project,
    /// `run` and its options. Variables stand there by their names alone.
    pub(crate) run: Vec<String>,
    pub(crate) service: String,
    /// Its command; the image's own where it is empty.
    pub(crate) command: Vec<String>,
    pub(crate) container: String,
    pub(crate) environment: Vec<EnvVar>,
    /// How long it may run.
    pub timeout: Duration,
}

impl ComposeTask {
    /// The command line of Compose.
    pub fn argv(&self) -> Vec<String> {
        let words = self.run.iter().chain([&self.service]).chain(&self.command);
        let words: Vec<&str> = words.map(String::as_str).collect();
        self.project.argv(&words)
    }

    /// One short line for the console: without the project's files and the options.
    pub(crate) fn title(&self) -> String {
        let words: Vec<String> = [&self.service].into_iter().chain(&self.command).cloned().collect();
        format!("task {}: docker compose … run … {}", self.name, command_line(&masked_words(&words)))
    }
}

impl fmt::Display for ComposeTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timeout {} {}", self.timeout.as_secs(), command_line(&masked_words(&self.argv())))
    }
}

/// The tasks of a deployment in Compose mode, each with what imports the image of its service again.
pub(crate) fn around(
    deployment: &Deployment,
    origin: &Origin,
    wanted: &Wanted<'_>,
    imports: &Imports,
) -> Result<TaskActions, Failure> {
    TaskActions::of(&deployment.tasks, |task, inside| {
        let service = inside.service.clone().unwrap_or_default();
        let Some(image) = wanted.image(&service) else {
            let names: Vec<&str> = wanted.services.iter().map(|(found, _, _)| found.name.as_str()).collect();
            let message = format!("task {} names `{service}`, which is no active service", task.name);
            return Err(Failure::new(Kind::Appspec, message).next(format!("they are: {}", names.join(", "))));
        };
        let container = container_name(&deployment.name, &task.name);
        let undo = vec![
            Operation::Task(TaskOperation::End { name: task.name.to_string() }),
            Operation::Task(TaskOperation::Remove { container: container.clone() }),
        ];
        let step = ComposeOperation::RunTask(Box::new(ComposeTask {
            name: task.name.to_string(),
            project: wanted.project.clone(),
            service: service.clone(),
            run: compose_run(deployment, origin, task, inside, &container),
            command: inside.command.clone().unwrap_or_default(),
            container,
            environment: task.environment.clone(),
            timeout: task.timeout,
        }));
        let action = Action { best_effort: !task.required, ..Action::undone_by(step, undo) };
        Ok(action.repaired_by(&[Kind::Container, Kind::Task], imports.if_lost_of(&image.pin)))
    })
}

/// The words of `run`, before the service.
fn compose_run(
    deployment: &Deployment,
    origin: &Origin,
    task: &Task,
    inside: &InContainer,
    container: &str,
) -> Vec<String> {
    let mut words: Vec<String> = ["run", "--rm", "--no-deps", "-T", "--name", container].map(str::to_owned).into();
    for (label, value) in [
        (LABEL_NAME, deployment.name.as_str()),
        (LABEL_DEPLOYMENT, &origin.deployment),
        (LABEL_TASK, task.name.as_str()),
    ] {
        words.extend(["--label".to_owned(), format!("{label}={value}")]);
    }
    words.extend(inside.user.iter().flat_map(|user| ["--user".to_owned(), user.clone()]));
    if let Some(entrypoint) = &inside.entrypoint {
        words.extend(["--entrypoint".to_owned(), command_line(entrypoint)]);
    }
    words.extend(task.environment.iter().flat_map(|var| ["-e".to_owned(), var.name.clone()]));
    words
}

/// Runs a service once, to its end. Compose leaves its container behind where it is killed.
/// Errors: [`Kind::Task`] with its last lines; [`Kind::State`], [`Kind::Container`] where Compose cannot be run.
pub(crate) async fn run(host: &mut Host, task: &ComposeTask) -> Result<(), Failure> {
    let variables = snapshot::variables(&task.project).map_err(|error| unwritable(&task.project, &error))?;
    let (variables, _) = with_values(host, &variables).await?;
    let (environment, _) = fill::filled(&host.fetcher, &task.environment).await?;
    let processes = Processes { settings: &host.images.credentials, engine: &host.engine.endpoint.variables };
    let program = processes.program(&task.argv(), &variables).variables(&environment);
    let ended = command::run(&mut host.tasks.under_way, &task.name, program, task.timeout).await;
    let ended = ended.map_err(|error| tool::cannot_run(&error))?;
    let removed = host.engine.remove(&task.container).await;
    ended.and(removed)
}
