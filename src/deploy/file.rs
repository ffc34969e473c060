//! Files of the state directory: JSON with its format.

use std::path::Path;
use std::{fs, io};

use nix::unistd::{User, geteuid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::deploy::release::FORMAT;
use crate::error::{Failure, Kind};
use crate::files;

/// Why the state directory cannot be used.
pub(super) fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Kind::State, format!("cannot write {}: {error}", path.display())).next(remedy(path, error))
}

/// What to do about it: a user other than root needs a folder that only root can give.
fn remedy(path: &Path, error: &io::Error) -> String {
    let folder = path.ancestors().skip(1).find(|folder| !folder.ends_with("releases")).unwrap_or(path);
    match error.kind() {
        io::ErrorKind::PermissionDenied if !geteuid().is_root() => {
            format!("once, as root: `{}`; or leave `runas` out of the hook", give(folder))
        }
        io::ErrorKind::StorageFull => format!("make room on the disk of {}", folder.display()),
        _ => "make the state directory writable (BALEHOOK_STATE_DIR names another one)".into(),
    }
}

/// The command by which root gives this user a state folder.
fn give(folder: &Path) -> String {
    let id = geteuid();
    let user = User::from_uid(id).ok().flatten().map_or_else(|| id.to_string(), |user| user.name);
    let shown = folder.display();
    match (fs::metadata(folder), folder.parent()) {
        (Ok(_), _) => format!("chown -R {user} {shown}"),
        (Err(error), Some(all)) if error.kind() == io::ErrorKind::PermissionDenied => {
            format!("chmod 711 {} && install -d -o {user} -m 700 {shown}", all.display())
        }
        (Err(_), _) => format!("install -d -o {user} -m 700 {shown}"),
    }
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
