//! What was observed of the host for a container, beside what every mode needs.

use crate::modes::as_it_is::AsItIs;
use crate::modes::secrets::SecretFacts;
use crate::ports::facts::PortsFacts;
use crate::values::mounted::MountedFile;
use crate::values::volume::AnonymousVolume;

/// What only container mode needs to know.
#[derive(Debug, Clone, Default)]
pub struct ContainerModeFacts {
    /// Seccomp profiles that `security_opt` names: the path as written there, and its JSON.
    pub seccomp: Vec<(String, String)>,
    /// The files of this host that the service mounts.
    pub files: Vec<MountedFile>,
    /// Networks that the service names and the engine lacks.
    pub networks_missing: Vec<String>,
    /// What switching ports in the kernel needs to know; `None` where none are switched.
    pub ports: Option<PortsFacts>,
    /// Anonymous volumes of the last release, where its container is gone and they are not.
    pub volumes_left: Vec<AnonymousVolume>,
    /// The container that bears the name, where no release is saved of it.
    pub unsaved: Option<AsItIs>,
    /// For secrets as files.
    pub secrets: SecretFacts,
}
