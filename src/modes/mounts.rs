//! Files of this host that a service mounts, and those that its containers have.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use bollard::models::{HostConfig, MountType};

use crate::engine::facts::ContainerFacts;
use crate::inputs;
use crate::values::mounted::MountedFile;
use crate::values::types::ContentDigest;

/// Of a file with more bytes than this size and time count, not the content.
const LIMIT: u64 = 64 * 1024 * 1024;

/// A path of this host, and where a container has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostMount {
    pub(crate) path: String,
    pub(crate) target: String,
}

/// The paths of this host in a create request.
pub(crate) fn of_request(host: &HostConfig) -> Vec<HostMount> {
    let binds = host.binds.iter().flatten().filter_map(|bind| {
        let (path, rest) = bind.split_once(':')?;
        Some((path, rest.split(':').next()?))
    });
    let mounts = host.mounts.iter().flatten().filter(|mount| mount.typ == Some(MountType::BIND));
    let mounts = mounts.filter_map(|mount| Some((mount.source.as_deref()?, mount.target.as_deref()?)));
    let on_host = binds.chain(mounts).filter(|(path, _)| path.starts_with('/'));
    on_host.map(|(path, target)| HostMount { path: path.to_owned(), target: target.to_owned() }).collect()
}

/// The regular files among what is mounted, as they are now. Folders, sockets and what is not there are none.
pub(crate) fn files(mounts: &[HostMount]) -> Vec<MountedFile> {
    let each = mounts.iter().filter_map(|HostMount { path, .. }| {
        let meta = std::fs::metadata(path).ok().filter(Metadata::is_file)?;
        Some(file(path, &meta, || inputs::open(Path::new(path), None)))
    });
    each.collect()
}

/// Looks which files running containers have that they were not created with: they were started again since.
pub(crate) fn look_inside<'a>(
    proc: &Path,
    mounts: &[HostMount],
    containers: impl IntoIterator<Item = &'a mut ContainerFacts>,
) {
    containers.into_iter().for_each(|container| container.files_now = files_now(proc, mounts, container));
}

fn files_now(proc: &Path, mounts: &[HostMount], container: &ContainerFacts) -> Vec<MountedFile> {
    let Some(pid) = container.pid else { return Vec::new() };
    let process = proc.join(pid.to_string());
    // Its number is the engine's, which may count others.
    let groups = std::fs::read_to_string(process.join("cgroup")).unwrap_or_default();
    if !groups.contains(&container.id) {
        return Vec::new();
    }
    let root = process.join("root");
    let each = mounts.iter().filter_map(|HostMount { path, target }| {
        let opened = inputs::open_inside(&root, target).ok()?;
        let meta = opened.metadata().ok()?;
        let is_known = container.files.iter().any(|known| known.path == *path && known.inode == meta.ino());
        (!is_known).then(|| file(path, &meta, || Ok(opened)))
    });
    each.collect()
}

fn file(path: &str, meta: &Metadata, open: impl FnOnce() -> std::io::Result<File>) -> MountedFile {
    let content = (meta.len() <= LIMIT).then(|| open().and_then(inputs::digest).ok()).flatten();
    let outside = || ContentDigest::of(format!("{} {} {}", meta.len(), meta.mtime(), meta.mtime_nsec()).as_bytes());
    MountedFile { path: path.to_owned(), inode: meta.ino(), digest: content.unwrap_or_else(outside) }
}
