//! S3: a head, ranges, and a stream that resumes at the byte where it broke.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_config::Region;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use tokio::sync::OnceCell;

use crate::aws::config;
use crate::error::{Failure, Kind, ObserveFailure, chain};
use crate::values::text::{printable, shorten};
use crate::values::types::S3Uri;

/// How long we wait for the next bytes of a body: a connection that is silent for so long is replaced.
const IDLE: Duration = Duration::from_secs(10);

/// What is read is kept in pieces of so many bytes.
pub const PIECE: usize = 256 * 1024;

/// How often a request that the server is too busy for is sent.
const REQUESTS: u32 = 7;

/// The pause after the first time; twice as long after each, and a part of that by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// How often a body that breaks without having brought a byte is asked for again.
const ATTEMPTS: u32 = 5;

/// A lazy client: nothing is read or sent before it is used.
#[derive(Debug, Clone)]
pub struct S3 {
    path_style: Option<bool>,
    has_endpoint: bool,
    home: Option<PathBuf>,
    client: Arc<OnceCell<Client>>,
}

/// An object as it was when it was looked at.
#[derive(Debug, Clone)]
pub struct S3Object {
    /// Where.
    pub uri: S3Uri,
    /// Bytes.
    pub size: u64,
    /// Its entity tag, with the quotes.
    pub etag: String,
    client: Client,
}

/// Why S3 did not give what was wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum S3Error {
    /// No such bucket.
    #[error("bucket {0} does not exist")]
    NoSuchBucket(String),
    /// No such key, or no such version of it.
    #[error("{0} does not exist")]
    NoSuchKey(String),
    /// The credentials may not read it.
    #[error("access to {uri} is denied: {why}")]
    Denied {
        /// The object.
        uri: String,
        /// S3's words.
        why: String,
    },
    /// No credentials, or no region.
    #[error("no AWS credentials for {uri}: {why}")]
    NoCredentials {
        /// The object.
        uri: String,
        /// The chain's words.
        why: String,
    },
    /// It was replaced since it was looked at.
    #[error("{0} was replaced while it was read")]
    Changed(String),
    /// S3 cannot be reached.
    #[error("S3 cannot be reached for {uri}: {why}")]
    Unreachable {
        /// The object.
        uri: String,
        /// The cause.
        why: String,
    },
    /// Anything else.
    #[error("cannot read {uri}: {why}")]
    Other {
        /// The object.
        uri: String,
        /// The cause.
        why: String,
    },
}

impl S3Error {
    /// What to do next.
    pub const fn next(&self) -> &'static str {
        match self {
            Self::NoSuchBucket(_) => "correct the bucket's name in x-balehook.container.image.archive",
            Self::NoSuchKey(_) => "upload the archive first, or correct the key or the versionId",
            Self::Denied { .. } => "let the instance role s3:GetObject (and kms:Decrypt) on that object",
            Self::NoCredentials { .. } => "attach an instance profile, or set AWS_PROFILE or a region for this host",
            Self::Changed(_) => "deploy again; upload archives under a new key, or name a versionId",
            Self::Unreachable { .. } => "can this host reach S3 (DNS, route, VPC endpoint, proxy)?",
            Self::Other { .. } => "deploy again; if it happens again, read the object with `aws s3 cp` on this host",
        }
    }

    /// S3 was asked and said no.
    pub const fn is_definite(&self) -> bool {
        !matches!(self, Self::NoCredentials { .. } | Self::Unreachable { .. })
    }
}

impl From<&S3Error> for Failure {
    fn from(error: &S3Error) -> Self {
        Self::new(Kind::Image, error.to_string()).next(error.next())
    }
}

impl From<&S3Error> for ObserveFailure {
    fn from(error: &S3Error) -> Self {
        Self { failure: Failure::from(error), definite: error.is_definite() }
    }
}

impl S3 {
    /// Settings from the environment: `BALEHOOK_S3_PATH_STYLE=true|false`; the rest is the AWS SDK's own
    /// (`AWS_PROFILE`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, …). Path style is the default
    /// where an endpoint is set: few S3-compatible servers answer to a host name for each bucket.
    pub fn from_env(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let path_style = variable("BALEHOOK_S3_PATH_STYLE").and_then(|text| text.parse().ok());
        let has_endpoint = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"].iter().any(|name| variable(name).is_some());
        Self { path_style, has_endpoint, home: config::home_if_unset(variable), client: Arc::new(OnceCell::new()) }
    }

    /// Looks at an object; a bucket in another region is followed.
    ///
    /// # Errors
    /// See [`S3Error`].
    pub async fn head(&self, uri: &S3Uri) -> Result<S3Object, S3Error> {
        let client = self.client().await;
        match head(&client, uri).await {
            Err((_, Some(region))) => {
                let config = client.config().to_builder().region(Region::new(region)).build();
                head(&Client::from_conf(config), uri).await.map_err(|(error, _)| error)
            }
            Err((error @ S3Error::NoSuchKey(_), None)) => Err(which_is_missing(&client, uri, error).await),
            other => other.map_err(|(error, _)| error),
        }
    }

    /// A small object as a whole.
    ///
    /// # Errors
    /// See [`S3Error`]; an object larger than `limit` bytes is refused.
    pub async fn get_small(&self, uri: &S3Uri, limit: usize) -> Result<Bytes, S3Error> {
        let object = self.head(uri).await?;
        if object.size > limit as u64 {
            let why = format!("it has {} bytes, more than {limit}", object.size);
            return Err(S3Error::Other { uri: uri.to_string(), why });
        }
        self.read_range(&object, 0, usize::try_from(object.size).unwrap_or(limit)).await
    }

    /// `len` bytes from `offset`.
    ///
    /// # Errors
    /// See [`S3Error`].
    pub async fn read_range(&self, object: &S3Object, offset: u64, len: usize) -> Result<Bytes, S3Error> {
        let end = object.size.min(offset + len as u64);
        let mut pieces = self.part(object, offset..end, Arc::default()).await?;
        Ok(match pieces.len() {
            0 | 1 => pieces.pop().unwrap_or_default(),
            _ => pieces.concat().into(),
        })
    }

    /// A range of the object in pieces of at most [`PIECE`]: one GET, gone on with at the byte where it breaks. `breaks`
    /// is counted up each time that it does.
    ///
    /// # Errors
    /// See [`S3Error`].
    pub async fn part(
        &self,
        object: &S3Object,
        range: Range<u64>,
        breaks: Arc<AtomicU32>,
    ) -> Result<Vec<Bytes>, S3Error> {
        // Pieces of one size: what is freed of one part is just right for the next.
        let mut left = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut body = Body::new(object.clone(), range, breaks);
        let mut pieces = Vec::new();
        let mut piece = BytesMut::with_capacity(left.min(PIECE));
        while let Some(mut chunk) = body.next().await? {
            while !chunk.is_empty() {
                let room = left.min(PIECE) - piece.len();
                piece.extend_from_slice(&chunk.split_to(chunk.len().min(room)));
                if piece.len() == left.min(PIECE) {
                    left -= piece.len();
                    pieces.push(std::mem::replace(&mut piece, BytesMut::with_capacity(left.min(PIECE))).freeze());
                }
            }
        }
        Ok(pieces)
    }

    async fn client(&self) -> Client {
        self.client.get_or_init(|| self.build()).await.clone()
    }

    async fn build(&self) -> Client {
        let shared = config::defaults(self.home.as_deref()).load().await;
        let region = shared.region().cloned().unwrap_or_else(|| Region::from_static("us-east-1"));
        let config = aws_sdk_s3::config::Builder::from(&shared)
            .region(region)
            .force_path_style(self.path_style.unwrap_or(self.has_endpoint))
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .retry_config(RetryConfig::standard().with_max_attempts(REQUESTS).with_initial_backoff(FIRST_PAUSE))
            // Ours instead: a slow engine must not look like a stalled server.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Client::from_conf(config)
    }
}

/// A range of an object that is being read.
struct Body {
    object: S3Object,
    at: u64,
    end: u64,
    open: Option<ByteStream>,
    failures: u32,
    breaks: Arc<AtomicU32>,
}

impl Body {
    const fn new(object: S3Object, range: Range<u64>, breaks: Arc<AtomicU32>) -> Self {
        Self { object, at: range.start, end: range.end, open: None, failures: 0, breaks }
    }

    /// The next bytes; `None` at the end of the range.
    async fn next(&mut self) -> Result<Option<Bytes>, S3Error> {
        while self.at < self.end {
            match self.attempt().await {
                Ok(Some(chunk)) => {
                    self.failures = 0;
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
        let other = |why: String| S3Error::Unreachable { uri: self.object.uri.to_string(), why };
        match tokio::time::timeout(IDLE, body.next()).await {
            Err(_) => Err(other(format!("no byte for {IDLE:?}"))),
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
        tokio::time::sleep(Duration::from_millis(100 << self.failures)).await;
        Ok(())
    }
}

const fn is_lasting(error: &S3Error) -> bool {
    !matches!(error, S3Error::Unreachable { .. } | S3Error::Other { .. })
}

async fn head(client: &Client, uri: &S3Uri) -> Result<S3Object, (S3Error, Option<String>)> {
    let request =
        client.head_object().bucket(uri.bucket()).key(uri.key()).set_version_id(uri.version().map(str::to_owned));
    let answer = request.send().await.map_err(|error| {
        let region = region_of(&error);
        (explain(uri, &error, true), region)
    })?;
    let size = answer.content_length().and_then(|size| u64::try_from(size).ok());
    let (Some(size), Some(etag)) = (size, answer.e_tag()) else {
        let why = "the server gave no length or no ETag".to_owned();
        return Err((S3Error::Other { uri: uri.to_string(), why }, None));
    };
    Ok(S3Object { uri: uri.clone(), size, etag: etag.to_owned(), client: client.clone() })
}

/// The answer to a HEAD has no body: a GET of one byte tells a missing bucket from a missing key.
async fn which_is_missing(client: &Client, uri: &S3Uri, error: S3Error) -> S3Error {
    match client.get_object().bucket(uri.bucket()).key(uri.key()).range("bytes=0-0").send().await {
        Err(answer) => match explain(uri, &answer, false) {
            found @ S3Error::NoSuchBucket(_) => found,
            _ => error,
        },
        Ok(_) => error,
    }
}

async fn get(object: &S3Object, from: u64, end: u64) -> Result<ByteStream, S3Error> {
    let uri = &object.uri;
    let request = object.client.get_object().bucket(uri.bucket()).key(uri.key()).if_match(&object.etag);
    let request = request.set_version_id(uri.version().map(str::to_owned)).range(format!("bytes={from}-{}", end - 1));
    let answer = request.send().await.map_err(|error| explain(uri, &error, false))?;
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

/// The region that S3 names when it was asked in another one.
fn region_of<E>(error: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>) -> Option<String> {
    let response = error.raw_response()?;
    let moved = matches!(response.status().as_u16(), 301 | 307 | 400);
    response.headers().get("x-amz-bucket-region").filter(|_| moved).map(str::to_owned)
}

fn explain<E>(uri: &S3Uri, error: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>, is_head: bool) -> S3Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    SdkError<E, aws_sdk_s3::config::http::HttpResponse>: std::error::Error,
{
    let (name, why) = (uri.to_string(), causes(error));
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    match (error.raw_response().map(|response| response.status().as_u16()), code) {
        (_, "NoSuchBucket") => S3Error::NoSuchBucket(uri.bucket().to_owned()),
        (Some(404), _) if is_head => S3Error::NoSuchKey(name),
        (_, "NoSuchKey" | "NoSuchVersion") => S3Error::NoSuchKey(name),
        (Some(412), _) => S3Error::Changed(name),
        (Some(401 | 403), _) => {
            let words = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or("403 Forbidden");
            S3Error::Denied { uri: name, why: words.to_owned() }
        }
        (Some(status), _) => S3Error::Other { uri: name, why: format!("HTTP {status}: {why}") },
        (None, _) if why.contains("credentials") => S3Error::NoCredentials { uri: name, why },
        (None, _) => S3Error::Unreachable { uri: name, why },
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    shorten(&printable(&chain(error)), 300)
}
