//! S3: a head, ranges, and parts that resume at the byte where they broke.

mod body;
mod error;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{RequestPayer, StorageClass};
use bytes::{Bytes, BytesMut};
use tokio::sync::OnceCell;

use crate::aws::config;
use crate::aws::s3::body::Body;
use crate::aws::s3::error::{explain, region_of};
use crate::values::text::seconds;
use crate::values::types::S3Uri;
use crate::waits::Waits;

pub(crate) use crate::aws::s3::error::S3Error;

/// What is read is kept in pieces of so many bytes.
pub(crate) const PIECE: usize = 256 * 1024;

/// How often a request that the server is too busy for is sent.
const REQUESTS: u32 = 7;

/// The pause after the first time; twice as long after each, and a part of that by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A lazy client: nothing is read or sent before it is used.
#[derive(Debug, Clone)]
pub(crate) struct S3 {
    path_style: Option<bool>,
    has_endpoint: bool,
    /// Who asks pays for the transfer: said in every request.
    payer: Option<RequestPayer>,
    home: Option<PathBuf>,
    client: Arc<OnceCell<Client>>,
    waits: Waits,
}

#[derive(Debug, Clone)]
pub(crate) struct S3Object {
    pub(crate) uri: S3Uri,
    pub(crate) size: u64,
    /// Its entity tag, with the quotes.
    pub(crate) etag: String,
    client: Client,
    payer: Option<RequestPayer>,
}

impl S3 {
    /// Settings from the environment: `BALEHOOK_S3_PATH_STYLE=true|false`, `BALEHOOK_S3_REQUESTER_PAYS=true`; the rest is the AWS SDK's own
    /// (`AWS_PROFILE`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, …). Path style is the default
    /// where an endpoint is set: few S3-compatible servers answer to a host name for each bucket.
    pub(crate) fn from_env(variable: &dyn Fn(&str) -> Option<String>, waits: &Waits) -> Self {
        let path_style = variable("BALEHOOK_S3_PATH_STYLE").and_then(|text| text.parse().ok());
        let has_endpoint = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"].iter().any(|name| variable(name).is_some());
        Self {
            path_style,
            has_endpoint,
            payer: variable("BALEHOOK_S3_REQUESTER_PAYS")
                .filter(|text| text == "true")
                .map(|_| RequestPayer::Requester),
            home: config::home_if_unset(variable),
            client: Arc::new(OnceCell::new()),
            waits: waits.clone(),
        }
    }

    /// Looks at an object; a bucket in another region is followed.
    pub(crate) async fn head(&self, uri: &S3Uri) -> Result<S3Object, S3Error> {
        let silent = |time| S3Error::Silent { uri: uri.to_string(), what: "answered", time }.to_string();
        self.waits.on(silent, self.find(uri)).await
    }

    async fn find(&self, uri: &S3Uri) -> Result<S3Object, S3Error> {
        let client = self.client().await;
        match self.head_by(&client, uri).await {
            Err((_, Some(region))) => {
                let config = client.config().to_builder().region(Region::new(region)).build();
                self.head_by(&Client::from_conf(config), uri).await.map_err(|(error, _)| error)
            }
            Err((error @ S3Error::NoSuchKey(_), None)) => Err(self.which_is_missing(&client, uri, error).await),
            other => other.map_err(|(error, _)| error),
        }
    }

    /// A small object as a whole.
    /// Errors: See [`S3Error`]; an object larger than `limit` bytes is refused.
    pub(crate) async fn get_small(&self, uri: &S3Uri, limit: usize) -> Result<Bytes, S3Error> {
        let object = self.head(uri).await?;
        if object.size > limit as u64 {
            let why = format!("it has {} bytes, more than {limit}", object.size);
            return Err(S3Error::Other { uri: uri.to_string(), why });
        }
        self.read_range(&object, 0, usize::try_from(object.size).unwrap_or(limit)).await
    }

    pub(crate) async fn read_range(&self, object: &S3Object, offset: u64, len: usize) -> Result<Bytes, S3Error> {
        let end = object.size.min(offset + len as u64);
        let part = self.part(object, offset..end, Arc::default());
        let mut pieces = self.wait_for(object, &(offset..end), part).await?;
        Ok(match pieces.len() {
            0 | 1 => pieces.pop().unwrap_or_default(),
            _ => pieces.concat().into(),
        })
    }

    pub(crate) async fn wait_for<T>(&self, object: &S3Object, range: &Range<u64>, part: impl Future<Output = T>) -> T {
        let late = |waited| {
            let (first, last, uri) = (range.start, range.end.saturating_sub(1), &object.uri);
            format!("S3 has not sent bytes {first} to {last} of {uri} for {}", seconds(waited))
        };
        self.waits.on(late, part).await
    }

    /// A range of the object in pieces of at most [`PIECE`]: one GET, gone on with at the byte where it breaks. `breaks`
    /// is counted up each time that it does.
    pub(crate) async fn part(
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
        self.with(&Box::pin(config::defaults(self.home.as_deref()).load()).await)
    }

    fn with(&self, shared: &SdkConfig) -> Client {
        let region = shared.region().cloned().unwrap_or_else(|| Region::from_static("us-east-1"));
        let config = aws_sdk_s3::config::Builder::from(shared)
            .region(region)
            .use_arn_region(true)
            .force_path_style(self.path_style.unwrap_or(self.has_endpoint))
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .retry_config(RetryConfig::standard().with_max_attempts(REQUESTS).with_initial_backoff(FIRST_PAUSE))
            // Ours instead: a slow engine must not look like a stalled server.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Client::from_conf(config)
    }

    async fn head_by(&self, client: &Client, uri: &S3Uri) -> Result<S3Object, (S3Error, Option<String>)> {
        let request = client.head_object().bucket(uri.bucket()).key(uri.key()).set_request_payer(self.payer.clone());
        let request = request.set_version_id(uri.version().map(str::to_owned));
        let answer = Box::pin(request.send()).await.map_err(|error| {
            let region = region_of(&error);
            (explain(uri, &error, true), region)
        })?;
        if let Some(class) = archived(&answer) {
            return Err((S3Error::Archived { uri: uri.to_string(), class }, None));
        }
        let size = answer.content_length().and_then(|size| u64::try_from(size).ok());
        let (Some(size), Some(etag)) = (size, answer.e_tag()) else {
            let why = "the server gave no length or no ETag".to_owned();
            return Err((S3Error::Other { uri: uri.to_string(), why }, None));
        };
        let (client, payer) = (client.clone(), self.payer.clone());
        Ok(S3Object { uri: uri.clone(), size, etag: etag.to_owned(), client, payer })
    }

    /// The answer to a HEAD has no body: a GET of one byte tells a missing bucket from a missing key.
    async fn which_is_missing(&self, client: &Client, uri: &S3Uri, error: S3Error) -> S3Error {
        let request = client.get_object().bucket(uri.bucket()).key(uri.key()).set_request_payer(self.payer.clone());
        match Box::pin(request.range("bytes=0-0").send()).await {
            Err(answer) => match explain(uri, &answer, false) {
                found @ S3Error::NoSuchBucket(_) => found,
                _ => error,
            },
            Ok(_) => error,
        }
    }
}

/// The storage class of an object that must be restored before it can be read.
fn archived(answer: &HeadObjectOutput) -> Option<String> {
    let class = match (answer.archive_status(), answer.storage_class()) {
        (Some(status), _) => status.as_str(),
        (None, Some(class @ (StorageClass::Glacier | StorageClass::DeepArchive))) => class.as_str(),
        (None, _) => return None,
    };
    let is_restored = answer.restore().is_some_and(|restore| restore.contains("ongoing-request=\"false\""));
    (!is_restored).then(|| class.to_owned())
}
