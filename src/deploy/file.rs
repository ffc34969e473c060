//! Files of the state directory: JSON with its format.

use std::path::Path;
use std::{fs, io};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::deploy::release::FORMAT;
use crate::error::{Failure, Kind};
use crate::files;

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

/// Writes a file as a whole.
///
/// # Errors
/// [`Kind::State`].
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(value).map_err(io::Error::from);
    text.and_then(|text| files::replace(path, &text)).map_err(|error| unwritable(path, &error))
}
