//! Calls about containers. What is done already is done: a container that is gone needs no removal.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerSummary, EndpointSettings, NetworkConnectRequest,
};
use bollard::query_parameters as query;

use crate::engine::Engine;
use crate::engine::call::{CallError, Limit};
use crate::engine::creation::PAUSE;
use crate::engine::facts::ContainerFacts;
use crate::engine::request::ContainerSpec;
use crate::engine::stopped;
use crate::engine::summary::{container_facts, is_labelled, is_of_a_task, name_of};
use crate::error::{Failure, Kind};
use crate::poll;
use crate::values::labels::LABEL_NAME;
use crate::values::names::{new_name, old_name};
use crate::values::target::Target;
use crate::values::types::{EnvVar, Name};

/// How long a container may take to appear that a killed deployment asked for.
const LEFT_BEHIND: Duration = Duration::from_secs(5);

impl Engine {
    pub(crate) async fn list(&self) -> Result<Vec<ContainerSummary>, Failure> {
        self.list_with(None).await
    }

    /// Every container with the label `label`, which is `key=value`.
    pub(crate) async fn list_labelled(&self, label: String) -> Result<Vec<ContainerSummary>, Failure> {
        self.list_with(Some(HashMap::from([("label".to_owned(), vec![label])]))).await
    }

    async fn list_with(&self, filters: Option<HashMap<String, Vec<String>>>) -> Result<Vec<ContainerSummary>, Failure> {
        let options = query::ListContainersOptions { all: true, filters, ..Default::default() };
        let listed = self.answer(Limit::Question, "docker ps --all", self.docker.list_containers(Some(options))).await;
        listed.map_err(|error| error.failure_of(Kind::Engine, "list containers"))
    }

    /// All containers, and those of them that are this name's. None of these is being stopped any more.
    pub(crate) async fn settled(&self, name: &Name) -> Result<(Vec<ContainerSummary>, Vec<ContainerFacts>), Failure> {
        let (all, ours) = self.ours(name).await?;
        match stopped::wait_for_stops(self, &ours).await {
            true => self.ours(name).await,
            false => Ok((all, ours)),
        }
    }

    /// Kills this name's containers that the engine is stopping: it goes on with that when the client that asked has ended.
    pub(crate) async fn end_stops(&self, name: &Name) -> Result<(), Failure> {
        let (_, ours) = self.ours(name).await?;
        for (container, _) in stopped::stopping(self, &ours) {
            self.kill(&container.target()).await?;
        }
        Ok(())
    }

    /// All containers, and those of them that bear our label with this name, or a name that it gives.
    async fn ours(&self, name: &Name) -> Result<(Vec<ContainerSummary>, Vec<ContainerFacts>), Failure> {
        let names = [name.to_string(), new_name(name), old_name(name)];
        let is_ours = |summary: &&ContainerSummary| {
            !is_of_a_task(summary, name) && (is_labelled(summary, name) || names.contains(&name_of(summary)))
        };
        let (all, mut found) = (self.list().await?, Vec::new());
        for id in all.iter().filter(is_ours).filter_map(|summary| summary.id.as_deref()) {
            found.extend(self.inspect(id).await?.map(|inspected| container_facts(inspected, name)));
        }
        Ok((all, found))
    }

    /// The container's inspection; `None` where it does not exist.
    pub(crate) async fn inspect(&self, container: &str) -> Result<Option<ContainerInspectResponse>, Failure> {
        let asked = self.docker.inspect_container(container, None);
        let answer = self.answer(Limit::Question, &format!("docker inspect {container}"), asked).await;
        found(answer).map_err(|error| error.failure_of(Kind::Engine, &format!("inspect {container}")))
    }

    /// Whether a volume is there; not where that cannot be seen.
    pub(crate) async fn has_volume(&self, name: &str) -> bool {
        let asked = self.docker.inspect_volume(name);
        self.answer(Limit::Question, &format!("docker volume inspect {name}"), asked).await.is_ok()
    }

    /// Creates a container of the image `image` and connects it to its further networks. Returns its ID.
    ///
    /// # Errors
    /// [`Kind::Container`] with the engine's words; [`Kind::Image`] where the image is there without its layers.
    pub async fn create(&self, spec: &ContainerSpec, image: String) -> Result<String, Failure> {
        let mut body = spec.with_secrets();
        body.image = Some(image);
        body.env = Some(spec.environment.iter().map(env_text).collect());
        let mut created = self.create_once(spec, &body).await;
        // The name is taken: by another container, or by what a killed deployment had asked the engine to create. That may
        // come after the host was observed, so that no plan can know of it: ours goes, and it is created as if for the first time.
        poll::until(LEFT_BEHIND, PAUSE, async || {
            if created.as_ref().err().and_then(|error| error.status) != Some(409) {
                return Ok::<_, Failure>(Some(()));
            }
            match self.inspect(&spec.name).await? {
                Some(found) if has_label_of(&found, &body) => self.remove(&spec.name).await?,
                Some(_) => return Ok(Some(())),
                None => {}
            }
            created = self.create_once(spec, &body).await;
            Ok(created.is_ok().then_some(()))
        })
        .await?;
        let id = created.map_err(|error| not_created(&spec.name, &error))?;
        for (network, endpoint) in &spec.options.extra_networks {
            self.join(&id, network, endpoint.clone()).await?;
        }
        Ok(id)
    }

    async fn create_once(&self, spec: &ContainerSpec, body: &ContainerCreateBody) -> Result<String, CallError> {
        let mut options = query::CreateContainerOptionsBuilder::default().name(&spec.name);
        if let Some(platform) = &spec.options.platform {
            options = options.platform(platform);
        }
        let asked = self.docker.create_container(Some(options.build()), body.clone());
        let created = self.answer(Limit::Change, &format!("docker create --name {}", spec.name), asked).await;
        created.map(|created| created.id)
    }

    async fn join(&self, id: &str, network: &str, endpoint: EndpointSettings) -> Result<(), Failure> {
        let request = NetworkConnectRequest { container: id.to_owned(), endpoint_config: Some(endpoint) };
        let asked = self.docker.connect_network(network, request);
        let joined = self.answer(Limit::Change, &format!("docker network connect {network}"), asked).await;
        joined.map_err(|error| error.failure_of(Kind::Container, &format!("connect to network {network}")))
    }

    /// Starts a container. Nothing to do where it runs.
    pub(crate) async fn start(&self, container: &Target) -> Result<(), Failure> {
        let asked = self.docker.start_container(container.address(), None);
        let started = self.answer(Limit::Change, &format!("docker start {container}"), asked).await;
        started.map_err(|error| error.failure_of(Kind::Container, &format!("start {container}")))
    }

    /// Stops a container, and kills it where it still runs after `grace`. Nothing to do where it is stopped or gone.
    pub(crate) async fn stop(&self, container: &Target, grace: Duration) -> Result<(), Failure> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = query::StopContainerOptionsBuilder::default().t(seconds).build();
        let asked = self.docker.stop_container(container.address(), Some(options));
        let stopped = self.answer(Limit::Stop(grace), &format!("docker stop {container}"), asked).await;
        unless(stopped, &[404]).map_err(|error| error.failure_of(Kind::Container, &format!("stop {container}")))
    }

    /// Kills a container. Nothing to do where it does not run, or is gone.
    pub(crate) async fn kill(&self, container: &Target) -> Result<(), Failure> {
        let options = query::KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        let asked = self.docker.kill_container(container.address(), Some(options));
        let killed = self.answer(Limit::Change, &format!("docker kill {container}"), asked).await;
        unless(killed, &[404, 409]).map_err(|error| error.failure_of(Kind::Container, &format!("kill {container}")))
    }

    /// Gives a container another name. Nothing to do where it bears that one.
    pub(crate) async fn rename(&self, container: &Target, to: &str) -> Result<(), Failure> {
        let options = query::RenameContainerOptionsBuilder::default().name(to).build();
        let asked = self.docker.rename_container(container.address(), options);
        let renamed = self.answer(Limit::Change, &format!("docker rename {container} {to}"), asked).await;
        let Err(error) = renamed else { return Ok(()) };
        let failure = error.failure_of(Kind::Container, &format!("rename {container} to {to}"));
        if !error.is_refusal() {
            return Err(failure);
        }
        match self.inspect(container.address()).await?.and_then(|found| found.name) {
            Some(name) if name.trim_start_matches('/') == to => Ok(()),
            _ => Err(failure),
        }
    }

    /// Kills and removes a container with its anonymous volumes. Nothing to do where it is gone.
    pub(crate) async fn remove(&self, container: &str) -> Result<(), Failure> {
        self.remove_with(&Target::created(container), true).await
    }

    /// The same, with or without its anonymous volumes.
    pub(crate) async fn remove_with(&self, container: &Target, volumes: bool) -> Result<(), Failure> {
        let removed = self.remove_call(container.address(), volumes).await;
        removed.map_err(|error| error.failure_of(Kind::Container, &format!("remove {container}")))
    }

    pub(super) async fn remove_call(&self, container: &str, volumes: bool) -> Result<(), CallError> {
        let options = query::RemoveContainerOptionsBuilder::default().force(true).v(volumes).build();
        let asked = self.docker.remove_container(container, Some(options));
        let removed = self.answer(Limit::Change, &format!("docker rm --force {container}"), asked).await;
        // 409: it is being removed already.
        unless(removed, &[404, 409])
    }
}

/// The answer to a question whose object may not exist.
pub(super) fn found<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.status == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Success also where the engine says by one of these statuses that there is nothing to do.
pub(super) fn unless(answer: Result<(), CallError>, done_already: &[u16]) -> Result<(), CallError> {
    match answer {
        Err(error) if error.status.is_some_and(|status| done_already.contains(&status)) => Ok(()),
        other => other,
    }
}

fn not_created(name: &str, error: &CallError) -> Failure {
    let failure = error.failure_of(Kind::Container, &format!("create {name}"));
    // Source: containerd; seen where an image was removed that shared its layers with this one.
    let has_lost = |what: &str, how: &str| error.message.contains(what) && error.message.contains(how);
    let is_lost = has_lost("parent snapshot", "does not exist") || has_lost("content digest", "not found");
    match is_lost || (error.status == Some(404) && error.message.contains("No such image")) {
        true => Failure { kind: Kind::Image, ..failure }
            .next("the engine has lost this image, or layers of it: remove what is left (docker rmi) and deploy again"),
        false => failure,
    }
}

fn env_text(var: &EnvVar) -> String {
    match &var.value {
        Some(value) => format!("{}={}", var.name, value.reveal()),
        None => var.name.clone(),
    }
}

/// Whether a container is of the same deployment name as one that is to be created.
fn has_label_of(found: &ContainerInspectResponse, wanted: &ContainerCreateBody) -> bool {
    let name = |labels: Option<&HashMap<String, String>>| labels.and_then(|labels| labels.get(LABEL_NAME)).cloned();
    let found = name(found.config.as_ref().and_then(|config| config.labels.as_ref()));
    found.is_some() && found == name(wanted.labels.as_ref())
}
