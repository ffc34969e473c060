//! What the engine is given to create a container, and how a plan names one.

use std::fmt;

use bollard::models::{ContainerCreateBody, EndpointSettings};
use serde::{Deserialize, Serialize};

use crate::values::pin::ImagePin;
use crate::values::types::EnvVar;

/// A create request without image and environment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerOptions {
    /// The request's body.
    pub body: ContainerCreateBody,
    /// Networks to connect to before the start, where the engine takes only one at creation.
    pub extra_networks: Vec<(String, EndpointSettings)>,
    /// `linux/arm64`: a parameter of the request.
    pub platform: Option<String>,
}

/// A container to create: everything the engine is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The name it is created under.
    pub name: String,
    /// The image.
    pub image: ImagePin,
    /// The engine's create request but for image and environment, which are filled in when it is sent.
    pub options: ContainerOptions,
    /// The environment; values are hidden in every printed form where they look secret.
    pub environment: Vec<EnvVar>,
}

/// A container, by the name it bears at that point of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The name.
    pub name: String,
    /// The ID, where the container exists already; the one that this plan creates otherwise.
    pub id: Option<String>,
}

impl Target {
    /// What the engine knows it by: its ID, or its name.
    pub fn address(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
