//! Looking at the host: reading only. What cannot be seen is said, and never stops the rest.

use std::path::{Path, PathBuf};

use bollard::models::{ContainerCreateBody, ContainerSummary};

use super::credentials::CredentialSettings;
use super::engine::{Engine, StoreFacts};
use super::s3::S3;
use super::source::{Archive, Archives};
use super::{nat, ports, registry};
use crate::error::{Failure, Kind};
use crate::facts::{Facts, ImageFacts, Known, LookFailure, Room};
use crate::image::archive::{self, ArchiveError, ReadAt as _};
use crate::image::delta::Delta;
use crate::image::pin::ImagePin;
use crate::image::reference::ImageReference;
use crate::plan::{Asker, create, recover};
use crate::release::Store;
use crate::spec::service::{EnvFile, Service};
use crate::spec::types::{ContentDigest, EnvVar, LifecycleEvent, Secret};
use crate::spec::{ArchiveLocation, Container, Deployment, ImageSource, Mode, env_file};

/// Largest env file that is read, in bytes.
const ENV_FILE_LIMIT: u64 = 1024 * 1024;

/// What is looked at, and with what.
pub struct Look<'a> {
    /// The engine, or why there is none.
    pub engine: Result<&'a Engine, &'a Failure>,
    /// The object store.
    pub s3: &'a S3,
    /// The archives.
    pub archives: &'a Archives,
    /// Where registry credentials are looked for.
    pub credentials: &'a CredentialSettings,
    /// The records.
    pub store: &'a Store,
    /// The deployment.
    pub deployment: &'a Deployment,
    /// Who asks.
    pub asker: &'a Asker,
    /// The hook environment's variables, for env files.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
    /// `/proc`, or a stand-in.
    pub proc: PathBuf,
}

impl Look<'_> {
    /// What `event` needs to know.
    pub async fn facts(&self, event: LifecycleEvent) -> Facts {
        let Mode::Container(container) = &self.deployment.mode;
        let mut facts = Facts::unseen(self.store);
        if !touches_engine(event) {
            return facts;
        }
        let all = self.containers(&mut facts).await;
        self.handover(&container.service, &all, &mut facts).await;
        if event == LifecycleEvent::ApplicationStop {
            return facts;
        }
        self.image(container, &mut facts).await;
        self.environment(&container.service, &mut facts).await;
        self.surroundings(container, &all, &mut facts).await;
        facts
    }

    /// The engine, our containers and our tags. Returns every container.
    async fn containers(&self, facts: &mut Facts) -> Vec<ContainerSummary> {
        let seen = async {
            let engine = self.engine.map_err(Clone::clone)?;
            let hello = engine.hello().await?;
            let all = engine.list().await?;
            let name = &self.deployment.name;
            let names = [name.to_string(), recover::new_name(name), recover::old_name(name)];
            let ours = engine.ours(&all, name, &names).await?;
            let tags = engine.keeper_tags(name).await?;
            Ok::<_, Failure>((hello, all, ours, tags))
        };
        match seen.await {
            Ok((hello, all, ours, tags)) => {
                facts.engine = Known::Yes(hello);
                facts.containers = ours;
                facts.keeper_tags = tags;
                all
            }
            Err(failure) => {
                facts.engine = Known::No(failure.message.clone());
                facts.failures.push(LookFailure { failure, definite: false });
                Vec::new()
            }
        }
    }

    async fn image(&self, container: &Container, facts: &mut Facts) {
        let asker = self.asker;
        let resolved = self.store.resolved(&asker.deployment, &asker.source);
        let mut image = match resolved {
            Some(resolved) => found(resolved.image),
            None => match &container.image {
                ImageSource::Registry(reference) => self.resolve(reference, facts).await,
                ImageSource::Archive { location, reference, id } => {
                    self.index(location, reference.as_ref(), id.as_ref(), facts).await
                }
            },
        };
        if let Err(failure) = self.presence(&mut image, facts).await {
            facts.failures.push(LookFailure { failure, definite: false });
        }
        if let ImageSource::Archive { location, .. } = &container.image {
            self.missing(location, &mut image, facts).await;
        }
        facts.image = Some(image);
    }

    async fn presence(&self, image: &mut ImageFacts, facts: &Facts) -> Result<(), Failure> {
        let (Ok(engine), Some(_)) = (self.engine, facts.engine.yes()) else { return Ok(()) };
        if let Some(seen) = engine.find(&image.pin, &self.deployment.name).await? {
            image.present = true;
            image.bytes = None;
            image.architecture = seen.architecture.or(image.architecture.take());
        }
        Ok(())
    }

    /// What must travel of an archive that the engine lacks, and whether there is room for it.
    async fn missing(&self, location: &ArchiveLocation, image: &mut ImageFacts, facts: &mut Facts) {
        let ImagePin::Content { config, .. } = &image.pin else {
            return self
                .room(facts, image.bytes.filter(|_| !image.present).map(|bytes| bytes.saturating_mul(UNPACKED)))
                .await;
        };
        let (Ok(engine), Some(hello), false) = (self.engine, facts.engine.yes(), image.present) else { return };
        let architecture = self.architecture(facts);
        let Ok(opened) = self.archives.open(location, architecture.as_deref()).await else { return };
        let Ok(index) = &opened.index else { return };
        let Some(archived) = index.images.iter().find(|found| found.config_digest == *config) else { return };
        let (Ok(store), Ok(layers)) = (engine.image_store(hello.api).await, engine.layers().await) else { return };
        let missing = Delta::new(archived, &layers.chain_ids).missing(store.store);
        image.missing = Some(missing);
        self.room(facts, Some(missing.unpacked.saturating_add(missing.copies))).await;
    }

    async fn resolve(&self, reference: &ImageReference, facts: &mut Facts) -> ImageFacts {
        let repository = reference.repository();
        let tag = reference.tag().map(str::to_owned);
        if let Some(digest) = reference.digest() {
            return found(ImagePin::Registry { repository, tag, digest: digest.clone() });
        }
        let (Ok(engine), Some(_)) = (self.engine, facts.engine.yes()) else {
            return unknown(reference.to_string(), "no engine to ask the registry with");
        };
        match registry::resolve(engine, reference, self.credentials).await {
            Ok(digest) => found(ImagePin::Registry { repository, tag, digest }),
            Err(refusal) => {
                let image = unknown(reference.to_string(), &refusal.failure.message);
                facts.failures.push(LookFailure { failure: refusal.failure, definite: refusal.definite });
                image
            }
        }
    }

    async fn index(
        &self,
        location: &ArchiveLocation,
        reference: Option<&ImageReference>,
        id: Option<&ContentDigest>,
        facts: &mut Facts,
    ) -> ImageFacts {
        if let Some(image) = self.by_id(reference, id, facts).await {
            return image;
        }
        let architecture = self.architecture(facts);
        match self.read_index(location, reference, id, architecture.as_deref()).await {
            Ok(image) => image,
            Err(failed) => match self.restarted(location, facts).await {
                Some(image) => image,
                None => {
                    let image = unknown(location.to_string(), &failed.failure.message);
                    facts.failures.push(failed);
                    image
                }
            },
        }
    }

    /// The processor whose image is wanted of a multi-platform archive.
    fn architecture(&self, facts: &Facts) -> Option<String> {
        let Mode::Container(container) = &self.deployment.mode;
        let platform = container.service.platform.as_deref();
        let asked = platform.map(|platform| platform.split('/').nth(1).unwrap_or(platform).to_owned());
        asked.or_else(|| facts.engine.yes().map(|engine| engine.architecture.clone()))
    }

    /// The wanted ID is in the engine: the archive need not be asked.
    async fn by_id(
        &self,
        reference: Option<&ImageReference>,
        id: Option<&ContentDigest>,
        facts: &Facts,
    ) -> Option<ImageFacts> {
        let (engine, id) = (self.engine.ok()?, id?);
        facts.engine.yes()?;
        let reference = reference.map(ToString::to_string);
        let mut pin = ImagePin::Content { reference, config: id.clone(), diff_ids: Vec::new() };
        // The containerd store does not know an image by its config: there only a tag of ours tells.
        let image = match engine.image(id.as_str()).await.ok()? {
            Some(image) => image,
            None => engine.image(&pin.keeper_tag(&self.deployment.name)).await.ok()??,
        };
        if let ImagePin::Content { diff_ids, .. } = &mut pin {
            let layers = image.root_fs.and_then(|root| root.layers)?;
            diff_ids.extend(layers.iter().filter_map(|layer| layer.parse::<ContentDigest>().ok()));
        }
        Some(found(pin))
    }

    async fn read_index(
        &self,
        location: &ArchiveLocation,
        reference: Option<&ImageReference>,
        id: Option<&ContentDigest>,
        architecture: Option<&str>,
    ) -> Result<ImageFacts, LookFailure> {
        let opened = self.archives.open(location, architecture).await?;
        let wrong = |why: String| LookFailure { failure: bad_archive(location, &why), definite: true };
        let index = match &opened.index {
            Ok(index) => index,
            Err(ArchiveError::Compressed(_)) => return Ok(unread(&opened.archive, reference, id)),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let image = archive::select(index, reference, id).map_err(|error| wrong(error.to_string()))?;
        let reference = reference.map(ToString::to_string).or_else(|| image.references.first().cloned());
        Ok(ImageFacts {
            architecture: Some(image.architecture.clone()),
            ..found(ImagePin::Content {
                reference,
                config: image.config_digest.clone(),
                diff_ids: image.diff_ids.clone(),
            })
        })
    }

    /// The agent's restart mode runs the events again on a copy of the last bundle, whose image file a hook may have
    /// deleted since: then the image on record for that very revision is the wanted one, as long as the engine has it.
    async fn restarted(&self, location: &ArchiveLocation, facts: &Facts) -> Option<ImageFacts> {
        let is_deleted = matches!(location, ArchiveLocation::File(path) if !path.exists());
        let release = facts.releases.first().filter(|release| {
            is_deleted && release.source == self.asker.source && release.revision == self.asker.revision
        })?;
        let image = self.engine.ok()?.find(&release.image, &self.deployment.name).await.ok()?;
        image.map(|_| found(release.image.clone()))
    }

    async fn environment(&self, service: &Service, facts: &mut Facts) {
        let mut all: Vec<EnvVar> = Vec::new();
        for file in &service.env_file {
            match self.env_file(file).await {
                Ok(vars) => vars.into_iter().for_each(|var| set(&mut all, var)),
                Err(failed) => {
                    facts.environment = Known::No(failed.failure.message.clone());
                    facts.failures.push(failed);
                    return;
                }
            }
        }
        service.environment.iter().for_each(|var| set(&mut all, var.clone()));
        facts.environment = Known::Yes(all);
    }

    async fn env_file(&self, file: &EnvFile) -> Result<Vec<EnvVar>, LookFailure> {
        let definite = |failure| LookFailure { failure, definite: true };
        let (text, hidden) = match &file.location {
            ArchiveLocation::File(path) => match read_small(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !file.required => return Ok(Vec::new()),
                text => (text.map_err(|error| definite(bad_env(path, &error.to_string())))?, false),
            },
            ArchiveLocation::S3(uri) => {
                let limit = usize::try_from(ENV_FILE_LIMIT).unwrap_or(usize::MAX);
                let bytes = self.s3.get_small(uri, limit).await;
                let bytes = bytes.map_err(|error| LookFailure::from(&error))?;
                (String::from_utf8_lossy(&bytes).into_owned(), true)
            }
        };
        env_file::variables(&file.location.to_string(), &text, file.raw, hidden, self.lookup).map_err(definite)
    }

    /// What handing ports over needs to know, where any are or shall be.
    async fn handover(&self, service: &Service, all: &[ContainerSummary], facts: &mut Facts) {
        let is_handed = facts.containers.iter().any(|container| container.handed.is_some());
        if service.handover.is_none() && !is_handed {
            return;
        }
        let engine = facts.engine.yes();
        let look = nat::look::Look {
            engine: engine.and(self.engine.ok()),
            api: engine.map(|engine| engine.api),
            name: self.deployment.name.as_str(),
            service: Some(service),
            all,
            ours: &facts.containers,
            subnet: (self.lookup)(nat::look::SUBNET).filter(|text| !text.is_empty()),
        };
        match look.facts().await {
            Ok(seen) => facts.handover = Some(seen),
            Err(failure) => facts.failures.push(LookFailure { failure, definite: false }),
        }
    }

    /// The room that loading needs, where the engine is on this host.
    async fn room(&self, facts: &mut Facts, needed: Option<u64>) {
        let (Ok(engine), Some(hello), Some(needed)) = (self.engine, facts.engine.yes(), needed) else { return };
        let Ok(StoreFacts { folder, .. }) = engine.image_store(hello.api).await else { return };
        let free = engine.free(&folder);
        facts.room = free.map(|free| Room { folder, free, needed });
    }

    async fn surroundings(&self, container: &Container, all: &[ContainerSummary], facts: &mut Facts) {
        let (Ok(engine), Some(hello)) = (self.engine, facts.engine.yes()) else { return };
        let options = create::container_options(&container.service, Some(hello.api));
        let local = engine.address.starts_with("unix://").then_some(self.proc.as_path());
        facts.ports_taken = ports::taken(&options.body, all, &facts.containers, local);
        let extra = options.extra_networks.iter().map(|(network, _)| network.clone());
        for network in networks(&options.body).into_iter().chain(extra) {
            let seen = engine.docker.inspect_network(&network, None).await;
            if seen.is_err_and(|error| super::engine::status(&error) == Some(404)) {
                facts.networks_missing.push(network);
            }
        }
    }
}

/// How much larger than a compressed archive its image becomes while it is loaded: what the layers are compressed by,
/// and the engine's own copy.
const UNPACKED: u64 = 4;

/// Whether an event has anything to do with the engine.
pub const fn touches_engine(event: LifecycleEvent) -> bool {
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

/// User-defined networks of a create request.
fn networks(body: &ContainerCreateBody) -> Vec<String> {
    let endpoints = body.networking_config.as_ref().and_then(|config| config.endpoints_config.as_ref());
    let mut names: Vec<String> = endpoints.into_iter().flatten().map(|(name, _)| name.clone()).collect();
    names.extend(body.host_config.as_ref().and_then(|host| host.network_mode.clone()));
    names.retain(|name| !matches!(name.as_str(), "" | "default" | "bridge" | "host" | "none") && !name.contains(':'));
    names.sort_unstable();
    names.dedup();
    names
}

fn found(pin: ImagePin) -> ImageFacts {
    ImageFacts { pin, present: false, bytes: None, missing: None, unknown: None, architecture: None }
}

fn unknown(wanted: String, why: &str) -> ImageFacts {
    ImageFacts { unknown: Some(why.to_owned()), ..found(ImagePin::Unknown { wanted }) }
}

fn unread(archive: &Archive, reference: Option<&ImageReference>, id: Option<&ContentDigest>) -> ImageFacts {
    let pin =
        ImagePin::Unread { archive: archive.version(), reference: reference.map(ToString::to_string), id: id.cloned() };
    ImageFacts { bytes: Some(archive.len()), ..found(pin) }
}

fn bad_archive(location: &ArchiveLocation, why: &str) -> Failure {
    Failure::new(Kind::Image, format!("{location}: {why}"))
        .next("make it with `docker save --output …` and upload it again, or correct x-balehook.container.image")
}

fn bad_env(path: &Path, why: &str) -> Failure {
    Failure::new(Kind::Appspec, format!("cannot read env_file {}: {why}", path.display()))
        .next("put it into the bundle, or mark it `required: false`")
}

fn read_small(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > ENV_FILE_LIMIT {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    std::fs::read_to_string(path)
}

/// Sets or replaces a variable, as the engine would take the last one.
fn set(all: &mut Vec<EnvVar>, var: EnvVar) {
    match all.iter_mut().find(|known| known.name == var.name) {
        Some(known) => *known = var,
        None => all.push(var),
    }
}

/// A variable of a file.
pub fn file_var(name: String, value: Option<String>, hidden: bool) -> EnvVar {
    EnvVar { name, value: value.map(Secret::new), hidden }
}
