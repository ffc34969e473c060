//! Files of a new revision: all of them are written, or none; a file that is there is never changed.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Failure, Kind};

/// The shim that every hook entry points at.
const SHIM: &str = include_str!("../../hooks/balehook");

/// Where it lies in a revision.
pub(crate) const SHIM_PATH: &str = "hooks/balehook";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewFile {
    /// From the revision's folder.
    pub(crate) path: PathBuf,
    pub(crate) content: Vec<u8>,
    is_executable: bool,
}

impl NewFile {
    pub(crate) fn new(path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: content.into(), is_executable: false }
    }

    /// Whether `folder` has this very file.
    pub(crate) fn is_in(&self, folder: &Path) -> bool {
        fs::read(folder.join(&self.path)).is_ok_and(|content| content == self.content)
    }

    pub(crate) fn shim() -> Self {
        Self { is_executable: true, ..Self::new(SHIM_PATH, SHIM) }
    }
}

/// What was made so far; dropped without [`Made::keep`], it is removed again.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Made {
    fn keep(mut self) {
        self.0.clear();
    }

    /// The folder and those above it, each where it is missing.
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        for folder in missing.into_iter().rev().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir(folder)?;
            self.0.push(folder.to_owned());
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    /// Under another name first: what has its name is whole, and nothing is overwritten.
    fn file(&mut self, path: &Path, file: &NewFile) -> io::Result<()> {
        let folder = path.parent().unwrap_or(path);
        self.folder(folder)?;
        let new = tempfile::NamedTempFile::new_in(folder)?;
        fs::write(new.path(), &file.content)?;
        let mode = if file.is_executable { 0o755 } else { 0o644 };
        fs::set_permissions(new.path(), fs::Permissions::from_mode(mode))?;
        new.persist_noclobber(path)?;
        self.0.push(path.to_owned());
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
    }
}

/// Writes the files below `folder`.
/// Errors: [`Kind::Usage`]: some are there; [`Kind::State`]: one cannot be written. Nothing is changed then.
pub(crate) fn write(folder: &Path, files: &[NewFile]) -> Result<(), Failure> {
    let there = |file: &&NewFile| folder.join(&file.path).symlink_metadata().is_ok();
    let there: Vec<String> = files.iter().filter(there).map(|file| file.path.display().to_string()).collect();
    if !there.is_empty() {
        let message = format!("{} has already: {}; nothing was written", folder.display(), there.join(", "));
        return Err(Failure::new(Kind::Usage, message).next("name another folder: `--output DIR`"));
    }
    let mut made = Made::default();
    for file in files {
        let path = folder.join(&file.path);
        made.file(&path, file).map_err(|error| {
            let message = format!("cannot write {}: {error}; nothing was written", path.display());
            Failure::new(Kind::State, message).next("name a folder that you may write in: `--output DIR`")
        })?;
    }
    made.keep();
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn where_one_file_cannot_be_written_none_is_there_and_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("hooks"), "a file in place of the folder").unwrap();
        let files = [NewFile::new("app/conf/motd", "hello"), NewFile::shim()];
        let failure = write(folder.path(), &files).unwrap_err();
        assert!(failure.message.ends_with("; nothing was written"), "{}", failure.message);
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["hooks"]);
    }

    #[test]
    fn files_are_readable_for_all_and_the_shim_can_be_run() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("new/web"), &[NewFile::new("appspec.yml", "x"), NewFile::shim()]).unwrap();
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(["new", "new/web/appspec.yml", "new/web/hooks/balehook"].map(mode), [0o755, 0o644, 0o755]);
    }
}
