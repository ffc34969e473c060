//! What a saved release keeps of a Compose project.

use serde::{Deserialize, Serialize};

use crate::config::Probe;
use crate::modes::compose::project::Project;
use crate::modes::compose::wait::ProjectHealth;
use crate::values::types::EnvVar;

/// What a saved Compose project comes back from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComposeRelease {
    /// The project; its files are in its snapshot.
    pub project: Project,
    /// The variables that are fetched: where each lies, and a salted digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<EnvVar>,
    /// How it is checked when it comes back; `proof` in format 1.
    #[serde(alias = "proof")]
    pub health_check: SavedHealth,
}

/// How a saved project is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedHealth {
    /// The services, each with its number of containers.
    pub services: Vec<(String, usize)>,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u64,
    /// What was asked from outside.
    #[serde(default)]
    pub probe: Probe,
}

impl From<&ProjectHealth> for SavedHealth {
    fn from(health_check: &ProjectHealth) -> Self {
        let timeout_ms = u64::try_from(health_check.check.timeout.as_millis()).unwrap_or(u64::MAX);
        Self { services: health_check.services.clone(), timeout_ms, probe: health_check.check.probe.clone() }
    }
}
