//! Which image exactly: what a tag or an archive was resolved to.

use serde::{Deserialize, Serialize};

use crate::values::types::{ContentDigest, Name};

/// In place of a digest that is not known, in a plan that is never run.
const UNRESOLVED: &str = "(not resolved)";

/// One exact image. What runs and what is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "lowercase")]
#[allow(missing_docs)] // the names say it
pub enum ImagePin {
    /// An image of a registry, by its manifest's (or the index's) digest. The repository is `host/path`; the tag is the one
    /// that was resolved, where there was one.
    Registry { repository: String, tag: Option<String>, digest: ContentDigest },
    /// An image of an archive, by its content: the digest of its config, which is its ID on engines with graph drivers, and
    /// its layers, uncompressed, bottom first. The reference is the archive's own.
    Content { reference: Option<String>, config: ContentDigest, diff_ids: Vec<ContentDigest> },
    /// An image of an archive that cannot be read before it is loaded (it is compressed).
    Unread {
        /// Where the archive is, with what tells one version of it from another (entity tag, or digest).
        archive: String,
        /// The reference wanted of it.
        reference: Option<String>,
        /// The only config digest that is accepted.
        id: Option<ContentDigest>,
        /// The digest of the archive that was verified: no other bytes are loaded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<ContentDigest>,
    },
    /// Not looked up: a dry run that could not reach the registry or the archive. As written.
    Unknown { wanted: String },
}

impl ImagePin {
    /// What tells this image from any other, for labels and for the tag of ours that keeps it.
    pub(crate) fn identity(&self) -> ContentDigest {
        match self {
            Self::Registry { digest, .. } => digest.clone(),
            Self::Content { config, .. } => config.clone(),
            Self::Unread { archive, reference, id, sha256 } => {
                let id = id.iter().chain(sha256).map(|digest| format!("\n{digest}")).collect::<String>();
                ContentDigest::of(format!("{archive}\n{}{id}", reference.as_deref().unwrap_or_default()).as_bytes())
            }
            Self::Unknown { wanted } => ContentDigest::of(wanted.as_bytes()),
        }
    }

    /// The same as a label has it, and what is made of it; none is invented for what was not looked up.
    pub(crate) fn label(&self, digest: &ContentDigest) -> String {
        match self {
            Self::Unknown { .. } => UNRESOLVED.to_owned(),
            Self::Registry { .. } | Self::Content { .. } | Self::Unread { .. } => digest.to_string(),
        }
    }

    /// As a person reads it: `web:1.4.2 (sha256:0123456789ab)`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Registry { repository, tag, digest } => {
                let tag = tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
                format!("{repository}{tag} ({})", short(digest))
            }
            Self::Content { reference, config, .. } => {
                format!("{} ({})", reference.as_deref().unwrap_or("image"), short(config))
            }
            Self::Unread { archive, reference, .. } => {
                // Twelve digits of the content's digest.
                let archive = match archive.split_once("sha256:") {
                    Some((before, digest)) => format!("{before}sha256:{})", digest.get(..12).unwrap_or(digest)),
                    None => archive.clone(),
                };
                format!("{} of {archive}", reference.as_deref().unwrap_or("the image"))
            }
            Self::Unknown { wanted } => format!("{wanted} {UNRESOLVED}"),
        }
    }

    /// What `docker run` would be given.
    pub fn argument(&self) -> String {
        match self {
            Self::Registry { repository, digest, .. } => format!("{repository}@{digest}"),
            Self::Content { config, .. } => config.to_string(),
            Self::Unread { archive, reference, .. } => reference.clone().unwrap_or_else(|| archive.clone()),
            Self::Unknown { wanted } => wanted.clone(),
        }
    }

    /// The tag of ours that keeps the image of a release from `docker image prune`.
    pub fn retention_tag(&self, name: &Name) -> String {
        match self {
            Self::Unknown { .. } => format!("{}:{UNRESOLVED}", retention_repository(name)),
            Self::Registry { .. } | Self::Content { .. } | Self::Unread { .. } => retention_tag(name, &self.identity()),
        }
    }
}

fn short(digest: &ContentDigest) -> String {
    format!("sha256:{}", digest.short())
}

/// The tag of ours of the image with this identity.
pub(crate) fn retention_tag(name: &Name, identity: &ContentDigest) -> String {
    format!("{}:{}", retention_repository(name), identity.short())
}

/// What our own tags begin with.
pub(crate) const RETENTION: &str = "balehook/";

/// The repository of our own tags for the images of one name. A repository must be lower case and may not repeat
/// separators, so that other names are hashed.
pub(crate) fn retention_repository(name: &Name) -> String {
    let text = name.as_str();
    let plain = text.split(['.', '_', '-']).all(|part| {
        !part.is_empty() && part.bytes().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
    });
    match plain {
        true => format!("{RETENTION}{text}"),
        false => format!("{RETENTION}n{}", ContentDigest::of(text.as_bytes()).short()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_loaded_of_a_compressed_archive_without_a_pinned_id_is_not_the_image_of_one_with_it() {
        let unread = |id| ImagePin::Unread { archive: "web.tar.gz".into(), reference: None, id, sha256: None };
        let id = ContentDigest::of(b"config");
        assert_ne!(unread(None).identity(), unread(Some(id.clone())).identity());
        assert_eq!(unread(Some(id.clone())).identity(), unread(Some(id)).identity());
    }

    #[test]
    fn names_that_are_no_repository_get_a_hashed_one() {
        for name in ["Web", "a..b", "a-", "x__y"] {
            let repository = retention_repository(&name.parse().unwrap());
            assert!(repository.starts_with("balehook/n") && repository.len() == 22, "{name}: {repository}");
        }
        assert_eq!(retention_repository(&"web-1.api".parse().unwrap()), "balehook/web-1.api");
    }
}
