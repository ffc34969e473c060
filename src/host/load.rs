//! Streaming an archive into the engine. (Only missing layers: the next step takes over here.)

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bollard::errors::Error;
use bollard::models::BuildInfo;
use bollard::query_parameters::ImportImageOptions;
use futures_util::StreamExt as _;

use super::engine::{Engine, cause};
use super::source::Archive;
use crate::error::{Failure, Kind};
use crate::report::progress::Progress;

/// Streams the whole archive into the engine. Returns what the engine says it loaded: references, and IDs of images
/// without one.
///
/// # Errors
/// [`Kind::Image`] with the engine's words. HTTP 200 proves nothing: the caller must verify the image.
pub async fn load(engine: &Engine, archive: &Archive, label: &str, bytes: Option<u64>) -> Result<Vec<String>, Failure> {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let failed = Arc::new(std::sync::Mutex::new(None));
    let failure = failed.clone();
    let body = archive.stream().map(move |chunk| {
        match &chunk {
            Ok(chunk) => {
                counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
            Err(error) => keep(&failure, error.to_string()),
        }
        chunk
    });
    let mut answers = std::pin::pin!(engine.docker.import_image_stream(ImportImageOptions::default(), body, None));
    let mut progress = Progress::new(format!("load {label}"), bytes);
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(200));
    let mut loaded = Vec::new();
    loop {
        tokio::select! {
            answer = answers.next() => match answer {
                None => break,
                Some(Ok(info)) => take(&info, &mut loaded).map_err(|words| refused(label, &words, &failed))?,
                Some(Err(error)) => return Err(refused(label, &words(&error), &failed)),
            },
            _ = tick.tick() => progress.at(sent.load(Ordering::Relaxed)),
        }
    }
    progress.at(sent.load(Ordering::Relaxed));
    progress.finish();
    Ok(loaded)
}

fn keep(slot: &std::sync::Mutex<Option<String>>, words: String) {
    if let Ok(mut slot) = slot.lock() {
        slot.get_or_insert(words);
    }
}

fn words(error: &Error) -> String {
    cause(error)
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

fn refused(label: &str, words: &str, source: &std::sync::Mutex<Option<String>>) -> Failure {
    let source = source.lock().ok().and_then(|mut slot| slot.take());
    match source {
        Some(read) => Failure::new(Kind::Image, format!("reading {label} broke off: {read}"))
            .next("deploy again; if it happens again, is the archive complete and readable?"),
        None => Failure::new(Kind::Image, format!("the engine cannot load {label}: {words}"))
            .next("is it a complete archive of `docker save`? load it by hand to see: docker load --input …"),
    }
}
