//! An archive's image into the engine: what is missing first, everything once more when that was not enough.

use std::collections::HashSet;

use bollard::models::ImageInspect;

use crate::config::ArchiveLocation;
use crate::engine::images::ImageStore;
use crate::engine::{Engine, Layers, StoreFacts, layers_are};
use crate::error::{Failure, Kind};
use crate::images::archive::{ArchiveError, ArchivedImage, Compression};
use crate::images::decompress::Sizes;
use crate::images::delta::Delta;
use crate::images::facts::Room;
use crate::images::load::{Load, LoadError};
use crate::images::record::ImportRecord;
use crate::images::source::{Archives, Opened};
use crate::values::pin::{ImagePin, retention_repository};
use crate::values::progress::FollowTransfer;
use crate::values::reference::ImageReference;
use crate::values::types::{ContentDigest, Name};

/// Tags of ours on images that are being loaded, with a number: nobody's `docker image prune` takes them away.
const PART: &str = "part-";

pub(crate) struct FromArchive<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) archives: &'a Archives,
    pub(crate) name: &'a Name,
    pub(crate) pin: &'a ImagePin,
    pub(crate) follow: FollowTransfer,
    /// Where references are written down before the image gets them.
    pub(crate) record: &'a ImportRecord,
}

impl FromArchive<'_> {
    /// Loads it and makes sure that it is the wanted one, and whole. No tag but of such an image is left behind. Returns
    /// the engine's ID of it.
    pub(crate) async fn load(&self, location: &ArchiveLocation, platform: Option<&str>) -> Result<String, Failure> {
        let hello = self.engine.hello().await?;
        let wanted = platform.map(|platform| platform.split('/').nth(1).unwrap_or(platform));
        let architecture = wanted.unwrap_or(&hello.architecture);
        let opened = self.archives.open(location, Some(architecture)).await.map_err(|failed| failed.failure)?;
        let store = self.engine.image_store(hello.api).await?;
        self.remove_parts().await?;
        let layers = self.engine.layers().await?;
        let loaded = match (&opened.index, self.pin) {
            (Err(ArchiveError::Compressed(compression)), _) => self.whole(&opened, *compression, layers, &store).await,
            (Err(error), _) => Err(bad(location, &error.to_string())),
            (Ok(index), ImagePin::Content { config, .. }) => {
                match index.images.iter().find(|image| image.config_digest == *config) {
                    Some(image) => self.missing(&opened, image, layers, &store).await,
                    None => Err(bad(location, &format!("it no longer holds {}", self.pin.describe()))),
                }
            }
            (Ok(_), _) => Err(bad(location, "it was compressed when it was observed, and is not any more")),
        };
        if loaded.is_err() {
            // The first failure is the one that is reported.
            let _ = self.remove_parts().await;
        }
        loaded
    }

    /// Only what is missing; once more as a whole where the engine did not have what it said.
    async fn missing(
        &self,
        opened: &Opened,
        image: &ArchivedImage,
        layers: Layers,
        store: &StoreFacts,
    ) -> Result<String, Failure> {
        let delta = Delta::new(image, &layers.chain_ids);
        self.check_room(&delta, store)?;
        let first = self.attempt(opened, &delta, store).await;
        let id = match first {
            Err(LoadError::Engine(words)) if delta.leaves_out() => {
                tracing::warn!(words, "some layers that the engine had are gone: everything is sent once more");
                self.remove_parts().await?;
                let delta = Delta::whole(image);
                self.check_room(&delta, store)?;
                self.attempt(opened, &delta, store).await
            }
            other => other,
        };
        let id = id.map_err(|error| error.failure(&opened.location.to_string()))?;
        self.name_it(image, &id).await?;
        self.remove_parts().await?;
        Ok(id)
    }

    fn load_of<'a>(&'a self, opened: &'a Opened, label: &'a str, store: &StoreFacts) -> Load<'a> {
        Load { engine: self.engine, store: store.store, archive: &opened.archive, label, follow: self.follow }
    }

    /// One load of all batches; the ID of the wanted image, verified.
    async fn attempt(&self, opened: &Opened, delta: &Delta<'_>, store: &StoreFacts) -> Result<String, LoadError> {
        let label = opened.location.to_string();
        let load = self.load_of(opened, &label, store);
        let repository = retention_repository(self.name);
        let tag = |number: usize| format!("{repository}:{PART}{number}");
        let batches = match load.delta(delta, Sizes::Claimed, tag).await {
            Err(LoadError::SizeMismatch(why)) => {
                tracing::info!(why, "sizes are counted, and everything is sent again");
                load.delta(delta, Sizes::Counted, tag).await?
            }
            other => other?,
        };
        let candidates: Vec<String> = match batches {
            Some(batches) => batches.last().into_iter().map(|last| last.tag.clone()).collect(),
            None => {
                let images = opened.index.iter().flat_map(|index| &index.images);
                self.record(images.flat_map(references).cloned()).map_err(LoadError::State)?;
                load.whole(Compression::None, HashSet::new(), |_| Ok(())).await?.0
            }
        };
        self.verified(&candidates, store.store).await
    }

    /// The wanted image among those that the engine says it loaded.
    async fn verified(&self, candidates: &[String], store: ImageStore) -> Result<String, LoadError> {
        let mut found = Vec::new();
        for candidate in candidates {
            let image = self.engine.image(candidate).await.map_err(|failure| LoadError::Engine(failure.message))?;
            let Some(image) = image else { continue };
            let id = image.id.clone().unwrap_or_default();
            if is_wanted(&image, candidate, self.pin, candidates.len()) {
                // On graph drivers every image that can be inspected has its layers.
                if store == ImageStore::Containerd {
                    let tried = self.engine.try_image(&id, self.name).await;
                    tried.map_err(LoadError::from)?;
                }
                return Ok(id);
            }
            found.push(id);
        }
        found.dedup();
        let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
        Err(LoadError::Engine(format!("{} is not in it: it held {found}", self.pin.describe())))
    }

    fn record(&self, references: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        self.record.add(&self.pin.retention_tag(self.name), references)
    }

    /// Gives the image the references that it has in the archive, and the tag of ours that keeps it: an archive need not
    /// name its image.
    async fn name_it(&self, image: &ArchivedImage, id: &str) -> Result<(), Failure> {
        self.record(references(image).cloned())?;
        self.engine.tag(id, &self.pin.retention_tag(self.name)).await?;
        for reference in references(image) {
            self.engine.tag(id, reference).await?;
        }
        Ok(())
    }

    /// A compressed archive: it travels whole, and known layers are left out of what the engine gets.
    async fn whole(
        &self,
        opened: &Opened,
        compression: Compression,
        layers: Layers,
        store: &StoreFacts,
    ) -> Result<String, Failure> {
        let label = opened.location.to_string();
        let load = self.load_of(opened, &label, store);
        let mut known = layers.diff_ids;
        loop {
            let may_leave_out = !known.is_empty();
            let result = load.whole(compression, std::mem::take(&mut known), |names| self.record(names)).await;
            let (loaded, left_out) = match result {
                Ok((loaded, left_out)) => (Ok(loaded), left_out),
                // What was left out may be why: only without that the engine's word is final.
                Err(LoadError::Engine(words)) => (Err(LoadError::Engine(words)), may_leave_out),
                Err(error) => (Err(error), false),
            };
            let mut references = loaded.as_ref().cloned().unwrap_or_default();
            references.retain(|reference| !reference.starts_with("sha256:"));
            // Of an archive that the engine itself decompresses this is the first that is known.
            self.record(references.iter().cloned())?;
            let id = match loaded {
                Ok(loaded) => self.verified(&loaded, store.store).await,
                Err(error) => Err(error),
            };
            match id {
                Ok(id) => return Ok(id),
                Err(error) => {
                    self.untag_broken(&references, store.store).await;
                    if !left_out {
                        return Err(error.failure(&label));
                    }
                    tracing::warn!(?error, "the engine lacks a layer that was left out: everything is sent once more");
                }
            }
        }
    }

    /// The engine tags what it loaded before it unpacks it.
    async fn untag_broken(&self, references: &[String], store: ImageStore) {
        for reference in references {
            let is_good = store != ImageStore::Containerd || self.engine.try_image(reference, self.name).await.is_ok();
            if !is_good {
                let _ = self.engine.untag(reference).await;
            }
        }
    }

    /// Removes the images of the batches, also of a load that was killed.
    async fn remove_parts(&self) -> Result<(), Failure> {
        let prefix = format!("{}:{PART}", retention_repository(self.name));
        for tag in self.engine.retention_tags(self.name).await?.iter().filter(|tag| tag.starts_with(&prefix)) {
            self.engine.untag(tag).await?;
        }
        Ok(())
    }

    fn check_room(&self, delta: &Delta<'_>, store: &StoreFacts) -> Result<(), Failure> {
        let Some(free) = self.engine.free(&store.folder) else { return Ok(()) };
        let missing = delta.missing(store.store);
        let room = Room { folder: store.folder.clone(), free, needed: missing.unpacked.saturating_add(missing.copies) };
        room.refusal().map_or(Ok(()), Err)
    }
}

/// Whether a loaded image is the wanted one: its layers, or what little is known of a compressed archive.
fn is_wanted(image: &ImageInspect, candidate: &str, pin: &ImagePin, loaded: usize) -> bool {
    match pin {
        ImagePin::Content { diff_ids, .. } => layers_are(image, diff_ids),
        ImagePin::Unread { reference, id, .. } => {
            let named = reference.as_deref().map_or(loaded == 1, |wanted| wanted == candidate);
            named && id.as_ref().is_none_or(|id| image.id.as_deref() == Some(ContentDigest::as_str(id)))
        }
        ImagePin::Registry { .. } | ImagePin::Unknown { .. } => false,
    }
}

/// The references of an archive's image that name one: an OCI layout may have a tag alone.
fn references(image: &ArchivedImage) -> impl Iterator<Item = &String> {
    let has_tag = |reference: &str| reference.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
    image.references.iter().filter(move |name| has_tag(name) && name.parse::<ImageReference>().is_ok())
}

pub(crate) fn bad(location: &ArchiveLocation, why: &str) -> Failure {
    Failure::new(Kind::Image, format!("{location}: {why}"))
        .next("make it with `docker save --output …` and upload it again, or correct x-balehook.container.image")
}
