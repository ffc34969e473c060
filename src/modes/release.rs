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
use crate::values::secret_file::SecretSource;
use crate::values::types::{EnvVar, Name};

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

impl Release {
    /// The variables with the reference of each value that is fetched.
    pub(crate) fn variables(&self) -> &[EnvVar] {
        let part = &self.part;
        match (&part.container, &part.swarm, &part.compose) {
            (Some(kept), _, _) => &kept.request.environment,
            (None, Some(request), _) => &request.environment,
            (None, None, Some(project)) => &project.variables,
            (None, None, None) => &[],
        }
    }

    /// The same as they are kept, for a value that was fetched meanwhile.
    pub(crate) fn variables_mut(&mut self) -> &mut [EnvVar] {
        let part = &mut self.part;
        match (&mut part.container, &mut part.swarm, &mut part.compose) {
            (Some(kept), _, _) => &mut kept.request.environment,
            (None, Some(request), _) => &mut request.environment,
            (None, None, Some(project)) => &mut project.variables,
            (None, None, None) => &mut [],
        }
    }

    /// The salt of its digests, where it has any.
    pub(crate) fn salt(&self) -> Option<&str> {
        self.variables().iter().find_map(|var| var.value.as_ref()?.salt())
    }

    /// What a rollback to it says of values that are fetched.
    pub(crate) fn fetched_anew(&self) -> Option<String> {
        let names = self.variables().iter().filter(|var| var.source().is_some()).map(|var| var.name.as_str());
        let set = self.part.container.as_ref().and_then(|kept| kept.request.secrets.as_ref());
        let files = set.into_iter().flat_map(|set| &set.files);
        let files = files.filter(|file| matches!(file.source, SecretSource::Fetched(_))).map(|file| file.name.as_str());
        let names: Vec<&str> = names.chain(files).collect();
        let words = "fetched anew: a release keeps where a value lies, not the value";
        (!names.is_empty()).then(|| format!("{}: {words}", names.join(", ")))
    }
}

/// A container as it was created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerRelease {
    /// Everything that the engine was given. Of a value that is fetched it keeps where it lies, and a salted digest.
    pub request: ContainerSpec,
    /// How it is checked at the host's ports.
    pub health_check: HealthCheck,
    /// Set where it started beside its predecessor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_first: Option<StartFirst>,
}
