//! What was deployed, as it was found: values only.

use serde::Serialize;

/// Everything that was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Deployed {
    /// The names of which there is state.
    pub(crate) names: Vec<NameStatus>,
    /// Containers on this host.
    pub(crate) containers: Vec<Status>,
    /// Services of the swarm that this node manages.
    pub(crate) services: Vec<ServiceStatus>,
    /// It is in a swarm and manages none: it cannot know the services.
    pub(crate) is_worker: bool,
    /// Names that a person has stopped.
    pub(crate) stopped: Vec<String>,
}

/// What this host's state says of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NameStatus {
    pub(crate) name: String,
    /// The image of the release that was deployed last, as a person reads it; of several the first.
    pub(crate) release: Option<String>,
    pub(crate) more_images: usize,
    pub(crate) deployment: Option<String>,
    pub(crate) revision: Option<String>,
    /// When the release was healthy first, RFC 3339.
    pub(crate) saved: Option<String>,
    /// Releases that are kept whatever their age, each as a person reads it.
    pub(crate) pinned: Vec<String>,
    /// The answer to its health check, where it runs; none of a swarm's service.
    pub(crate) health: Option<Health>,
    /// Where the last deployment failed.
    pub(crate) last_failure: Option<LastFailure>,
    /// The deployment that was killed and left something to undo or to finish.
    pub(crate) interrupted: Option<String>,
    /// Whether an event is at work now.
    pub(crate) under_way: bool,
}

/// How a health check was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Health {
    pub(crate) asked: String,
    /// Why it is not healthy.
    pub(crate) bad: Option<String>,
}

/// How the last deployment failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LastFailure {
    pub(crate) deployment: String,
    /// When its event began, RFC 3339.
    pub(crate) at: String,
    pub(crate) event: String,
    pub(crate) cause: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ServiceStatus {
    pub(crate) name: String,
    pub(crate) id: String,
    /// The image of its spec, with the digest.
    pub(crate) image: String,
    /// Tasks that run.
    pub(crate) running: u64,
    /// Tasks that should.
    pub(crate) wanted: u64,
    /// The last update: `completed`, `updating`, `paused`, `rollback_completed`, …
    pub(crate) update: Option<String>,
    pub(crate) deployment: Option<String>,
    pub(crate) revision: Option<String>,
    /// As `80->8080/tcp`.
    pub(crate) ports: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    pub(crate) name: String,
    pub(crate) container: String,
    pub(crate) id: String,
    /// The image as it was created from.
    pub(crate) image: String,
    pub(crate) digest: Option<String>,
    /// `running`, `exited`, …
    pub(crate) state: String,
    /// `healthy`, `unhealthy`, `starting`; none without a HEALTHCHECK.
    pub(crate) health: Option<String>,
    /// When it was started, RFC 3339.
    pub(crate) started: String,
    pub(crate) deployment: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) ports: Ports,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub(crate) enum Ports {
    /// By the engine: `docker ps` shows them too.
    #[serde(rename = "engine")]
    Published { ports: Vec<String> },
    /// By the kernel: `docker ps` cannot show them.
    #[serde(rename = "kernel")]
    SwitchedPorts {
        /// As `80->8080/tcp`.
        ports: Vec<String>,
        /// The container's address on our network.
        address: String,
        /// Whether the rules lead to this container; none where the tables cannot be read.
        open: Option<bool>,
    },
}

impl Deployed {
    /// Whether a killed deployment left something.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.names.iter().any(|name| name.interrupted.is_some())
    }

    /// Whether everything that was deployed runs, and is healthy.
    pub(crate) fn is_well(&self) -> bool {
        let runs = |name: &str| {
            let mut containers = self.containers.iter().filter(|container| container.name == name);
            let service = self.services.iter().find(|service| service.name == name);
            containers.any(|container| container.state == "running") || service.is_some_and(ServiceStatus::is_well)
        };
        let is_well = |name: &NameStatus| {
            let is_bad = name.health.as_ref().is_some_and(|health| health.bad.is_some());
            let may_be_down = name.release.is_none() || self.is_worker || self.stopped.contains(&name.name);
            may_be_down || runs(&name.name) && !is_bad
        };
        self.names.iter().all(is_well)
            && self.services.iter().all(ServiceStatus::is_well)
            && self.containers.iter().all(|container| container.health.as_deref() != Some("unhealthy"))
    }
}

impl ServiceStatus {
    pub(crate) const fn is_well(&self) -> bool {
        self.running >= self.wanted
    }
}
