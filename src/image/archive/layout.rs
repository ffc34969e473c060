//! `manifest.json` and `index.json`: which images, with which config and layers.
//!
//! Source: Docker image specification v1.2 (`docker save`) and OCI image layout.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::walk::{Entries, Entry};
use super::{ArchiveError, ArchivedImage, LayerEntry, ReadAt};
use crate::spec::types::ContentDigest;

/// Largest JSON document that is read, in bytes.
const MAX_JSON: u64 = 4 * 1024 * 1024;
/// Most links that are followed from one name.
const MAX_LINKS: usize = 8;
/// Most images of an archive.
const MAX_IMAGES: usize = 1024;
/// Indexes in indexes.
const MAX_NESTING: usize = 4;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: ContentDigest,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
}

#[derive(Deserialize)]
struct OciIndex {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct OciManifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Config {
    architecture: String,
    os: String,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<ContentDigest>,
}

/// The archive's images.
pub(super) async fn images(
    archive: &impl ReadAt,
    entries: &Entries,
    architecture: Option<&str>,
) -> Result<Vec<ArchivedImage>, ArchiveError> {
    let reader = Reader { archive, entries };
    if entries.contains_key("manifest.json") {
        let saved: Vec<SavedImage> = reader.json("manifest.json").await?;
        return reader.saved(saved).await;
    }
    if entries.contains_key("index.json") {
        return reader.layout(architecture).await;
    }
    let some: Vec<&str> = entries.keys().take(3).map(String::as_str).collect();
    Err(ArchiveError::NoManifest(if some.is_empty() {
        "it is empty".into()
    } else {
        format!("it has {}, …", some.join(", "))
    }))
}

struct Reader<'a, A> {
    archive: &'a A,
    entries: &'a Entries,
}

impl<A: ReadAt> Reader<'_, A> {
    async fn saved(&self, saved: Vec<SavedImage>) -> Result<Vec<ArchivedImage>, ArchiveError> {
        if saved.is_empty() || saved.len() > MAX_IMAGES {
            return Err(bad("manifest.json", format!("it lists {} images", saved.len())));
        }
        let mut images = Vec::new();
        for image in saved {
            let references = image.repo_tags.unwrap_or_default();
            images.push(self.image(&image.config, &image.layers, references).await?);
        }
        Ok(images)
    }

    async fn layout(&self, architecture: Option<&str>) -> Result<Vec<ArchivedImage>, ArchiveError> {
        let index: OciIndex = self.json("index.json").await?;
        let mut pending: Vec<(Descriptor, Option<String>, usize)> =
            index.manifests.into_iter().rev().map(|found| (found, None, 0)).collect();
        let mut images = Vec::new();
        while let Some((descriptor, name, depth)) = pending.pop() {
            let name = reference_of(&descriptor).or(name);
            if is_other_platform(&descriptor, architecture) {
                continue;
            }
            if descriptor.media_type.ends_with("index.v1+json")
                || descriptor.media_type.ends_with("manifest.list.v2+json")
            {
                if depth == MAX_NESTING || pending.len() > MAX_IMAGES {
                    return Err(bad("index.json", "its indexes are nested too deep".into()));
                }
                let nested: OciIndex = self.json(&blob(&descriptor.digest)).await?;
                pending.extend(nested.manifests.into_iter().rev().map(|found| (found, name.clone(), depth + 1)));
                continue;
            }
            let manifest: OciManifest = self.json(&blob(&descriptor.digest)).await?;
            let layers: Vec<String> = manifest.layers.iter().map(|layer| blob(&layer.digest)).collect();
            images.push(self.image(&blob(&manifest.config.digest), &layers, name.into_iter().collect()).await?);
        }
        match images.is_empty() {
            true => {
                Err(bad("index.json", format!("it lists no image for {}", architecture.unwrap_or("any processor"))))
            }
            false => Ok(images),
        }
    }

    async fn image(
        &self,
        config: &str,
        layers: &[String],
        references: Vec<String>,
    ) -> Result<ArchivedImage, ArchiveError> {
        let bytes = self.bytes(config).await?;
        let parsed: Config = parse(config, &bytes)?;
        if parsed.rootfs.diff_ids.len() != layers.len() {
            let why = format!("it has {} layers, the manifest {}", parsed.rootfs.diff_ids.len(), layers.len());
            return Err(bad(config, why));
        }
        let layers: Result<Vec<LayerEntry>, ArchiveError> = layers
            .iter()
            .map(|name| {
                self.entry(name).map(|entry| LayerEntry { name: name.clone(), offset: entry.offset, size: entry.size })
            })
            .collect();
        Ok(ArchivedImage {
            config_digest: ContentDigest::of(&bytes),
            references,
            diff_ids: parsed.rootfs.diff_ids,
            architecture: parsed.architecture,
            os: parsed.os,
            layers: layers?,
        })
    }

    async fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, ArchiveError> {
        parse(name, &self.bytes(name).await?)
    }

    async fn bytes(&self, name: &str) -> Result<bytes::Bytes, ArchiveError> {
        let entry = self.entry(name)?;
        if entry.size > MAX_JSON {
            return Err(bad(name, format!("it has {} bytes; at most {MAX_JSON} are read", entry.size)));
        }
        Ok(self.archive.read_at(entry.offset, usize::try_from(entry.size).unwrap_or(0)).await?)
    }

    /// The entry of that name, links followed.
    fn entry(&self, name: &str) -> Result<&Entry, ArchiveError> {
        let mut at = name;
        for _ in 0..MAX_LINKS {
            let entry = self.entries.get(at).ok_or_else(|| bad(name, "the archive has no such entry".into()))?;
            match &entry.link {
                None => return Ok(entry),
                Some(link) => at = link,
            }
        }
        Err(bad(name, format!("more than {MAX_LINKS} links lead to it")))
    }
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(bytes).map_err(|error| bad(name, error.to_string()))
}

fn bad(entry: &str, why: String) -> ArchiveError {
    ArchiveError::BadJson { entry: crate::report::text::shorten(&crate::report::text::printable(entry), 100), why }
}

fn blob(digest: &ContentDigest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// containerd writes the whole name, others at least the tag.
fn reference_of(descriptor: &Descriptor) -> Option<String> {
    let annotation = |key: &str| descriptor.annotations.get(key).cloned();
    annotation("io.containerd.image.name").or_else(|| annotation("org.opencontainers.image.ref.name"))
}

/// Attestations have the platform `unknown`.
fn is_other_platform(descriptor: &Descriptor, architecture: Option<&str>) -> bool {
    let Some(platform) = &descriptor.platform else { return false };
    platform.architecture == "unknown" || architecture.is_some_and(|wanted| platform.architecture != wanted)
}
