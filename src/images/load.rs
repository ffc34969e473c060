//! Loading an archive's image into the engine: only what is missing travels.
//!
//! An engine takes in a whole archive before it registers the first layer. It is given the layers in several batches
//! therefore, one after another: while it registers one, the next travels. What ties a batch
//! together, `manifest.json`, is held back until the batch below is in.

use std::collections::HashSet;

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
use crate::images::delta::{Batch, BatchLayer, Delta, must_decompress};
use crate::images::facts::Room;
use crate::images::filter::Filter;
use crate::images::load_error::LoadError;
use crate::images::rename::Renamed;
use crate::images::source::{Archive, ByteStream};
use crate::images::transfer::Transfer;
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
    /// What may be unpacked: the room that there was before.
    pub(crate) room: Option<Room>,
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
        let (mut decompressed, mut all) = (Vec::new(), 0);
        for (place, layer) in delta.missing_layers().filter(|(_, layer)| must_decompress(layer, self.store)) {
            let size = decompress::size(self.archive, layer, sizes, self.most().saturating_sub(all)).await;
            let size = size.map_err(|error| LoadError::Source(format!("{}: {error}", layer.name)))?;
            all += size;
            self.check_room(all)?;
            decompressed.push((place, size));
        }
        let Some(batches) = delta.batches(self.store, &decompressed, tag) else { return Ok(None) };
        let ranges = batches.iter().flat_map(|batch| &batch.layers);
        let total = ranges.clone().map(|layer| layer.range.end - layer.range.start).sum();
        let ranges = ranges.filter(|layer| !layer.decompress).map(|layer| layer.range.clone());
        let mut sender = Sender {
            archive: self.archive,
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

    /// Sends the whole archive, but for the blobs in `known`; a compressed one is decompressed on the way, as far as it
    /// must be read. Its images get tags that are `prefix` and a number, except where the engine itself decompresses it.
    /// Returns what the engine says it loaded: tags, and IDs of images without one; and whether anything was left out.
    /// Errors: See [`LoadError`]. HTTP 200 proves nothing: the caller must verify the image.
    pub(crate) async fn whole(
        &self,
        compression: Compression,
        known: HashSet<ContentDigest>,
        prefix: &str,
    ) -> Result<(Vec<Renamed>, bool), LoadError> {
        let mut progress = (self.follow)(format!("load {}", self.label), Some(self.archive.len()));
        let read = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counter = read.clone();
        let raw: ByteStream = Box::pin(self.archive.stream(0..self.archive.len()).inspect(move |chunk| {
            if let Ok(chunk) = chunk {
                counter.fetch_add(chunk.len() as u64, std::sync::atomic::Ordering::Relaxed);
            }
        }));
        let (mut stream, mut filter) = match compression {
            Compression::None | Compression::Gzip | Compression::Zstd => {
                (decompress::stream(raw, compression), Some(Filter::new(known, prefix.to_owned())))
            }
            // The engine decompresses these itself.
            Compression::Xz | Compression::Bzip2 => (raw, None),
        };
        let mut unpacked = 0;
        let mut loading = self.engine.load();
        let all = async |body: &Body| {
            while let Some(chunk) = stream.next().await {
                unpacked += chunk.as_ref().map_or(0, Bytes::len) as u64;
                // The engine has it once as it came and once unpacked.
                if let Err(refused) = self.check_room(unpacked.saturating_mul(2)) {
                    body.abort("it is too large").await;
                    return Err(refused);
                }
                match (chunk, &mut filter) {
                    (Ok(chunk), None) => send(body, chunk).await,
                    (Ok(chunk), Some(filter)) => match filter.feed(chunk) {
                        Ok(pieces) => send_all(body, pieces).await,
                        Err(error) => abort(body, error.to_string()).await,
                    },
                    (Err(error), _) => abort(body, error.to_string()).await,
                }?;
                progress.at(read.load(std::sync::atomic::Ordering::Relaxed));
            }
            Ok(())
        };
        feed(&mut loading, all).await?;
        let loaded = loading.end().await?;
        progress.finish();
        let renamed = filter.as_ref().map_or(&[][..], Filter::renamed);
        let named = |tag: String| match renamed.iter().find(|renamed| renamed.tag == tag) {
            Some(renamed) => renamed.clone(),
            None => Renamed { references: vec![tag.clone()], tag },
        };
        Ok((loaded.into_iter().map(named).collect(), filter.as_ref().is_some_and(Filter::has_left_out)))
    }

    fn most(&self) -> u64 {
        self.room.as_ref().map_or(u64::MAX, |room| room.free)
    }

    fn check_room(&self, unpacked: u64) -> Result<(), LoadError> {
        let Some(room) = self.room.as_ref().filter(|room| unpacked > room.free) else { return Ok(()) };
        let (free, folder) = (megabytes(room.free), &room.folder);
        let why = format!("{} unpacks to more than there is room for: {free} are free in {folder}", self.label);
        Err(LoadError::Room(Failure::new(Kind::Image, why).next("look at what it holds, or make room there")))
    }
}

async fn send(body: &Body, chunk: Bytes) -> Result<(), LoadError> {
    body.send(chunk).await.map_err(|refused| match refused {
        NotTaken::Silent(error) => error.into(),
        NotTaken::Ended => LoadError::Ended,
    })
}

async fn send_all(body: &Body, chunks: Vec<Bytes>) -> Result<(), LoadError> {
    for chunk in chunks {
        send(body, chunk).await?;
    }
    Ok(())
}

/// The engine must not take what it has for the whole: the body ends with an error.
async fn abort<T>(body: &Body, why: String) -> Result<T, LoadError> {
    body.abort(&why).await;
    Err(LoadError::Source(why))
}

/// Sends one more piece of the body, or many.
async fn feed(loading: &mut Loading, work: impl AsyncFnOnce(&Body) -> Result<(), LoadError>) -> Result<(), LoadError> {
    let sent = match loading.body() {
        Some(body) => work(body).await,
        None => Err(LoadError::Ended),
    };
    if !matches!(sent, Err(LoadError::Ended)) {
        return sent;
    }
    match loading.end().await {
        Err(error) => Err(error.into()),
        Ok(_) => Err(LoadError::Engine("it ended the load before it had the whole archive".into())),
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
    archive: &'a Archive,
    transfer: Transfer,
    progress: Box<dyn TransferProgress>,
}

impl Sender<'_> {
    async fn layers(&mut self, batch: &Batch, body: &Body) -> Result<(), LoadError> {
        for layer in &batch.layers {
            send(body, layer.header.clone()).await?;
            let digest = match layer.decompress {
                true => self.decompressed(layer, body).await?,
                false => self.stored(layer, body).await?,
            };
            if let Some(wanted) = layer.digest.as_ref().filter(|wanted| **wanted != digest) {
                let why = format!("layer {} has the digest {digest}, not {wanted}: it is damaged", layer.place + 1);
                return abort(body, why).await;
            }
            send(body, Bytes::from_static(&ZEROS[..layer.padding])).await?;
        }
        Ok(())
    }

    async fn stored(&mut self, layer: &BatchLayer, body: &Body) -> Result<ContentDigest, LoadError> {
        let mut hasher = sha2::Sha256::new();
        let mut left = layer.range.end - layer.range.start;
        while left > 0 {
            let chunk = match self.transfer.next().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return abort(body, "it ended early".into()).await,
                Err(error) => return abort(body, error.to_string()).await,
            };
            hasher.update(&chunk);
            left = left.saturating_sub(chunk.len() as u64);
            self.progress.more(chunk.len());
            send(body, chunk).await?;
        }
        Ok(ContentDigest::finish(hasher))
    }

    async fn decompressed(&mut self, layer: &BatchLayer, body: &Body) -> Result<ContentDigest, LoadError> {
        let (mut hasher, mut size) = (sha2::Sha256::new(), 0);
        let mut stream = decompress::stream(self.archive.stream(layer.range.clone()), Compression::Zstd);
        while let Some(chunk) = stream.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => return abort(body, error.to_string()).await,
            };
            hasher.update(&chunk);
            size += chunk.len() as u64;
            if size > layer.size {
                return self.size_mismatch(layer, body).await;
            }
            send(body, chunk).await?;
        }
        if size < layer.size {
            return self.size_mismatch(layer, body).await;
        }
        self.progress.more(usize::try_from(layer.range.end - layer.range.start).unwrap_or(0));
        Ok(ContentDigest::finish(hasher))
    }

    async fn size_mismatch<T>(&self, layer: &BatchLayer, body: &Body) -> Result<T, LoadError> {
        let why = format!("layer {} does not unpack to {} bytes as its frame says", layer.place + 1, layer.size);
        body.abort(&why).await;
        Err(LoadError::SizeMismatch(why))
    }
}
