//! `manifest.json` and `index.json`: which images, with which config and layers.
//!
//! Source: Docker image specification v1.2 (`docker save`) and OCI image layout.

use std::cell::Cell;

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
/// Most layers of an image: engines take 127.
const MAX_LAYERS: usize = 1024;
/// All JSON documents of an archive together, in bytes.
const MAX_READ: u64 = 64 * 1024 * 1024;

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
    #[serde(default)]
    os: String,
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
    let reader = Reader { archive, entries, read: Cell::new(0) };
    if entries.contains_key("manifest.json") {
        let saved: Vec<SavedImage> = reader.json("manifest.json").await?;
        let mut images = reader.saved(saved).await?;
        if entries.contains_key("index.json") {
            // Both tell of the same images, and only the layout of their manifests. What it lists beside them, other
            // platforms or attestations, need not be there.
            let manifests = reader.layout(architecture).await.unwrap_or_default();
            images.iter_mut().for_each(|image| take_manifest(image, &manifests));
        }
        return Ok(images);
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

/// The manifest of the same image, where the layout has it.
fn take_manifest(image: &mut ArchivedImage, manifests: &[ArchivedImage]) {
    let same =
        |found: &&ArchivedImage| found.config_digest == image.config_digest && found.layers.len() == image.layers.len();
    if let Some(found) = manifests.iter().find(same) {
        image.manifest.clone_from(&found.manifest);
        image.layers.clone_from(&found.layers);
    }
}

struct Reader<'a, A> {
    archive: &'a A,
    entries: &'a Entries,
    read: Cell<u64>,
}

impl<A: ReadAt> Reader<'_, A> {
    async fn saved(&self, saved: Vec<SavedImage>) -> Result<Vec<ArchivedImage>, ArchiveError> {
        if saved.is_empty() || saved.len() > MAX_IMAGES {
            return Err(bad("manifest.json", format!("it lists {} images", saved.len())));
        }
        let mut images = Vec::new();
        for image in saved {
            let references = image.repo_tags.unwrap_or_default();
            let layers: Vec<_> = image.layers.iter().map(|name| (name.clone(), digest_in(name))).collect();
            images.push(self.image(&image.config, &layers, references).await?);
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
            let entry = blob(&descriptor.digest);
            let bytes = self.bytes(&entry).await?;
            let manifest: OciManifest = parse(&entry, &bytes)?;
            let layers = manifest.layers.into_iter().map(|layer| (blob(&layer.digest), Some(layer.digest)));
            let layers: Vec<_> = layers.collect();
            let image = self.image(&blob(&manifest.config.digest), &layers, name.into_iter().collect()).await?;
            images.push(ArchivedImage { manifest: Some(bytes), ..image });
            if images.len() > MAX_IMAGES {
                return Err(bad("index.json", format!("it lists more than {MAX_IMAGES} images")));
            }
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
        layers: &[(String, Option<ContentDigest>)],
        references: Vec<String>,
    ) -> Result<ArchivedImage, ArchiveError> {
        if layers.len() > MAX_LAYERS {
            return Err(bad(config, format!("its image has {} layers; at most {MAX_LAYERS} are read", layers.len())));
        }
        let bytes = self.bytes(config).await?;
        let parsed: Config = parse(config, &bytes)?;
        if parsed.rootfs.diff_ids.len() != layers.len() {
            let why = format!("it has {} layers, the manifest {}", parsed.rootfs.diff_ids.len(), layers.len());
            return Err(bad(config, why));
        }
        let layers: Result<Vec<LayerEntry>, ArchiveError> = layers
            .iter()
            .map(|(name, digest)| {
                let entry = self.entry(name)?;
                let (name, digest) = (name.clone(), digest.clone());
                Ok(LayerEntry { name, offset: entry.offset, size: entry.size, compression: entry.compression, digest })
            })
            .collect();
        Ok(ArchivedImage {
            config_digest: ContentDigest::of(&bytes),
            references,
            diff_ids: parsed.rootfs.diff_ids,
            architecture: parsed.architecture,
            os: parsed.os,
            layers: layers?,
            config: bytes,
            manifest: None,
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
        self.read.set(self.read.get() + entry.size);
        if self.read.get() > MAX_READ {
            return Err(bad(name, format!("the archive's manifests and configs have more than {MAX_READ} bytes")));
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

/// The digest that a layer's name promises: `blobs/sha256/<digest>`, or `<digest>.tar.gz` as go-containerregistry names
/// compressed layers. The folder of an old engine's `<id>/layer.tar` is none.
fn digest_in(name: &str) -> Option<ContentDigest> {
    let stem = name.strip_prefix("blobs/sha256/").or_else(|| name.strip_suffix(".tar.gz"))?;
    format!("sha256:{stem}").parse().ok()
}

/// containerd writes the whole name, others at least the tag.
fn reference_of(descriptor: &Descriptor) -> Option<String> {
    let annotation = |key: &str| descriptor.annotations.get(key).cloned();
    annotation("io.containerd.image.name").or_else(|| annotation("org.opencontainers.image.ref.name"))
}

/// Attestations have the platform `unknown`.
fn is_other_platform(descriptor: &Descriptor, architecture: Option<&str>) -> bool {
    let Some(platform) = &descriptor.platform else { return false };
    let is_foreign = !matches!(platform.os.as_str(), "" | "linux");
    is_foreign
        || platform.architecture == "unknown"
        || architecture.is_some_and(|wanted| platform.architecture != wanted)
}
