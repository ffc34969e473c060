//! Bringing an archive's image into the engine: only what is missing travels.
//!
//! An engine takes in a whole archive before it registers the first layer. It is given the layers in several parcels
//! therefore, one after another: while it registers one, the next travels. What ties a parcel
//! together, `manifest.json`, is held back until the parcel below is in.

use std::collections::HashSet;
use std::io;

use bollard::errors::Error;
use bollard::models::BuildInfo;
use bollard::query_parameters::ImportImageOptions;
use bytes::Bytes;
use futures_util::StreamExt as _;
use sha2::Digest as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::engine::{Engine, cause};
use crate::error::{Failure, Kind};
use crate::images::archive::{Compression, ReadAt as _};
use crate::images::decompress;
use crate::images::decompress::Sizes;
use crate::images::delta::{Batch, BatchLayer, Delta, ImageStore, must_decompress};
use crate::images::filter::Filter;
use crate::images::source::{Archive, ByteStream};
use crate::images::transfer::Transfer;
use crate::ui::progress::Progress;
use crate::values::types::ContentDigest;

/// Chunks that wait for the engine to take them.
const WAITING: usize = 4;

/// A run of zeros that is long enough for any padding.
static ZEROS: [u8; 512] = [0; 512];

/// Why an image was not loaded.
#[derive(Debug)]
pub enum LoadError {
    /// The archive cannot be read, or is not what it says.
    Source(String),
    /// A layer unpacks to more or less than its frame says: its size must be counted.
    Misjudged(String),
    /// The engine's words.
    Engine(String),
}

impl LoadError {
    /// As a failure to bring in `label`.
    pub fn failure(&self, label: &str) -> Failure {
        match self {
            Self::Source(why) | Self::Misjudged(why) => {
                Failure::new(Kind::Image, format!("reading {label} broke off: {why}"))
                    .next("deploy again; if it happens again, is the archive complete and readable?")
            }
            Self::Engine(words) => Failure::new(Kind::Image, format!("the engine cannot load {label}: {words}"))
                .next("is it a complete archive of `docker save`? load it by hand to see: docker load --input …"),
        }
    }
}

/// One archive on its way into one engine.
pub struct Load<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// How it keeps images.
    pub store: ImageStore,
    /// The archive.
    pub archive: &'a Archive,
    /// The archive, as a person reads it.
    pub label: &'a str,
}

impl Load<'_> {
    /// Sends what is missing. The image of the last parcel is the wanted one; every parcel's image has the tag that
    /// `tag` gives it, from 1. `None` where the engine can only be given the whole archive.
    ///
    /// # Errors
    /// See [`LoadError`]. HTTP 200 proves nothing: the caller must verify the image.
    pub async fn delta(
        &self,
        delta: &Delta<'_>,
        sizes: Sizes,
        tag: impl Fn(usize) -> String,
    ) -> Result<Option<Vec<Batch>>, LoadError> {
        let mut decompressed = Vec::new();
        for (place, layer) in delta.missing_layers().filter(|(_, layer)| must_decompress(layer, self.store)) {
            let size = decompress::size(self.archive, layer, sizes).await;
            decompressed.push((place, size.map_err(|error| LoadError::Source(format!("{}: {error}", layer.name)))?));
        }
        let Some(batches) = delta.batches(self.store, &decompressed, tag) else { return Ok(None) };
        let ranges = batches.iter().flat_map(|batch| &batch.layers);
        let total = ranges.clone().map(|layer| layer.range.end - layer.range.start).sum();
        let ranges = ranges.filter(|layer| !layer.decompress).map(|layer| layer.range.clone());
        let mut sender = Sender {
            archive: self.archive,
            transfer: Transfer::new(self.archive.clone(), ranges.collect::<Vec<_>>()),
            progress: Progress::new(format!("load {}", self.label), Some(total)),
        };
        let mut under_way: Vec<Request> = Vec::new();
        for batch in &batches {
            let mut request = Request::begin(self.engine);
            request.send(async |body| sender.layers(batch, body).await).await?;
            if let Some(below) = under_way.last_mut() {
                below.registered(self.store).await?;
            }
            request.send(async |body| send(body, batch.tail.clone()).await).await?;
            request.body = None;
            under_way.push(request);
        }
        for mut request in under_way {
            request.end().await?;
        }
        sender.progress.finish();
        Ok(Some(batches))
    }

    /// Sends the whole archive, but for the blobs in `known`; a compressed one is decompressed on the way, as far as it
    /// must be read. Returns what the engine says it loaded: references, and IDs of images without one; and whether
    /// anything was left out.
    ///
    /// # Errors
    /// See [`LoadError`]. HTTP 200 proves nothing: the caller must verify the image.
    pub async fn whole(
        &self,
        compression: Compression,
        known: HashSet<ContentDigest>,
    ) -> Result<(Vec<String>, bool), LoadError> {
        let mut progress = Progress::new(format!("load {}", self.label), Some(self.archive.len()));
        let read = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counter = read.clone();
        let raw: ByteStream = Box::pin(self.archive.stream(0..self.archive.len()).inspect(move |chunk| {
            if let Ok(chunk) = chunk {
                counter.fetch_add(chunk.len() as u64, std::sync::atomic::Ordering::Relaxed);
            }
        }));
        let (mut stream, mut filter) = match compression {
            Compression::Gzip | Compression::Zstd => (decompress::stream(raw, compression), Some(Filter::new(known))),
            // The engine decompresses these itself.
            Compression::None | Compression::Xz | Compression::Bzip2 => (raw, None),
        };
        let mut request = Request::begin(self.engine);
        let all = async |body: &Body| {
            while let Some(chunk) = stream.next().await {
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
        request.send(all).await?;
        let loaded = request.end().await?;
        progress.finish();
        Ok((loaded, filter.is_some_and(|filter| filter.has_left_out())))
    }
}

type Body = mpsc::Sender<io::Result<Bytes>>;

/// Why a body is not sent to its end: the engine does not take it, or there is nothing to send.
enum Broken {
    Refused,
    Source(String),
    Misjudged(String),
}

async fn send(body: &Body, chunk: Bytes) -> Result<(), Broken> {
    body.send(Ok(chunk)).await.map_err(|_| Broken::Refused)
}

async fn send_all(body: &Body, chunks: Vec<Bytes>) -> Result<(), Broken> {
    for chunk in chunks {
        send(body, chunk).await?;
    }
    Ok(())
}

/// The engine must not take what it has for the whole: the body ends with an error.
async fn abort(body: &Body, why: String) -> Result<(), Broken> {
    let _ = body.send(Err(io::Error::other(why.clone()))).await;
    Err(Broken::Source(why))
}

/// One `POST /images/load` under way.
struct Request {
    body: Option<Body>,
    answer: AbortOnDropHandle<Result<Vec<String>, String>>,
    named: oneshot::Receiver<()>,
    ended: bool,
}

impl Request {
    fn begin(engine: &Engine) -> Self {
        let (body, chunks) = mpsc::channel::<io::Result<Bytes>>(WAITING);
        let (name, named) = oneshot::channel();
        let docker = engine.docker.clone();
        let answer = AbortOnDropHandle::new(tokio::spawn(async move {
            let chunks = tokio_stream(chunks);
            let mut answers = std::pin::pin!(docker.import_image_stream(ImportImageOptions::default(), chunks, None));
            let (mut loaded, mut name) = (Vec::new(), Some(name));
            while let Some(answer) = answers.next().await {
                take(&answer.map_err(|error: Error| cause(&error))?, &mut loaded)?;
                if let Some(name) = name.take_if(|_| !loaded.is_empty()) {
                    let _ = name.send(());
                }
            }
            Ok(loaded)
        }));
        Self { body: Some(body), answer, named, ended: false }
    }

    /// Sends one more piece of the body, or many.
    async fn send(&mut self, work: impl AsyncFnOnce(&Body) -> Result<(), Broken>) -> Result<(), LoadError> {
        let sent = match &self.body {
            Some(body) => work(body).await,
            None => Err(Broken::Refused),
        };
        match sent {
            Ok(()) => Ok(()),
            Err(Broken::Source(why)) => Err(LoadError::Source(why)),
            Err(Broken::Misjudged(why)) => Err(LoadError::Misjudged(why)),
            Err(Broken::Refused) => match self.end().await {
                Err(error) => Err(error),
                Ok(_) => Err(LoadError::Engine("it ended the load before it had the whole archive".into())),
            },
        }
    }

    /// The body is complete. Resolves when its layers are in: a graph driver names an image then, and tidies up after
    /// that; containerd's store names it before it unpacks them.
    async fn registered(&mut self, store: ImageStore) -> Result<(), LoadError> {
        let is_named = matches!(store, ImageStore::Graph { .. }) && (&mut self.named).await.is_ok();
        if !is_named {
            self.end().await?;
        }
        Ok(())
    }

    /// The body is complete: what the engine says it loaded.
    async fn end(&mut self) -> Result<Vec<String>, LoadError> {
        self.body = None;
        if std::mem::replace(&mut self.ended, true) {
            return Ok(Vec::new());
        }
        let answer = (&mut self.answer).await.map_err(|error| LoadError::Engine(error.to_string()))?;
        answer.map_err(LoadError::Engine)
    }
}

fn tokio_stream(
    chunks: mpsc::Receiver<io::Result<Bytes>>,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures_util::stream::unfold(chunks, async |mut chunks| chunks.recv().await.map(|chunk| (chunk, chunks)))
}

/// The layers of all parcels, one after another.
struct Sender<'a> {
    archive: &'a Archive,
    transfer: Transfer,
    progress: Progress,
}

impl Sender<'_> {
    async fn layers(&mut self, batch: &Batch, body: &Body) -> Result<(), Broken> {
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

    async fn stored(&mut self, layer: &BatchLayer, body: &Body) -> Result<ContentDigest, Broken> {
        let mut hasher = sha2::Sha256::new();
        let mut left = layer.range.end - layer.range.start;
        while left > 0 {
            let chunk = match self.transfer.next().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return self.broke(body, "it ended early".into()).await,
                Err(error) => return self.broke(body, error.to_string()).await,
            };
            hasher.update(&chunk);
            left = left.saturating_sub(chunk.len() as u64);
            self.progress.more(chunk.len());
            send(body, chunk).await?;
        }
        Ok(ContentDigest::finish(hasher))
    }

    async fn decompressed(&mut self, layer: &BatchLayer, body: &Body) -> Result<ContentDigest, Broken> {
        let (mut hasher, mut size) = (sha2::Sha256::new(), 0);
        let mut stream = decompress::stream(self.archive.stream(layer.range.clone()), Compression::Zstd);
        while let Some(chunk) = stream.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => return self.broke(body, error.to_string()).await,
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

    async fn size_mismatch<T>(&self, layer: &BatchLayer, body: &Body) -> Result<T, Broken> {
        let why = format!("layer {} does not unpack to {} bytes as its frame says", layer.place + 1, layer.size);
        let _ = abort(body, why.clone()).await;
        Err(Broken::Misjudged(why))
    }

    async fn broke<T>(&self, body: &Body, why: String) -> Result<T, Broken> {
        match abort(body, why.clone()).await {
            Err(broken) => Err(broken),
            Ok(()) => Err(Broken::Source(why)),
        }
    }
}

/// What one answer says; `Err` where it says that the image is broken.
///
/// Source: the load responses of engines 20.10 to 28.5 with and without the containerd store.
fn take(info: &BuildInfo, loaded: &mut Vec<String>) -> Result<(), String> {
    let stream = info.stream.as_deref().unwrap_or_default().trim();
    for line in stream.lines() {
        if let Some(reference) = line.strip_prefix("Loaded image: ").or_else(|| line.strip_prefix("Loaded image ID: "))
        {
            loaded.push(reference.trim().to_owned());
        } else if line.starts_with("Error unpacking image") {
            return Err(line.to_owned());
        }
    }
    Ok(())
}
