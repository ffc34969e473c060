//! Registries through the engine: credentials in the form that it takes, digests of tags, pulls.

use std::time::Duration;

use bollard::models::CreateImageInfo;
use futures_util::{Stream, StreamExt as _};
use http::HeaderValue;

use crate::engine::Engine;
use crate::engine::call::CallError;
use crate::error::{Failure, Kind, ObserveFailure};
use crate::images::credentials;
use crate::images::credentials::CredentialSettings;
use crate::poll;
use crate::values::progress::{FollowTransfer, TransferProgress};
use crate::values::reference::ImageReference;
use crate::values::text::seconds;
use crate::values::types::ContentDigest;

/// What to do about a registry that does not answer.
const UNREACHABLE: &str = "can this host reach the registry (DNS, security group, VPC endpoint, proxy)?";

/// How often a registry is asked, or an image pulled, that may come the next time.
const ATTEMPTS: u32 = 4;

/// In the words of Go's HTTP client, of the registries' own answers, and of the containerd store whose content a
/// `docker image prune` takes away while it is pulled (moby/moby#53321).
const PASSING: [&str; 15] = [
    "unexpected eof",
    "connection reset by peer",
    "broken pipe",
    "tls handshake timeout",
    "server misbehaving",
    "temporary failure in name resolution",
    "toomanyrequests",
    "429 ",
    "500 internal server error",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway time",
    "lease does not exist",
    "failed commit on ref",
    "content digest",
];

/// A registry's limit holds for hours; a full disk is no matter of the registry. Who did not answer in time is not here
/// either: that was waited for already.
const LASTING: [&str; 2] = ["pull rate limit", "no space left"];

/// Between two questions about an image that the registry does not have yet.
const LAG: Duration = Duration::from_secs(3);

/// The digest that a tag stands for now; one that is not there yet is waited for.
/// Errors: [`Kind::Image`] with the registry's words; [`Kind::Engine`] where the engine does not answer.
pub(crate) async fn resolve(
    engine: &Engine,
    reference: &ImageReference,
    wait: Duration,
    settings: &CredentialSettings,
) -> Result<ContentDigest, ObserveFailure> {
    let (registry, image) = (reference.registry(), reference.to_string());
    let auth = auth_header(registry, settings).await.map_err(|failure| ObserveFailure { failure, definite: true })?;
    let once = async || {
        let asked = engine.registry_digest(&image, auth.clone());
        engine.waits.on(|waited| not_yet(engine, registry, &image, waited), asked).await
    };
    let is_open = |asked: &Result<_, CallError>| asked.as_ref().is_err_and(|error| is_passing(&image, error));
    let asked = async || poll::at_most(ATTEMPTS, pause, is_open, once).await;
    let digest = match until_there(engine, &image, wait, asked).await {
        Err(error) if error.is_silence() => return Err(silent(engine, registry, &image, &error).await),
        Err(error) if !wait.is_zero() && is_missing(&error) => {
            let mut failed = refusal(&image, &error);
            failed.failure.message += &format!(" (after {} of `wait`)", seconds(wait));
            return Err(failed);
        }
        digest => digest.map_err(|error| refusal(&image, &error))?,
    };
    digest.parse().map_err(|why| ObserveFailure {
        failure: Failure::new(Kind::Image, format!("{registry} gives `{digest}` for {reference}, which {why}")),
        definite: true,
    })
}

/// Asks again while the registry does not have it: a copy from another region or registry takes a while.
async fn until_there(
    engine: &Engine,
    image: &str,
    wait: Duration,
    asked: impl AsyncFn() -> Result<String, CallError>,
) -> Result<String, CallError> {
    let is_missing = |asked: &Result<_, CallError>| asked.as_ref().is_err_and(is_missing);
    let first = asked().await;
    if wait.is_zero() || !is_missing(&first) {
        return first;
    }
    engine.waits.say(&format!("waiting up to {} for {image}: the registry does not have it yet", seconds(wait)));
    let words = |waited| format!("{image} is not in its registry, for {} now", seconds(waited));
    let mut first = Some(first);
    let once = async || match first.take() {
        Some(first) => first,
        None => asked().await,
    };
    engine.waits.on(words, poll::while_open(wait, LAG, is_missing, once)).await
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
    let once = async || {
        let mut progress = Layers::new(follow(format!("pull {pinned}"), None));
        let pulled =
            pull_once(engine, registry, engine.pull(pinned, platform, auth.clone()), pinned, &mut progress).await;
        pulled.map(|()| progress.progress.finish()).map_err(|error| (error, progress.is_unpacking))
    };
    let is_open = |pulled: &Result<(), _>| pulled.as_ref().is_err_and(|(error, _)| is_passing(pinned, error));
    match poll::at_most(ATTEMPTS, pause, is_open, once).await {
        Ok(()) => Ok(()),
        Err((error, false)) if error.is_silence() => Err(silent(engine, registry, pinned, &error).await.failure),
        Err((error, _)) => Err(refusal(pinned, &error).failure),
    }
}

async fn pull_once(
    engine: &Engine,
    registry: &str,
    stream: impl Stream<Item = Result<CreateImageInfo, CallError>>,
    pinned: &str,
    progress: &mut Layers,
) -> Result<(), CallError> {
    let mut stream = std::pin::pin!(stream);
    loop {
        let next = stream.next();
        // What the engine unpacks needs no registry.
        let info = match progress.is_unpacking {
            true => next.await,
            false => engine.waits.on(|waited| not_yet(engine, registry, pinned, waited), next).await,
        };
        match info {
            Some(info) => progress.take(&info?),
            None => return Ok(()),
        }
    }
}

/// The pause after an attempt.
const fn pause(attempt: u32) -> Duration {
    Duration::from_secs(1 << (attempt - 1))
}

/// Whether what the engine says may be over in a moment: nobody else tries a manifest again, and layers only some stores.
fn is_passing(image: &str, error: &CallError) -> bool {
    let words = error.message.to_lowercase();
    let is_passing = error.is_refusal()
        && !LASTING.iter().any(|part| words.contains(part))
        && (PASSING.iter().any(|part| words.contains(part)) || words.ends_with(": eof"));
    if is_passing {
        tracing::warn!(image, error.message, "the registry or the engine broke off");
    }
    is_passing
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

/// In the words of registries and of engines.
const DENIED: [&str; 5] = ["unauthorized", "denied", "no basic auth", "authentication required", "forbidden"];

/// Whether the registry has no such tag, digest or repository.
fn is_missing(error: &CallError) -> bool {
    let words = error.message.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    error.is_refusal() && !has(&DENIED) && has(&["not found", "manifest unknown", "name unknown", "does not exist"])
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
    let (next, definite) = if has(&DENIED) {
        ("check the registry's credentials: docker's config.json, the credential helper, the instance role", true)
    } else if is_missing(error) {
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

    fn take(&mut self, info: &CreateImageInfo) {
        self.is_unpacking = info.status.as_deref() == Some("Extracting");
        let (Some(id), Some("Downloading")) = (&info.id, info.status.as_deref()) else { return };
        let current = info.progress_detail.as_ref().and_then(|detail| detail.current);
        if let Some(current) = current.and_then(|bytes| u64::try_from(bytes).ok()) {
            self.seen.insert(id.clone(), current);
            self.progress.at(self.seen.values().sum());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_may_answer_otherwise_in_a_moment_is_asked_again_and_nothing_else() {
        let is_passing = |words: &str| is_passing("web:1", &CallError::refused(None, words));
        for words in [
            "Get \"https://registry.test:5443/v2/\": EOF",
            "error pulling image configuration: unexpected EOF",
            "Get \"https://r/v2/\": read tcp 10.0.0.2:38706->10.0.0.1:443: read: connection reset by peer",
            "Get \"https://r/v2/\": net/http: TLS handshake timeout",
            "Get \"https://r/v2/\": dial tcp: lookup r on 10.0.0.1:53: server misbehaving",
            "toomanyrequests: Rate exceeded",
            "received unexpected HTTP status: 503 Service Unavailable",
            "error parsing HTTP 429 response body: invalid character 'T' looking for beginning of value",
            "failed to resolve reference \"r/web:1\": unexpected status from HEAD request to r: 502 Bad Gateway",
            "unable to lease content: lease does not exist: not found",
            "failed commit on ref \"manifest-sha256:12\": commit failed: rename a b: no such file or directory",
            "failed to extract layer sha256:12: failed to get reader from content store: content digest sha256:12: not found",
        ] {
            assert!(is_passing(words), "{words}");
        }
        for words in [
            "manifest unknown: manifest unknown",
            "manifest for r/web@sha256:429e12 not found: manifest unknown",
            "pull access denied for web, repository does not exist or may require 'docker login'",
            "unauthorized: authentication required",
            "no basic auth credentials",
            "toomanyrequests: You have reached your pull rate limit.",
            "Get \"https://r/v2/\": dial tcp 127.0.0.1:9: connect: connection refused",
            "Get \"https://r/v2/\": dial tcp 10.0.0.1:443: i/o timeout",
            "net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
            "Get \"https://r/v2/\": dial tcp: lookup r: no such host",
            "Get \"https://r/v2/\": x509: certificate signed by unknown authority",
            "failed to register layer: write /a: no space left on device",
            "failed commit on ref \"layer-sha256:12\": write /a: no space left on device",
            "no matching manifest for linux/amd64 in the manifest list entries",
        ] {
            assert!(!is_passing(words), "{words}");
        }
    }
}
