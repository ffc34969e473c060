//! Secrets that a container gets as files. No value stands here: a digest with a salt of this host stands for it.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::values::pin::ImagePin;
use crate::values::source::Source;
use crate::values::types::ContentDigest;

/// Where the files of all names are, below the folder of what does not outlive the host's memory.
pub(crate) const FOLDER: &str = "secrets";

/// The secrets of one container: a folder in the host's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSet {
    /// Its absolute path; the last name is of its content.
    pub folder: String,
    /// The image whose user owns the files.
    pub image: ImagePin,
    /// `user`, which comes before the image's.
    pub user: Option<String>,
    /// In the file's order.
    pub files: Vec<SecretFile>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct SecretFile {
    pub name: String,
    /// Its absolute path in the container.
    pub target: String,
    /// Another owner than the container's user.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mode: u32,
    pub source: SecretSource,
    /// Of the value, with this host's salt.
    pub digest: String,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSource {
    /// A file of the bundle: the agent removes that one day.
    Bundle(PathBuf),
    /// A file of this host.
    File(PathBuf),
    /// A variable of the hook, or of the files of `variables`.
    Environment(String),
    /// It is fetched, at every boot too: no copy of it is kept.
    Fetched(Source),
}

impl SecretSource {
    /// Whether it can be read again when the bundle and the hook are gone.
    pub(crate) const fn lasts(&self) -> bool {
        match self {
            Self::File(_) | Self::Fetched(_) => true,
            Self::Bundle(_) | Self::Environment(_) => false,
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle(path) | Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "variable {name}"),
            Self::Fetched(source) => write!(f, "{source}"),
        }
    }
}

impl SecretSet {
    /// The file of its folder that is mounted for one of the secrets.
    pub(crate) fn path(&self, number: usize) -> String {
        format!("{}/{number}", self.folder)
    }

    /// By their names.
    pub(crate) fn names(&self) -> String {
        self.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The bytes of a secret: never printed, and overwritten when they are no longer needed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Wraps a value.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The value itself, for the one place that writes it.
    pub(crate) fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// What stands for it in records: without the salt it tells nothing of a short value.
    pub(crate) fn digest(&self, salt: &[u8]) -> String {
        let salted = Zeroizing::new([salt, &self.0].concat());
        ContentDigest::of(&salted).hex().to_owned()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_never_printed_and_its_digest_is_another_one_with_another_salt() {
        let value = SecretValue::new(b"hunter2".to_vec());
        assert_eq!(format!("{value:?}"), "***");
        assert_eq!(value.digest(b"a"), value.clone().digest(b"a"));
        assert_ne!(value.digest(b"a"), value.digest(b"b"));
        assert_ne!(value.digest(b""), SecretValue::new(b"hunter3".to_vec()).digest(b""));
    }
}
