//! The host that operations are performed on: the engine, and what the operations of one plan must know of each other.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::hook_env::HookEnv;
use crate::deploy::release::Observed;
use crate::deploy::state::LockedStore;
use crate::engine::Engine;
use crate::engine::creation::Creation;
use crate::engine::logs;
use crate::error::Failure;
use crate::fetch::Fetcher;
use crate::health::checker::HealthChecker;
use crate::images::operation::Importer;
use crate::modes::container::operation::Containers;
use crate::modes::fill;
use crate::modes::release::Release;
use crate::modes::runs_now::Subject;
use crate::tasks::command::Group;
use crate::values::pin::ImagePin;
use crate::values::types::Name;

pub(crate) struct Host {
    pub(crate) name: Name,
    /// What it stands for.
    pub(crate) subject: Subject,
    pub(crate) engine: Engine,
    pub(crate) images: Importer,
    pub(crate) containers: Containers,
    pub(crate) tasks: Tasks,
    /// The health check under way, or the one that was cut off.
    pub(crate) health: HealthChecker,
    pub(crate) store: Rc<LockedStore>,
    pub(crate) fetcher: Fetcher,
    pub(crate) keep: usize,
    /// When the plan began, in seconds since 1970: what it creates is newer.
    began: i64,
    /// What the containers of a release that failed have said last.
    pub(crate) last_words: Vec<u8>,
    /// Another manager of the swarm has created or updated the service: it tells who wants to hear of it.
    pub(crate) follows: Cell<bool>,
}

#[derive(Default)]
pub(crate) struct Tasks {
    /// The hook's variables, for their commands.
    pub(crate) env: HookEnv,
    /// The command of one that runs, or was left running when the plan had to stop.
    pub(crate) under_way: Option<Group>,
    /// Of a task's container or service.
    pub(crate) creation: Creation,
}

impl Host {
    pub(crate) fn new(
        engine: Engine,
        images: Importer,
        env: HookEnv,
        (store, fetcher): (Rc<LockedStore>, Fetcher),
        (name, subject): (Name, Subject),
        keep: usize,
    ) -> Self {
        let tasks = Tasks { env, ..Tasks::default() };
        Self {
            name,
            subject,
            engine,
            images,
            containers: Containers::default(),
            tasks,
            health: HealthChecker::default(),
            store,
            fetcher,
            keep,
            began: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs().cast_signed()),
            last_words: Vec::new(),
            follows: Cell::new(false),
        }
    }

    /// Keeps what the containers that the plan created have said, before they go.
    pub(crate) async fn keep_last_words(&mut self) {
        if self.last_words.is_empty() {
            self.last_words = logs::last_words(&self.engine, &self.name, self.began).await;
        }
    }

    /// The folder of all names.
    pub(crate) fn state_dir(&self) -> &Path {
        self.store.store().folder().parent().unwrap_or(Path::new("/"))
    }

    /// What a container or a service is created from: the digest in the registry, or the engine's own ID. A local image by
    /// a tag makes every task of a swarm ask the registry first.
    pub(crate) async fn image(&self, pin: &ImagePin) -> Result<String, Failure> {
        self.images.argument(&self.engine, pin).await
    }

    pub(crate) fn save(&self, release: &Release, observed: Observed) -> Result<(), Failure> {
        let mut release = Release { observed, ..release.clone() };
        fill::known(&self.fetcher, release.variables_mut());
        self.store.save_release(&release, self.keep)
    }
}
