//! Reading files of the state directory: JSON with its format.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::deploy::release::FORMAT;
use crate::inputs;

/// What a file holds; `None` where it is not there, cannot be read, or is of a newer format.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    read_as(path, serde_json::from_value)
}

/// The same of a value that is read in a way of its own.
pub(super) fn read_as<T>(path: &Path, from: impl Fn(Value) -> serde_json::Result<T>) -> Option<T> {
    let text = inputs::read_state(path).ok()?;
    let value = serde_json::from_slice::<Value>(&text).and_then(|value| match value["format"].as_u64() {
        Some(format) if format > u64::from(FORMAT) => {
            Err(serde::de::Error::custom(format!("its format {format} is newer than {FORMAT}")))
        }
        _ => from(value),
    });
    value.inspect_err(|error| tracing::warn!(path = %path.display(), %error, "a record is passed over")).ok()
}
