//! Loading an archive's image into the engine: only what is missing travels.
//!
//! An engine takes in a whole archive before it registers the first layer. It is given the layers in several batches
//! therefore, one after another: while it registers one, the next travels. What ties a batch
//! together, `manifest.json`, is held back until the batch below is in.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt as _;
use sha2::Digest as _;

use crate::engine::Engine;
use crate::engine::images::ImageStore;
use crate::engine::load::{Body, Loading, NotTaken};
use crate::error::{Failure, Kind};
use crate::images::archive::{Compression, ReadAt as _};
use crate::images::decompress;
use crate::images::decompress::Sizes;
use crate::images::delta::{Batch, BatchLayer, Delta, copies, must_decompress};
use crate::images::facts::Room;
use crate::images::filter::Filter;
use crate::images::load_error::LoadError;
use crate::images::rename::Renamed;
use crate::images::source::{Archive, ByteStream};
use crate::images::transfer::Transfer;
use crate::images::unpacked::Unpacked;
use crate::values::progress::{FollowTransfer, TransferProgress};
use crate::values::text::megabytes;
use crate::values::types::ContentDigest;

/// A run of zeros that is long enough for any padding.
static ZEROS: [u8; 512] = [0; 512];

pub(crate) struct Load<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) store: ImageStore,
    pub(crate) archive: &'a Archive,
    /// The archive, as a person reads it.
    pub(crate) label: &'a str,
    pub(crate) follow: FollowTransfer,
    /// The room that there was before.
    pub(crate) room: Option<Room>,
    /// The digest that the whole archive must have, where that was verified.
    pub(crate) sha256: Option<&'a ContentDigest>,
}

impl Load<'_> {
    /// Sends what is missing. The image of the last batch is the wanted one; every batch's image has the tag that
    /// `tag` gives it, from 1. `None` where the engine can only be given the whole archive.
    /// Errors: See [`LoadError`]. HTTP 200 proves nothing: the caller must verify the image.
    pub(crate) async fn delta(
        &self,
        delta: &Delta<'_>,
        sizes: Sizes,
        tag: impl Fn(usize) -> String,
    ) -> Result<Option<Vec<Batch>>, LoadError> {
        let (mut decompressed, mut taken) = (Vec::new(), 0_u64);
        for (place, layer) in delta.missing_layers().filter(|(_, layer)| must_decompress(layer, self.store)) {
            let size = decompress::size(self.archive, layer, sizes, self.most(taken)).await;
            let size = size.map_err(|error| LoadError::Source(format!("{}: {error}", layer.name)))?;
            taken = taken.saturating_add(size);
            self.check_room(taken, &format!("layer {}", place + 1))?;
            decompressed.push((place, size));
        }
        let Some(batches) = delta.batches(self.store, &decompressed, tag) else { return Ok(None) };
        let sent = |batch: &Batch| batch.layers.iter().map(|layer| layer.size).sum();
        let copies = copies(batches.iter().map(sent).collect(), self.store);
        self.check_room(taken.saturating_add(copies), "what is decompressed on the way")?;
        let ranges = batches.iter().flat_map(|batch| &batch.layers);
        let total = ranges.clone().map(|layer| layer.range.end - layer.range.start).sum();
        let ranges = ranges.filter(|layer| layer.decompress == Compression::None).map(|layer| layer.range.clone());
        let mut sender = Sender {
            load: self,
            copies,
            unpacked: Unpacked::new(self.most(copies)),
            transfer: Transfer::new(self.archive.clone(), ranges.collect::<Vec<_>>()),
            progress: (self.follow)(format!("load {}", self.label), Some(total)),
        };
        let mut under_way: Vec<Loading> = Vec::new();
        for batch in &batches {
            let mut loading = self.engine.load();
            feed(&mut loading, async |body| sender.layers(batch, body).await).await?;
            if let Some(below) = under_way.last_mut() {
                registered(below, self.store).await?;
            }
            feed(&mut loading, async |body| send(body, batch.tail.clone()).await).await?;
            loading.complete();
            under_way.push(loading);
        }
        for mut loading in under_way {
            loading.end().await?;
        }
        sender.progress.finish();
        Ok(Some(batches))
    }

    /// Whether what was sent is what was verified: the engine has not taken it in before that.
    fn is_verified(&self, sent: Option<&Mutex<sha2::Sha256>>) -> Result<(), LoadError> {
        let sent = sent.and_then(|hasher| hasher.lock().ok().map(|hasher| ContentDigest::finish(hasher.clone())));
        match self.sha256 {
            Some(wanted) if sent.as_ref() != Some(wanted) => Err(LoadError::Source(format!(
                "it was changed after it was verified: its digest is not {wanted} any more"
            ))),
            _ => Ok(()),
        }
    }

    /// Sends the whole archive, but for the blobs in `known`; a compressed one is decompressed on the way. Its images get
    /// tags that are `prefix` and a number. Returns those that the engine says it loaded, and whether anything was left out.
    /// Errors: See [`LoadError`]. HTTP 200 proves nothing: the caller must verify the image.
    pub(crate) async fn whole(
        &self,
        compression: Compression,
        known: HashSet<ContentDigest>,
        prefix: &str,
    ) -> Result<(Vec<Renamed>, bool), LoadError> {
        let mut progress = (self.follow)(format!("load {}", self.label), Some(self.archive.len()));
        let read = Arc::new(AtomicU64::new(0));
        let counter = read.clone();
        let hasher = self.sha256.map(|_| Arc::new(Mutex::new(sha2::Sha256::new())));
        let hashed = hasher.clone();
        let raw: ByteStream = Box::pin(self.archive.stream(0..self.archive.len()).inspect(move |chunk| {
            let Ok(chunk) = chunk else { return };
            counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if let Some(Ok(mut hasher)) = hashed.as_ref().map(|hasher| hasher.lock()) {
                hasher.update(chunk);
            }
        }));
        let mut stream = decompress::stream(raw, compression);
        let mut filter = Filter::new(known, prefix.to_owned(), self.most(0));
        let mut copies = 0;
        let mut loading = self.engine.load();
        let all = async |body: &Body| {
            while let Some(chunk) = stream.next().await {
                let at = || format!("after {} of {} bytes", read.load(Ordering::Relaxed), self.archive.len());
                let chunk = chunk.map_err(|error| LoadError::Source(format!("{error} ({})", at())))?;
                let pieces = filter.feed(chunk).map_err(|error| LoadError::Source(error.to_string()))?;
                // The engine has it once as it comes and once unpacked.
                copies += pieces.iter().map(Bytes::len).sum::<usize>() as u64;
                self.check_room(filter.unpacked().saturating_add(copies), &filter.last())?;
                for piece in pieces {
                    send(body, piece).await?;
                }
                progress.at(read.load(Ordering::Relaxed));
            }
            self.is_verified(hasher.as_deref())
        };
        feed(&mut loading, all).await?;
        let loaded = loading.end().await?;
        progress.finish();
        let is_loaded = |renamed: &&Renamed| loaded.contains(&renamed.tag);
        Ok((filter.renamed().iter().filter(is_loaded).cloned().collect(), filter.has_left_out()))
    }

    /// How many bytes may be unpacked where so many are taken.
    fn most(&self, taken: u64) -> u64 {
        self.room.as_ref().map_or(u64::MAX, |room| room.free.saturating_sub(taken))
    }

    /// Whether there is room for all that the engine gets up to `at`: its copies, and what it unpacks.
    fn check_room(&self, taken: u64, at: &str) -> Result<(), LoadError> {
        let Some(room) = self.room.as_ref().filter(|room| taken > room.free) else { return Ok(()) };
        let (taken, free, folder, label) = (megabytes(taken), megabytes(room.free), &room.folder, self.label);
        let why = format!(
            "{label} unpacks to more than there is room for: in {at} it takes {taken}, {free} are free in {folder}"
        );
        Err(LoadError::Room(Failure::new(Kind::Image, why).next("look at what it holds, or make room there")))
    }
}

async fn send(body: &Body, chunk: Bytes) -> Result<(), LoadError> {
    body.send(chunk).await.map_err(|refused| match refused {
        NotTaken::Silent(error) => error.into(),
        NotTaken::Ended => LoadError::Ended,
    })
}

/// Sends one more piece of the body, or many.
async fn feed(loading: &mut Loading, work: impl AsyncFnOnce(&Body) -> Result<(), LoadError>) -> Result<(), LoadError> {
    let Some(body) = loading.body() else { return Err(LoadError::Ended) };
    let sent = work(body).await;
    match &sent {
        Ok(()) | Err(LoadError::Silent(_) | LoadError::Engine(_)) => sent,
        Err(LoadError::Source(_) | LoadError::SizeMismatch(_) | LoadError::Room(_)) => {
            // The engine must not take what it has for the whole.
            body.abort().await;
            sent
        }
        Err(LoadError::Ended) => match loading.end().await {
            Err(error) => Err(error.into()),
            Ok(_) => Err(LoadError::Engine("it ended the load before it had the whole archive".into())),
        },
    }
}

/// The body is complete. Resolves when its layers are in: a graph driver names an image then, and tidies up after that;
/// containerd's store names it before it unpacks them.
async fn registered(loading: &mut Loading, store: ImageStore) -> Result<(), LoadError> {
    let is_named = matches!(store, ImageStore::Graph { .. }) && loading.named().await?;
    if !is_named {
        loading.end().await?;
    }
    Ok(())
}

struct Sender<'a> {
    load: &'a Load<'a>,
    /// What the engine's own copies take.
    copies: u64,
    unpacked: Unpacked,
    transfer: Transfer,
    progress: Box<dyn TransferProgress>,
}

impl Sender<'_> {
    async fn layers(&mut self, batch: &Batch, body: &Body) -> Result<(), LoadError> {
        for layer in &batch.layers {
            send(body, layer.header.clone()).await?;
            self.unpacked.begin(layer.times);
            let digest = match layer.decompress {
                Compression::None => self.stored(layer, body).await?,
                _ => self.decompressed(layer, body).await?,
            };
            if let Some(wanted) = layer.digest.as_ref().filter(|wanted| **wanted != digest) {
                let why = format!("layer {} has the digest {digest}, not {wanted}: it is damaged", layer.place + 1);
                return Err(LoadError::Source(why));
            }
            send(body, Bytes::from_static(&ZEROS[..layer.padding])).await?;
        }
        Ok(())
    }

    /// Counts what a chunk of a layer unpacks to, before it is sent.
    fn count(&mut self, chunk: &[u8], layer: &BatchLayer) -> Result<(), LoadError> {
        self.unpacked.feed(chunk).map_err(|error| broken(layer, format!("it cannot be unpacked: {error}")))?;
        let taken = self.copies.saturating_add(self.unpacked.bytes());
        self.load.check_room(taken, &format!("layer {}", layer.place + 1))
    }

    async fn stored(&mut self, layer: &BatchLayer, body: &Body) -> Result<ContentDigest, LoadError> {
        let mut hasher = sha2::Sha256::new();
        let mut left = layer.range.end - layer.range.start;
        while left > 0 {
            let chunk = self.transfer.next().await.map_err(|error| broken(layer, error))?;
            let chunk = chunk.ok_or_else(|| broken(layer, "it ended early"))?;
            hasher.update(&chunk);
            left = left.saturating_sub(chunk.len() as u64);
            self.progress.more(chunk.len());
            self.count(&chunk, layer)?;
            send(body, chunk).await?;
        }
        Ok(ContentDigest::finish(hasher))
    }

    async fn decompressed(&mut self, layer: &BatchLayer, body: &Body) -> Result<ContentDigest, LoadError> {
        let (mut hasher, mut size) = (sha2::Sha256::new(), 0);
        let mut stream = decompress::stream(self.load.archive.stream(layer.range.clone()), layer.decompress);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| broken(layer, error))?;
            hasher.update(&chunk);
            size += chunk.len() as u64;
            if size > layer.size {
                return Err(size_mismatch(layer));
            }
            self.count(&chunk, layer)?;
            send(body, chunk).await?;
        }
        if size < layer.size {
            return Err(size_mismatch(layer));
        }
        self.progress.more(usize::try_from(layer.range.end - layer.range.start).unwrap_or(0));
        Ok(ContentDigest::finish(hasher))
    }
}

fn broken(layer: &BatchLayer, why: impl std::fmt::Display) -> LoadError {
    LoadError::Source(format!("layer {}: {why}", layer.place + 1))
}

fn size_mismatch(layer: &BatchLayer) -> LoadError {
    let (number, size) = (layer.place + 1, layer.size);
    LoadError::SizeMismatch(format!("layer {number} does not unpack to {size} bytes as its frame says"))
}
