//! The config of an image in a registry, which says what it is before it is pulled.

use serde::Deserialize;

use crate::images::registry::Repository;
use crate::values::types::ContentDigest;

#[derive(Deserialize)]
struct Document {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: ContentDigest,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
}

/// The configs of the images that an engine may take of this digest: of several platforms those of one processor.
/// Errors: Why there is none, in one line.
pub(crate) async fn configs(
    repository: &Repository,
    digest: &ContentDigest,
    architecture: Option<&str>,
) -> Result<Vec<Vec<u8>>, String> {
    let Document { manifests, config } = document(repository, digest).await?;
    let Some(manifests) = manifests else { return Ok(vec![of(repository, config).await?]) };
    let mut all = Vec::new();
    for digest in wanted(manifests, architecture)? {
        let Document { config, .. } = document(repository, &digest).await?;
        all.push(of(repository, config).await?);
    }
    Ok(all)
}

/// The digests of their manifests: an index has none of its own layers, and is scanned by nobody.
/// Errors: As [`configs`].
pub(crate) async fn manifests(
    repository: &Repository,
    digest: &ContentDigest,
    architecture: Option<&str>,
) -> Result<Vec<ContentDigest>, String> {
    match document(repository, digest).await?.manifests {
        Some(manifests) => wanted(manifests, architecture),
        None => Ok(vec![digest.clone()]),
    }
}

/// Those of an index that an engine may take.
fn wanted(manifests: Vec<Descriptor>, architecture: Option<&str>) -> Result<Vec<ContentDigest>, String> {
    let is_wanted = |found: &Descriptor| match (&found.platform, architecture) {
        (Some(platform), Some(wanted)) => platform.architecture == wanted,
        // What says how an image was built is of no platform.
        (Some(platform), None) => platform.architecture != "unknown",
        (None, _) => true,
    };
    let all: Vec<_> = manifests.into_iter().filter(is_wanted).map(|found| found.digest).collect();
    if all.is_empty() {
        Err(format!("it has no image for {}", architecture.unwrap_or("any platform")))
    } else {
        Ok(all)
    }
}

async fn document(repository: &Repository, digest: &ContentDigest) -> Result<Document, String> {
    let text = repository.manifest(digest.as_str()).await?;
    let text = text.ok_or_else(|| format!("its registry has no manifest {digest}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("its manifest {digest} cannot be read: {error}"))
}

async fn of(repository: &Repository, config: Option<Descriptor>) -> Result<Vec<u8>, String> {
    match config {
        Some(config) => repository.blob(&config.digest).await,
        None => Err("its manifest names no config".into()),
    }
}
