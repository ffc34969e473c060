//! The official part of `appspec.yml`, one to one with the file, as the v2 agent reads it; and the file itself.
//!
//! Source: CodeDeploy AppSpec file reference (EC2/On-Premises); both agents as measured.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::yaml::MAX_BYTES;

/// The file's names, the portable one first.
pub const NAMES: [&str; 2] = ["appspec.yml", "appspec.yaml"];

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
    /// None in any folder above the hook.
    #[error("no appspec.yml in any folder above {0}")]
    NotAbove(PathBuf),
    /// It cannot be opened.
    #[error("cannot read {0}: {1}")]
    Io(PathBuf, std::io::Error),
    /// More than [`MAX_BYTES`].
    #[error("{0} has {1} bytes; at most {MAX_BYTES} are read")]
    TooLarge(PathBuf, u64),
    /// Not text.
    #[error("{0} is not UTF-8: byte {1} is bad")]
    NotText(PathBuf, usize),
}

/// The official keys. Unknown top-level keys are ignored by both agents.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)] // the file's own names
pub struct AppSpec {
    pub version: f64,
    pub os: String,
    #[serde(default)]
    pub files: Option<Vec<FileEntry>>,
    #[serde(default)]
    pub file_exists_behavior: Option<String>,
    #[serde(default)]
    pub permissions: Option<Vec<Permission>>,
    #[serde(default)]
    pub hooks: Option<BTreeMap<String, Option<Vec<Hook>>>>,
}

/// `files`.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct FileEntry {
    pub source: String,
    pub destination: String,
    #[serde(default)]
    pub file_exists_behavior: Option<String>,
}

/// `permissions`.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Permission {
    pub object: String,
    #[serde(default)]
    pub pattern: Option<String>,
    #[serde(default)]
    pub except: Option<Vec<String>>,
    #[serde(default)]
    pub owner: Option<String>,
    #[serde(default)]
    pub group: Option<String>,
    #[serde(default)]
    pub mode: Option<serde_yaml::Value>,
    #[serde(default)]
    pub acls: Option<Vec<String>>,
    #[serde(default)]
    pub context: Option<serde_yaml::Value>,
    #[serde(default, rename = "type")]
    pub kinds: Option<Vec<String>>,
}

/// One entry of an event under `hooks`.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Hook {
    pub location: String,
    #[serde(default)]
    pub timeout: Option<i64>,
    #[serde(default)]
    pub runas: Option<String>,
    #[serde(default)]
    pub sudo: Option<bool>,
}

impl AppSpecText {
    /// The bundle's folder.
    pub fn bundle_root(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The file's name, for messages.
    pub fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Reads the file at `path`, or in the folder `path`.
///
/// # Errors
/// See [`ReadError`].
pub fn read(path: &Path) -> Result<AppSpecText, ReadError> {
    let path = match path.is_dir() {
        true => in_folder(path).ok_or_else(|| ReadError::Missing(path.to_owned()))?,
        false => path.to_owned(),
    };
    let meta = std::fs::metadata(&path).map_err(|error| ReadError::Io(path.clone(), error))?;
    if meta.len() > MAX_BYTES as u64 {
        return Err(ReadError::TooLarge(path, meta.len()));
    }
    let bytes = std::fs::read(&path).map_err(|error| ReadError::Io(path.clone(), error))?;
    let text =
        String::from_utf8(bytes).map_err(|error| ReadError::NotText(path.clone(), error.utf8_error().valid_up_to()))?;
    let bare = text.strip_prefix('\u{feff}');
    Ok(AppSpecText { had_mark: bare.is_some(), text: bare.unwrap_or(&text).to_owned(), path })
}

fn in_folder(folder: &Path) -> Option<PathBuf> {
    NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// The file in the first folder above `location` that has one: a hook lies somewhere in its bundle.
///
/// # Errors
/// [`ReadError::NotAbove`].
pub fn find_above(location: &Path) -> Result<PathBuf, ReadError> {
    let location = std::path::absolute(location).unwrap_or_else(|_| location.to_owned());
    let found = location.ancestors().skip(1).find_map(in_folder);
    found.ok_or(ReadError::NotAbove(location))
}
