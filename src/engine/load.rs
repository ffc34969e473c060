//! One `docker load` under way: its body goes up while the engine's answers come down.

use std::io;
use std::time::Duration;

use bollard::models::BuildInfo;
use bollard::query_parameters::ImportImageOptions;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::engine::Engine;
use crate::engine::call::{CallError, IDLE};

/// Chunks that wait for the engine to take them.
const WAITING: usize = 4;

/// How long an engine that has the whole body, and answers other calls, may unpack it without a word: containerd's image
/// store says nothing while it does.
const UNPACKING: Duration = Duration::from_secs(600);

/// What the call is called where it fails.
const CALL: &str = "docker load";

pub(crate) struct Body {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    engine: Engine,
}

pub(crate) enum NotTaken {
    /// The engine has ended the load: its answer says why.
    Ended,
    /// It takes nothing, and says nothing.
    Silent(CallError),
}

impl Body {
    pub(crate) async fn send(&self, chunk: Bytes) -> Result<(), NotTaken> {
        let sent = self.engine.within(IDLE, CALL, self.chunks.send(Ok(chunk))).await;
        sent.map_err(NotTaken::Silent)?.map_err(|_| NotTaken::Ended)
    }

    /// Ends the body with an error: the engine must not take what it has for the whole.
    pub(crate) async fn abort(&self) {
        let error = io::Error::other("it broke off");
        let _ = tokio::time::timeout(IDLE, self.chunks.send(Err(error))).await;
    }
}

/// A load under way. It is given up when this is dropped.
pub(crate) struct Loading {
    engine: Engine,
    body: Option<Body>,
    answer: Option<AbortOnDropHandle<Result<Vec<String>, CallError>>>,
    named: oneshot::Receiver<()>,
    /// When the engine said something last.
    heard: watch::Receiver<Instant>,
}

impl Loading {
    /// The body; `None` once it is complete.
    pub(crate) const fn body(&self) -> Option<&Body> {
        self.body.as_ref()
    }

    pub(crate) fn complete(&mut self) {
        self.body = None;
    }

    /// Waits until the engine names an image that it has loaded; false where the load ended without.
    pub(crate) async fn named(&mut self) -> Result<bool, CallError> {
        let (engine, heard) = (&self.engine, &mut self.heard);
        not_silent(engine, heard, &mut self.named).await.map(|named| named.is_ok())
    }

    /// The body is complete: waits for the end. What the engine says it loaded: references, and IDs of images without
    /// one; nothing where the end was waited for before.
    pub(crate) async fn end(&mut self) -> Result<Vec<String>, CallError> {
        self.body = None;
        let Some(answer) = self.answer.take() else { return Ok(Vec::new()) };
        let ended = not_silent(&self.engine, &mut self.heard, answer).await?;
        ended.unwrap_or_else(|error| Err(CallError::refused(None, &error.to_string())))
    }
}

/// Waits for `end`, as long as the engine says something now and then, here or where it is asked.
async fn not_silent<T>(
    engine: &Engine,
    heard: &mut watch::Receiver<Instant>,
    end: impl Future<Output = T>,
) -> Result<T, CallError> {
    let mut end = std::pin::pin!(end);
    let began = Instant::now();
    loop {
        match engine.within(IDLE, CALL, more_or_end(heard, end.as_mut())).await {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) => {}
            Err(_) => {
                let waited = began.max(*heard.borrow()).elapsed();
                let is_busy = waited < UNPACKING && engine.hello().await.is_ok();
                if !is_busy {
                    return Err(CallError::silent(&engine.address, CALL, waited));
                }
            }
        }
    }
}

/// Waits for the end, or, with `None`, for the engine to say something.
async fn more_or_end<T>(
    heard: &mut watch::Receiver<Instant>,
    end: std::pin::Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let more = async {
        if heard.changed().await.is_err() {
            std::future::pending().await
        }
    };
    tokio::select! {
        biased;
        ended = end => Some(ended),
        () = more => None,
    }
}

impl Engine {
    pub(crate) fn load(&self) -> Loading {
        let (chunks, body) = mpsc::channel::<io::Result<Bytes>>(WAITING);
        let (name, named) = oneshot::channel();
        let (hear, heard) = watch::channel(Instant::now());
        let answer = AbortOnDropHandle::new(tokio::spawn(answers(self.clone(), body, name, hear)));
        let body = Some(Body { chunks, engine: self.clone() });
        Loading { engine: self.clone(), body, answer: Some(answer), named, heard }
    }
}

/// Sends the body as it comes, and reads the answers to their end.
async fn answers(
    engine: Engine,
    body: mpsc::Receiver<io::Result<Bytes>>,
    name: oneshot::Sender<()>,
    hear: watch::Sender<Instant>,
) -> Result<Vec<String>, CallError> {
    let body = futures_util::stream::unfold(body, async |mut body| body.recv().await.map(|chunk| (chunk, body)));
    let mut answers = std::pin::pin!(engine.docker.import_image_stream(ImportImageOptions::default(), body, None));
    let (mut loaded, mut name) = (Vec::new(), Some(name));
    while let Some(answer) = answers.next().await {
        hear.send_replace(Instant::now());
        take(&answer.map_err(|error| CallError::of(&engine.address, &error))?, &mut loaded)?;
        if let Some(name) = name.take_if(|_| !loaded.is_empty()) {
            let _ = name.send(());
        }
    }
    Ok(loaded)
}

/// What one answer says; `Err` where it says that the image is broken.
///
/// Source: the load responses of engines 20.10 to 28.5 with and without the containerd store.
fn take(info: &BuildInfo, loaded: &mut Vec<String>) -> Result<(), CallError> {
    let stream = info.stream.as_deref().unwrap_or_default().trim();
    for line in stream.lines() {
        if let Some(reference) = line.strip_prefix("Loaded image: ").or_else(|| line.strip_prefix("Loaded image ID: "))
        {
            loaded.push(reference.trim().to_owned());
        } else if line.starts_with("Error unpacking image") {
            return Err(CallError::refused(None, line));
        }
    }
    Ok(())
}
