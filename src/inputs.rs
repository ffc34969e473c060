//! Files that others wrote, opened safely: a pipe or a device is never waited for, a file of the bundle never lies outside
//! it, and what is read has a bound.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::values::types::ContentDigest;

/// Opens a regular file. A path below `bundle` must stay there, whatever symbolic links it goes through.
/// Errors: It is missing, is no regular file, lies outside the bundle, or may not be read.
pub(crate) fn open(path: &Path, bundle: Option<&Path>) -> io::Result<File> {
    // Asked before it is opened, because a device would notice; and after, because it may be another one by then.
    check_kind(std::fs::metadata(path)?.file_type())?;
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let opened = file.metadata()?;
    check_kind(opened.file_type())?;
    if let Some(bundle) = bundle.filter(|bundle| path.starts_with(bundle)) {
        let resolved = path.canonicalize()?;
        check_inside(&resolved, bundle)?;
        let inside = resolved.symlink_metadata()?;
        if (inside.dev(), inside.ino()) != (opened.dev(), opened.ino()) {
            return Err(io::Error::other("it was replaced while it was opened"));
        }
    }
    Ok(file)
}

fn check_kind(kind: FileType) -> io::Result<()> {
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a named pipe",
        () => "a device or a socket",
    };
    Err(io::Error::other(format!("it is {what}, not a file")))
}

/// The whole content of a file that [`open`] opens.
/// Errors: As [`open`], or it has more than `limit` bytes.
pub(crate) fn read(path: &Path, bundle: Option<&Path>, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path, bundle)?.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(io::Error::other(format!("it has more than {limit} bytes"))),
        false => Ok(bytes),
    }
}

/// The whole content of a file of the state directory.
/// Errors: As [`read`].
pub(crate) fn read_state(path: &Path) -> io::Result<Vec<u8>> {
    const MOST: u64 = 64 * 1024 * 1024;
    read(path, None, MOST)
}

/// The digest of a content, to its end.
pub(crate) fn digest(mut content: impl io::Read) -> io::Result<ContentDigest> {
    use sha2::Digest as _;
    let (mut hasher, mut buffer) = (sha2::Sha256::new(), vec![0; 128 * 1024]);
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(ContentDigest::finish(hasher)),
            got => hasher.update(&buffer[..got]),
        }
    }
}

/// Opens a regular file of a container as it sees it: whatever links lead there, they end in its own file system.
/// `root`: its root, as `/proc/PID/root`.
/// Errors: It is missing, is no regular file, or may not be read.
pub(crate) fn open_inside(root: &Path, path: &str) -> io::Result<File> {
    let root = OpenOptions::new().read(true).custom_flags((OFlag::O_PATH | OFlag::O_DIRECTORY).bits()).open(root)?;
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let found = File::from(openat2(&root, path.trim_start_matches('/'), how)?);
    check_kind(found.metadata()?.file_type())?;
    File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))
}

/// Whether `path`, a file or a folder below `bundle`, is still there when its symbolic links are followed.
pub(crate) fn check_resolved(path: &Path, bundle: &Path) -> io::Result<()> {
    check_inside(&path.canonicalize()?, bundle)
}

fn check_inside(resolved: &Path, bundle: &Path) -> io::Result<()> {
    match resolved.starts_with(bundle.canonicalize()?) {
        true => Ok(()),
        false => Err(io::Error::other(format!("a symbolic link leads out of the bundle, to {}", resolved.display()))),
    }
}

/// Random bytes of the kernel, good enough for a salt.
pub(crate) fn random<const COUNT: usize>() -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    struct Folders {
        root: tempfile::TempDir,
    }

    impl Folders {
        /// `bundle/conf/a` and, beside the bundle, `secret`.
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(root.path().join("bundle/conf")).unwrap();
            std::fs::write(root.path().join("bundle/conf/a"), "inside").unwrap();
            std::fs::write(root.path().join("secret"), "outside").unwrap();
            Self { root }
        }

        fn bundle(&self) -> PathBuf {
            self.root.path().join("bundle")
        }

        fn link(&self, name: &str, target: &str) -> PathBuf {
            symlink(target, self.bundle().join(name)).unwrap();
            self.bundle().join(name)
        }

        fn read(&self, path: &Path) -> Result<String, String> {
            let read = read(path, Some(&self.bundle()), 100).map_err(|error| error.to_string())?;
            Ok(String::from_utf8(read).unwrap())
        }
    }

    #[test]
    fn a_link_out_of_the_bundle_is_refused_whatever_way_it_takes_and_one_inside_is_followed() {
        let folders = Folders::new();
        let outside = folders.root.path().join("secret").canonicalize().unwrap();
        let refused = Err(format!("a symbolic link leads out of the bundle, to {}", outside.display()));
        assert_eq!(folders.read(&folders.link("relative", "../secret")), refused);
        assert_eq!(folders.read(&folders.link("absolute", outside.to_str().unwrap())), refused);
        folders.link("folder", "..");
        assert_eq!(folders.read(&folders.bundle().join("folder/secret")), refused);
        folders.link("chain", "relative");
        assert_eq!(folders.read(&folders.bundle().join("chain")), refused);
        assert_eq!(folders.read(&folders.link("inside", "conf/a")), Ok("inside".into()));
        let inside = folders.bundle().canonicalize().unwrap().join("conf/a");
        assert_eq!(folders.read(&folders.link("absolute-inside", inside.to_str().unwrap())), Ok("inside".into()));
        assert_eq!(folders.read(&folders.root.path().join("secret")), Ok("outside".into()), "a path of the host");
    }

    #[test]
    fn a_bundle_that_is_reached_through_a_link_is_a_bundle() {
        let folders = Folders::new();
        let other = folders.root.path().join("current");
        symlink(folders.bundle(), &other).unwrap();
        assert_eq!(read(&other.join("conf/a"), Some(&other), 100).unwrap(), b"inside");
    }

    #[test]
    fn a_pipe_a_device_and_a_folder_are_refused_at_once() {
        let folders = Folders::new();
        let pipe = folders.bundle().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(folders.read(&pipe), Err("it is a named pipe, not a file".into()));
        assert_eq!(folders.read(Path::new("/dev/zero")), Err("it is a device or a socket, not a file".into()));
        let zero = folders.link("zero", "/dev/zero");
        assert_eq!(folders.read(&zero), Err("it is a device or a socket, not a file".into()));
        assert_eq!(folders.read(&folders.bundle()), Err("it is a folder, not a file".into()));
    }

    #[test]
    fn a_file_above_the_limit_is_refused_and_one_at_it_is_read() {
        let folders = Folders::new();
        let path = folders.bundle().join("conf/a");
        assert_eq!(read(&path, None, 6).unwrap(), b"inside");
        assert_eq!(read(&path, None, 5).unwrap_err().to_string(), "it has more than 5 bytes");
        assert_eq!(read(&folders.bundle().join("none"), None, 5).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
