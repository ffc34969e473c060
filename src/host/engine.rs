//! The engine through its API (bollard): containers and images, with failures in our own words.

use std::collections::HashSet;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary, ImageInspect, ImageSummary};
use bollard::query_parameters as query;
use futures_util::StreamExt as _;
use futures_util::future::join_all;

use crate::error::{Failure, Kind, chain};
use crate::facts::{self, ContainerFacts, EngineFacts};
use crate::image::delta::{ImageStore, chain_ids};
use crate::image::pin::{ImagePin, keeper_repository};
use crate::plan::step::{ContainerSpec, Target};
use crate::spec::types::{ContentDigest, EnvVar, Name};

/// The engine's socket where `DOCKER_HOST` names none.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// The engine's own default for a container without `stop_grace_period`.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// The first API whose graph drivers take layers compressed with zstd: Docker 23.
const ZSTD_SINCE: (u32, u32) = (1, 42);

/// Images that are inspected at once.
const INSPECTIONS: usize = 8;
/// How often a list of images is asked for again that another process's removal broke, and how long after.
const LISTS: usize = 20;
const LIST_PAUSE: Duration = Duration::from_millis(100);

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

    /// The image that a reference or an ID names; `None` where the engine has none.
    ///
    /// # Errors
    /// [`Kind::Engine`].
    pub async fn image(&self, reference: &str) -> Result<Option<ImageInspect>, Failure> {
        match self.docker.inspect_image(reference).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            // 28.5's containerd store describes an image whose content was collected without its layers.
            Err(Error::JsonDataError { message, .. }) => {
                tracing::warn!(reference, message, "an image that is not whole counts as missing");
                Ok(None)
            }
            Err(error) => Err(self.failed(&format!("inspect image {reference}"), &error)),
        }
    }

    /// The image of a pin, where the engine has exactly that one.
    ///
    /// An archive's image is found by its config digest, which is its ID on graph drivers, or by the tag that we gave
    /// it after it was verified; its layers must be the wanted ones.
    ///
    /// # Errors
    /// [`Kind::Engine`].
    pub async fn find(&self, pin: &ImagePin, name: &Name) -> Result<Option<ImageInspect>, Failure> {
        let candidates = match pin {
            ImagePin::Registry { .. } => vec![pin.argument()],
            ImagePin::Content { config, .. } => vec![config.to_string(), pin.keeper_tag(name)],
            ImagePin::Unread { .. } => vec![pin.keeper_tag(name)],
            ImagePin::Unknown { .. } => Vec::new(),
        };
        // At once: the containerd store takes its time to say that it has none of that ID.
        let looked = join_all(candidates.iter().map(|candidate| self.image(candidate))).await;
        for image in looked {
            if let Some(image) = image?.filter(|image| has_layers(image, pin)) {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// Our own tags for the images of one name.
    ///
    /// # Errors
    /// [`Kind::Engine`].
    pub async fn keeper_tags(&self, name: &Name) -> Result<Vec<String>, Failure> {
        let filters = std::collections::HashMap::from([("reference".to_owned(), vec![keeper_repository(name)])]);
        let options = query::ListImagesOptionsBuilder::default().filters(&filters).build();
        let images = self.list_images(options).await?;
        let prefix = format!("{}:", keeper_repository(name));
        let mut tags: Vec<String> = images.into_iter().flat_map(|image| image.repo_tags).collect();
        tags.retain(|tag| tag.starts_with(&prefix));
        tags.sort_unstable();
        Ok(tags)
    }

    /// The images, asked for again where the containerd store fails the whole list because one was removed meanwhile.
    async fn list_images(&self, options: query::ListImagesOptions) -> Result<Vec<ImageSummary>, Failure> {
        for _ in 0..LISTS {
            match self.docker.list_images(Some(options.clone())).await {
                Err(error) if cause(&error).contains("not found") => tokio::time::sleep(LIST_PAUSE).await,
                listed => return listed.map_err(|error| self.failed("list images", &error)),
            }
        }
        let listed = self.docker.list_images(Some(options)).await;
        listed.map_err(|error| self.failed("list images", &error))
    }

    /// How and where the engine keeps images.
    ///
    /// # Errors
    /// [`Kind::Engine`].
    pub async fn image_store(&self, api: (u32, u32)) -> Result<StoreFacts, Failure> {
        let info = self.docker.info().await.map_err(|error| self.failed("ask for its settings", &error))?;
        let mut status = info.driver_status.iter().flatten();
        // Source: `docker info` prints `driver-type: io.containerd.snapshotter.v1` for the containerd store.
        let is_containerd = status.any(|pair| pair.iter().any(|text| text == "io.containerd.snapshotter.v1"));
        let store = match is_containerd {
            true => ImageStore::Containerd,
            false => ImageStore::Graph { zstd: api >= ZSTD_SINCE },
        };
        Ok(StoreFacts { store, folder: info.docker_root_dir.unwrap_or_default() })
    }

    /// Gives an image a reference with a tag.
    ///
    /// # Errors
    /// [`Kind::Engine`].
    pub async fn tag(&self, image: &str, reference: &str) -> Result<(), Failure> {
        let (repository, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
        let options = query::TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        let tagged = self.docker.tag_image(image, Some(options)).await;
        tagged.map_err(|error| self.failed(&format!("tag image {image} as {reference}"), &error))
    }

    /// Takes a reference off an image; the engine drops the image with the last one.
    ///
    /// # Errors
    /// [`Kind::Engine`]; none where there is no such reference.
    pub async fn untag(&self, reference: &str) -> Result<(), Failure> {
        match self.docker.remove_image(reference, None::<query::RemoveImageOptions>, None).await {
            Err(error) if status(&error) != Some(404) => Err(self.failed(&format!("untag {reference}"), &error)),
            _ => Ok(()),
        }
    }

    /// Free bytes where an engine of this host keeps its data; `None` for one elsewhere.
    pub fn free(&self, folder: &str) -> Option<u64> {
        let disk = nix::sys::statvfs::statvfs(folder).ok().filter(|_| self.address.starts_with("unix://"))?;
        disk.blocks_available().checked_mul(disk.fragment_size())
    }

    /// Every layer of every image that the engine has.
    ///
    /// # Errors
    /// [`Kind::Engine`].
    pub async fn layers(&self) -> Result<Layers, Failure> {
        let options = query::ListImagesOptionsBuilder::default().all(true).build();
        let images = self.list_images(options).await?;
        let mut inspected = futures_util::stream::iter(images)
            .map(|image| async move { self.image(&image.id).await })
            .buffer_unordered(INSPECTIONS);
        let mut layers = Layers::default();
        while let Some(image) = inspected.next().await {
            // One that cannot be inspected (half removed, or of another platform) has nothing to offer.
            let Some(root) = image.ok().flatten().and_then(|image| image.root_fs) else { continue };
            let diff_ids = root.layers.unwrap_or_default();
            layers.chain_ids.extend(chain_ids(&diff_ids));
            layers.diff_ids.extend(diff_ids.iter().filter_map(|diff_id| diff_id.parse::<ContentDigest>().ok()));
        }
        Ok(layers)
    }

    /// Whether a container can be created of an image: on the containerd store an image may be there without its
    /// layers. The container is removed again.
    ///
    /// # Errors
    /// The engine's words.
    pub async fn try_image(&self, image: &str, name: &str) -> Result<(), String> {
        let body = bollard::models::ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec!["/balehook-never-runs".into()]),
            ..Default::default()
        };
        let options = query::CreateContainerOptionsBuilder::default().name(name).build();
        let created = self.docker.create_container(Some(options), body).await.map_err(|error| cause(&error))?;
        self.remove(&created.id).await.map_err(|failure| failure.message)
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
        // A deployment that was killed while it created a container: the engine finishes that all the same.
        let began = std::time::Instant::now();
        while created.as_ref().is_err_and(|error| status(error) == Some(409)) && began.elapsed() < LEFT_BEHIND {
            match self.inspect(&spec.name).await? {
                Some(found) if has_label_of(&found, &body) => self.remove(&spec.name).await?,
                Some(_) => break,
                None => tokio::time::sleep(LEFT_BEHIND / 50).await,
            }
            created = self.docker.create_container(Some(options.clone()), body.clone()).await;
        }
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

/// How and where an engine keeps images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFacts {
    /// How.
    pub store: ImageStore,
    /// The engine's data folder, on its own host.
    pub folder: String,
}

/// The layers that an engine has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layers {
    /// By what lies below them too.
    pub chain_ids: HashSet<ContentDigest>,
    /// By themselves.
    pub diff_ids: HashSet<ContentDigest>,
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

fn has_layers(image: &ImageInspect, pin: &ImagePin) -> bool {
    match pin {
        ImagePin::Content { diff_ids, .. } => layers_are(image, diff_ids),
        ImagePin::Registry { .. } | ImagePin::Unread { .. } | ImagePin::Unknown { .. } => {
            image.root_fs.as_ref().is_some_and(|root| root.layers.as_ref().is_some_and(|layers| !layers.is_empty()))
        }
    }
}

/// Whether the image consists of exactly these layers.
pub fn layers_are(image: &ImageInspect, diff_ids: &[ContentDigest]) -> bool {
    let layers = image.root_fs.as_ref().and_then(|root| root.layers.as_ref());
    layers.is_some_and(|layers| layers.iter().map(String::as_str).eq(diff_ids.iter().map(ContentDigest::as_str)))
}

/// Whether a container is of the same deployment name as one that is to be created.
fn has_label_of(found: &ContainerInspectResponse, wanted: &bollard::models::ContainerCreateBody) -> bool {
    let found = found.config.as_ref().and_then(|config| config.labels.as_ref());
    let name = |labels: Option<&std::collections::HashMap<String, String>>| {
        labels.and_then(|labels| labels.get(facts::LABEL_NAME)).cloned()
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

fn is_labelled(summary: &ContainerSummary, name: &Name) -> bool {
    let label = summary.labels.as_ref().and_then(|labels| labels.get(facts::LABEL_NAME));
    label.is_some_and(|label| label == name.as_str())
}

/// Whether it is the container of a task of this deployment's name: never the service's own.
fn is_of_a_task(summary: &ContainerSummary, name: &Name) -> bool {
    let has_label = summary.labels.as_ref().is_some_and(|labels| labels.contains_key(facts::LABEL_TASK));
    has_label && is_labelled(summary, name)
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
        ours: label(facts::LABEL_NAME).as_deref() == Some(name.as_str()),
        state: state.unwrap_or_default(),
        spec: label(facts::LABEL_SPEC),
        digest: label(facts::LABEL_DIGEST),
        deployment: label(facts::LABEL_DEPLOYMENT),
        stop_grace: seconds.map_or(STOP_GRACE, Duration::from_secs),
        handed: facts::Handed::from_labels(label),
        image: config.image.unwrap_or_default(),
    }
}

/// Whether a container of this summary is one of `containers`.
pub fn is_one_of(summary: &ContainerSummary, containers: &[ContainerFacts]) -> bool {
    containers.iter().any(|container| summary.id.as_deref() == Some(container.id.as_str()))
}

/// As a person reads it: `container db (0123456789ab)`.
pub fn describe(summary: &ContainerSummary) -> String {
    let id = summary.id.as_deref().unwrap_or_default();
    format!("container {} ({})", name_of(summary), facts::short_id(id))
}

/// The ID to call a target by: its own, the one created by this plan, or its name.
pub fn address<'a>(target: &'a Target, created: Option<&'a str>) -> &'a str {
    target.id.as_deref().or(created).unwrap_or(&target.name)
}
