//! What the engine is given to create a container, and how a plan names one.

use bollard::models::{ContainerCreateBody, EndpointSettings, Mount, MountType};
use serde::{Deserialize, Serialize};

use crate::values::pin::ImagePin;
use crate::values::secret_file::SecretSet;
use crate::values::types::EnvVar;
use crate::values::volume::AnonymousVolume;

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
    /// Volumes of the container before that this one gets too where its image has a `VOLUME` there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub if_declared: Vec<AnonymousVolume>,
    /// Secrets as files: mounted when it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretSet>,
}

impl ContainerSpec {
    /// What the engine is sent: with its secrets, each mounted by itself. A mount, unlike a bind, is never made up by an
    /// engine that finds nothing there.
    pub(crate) fn with_secrets(&self) -> ContainerCreateBody {
        let mut body = self.options.body.clone();
        let Some(set) = &self.secrets else { return body };
        let each = set.files.iter().enumerate().map(|(number, file)| Mount {
            typ: Some(MountType::BIND),
            source: Some(set.path(number)),
            target: Some(file.target.clone()),
            read_only: Some(true),
            ..Mount::default()
        });
        let host = body.host_config.get_or_insert_default();
        host.mounts.get_or_insert_default().extend(each);
        body
    }
}
