//! `manifest.json` and `index.json`: which images, with which config and layers.
//!
//! Source: Docker image specification v1.2 (`docker save`) and OCI image layout.

use std::cell::Cell;

use serde::de::DeserializeOwned;

use crate::images::archive::documents::{Config, Descriptor, OciDocument, OciIndex, SavedImage};
use crate::images::archive::header::{clean, shown};
use crate::images::archive::walk::{Entries, Entry};
use crate::images::archive::{ArchiveError, ArchivedImage, LayerEntry, ReadAt};
use crate::values::text::{printable, shorten};
use crate::values::types::ContentDigest;

/// Largest JSON document that is read, in bytes.
const MAX_JSON: u64 = 4 * 1024 * 1024;

/// Most links that are followed from one name.
const MAX_LINKS: usize = 8;

const MAX_IMAGES: usize = 1024;

const MAX_NESTING: usize = 4;

/// Most layers of an image: engines take 127.
const MAX_LAYERS: usize = 1024;

/// All JSON documents of an archive together, in bytes.
const MAX_READ: u64 = 16 * 1024 * 1024;

/// Where a layer is: the entry's name, and the digest that it promises.
type Place = (String, Option<ContentDigest>);

pub(crate) async fn images(
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
    let some: Vec<String> = entries.keys().take(3).map(|name| shown(name)).collect();
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

/// One index, and what of it is still to be read.
struct Level {
    by: String,
    manifests: std::vec::IntoIter<Descriptor>,
    name: Option<String>,
}

struct Reader<'a, A> {
    archive: &'a A,
    entries: &'a Entries,
    read: Cell<u64>,
}

impl<A: ReadAt> Reader<'_, A> {
    async fn saved(&self, saved: Vec<SavedImage>) -> Result<Vec<ArchivedImage>, ArchiveError> {
        if saved.is_empty() || saved.len() > MAX_IMAGES {
            return Err(self.bad("manifest.json", format!("it lists {} images", saved.len())));
        }
        let mut images = Vec::new();
        for image in saved {
            let references = image.repo_tags.unwrap_or_default();
            let layers: Vec<Place> = image.layers.iter().map(|name| (clean(name), digest_in(name))).collect();
            images.push(self.image("manifest.json", &clean(&image.config), &layers, references).await?);
        }
        Ok(images)
    }

    async fn layout(&self, architecture: Option<&str>) -> Result<Vec<ArchivedImage>, ArchiveError> {
        let index: OciIndex = self.json("index.json").await?;
        let mut levels = vec![Level { by: "index.json".into(), manifests: index.manifests.into_iter(), name: None }];
        let mut images = Vec::new();
        while let Some(level) = levels.last_mut() {
            let Some(descriptor) = level.manifests.next() else {
                levels.pop();
                continue;
            };
            if is_other_platform(&descriptor, architecture) {
                continue;
            }
            let (by, name) = (level.by.clone(), reference_of(&descriptor).or_else(|| level.name.clone()));
            let entry = blob(&descriptor.digest);
            let bytes = self.bytes(&by, &entry).await?;
            let document: OciDocument = self.parse(&entry, &bytes)?;
            if let Some(manifests) = document.manifests {
                if levels.len() > MAX_NESTING {
                    return Err(self.bad(&entry, format!("it is an index within {MAX_NESTING} others")));
                }
                levels.push(Level { by: entry, manifests: manifests.into_iter(), name });
            } else if let Some(config) = document.config.filter(is_image) {
                let layers = document.layers.into_iter().map(|layer| (blob(&layer.digest), Some(layer.digest)));
                let (config, layers) = (blob(&config.digest), layers.collect::<Vec<Place>>());
                let image = self.image(&entry, &config, &layers, name.into_iter().collect()).await?;
                images.push(ArchivedImage { manifest: Some(bytes), ..image });
            }
            if images.len() > MAX_IMAGES {
                return Err(self.bad("index.json", format!("it lists more than {MAX_IMAGES} images")));
            }
        }
        let wanted = architecture.unwrap_or("any processor");
        match images.is_empty() {
            true => Err(self.bad("index.json", format!("it lists no image for {wanted}"))),
            false => Ok(images),
        }
    }

    /// The image of a config and its layers, which the manifest `by` names.
    async fn image(
        &self,
        by: &str,
        config: &str,
        layers: &[Place],
        references: Vec<String>,
    ) -> Result<ArchivedImage, ArchiveError> {
        if layers.len() > MAX_LAYERS {
            return Err(self.bad(by, format!("an image of {} layers; at most {MAX_LAYERS} are read", layers.len())));
        }
        let bytes = self.bytes(by, config).await?;
        let parsed: Config = self.parse(config, &bytes)?;
        if parsed.rootfs.diff_ids.len() != layers.len() {
            let why = format!("it has {} layers, `{by}` {}", parsed.rootfs.diff_ids.len(), layers.len());
            return Err(self.bad(config, why));
        }
        let layer = |(name, digest): &Place| {
            let entry = self.entry(by, name)?;
            let (name, digest) = (name.clone(), digest.clone());
            Ok(LayerEntry { name, offset: entry.offset, size: entry.size, compression: entry.compression, digest })
        };
        Ok(ArchivedImage {
            config_digest: ContentDigest::of(&bytes),
            references,
            diff_ids: parsed.rootfs.diff_ids,
            architecture: parsed.architecture,
            os: parsed.os,
            layers: layers.iter().map(layer).collect::<Result<_, ArchiveError>>()?,
            config: bytes,
            manifest: None,
        })
    }

    async fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, ArchiveError> {
        self.parse(name, &self.bytes(name, name).await?)
    }

    /// The bytes of a small entry that the entry `by` names. One that is called by its digest must have it.
    async fn bytes(&self, by: &str, name: &str) -> Result<bytes::Bytes, ArchiveError> {
        let entry = self.entry(by, name)?;
        if entry.size > MAX_JSON {
            return Err(self.bad(name, format!("it has {} bytes; at most {MAX_JSON} are read", entry.size)));
        }
        self.read.set(self.read.get() + entry.size);
        if self.read.get() > MAX_READ {
            return Err(self.bad(name, format!("the archive's manifests and configs have more than {MAX_READ} bytes")));
        }
        let bytes = self.archive.read_at(entry.offset, usize::try_from(entry.size).unwrap_or(0)).await?;
        let (said, has) = (name.strip_prefix("blobs/sha256/"), ContentDigest::of(&bytes));
        match said.filter(|hex| *hex != has.hex()) {
            Some(_) => Err(self.bad(name, format!("its digest is {has}: it is damaged"))),
            None => Ok(bytes),
        }
    }

    /// The entry of that name, links followed.
    fn entry(&self, by: &str, name: &str) -> Result<&Entry, ArchiveError> {
        let bad = |at: &str, why: String| {
            let link = if at == name { String::new() } else { format!(", which leads to `{}`", shown(at)) };
            self.bad(by, format!("it names `{}`{link}: {why}", shown(name)))
        };
        let mut at = name;
        for _ in 0..=MAX_LINKS {
            let entry = self.entries.get(at).ok_or_else(|| bad(at, "the archive has no such entry".into()))?;
            match &entry.link {
                None => return Ok(entry),
                Some(link) => at = link,
            }
        }
        Err(bad(at, format!("more than {MAX_LINKS} links follow one another")))
    }

    fn parse<T: DeserializeOwned>(&self, name: &str, bytes: &[u8]) -> Result<T, ArchiveError> {
        serde_json::from_slice(bytes).map_err(|error| self.bad(name, shorten(&printable(&error.to_string()), 200)))
    }

    fn bad(&self, entry: &str, why: String) -> ArchiveError {
        let offset = self.entries.get(entry).map_or(0, |entry| entry.header);
        ArchiveError::Bad { entry: shown(entry), offset, why }
    }
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

/// A signature, a chart and the like are stored as manifests too: with a config of their own kind.
fn is_image(config: &Descriptor) -> bool {
    const CONFIGS: [&str; 2] =
        ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
    config.media_type.is_empty() || CONFIGS.contains(&config.media_type.as_str())
}

/// Attestations have the platform `unknown`.
fn is_other_platform(descriptor: &Descriptor, architecture: Option<&str>) -> bool {
    let Some(platform) = &descriptor.platform else { return false };
    let is_foreign = !matches!(platform.os.as_str(), "" | "linux");
    is_foreign
        || platform.architecture == "unknown"
        || architecture.is_some_and(|wanted| platform.architecture != wanted)
}
