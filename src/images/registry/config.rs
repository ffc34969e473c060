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
    let is_wanted = |found: &&Descriptor| match (&found.platform, architecture) {
        (Some(platform), Some(wanted)) => platform.architecture == wanted,
        _ => true,
    };
    let mut all = Vec::new();
    for found in manifests.iter().filter(is_wanted) {
        let Document { config, .. } = document(repository, &found.digest).await?;
        all.push(of(repository, config).await?);
    }
    if all.is_empty() { Err(format!("it has no image for {}", architecture.unwrap_or_default())) } else { Ok(all) }
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
