//! What was observed of a swarm from this node.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;

use serde_json::Value;

use crate::config::swarm::{FileKind, FileSource, Swarm};
use crate::error::{Failure, Kind};
use crate::modes::swarm::placement::{self, NodeProperties};
use crate::values::labels::LABEL_DIGEST;
use crate::values::pin::retention_tag;
use crate::values::source::Source;
use crate::values::types::{ContentDigest, Name};

/// The swarm from this node.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)] // the names say it
pub struct SwarmFacts {
    pub role: Role,
    /// This node's ID; empty outside a swarm.
    pub node: String,
    /// Nodes that may run tasks, by name.
    pub nodes: Vec<String>,
    /// What constraints may compare of each node; none where they are not known.
    pub properties: Vec<NodeProperties>,
    /// This node is drained or paused: it takes no tasks.
    pub is_drained: bool,
    /// The locks that tasks around deployments of this name left.
    pub task_locks: Vec<TaskLockFacts>,
    pub service: Option<ServiceFacts>,
    /// The named networks that exist, with their IDs.
    pub networks: BTreeMap<String, String>,
    pub files: BTreeSet<(FileKind, String)>,
    /// Those of them that were created for this name, by their label.
    pub made: BTreeSet<(FileKind, String)>,
    /// The digests of the files that secrets and configs are made from.
    pub contents: BTreeMap<PathBuf, ContentDigest>,
    /// Those of values that were fetched for secrets.
    pub fetched: HashMap<Source, ContentDigest>,
    /// The engine's ID of the wanted image, where it has it: tasks name an archive's image by it.
    pub image_id: Option<String>,
}

/// What a node is in a swarm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Role {
    /// It can read and change everything.
    Manager,
    /// It runs tasks.
    Worker,
    /// It is in none.
    #[default]
    Outside,
    /// It cannot be used: why.
    Unusable(String),
}

/// The lock of a task around a deployment: the service of the task's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLockFacts {
    /// The service's name.
    pub service: String,
    /// The service's ID: another one may bear the name by the time it is removed.
    pub id: String,
    /// The ID of the node whose hook runs the task.
    pub node: String,
    /// The ID of the deployment that the task is of.
    pub deployment: String,
    /// Whether it says how the task ended.
    pub has_ended: bool,
}

/// A service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceFacts {
    /// Its ID.
    pub id: String,
    /// When its last update began, as the engine writes it.
    pub began: Option<String>,
    /// Its spec.
    pub spec: LiveSpec,
}

/// A service's spec as the swarm has it: variables may be secrets, so that it is never printed.
#[derive(Clone, PartialEq)]
pub struct LiveSpec(Value);

impl LiveSpec {
    /// Wraps a spec.
    pub const fn new(spec: Value) -> Self {
        Self(spec)
    }

    /// The spec itself, for comparing and for sending it back.
    pub(crate) const fn reveal(&self) -> &Value {
        &self.0
    }

    /// One of its labels.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.0["Labels"][name].as_str()
    }
}

impl fmt::Debug for LiveSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl SwarmFacts {
    /// Our tag of the image that the service's spec names.
    pub(crate) fn retention_tag(&self, name: &Name) -> Option<String> {
        let digest: ContentDigest = self.service.as_ref()?.spec.label(LABEL_DIGEST)?.parse().ok()?;
        Some(retention_tag(name, &digest))
    }

    pub(crate) fn has_network(&self, name: &str) -> bool {
        name == "host" || self.networks.contains_key(name)
    }

    /// The first network, secret, config or node that the swarm must have and lacks.
    pub(crate) fn missing<'a>(&self, swarm: &'a Swarm) -> Option<(Failure, &'a str)> {
        let network = swarm.networks.iter().find(|network| !network.create && !self.has_network(&network.name));
        if let Some(name) = network.map(|network| &network.name) {
            let failure = Failure::new(Kind::Container, format!("the swarm has no network {name}"));
            let next =
                format!("docker network create --driver overlay {name}, or write `{name}: {{attachable: true}}`");
            return Some((failure.next(next), name));
        }
        let mut existing = swarm.files.iter().filter_map(|file| match &file.source {
            FileSource::Existing(name) => Some((file.kind, name)),
            FileSource::File { .. } | FileSource::Variable { .. } | FileSource::Fetched { .. } => None,
        });
        let Some((kind, name)) = existing.find(|(kind, name)| !self.files.contains(&(*kind, (*name).clone()))) else {
            return placement::unmet(&swarm.deploy.constraints, &self.properties);
        };
        let word = kind.as_str();
        let failure = Failure::new(Kind::Container, format!("the swarm has no {word} {name}"));
        let next = format!("docker {word} create {name} FILE, or write `file:` beside `source: {name}`");
        Some((failure.next(next), name))
    }

    /// A manager of a swarm without anything: what a dry run without an engine assumes.
    pub fn empty(role: Role) -> Self {
        Self { role, ..Self::default() }
    }
}
