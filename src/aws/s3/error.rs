//! Why S3 did not give what was wanted.

use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::aws::config;
use crate::aws::config::causes;
use crate::error::{Failure, Kind, ObserveFailure};
use crate::values::text::seconds;
use crate::values::types::S3Uri;

/// The SDK's words where the answer has none.
const UNEXPLAINED: &str = "service error: unhandled error";

type Answer = aws_sdk_s3::config::http::HttpResponse;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum S3Error {
    #[error("bucket {0} does not exist")]
    NoSuchBucket(String),
    /// No such key, or no such version of it.
    #[error("{0} does not exist")]
    NoSuchKey(String),
    #[error("access to {uri} is denied: {why}")]
    Denied { uri: String, why: String },
    /// Without an answer to where.
    #[error("the bucket of {0} is in another region, and the answer does not say in which")]
    Elsewhere(String),
    #[error("{uri} is archived in storage class {class}, where it cannot be read")]
    Archived { uri: String, class: String },
    #[error("no AWS credentials for {uri}: {why}")]
    NoCredentials { uri: String, why: String },
    /// It was asked as often as it may be.
    #[error("S3 throttles requests for {0}, or has no capacity (503)")]
    Throttled(String),
    /// It was replaced since its HEAD.
    #[error("{0} was replaced while it was read")]
    Changed(String),
    #[error("S3 has not {what} for {}: {uri}", seconds(*time))]
    Silent {
        uri: String,
        /// `answered`, or `sent a byte`.
        what: &'static str,
        time: Duration,
    },
    #[error("S3 cannot be reached for {uri}: {why}")]
    Unreachable { uri: String, why: String },
    #[error("cannot read {uri}: {why}")]
    Other { uri: String, why: String },
}

impl S3Error {
    pub(crate) const fn next(&self) -> &'static str {
        match self {
            Self::NoSuchBucket(_) => "correct the bucket's name",
            Self::NoSuchKey(_) => "upload it first, or correct the key or the versionId",
            Self::Denied { .. } => {
                "let the instance role s3:GetObject (and kms:Decrypt) on that object; to who lacks s3:ListBucket S3 says the same of \
                 an object that does not exist; a bucket whose requester pays needs BALEHOOK_S3_REQUESTER_PAYS=true"
            }
            Self::Elsewhere(_) => "set AWS_REGION to the bucket's region, or correct AWS_ENDPOINT_URL",
            Self::Archived { .. } => "restore it (aws s3api restore-object), or upload it in another storage class",
            Self::NoCredentials { .. } => "attach an instance profile, or set AWS_PROFILE or a region for this host",
            Self::Throttled(_) => "deploy to fewer hosts at once, or spread the objects over more prefixes",
            Self::Changed(_) => "deploy again; upload archives under a new key, or name a versionId",
            Self::Unreachable { .. } | Self::Silent { .. } => {
                "can this host reach S3 (DNS, route, VPC endpoint, proxy)?"
            }
            Self::Other { .. } => "deploy again; if it happens again, read the object with `aws s3 cp` on this host",
        }
    }

    /// S3 was asked and said no.
    pub(crate) const fn is_definite(&self) -> bool {
        !matches!(
            self,
            Self::NoCredentials { .. } | Self::Throttled(_) | Self::Unreachable { .. } | Self::Silent { .. }
        )
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

/// The region that S3 names when it was asked in another one.
pub(super) fn region_of<E>(error: &SdkError<E, Answer>) -> Option<String> {
    let response = error.raw_response()?;
    let moved = matches!(response.status().as_u16(), 301 | 307 | 400);
    response.headers().get("x-amz-bucket-region").filter(|_| moved).map(str::to_owned)
}

pub(super) fn explain<E>(uri: &S3Uri, error: &SdkError<E, Answer>, is_head: bool) -> S3Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    SdkError<E, Answer>: std::error::Error,
{
    let (name, why) = (uri.to_string(), causes(error));
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    if matches!(error, SdkError::TimeoutError(_)) {
        return S3Error::Silent { uri: name, what: "answered", time: config::ANSWER };
    }
    match (error.raw_response().map(|response| response.status().as_u16()), code) {
        (_, "NoSuchBucket") => S3Error::NoSuchBucket(uri.bucket().to_owned()),
        (Some(404), _) if is_head => S3Error::NoSuchKey(name),
        (_, "NoSuchKey" | "NoSuchVersion") => S3Error::NoSuchKey(name),
        (Some(412), _) => S3Error::Changed(name),
        // Source: S3 user guide, "Best practices design patterns": 503 Slow Down. The answer to a HEAD has no code.
        (Some(503), "SlowDown" | "ServiceUnavailable") => S3Error::Throttled(name),
        (Some(503), _) if is_head => S3Error::Throttled(name),
        (_, "InvalidObjectState") => S3Error::Archived { uri: name, class: "GLACIER".into() },
        (Some(301 | 307), _) => S3Error::Elsewhere(name),
        (Some(401 | 403), _) => {
            let words = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or("403 Forbidden");
            S3Error::Denied { uri: name, why: words.to_owned() }
        }
        (Some(status), _) if why.starts_with(UNEXPLAINED) => {
            S3Error::Other { uri: name, why: format!("HTTP {status}") }
        }
        (Some(status), _) => S3Error::Other { uri: name, why: format!("HTTP {status}: {why}") },
        (None, _) if why.contains("credentials") => S3Error::NoCredentials { uri: name, why },
        (None, _) => S3Error::Unreachable { uri: name, why },
    }
}
