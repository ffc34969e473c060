//! Types that refuse: none of them can hold a bad value.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::values::s3_uri::S3Uri;
use crate::values::secret::{HIDDEN, masked_value};
pub use crate::values::secret_value::Secret;
pub(crate) use crate::values::secret_value::{revealed, stored};
use crate::values::source::Source;

/// The name of a container, compose project or swarm service: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A content digest, `sha256:` and 64 lower-case hexadecimal digits.
///
/// Source: OCI image specification, descriptor, "Digests".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentDigest(String);

/// Why a text is not a value of one of these types: a clause that follows the offending text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let mut letters = text.chars();
        let first = letters.next().is_some_and(|c| c.is_ascii_alphanumeric());
        let rest = letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        if !(first && rest && text.len() <= 63) {
            return Err(Refused("must start with a letter or a digit, go on with letters, digits, `_`, `.` and `-`, and have at most 63 characters".into()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl ContentDigest {
    /// The whole text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.0[7..]
    }

    /// The first twelve digits, as Docker prints them.
    pub fn short(&self) -> &str {
        &self.0[7..19]
    }

    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self::finish(sha2::Sha256::new_with_prefix(bytes))
    }

    /// The digest of what a hasher was given.
    pub(crate) fn finish(hasher: sha2::Sha256) -> Self {
        use sha2::Digest as _;
        use std::fmt::Write as _;
        let mut text = String::from("sha256:");
        for byte in hasher.finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }
}

impl AsRef<str> for ContentDigest {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContentDigest {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let hex = text.strip_prefix("sha256:").ok_or_else(|| Refused("must start with `sha256:`".into()))?;
        let good = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !good {
            return Err(Refused("must be `sha256:` and 64 digits of 0-9 and a-f".into()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The chain IDs of an image's layers, bottom first.
pub(crate) fn chain_ids<T: AsRef<str>>(diff_ids: &[T]) -> Vec<ContentDigest> {
    let mut chain: Vec<ContentDigest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids.iter().map(AsRef::as_ref) {
        let next = match chain.last() {
            Some(below) => Some(ContentDigest::of(format!("{below} {diff_id}").as_bytes())),
            None => diff_id.parse().ok(),
        };
        let Some(next) = next else { return chain };
        chain.push(next);
    }
    chain
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// In files these are text, read and printed as everywhere.
macro_rules! through_text {
    ($($name:ty),*) => {$(
        impl TryFrom<String> for $name {
            type Error = Refused;
            fn try_from(text: String) -> Result<Self, Refused> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )*};
}

pub(super) use through_text;

through_text!(Name, ContentDigest);

/// One variable of a container's environment. The value is a [`Secret`] whatever it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// The variable's name.
    pub name: String,
    /// Its value; `None` removes a variable of the image (`- NAME` without a value that the hook environment lacks).
    #[serde(default, with = "stored")]
    pub value: Option<Secret>,
    /// Never printed: it comes from a file. Any other is hidden where it looks like a secret.
    pub hidden: bool,
}

impl EnvVar {
    /// The value as it may be printed; `None` where there is none.
    pub fn shown(&self) -> Option<String> {
        let value = self.value.as_ref()?;
        Some(if self.hidden { HIDDEN.to_owned() } else { masked_value(&self.name, value.reveal()) })
    }

    /// Whether a part of the value is not printed.
    pub fn is_hidden(&self) -> bool {
        self.value.as_ref().is_some_and(|value| self.shown().as_deref() != Some(value.reveal()))
    }

    /// A variable whose value is fetched when it is deployed.
    pub(crate) fn of(name: &str, source: Source) -> Self {
        Self { name: name.to_owned(), value: Some(Secret::of(source)), hidden: true }
    }

    /// Where the value comes from, where it is fetched.
    pub(crate) fn source(&self) -> Option<&Source> {
        self.value.as_ref()?.source()
    }
}

/// The lifecycle events that CodeDeploy runs scripts for, in their order.
///
/// Source: AppSpec 'hooks' section for an EC2/On-Premises deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
#[allow(missing_docs)] // the names are the documentation
pub enum LifecycleEvent {
    BeforeBlockTraffic,
    AfterBlockTraffic,
    ApplicationStop,
    BeforeInstall,
    AfterInstall,
    ApplicationStart,
    ValidateService,
    BeforeAllowTraffic,
    AfterAllowTraffic,
}

impl LifecycleEvent {
    /// Whether it is for a release that replaces another one. The others find one release alone.
    pub(crate) const fn replaces(self) -> bool {
        match self {
            Self::BeforeInstall | Self::AfterInstall | Self::ApplicationStart => true,
            Self::BeforeBlockTraffic
            | Self::AfterBlockTraffic
            | Self::ApplicationStop
            | Self::ValidateService
            | Self::BeforeAllowTraffic
            | Self::AfterAllowTraffic => false,
        }
    }
}

/// How long the engine, or the swarm, lets a container without `stop_grace_period` take to stop.
/// Source: docker stop, `--time`; docker service create, `--stop-grace-period`.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(10);
