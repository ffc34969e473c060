//! Registries through the engine: credentials in the form that it takes, digests of tags, pulls.

use std::time::Duration;

use bollard::errors::Error;
use bollard::{Docker, query_parameters as query};
use futures_util::StreamExt as _;
use http::HeaderValue;

use crate::engine::{Engine, cause, status};
use crate::error::{Failure, Kind};
use crate::images::credentials;
use crate::images::credentials::CredentialSettings;
use crate::ui::progress::Progress;
use crate::values::reference::ImageReference;
use crate::values::types::ContentDigest;

/// A pull that reports nothing for so long is given up.
const IDLE: Duration = Duration::from_secs(300);

/// Why a registry did not give what was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For the report.
    pub failure: Failure,
    /// The registry was asked and said no.
    pub definite: bool,
}

/// The digest that a tag stands for now.
///
/// # Errors
/// [`Kind::Image`] with the registry's words; [`Kind::Engine`] where the engine does not answer.
pub async fn resolve(
    engine: &Engine,
    reference: &ImageReference,
    settings: &CredentialSettings,
) -> Result<ContentDigest, Refusal> {
    let docker = with_credentials(engine, reference.registry(), settings)
        .await
        .map_err(|failure| Refusal { failure, definite: true })?;
    let found = docker.inspect_registry_image(&reference.to_string(), None).await;
    let found = found.map_err(|error| refusal(engine, &reference.to_string(), &error))?;
    let digest = found.descriptor.digest.unwrap_or_default();
    digest.parse().map_err(|why| Refusal {
        failure: Failure::new(
            Kind::Image,
            format!("{} gives `{digest}` for {reference}, which {why}", reference.registry()),
        ),
        definite: true,
    })
}

/// Pulls `repository@digest`.
///
/// # Errors
/// [`Kind::Image`] with the registry's words.
pub async fn pull(
    engine: &Engine,
    registry: &str,
    pinned: &str,
    platform: Option<&str>,
    settings: &CredentialSettings,
) -> Result<(), Failure> {
    let docker = with_credentials(engine, registry, settings).await?;
    let (repository, digest) = pinned.split_once('@').unwrap_or((pinned, "latest"));
    let mut options = query::CreateImageOptionsBuilder::default().from_image(repository).tag(digest);
    if let Some(platform) = platform {
        options = options.platform(platform);
    }
    let mut stream = docker.create_image(Some(options.build()), None, None);
    let mut progress = Layers::new(pinned);
    loop {
        match tokio::time::timeout(IDLE, stream.next()).await {
            Err(_) => return Err(Failure::new(Kind::Image, format!("pulling {pinned}: no progress for {IDLE:?}"))),
            Ok(None) => break,
            Ok(Some(Ok(info))) => progress.take(&info),
            Ok(Some(Err(error))) => return Err(refusal(engine, pinned, &error).failure),
        }
    }
    progress.progress.finish();
    Ok(())
}

/// The engine with the registry's credentials in every request's header.
///
/// bollard writes that header in an alphabet that the engine silently takes for none, so that it is put right here.
async fn with_credentials(engine: &Engine, registry: &str, settings: &CredentialSettings) -> Result<Docker, Failure> {
    let Some(header) = auth_header(registry, settings).await? else { return Ok(engine.docker.clone()) };
    Ok(engine.docker.clone().with_request_modifier(move |mut request| {
        request.headers_mut().insert("X-Registry-Auth", header.clone());
        request
    }))
}

/// The `X-Registry-Auth` header of a registry; `None` where no credentials are configured.
///
/// # Errors
/// A credential helper failed, or the credential fits into no header.
pub async fn auth_header(registry: &str, settings: &CredentialSettings) -> Result<Option<HeaderValue>, Failure> {
    let found = credentials::for_registry(registry, settings).await.map_err(|error| Failure::from(&error))?;
    let Some(credential) = found else { return Ok(None) };
    let mut header = HeaderValue::from_str(&credential.to_registry_auth())
        .map_err(|_| Failure::new(Kind::Image, format!("the credential for {registry} cannot be sent in a header")))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn refusal(engine: &Engine, image: &str, error: &Error) -> Refusal {
    let words = cause(error);
    let asked = status(error).is_some() || matches!(error, Error::DockerStreamError { .. });
    if !asked {
        return Refusal { failure: engine.failed(&format!("ask for {image}"), error), definite: false };
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
        "dial tcp",
        "no such host",
        "connection refused",
        "timeout",
        "deadline exceeded",
        "network is unreachable",
    ]) {
        ("can this host reach the registry (DNS, security group, VPC endpoint, proxy)?", false)
    } else {
        ("the engine's own log says more", true)
    };
    let failure = Failure::new(Kind::Image, format!("cannot get {image}: {words}")).next(next);
    Refusal { failure, definite }
}

/// Sums the layers' bytes of a pull.
struct Layers {
    progress: Progress,
    seen: std::collections::HashMap<String, u64>,
}

impl Layers {
    fn new(pinned: &str) -> Self {
        Self { progress: Progress::new(format!("pull {pinned}"), None), seen: std::collections::HashMap::new() }
    }

    fn take(&mut self, info: &bollard::models::CreateImageInfo) {
        let (Some(id), Some("Downloading")) = (&info.id, info.status.as_deref()) else { return };
        let current = info.progress_detail.as_ref().and_then(|detail| detail.current);
        if let Some(current) = current.and_then(|bytes| u64::try_from(bytes).ok()) {
            self.seen.insert(id.clone(), current);
            self.progress.at(self.seen.values().sum());
        }
    }
}
