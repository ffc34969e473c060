//! What imports gave the engine, in `images.json`: written down before the engine gives it, dropped with the image's
//! retention tag. So whatever ends a deployment, the next one knows what to remove.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::{files, inputs};

/// References that a pull or a load gave the image of a retention tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedReferences {
    /// `balehook/<name>:<digits>`.
    pub tag: String,
    /// `web:1.4.2`, `registry.test/web@sha256:…`.
    pub references: BTreeSet<String>,
}

/// The file of one name; only the holder of the state's lock writes it.
#[derive(Debug)]
pub(crate) struct ImportRecord {
    path: PathBuf,
}

impl ImportRecord {
    /// That of a state folder; nothing is created.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join("images.json") }
    }

    /// Everything that is not removed yet; nothing where the file cannot be read.
    pub(crate) fn read(&self) -> Vec<ImportedReferences> {
        let Ok(text) = inputs::read_state(&self.path) else { return Vec::new() };
        let read = serde_json::from_slice(&text);
        read.inspect_err(|error| tracing::warn!(path = %self.path.display(), %error, "passed over")).unwrap_or_default()
    }

    pub(crate) fn add(&self, tag: &str, references: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        let references: Vec<String> = references.into_iter().collect();
        if references.is_empty() {
            return Ok(());
        }
        self.change(|all| match all.iter_mut().find(|known| known.tag == tag) {
            Some(known) => known.references.extend(references),
            None => {
                all.push(ImportedReferences { tag: tag.to_owned(), references: references.into_iter().collect() });
            }
        })
    }

    /// Drops an image whose retention tag is gone.
    pub(crate) fn remove(&self, tag: &str) -> Result<(), Failure> {
        self.change(|all| all.retain(|known| known.tag != tag))
    }

    fn change(&self, change: impl FnOnce(&mut Vec<ImportedReferences>)) -> Result<(), Failure> {
        let before = self.read();
        let mut all = before.clone();
        change(&mut all);
        if all == before {
            return Ok(());
        }
        files::write(&self.path, &all)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::Kind;

    fn entry(tag: &str, references: &[&str]) -> ImportedReferences {
        ImportedReferences { tag: tag.into(), references: references.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let record = ImportRecord::new(&folder.path().join("gone"));
        let failure = record.add("balehook/web:1", ["web:1".to_owned()]).unwrap_err();
        assert_eq!((failure.kind, record.read()), (Kind::State, vec![]));
    }

    #[test]
    fn references_are_added_to_those_of_the_same_tag_and_go_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let record = ImportRecord::new(folder.path());
        record.add("balehook/web:1", ["web:1".to_owned()]).unwrap();
        record.add("balehook/web:2", ["web:2".to_owned()]).unwrap();
        record.add("balehook/web:1", ["web:1".to_owned(), "web:latest".to_owned()]).unwrap();
        record.add("balehook/web:3", []).unwrap();
        let both = [entry("balehook/web:1", &["web:1", "web:latest"]), entry("balehook/web:2", &["web:2"])];
        assert_eq!(record.read(), both);
        record.remove("balehook/web:1").unwrap();
        record.remove("web:2").unwrap();
        assert_eq!(record.read(), both[1..]);
    }

    #[test]
    fn a_file_of_the_version_before_is_read_and_a_broken_one_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let record = ImportRecord::new(folder.path());
        let path = folder.path().join("images.json");
        std::fs::write(&path, r#"[{"tag": "balehook/web:1", "references": ["web:1"]}]"#).unwrap();
        assert_eq!(record.read(), [entry("balehook/web:1", &["web:1"])]);
        std::fs::write(&path, "[{").unwrap();
        record.add("balehook/web:2", ["web:2".to_owned()]).unwrap();
        assert_eq!(record.read(), [entry("balehook/web:2", &["web:2"])]);
    }
}
