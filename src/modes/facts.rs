//! What was observed of the host: values only, so that plans can be made from a file in tests.

use std::path::Path;

use crate::config::pending::Pending;
use crate::deploy::journal::Left;
use crate::deploy::state::Store;
use crate::engine::facts::{ContainerFacts, EngineFacts};
use crate::error::{Failure, Kind, ObserveFailure};
use crate::images::facts::{ImageFacts, Room};
use crate::images::record::ImportedReferences;
use crate::modes::compose::project::{ComposeFacts, Tool};
use crate::modes::compose::release::ComposeRelease;
use crate::modes::container::facts::ContainerModeFacts;
use crate::modes::operation::Operation;
use crate::modes::release::Release;
use crate::modes::sharing::Sharing;
use crate::modes::swarm;
use crate::ports::facts::PortTaken;
use crate::values::known::Known;
use crate::values::types::EnvVar;

/// The host as a plan sees it.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)] // the names say it
pub struct Facts {
    pub engine: Known<EngineFacts>,
    /// Our containers, and those that bear a name that we are going to use.
    pub containers: Vec<ContainerFacts>,
    /// Containers of tasks, or that an image was tried with, by name: the lock is ours, so that a killed deployment left them.
    pub task_containers: Vec<String>,
    /// Other containers that use namespaces of ours.
    pub sharing: Vec<Sharing>,
    /// The wanted images; none where the event does not need them.
    pub images: Vec<ImageFacts>,
    /// The environment from `environment` and `env_file` together, in order.
    pub environment: Known<Vec<EnvVar>>,
    /// The event fetches values; in any other they stay references.
    pub fetches: bool,
    /// Warnings of the files that were read, by place.
    pub warnings: Vec<String>,
    /// Wanted host ports that are taken.
    pub ports_taken: Vec<PortTaken>,
    /// Where the engine keeps its data on this host: free bytes, and what the image's archive needs of them.
    pub room: Option<Room>,
    /// Saved releases, the newest first.
    pub releases: Vec<Release>,
    /// What an interrupted event left.
    pub left: Option<Left<Operation>>,
    /// A person has stopped the name with `balehook stop`.
    pub stopped: bool,
    /// Our own tags in the engine (`balehook/<name>:…`).
    pub retention_tags: Vec<String>,
    /// Those of our tags whose image the engine keeps for ended tasks of a swarm on this node.
    pub of_swarm_tasks: Vec<String>,
    /// What imports gave the engine, also where an event was killed before it gave the tag.
    pub imported: Vec<ImportedReferences>,
    pub container: ContainerModeFacts,
    pub swarm: Option<swarm::facts::SwarmFacts>,
    pub compose: Option<ComposeFacts>,
    /// Compose on this host, where it is called.
    pub compose_tool: Known<Tool>,
    /// What need not be there yet.
    pub pending: Pending,
    /// What is not there yet, and who puts it there.
    pub not_yet: Vec<String>,
    /// What could not be looked up. A run ends here; a dry run goes on where it may be assumed.
    pub failures: Vec<ObserveFailure>,
}

impl Facts {
    /// What the records say, before the engine was asked.
    pub fn unseen(store: &Store) -> Self {
        Self {
            releases: store.releases(),
            left: store.left(),
            imported: store.imported(),
            stopped: store.is_stopped(),
            ..Self::blank()
        }
    }

    /// A host of which nothing is known, not even its records.
    pub(crate) fn blank() -> Self {
        Self {
            environment: Known::Yes(Vec::new()),
            compose_tool: Known::No("Compose was not looked for".into()),
            ..Self::default()
        }
    }

    /// The project of the last release, where that is one.
    pub(crate) fn saved_project(&self) -> Option<&ComposeRelease> {
        self.releases.first()?.part.compose.as_ref()
    }

    /// Whether a file is not there yet and need not be: then that is said, in the result too.
    pub(crate) fn put_off(&mut self, path: &Path) -> Option<String> {
        match path.exists() {
            true => None,
            false => self.put_off_for(path, "is not there yet"),
        }
    }

    /// The same where another one may lie there: that of the revision before.
    pub(crate) fn put_off_replaced(&mut self, path: &Path) -> Option<String> {
        match path.exists() && self.pending.installs(path) {
            true => self.put_off_for(path, "may be that of the revision before"),
            false => self.put_off(path),
        }
    }

    /// Whether a script of another hook may still make what the engine lacks: then that is said.
    pub(crate) fn put_off_object(&mut self, lacks: &str) -> bool {
        let may_come = !self.pending.scripts.is_empty();
        if may_come {
            let line = format!("{lacks}: a script of another hook may make it, and ApplicationStart needs it");
            self.not_yet.push(line);
        }
        may_come
    }

    fn put_off_for(&mut self, path: &Path, what: &str) -> Option<String> {
        let who = self.pending.who_writes(path)?;
        let line = format!("{} {what}: {who}, and ApplicationStart needs it", path.display());
        if !self.not_yet.contains(&line) {
            self.not_yet.push(line.clone());
        }
        Some(line)
    }

    /// What was seen of an image, by its [`ImageNeed::key`](crate::config::ImageNeed::key).
    pub(crate) fn image(&self, key: &str) -> Result<&ImageFacts, Failure> {
        let found = self.images.iter().find(|image| image.key == key);
        found.ok_or_else(|| Failure::new(Kind::Unexpected, format!("{key} was not looked up for this event")))
    }
}
