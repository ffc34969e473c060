//! Observing the host: reading only. What cannot be seen is said, and never stops the rest.

mod archives;
mod environment;
pub(crate) mod images;
pub(crate) mod offline;
mod registry;
pub(crate) mod resume;
mod trusted;

use std::path::PathBuf;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};

use crate::aws::s3::S3;
use crate::config::hook_env::HookEnv;
use crate::config::policy::Policy;
use crate::config::{Deployment, Mode};
use crate::deploy::origin::Origin;
use crate::deploy::state::Store;
use crate::engine;
use crate::engine::Engine;
use crate::error::{Failure, ObserveFailure};
use crate::fetch::Fetcher;
use crate::images::credentials::CredentialSettings;
use crate::images::source::Archives;
use crate::modes::compose;
use crate::modes::facts::Facts;
use crate::modes::secrets::{self, SecretValues};
use crate::modes::sharing::sharing;
use crate::values::known::Known;
use crate::values::types::LifecycleEvent;

/// The label that the engine gives a container of a swarm's task.
const SWARM_TASK: &str = "com.docker.swarm.task.id";

pub(crate) struct Observer<'a> {
    /// The engine, or why there is none.
    pub(crate) engine: Result<Engine, Failure>,
    pub(crate) s3: S3,
    pub(crate) archives: Archives,
    pub(crate) credentials: CredentialSettings,
    /// Of values that are fetched.
    pub(crate) fetcher: Fetcher,
    pub(crate) store: Store,
    /// The host's policy, where it has one.
    pub(crate) policy: Option<Policy>,
    /// Why the section is refused by it, or why it cannot be used.
    pub(crate) refused: Option<Failure>,
    pub(crate) deployment: Deployment,
    pub(crate) origin: Origin,
    pub(crate) env: &'a HookEnv,
    /// `/proc`, or a stand-in.
    pub(crate) proc: PathBuf,
    /// The values of secrets, as they are read.
    pub(crate) secrets: SecretValues,
    /// Only the bundle is looked at.
    pub(crate) offline: bool,
}

impl Observer<'_> {
    pub(crate) async fn facts(&self, event: LifecycleEvent) -> Facts {
        // What this host has saved says nothing of another one.
        let is_elsewhere = self.engine.as_ref().is_ok_and(|engine| engine.endpoint.is_remote());
        let is_unknown = self.offline || is_elsewhere;
        let records = if is_unknown { Facts::blank() } else { Facts::unseen(&self.store) };
        let mut facts = Facts { pending: self.deployment.pending.at(event), fetches: fetches(event), ..records };
        if !touches_engine(event) {
            return facts;
        }
        let refused = self.refused.iter().cloned();
        facts.failures.extend(refused.map(|failure| ObserveFailure { failure, definite: true }));
        self.hello(&mut facts).await;
        if event == LifecycleEvent::ApplicationStop {
            secrets::observe::folders(&mut facts);
            let all = self.containers(&mut facts).await;
            self.switched_ports(&all, &mut facts).await;
            if let Mode::Compose(_) = &self.deployment.mode {
                self.compose_tool(&mut facts).await;
            }
            return facts;
        }
        let saved = facts.saved_project().map(|saved| saved.variables.clone()).unwrap_or_default();
        // Compose reads the files, and may need the names that only AWS knows.
        let names_needed = event == LifecycleEvent::AfterInstall
            && matches!(&self.deployment.mode, Mode::Compose(compose) if !compose.fetched.is_empty());
        let fetches = facts.fetches || names_needed;
        let before = compose::fetched::Before { fetches, salt: self.salt(&facts), saved };
        let ahead = async {
            match &self.deployment.mode {
                Mode::Container(container) => Box::pin(self.open_ahead(&container.need())).await,
                Mode::Swarm(swarm) => Box::pin(self.open_ahead(&swarm.need())).await,
                Mode::Compose(compose) => return Some(Box::pin(self.read_project(compose, before)).await),
            }
            None
        };
        let is_there = facts.engine.yes().is_some();
        let mode = async {
            let (all, read) = tokio::join!(self.containers(&mut facts), ahead);
            Box::pin(self.wanted(event, read, &all, &mut facts)).await;
            all
        };
        // A list of images takes the containerd store a while.
        let (all, tags) = tokio::join!(mode, self.retention_tags(is_there));
        match tags {
            Ok(tags) => {
                let ended = images_of_ended_tasks(&all);
                let of_tasks = tags.iter().filter(|(_, id)| ended.contains(id));
                facts.of_swarm_tasks = of_tasks.map(|(tag, _)| tag.clone()).collect();
                facts.retention_tags = tags.into_iter().map(|(tag, _)| tag).collect();
            }
            Err(failure) => facts.failures.push(ObserveFailure { failure, definite: false }),
        }
        facts
    }

    async fn wanted(
        &self,
        event: LifecycleEvent,
        read: Option<Result<compose::observe::Read, Failure>>,
        all: &[ContainerSummary],
        facts: &mut Facts,
    ) {
        match &self.deployment.mode {
            Mode::Container(container) => self.container(container, all, facts).await,
            Mode::Swarm(swarm) => {
                self.image(&swarm.need(), facts).await;
                self.environment(&swarm.service, facts).await;
                self.swarm(swarm, facts).await;
            }
            Mode::Compose(compose) => {
                self.compose(compose, read, all, facts).await;
                self.fetch(facts).await;
            }
        }
        if event != LifecycleEvent::ValidateService {
            for need in self.deployment.task_images() {
                self.image(&need, facts).await;
            }
        }
    }

    async fn hello(&self, facts: &mut Facts) {
        let seen = async { self.engine.clone()?.hello().await };
        match seen.await {
            Ok(hello) => facts.engine = Known::Yes(hello),
            Err(failure) => {
                facts.engine = Known::No(failure.message.clone());
                if !self.offline {
                    facts.failures.push(ObserveFailure { failure, definite: false });
                }
            }
        }
    }

    /// Our containers. Returns every container.
    async fn containers(&self, facts: &mut Facts) -> Vec<ContainerSummary> {
        let (Ok(engine), Some(_)) = (&self.engine, facts.engine.yes()) else { return Vec::new() };
        match engine.settled(&self.deployment.name).await {
            Ok((all, ours)) => {
                facts.sharing = sharing(&all, &ours);
                facts.containers = ours;
                facts.task_containers = engine::task_containers(&all, &self.deployment.name);
                all
            }
            Err(failure) => {
                facts.engine = Known::No(failure.message.clone());
                facts.failures.push(ObserveFailure { failure, definite: false });
                Vec::new()
            }
        }
    }

    /// Whether the engine runs on this host, so that its paths are ours.
    pub(crate) fn is_local(&self) -> bool {
        self.engine.as_ref().is_ok_and(|engine| engine.address.starts_with("unix://"))
    }

    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.deployment.variable(name, self.env.lookup(name))
    }

    async fn retention_tags(&self, is_there: bool) -> Result<Vec<(String, String)>, Failure> {
        match &self.engine {
            Ok(engine) if is_there => engine.retention_tags(&self.deployment.name).await,
            _ => Ok(Vec::new()),
        }
    }
}

/// The IDs of images of which a swarm's ended tasks on this node have containers.
pub(crate) fn images_of_ended_tasks(all: &[ContainerSummary]) -> Vec<String> {
    let is_task = |container: &&ContainerSummary| engine::label(container, SWARM_TASK).is_some();
    let is_ended = |container: &&ContainerSummary| container.state != Some(ContainerSummaryStateEnum::RUNNING);
    all.iter().filter(is_task).filter(is_ended).filter_map(|container| container.image_id.clone()).collect()
}

/// Whether an event fetches values: for a clear error ahead of time, and for what it starts.
const fn fetches(event: LifecycleEvent) -> bool {
    matches!(event, LifecycleEvent::BeforeInstall | LifecycleEvent::ApplicationStart)
}

/// Whether an event prepares, starts or checks a release: what a policy of the host may refuse.
pub(crate) fn starts(event: LifecycleEvent) -> bool {
    touches_engine(event) && event != LifecycleEvent::ApplicationStop
}

/// Whether an event has anything to do with the engine.
pub(crate) const fn touches_engine(event: LifecycleEvent) -> bool {
    match event {
        LifecycleEvent::ApplicationStop
        | LifecycleEvent::BeforeInstall
        | LifecycleEvent::AfterInstall
        | LifecycleEvent::ApplicationStart
        | LifecycleEvent::ValidateService => true,
        LifecycleEvent::BeforeBlockTraffic
        | LifecycleEvent::AfterBlockTraffic
        | LifecycleEvent::BeforeAllowTraffic
        | LifecycleEvent::AfterAllowTraffic => false,
    }
}
