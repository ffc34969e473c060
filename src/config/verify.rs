//! `verify`: what must hold of an image before the engine gets it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::ImageSource;
use crate::values::severity::Severity;
use crate::values::types::ContentDigest;

/// Before the name of a key in KMS, as `cosign` writes it.
pub(crate) const KMS: &str = "awskms://";

/// All of it must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verify {
    /// Of an archive's bytes.
    pub(crate) sha256: Option<Checksum>,
    /// Of an archive's bytes.
    pub(crate) signature: Option<Signature>,
    /// Of an image in a registry.
    pub(crate) cosign: Option<Key>,
    /// Labels that the image must have, with these values.
    pub(crate) labels: BTreeMap<String, String>,
    /// What it must be built for, as `linux/arm64`.
    pub(crate) platform: Option<String>,
    /// Of an image in ECR.
    pub(crate) scan: Option<Scan>,
}

/// What the scan of ECR may have found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The worst that is let pass.
    pub(crate) most: Severity,
    /// How long a scan that goes on is waited for.
    pub(crate) wait: Duration,
}

impl Scan {
    /// As `nothing above high`.
    pub(crate) fn limit(&self) -> String {
        match self.most {
            Severity::None => "no finding".to_owned(),
            most => format!("nothing above {most}"),
        }
    }
}

/// The digest of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Checksum {
    Digest(ContentDigest),
    /// As `sha256sum` writes it.
    File(PathBuf),
}

/// A detached signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) file: PathBuf,
    pub(crate) key: Key,
}

/// A public key, as it is written, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) written: String,
    pub(crate) place: KeyPlace,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyPlace {
    File(PathBuf),
    /// By its ID, its alias or its ARN, which names a region too.
    Kms {
        id: String,
        region: Option<String>,
    },
}

impl KeyPlace {
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Kms { .. } => None,
        }
    }
}

impl Verify {
    /// The strongest way by which it is known who made the image, or which one it is: as a policy names it.
    pub(crate) const fn way(&self) -> Option<&'static str> {
        match self {
            Self { cosign: Some(_), .. } => Some("cosign"),
            Self { signature: Some(_), .. } => Some("signature"),
            Self { sha256: Some(_), .. } => Some("sha256"),
            _ => None,
        }
    }

    /// Whether the bytes of an archive are looked at.
    pub(crate) const fn is_of_bytes(&self) -> bool {
        self.sha256.is_some() || self.signature.is_some()
    }

    /// Whether the image's own config is looked at.
    pub(crate) fn is_of_config(&self) -> bool {
        !self.labels.is_empty() || self.platform.is_some()
    }

    /// The keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.cosign.iter().chain(self.signature.iter().map(|signature| &signature.key))
    }

    /// The files that are read.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let checksum = match &self.sha256 {
            Some(Checksum::File(path)) => Some(path.as_path()),
            Some(Checksum::Digest(_)) | None => None,
        };
        let signature = self.signature.iter().map(|signature| signature.file.as_path());
        self.keys().filter_map(|key| key.place.file()).chain(signature).chain(checksum)
    }

    /// In one line, the same in whichever folder the bundle lies.
    pub(crate) fn said(&self, bundle_root: &Path) -> String {
        let relative = |path: &Path| path.strip_prefix(bundle_root).unwrap_or(path).display().to_string();
        let checksum = self.sha256.as_ref().map(|sum| match sum {
            Checksum::Digest(digest) => digest.to_string(),
            Checksum::File(path) => format!("the sha256 in {}", relative(path)),
        });
        let signature = self
            .signature
            .as_ref()
            .map(|signature| format!("signature {} by {}", relative(&signature.file), signature.key));
        let cosign = self.cosign.as_ref().map(|key| format!("cosign signature by {key}"));
        let labels = self.labels.iter().map(|(name, value)| format!("label {name}={value}"));
        let platform = self.platform.iter().map(|platform| format!("platform {platform}"));
        let scan = self.scan.iter().map(|scan| format!("ECR scan with {}", scan.limit()));
        let all = checksum.into_iter().chain(signature).chain(cosign).chain(labels).chain(platform).chain(scan);
        all.collect::<Vec<_>>().join(", ")
    }
}

impl ImageSource {
    /// What must hold of the image.
    pub(crate) fn verify(&self) -> Option<&Verify> {
        match self {
            Self::Registry(_, _, verify, _) | Self::Archive { verify, .. } => verify.as_deref(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}
