//! Which layers of an archived image must travel, and the archives that carry them to the engine.
//!
//! An engine knows a layer by its chain ID: its own diff ID and those of all layers below (OCI image specification,
//! "Layer ChainID"). The leading layers that it has may be left out of what it is given to load. The one form that graph
//! drivers and the containerd store both take with layers left out is an OCI layout and `manifest.json` in one archive.

mod build;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use crate::engine::images::ImageStore;
use crate::images::archive::{ArchivedImage, Compression, LayerEntry};
use crate::images::delta::build::{build, leading};
pub(crate) use crate::images::delta::build::{header, padding};
use crate::values::text::megabytes;
use crate::values::types::{ContentDigest, chain_ids};

/// The first batch is closed as soon as it has so many bytes of layers: the engine has nothing to do before.
const FIRST_BATCH: u64 = 16 * 1024 * 1024;

/// Each batch costs the engine a process and an image of its own, so a later one has as much as all before it, up to so
/// many bytes: while the engine registers one, the next has just the time to travel. Measured with `benches/images`
/// on 20.10: batches of 96 MiB throughout, and a fetch for each layer, took 1.05 of the time.
const LARGEST_BATCH: u64 = 384 * 1024 * 1024;

/// Nothing travels while the last one is registered, so they become smaller towards the end, down to so many bytes.
const LAST_BATCH: u64 = 96 * 1024 * 1024;

/// What must travel of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Layers that the engine lacks.
    pub layers: usize,
    /// All layers.
    pub of: usize,
    /// Bytes of the missing ones, as they are stored.
    pub bytes: u64,
    /// Bytes of all.
    pub total: u64,
    /// Bytes of the missing ones when they are unpacked, as far as that is known.
    pub unpacked: u64,
    /// Bytes of the engine's own copies that exist at one time while it loads them.
    pub copies: u64,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, total) = (megabytes(self.bytes), megabytes(self.total));
        write!(f, "{} of {} layers missing, {bytes} of {total}", self.layers, self.of)
    }
}

/// An image and how many of its leading layers are left out.
#[derive(Debug, Clone, Copy)]
pub struct Delta<'a> {
    image: &'a ArchivedImage,
    known: usize,
}

impl<'a> Delta<'a> {
    /// Of an engine that has the layers with these chain IDs.
    pub(crate) fn new(image: &'a ArchivedImage, has: &HashSet<ContentDigest>) -> Self {
        let known = chain_ids(&image.diff_ids).iter().rposition(|chain| has.contains(chain)).map_or(0, |at| at + 1);
        Self { image, known }
    }

    /// Of an engine that has none of them.
    pub const fn whole(image: &'a ArchivedImage) -> Self {
        Self { image, known: 0 }
    }

    pub(crate) const fn leaves_out(&self) -> bool {
        self.known > 0
    }

    pub(crate) fn missing_layers(&self) -> impl Iterator<Item = (usize, &'a LayerEntry)> + use<'a> {
        self.image.layers.iter().enumerate().skip(self.known)
    }

    /// What must travel, and what room it needs in the engine.
    pub fn missing(&self, store: ImageStore) -> Missing {
        let bytes = |layers: &[LayerEntry]| layers.iter().map(|layer| layer.size).sum();
        let missing = &self.image.layers[self.known..];
        let copies = copies(self.split().into_iter().map(|range| bytes(&self.image.layers[range])).collect(), store);
        Missing {
            layers: missing.len(),
            of: self.image.layers.len(),
            bytes: bytes(missing),
            total: bytes(&self.image.layers),
            unpacked: missing.iter().map(unpacked).sum(),
            copies,
        }
    }

    /// The archives that hold the missing layers, in the order in which they must be loaded: each makes an image
    /// of all layers up to its own, the last makes the wanted one. `inflated` has the uncompressed size of each layer
    /// that must be decompressed on the way; `tag` names the image of each batch.
    ///
    /// `None` where the layers cannot be named to this engine: their digests are not known before they are read.
    pub fn batches(
        &self,
        store: ImageStore,
        decompressed: &[(usize, u64)],
        tag: impl Fn(usize) -> String,
    ) -> Option<Vec<Batch>> {
        let ranges = self.split();
        let last = ranges.len() - 1;
        let batch = |(number, range): (usize, Range<usize>)| {
            let image = if number == last { self.image.clone() } else { leading(self.image, range.end) };
            build(&image, range, store, decompressed, tag(number + 1))
        };
        ranges.into_iter().enumerate().map(batch).collect()
    }

    fn split(&self) -> Vec<Range<usize>> {
        let all = self.known..self.image.layers.len();
        let total: u64 = self.missing_layers().map(|(_, layer)| layer.size).sum();
        let (mut ranges, mut start, mut closed, mut bytes) = (Vec::new(), all.start, 0, 0);
        for (at, layer) in self.missing_layers() {
            bytes += layer.size;
            let as_much_as_before = closed.clamp(FIRST_BATCH, LARGEST_BATCH);
            let half_of_the_rest = ((total - closed) / 2).max(LAST_BATCH);
            if bytes >= as_much_as_before.min(half_of_the_rest) && at + 1 < all.end {
                ranges.push(start..at + 1);
                closed += bytes;
                (start, bytes) = (at + 1, 0);
            }
        }
        ranges.push(start..all.end);
        ranges
    }
}

/// What the engine's own copies of batches of these sizes take at one time.
pub(crate) fn copies(mut batches: Vec<u64>, store: ImageStore) -> u64 {
    batches.sort_unstable();
    match store {
        // A batch is unpacked while the next one arrives.
        ImageStore::Graph { .. } => batches.iter().rev().take(2).sum(),
        // The layers are kept as they arrived, too.
        ImageStore::Containerd => batches.iter().sum(),
    }
}

/// gzip and zstd make an image's layers two to three times smaller.
const fn unpacked(layer: &LayerEntry) -> u64 {
    match layer.compression {
        Compression::None => layer.size,
        _ => layer.size.saturating_mul(3),
    }
}

/// Whether a layer must be decompressed before this engine takes it.
pub(crate) const fn must_decompress(layer: &LayerEntry, store: ImageStore) -> bool {
    match layer.compression {
        Compression::None | Compression::Gzip => false,
        Compression::Zstd => matches!(store, ImageStore::Graph { zstd: false }),
        // containerd's store makes a broken image of them.
        Compression::Xz | Compression::Bzip2 => true,
    }
}

/// One archive for the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What the image it makes is tagged with.
    pub(crate) tag: String,
    pub(crate) config: ContentDigest,
    pub(crate) layers: Vec<BatchLayer>,
    /// Config, manifests and the archive's end: whatever comes after the layers.
    pub(crate) tail: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchLayer {
    pub(crate) place: usize,
    /// How many layers of the batch have these same bytes.
    pub(crate) times: u64,
    pub(crate) header: Bytes,
    /// Where its bytes are in the source.
    pub(crate) range: Range<u64>,
    /// What is decompressed on the way.
    pub(crate) decompress: Compression,
    /// How many bytes are passed on.
    pub(crate) size: u64,
    /// The digest that what is passed on must have, where it is known.
    pub(crate) digest: Option<ContentDigest>,
    /// Zeros after its bytes.
    pub(crate) padding: usize,
}
