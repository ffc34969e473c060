//! Files of this host that a container has mounted: when one of them has become another file.

use serde::{Deserialize, Serialize};

use crate::values::types::ContentDigest;

/// A regular file at a path of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct MountedFile {
    pub path: String,
    pub inode: u64,
    /// Of its content; of a large file's size and time.
    pub digest: ContentDigest,
}

/// The text of a label.
pub(crate) fn to_label(files: &[MountedFile]) -> Option<String> {
    (!files.is_empty()).then(|| serde_json::to_string(files).unwrap_or_default())
}

/// What a label says; nothing where it cannot be read.
pub(crate) fn from_label(text: Option<String>) -> Vec<MountedFile> {
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The paths whose file is another one than a container has, with another content than it was started with. `had`: what
/// is known of the container's own; the first that names a path counts.
pub(crate) fn changed(had: &[&[MountedFile]], now: &[MountedFile]) -> Vec<String> {
    let old = |path: &str| had.iter().flat_map(|files| files.iter()).find(|file| file.path == path);
    let is_changed =
        |now: &&MountedFile| old(&now.path).is_some_and(|old| old.inode != now.inode && old.digest != now.digest);
    now.iter().filter(is_changed).map(|file| file.path.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64, content: &str) -> MountedFile {
        MountedFile { path: "/etc/app.conf".into(), inode, digest: ContentDigest::of(content.as_bytes()) }
    }

    #[test]
    fn a_file_has_changed_where_it_is_another_one_with_another_content() {
        let changed = |had: &[MountedFile], now| changed(&[had], &[now]);
        assert_eq!(changed(&[file(1, "one")], file(2, "two")), ["/etc/app.conf"]);
        assert_eq!(changed(&[file(1, "one")], file(1, "two")), [""; 0], "written into: the container sees it");
        assert_eq!(changed(&[file(1, "one")], file(2, "one")), [""; 0], "the same, written anew");
        assert_eq!(changed(&[], file(2, "two")), [""; 0], "nothing is known of what the container has");
    }

    #[test]
    fn what_the_container_has_now_counts_before_what_it_was_created_with() {
        let (created, now) = ([file(1, "one")], [file(3, "one")]);
        assert_eq!(changed(&[&[file(2, "two")], &created], &now), ["/etc/app.conf"], "restarted with another one");
    }

    #[test]
    fn a_label_says_what_was_mounted_and_a_damaged_one_says_nothing() {
        let files = vec![file(7, "one")];
        assert_eq!(from_label(to_label(&files)), files);
        assert_eq!((to_label(&[]), from_label(Some("[{".into())), from_label(None)), (None, vec![], vec![]));
    }
}
