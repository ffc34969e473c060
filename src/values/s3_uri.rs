//! The address of an object in S3.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::values::types::{Refused, through_text};

/// `s3://bucket/key[?versionId=…]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct S3Uri {
    bucket: String,
    key: String,
    version: Option<String>,
}

impl S3Uri {
    pub(crate) fn bucket(&self) -> &str {
        &self.bucket
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The object's version, where the URI names one.
    pub(crate) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

/// Where the bucket ends. The ARN of an access point has slashes of its own:
/// `arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME`, or `…:outpost/ID/accesspoint/NAME`.
fn bucket_end(path: &str) -> Option<usize> {
    let resource = path.splitn(6, ':').nth(5).filter(|_| path.starts_with("arn:")).unwrap_or_default();
    let own = match () {
        () if resource.starts_with("outpost/") => 3,
        () if resource.starts_with("accesspoint/") => 1,
        () => 0,
    };
    path.match_indices('/').nth(own).map(|(at, _)| at)
}

impl FromStr for S3Uri {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let rest = text.strip_prefix("s3://").ok_or_else(|| Refused("must start with `s3://`".into()))?;
        let (path, version) = match rest.rsplit_once("?versionId=") {
            Some((_, "")) => return Err(Refused("has an empty `versionId`".into())),
            Some((path, version)) => (path, Some(version.to_owned())),
            None => (rest, None),
        };
        let end =
            bucket_end(path).ok_or_else(|| Refused("must name a key behind the bucket: `s3://bucket/key`".into()))?;
        let (bucket, key) = (&path[..end], &path[end + 1..]);
        let is_arn = bucket.starts_with("arn:");
        let good = (3..=255).contains(&bucket.len())
            && bucket
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':') || is_arn && c == '/');
        if !good {
            return Err(Refused(format!("has a bad bucket name `{bucket}`")));
        }
        if key.is_empty() || key.len() > 1024 {
            return Err(Refused("must name a key of 1 to 1024 bytes: `s3://bucket/key`".into()));
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned(), version })
    }
}

impl fmt::Display for S3Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)?;
        match &self.version {
            Some(version) => write!(f, "?versionId={version}"),
            None => Ok(()),
        }
    }
}

through_text!(S3Uri);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_access_point_is_named_by_its_arn_or_its_alias() {
        let read = |text: &str| {
            let uri: S3Uri = text.parse().unwrap();
            assert_eq!(uri.to_string(), text);
            (uri.bucket().to_owned(), uri.key().to_owned())
        };
        let pair = |bucket: &str, key: &str| (bucket.to_owned(), key.to_owned());
        let point = "arn:aws:s3:eu-west-1:123456789012:accesspoint/releases";
        assert_eq!(read(&format!("s3://{point}/team/web.tar")), pair(point, "team/web.tar"));
        let colon = "arn:aws:s3:eu-west-1:123456789012:accesspoint:releases";
        assert_eq!(read(&format!("s3://{colon}/web.tar?versionId=7")), pair(colon, "web.tar"));
        let outpost = "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-01ac5d28a6a232904/accesspoint/releases";
        assert_eq!(read(&format!("s3://{outpost}/web.tar")), pair(outpost, "web.tar"));
        assert_eq!(read("s3://releases-0123-s3alias/web.tar"), pair("releases-0123-s3alias", "web.tar"));
        assert!(format!("s3://{point}").parse::<S3Uri>().is_err());
    }
}
