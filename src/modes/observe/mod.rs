//! Observing the host: reading only. What cannot be seen is said, and never stops the rest.

mod archives;
pub(crate) mod images;
mod offline;
mod registry;
pub(crate) mod resume;

use std::io;
use std::path::{Path, PathBuf};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};

use crate::aws::s3::{S3, S3Error};
use crate::config::hook_env::HookEnv;
use crate::config::policy::Policy;
use crate::config::policy::demand::Demand;
use crate::config::service::{EnvFile, Service};
use crate::config::{ArchiveLocation, Deployment, Mode, env_file};
use crate::deploy::origin::Origin;
use crate::deploy::state::Store;
use crate::engine;
use crate::engine::Engine;
use crate::error::{Failure, Kind, ObserveFailure};
use crate::images::credentials::CredentialSettings;
use crate::images::source::Archives;
use crate::inputs;
use crate::modes::compose;
use crate::modes::facts::Facts;
use crate::modes::observe::offline::OFFLINE;
use crate::modes::secrets::{self, SecretValues};
use crate::modes::sharing::sharing;
use crate::values::known::Known;
use crate::values::types::{EnvVar, LifecycleEvent};

/// The label that the engine gives a container of a swarm's task.
const SWARM_TASK: &str = "com.docker.swarm.task.id";

/// Largest env file that is read, in bytes.
const ENV_FILE_LIMIT: u64 = 1024 * 1024;

pub(crate) struct Observer<'a> {
    /// The engine, or why there is none.
    pub(crate) engine: Result<Engine, Failure>,
    pub(crate) s3: S3,
    pub(crate) archives: Archives,
    pub(crate) credentials: CredentialSettings,
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
        let records = if self.offline { Facts::blank() } else { Facts::unseen(&self.store) };
        let mut facts = Facts { pending: self.deployment.pending.at(event), ..records };
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
        let ahead = async {
            match &self.deployment.mode {
                Mode::Container(container) => Box::pin(self.open_ahead(&container.need())).await,
                Mode::Swarm(swarm) => Box::pin(self.open_ahead(&swarm.need())).await,
                Mode::Compose(compose) => return Some(Box::pin(self.read_project(compose)).await),
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
            Mode::Compose(compose) => self.compose(compose, read, all, facts).await,
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

    pub(crate) async fn environment(&self, service: &Service, facts: &mut Facts) {
        let mut all: Vec<EnvVar> = Vec::new();
        let mut not_yet: Option<String> = None;
        for file in &service.env_file {
            if self.is_elsewhere(&file.location) {
                facts
                    .warnings
                    .push(format!("{} was not read ({OFFLINE}): its variables are missing below", file.location));
                continue;
            }
            if let (ArchiveLocation::S3(uri), Some(policy)) = (&file.location, &self.policy)
                && !policy.judge(&[Demand::of_object(uri)]).is_empty()
            {
                facts.environment = Known::No(format!("the host's policy does not allow {uri}"));
                return;
            }
            if let ArchiveLocation::File(path) = &file.location
                && let Some(line) = facts.put_off(path)
            {
                not_yet = Some(line);
                continue;
            }
            match self.env_file(file, facts).await {
                Ok(vars) => vars.into_iter().for_each(|var| set(&mut all, var)),
                Err(ObserveFailure { failure, definite }) => {
                    facts.environment = Known::No(failure.message.clone());
                    let is_meant = |text: &str| self.deployment.is_location(text, &file.location);
                    let failure = self.deployment.placed(&["env_file"], is_meant, failure);
                    facts.failures.push(ObserveFailure { failure, definite });
                    return;
                }
            }
        }
        service.environment.iter().for_each(|var| set(&mut all, var.clone()));
        facts.environment = not_yet.map_or(Known::Yes(all), Known::No);
    }

    async fn env_file(&self, file: &EnvFile, facts: &mut Facts) -> Result<Vec<EnvVar>, ObserveFailure> {
        let definite = |failure| ObserveFailure { failure, definite: true };
        let text = match &file.location {
            ArchiveLocation::File(path) => {
                let read = inputs::read(path, Some(&self.deployment.bundle_root), ENV_FILE_LIMIT);
                match read.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound && !file.required => return Ok(Vec::new()),
                    text => text.map_err(|error| definite(bad_env(path, &error.to_string())))?,
                }
            }
            ArchiveLocation::S3(uri) => {
                let limit = usize::try_from(ENV_FILE_LIMIT).unwrap_or(usize::MAX);
                match self.s3.get_small(uri, limit).await {
                    Err(S3Error::NoSuchKey(_)) if !file.required => return Ok(Vec::new()),
                    bytes => {
                        String::from_utf8_lossy(&bytes.map_err(|error| ObserveFailure::from(&error))?).into_owned()
                    }
                }
            }
        };
        let read = env_file::read(&file.location.to_string(), &text, file.raw, &|name| self.variable(name))
            .map_err(definite)?;
        facts.warnings.extend(read.warnings);
        Ok(read.variables)
    }
}

/// The IDs of images of which a swarm's ended tasks on this node have containers.
pub(crate) fn images_of_ended_tasks(all: &[ContainerSummary]) -> Vec<String> {
    let is_task = |container: &&ContainerSummary| engine::label(container, SWARM_TASK).is_some();
    let is_ended = |container: &&ContainerSummary| container.state != Some(ContainerSummaryStateEnum::RUNNING);
    all.iter().filter(is_task).filter(is_ended).filter_map(|container| container.image_id.clone()).collect()
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

fn bad_env(path: &Path, why: &str) -> Failure {
    Failure::new(Kind::Appspec, format!("cannot read env_file {}: {why}", path.display()))
        .next("put it into the bundle, or mark it `required: false`")
}

/// Sets or replaces a variable, as the engine would take the last one.
fn set(all: &mut Vec<EnvVar>, var: EnvVar) {
    match all.iter_mut().find(|known| known.name == var.name) {
        Some(known) => *known = var,
        None => all.push(var),
    }
}
