//! The real host.

use std::path::Path;
use std::time::Duration;

use bollard::query_parameters as query;

use crate::config::hook_env::HookEnv;
use crate::deploy::host::Host;
use crate::deploy::state::{LockedStore, Observed, Release};
use crate::engine::creation::Creation;
use crate::engine::logs::{log_tail, published};
use crate::engine::request::{ContainerSpec, Target};
use crate::engine::{Engine, address, refused, status};
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::images::credentials::CredentialSettings;
use crate::images::import::{FromArchive, Loaded};
use crate::images::operation::Import;
use crate::images::pull;
use crate::images::source::Archives;
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::swarm::operation::{RolloutCheck, SwarmOperation};
use crate::modes::swarm::run_once;
use crate::modes::{compose, swarm};
use crate::ports::operation::PortsOperation;
use crate::tasks::command;
use crate::tasks::command::Group;
use crate::tasks::operation::TaskOperation;
use crate::values::labels::{LABEL_ADDRESS, LABEL_PORTS};
use crate::values::names::new_name;
use crate::values::pin::ImagePin;
use crate::values::types::Name;
use crate::{health, ports, tasks};

/// The engine, the object store, the registries and the records of one name.
pub struct LiveHost {
    /// The deployment's name.
    pub name: Name,
    /// The engine.
    pub engine: Engine,
    /// The archives.
    pub archives: Archives,
    /// Where registry credentials are looked for.
    pub credentials: CredentialSettings,
    /// The records, locked.
    pub store: LockedStore,
    /// Releases to keep on record.
    pub keep: usize,
    /// The hook's variables, for the commands of tasks.
    pub env: HookEnv,
    /// How each image would be brought in once more.
    pub sources: Vec<Import>,
    created: Option<String>,
    loaded: Vec<(ImagePin, String)>,
    /// The command of a task that runs, or was left running when the plan had to stop.
    pub under_way: Option<Group>,
    /// The ID of this node in its swarm, once it was asked for.
    pub(crate) node: String,
    /// Of a task's container, claim or job.
    pub(crate) creation: Creation,
}

impl LiveHost {
    /// A host of which nothing was asked yet.
    pub const fn new(
        name: Name,
        engine: Engine,
        archives: Archives,
        credentials: CredentialSettings,
        store: LockedStore,
        keep: usize,
    ) -> Self {
        let env = HookEnv::none();
        Self {
            name,
            engine,
            archives,
            credentials,
            store,
            keep,
            env,
            sources: Vec::new(),
            created: None,
            loaded: Vec::new(),
            under_way: None,
            node: String::new(),
            creation: Creation::new(),
        }
    }

    /// The ID or the name by which the engine is to be asked for a container.
    fn at<'a>(&'a self, container: &'a Target) -> &'a str {
        address(container, self.created.as_deref())
    }

    /// What a container is created from.
    async fn image_argument(&self, pin: &ImagePin) -> Result<String, Failure> {
        match pin {
            ImagePin::Registry { .. } => Ok(pin.argument()),
            ImagePin::Content { .. } | ImagePin::Unread { .. } | ImagePin::Unknown { .. } => self.image_id(pin).await,
        }
    }

    async fn created(&self, spec: &ContainerSpec) -> Result<String, Failure> {
        let image = self.image_argument(&spec.image).await?;
        let create = self.engine.create(spec, image);
        match spec.options.body.labels.as_ref().and_then(|labels| labels.get(LABEL_ADDRESS)) {
            Some(at) => ports::create_alone(&self.engine, self.state_dir(), at, &self.name, create).await,
            None => create.await,
        }
    }

    /// The folder of all names.
    fn state_dir(&self) -> &Path {
        self.store.store().folder().parent().unwrap_or(Path::new("/"))
    }

    async fn run_task(&mut self, name: &str, spec: &ContainerSpec, timeout: Duration) -> Result<(), Failure> {
        let image = self.image_argument(&spec.image).await?;
        tasks::container(&self.engine, name, spec, image, timeout, &mut self.creation).await
    }

    /// Whether an image is back without which no container could be created.
    async fn is_back<T>(&mut self, image: &ImagePin, created: &Result<T, Failure>) -> Result<bool, Failure> {
        match created {
            Err(lost) if lost.kind == Kind::Image => self.reimport(image).await,
            _ => Ok(false),
        }
    }

    /// Brings an image in once more where it is gone, or layers of it are. Returns whether it did.
    ///
    /// Removing an image takes layers along that one which came in at the same moment shares with it (containerd's store).
    pub(crate) async fn reimport(&mut self, image: &ImagePin) -> Result<bool, Failure> {
        let source = self.sources.iter().find(|source| source.image() == image).cloned();
        let Some(source) = source else { return Ok(false) };
        let found = self.engine.find(image, &self.name).await?.and_then(|image| image.id);
        let lost = match found {
            Some(id) => self.engine.try_image(&id, &new_name(&self.name)).await.err(),
            None => Some("it is gone".into()),
        };
        let Some(lost) = lost else { return Ok(false) };
        tracing::warn!(image = image.describe(), lost, "the image is brought in once more");
        self.import(&source).await?;
        Ok(true)
    }

    /// The same of all images of the deployment.
    pub(crate) async fn reimport_all(&mut self) -> Result<bool, Failure> {
        let mut any = false;
        for source in self.sources.clone() {
            any |= self.reimport(source.image()).await?;
        }
        Ok(any)
    }

    /// The engine's ID of a pinned image.
    pub(crate) async fn image_id(&self, pin: &ImagePin) -> Result<String, Failure> {
        if let Some((_, id)) = self.loaded.iter().find(|(loaded, _)| loaded == pin) {
            return Ok(id.clone());
        }
        let image = self.engine.find(pin, &self.name).await?;
        image.and_then(|image| image.id).ok_or_else(|| {
            Failure::new(Kind::Image, format!("{} is not in the engine any more", pin.describe()))
                .next("somebody removed it while we deployed: deploy again")
        })
    }
}

impl Host for LiveHost {
    async fn import(&mut self, import: &Import) -> Result<Vec<String>, Failure> {
        match import {
            Import::Pull { image, registry, platform } => {
                let pinned = image.argument();
                pull::pull(&self.engine, registry, &pinned, platform.as_deref(), &self.credentials).await?;
                self.image_id(image).await?;
                Ok(vec![pinned])
            }
            Import::Load { image, archive, platform, .. } => {
                let from = FromArchive { engine: &self.engine, archives: &self.archives, name: &self.name, pin: image };
                let Loaded { id, references } = from.load(archive, platform.as_deref()).await?;
                tracing::info!(%archive, id, "loaded");
                self.loaded.retain(|(loaded, _)| loaded != image);
                self.loaded.push((image.clone(), id));
                Ok(references)
            }
        }
    }

    async fn keep(&mut self, image: &ImagePin, tag: &str) -> Result<(), Failure> {
        let id = self.image_id(image).await?;
        self.engine.tag(&id, tag).await
    }

    async fn create(&mut self, spec: &ContainerSpec) -> Result<(), Failure> {
        let mut created = self.created(spec).await;
        if self.is_back(&spec.image, &created).await? {
            created = self.created(spec).await;
        }
        self.created = Some(created?);
        Ok(())
    }

    async fn stop(&mut self, container: &Target, grace: Duration) -> Result<(), Failure> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = query::StopContainerOptionsBuilder::default().t(seconds).build();
        let stopped = self.engine.docker.stop_container(self.at(container), Some(options)).await;
        done_already(stopped, &[304, 404]).map_err(|error| refused(&format!("cannot stop {container}"), &error))
    }

    async fn kill(&mut self, container: &Target) -> Result<(), Failure> {
        let options = query::KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        let killed = self.engine.docker.kill_container(self.at(container), Some(options)).await;
        done_already(killed, &[404, 409]).map_err(|error| refused(&format!("cannot kill {container}"), &error))
    }

    async fn rename(&mut self, container: &Target, to: &str) -> Result<(), Failure> {
        let at = self.at(container);
        let options = query::RenameContainerOptionsBuilder::default().name(to).build();
        let Err(error) = self.engine.docker.rename_container(at, options).await else { return Ok(()) };
        let named = self.engine.inspect(at).await?.and_then(|found| found.name);
        match named {
            Some(name) if name.trim_start_matches('/') == to => Ok(()),
            _ => Err(refused(&format!("cannot rename {container} to {to}"), &error)),
        }
    }

    async fn start(&mut self, container: &Target) -> Result<(), Failure> {
        let started = self.engine.docker.start_container(self.at(container), None).await;
        done_already(started, &[304]).map_err(|error| refused(&format!("cannot start {container}"), &error))
    }

    async fn check_health(&mut self, container: &Target, health_check: &HealthCheck) -> Result<(), Failure> {
        health::check_health(&self.engine, &container.name, self.at(container), health_check).await
    }

    async fn record(&mut self, container: &Target, release: &Release, down: Option<Duration>) -> Result<(), Failure> {
        if release.compose.is_some() {
            let observed = compose::perform::observe(&self.engine, &container.name).await?;
            return self.store.save_release(&Release { observed, ..release.clone() }, self.keep);
        }
        let seen = self.engine.inspect(self.at(container)).await?.unwrap_or_default();
        let labels = seen.config.and_then(|config| config.labels).unwrap_or_default();
        let switched = labels.get(LABEL_PORTS).map(|ports| ports.split(' ').map(str::to_owned).collect());
        let ports = seen.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
        let observed = Observed {
            at: jiff::Timestamp::now().to_string(),
            container: seen.id.unwrap_or_default(),
            image_id: seen.image.unwrap_or_default(),
            ports: switched.unwrap_or_else(|| published(&ports)),
            running: Vec::new(),
            down_ms: down.and_then(|down| u64::try_from(down.as_millis()).ok()),
        };
        self.store.save_release(&Release { observed, ..release.clone() }, self.keep)
    }

    async fn remove(&mut self, container: &Target, volumes: bool) -> Result<(), Failure> {
        let options = query::RemoveContainerOptionsBuilder::default().force(true).v(volumes).build();
        let removed = self.engine.docker.remove_container(self.at(container), Some(options)).await;
        // 409: somebody else is removing it already.
        done_already(removed, &[404, 409]).map_err(|error| refused(&format!("cannot remove {container}"), &error))
    }

    async fn ports(&mut self, step: &PortsOperation) -> Result<(), Failure> {
        let state_dir = self.state_dir();
        match step {
            PortsOperation::Network(network) => ports::create_network(&self.engine, state_dir, network).await,
            PortsOperation::Switch { name, to, network } => {
                ports::lead(&self.engine, state_dir, network, name, Some(to)).await
            }
            PortsOperation::Close { name, network } => ports::lead(&self.engine, state_dir, network, name, None).await,
            PortsOperation::Drain { time, .. } => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
        }
    }

    async fn untag(&mut self, reference: &str) -> Result<(), Failure> {
        self.engine.untag(reference).await
    }

    async fn swarm(&mut self, step: &SwarmOperation) -> Result<Vec<String>, Failure> {
        swarm::perform::perform(self, step).await
    }

    async fn compose(&mut self, step: &ComposeOperation) -> Result<(), Failure> {
        compose::perform::perform(self, step).await
    }

    async fn task(&mut self, step: &TaskOperation) -> Result<Vec<String>, Failure> {
        match step {
            TaskOperation::Swarm(task) => return run_once::run(self, task).await,
            TaskOperation::Abandon(task_lock) => run_once::abandon(self, task_lock).await,
            TaskOperation::Clear { kind, name, id } => run_once::clear(self, *kind, name, id).await,
            TaskOperation::Container { name, spec, timeout } => {
                let done = self.run_task(name, spec, *timeout).await;
                match self.is_back(&spec.image, &done).await? {
                    true => self.run_task(name, spec, *timeout).await,
                    false => done,
                }
            }
            TaskOperation::Command { name, command, timeout } => {
                command::command(&mut self.under_way, name, command, &self.env, *timeout).await
            }
            TaskOperation::Compose(task) => compose::perform::run_task(self, task).await,
            TaskOperation::Remove { container } => {
                let engine = &self.engine;
                self.creation.settle(async || Ok(engine.inspect(container).await?.is_some())).await?;
                engine.remove(container).await
            }
            TaskOperation::End { name } => {
                if let Some(group) = self.under_way.take() {
                    group.end(&mut tasks::Output::new(name)).await;
                }
                Ok(())
            }
        }?;
        Ok(Vec::new())
    }

    async fn evidence(&mut self, container: &Target) -> Vec<String> {
        log_tail(&self.engine, self.at(container)).await
    }

    async fn waiting(&mut self, wanted: &RolloutCheck) -> Vec<String> {
        swarm::perform::waiting(&self.engine, wanted).await
    }
}

fn done_already(result: Result<(), bollard::errors::Error>, fine: &[u16]) -> Result<(), bollard::errors::Error> {
    match result {
        Err(error) if status(&error).is_some_and(|status| fine.contains(&status)) => Ok(()),
        other => other,
    }
}
