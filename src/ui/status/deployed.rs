//! What was deployed, as it was found: values only.

use serde::{Serialize, Serializer};
use serde_json::json;

use crate::modes::drift::Drift;
use crate::ui::json;

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
    /// The digest of that image, whole.
    pub(crate) digest: Option<String>,
    pub(crate) deployment: Option<String>,
    pub(crate) revision: Option<String>,
    /// When the release was healthy first, RFC 3339.
    pub(crate) saved: Option<String>,
    /// Releases that are never pruned, each as a person reads it.
    pub(crate) pinned: Vec<String>,
    /// What was changed by hand since; none where that is not known.
    #[serde(serialize_with = "drift")]
    pub(crate) drift: Option<Drift>,
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
    /// Each question with its last good answer and the time that it took: `GET http://127.0.0.1/: 200 OK: ready, in 3 ms`.
    pub(crate) answers: Vec<String>,
    /// Why it is not healthy.
    pub(crate) bad: Option<String>,
}

/// `{changes: […], back: […]}`, the changes as a plan has them.
fn drift<S: Serializer>(drift: &Option<Drift>, to: S) -> Result<S::Ok, S::Error> {
    let drift = drift.as_ref().map(
        |drift| json!({ "changes": drift.changes.iter().map(json::change).collect::<Vec<_>>(), "back": drift.back }),
    );
    drift.serialize(to)
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
    /// The newest of each slot or node that should run, and those that failed last.
    pub(crate) tasks: Vec<TaskStatus>,
    /// A person has stopped it: `Deployed::stopped` names it.
    #[serde(skip)]
    pub(crate) is_stopped: bool,
}

/// A task of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TaskStatus {
    /// None of a global service.
    pub(crate) slot: Option<u64>,
    /// The node's name, or its ID; none where no node took it.
    pub(crate) node: Option<String>,
    /// `running`, `preparing`, `rejected`, …
    pub(crate) state: String,
    /// Since when, RFC 3339.
    pub(crate) since: String,
    /// Why it failed, or waits.
    pub(crate) error: Option<String>,
}

/// The last answer to the HEALTHCHECK of a container, as the engine asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LastCheck {
    pub(crate) exit_code: i64,
    /// When it ended, RFC 3339.
    pub(crate) at: String,
    /// The first line that it printed.
    pub(crate) line: String,
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
    pub(crate) last_check: Option<LastCheck>,
    /// When it was started, RFC 3339.
    pub(crate) started: String,
    /// The service of a Compose project.
    pub(crate) service: Option<String>,
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

    /// Whether anything of it runs; of a service all of its tasks.
    pub(crate) fn runs(&self, name: &str) -> bool {
        let mut containers = self.containers.iter().filter(|container| container.name == name);
        let service = self.services.iter().find(|service| service.name == name);
        containers.any(|container| container.state == "running") || service.is_some_and(ServiceStatus::is_well)
    }

    /// Whether everything that was deployed runs, and is healthy. What was changed by hand does not count.
    pub(crate) fn is_well(&self) -> bool {
        let is_well = |name: &NameStatus| {
            let is_bad = name.health.as_ref().is_some_and(|health| health.bad.is_some());
            let may_be_down = name.release.is_none() || self.is_worker || self.stopped.contains(&name.name);
            may_be_down || self.runs(&name.name) && !is_bad
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
