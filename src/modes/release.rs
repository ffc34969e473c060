//! What a saved release keeps of its mode: everything that restores it without its bundle, registry or bucket.

use serde::{Deserialize, Serialize};

use crate::config::start_first::StartFirst;
use crate::deploy;
use crate::engine::Engine;
use crate::engine::request::ContainerSpec;
use crate::error::Failure;
use crate::health::check::HealthCheck;
use crate::modes::compose::release::ComposeRelease;
use crate::modes::swarm::operation::ServiceRequest;
use crate::values::pin::ImagePin;
use crate::values::types::Name;

/// A saved release.
pub type Release = deploy::release::Release<Part>;

impl Release {
    /// Its images that the engine does not have.
    pub(crate) async fn missing(&self, engine: &Engine, name: &Name) -> Result<Vec<&ImagePin>, Failure> {
        let mut missing = Vec::new();
        for pin in self.images() {
            if engine.find(pin, name).await?.is_none() {
                missing.push(pin);
            }
        }
        Ok(missing)
    }
}

/// The part of a release that only its mode understands; of the three at most one is there. Format 1 has `options`, and
/// `compose` alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The options as a person reads them, secrets hidden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Vec<String>>,
    /// In container mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Box<ContainerRelease>>,
    /// In Compose mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compose: Option<ComposeRelease>,
    /// In swarm mode, on a manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm: Option<Box<ServiceRequest>>,
}

/// A container as it was created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerRelease {
    /// Everything that the engine was given, the variables' values too.
    pub request: ContainerSpec,
    /// How it is checked at the host's ports.
    pub health_check: HealthCheck,
    /// Set where it started beside its predecessor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_first: Option<StartFirst>,
}
