//! Files of the state directory: JSON with its format, written as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::deploy::release::FORMAT;
use crate::error::{Failure, Kind};

/// Why the state directory cannot be used.
pub(super) fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Kind::State, format!("cannot write {}: {error}", path.display()))
        .next("make the state directory writable (BALEHOOK_STATE_DIR names another one)")
}

/// What a file holds; `None` where it is not there, cannot be read, or is of a newer format.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = fs::read(path).ok()?;
    let value = serde_json::from_slice::<serde_json::Value>(&text).and_then(|value| match value["format"].as_u64() {
        Some(format) if format > u64::from(FORMAT) => {
            Err(serde::de::Error::custom(format!("its format {format} is newer than {FORMAT}")))
        }
        _ => serde_json::from_value(value),
    });
    value.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "a record is passed over")).ok()
}

/// Writes a file as a whole: a temporary one in the same folder, fsync, rename, fsync of the folder.
///
/// # Errors
/// [`Kind::State`].
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    try_write(path, value).map_err(|error| unwritable(path, &error))
}

fn try_write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}
