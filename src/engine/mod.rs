//! The engine through its API (bollard): containers, and images in `images`, with failures in our own words.

pub mod api;
pub mod containers;
pub mod creation;
pub mod facts;
pub mod images;
pub mod logs;
pub mod request;
pub mod stopped;

use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::{Docker, query_parameters as query};

use crate::engine::creation::until;
use crate::engine::facts::{ContainerFacts, EngineFacts, short_id};
pub use crate::engine::images::Layers;
pub use crate::engine::images::StoreFacts;
pub use crate::engine::images::layers_are;
use crate::engine::request::{ContainerSpec, Target};
use crate::error::{Failure, Kind, chain};
use crate::values::forward::SwitchedPorts;
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_DIGEST, LABEL_NAME, LABEL_SPEC, LABEL_TASK};
use crate::values::types::{EnvVar, Name, STOP_GRACE};

/// The engine's socket where `DOCKER_HOST` names none.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// Compose's label with the service's name.
pub const SERVICE: &str = "com.docker.compose.service";

/// How long a container may take to appear that a killed deployment asked for.
const LEFT_BEHIND: Duration = Duration::from_secs(5);

/// How long the engine may take to say who it is.
const HELLO: Duration = Duration::from_secs(10);

/// bollard's limit covers a whole upload; ours are the deadline and the idle limits of each stream.
const CALL_LIMIT_SECONDS: u64 = 4 * 3600;

/// A connection to an engine. Nothing is sent before the first call.
#[derive(Debug, Clone)]
pub struct Engine {
    /// For the calls that need more than is wrapped here.
    pub docker: Docker,
    /// As `unix:///var/run/docker.sock`.
    pub address: String,
}

impl Engine {
    /// Prepares a connection to `DOCKER_HOST` (`unix://…`, `tcp://…` or `http://…`).
    ///
    /// # Errors
    /// [`Kind::Engine`]: another scheme, or a socket that does not exist.
    pub fn connect(host: Option<&str>) -> Result<Self, Failure> {
        let address = host.filter(|host| !host.is_empty()).unwrap_or(DEFAULT_HOST).to_owned();
        let docker = if let Some(path) = address.strip_prefix("unix://") {
            Docker::connect_with_unix(path, CALL_LIMIT_SECONDS, bollard::API_DEFAULT_VERSION)
        } else if address.starts_with("tcp://") || address.starts_with("http://") {
            Docker::connect_with_http(&address, CALL_LIMIT_SECONDS, bollard::API_DEFAULT_VERSION)
        } else {
            return Err(Failure::new(Kind::Engine, format!("DOCKER_HOST `{address}` is not supported"))
                .next("use unix:///path/to/docker.sock or tcp://host:port"));
        };
        let docker = docker.map_err(|error| unreachable(&address, &cause(&error)))?;
        Ok(Self { docker, address })
    }

    /// Who the engine is.
    ///
    /// # Errors
    /// [`Kind::Engine`] when it does not answer within 10 s.
    pub async fn hello(&self) -> Result<EngineFacts, Failure> {
        let answer = tokio::time::timeout(HELLO, self.docker.version()).await;
        let version = answer
            .map_err(|_| unreachable(&self.address, "no answer within 10 s"))?
            .map_err(|error| unreachable(&self.address, &cause(&error)))?;
        let api = version.api_version.as_deref().and_then(parse_api).unwrap_or((1, 41));
        Ok(EngineFacts {
            version: version.version.unwrap_or_default(),
            api,
            architecture: version.arch.unwrap_or_default(),
        })
    }

    /// Every container of the engine.
    ///
    /// # Errors
    /// [`Kind::Engine`].
    pub async fn list(&self) -> Result<Vec<ContainerSummary>, Failure> {
        let options = query::ListContainersOptionsBuilder::default().all(true).build();
        self.docker.list_containers(Some(options)).await.map_err(|error| self.failed("list containers", &error))
    }

    /// Those of `all` that bear our label with this name, or one of `names`.
    ///
    /// # Errors
    /// [`Kind::Engine`].
    pub async fn ours(
        &self,
        all: &[ContainerSummary],
        name: &Name,
        names: &[String],
    ) -> Result<Vec<ContainerFacts>, Failure> {
        let mut found = Vec::new();
        let is_ours = |summary: &&ContainerSummary| {
            !is_of_a_task(summary, name) && (is_labelled(summary, name) || names.contains(&name_of(summary)))
        };
        for summary in all.iter().filter(is_ours) {
            let Some(id) = &summary.id else { continue };
            match self.docker.inspect_container(id, None).await {
                Ok(inspected) => found.push(container_facts(inspected, name)),
                Err(error) if status(&error) == Some(404) => {}
                Err(error) => return Err(self.failed("inspect a container", &error)),
            }
        }
        Ok(found)
    }

    /// The container's inspection; `None` where it does not exist.
    ///
    /// # Errors
    /// [`Kind::Engine`].
    pub async fn inspect(&self, container: &str) -> Result<Option<ContainerInspectResponse>, Failure> {
        match self.docker.inspect_container(container, None).await {
            Ok(inspected) => Ok(Some(inspected)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.failed(&format!("inspect {container}"), &error)),
        }
    }

    /// Creates a container of the image `image` and connects it to its further networks. Returns its ID.
    ///
    /// # Errors
    /// [`Kind::Container`] with the engine's words; [`Kind::Image`] where the image is there without its layers.
    pub async fn create(&self, spec: &ContainerSpec, image: String) -> Result<String, Failure> {
        let mut body = spec.options.body.clone();
        body.image = Some(image);
        body.env = Some(spec.environment.iter().map(env_text).collect());
        let mut options = query::CreateContainerOptionsBuilder::default().name(&spec.name);
        if let Some(platform) = &spec.options.platform {
            options = options.platform(platform);
        }
        let options = options.build();
        let mut created = self.docker.create_container(Some(options.clone()), body.clone()).await;
        // The name is taken: by what a deployment that was killed had begun to create, or by somebody's container.
        until(LEFT_BEHIND, async || {
            if created.as_ref().err().and_then(status) != Some(409) {
                return Ok(true);
            }
            match self.inspect(&spec.name).await? {
                Some(found) if has_label_of(&found, &body) => self.remove(&spec.name).await?,
                Some(_) => return Ok(true),
                None => {}
            }
            created = self.docker.create_container(Some(options.clone()), body.clone()).await;
            Ok(created.is_ok())
        })
        .await?;
        let id = created.map_err(|error| not_created(&spec.name, &error))?.id;
        for (network, endpoint) in &spec.options.extra_networks {
            self.join(&id, network, endpoint.clone()).await?;
        }
        Ok(id)
    }

    /// Kills and removes a container with its anonymous volumes. Nothing to do when it is gone.
    ///
    /// # Errors
    /// [`Kind::Container`] with the engine's words.
    pub async fn remove(&self, container: &str) -> Result<(), Failure> {
        let options = query::RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(container, Some(options)).await {
            Err(error) if !matches!(status(&error), Some(404 | 409)) => {
                Err(refused(&format!("cannot remove {container}"), &error))
            }
            _ => Ok(()),
        }
    }

    async fn join(&self, id: &str, network: &str, endpoint: bollard::models::EndpointSettings) -> Result<(), Failure> {
        let request =
            bollard::models::NetworkConnectRequest { container: id.to_owned(), endpoint_config: Some(endpoint) };
        let joined = self.docker.connect_network(network, request).await;
        joined.map_err(|error| refused(&format!("cannot connect to network {network}"), &error))
    }

    /// A failed call as a failure of the engine.
    pub fn failed(&self, what: &str, error: &Error) -> Failure {
        match status(error) {
            Some(_) => Failure::new(Kind::Engine, format!("cannot {what}: {}", cause(error))),
            None if matches!(error, Error::JsonDataError { .. }) => {
                Failure::new(Kind::Engine, format!("cannot {what}: its answer is not understood: {}", cause(error)))
            }
            None => unreachable(&self.address, &cause(error)),
        }
    }
}

/// The HTTP status of the engine's answer, where there was one.
pub const fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The engine's own words, or the chain of causes, in one line.
pub fn cause(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => one_line(message),
        Error::DockerStreamError { error } => one_line(error),
        other => chain(other),
    }
}

/// The engine refused what a container needs.
pub fn refused(what: &str, error: &Error) -> Failure {
    match status(error) {
        Some(_) => Failure::new(Kind::Container, format!("{what}: {}", cause(error))),
        None => Failure::new(Kind::Engine, format!("{what}: {}", cause(error))),
    }
}

fn not_created(name: &str, error: &Error) -> Failure {
    let failure = refused(&format!("cannot create {name}"), error);
    // Source: containerd; seen where an image was removed that shared its layers with this one.
    let has_lost = |what: &str, how: &str| failure.message.contains(what) && failure.message.contains(how);
    let is_lost = has_lost("parent snapshot", "does not exist") || has_lost("content digest", "not found");
    match is_lost || (status(error) == Some(404) && failure.message.contains("No such image")) {
        true => Failure { kind: Kind::Image, ..failure }
            .next("the engine has lost this image, or layers of it: remove what is left (docker rmi) and deploy again"),
        false => failure,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unreachable(address: &str, why: &str) -> Failure {
    Failure::new(Kind::Engine, format!("the engine at {address} cannot be reached: {why}"))
        .next("is it running (systemctl status docker), and may this user open the socket?")
}

fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn env_text(var: &EnvVar) -> String {
    match &var.value {
        Some(value) => format!("{}={}", var.name, value.reveal()),
        None => var.name.clone(),
    }
}

/// Whether a container is of the same deployment name as one that is to be created.
fn has_label_of(found: &ContainerInspectResponse, wanted: &bollard::models::ContainerCreateBody) -> bool {
    let found = found.config.as_ref().and_then(|config| config.labels.as_ref());
    let name = |labels: Option<&std::collections::HashMap<String, String>>| {
        labels.and_then(|labels| labels.get(LABEL_NAME)).cloned()
    };
    name(found).is_some_and(|label| Some(label) == name(wanted.labels.as_ref()))
}

/// The container's own name, without the slash.
pub fn name_of(summary: &ContainerSummary) -> String {
    let names = summary.names.iter().flatten();
    // A linked container is listed with `/other/alias` too: its own name has one slash only.
    let own = names.filter_map(|name| name.strip_prefix('/')).find(|name| !name.contains('/'));
    own.unwrap_or_default().to_owned()
}

/// A container's label.
pub fn label(summary: &ContainerSummary, key: &str) -> Option<String> {
    summary.labels.as_ref()?.get(key).cloned()
}

fn is_labelled(summary: &ContainerSummary, name: &Name) -> bool {
    label(summary, LABEL_NAME).as_deref() == Some(name.as_str())
}

/// Whether it is the container of a task of this deployment's name: never the service's own.
fn is_of_a_task(summary: &ContainerSummary, name: &Name) -> bool {
    label(summary, LABEL_TASK).is_some() && is_labelled(summary, name)
}

/// The names of those of `all` that are containers of tasks of this deployment's name.
pub fn task_containers(all: &[ContainerSummary], name: &Name) -> Vec<String> {
    all.iter().filter(|summary| is_of_a_task(summary, name)).map(name_of).collect()
}

fn container_facts(inspected: ContainerInspectResponse, name: &Name) -> ContainerFacts {
    let config = inspected.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let label = |key: &str| labels.get(key).cloned();
    let seconds = config.stop_timeout.and_then(|seconds| u64::try_from(seconds).ok());
    let state = inspected.state.and_then(|state| state.status).map(|state| state.to_string());
    ContainerFacts {
        id: inspected.id.unwrap_or_default(),
        name: inspected.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        ours: label(LABEL_NAME).as_deref() == Some(name.as_str()),
        state: state.unwrap_or_default(),
        spec: label(LABEL_SPEC),
        digest: label(LABEL_DIGEST),
        deployment: label(LABEL_DEPLOYMENT),
        stop_grace: seconds.map_or(STOP_GRACE, Duration::from_secs),
        switched: SwitchedPorts::from_labels(label),
        image: config.image.unwrap_or_default(),
        service: label(SERVICE),
        stopped_by_hand: false,
    }
}

/// Whether a container of this summary is one of `containers`.
pub fn is_one_of(summary: &ContainerSummary, containers: &[ContainerFacts]) -> bool {
    containers.iter().any(|container| summary.id.as_deref() == Some(container.id.as_str()))
}

/// As a person reads it: `container db (0123456789ab)`.
pub fn describe(summary: &ContainerSummary) -> String {
    let id = summary.id.as_deref().unwrap_or_default();
    format!("container {} ({})", name_of(summary), short_id(id))
}

/// The ID to call a target by: its own, the one created by this plan, or its name.
pub fn address<'a>(target: &'a Target, created: Option<&'a str>) -> &'a str {
    target.id.as_deref().or(created).unwrap_or(&target.name)
}
