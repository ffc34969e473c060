//! Whether an image of a registry is what `verify` asks for, before the engine pulls it.

use crate::config::verify::Verify;
use crate::error::{Failure, Kind, ObserveFailure};
use crate::images::facts::ImageFacts;
use crate::images::verify::{InRegistry, in_registry};
use crate::modes::facts::Facts;
use crate::modes::observe::Observer;
use crate::modes::observe::images::{architecture, engine_architecture};
use crate::modes::observe::offline::OFFLINE;
use crate::values::pin::ImagePin;
use crate::values::reference::ImageReference;

impl Observer<'_> {
    /// The same image where all of it holds, and one that is unknown where not.
    pub(super) async fn trusted(
        &self,
        reference: &ImageReference,
        verify: &Verify,
        platform: Option<&str>,
        image: ImageFacts,
        facts: &mut Facts,
    ) -> ImageFacts {
        if image.unknown.is_some() {
            return image;
        }
        let unknown = |why: &str| ImageFacts::unknown(reference.to_string(), why);
        if self.offline {
            return unknown(OFFLINE);
        }
        if let Some(line) = self.key_is_to_come(verify, facts) {
            return unknown(&line);
        }
        let architecture = architecture(platform, engine_architecture(facts));
        let holds = match &image.pin {
            ImagePin::Registry { digest, .. } => {
                let wanted = InRegistry { reference, digest, architecture: architecture.as_deref() };
                in_registry(verify, &wanted, &self.credentials, &self.deployment.bundle_root).await
            }
            ImagePin::Content { .. } | ImagePin::Unread { .. } | ImagePin::Unknown { .. } => {
                Err(of_no_registry(reference))
            }
        };
        match holds {
            Ok(found) => ImageFacts { findings: found.map(|found| found.to_string()), ..image },
            Err(failed) => {
                let image = unknown(&failed.failure.message);
                facts.failures.push(failed);
                image
            }
        }
    }
}

fn of_no_registry(reference: &ImageReference) -> ObserveFailure {
    let message = format!("{reference} cannot be verified: the engine has it, but from no registry");
    let next = "leave `pull` out, so that it is pulled, or name its archive with `verify`";
    ObserveFailure { failure: Failure::new(Kind::Image, message).next(next), definite: true }
}
