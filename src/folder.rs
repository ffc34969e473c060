//! A folder by its handle. What is below it is reached from there name by name, and no symbolic link is ever followed: who
//! may write in such a folder, a container for instance, cannot lead us out of it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, symlinkat, unlinkat};

const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC);

/// A file by a name that is neither followed nor waited for.
const FILE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// How many names a new file tries: others may write in the folder too.
const TRIES: usize = 100;

#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// A folder whose path nobody else can change, but for its last name.
    pub(crate) fn open_last(path: &Path) -> io::Result<Self> {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if !parent.as_os_str().is_empty() => Self::open(parent)?.enter(name),
            _ => Self::open(path),
        }
    }

    /// A folder whose path nobody else can change.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let opened = open(path, FOLDER, Mode::empty());
        // One that may be gone through alone, as that of all states for a hook with `runas`.
        let opened = opened.or_else(|error| match error {
            Errno::EACCES => open(path, FOLDER | OFlag::O_PATH, Mode::empty()),
            other => Err(other),
        });
        Ok(Self(opened?))
    }

    /// The folder `name` in it, made where it is missing.
    pub(crate) fn make(&self, name: &OsStr, mode: u32) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::from_bits_truncate(mode)) {
            Ok(()) | Err(Errno::EEXIST) => self.enter(name),
            Err(error) => Err(error.into()),
        }
    }

    /// The folder `name` in it.
    pub(crate) fn enter(&self, name: &OsStr) -> io::Result<Self> {
        openat(&self.0, name, FOLDER | OFlag::O_NOFOLLOW, Mode::empty()).map(Self).map_err(|errno| match errno {
            Errno::ENOTDIR | Errno::ELOOP => io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("{} is a symbolic link or a file, and must be a folder", name.display()),
            ),
            other => other.into(),
        })
    }

    /// The folder that holds the last name of `path`, and that name.
    pub(crate) fn reach<'p>(&self, path: &'p Path) -> io::Result<(Self, &'p OsStr)> {
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, format!("{} leads out", path.display()));
        let mut names = Vec::new();
        for part in path.components() {
            let Component::Normal(name) = part else { return Err(outside()) };
            names.push(name);
        }
        let last = names.pop().ok_or_else(outside)?;
        let mut folder = Self(self.0.try_clone()?);
        for name in names {
            folder = folder.enter(name)?;
        }
        Ok((folder, last))
    }

    /// What `name` is, be it a link; `None` where there is nothing.
    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Option<(SFlag, FileStat)>> {
        match fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT, stat))),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the regular file `name`.
    pub(crate) fn file(&self, name: &OsStr, how: OFlag) -> io::Result<File> {
        let opened = openat(&self.0, name, how | FILE, Mode::S_IRUSR | Mode::S_IWUSR);
        let file = File::from(opened.map_err(|errno| match errno {
            Errno::ELOOP => io::Error::other(format!("{} is a symbolic link, and must be a file", name.display())),
            other => other.into(),
        })?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other(format!("{} is no regular file", name.display()))),
        }
    }

    /// A new file under a name of ours; what a kill left there is removed.
    pub(crate) fn new_file(&self) -> io::Result<(File, OsString)> {
        let mut result = Err(Errno::EEXIST.into());
        for number in 0..TRIES {
            let name = OsString::from(format!(".balehook-new-{number}"));
            let _ = self.remove(&name);
            result = self.file(&name, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL).map(|file| (file, name));
            if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
                break;
            }
        }
        result
    }

    /// Why this folder is not safe to work in, where others may write in it or change it: they could have us read and write
    /// what they like. Root gives others a folder; nobody but root gives us one.
    pub(crate) fn check_owner(&self) -> Result<(), String> {
        let stat = fstat(&self.0).map_err(|error| error.to_string())?;
        let (owner, me) = (stat.st_uid, geteuid().as_raw());
        match stat.st_mode & 0o022 {
            _ if owner != me && owner != 0 && me != 0 => Err(format!("it belongs to another user, {owner}")),
            0 => Ok(()),
            _ => Err(format!("others may write in it (mode {:04o})", stat.st_mode & 0o7777)),
        }
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::fsync(&self.0)?)
    }

    pub(crate) fn link(&self, name: &OsStr) -> io::Result<PathBuf> {
        Ok(readlinkat(&self.0, name)?.into())
    }

    pub(crate) fn make_link(&self, name: &OsStr, target: &Path) -> io::Result<()> {
        Ok(symlinkat(target, &self.0, name)?)
    }

    pub(crate) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }

    /// Removes what is no folder.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Removes an empty folder.
    pub(crate) fn remove_empty(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::RemoveDir)?)
    }

    pub(crate) fn mode(&self) -> io::Result<u32> {
        Ok(fstat(&self.0)?.st_mode & 0o7777)
    }

    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(fchmod(&self.0, Mode::from_bits_truncate(mode))?)
    }
}
