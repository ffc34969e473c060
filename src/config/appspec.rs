//! The file itself: where it is, and its text.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::config::yaml::MAX_BYTES;
use crate::inputs;

/// The file's names, the portable one first.
pub(crate) const NAMES: [&str; 2] = ["appspec.yml", "appspec.yaml"];

/// The text of the file and where it is.
#[derive(Debug, Clone)]
pub struct AppSpecText {
    /// Its absolute path.
    pub path: PathBuf,
    /// Without a byte-order mark.
    pub text: String,
    /// It began with a byte-order mark.
    pub had_mark: bool,
}

/// Why the file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// None of the names is there.
    #[error("no appspec.yml in {0}")]
    Missing(PathBuf),
    /// Only a file for another platform is.
    #[error("no appspec.yml in {0}, only an appspec.json: CodeDeploy takes JSON for AWS Lambda and Amazon ECS alone")]
    Json(PathBuf),
    /// None in any folder above the hook.
    #[error("no appspec.yml in any folder above {0}")]
    NotAbove(PathBuf),
    /// It cannot be opened.
    #[error("cannot read {0}: {1}")]
    Io(PathBuf, std::io::Error),
    /// A device, a pipe or a socket.
    #[error("{0} is no regular file")]
    NotAFile(PathBuf),
    /// More than [`MAX_BYTES`].
    #[error("{0} has {1} bytes; at most {MAX_BYTES} are read")]
    TooLarge(PathBuf, u64),
    /// Not text.
    #[error("{0} is not UTF-8: byte {1} is bad")]
    NotText(PathBuf, usize),
}

impl AppSpecText {
    pub(crate) fn bundle_root(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    pub(crate) fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Reads the file at `path`, or in the folder `path`.
///
/// # Errors
/// See [`ReadError`].
pub fn read(path: &Path) -> Result<AppSpecText, ReadError> {
    let path = match path.is_dir() {
        true => in_folder(path).ok_or_else(|| missing(path))?,
        false => path.to_owned(),
    };
    let bytes = bounded(&path)?;
    let text =
        String::from_utf8(bytes).map_err(|error| ReadError::NotText(path.clone(), error.utf8_error().valid_up_to()))?;
    let bare = text.strip_prefix('\u{feff}');
    Ok(AppSpecText { had_mark: bare.is_some(), text: bare.unwrap_or(&text).to_owned(), path })
}

/// The bytes of a regular file: a device has no end, and a pipe may never begin.
fn bounded(path: &Path) -> Result<Vec<u8>, ReadError> {
    let io = |error| ReadError::Io(path.to_owned(), error);
    let meta = std::fs::metadata(path).map_err(io)?;
    if !meta.is_file() {
        return Err(ReadError::NotAFile(path.to_owned()));
    }
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64;
    inputs::open(path, None).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(io)?;
    match bytes.len() > MAX_BYTES {
        true => Err(ReadError::TooLarge(path.to_owned(), meta.len().max(limit + 1))),
        false => Ok(bytes),
    }
}

fn missing(folder: &Path) -> ReadError {
    match folder.join("appspec.json").is_file() {
        true => ReadError::Json(folder.to_owned()),
        false => ReadError::Missing(folder.to_owned()),
    }
}

fn in_folder(folder: &Path) -> Option<PathBuf> {
    NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// The file in the first folder above `location` that has one: a hook lies somewhere in its bundle.
pub(crate) fn find_above(location: &Path) -> Result<PathBuf, ReadError> {
    let location = std::path::absolute(location).unwrap_or_else(|_| location.to_owned());
    let found = location.ancestors().skip(1).find_map(in_folder);
    found.ok_or(ReadError::NotAbove(location))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_without_the_file_is_named() {
        let folder = folder(&[]);
        let error = read(folder.path()).unwrap_err().to_string();
        assert_eq!(error, format!("no appspec.yml in {}", folder.path().display()));
        assert!(matches!(read(&folder.path().join("other.yml")), Err(ReadError::Io(..))));
    }

    #[test]
    fn more_than_a_mebibyte_is_refused_and_exactly_one_is_read() {
        let folder = folder(&[("appspec.yml", &vec![b' '; MAX_BYTES + 1]), ("full.yml", &vec![b' '; MAX_BYTES])]);
        assert!(matches!(read(folder.path()), Err(ReadError::TooLarge(_, bytes)) if bytes == MAX_BYTES as u64 + 1));
        assert_eq!(read(&folder.path().join("full.yml")).unwrap().text.len(), MAX_BYTES);
    }

    #[test]
    fn a_device_without_an_end_is_refused() {
        assert!(matches!(read(Path::new("/dev/zero")), Err(ReadError::NotAFile(_))));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_place() {
        let folder = folder(&[("appspec.yml", b"os: \xff")]);
        assert!(matches!(read(folder.path()), Err(ReadError::NotText(_, 4))));
    }

    #[test]
    fn a_byte_order_mark_is_taken_off_and_remembered() {
        let folder = folder(&[("appspec.yml", b"\xef\xbb\xbfos: linux")]);
        let file = read(folder.path()).unwrap();
        assert_eq!((file.text.as_str(), file.had_mark), ("os: linux", true));
    }

    #[test]
    fn the_portable_name_is_taken_where_both_are_there() {
        let folder = folder(&[("appspec.yaml", b"a"), ("appspec.yml", b"b")]);
        assert_eq!(read(folder.path()).unwrap().file_name(), "appspec.yml");
    }

    #[test]
    fn a_hook_finds_the_file_of_the_nearest_folder_above_it() {
        let folder = folder(&[("appspec.yml", b"")]);
        std::fs::create_dir_all(folder.path().join("hooks/deep")).unwrap();
        let found = find_above(&folder.path().join("hooks/deep/balehook")).unwrap();
        assert_eq!(found, folder.path().join("appspec.yml"));
        assert!(matches!(find_above(Path::new("/nowhere/at/all")), Err(ReadError::NotAbove(_))));
    }
}
