//! The body of an object, gone on with at the byte where it breaks.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::time::Instant;

use crate::aws::config::causes;
use crate::aws::s3::S3Object;
use crate::aws::s3::error::{S3Error, explain};
use crate::poll;
use crate::values::text::{printable, seconds};

/// A connection that is silent for so long is replaced.
const STALLED: Duration = Duration::from_secs(10);

/// A body of which no byte comes for so long, on any connection, is given up.
const IDLE: Duration = Duration::from_secs(30);

/// How often a body that breaks before its first byte is asked for again.
const ATTEMPTS: u32 = 5;

pub(super) struct Body {
    object: S3Object,
    at: u64,
    end: u64,
    open: Option<ByteStream>,
    failures: u32,
    /// Since when no byte has come.
    since: Instant,
    breaks: Arc<AtomicU32>,
}

impl Body {
    pub(super) fn new(object: S3Object, range: Range<u64>, breaks: Arc<AtomicU32>) -> Self {
        Self { object, at: range.start, end: range.end, open: None, failures: 0, since: Instant::now(), breaks }
    }

    /// The next bytes; `None` at the end of the range.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, S3Error> {
        while self.at < self.end {
            match self.attempt().await {
                Ok(Some(chunk)) => {
                    (self.failures, self.since) = (0, Instant::now());
                    self.at += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Ok(None) => self.broke("it ended early".into()).await?,
                Err(error) if is_lasting(&error) => return Err(error),
                Err(error) => self.broke(error.to_string()).await?,
            }
        }
        Ok(None)
    }

    async fn attempt(&mut self) -> Result<Option<Bytes>, S3Error> {
        let body = match &mut self.open {
            Some(body) => body,
            none => none.insert(get(&self.object, self.at, self.end).await?),
        };
        let uri = || self.object.uri.to_string();
        let other = |why: String| S3Error::Unreachable { uri: uri(), why };
        match tokio::time::timeout(STALLED, body.next()).await {
            Err(_) if self.since.elapsed() >= IDLE => {
                Err(S3Error::Silent { uri: uri(), what: "sent a byte", time: self.since.elapsed() })
            }
            Err(_) => Err(other(format!("no byte for {}", seconds(STALLED)))),
            Ok(None) => Ok(None),
            Ok(Some(Err(error))) => Err(other(causes(&error))),
            Ok(Some(Ok(mut chunk))) => {
                chunk.truncate(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
                Ok(Some(chunk))
            }
        }
    }

    /// Waits a little, and lets the next attempt ask for the rest; gives up after [`ATTEMPTS`] without a byte.
    async fn broke(&mut self, why: String) -> Result<(), S3Error> {
        self.open = None;
        self.failures += 1;
        self.breaks.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(uri = %self.object.uri, at = self.at, why, attempt = self.failures, "the transfer broke");
        if self.failures >= ATTEMPTS {
            let why = format!("it broke off at byte {} of {} {ATTEMPTS} times: {why}", self.at, self.object.size);
            return Err(S3Error::Unreachable { uri: self.object.uri.to_string(), why });
        }
        poll::pause(Duration::from_millis(100 << self.failures)).await;
        Ok(())
    }
}

const fn is_lasting(error: &S3Error) -> bool {
    !matches!(error, S3Error::Unreachable { .. } | S3Error::Other { .. })
}

async fn get(object: &S3Object, from: u64, end: u64) -> Result<ByteStream, S3Error> {
    let uri = &object.uri;
    let request = object.client.get_object().bucket(uri.bucket()).key(uri.key()).if_match(&object.etag);
    let request = request.set_request_payer(object.payer.clone());
    let request = request.set_version_id(uri.version().map(str::to_owned)).range(format!("bytes={from}-{}", end - 1));
    let answer = Box::pin(request.send()).await.map_err(|error| explain(uri, &error, false))?;
    check_range(&answer, object, from, end)?;
    Ok(answer.body)
}

/// A server that answers another range than the one it was asked for would mix up the bytes.
fn check_range(answer: &GetObjectOutput, object: &S3Object, from: u64, end: u64) -> Result<(), S3Error> {
    let wrong = |why: String| Err(S3Error::Other { uri: object.uri.to_string(), why });
    let wanted = format!("bytes {from}-{}/{}", end - 1, object.size);
    match answer.content_range() {
        None if from == 0 => Ok(()),
        None => wrong("the server ignores ranges".into()),
        Some(range) if range == wanted => Ok(()),
        Some(range) => wrong(format!("the server was asked for `{wanted}` and gives `{}`", printable(range))),
    }
}
