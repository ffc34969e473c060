//! What an archive says of the wanted image, or what is known of it without asking it.

use crate::config::ArchiveLocation;
use crate::deploy::origin::Origin;
use crate::error::ObserveFailure;
use crate::images::archive::{self, ArchiveError, ReadAt as _};
use crate::images::facts::ImageFacts;
use crate::images::import;
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
                    let image = ImageFacts::unknown(wanted.location.to_string(), &failed.failure.message);
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
        let Wanted { location, reference, id } = *wanted;
        let opened = self.archives.open(location, architecture).await?;
        let wrong = |why: String| ObserveFailure { failure: import::bad(location, &why), definite: true };
        let index = match &opened.index {
            Ok(index) => index,
            Err(ArchiveError::Compressed(_)) => {
                let version = opened.archive.version(&self.deployment.bundle_root).await;
                let version = version.map_err(|error| wrong(format!("cannot be read: {error}")))?;
                let reference = reference.map(ToString::to_string);
                let pin = ImagePin::Unread { archive: version, reference, id: id.cloned() };
                return Ok(ImageFacts { bytes: Some(opened.archive.len()), ..ImageFacts::of(pin) });
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        let image = archive::select(index, reference, id).map_err(|error| wrong(error.to_string()))?;
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
