//! What a reference stands for: in the engine, in its registry, or in a release that is kept.

use std::time::Duration;

use crate::config::Pull;
use crate::error::{Failure, Kind, ObserveFailure};
use crate::images::facts::ImageFacts;
use crate::images::pull;
use crate::modes::facts::Facts;
use crate::modes::observe::Observer;
use crate::values::pin::ImagePin;
use crate::values::reference::ImageReference;

/// How a registry is asked.
pub(super) struct Asked {
    pub(super) pull: Pull,
    /// How long it may take until it has the image.
    pub(super) wait: Duration,
    /// The image of a kept release may be taken where it does not answer; in place of a digest none may.
    pub(super) or_kept: bool,
}

impl Observer<'_> {
    pub(super) async fn of_registry(&self, reference: &ImageReference, how: &Asked, facts: &mut Facts) -> ImageFacts {
        let own = match how.pull {
            Pull::Always => None,
            Pull::Missing | Pull::Never => self.own(reference, facts).await,
        };
        match (own, how.pull) {
            (Some(pin), _) => ImageFacts { from_host: true, ..ImageFacts::of(pin) },
            (None, Pull::Never) => self.lacking(reference, facts),
            (None, Pull::Always | Pull::Missing) => self.resolve(reference, how, facts).await,
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
            return ImageFacts::unknown(reference.to_string(), "no engine to ask");
        }
        let lacks = format!("the engine has no image {reference}, and `pull: never` forbids to pull it");
        if !facts.put_off_object(&lacks) {
            let failure = Failure::new(Kind::Image, &lacks)
                .next("load or pull it before (when the AMI is built), or write `pull: missing`");
            facts.failures.push(ObserveFailure { failure, definite: true });
        }
        let why = facts.not_yet.last().filter(|line| line.starts_with(&lacks)).unwrap_or(&lacks);
        ImageFacts::unknown(reference.to_string(), why)
    }

    async fn resolve(&self, reference: &ImageReference, how: &Asked, facts: &mut Facts) -> ImageFacts {
        let repository = reference.repository();
        let tag = reference.tag().map(str::to_owned);
        if let Some(digest) = reference.digest() {
            let pin = ImagePin::Registry { repository: repository.clone(), tag: tag.clone(), digest: digest.clone() };
            if how.wait.is_zero() || self.has(&pin).await {
                return ImageFacts::of(pin);
            }
        }
        let (Ok(engine), Some(_)) = (&self.engine, facts.engine.yes()) else {
            return ImageFacts::unknown(reference.to_string(), "no engine to ask the registry with");
        };
        match pull::resolve(engine, reference, how.wait, &self.credentials).await {
            Ok(digest) => ImageFacts::of(ImagePin::Registry { repository, tag, digest }),
            Err(failed) => {
                if how.or_kept
                    && let Some(pin) = self.kept(reference, facts).await
                {
                    let kept = pin.describe();
                    let line = format!("{}: the image of a kept release is taken, {kept}", failed.failure.message);
                    facts.warnings.push(line);
                    return ImageFacts::of(pin);
                }
                let image = ImageFacts::unknown(reference.to_string(), &failed.failure.message);
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
        self.has(&pin).await.then_some(pin)
    }

    async fn has(&self, pin: &ImagePin) -> bool {
        let Ok(engine) = &self.engine else { return false };
        engine.find(pin, &self.deployment.name).await.is_ok_and(|found| found.is_some())
    }
}
