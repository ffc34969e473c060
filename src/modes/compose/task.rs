//! Tasks around a Compose project: a service of it, run once.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Deployment;
use crate::config::task::{InContainer, Task};
use crate::deploy::origin::Origin;
use crate::error::{Failure, Kind};
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::compose::project::{ComposeFacts, Project};
use crate::modes::container::run_line::quoted;
use crate::modes::images::Imports;
use crate::modes::operation::Action;
use crate::modes::operation::Operation;
use crate::modes::tasks::{TaskActions, container_name};
use crate::tasks::operation::TaskOperation;
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_NAME, LABEL_TASK};
use crate::values::types::EnvVar;

/// A service of a Compose project that is run once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComposeTask {
    /// The task's name.
    pub name: String,
    /// The project.
    pub project: Project,
    /// `run` and its options. Variables stand there by their names alone.
    pub run: Vec<String>,
    /// The service and its command.
    pub command: Vec<String>,
    /// The container.
    pub container: String,
    /// The task's variables.
    pub environment: Vec<EnvVar>,
    /// How long it may run.
    pub timeout: Duration,
}

impl ComposeTask {
    /// The command line of Compose.
    pub fn argv(&self) -> Vec<String> {
        let words: Vec<&str> = self.run.iter().chain(&self.command).map(String::as_str).collect();
        self.project.argv(&words)
    }

    /// One short line for the console: without the project's files and the options.
    pub(crate) fn title(&self) -> String {
        let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
        format!("task {}: docker compose … run … {}", self.name, words.join(" "))
    }
}

impl fmt::Display for ComposeTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.argv().iter().map(|word| quoted(word)).collect();
        write!(f, "timeout {} {}", self.timeout.as_secs(), words.join(" "))
    }
}

/// The tasks of a deployment in Compose mode.
///
/// # Errors
/// A task names a service that the project does not have.
pub fn around(
    deployment: &Deployment,
    origin: &Origin,
    facts: &ComposeFacts,
    project: &Project,
    imports: &Imports,
) -> Result<TaskActions, Failure> {
    TaskActions::of(&deployment.tasks, |task, inside| {
        let service = inside.service.clone().unwrap_or_default();
        if !facts.services.iter().any(|found| found.name == service) {
            let names: Vec<&str> = facts.services.iter().map(|found| found.name.as_str()).collect();
            let message = format!("task {} names `{service}`, which is no active service", task.name);
            return Err(Failure::new(Kind::Appspec, message).next(format!("they are: {}", names.join(", "))));
        }
        let container = container_name(&deployment.name, &task.name);
        let undo = vec![
            Operation::Task(TaskOperation::End { name: task.name.to_string() }),
            Operation::Task(TaskOperation::Remove { container: container.clone() }),
        ];
        let step = ComposeOperation::RunTask(Box::new(ComposeTask {
            name: task.name.to_string(),
            project: project.clone(),
            run: compose_run(deployment, origin, task, inside, &container),
            command: std::iter::once(service).chain(inside.command.iter().flatten().cloned()).collect(),
            container,
            environment: task.environment.clone(),
            timeout: task.timeout,
        }));
        let action = Action { best_effort: !task.required, ..Action::undone_by(step, undo) };
        Ok(action.repaired_by(&[Kind::Container, Kind::Task], imports.if_lost()))
    })
}

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
        let text: Vec<String> = entrypoint.iter().map(|word| quoted(word)).collect();
        words.extend(["--entrypoint".to_owned(), text.join(" ")]);
    }
    words.extend(task.environment.iter().flat_map(|var| ["-e".to_owned(), var.name.clone()]));
    words
}
