//! Files that are whole or not there, also after a crash.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::{User, geteuid};
use serde::Serialize;

use crate::error::{Failure, Kind};
use crate::folder::Folder;

/// What nobody else may read.
const OWN: u32 = 0o600;

/// What all may read.
const PUBLIC: u32 = 0o644;

/// Replaces a file, or makes it, with mode 0600: a new one in the same folder, fsync, rename, fsync of the folder. Nobody
/// else may write it meanwhile: the new one always has the same name, so that what a kill leaves does not stay.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with(path, content, OWN, true)
}

/// The same for all to read, and without a wait for the disk.
pub(crate) fn publish(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with(path, content, PUBLIC, false)
}

/// `is_synced`: it survives a loss of power too.
fn replace_with(path: &Path, content: &[u8], mode: u32, is_synced: bool) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = Folder::open_last(folder)?;
    let name = path.file_name().unwrap_or_default();
    let new = OsString::from(format!(".{}.new", name.to_string_lossy()));
    // Also if it is a link.
    let _ = folder.remove(&new);
    let mut file = folder.file(&new, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)?;
    file.write_all(content)?;
    if mode != OWN {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    if is_synced {
        file.sync_all()?;
    }
    folder.rename(&new, name)?;
    if is_synced { folder.sync() } else { Ok(()) }
}

/// Writes a file of the state directory, as JSON.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(value).map_err(io::Error::from);
    text.and_then(|text| replace(path, &text)).map_err(|error| unwritable(path, &error))
}

/// The same of one that a loss of power may take: it costs no wait for the disk.
pub(crate) fn write_unsynced<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let text = serde_json::to_vec(value).map_err(io::Error::from);
    text.and_then(|text| replace_with(path, &text, OWN, false)).map_err(|error| unwritable(path, &error))
}

pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Kind::State, format!("cannot write {}: {error}", path.display())).next(remedy(path, error))
}

/// What to do about it: a user other than root needs a folder that only root can give.
fn remedy(path: &Path, error: &io::Error) -> String {
    let folder = path
        .ancestors()
        .skip(1)
        .find(|folder| !["releases", "deployments"].iter().any(|name| folder.ends_with(name)))
        .unwrap_or(path);
    match error.kind() {
        io::ErrorKind::PermissionDenied if !geteuid().is_root() => {
            format!("once, as root: `{}`; or leave `runas` out of the hook", give(folder))
        }
        io::ErrorKind::StorageFull => format!("make room on the disk of {}", folder.display()),
        _ => "make the state directory writable (BALEHOOK_STATE_DIR names another one)".into(),
    }
}

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_cannot_be_put_in_place_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.json");
        replace(&path, b"old").unwrap();
        fs::create_dir(folder.path().join(".images.json.new")).unwrap();
        replace(&path, b"new").unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_link_in_the_place_of_the_file_its_new_one_or_its_folder_is_not_followed() {
        let (folder, victim) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = victim.path().join("passwd");
        fs::write(&target, "of the host").unwrap();
        for name in ["images.json", ".images.json.new"] {
            std::os::unix::fs::symlink(&target, folder.path().join(name)).unwrap();
        }
        replace(&folder.path().join("images.json"), b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"of the host");
        assert_eq!(fs::read(folder.path().join("images.json")).unwrap(), b"new");
        std::os::unix::fs::symlink(victim.path(), folder.path().join("releases")).unwrap();
        let refused = replace(&folder.path().join("releases/passwd"), b"new").unwrap_err();
        assert_eq!(refused.to_string(), "releases is a symbolic link or a file, and must be a folder");
        assert_eq!(fs::read(&target).unwrap(), b"of the host");
    }

    #[test]
    fn what_a_kill_left_is_gone_after_the_next_time_and_nobody_else_may_read_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.json");
        fs::write(folder.path().join(".images.json.new"), "half of somethi").unwrap();
        replace(&path, b"new").unwrap();
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!((names, fs::read(&path).unwrap()), (vec!["images.json".into()], b"new".to_vec()));
        fs::remove_file(&path).unwrap();
        replace(&path, b"again").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
