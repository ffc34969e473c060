//! What to do about a state folder that cannot be written.

use std::path::Path;
use std::{fs, io};

use nix::unistd::{User, geteuid};

use crate::error::{Failure, Kind};

pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Failure {
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
