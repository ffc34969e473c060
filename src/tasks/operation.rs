//! Running a task, as a plan has it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::request::ContainerSpec;
use crate::values::secret::{HIDDEN, masked_words};
use crate::values::text::quoted;
use crate::values::types::EnvVar;

/// One step of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names say it
pub enum TaskOperation {
    /// Create a container, run it to its end, and remove it.
    Container { name: String, spec: Box<ContainerSpec>, timeout: Duration },
    /// Run a command on the host to its end.
    Command { name: String, command: HostCommand, timeout: Duration },
    /// Kill and remove a task's container. Nothing to do when it is gone.
    Remove { container: String },
    /// End a task's command: SIGTERM, and SIGKILL half a second later. Nothing to do when it has ended.
    End { name: String },
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
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Command { name, command, .. } => format!("task {name}: {command}"),
            Self::Container { .. } | Self::Remove { .. } | Self::End { .. } => self.to_string(),
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
            Self::Remove { container } => write!(f, "docker rm --force --volumes {container}"),
            Self::End { name } => write!(f, "kill task {name}"),
        }
    }
}

/// As a shell in the bundle's root takes it, but for what looks like a secret or comes from a file: that is `***`.
impl fmt::Display for HostCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = format!("{}/", self.folder.trim_end_matches('/'));
        if !self.environment.is_empty() {
            f.write_str("env ")?;
        }
        for var in &self.environment {
            match &var.value {
                None => write!(f, "-u {} ", quoted(&var.name))?,
                Some(_) => write!(f, "{} ", quoted_value(&var.name, &var.shown().unwrap_or_default()))?,
            }
        }
        let words = masked_words(&self.words);
        let words = words.iter().enumerate().map(|(at, word)| match word.strip_prefix(&root) {
            Some(inside) if at == 0 => quoted(&format!("./{inside}")),
            _ => quoted(word),
        });
        f.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}

fn quoted_value(name: &str, shown: &str) -> String {
    if shown == HIDDEN { format!("{name}={HIDDEN}") } else { quoted(&format!("{name}={shown}")) }
}
