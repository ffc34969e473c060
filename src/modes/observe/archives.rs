//! What an archive says of the wanted image, or what is known of it without asking it.

use crate::config::ArchiveLocation;
use crate::config::verify::Verify;
use crate::deploy::origin::Origin;
use crate::error::ObserveFailure;
use crate::images::archive::{self, ArchiveError, ReadAt as _};
use crate::images::facts::ImageFacts;
use crate::images::source::Opened;
use crate::images::{import, verify};
use crate::modes::facts::Facts;
use crate::modes::observe::Observer;
use crate::modes::observe::images::{architecture, engine_architecture};
use crate::values::pin::ImagePin;
use crate::values::reference::ImageReference;
use crate::values::types::ContentDigest;

/// Which image of which archive.
pub(super) struct Wanted<'a> {
    pub(super) location: &'a ArchiveLocation,
    pub(super) reference: Option<&'a ImageReference>,
    pub(super) id: Option<&'a ContentDigest>,
    pub(super) verify: Option<&'a Verify>,
}

impl Observer<'_> {
    /// What the index of an archive says of the wanted image.
    pub(super) async fn index(
        &self,
        key: &str,
        wanted: &Wanted<'_>,
        platform: Option<&str>,
        facts: &mut Facts,
    ) -> ImageFacts {
        if wanted.verify.is_none()
            && let Some(image) = self.by_id(wanted, facts).await
        {
            return image;
        }
        if let Some(image) = self.not_yet(key, wanted, facts).await {
            return image;
        }
        let architecture = architecture(platform, engine_architecture(facts));
        match self.read_index(wanted, architecture.as_deref()).await {
            Ok(image) => image,
            Err(failed) => match self.restarted(key, wanted.location, facts).await {
                Some(image) => image,
                None => {
                    let image = ImageFacts::unknown(wanted.location.to_string(), &failed.failure.message);
                    facts.failures.push(failed);
                    image
                }
            },
        }
    }

    /// The archive that Install or a script has still to put there. What lies there now may be an earlier revision's.
    async fn not_yet(&self, key: &str, wanted: &Wanted<'_>, facts: &mut Facts) -> Option<ImageFacts> {
        let location = wanted.location;
        if let Some(line) = wanted.verify.and_then(|verify| self.key_is_to_come(verify, facts)) {
            return Some(ImageFacts::unknown(location.to_string(), &line));
        }
        let ArchiveLocation::File(path) = location else { return None };
        if let Some(image) = self.restarted(key, location, facts).await {
            return Some(image);
        }
        let line = facts.put_off_replaced(path)?;
        Some(ImageFacts::unknown(location.to_string(), &line))
    }

    /// The wanted ID is in the engine: the archive need not be asked.
    async fn by_id(&self, wanted: &Wanted<'_>, facts: &Facts) -> Option<ImageFacts> {
        let (engine, id) = (self.engine.as_ref().ok()?, wanted.id?);
        facts.engine.yes()?;
        let reference = wanted.reference.map(ToString::to_string);
        if let Some(image) = engine.image(id.as_str()).await.ok()? {
            let layers = image.root_fs.and_then(|root| root.layers)?;
            let diff_ids = layers.iter().filter_map(|layer| layer.parse::<ContentDigest>().ok()).collect();
            return Some(ImageFacts::of(ImagePin::Content { reference, config: id.clone(), diff_ids }));
        }
        // The containerd store does not know an image by its config: only a release tells which layers that one has.
        let is_it = |pin: &&ImagePin| matches!(pin, ImagePin::Content { config, .. } if config == id);
        let pin = facts.releases.iter().flat_map(|release| release.images()).find(is_it)?;
        engine.find(pin, &self.deployment.name).await.ok()??;
        Some(ImageFacts::of(pin.clone()))
    }

    async fn read_index(&self, wanted: &Wanted<'_>, architecture: Option<&str>) -> Result<ImageFacts, ObserveFailure> {
        let Wanted { location, reference, id, verify } = *wanted;
        let opened = self.archives.open(location, architecture).await?;
        let wrong = |why: String| ObserveFailure { failure: import::bad(location, &why), definite: true };
        let sha256 = self.verified_bytes(verify, &opened).await?;
        let index = match &opened.index {
            Ok(index) => index,
            Err(ArchiveError::Compressed(_)) if verify.is_some_and(Verify::is_of_config) => {
                return Err(wrong(
                    "is compressed: its labels and platform cannot be verified before it is loaded".into(),
                ));
            }
            Err(ArchiveError::Compressed(_)) => {
                let version = opened.archive.version(&self.deployment.bundle_root).await;
                let version = version.map_err(|error| wrong(format!("cannot be read: {error}")))?;
                let reference = reference.map(ToString::to_string);
                let pin = ImagePin::Unread { archive: version, reference, id: id.cloned(), sha256 };
                return Ok(ImageFacts { bytes: Some(opened.archive.len()), ..ImageFacts::of(pin) });
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        let image = archive::select(index, reference, id).map_err(|error| wrong(error.to_string()))?;
        if let Some(verify) = verify {
            let verified = verify::config(verify, &location.to_string(), &image.config);
            verified.map_err(|failure| ObserveFailure { failure, definite: true })?;
        }
        let reference = reference.map(ToString::to_string).or_else(|| image.references.first().cloned());
        Ok(ImageFacts {
            architecture: Some(image.architecture.clone()),
            ..ImageFacts::of(ImagePin::Content {
                reference,
                config: image.config_digest.clone(),
                diff_ids: image.diff_ids.clone(),
            })
        })
    }

    /// The bytes of an archive, where `verify` asks for them; an archive that several need is read once.
    async fn verified_bytes(
        &self,
        verify: Option<&Verify>,
        opened: &Opened,
    ) -> Result<Option<ContentDigest>, ObserveFailure> {
        let Some(verify) = verify.filter(|verify| verify.is_of_bytes()) else { return Ok(None) };
        let digest = opened.verified(verify, &self.deployment.bundle_root).await;
        digest.map(Some).map_err(|failure| ObserveFailure { failure, definite: true })
    }

    /// A key, a signature or a checksum that Install or a script has still to put there.
    pub(super) fn key_is_to_come(&self, verify: &Verify, facts: &mut Facts) -> Option<String> {
        let lines: Vec<String> = verify.files().filter_map(|path| facts.put_off_replaced(path)).collect();
        lines.into_iter().next()
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
        Some(ImageFacts::of(pin))
    }
}
