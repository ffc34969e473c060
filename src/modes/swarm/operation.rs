//! What can be done to a swarm, and the one rendering of each. The effect of each stands in `perform`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::swarm::FileKind;
use crate::health::check::HealthCheck;
use crate::modes::options::of_service;
use crate::modes::release::Release;
use crate::modes::swarm::task::{SwarmTask, TaskLock};
use crate::values::operation::{Role, Traits};
use crate::values::options::SetOption;
use crate::values::pin::ImagePin;
use crate::values::types::EnvVar;

/// One operation in a swarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names say it
pub enum SwarmOperation {
    /// Make a swarm of this node alone.
    Init,
    /// Create an overlay network that containers may join.
    Network { name: String },
    /// Create a secret from the value of a variable. Its name has the value's digest.
    Secret { name: String, variable: String, owner: String },
    /// Create a secret or a config from a file. Its name is the one in the section with the first digits of the content's
    /// digest, which the file must still have; `owner` is the deployment's name, for its label.
    File { kind: FileKind, name: String, path: PathBuf, owner: String },
    /// Check that every node that may run the service has the image, by a global service that starts nothing.
    CheckNodes(Box<NodeCheck>),
    /// Create the service.
    Create(Box<ServiceRequest>),
    /// Update the service.
    Update(Box<ServiceRequest>),
    /// Give the swarm a new token of the registry, whose credentials are a slot that the host fills; no task restarts.
    RenewToken { service: String, registry: String },
    /// Wait until the service runs as wanted.
    RolloutCheck(RolloutCheck),
    /// Check the application's health from outside.
    Probe { service: String, health_check: HealthCheck },
    /// Wait for the tasks of this node: a worker knows of no other. `patience` is for the first one, and each must run for
    /// `monitor`.
    LocalTasks { service: String, image: ImagePin, patience: Duration, monitor: Duration },
    /// Save the release; what was observed is filled in when it is saved.
    SaveRelease { service: String, release: Box<Release> },
    /// Put the spec back that was in force before this deployment's, unless another one is in force by now. `spec` is the
    /// `balehook.spec` label of this deployment.
    Rollback { service: String, spec: String },
    /// Remove the service that this deployment created: the one with this `balehook.spec` label.
    Remove { service: String, spec: String },
    /// Change the number of the service's tasks. `stopped`: how many it had, where a person stops it.
    Scale { service: String, to: u64, stopped: Option<u64> },
    /// Replace every task by a new one of the same spec.
    Restart { service: String },
    /// Run a task once for the whole swarm: on the manager that takes its lock. The others wait for the same end.
    RunTask(Box<SwarmTask>),
    /// End a task where this node runs it, and say so in its lock. Nothing to do when it has ended.
    EndTask(TaskLock),
    /// Remove the lock that the task of an earlier deployment left, by its ID: another one may bear the name by then.
    /// Nothing to do when it is gone.
    RemoveTaskLock { service: String, id: String },
    /// Remove a secret or a config that no spec needs any more.
    RemoveFile { kind: FileKind, name: String },
}

/// Which nodes have an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct NodeCheck {
    pub name: String,
    pub image: ImagePin,
    /// Its spec, without the image.
    pub spec: Value,
    /// How long the nodes may take to import it.
    pub patience: Duration,
}

/// A service to create or to update: everything the engine is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct ServiceRequest {
    pub name: String,
    pub image: ImagePin,
    /// The request but for image, environment and the IDs of secrets and configs, which are filled in when it is sent.
    pub spec: Value,
    /// The environment; values are hidden in every printed form where they look secret.
    pub environment: Vec<EnvVar>,
    /// The registry whose credentials go with it, where the nodes are to get them.
    pub registry: Option<String>,
    /// The digest of all of it: the `balehook.spec` label.
    pub(crate) digest: String,
    /// The `balehook.spec` label that the service had when it was observed. Any other one is of another deployment.
    pub(crate) before: Option<String>,
    /// When its last update had begun then. One that began since is of another manager.
    pub(crate) began: Option<String>,
}

/// What must run in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutCheck {
    /// The service's name.
    pub service: String,
    /// The wanted `balehook.spec` label.
    pub(crate) spec: String,
    /// How long tasks must run without a failure.
    pub monitor: Duration,
    /// Whether one failed task ends it.
    pub(crate) strict: bool,
}

impl ServiceRequest {
    pub(crate) fn options(&self) -> Vec<SetOption> {
        of_service(&self.spec, &self.image.argument(), &self.environment, self.registry.as_deref())
    }
}

impl SwarmOperation {
    /// What its execution must know of it.
    pub(crate) const fn traits(&self) -> Traits {
        match self {
            Self::Init
            | Self::Network { .. }
            | Self::File { .. }
            | Self::Secret { .. }
            | Self::Create(_)
            | Self::Remove { .. }
            | Self::RemoveFile { .. } => Role::Prepares.brief(),
            Self::Rollback { .. } => Role::Prepares.brief().restoring(),
            Self::RunTask(_) | Self::EndTask(_) | Self::RemoveTaskLock { .. } => Role::Prepares.long(),
            Self::Update(_) | Self::Scale { .. } | Self::Restart { .. } => Role::Interrupts.brief(),
            Self::RolloutCheck(_) => Role::ChecksHealth.long(),
            Self::SaveRelease { .. } => Role::Saves.brief(),
            Self::RenewToken { .. } => Role::Passive.brief(),
            Self::CheckNodes(_) | Self::Probe { .. } | Self::LocalTasks { .. } => Role::Passive.long(),
        }
    }

    pub(crate) fn options(&self) -> Vec<SetOption> {
        match self {
            Self::CheckNodes(check) => of_service(&check.spec, &check.image.argument(), &[], None),
            Self::Create(request) | Self::Update(request) => request.options(),
            Self::RunTask(task) => task.options(),
            Self::Init
            | Self::Network { .. }
            | Self::File { .. }
            | Self::Secret { .. }
            | Self::RenewToken { .. }
            | Self::RolloutCheck(_)
            | Self::Probe { .. }
            | Self::LocalTasks { .. }
            | Self::SaveRelease { .. }
            | Self::Rollback { .. }
            | Self::Remove { .. }
            | Self::Scale { .. }
            | Self::Restart { .. }
            | Self::EndTask(_)
            | Self::RemoveTaskLock { .. }
            | Self::RemoveFile { .. } => Vec::new(),
        }
    }
}

impl fmt::Display for SwarmOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("docker swarm init"),
            Self::Network { name } => write!(f, "docker network create --driver overlay --attachable {name}"),
            Self::File { kind, name, path, .. } => {
                write!(f, "docker {} create {name} {}", kind.as_str(), path.display())
            }
            Self::Secret { name, variable, .. } => {
                write!(f, "docker secret create {name} - (the value of {variable})")
            }
            Self::CheckNodes(check) => {
                let (image, patience) = (check.image.describe(), check.patience);
                write!(f, "check that each node has {image}, within {patience:?}: create service {}", check.name)
            }
            Self::Create(request) => write!(f, "create service {} from {}", request.name, request.image.describe()),
            Self::Update(request) => write!(f, "update service {} to {}", request.name, request.image.describe()),
            Self::RenewToken { service, registry } => {
                write!(f, "docker service update --with-registry-auth {service}: a new token of {registry}, no restart")
            }
            Self::RolloutCheck(wanted) => {
                write!(f, "wait for {}: every task runs for {:?}", wanted.service, wanted.monitor)
            }
            Self::Probe { service, health_check } => write!(f, "check health of {service}: {health_check}"),
            Self::LocalTasks { service, patience, .. } => {
                write!(f, "wait for the tasks of {service} on this node, within {patience:?}: a manager updates it")
            }
            Self::SaveRelease { service, release } => {
                write!(f, "save release {service}: {release}")
            }
            Self::Rollback { service, .. } => write!(f, "docker service rollback {service}"),
            Self::Remove { service, .. } => write!(f, "docker service rm {service}"),
            Self::Scale { service, to, stopped: None } => write!(f, "docker service scale {service}={to}"),
            Self::Scale { service, to, stopped: Some(before) } => {
                write!(f, "docker service scale {service}={to}, with the label that it had {before}")
            }
            Self::Restart { service } => write!(f, "docker service update --force {service}"),
            Self::RunTask(task) => write!(f, "{task}"),
            Self::EndTask(task_lock) => write!(f, "end task {} where this node runs it", task_lock.task),
            Self::RemoveTaskLock { service, .. } => write!(f, "docker service rm {service}"),
            Self::RemoveFile { kind, name } => write!(f, "docker {} rm {name}", kind.as_str()),
        }
    }
}
