//! What an image archive holds, without reading its layers.
//!
//! The headers of the tar are walked by reads that are large enough to swallow small entries; then `manifest.json`
//! (`docker save`) or `index.json` (OCI layout) and the image configs are read. Everything in an archive is untrusted:
//! counts, sizes and depths are bounded, and an error names the entry and its offset.

mod documents;
pub(crate) mod header;
#[cfg(test)]
mod hostile_tests;
pub(crate) mod layout;
#[cfg(test)]
pub(super) mod tests;
pub(crate) mod walk;

use bytes::Bytes;

use crate::values::reference::ImageReference;
use crate::values::types::ContentDigest;

/// Something that can be read at any place.
#[allow(async_fn_in_trait)] // one thread: the futures need no Send bound
pub trait ReadAt {
    /// Its length in bytes.
    fn len(&self) -> u64;

    /// Whether there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to `len` bytes from `offset`; fewer only at the end.
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, ReadError>;
}

/// Reading failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(String);

impl ReadError {
    pub(crate) fn new(cause: impl std::fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

/// How bytes are compressed, by how they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The .xz file format.
    Xz,
    /// bzip2.
    Bzip2,
}

impl Compression {
    /// The longest beginning that is compared, in bytes.
    pub(crate) const MAGIC: usize = 6;

    pub(crate) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or one that is skipped (RFC 8878, section 3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            _ => Self::None,
        }
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "nothing",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        })
    }
}

/// Why an archive cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the names say it
pub enum ArchiveError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] ReadError),
    /// Compressed as a whole: it can be loaded, but not indexed.
    #[error("is compressed with {0}")]
    Compressed(Compression),
    /// Something else than a tar archive.
    #[error("is not an archive of images: it starts with {0}")]
    NotAnArchive(String),
    #[error("is truncated: entry `{entry}` at byte {offset} needs {needs} bytes, the file has {has}")]
    Truncated {
        entry: String,
        offset: u64,
        /// The length the file must have for it.
        needs: u64,
        has: u64,
    },
    /// A header that makes no sense, or more of something than we read.
    #[error("is damaged at byte {offset}: {why}")]
    Damaged { offset: u64, why: String },
    /// A tar archive, but of something else.
    #[error(
        "holds neither manifest.json nor index.json ({0}): an archive of `docker export` or of plain files has no image"
    )]
    NoManifest(String),
    /// A manifest, an index or a config that cannot be understood.
    #[error("has a bad `{entry}` at byte {offset}: {why}")]
    Bad { entry: String, offset: u64, why: String },
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveIndex {
    /// Its images, in the manifest's order.
    pub images: Vec<ArchivedImage>,
}

/// One image of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedImage {
    /// The digest of its config's bytes.
    pub(crate) config_digest: ContentDigest,
    pub(crate) references: Vec<String>,
    /// The layers, uncompressed, bottom first.
    pub(crate) diff_ids: Vec<ContentDigest>,
    /// Go's name of the processor: `amd64`, `arm64`.
    pub(crate) architecture: String,
    /// `linux`.
    pub os: String,
    /// Where each layer's bytes are, bottom first.
    pub layers: Vec<LayerEntry>,
    pub(crate) config: Bytes,
    /// The bytes of the OCI manifest that lists the config and the layers, where the archive has one.
    pub(crate) manifest: Option<Bytes>,
}

/// A layer's bytes in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEntry {
    pub(crate) name: String,
    /// Where its bytes start.
    pub offset: u64,
    /// How many they are.
    pub size: u64,
    pub(crate) compression: Compression,
    /// The digest that the archive says they have as they are stored; it is checked as they pass.
    pub(crate) digest: Option<ContentDigest>,
}

/// Reads the index of an archive; of a multi-platform layout the images of `architecture` (`amd64`, …) are taken.
///
/// # Errors
/// See [`ArchiveError`].
pub async fn index(archive: &impl ReadAt, architecture: Option<&str>) -> Result<ArchiveIndex, ArchiveError> {
    let reader = walk::Remembering::new(archive);
    let entries = walk::entries(&reader).await?;
    let images = layout::images(&reader, &entries, architecture).await?;
    Ok(ArchiveIndex { images })
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectError {
    #[error("holds {} images and `reference` does not say which: {}", .0.len(), some(.0))]
    Ambiguous(Vec<String>),
    #[error("does not hold {wanted}; it holds {}", some(.found))]
    NoReference { wanted: String, found: Vec<String> },
    #[error("holds the image {found}, not the wanted {wanted}")]
    WrongId { wanted: ContentDigest, found: ContentDigest },
}

fn some(names: &[String]) -> String {
    const SOME: usize = 5;
    let more = if names.len() > SOME { ", …" } else { "" };
    names.iter().take(SOME).map(|name| header::shown(name)).collect::<Vec<_>>().join(", ") + more
}

pub(crate) fn select<'a>(
    index: &'a ArchiveIndex,
    reference: Option<&ImageReference>,
    id: Option<&ContentDigest>,
) -> Result<&'a ArchivedImage, SelectError> {
    let image = by_reference(index, reference, id)?;
    match id.filter(|id| **id != image.config_digest) {
        Some(wanted) => Err(SelectError::WrongId { wanted: wanted.clone(), found: image.config_digest.clone() }),
        None => Ok(image),
    }
}

fn by_reference<'a>(
    index: &'a ArchiveIndex,
    reference: Option<&ImageReference>,
    id: Option<&ContentDigest>,
) -> Result<&'a ArchivedImage, SelectError> {
    let named = || index.images.iter().map(name).collect::<Vec<_>>();
    if let Some(wanted) = reference {
        let found = index.images.iter().find(|image| image.references.iter().any(|name| is_same(name, wanted)));
        return found.ok_or_else(|| SelectError::NoReference { wanted: wanted.to_string(), found: named() });
    }
    let by_id = id.and_then(|id| index.images.iter().find(|image| image.config_digest == *id));
    match (by_id, index.images.as_slice()) {
        (Some(image), _) | (None, [image]) => Ok(image),
        _ => Err(SelectError::Ambiguous(named())),
    }
}

fn name(image: &ArchivedImage) -> String {
    image.references.first().cloned().unwrap_or_else(|| image.config_digest.to_string())
}

/// `web` and `docker.io/library/web:latest` are the same image.
pub(crate) fn is_same(name: &str, wanted: &ImageReference) -> bool {
    name.parse::<ImageReference>().is_ok_and(|name| full(&name) == full(wanted))
}

fn full(reference: &ImageReference) -> String {
    let repository = reference.repository();
    let path = repository.strip_prefix("docker.io/").unwrap_or(&repository);
    let is_official = reference.registry() == "docker.io" && !path.contains('/');
    let library = if is_official { "library/" } else { "" };
    let host = if reference.registry() == "docker.io" { "docker.io/" } else { "" };
    format!("{host}{library}{path}:{}", reference.tag().unwrap_or("latest"))
}
