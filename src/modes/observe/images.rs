//! What is wanted of an image, and whether the engine has it.

use crate::config::{ArchiveLocation, ImageNeed, ImageSource, Pull};
use crate::deploy::origin::Origin;
use crate::engine::StoreFacts;
use crate::error::{Failure, Kind, ObserveFailure};
use crate::images::archive::{ArchiveError, ReadAt as _};
use crate::images::delta::Delta;
use crate::images::facts::{ImageFacts, Room};
use crate::images::import;
use crate::images::source::Archive;
use crate::images::{archive, pull};
use crate::modes::facts::Facts;
use crate::modes::observe::Observer;
use crate::values::pin::ImagePin;
use crate::values::reference::ImageReference;
use crate::values::types::ContentDigest;

/// How much larger than a compressed archive its image becomes while it is loaded: what the layers are compressed by,
/// and the engine's own copy.
const UNPACKED: u64 = 4;

struct Wanted<'a> {
    location: &'a ArchiveLocation,
    reference: Option<&'a ImageReference>,
    id: Option<&'a ContentDigest>,
}

impl Observer<'_> {
    /// One image that the deployment needs; one that was looked up already is not looked up again.
    pub(crate) async fn image(&self, need: &ImageNeed, facts: &mut Facts) {
        let key = need.key(&self.deployment.bundle_root);
        if facts.images.iter().any(|image| image.key == key) {
            return;
        }
        let resolved = self.store.resolved(&self.origin.deployment).into_iter().find(|(known, _)| *known == key);
        let mut image = match (resolved, &need.source) {
            (Some((_, pin)), _) => found(pin),
            (None, ImageSource::Registry(reference, pull)) => self.of_registry(reference, *pull, facts).await,
            (None, ImageSource::Archive { location, reference, id }) => {
                let wanted = Wanted { location, reference: reference.as_ref(), id: id.as_ref() };
                self.index(&key, &wanted, need.platform.as_deref(), facts).await
            }
        };
        image.key = key;
        if let Err(failure) = self.presence(&mut image, facts).await {
            facts.failures.push(ObserveFailure { failure, definite: false });
        }
        if let ImageSource::Archive { location, .. } = &need.source {
            self.missing(location, need.platform.as_deref(), &mut image, facts).await;
        }
        facts.images.push(image);
    }

    /// Opens and indexes the archive while the engine answers: what asks for it later finds it done. Not where it need not
    /// be asked at all, nor where the engine, whose processor decides, is another host's.
    pub(crate) async fn open_ahead(&self, need: &ImageNeed) {
        let ImageSource::Archive { location, id: None, .. } = &need.source else { return };
        let is_here = self.engine.as_ref().is_ok_and(|engine| engine.address.starts_with("unix://"));
        let key = need.key(&self.deployment.bundle_root);
        let is_resolved = self.store.resolved(&self.origin.deployment).iter().any(|(known, _)| *known == key);
        if is_here && !is_resolved {
            let wanted = architecture(need.platform.as_deref(), Some(host_architecture()));
            // Who needs it finds out why it cannot be opened.
            let _ = self.archives.open(location, wanted.as_deref()).await;
        }
    }

    async fn presence(&self, image: &mut ImageFacts, facts: &Facts) -> Result<(), Failure> {
        let (Ok(engine), Some(_)) = (&self.engine, facts.engine.yes()) else { return Ok(()) };
        if let Some(seen) = engine.find(&image.pin, &self.deployment.name).await? {
            image.present = true;
            image.bytes = None;
            image.architecture = seen.architecture.or(image.architecture.take());
        }
        Ok(())
    }

    /// What must travel of an archive that the engine lacks, and whether there is room for it.
    async fn missing(
        &self,
        location: &ArchiveLocation,
        platform: Option<&str>,
        image: &mut ImageFacts,
        facts: &mut Facts,
    ) {
        let ImagePin::Content { config, .. } = &image.pin else {
            return self
                .room(facts, image.bytes.filter(|_| !image.present).map(|bytes| bytes.saturating_mul(UNPACKED)))
                .await;
        };
        let (Ok(engine), Some(hello), false) = (&self.engine, facts.engine.yes(), image.present) else { return };
        let architecture = architecture(platform, engine_architecture(facts));
        let Ok(opened) = self.archives.open(location, architecture.as_deref()).await else { return };
        let Ok(index) = &opened.index else { return };
        let Some(archived) = index.images.iter().find(|found| found.config_digest == *config) else { return };
        let (Ok(store), Ok(layers)) = (engine.image_store(hello.api).await, engine.layers().await) else { return };
        let missing = Delta::new(archived, &layers.chain_ids).missing(store.store);
        image.missing = Some(missing);
        self.room(facts, Some(missing.unpacked.saturating_add(missing.copies))).await;
    }

    async fn of_registry(&self, reference: &ImageReference, pull: Pull, facts: &mut Facts) -> ImageFacts {
        let own = match pull {
            Pull::Always => None,
            Pull::Missing | Pull::Never => self.own(reference, facts).await,
        };
        match (own, pull) {
            (Some(pin), _) => ImageFacts { from_host: true, ..found(pin) },
            (None, Pull::Never) => self.lacking(reference, facts),
            (None, Pull::Always | Pull::Missing) => self.resolve(reference, facts).await,
        }
    }

    /// The image that the engine has by this name: by its digest in the registry, where it came from there.
    async fn own(&self, reference: &ImageReference, facts: &mut Facts) -> Option<ImagePin> {
        facts.engine.yes()?;
        let image = match self.engine.as_ref().ok()?.image(&reference.to_string()).await {
            Ok(image) => image?,
            Err(failure) => {
                facts.failures.push(ObserveFailure { failure, definite: false });
                return None;
            }
        };
        let (repository, tag) = (reference.repository(), reference.tag().map(str::to_owned));
        let mut pulled = image.repo_digests.iter().flatten().filter_map(|text| text.parse::<ImageReference>().ok());
        let pulled = pulled.find(|pulled| pulled.repository() == repository);
        if let Some(digest) = pulled.and_then(|pulled| pulled.digest().cloned()) {
            return Some(ImagePin::Registry { repository, tag, digest });
        }
        let layers = image.root_fs.and_then(|root| root.layers).unwrap_or_default();
        Some(ImagePin::Content {
            reference: Some(reference.to_string()),
            config: image.id?.parse().ok()?,
            diff_ids: layers.iter().filter_map(|layer| layer.parse().ok()).collect(),
        })
    }

    fn lacking(&self, reference: &ImageReference, facts: &mut Facts) -> ImageFacts {
        if facts.engine.yes().is_none() {
            return unknown(reference.to_string(), "no engine to ask");
        }
        let lacks = format!("the engine has no image {reference}, and `pull: never` forbids to pull it");
        if !facts.put_off_object(&lacks) {
            let failure = Failure::new(Kind::Image, &lacks)
                .next("load or pull it before (when the AMI is built), or write `pull: missing`");
            facts.failures.push(ObserveFailure { failure, definite: true });
        }
        let why = facts.not_yet.last().filter(|line| line.starts_with(&lacks)).unwrap_or(&lacks);
        unknown(reference.to_string(), why)
    }

    async fn resolve(&self, reference: &ImageReference, facts: &mut Facts) -> ImageFacts {
        let repository = reference.repository();
        let tag = reference.tag().map(str::to_owned);
        if let Some(digest) = reference.digest() {
            return found(ImagePin::Registry { repository, tag, digest: digest.clone() });
        }
        let (Ok(engine), Some(_)) = (&self.engine, facts.engine.yes()) else {
            return unknown(reference.to_string(), "no engine to ask the registry with");
        };
        match pull::resolve(engine, reference, &self.credentials).await {
            Ok(digest) => found(ImagePin::Registry { repository, tag, digest }),
            Err(failed) => {
                if let Some(pin) = self.kept(reference, facts).await {
                    let kept = pin.describe();
                    let line = format!("{}: the image of a kept release is taken, {kept}", failed.failure.message);
                    facts.warnings.push(line);
                    return found(pin);
                }
                let image = unknown(reference.to_string(), &failed.failure.message);
                facts.failures.push(failed);
                image
            }
        }
    }

    /// What a kept release had resolved the same reference to, where the engine has that image.
    async fn kept(&self, reference: &ImageReference, facts: &Facts) -> Option<ImagePin> {
        let of_tasks = |deployment: &str| self.store.resolved(deployment).into_iter().map(|(_, pin)| pin);
        let mut pins = facts
            .releases
            .iter()
            .flat_map(|release| release.images().cloned().chain(of_tasks(&release.deployment)).collect::<Vec<_>>());
        let pin = pins.find(|pin| match pin {
            ImagePin::Registry { repository, tag, .. } => {
                *repository == reference.repository() && tag.as_deref() == reference.tag()
            }
            ImagePin::Content { .. } | ImagePin::Unread { .. } | ImagePin::Unknown { .. } => false,
        })?;
        self.engine.as_ref().ok()?.find(&pin, &self.deployment.name).await.ok()?.is_some().then_some(pin)
    }

    async fn index(&self, key: &str, wanted: &Wanted<'_>, platform: Option<&str>, facts: &mut Facts) -> ImageFacts {
        if let Some(image) = self.by_id(wanted, facts).await {
            return image;
        }
        if let Some(image) = self.not_yet(key, wanted.location, facts).await {
            return image;
        }
        let architecture = architecture(platform, engine_architecture(facts));
        match self.read_index(wanted, architecture.as_deref()).await {
            Ok(image) => image,
            Err(failed) => match self.restarted(key, wanted.location, facts).await {
                Some(image) => image,
                None => {
                    let image = unknown(wanted.location.to_string(), &failed.failure.message);
                    facts.failures.push(failed);
                    image
                }
            },
        }
    }

    /// The archive that Install or a script has still to put there. What lies there now may be an earlier revision's.
    async fn not_yet(&self, key: &str, location: &ArchiveLocation, facts: &mut Facts) -> Option<ImageFacts> {
        let ArchiveLocation::File(path) = location else { return None };
        if let Some(image) = self.restarted(key, location, facts).await {
            return Some(image);
        }
        let line = facts.put_off_replaced(path)?;
        Some(unknown(location.to_string(), &line))
    }

    /// The wanted ID is in the engine: the archive need not be asked.
    async fn by_id(&self, wanted: &Wanted<'_>, facts: &Facts) -> Option<ImageFacts> {
        let (engine, id) = (self.engine.as_ref().ok()?, wanted.id?);
        facts.engine.yes()?;
        let reference = wanted.reference.map(ToString::to_string);
        if let Some(image) = engine.image(id.as_str()).await.ok()? {
            let layers = image.root_fs.and_then(|root| root.layers)?;
            let diff_ids = layers.iter().filter_map(|layer| layer.parse::<ContentDigest>().ok()).collect();
            return Some(found(ImagePin::Content { reference, config: id.clone(), diff_ids }));
        }
        // The containerd store does not know an image by its config: only a release tells which layers that one has.
        let is_it = |pin: &&ImagePin| matches!(pin, ImagePin::Content { config, .. } if config == id);
        let pin = facts.releases.iter().flat_map(|release| release.images()).find(is_it)?;
        engine.find(pin, &self.deployment.name).await.ok()??;
        Some(found(pin.clone()))
    }

    async fn read_index(&self, wanted: &Wanted<'_>, architecture: Option<&str>) -> Result<ImageFacts, ObserveFailure> {
        let Wanted { location, reference, id } = *wanted;
        let opened = self.archives.open(location, architecture).await?;
        let wrong = |why: String| ObserveFailure { failure: import::bad(location, &why), definite: true };
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
    /// deleted since: then what it was resolved to by the recorded deployment of that very bundle is the wanted image,
    /// as long as the engine has it. Only an equal revision and ETag show that it is that bundle.
    async fn restarted(&self, key: &str, location: &ArchiveLocation, facts: &mut Facts) -> Option<ImageFacts> {
        let is_deleted = matches!(location, ArchiveLocation::File(path) if !path.exists());
        let Origin { revision, etag: Some(etag), source, .. } = &self.origin else { return None };
        let release = facts.releases.first().filter(|release| {
            is_deleted
                && release.source == *source
                && release.revision == *revision
                && release.etag.as_ref() == Some(etag)
        })?;
        let (_, pin) = self.store.resolved(&release.deployment).into_iter().find(|(known, _)| known == key)?;
        self.engine.as_ref().ok()?.find(&pin, &self.deployment.name).await.ok()??;
        let line = format!(
            "{location} is not there: the image that {} loaded from this same bundle is taken, {}",
            release.deployment,
            pin.describe()
        );
        facts.warnings.push(line);
        Some(found(pin))
    }

    /// The room that loading needs, with that of the images before it, where the engine is on this host.
    async fn room(&self, facts: &mut Facts, needed: Option<u64>) {
        let (Ok(engine), Some(hello), Some(needed)) = (&self.engine, facts.engine.yes(), needed) else { return };
        let Ok(StoreFacts { folder, .. }) = engine.image_store(hello.api).await else { return };
        let before = facts.room.as_ref().map_or(0, |room| room.needed);
        let needed = needed.saturating_add(before);
        facts.room = engine.free(&folder).map(|free| Room { folder, free, needed });
    }
}

/// The processor whose image is wanted of a multi-platform archive.
fn architecture(platform: Option<&str>, engine: Option<&str>) -> Option<String> {
    platform.map(|platform| platform.split('/').nth(1).unwrap_or(platform)).or(engine).map(str::to_owned)
}

fn engine_architecture(facts: &Facts) -> Option<&str> {
    facts.engine.yes().map(|engine| engine.architecture.as_str())
}

/// Go's name of this host's processor.
///
/// Source: `go tool dist list`.
fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

fn found(pin: ImagePin) -> ImageFacts {
    ImageFacts {
        key: String::new(),
        pin,
        present: false,
        bytes: None,
        missing: None,
        unknown: None,
        architecture: None,
        from_host: false,
    }
}

fn unknown(wanted: String, why: &str) -> ImageFacts {
    ImageFacts { unknown: Some(why.to_owned()), ..found(ImagePin::Unknown { wanted }) }
}

fn unread(archive: &Archive, reference: Option<&ImageReference>, id: Option<&ContentDigest>) -> ImageFacts {
    let pin =
        ImagePin::Unread { archive: archive.version(), reference: reference.map(ToString::to_string), id: id.cloned() };
    ImageFacts { bytes: Some(archive.len()), ..found(pin) }
}
