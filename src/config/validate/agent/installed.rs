//! What Install would put on a host that has none of it, as both agents plan it before they copy the first file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::validate::agent::lexical;

/// Files and folders of a bundle that are followed; of a larger one the rest is not looked at.
const MOST: usize = 100_000;

/// Files and folders by their place on the host.
#[derive(Debug, Default)]
pub(crate) struct Installed {
    /// Each file with its source in the bundle.
    pub(crate) copies: BTreeMap<PathBuf, PathBuf>,
    /// Folders of the bundle, each below a destination.
    pub(crate) folders: BTreeSet<PathBuf>,
    /// Destinations and what is above them: made only where they are not there yet.
    above: BTreeSet<PathBuf>,
    seen: usize,
}

impl Installed {
    /// Adds an entry of `files`; the error is the first thing that the agents refuse of it.
    pub(crate) fn add(&mut self, bundle: &Path, source: &Path, destination: &Path) -> Result<(), String> {
        let destination = lexical(destination).unwrap_or_default();
        let from = bundle.join(source);
        let is_folder = from.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        let target = match from.file_name() {
            Some(name) if !is_folder => destination.join(name),
            _ => destination.clone(),
        };
        for folder in target.ancestors().skip(1) {
            self.free_of_files(folder)?;
            self.above.insert(folder.to_owned());
        }
        match is_folder {
            true => {
                self.free_of_files(&target)?;
                self.above.insert(target.clone());
                self.below(bundle, source, &target)
            }
            false => self.copy(source, target),
        }
    }

    /// A link counts as a file, as in the v1 agent.
    fn below(&mut self, bundle: &Path, source: &Path, target: &Path) -> Result<(), String> {
        for entry in fs::read_dir(bundle.join(source)).into_iter().flatten().flatten() {
            self.seen += 1;
            if self.seen > MOST {
                return Ok(());
            }
            let (source, target) = (source.join(entry.file_name()), target.join(entry.file_name()));
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.free_of_files(&target)?;
                self.folders.insert(target.clone());
                self.below(bundle, &source, &target)?;
            } else {
                self.copy(&source, target)?;
            }
        }
        Ok(())
    }

    fn copy(&mut self, source: &Path, target: PathBuf) -> Result<(), String> {
        if self.folders.contains(&target) || self.above.contains(&target) {
            return Err(format!("`{}` would be copied to {}, which is a folder", source.display(), target.display()));
        }
        match self.copies.get(&target) {
            Some(other) => {
                let (source, other) = (source.display(), other.display());
                Err(format!("`{other}` and `{source}` would both be copied to {}", target.display()))
            }
            None => {
                self.copies.insert(target, source.to_owned());
                Ok(())
            }
        }
    }

    fn free_of_files(&self, folder: &Path) -> Result<(), String> {
        match self.copies.get(folder) {
            Some(file) => {
                Err(format!("{} would be a folder, and `{}` is copied there", folder.display(), file.display()))
            }
            None => Ok(()),
        }
    }
}
