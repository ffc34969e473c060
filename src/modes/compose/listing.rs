//! What a folder holds: every path with its mode and the digest of its content.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::inputs;
use crate::modes::compose::project::ProjectFolder;
use crate::values::types::ContentDigest;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Entry {
    Folder {
        mode: u32,
    },
    File {
        mode: u32,
        /// Of its content.
        digest: ContentDigest,
        /// Its length in bytes.
        size: u64,
    },
    Link {
        target: PathBuf,
    },
}

/// A folder's entries by their paths in it.
pub(crate) type Listing = BTreeMap<PathBuf, Entry>;

/// Everything below a folder but `excluded`. Sockets, pipes and devices are passed over.
pub(crate) fn list(folder: &Path, excluded: &[PathBuf]) -> io::Result<Listing> {
    let mut found = Listing::new();
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        for entry in fs::read_dir(folder.join(&inner))? {
            let entry = entry?;
            let path = inner.join(entry.file_name());
            if excluded.contains(&path) {
                continue;
            }
            let meta = entry.metadata()?;
            let mode = meta.permissions().mode() & 0o7777;
            if meta.is_dir() {
                found.insert(path.clone(), Entry::Folder { mode });
                open.push(path);
            } else if meta.is_file() {
                let digest = inputs::digest(inputs::open(&entry.path(), None)?)?;
                found.insert(path, Entry::File { mode, digest, size: meta.len() });
            } else if meta.is_symlink() {
                found.insert(path, Entry::Link { target: fs::read_link(entry.path())? });
            }
        }
    }
    Ok(found)
}

/// The digest of everything at `path` and below it; `None` where there is nothing.
pub(crate) fn digest_below(listing: &Listing, path: &Path) -> Option<ContentDigest> {
    let below: Vec<_> = listing.iter().filter(|(entry, _)| entry.starts_with(path)).collect();
    (!below.is_empty()).then(|| ContentDigest::of(format!("{below:?}").as_bytes()))
}

/// A listing in short: one digest, and how much it is.
pub(crate) fn summary(folder: &Path, excluded: Vec<PathBuf>, listing: &Listing) -> ProjectFolder {
    let sizes = listing.values().filter_map(|entry| match entry {
        Entry::File { size, .. } => Some(*size),
        Entry::Folder { .. } | Entry::Link { .. } => None,
    });
    ProjectFolder {
        path: folder.to_owned(),
        excluded,
        digest: ContentDigest::of(format!("{listing:?}").as_bytes()),
        files: sizes.clone().count(),
        bytes: sizes.sum(),
    }
}
