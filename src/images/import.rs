//! An archive's image into the engine: what is missing first, everything once more when that was not enough.

use std::collections::HashSet;

use bollard::models::ImageInspect;

use crate::config::ArchiveLocation;
use crate::engine::images::ImageStore;
use crate::engine::{Engine, Layers, StoreFacts, layers_are};
use crate::error::{Failure, Kind};
use crate::images::archive::{ArchiveError, ArchivedImage, Compression, is_same};
use crate::images::decompress::Sizes;
use crate::images::delta::Delta;
use crate::images::facts::Room;
use crate::images::load::Load;
use crate::images::load_error::LoadError;
use crate::images::record::ImportRecord;
use crate::images::rename::Renamed;
use crate::images::source::{Archives, Opened};
use crate::values::pin::{ImagePin, retention_repository};
use crate::values::progress::FollowTransfer;
use crate::values::reference::ImageReference;
use crate::values::types::{ContentDigest, Name};

/// Tags of ours on images that are being loaded, with a number: no `docker image prune` takes them away.
const PART: &str = "part-";

pub(crate) struct FromArchive<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) archives: &'a Archives,
    pub(crate) name: &'a Name,
    pub(crate) pin: &'a ImagePin,
    /// The only tag of the archive that the revision asks for.
    pub(crate) reference: Option<&'a ImageReference>,
    pub(crate) follow: FollowTransfer,
    /// Where a reference is written down before the image gets it.
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
        let first = self.attempt(opened, &delta, store).await;
        let id = match first {
            Err(LoadError::Engine(words)) if delta.leaves_out() => {
                tracing::warn!(words, "everything is sent once more, also the layers that were left out");
                self.remove_parts().await?;
                self.attempt(opened, &Delta::whole(image), store).await
            }
            other => other,
        };
        let id = id.map_err(|error| error.failure(&opened.location.to_string()))?;
        self.name_it(&id).await?;
        Ok(id)
    }

    /// One load of all batches; the ID of the wanted image, verified.
    async fn attempt(&self, opened: &Opened, delta: &Delta<'_>, store: &StoreFacts) -> Result<String, LoadError> {
        let (label, missing) = (opened.location.to_string(), delta.missing(store.store));
        let room = self.room(store, missing.unpacked.saturating_add(missing.copies));
        if let Some(refusal) = room.as_ref().and_then(Room::refusal) {
            return Err(LoadError::Room(refusal));
        }
        let (engine, archive, follow) = (self.engine, &opened.archive, self.follow);
        let load = Load { engine, store: store.store, archive, label: &label, follow, room, sha256: None };
        let prefix = self.prefix();
        let tag = |number: usize| format!("{prefix}{number}");
        let batches = match load.delta(delta, Sizes::Claimed, tag).await {
            Err(LoadError::SizeMismatch(why)) => {
                tracing::info!(why, "sizes are counted, and everything is sent again");
                load.delta(delta, Sizes::Counted, tag).await?
            }
            other => other?,
        };
        let candidates: Vec<Renamed> = match batches {
            Some(batches) => {
                let last = batches.last().map(|last| last.tag.clone());
                last.into_iter().map(|tag| Renamed { tag, references: Vec::new() }).collect()
            }
            None => load.whole(Compression::None, HashSet::new(), &self.prefix()).await?.0,
        };
        self.verified(&candidates, store.store).await
    }

    /// The wanted image among those that the engine says it loaded.
    async fn verified(&self, candidates: &[Renamed], store: ImageStore) -> Result<String, LoadError> {
        let mut found = Vec::new();
        for candidate in candidates {
            let image =
                self.engine.image(&candidate.tag).await.map_err(|failure| LoadError::Engine(failure.message))?;
            let Some(image) = image else { continue };
            let id = image.id.clone().unwrap_or_default();
            if self.is_wanted(&image, candidate, candidates.len(), store) {
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

    /// Gives the image the tag of ours that keeps it, and the one that the revision asks for: whatever else an archive
    /// calls its images may be a name of this host's.
    async fn name_it(&self, id: &str) -> Result<(), Failure> {
        let kept = self.pin.retention_tag(self.name);
        let asked = self.reference.filter(|reference| reference.digest().is_none()).map(ToString::to_string);
        self.record.add(&kept, asked.clone())?;
        self.engine.tag(id, &kept).await?;
        if let Some(asked) = asked {
            self.engine.tag(id, &asked).await?;
        }
        self.remove_parts().await
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
        let (engine, archive, follow) = (self.engine, &opened.archive, self.follow);
        let sha256 = match self.pin {
            ImagePin::Unread { sha256, .. } => sha256.as_ref(),
            ImagePin::Content { .. } | ImagePin::Registry { .. } | ImagePin::Unknown { .. } => None,
        };
        let room = self.room(store, 0);
        let load = Load { engine, store: store.store, archive, label: &label, follow, room, sha256 };
        let mut known = layers.diff_ids;
        loop {
            let may_leave_out = !known.is_empty();
            let (loaded, left_out) = match load.whole(compression, std::mem::take(&mut known), &self.prefix()).await {
                Ok((loaded, left_out)) => (Ok(loaded), left_out),
                // What was left out may be why: only without that the engine's word is final.
                Err(LoadError::Engine(words)) => (Err(LoadError::Engine(words)), may_leave_out),
                Err(error) => (Err(error), false),
            };
            let id = match &loaded {
                Ok(loaded) => self.verified(loaded, store.store).await,
                Err(_) => Err(LoadError::Ended),
            };
            match loaded.and(id) {
                Ok(id) => return self.name_it(&id).await.map(|()| id),
                Err(error) if !left_out => return Err(error.failure(&label)),
                Err(error) => {
                    tracing::warn!(?error, "everything is sent once more, also the layers that were left out");
                    self.remove_parts().await?;
                }
            }
        }
    }

    /// Removes the images of the batches, also of a load that was killed.
    async fn remove_parts(&self) -> Result<(), Failure> {
        let prefix = self.prefix();
        let tags = self.engine.retention_tags(self.name).await?;
        for (tag, _) in tags.iter().filter(|(tag, _)| tag.starts_with(&prefix)) {
            self.engine.untag(tag).await?;
        }
        Ok(())
    }

    /// What tags of ours begin with that images have while they are loaded.
    fn prefix(&self) -> String {
        format!("{}:{PART}", retention_repository(self.name))
    }

    fn room(&self, store: &StoreFacts, needed: u64) -> Option<Room> {
        Some(Room { folder: store.folder.clone(), free: self.engine.free(&store.folder)?, needed })
    }

    /// Whether a loaded image is the wanted one: its layers and its config, or what little is known of a compressed archive.
    fn is_wanted(&self, image: &ImageInspect, candidate: &Renamed, loaded: usize, store: ImageStore) -> bool {
        let has_id = |id: &ContentDigest| image.id.as_deref() == Some(id.as_str());
        match self.pin {
            ImagePin::Content { diff_ids, config, .. } => {
                layers_are(image, diff_ids) && (store == ImageStore::Containerd || has_id(config))
            }
            ImagePin::Unread { id, .. } => {
                let is_named = |wanted| candidate.references.iter().any(|name| is_same(name, wanted));
                self.reference.map_or(loaded == 1, is_named) && id.as_ref().is_none_or(has_id)
            }
            ImagePin::Registry { .. } | ImagePin::Unknown { .. } => false,
        }
    }
}

pub(crate) fn bad(location: &ArchiveLocation, why: &str) -> Failure {
    Failure::new(Kind::Image, format!("{location}: {why}"))
        .next("make it with `docker save --output …` and upload it again, or correct x-balehook.container.image")
}
