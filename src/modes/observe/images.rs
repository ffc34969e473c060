//! What is wanted of an image, and whether the engine has it.

use crate::config::verify::Verify;
use crate::config::{ArchiveLocation, ImageNeed, ImageSource};
use crate::engine::StoreFacts;
use crate::error::{Failure, ObserveFailure};
use crate::images::delta::Delta;
use crate::images::facts::{ImageFacts, Room};
use crate::modes::facts::Facts;
use crate::modes::observe::Observer;
use crate::modes::observe::archives::Wanted;
use crate::modes::observe::offline::OFFLINE;
use crate::modes::observe::registry::Asked;
use crate::values::pin::ImagePin;

/// How much larger than a compressed archive its image becomes while it is loaded: what the layers are compressed by,
/// and the engine's own copy.
const UNPACKED: u64 = 4;

impl Observer<'_> {
    /// One image that the deployment needs; one that was looked up already is not looked up again.
    pub(crate) async fn image(&self, need: &ImageNeed, facts: &mut Facts) {
        let key = need.key(&self.deployment.bundle_root);
        if facts.images.iter().any(|image| image.key == key) {
            return;
        }
        let mut resolved = self.store.resolved(&self.origin.deployment).into_iter().filter(|_| !self.offline);
        let resolved = resolved.find(|(known, _)| *known == key);
        let known = facts.failures.len();
        let mut image = match (resolved, &need.source) {
            _ if self.may_not_fetch(need) => ImageFacts::unknown(
                need.source.written(&self.deployment.bundle_root),
                "the host's policy does not allow it",
            ),
            (None, ImageSource::Archive { location, .. }) if self.is_elsewhere(location) => {
                ImageFacts::unknown(location.to_string(), OFFLINE)
            }
            (Some((_, pin)), _) => ImageFacts::of(pin),
            (None, ImageSource::Registry(reference, pull, verify, wait)) => {
                let how = Asked { pull: *pull, wait: *wait, or_kept: verify.is_none() && reference.digest().is_none() };
                let image = self.of_registry(reference, &how, facts).await;
                match verify {
                    Some(verify) => self.trusted(reference, verify, need.platform.as_deref(), image, facts).await,
                    None => image,
                }
            }
            (None, ImageSource::Archive { location, reference, id, verify }) => {
                let verify = verify.as_deref();
                let wanted = Wanted { location, reference: reference.as_ref(), id: id.as_ref(), verify };
                self.index(&key, &wanted, need.platform.as_deref(), facts).await
            }
        };
        image.key = key;
        let said = |verify: &Verify| verify.said(&self.deployment.bundle_root);
        image.verify = need.source.verify().map(said);
        for failed in &mut facts.failures[known..] {
            failed.failure = self.placed(&need.source, failed.failure.clone());
        }
        if let Err(failure) = self.presence(&mut image, facts).await {
            facts.failures.push(ObserveFailure { failure, definite: false });
        }
        if let ImageSource::Archive { location, .. } = &need.source {
            self.missing(location, need.platform.as_deref(), &mut image, facts).await;
        }
        facts.images.push(image);
    }

    /// The failure to have an image, with the place of its source.
    fn placed(&self, source: &ImageSource, failure: Failure) -> Failure {
        let is_meant = |text: &str| match source {
            ImageSource::Registry(reference, ..) => text.parse().as_ref() == Ok(reference),
            ImageSource::Archive { location, .. } => self.deployment.is_location(text, location),
        };
        self.deployment.placed(&["image", "images"], is_meant, failure)
    }

    /// Opens and indexes the archive while the engine answers: what asks for it later finds it done. Not where it need not
    /// be asked at all, nor where the engine, whose processor decides, is another host's.
    pub(crate) async fn open_ahead(&self, need: &ImageNeed) {
        let ImageSource::Archive { location, id: None, .. } = &need.source else { return };
        let is_here = self.engine.as_ref().is_ok_and(|engine| engine.address.starts_with("unix://"));
        let key = need.key(&self.deployment.bundle_root);
        let is_resolved = self.store.resolved(&self.origin.deployment).iter().any(|(known, _)| *known == key);
        if is_here && !is_resolved && !self.may_not_fetch(need) {
            let wanted = architecture(need.platform.as_deref(), Some(host_architecture()));
            // Who needs it finds out why it cannot be opened.
            let _ = self.archives.open(location, wanted.as_deref()).await;
        }
    }

    fn may_not_fetch(&self, need: &ImageNeed) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.refuses_image(&need.source))
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
pub(super) fn architecture(platform: Option<&str>, engine: Option<&str>) -> Option<String> {
    platform.map(|platform| platform.split('/').nth(1).unwrap_or(platform)).or(engine).map(str::to_owned)
}

pub(super) fn engine_architecture(facts: &Facts) -> Option<&str> {
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
