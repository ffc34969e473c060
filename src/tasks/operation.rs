//! Running a task, as a plan has it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::request::ContainerSpec;
use crate::modes::compose::task::ComposeTask;
use crate::modes::swarm::facts::LeftoverKind;
use crate::modes::swarm::task::{SwarmTask, TaskLock};
use crate::values::text::{command_line, quoted};
use crate::values::types::EnvVar;

/// One step of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum TaskOperation {
    /// Create a container, run it to its end, and remove it.
    Container {
        /// The task's name.
        name: String,
        /// The container.
        spec: Box<ContainerSpec>,
        /// How long it may run.
        timeout: Duration,
    },
    /// Run a command on the host to its end.
    Command {
        /// The task's name.
        name: String,
        /// The command.
        command: HostCommand,
        /// How long it may run.
        timeout: Duration,
    },
    /// Run a service of a Compose project once, to its end, and remove its container.
    Compose(Box<ComposeTask>),
    /// Run a task once for the whole swarm: by the manager that claims it. The others wait for the same end.
    Swarm(Box<SwarmTask>),
    /// End a task of a swarm where this node runs it, and tell the others. Nothing to do when it has ended.
    Abandon(TaskLock),
    /// Remove what a task has left in a swarm. Nothing to do when it is gone.
    Clear {
        /// What it is.
        kind: LeftoverKind,
        /// Its name.
        name: String,
        /// Its ID.
        id: String,
    },
    /// Kill and remove a task's container. Nothing to do when it is gone.
    Remove {
        /// The container's name.
        container: String,
    },
    /// End a task's command: SIGTERM, and SIGKILL half a second later. Nothing to do when it has ended.
    End {
        /// The task's name.
        name: String,
    },
}

/// A command on the host, as it is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCommand {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Where it is started: the bundle's root. Programs below it are printed by their path in it.
    pub folder: String,
    /// Variables beside the hook's own.
    pub environment: Vec<EnvVar>,
}

impl TaskOperation {
    /// One short line for the console.
    pub fn title(&self) -> String {
        match self {
            Self::Command { name, command, .. } => format!("task {name}: {command}"),
            Self::Compose(task) => {
                format!("task {}: docker compose … run … {}", task.name, command_line(&task.command))
            }
            Self::Swarm(task) => task.title(),
            Self::Container { .. } | Self::Abandon(_) | Self::Clear { .. } | Self::Remove { .. } | Self::End { .. } => {
                self.to_string()
            }
        }
    }
}

impl fmt::Display for TaskOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container { name, spec, timeout } => {
                let (container, image, seconds) = (&spec.name, spec.image.describe(), timeout.as_secs());
                write!(f, "task {name}: run container {container} from {image}, within {seconds}s")
            }
            Self::Command { command, timeout, .. } => write!(f, "timeout {} {command}", timeout.as_secs()),
            Self::Compose(task) => {
                write!(f, "timeout {} {}", task.timeout.as_secs(), command_line(&task.argv()))
            }
            Self::Swarm(task) => write!(f, "{task}"),
            Self::Abandon(task_lock) => write!(f, "end task {} where this node runs it", task_lock.task),
            Self::Clear { kind: LeftoverKind::Job, name, .. } => write!(f, "docker service rm {name}"),
            Self::Clear { kind: LeftoverKind::TaskLock, name, .. } => write!(f, "docker config rm {name}"),
            Self::Remove { container } => write!(f, "docker rm --force --volumes {container}"),
            Self::End { name } => write!(f, "kill task {name}"),
        }
    }
}

/// As a shell in the bundle's root takes it; hidden variables are `***`.
impl fmt::Display for HostCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = format!("{}/", self.folder.trim_end_matches('/'));
        if !self.environment.is_empty() {
            f.write_str("env ")?;
        }
        for var in &self.environment {
            match &var.value {
                None => write!(f, "-u {} ", quoted(&var.name))?,
                Some(_) if var.hidden => write!(f, "{}=*** ", var.name)?,
                Some(value) => write!(f, "{} ", quoted(&format!("{}={}", var.name, value.reveal())))?,
            }
        }
        let words = self.words.iter().enumerate().map(|(at, word)| match word.strip_prefix(&root) {
            Some(inside) if at == 0 => quoted(&format!("./{inside}")),
            _ => quoted(word),
        });
        f.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}
