//! Registries through the engine: credentials in the form that it takes, digests of tags, pulls.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::HeaderValue;

use crate::engine::Engine;
use crate::engine::call::CallError;
use crate::error::{Failure, Kind, ObserveFailure};
use crate::images::credentials;
use crate::images::credentials::CredentialSettings;
use crate::values::progress::{FollowTransfer, TransferProgress};
use crate::values::reference::ImageReference;
use crate::values::text::seconds;
use crate::values::types::ContentDigest;

/// What to do about a registry that does not answer.
const UNREACHABLE: &str = "can this host reach the registry (DNS, security group, VPC endpoint, proxy)?";

/// The digest that a tag stands for now.
/// Errors: [`Kind::Image`] with the registry's words; [`Kind::Engine`] where the engine does not answer.
pub(crate) async fn resolve(
    engine: &Engine,
    reference: &ImageReference,
    settings: &CredentialSettings,
) -> Result<ContentDigest, ObserveFailure> {
    let (registry, image) = (reference.registry(), reference.to_string());
    let auth = auth_header(registry, settings).await.map_err(|failure| ObserveFailure { failure, definite: true })?;
    let asked = engine.registry_digest(&image, auth);
    let digest = match engine.waits.on(|waited| not_yet(engine, registry, &image, waited), asked).await {
        Err(error) if error.is_silence() => return Err(silent(engine, registry, &image, &error).await),
        digest => digest.map_err(|error| refusal(&image, &error))?,
    };
    digest.parse().map_err(|why| ObserveFailure {
        failure: Failure::new(Kind::Image, format!("{registry} gives `{digest}` for {reference}, which {why}")),
        definite: true,
    })
}

/// Pulls `repository@digest`.
pub(crate) async fn pull(
    engine: &Engine,
    registry: &str,
    pinned: &str,
    platform: Option<&str>,
    settings: &CredentialSettings,
    follow: FollowTransfer,
) -> Result<(), Failure> {
    let auth = auth_header(registry, settings).await?;
    let mut stream = std::pin::pin!(engine.pull(pinned, platform, auth));
    let mut progress = Layers::new(follow(format!("pull {pinned}"), None));
    loop {
        let next = stream.next();
        // What the engine unpacks needs no registry.
        let info = match progress.is_unpacking {
            true => next.await,
            false => engine.waits.on(|waited| not_yet(engine, registry, pinned, waited), next).await,
        };
        let Some(info) = info else { break };
        match info {
            Ok(info) => progress.take(&info),
            Err(error) if error.is_silence() && !progress.is_unpacking => {
                return Err(silent(engine, registry, pinned, &error).await.failure);
            }
            Err(error) => return Err(refusal(pinned, &error).failure),
        }
    }
    progress.progress.finish();
    Ok(())
}

/// The engine waits for the registry, or does not answer at all.
async fn silent(engine: &Engine, registry: &str, image: &str, error: &CallError) -> ObserveFailure {
    if !engine.is_alive().await {
        return refusal(image, error);
    }
    let message = format!("registry {registry} has not answered for {}: {image}", seconds(error.waited()));
    ObserveFailure { failure: Failure::new(Kind::Image, message).next(UNREACHABLE), definite: false }
}

/// The same before it is known whether the engine is alive.
fn not_yet(engine: &Engine, registry: &str, image: &str, waited: Duration) -> String {
    let address = &engine.address;
    format!("registry {registry} has not answered the engine at {address} for {}: {image}", seconds(waited))
}

/// The `X-Registry-Auth` header of a registry; `None` where no credentials are configured.
/// Errors: A credential helper failed, or the credential fits into no header.
pub(crate) async fn auth_header(registry: &str, settings: &CredentialSettings) -> Result<Option<HeaderValue>, Failure> {
    let found = credentials::for_registry(registry, settings).await.map_err(|error| Failure::from(&error))?;
    let Some(credential) = found else { return Ok(None) };
    let mut header = HeaderValue::from_str(&credential.to_registry_auth())
        .map_err(|_| Failure::new(Kind::Image, format!("the credential for {registry} cannot be sent in a header")))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn refusal(image: &str, error: &CallError) -> ObserveFailure {
    let words = &error.message;
    if !error.is_refusal() {
        return ObserveFailure {
            failure: error.failure_of(Kind::Engine, &format!("ask for {image}")),
            definite: false,
        };
    }
    let has = |parts: &[&str]| parts.iter().any(|part| words.to_lowercase().contains(part));
    let (next, definite) = if has(&["unauthorized", "denied", "no basic auth", "authentication required", "forbidden"])
    {
        ("check the registry's credentials: docker's config.json, the credential helper, the instance role", true)
    } else if has(&["not found", "manifest unknown", "name unknown", "does not exist"]) {
        ("was that tag or digest pushed to that repository, in that region and account?", true)
    } else if has(&["no matching manifest"]) {
        ("push an image for this host's processor, or set `platform:`", true)
    } else if has(&[
        "dial tcp", "no such host", "connection refused", "timeout", "deadline exceeded", "network is unreachable",
    ]) {
        (UNREACHABLE, false)
    } else {
        ("the engine's own log says more", true)
    };
    let failure = Failure::new(Kind::Image, format!("cannot get {image}: {words}")).next(next);
    ObserveFailure { failure, definite }
}

/// Sums the layers' bytes of a pull.
struct Layers {
    progress: Box<dyn TransferProgress>,
    seen: std::collections::HashMap<String, u64>,
    /// The engine works on what it has; nothing needs to come.
    is_unpacking: bool,
}

impl Layers {
    fn new(progress: Box<dyn TransferProgress>) -> Self {
        Self { progress, seen: std::collections::HashMap::new(), is_unpacking: false }
    }

    fn take(&mut self, info: &bollard::models::CreateImageInfo) {
        self.is_unpacking = info.status.as_deref() == Some("Extracting");
        let (Some(id), Some("Downloading")) = (&info.id, info.status.as_deref()) else { return };
        let current = info.progress_detail.as_ref().and_then(|detail| detail.current);
        if let Some(current) = current.and_then(|bytes| u64::try_from(bytes).ok()) {
            self.seen.insert(id.clone(), current);
            self.progress.at(self.seen.values().sum());
        }
    }
}
