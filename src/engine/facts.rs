//! What the engine says of itself and of containers.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::values::forward::SwitchedPorts;
use crate::values::mounted::{MountedFile, changed};
use crate::values::target::Target;
use crate::values::volume::AnonymousVolume;

/// The engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFacts {
    /// As `20.10.24`.
    pub version: String,
    /// API version as (1, 41).
    pub api: (u32, u32),
    /// Go's name of the processor: `amd64`, `arm64`.
    pub architecture: String,
}

/// One container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerFacts {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without the leading slash.
    pub name: String,
    /// It bears our label with the deployment's name.
    pub ours: bool,
    /// `running`, `exited`, `created`, `restarting`, `paused`, `dead`.
    pub state: String,
    /// The `balehook.spec` label.
    pub spec: Option<String>,
    /// The `balehook.digest` label.
    pub digest: Option<String>,
    /// The `balehook.deployment` label.
    pub deployment: Option<String>,
    /// How long it may take to stop.
    pub stop_grace: Duration,
    /// The image as it was created from.
    pub image: String,
    /// Its service in a Compose project.
    pub service: Option<String>,
    /// The folder in which an engine on this host keeps it.
    #[serde(skip)]
    pub folder: Option<PathBuf>,
    /// It was stopped by hand (`docker stop`), and the engine leaves it so; observed by `resume` alone.
    #[serde(default)]
    pub stopped_by_hand: bool,
    /// Its first process, as this host numbers it; `None` where it does not run.
    #[serde(default)]
    pub pid: Option<i64>,
    /// The `balehook.files` label: what it was created with.
    #[serde(default)]
    pub files: Vec<MountedFile>,
    /// What it has mounted instead of those, where that can be seen.
    #[serde(default)]
    pub files_now: Vec<MountedFile>,
    /// The ports that the kernel forwards to it; `None` where the engine publishes its ports.
    pub switched: Option<SwitchedPorts>,
    /// Its anonymous volumes.
    #[serde(default)]
    pub volumes: Vec<AnonymousVolume>,
    /// It was started with `--rm`: the engine removes it, and its anonymous volumes, when it ends.
    #[serde(default)]
    pub auto_remove: bool,
}

impl ContainerFacts {
    /// This very container: another one may bear its name by the time that it is changed.
    pub(crate) fn target(&self) -> Target {
        Target { name: self.name.clone(), id: Some(self.id.clone()) }
    }

    /// The paths of mounted files that have become other files than it has, with another content.
    pub(crate) fn changed_files(&self, now: &[MountedFile]) -> Vec<String> {
        changed(&[&self.files_now, &self.files], now)
    }

    /// Whether it serves, or is about to.
    pub fn is_running(&self) -> bool {
        matches!(self.state.as_str(), "running" | "restarting" | "paused")
    }
}

pub(crate) fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
