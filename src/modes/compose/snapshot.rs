//! The files of a project: listed, copied, and laid out where Compose works.
//!
//! Compose works in one folder whose path never changes. What is laid out there is remembered by its digests, so that a
//! file which a container or a person has changed is told from one of ours: such a file is never lost. It stays as it
//! is where the revision's own did not change, and is set aside (`NAME.balehook-saved-1`) where it did. Files that the
//! revision never had are not touched at all, and no folder is ever removed: a container may have it mounted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::modes::compose::operation::Copy;
use crate::modes::compose::project::{OVERRIDE, PLACE, Project, Tree};
use crate::values::types::ContentDigest;

/// The files of a copy.
const TREE: &str = "tree";

/// What a copy holds.
const LISTING: &str = "files.json";

/// The variables of a copy.
const VARIABLES: &str = "variables.json";

/// What is laid out: every digest of ours that a file may have.
const LEDGER: &str = "project.json";

/// One entry of a folder, its path relative to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Entry {
    /// A folder.
    Folder {
        /// Permission bits.
        mode: u32,
    },
    /// A file.
    File {
        /// Permission bits.
        mode: u32,
        /// Of its content.
        digest: ContentDigest,
        /// Its length.
        size: u64,
    },
    /// A symbolic link.
    Link {
        /// What it points to.
        target: PathBuf,
    },
}

/// A folder's entries by their paths.
pub type Listing = BTreeMap<PathBuf, Entry>;

/// Everything below a folder, but for what is left out. Sockets, pipes and devices are passed over.
///
/// # Errors
/// Something cannot be read.
pub fn list(folder: &Path, without: &[PathBuf]) -> io::Result<Listing> {
    let mut found = Listing::new();
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        for entry in fs::read_dir(folder.join(&inner))? {
            let entry = entry?;
            let path = inner.join(entry.file_name());
            if without.contains(&path) {
                continue;
            }
            let meta = entry.metadata()?;
            let mode = meta.permissions().mode() & 0o7777;
            if meta.is_dir() {
                found.insert(path.clone(), Entry::Folder { mode });
                open.push(path);
            } else if meta.is_file() {
                let digest = digest(&entry.path())?;
                found.insert(path, Entry::File { mode, digest, size: meta.len() });
            } else if meta.is_symlink() {
                found.insert(path, Entry::Link { target: fs::read_link(entry.path())? });
            }
        }
    }
    Ok(found)
}

/// The digest of everything at `path` and below it; `None` where there is nothing.
pub fn digest_below(listing: &Listing, path: &Path) -> Option<ContentDigest> {
    let below: Vec<_> = listing.iter().filter(|(entry, _)| entry.starts_with(path)).collect();
    (!below.is_empty()).then(|| ContentDigest::of(format!("{below:?}").as_bytes()))
}

/// A listing in short.
pub fn tree(folder: &Path, without: Vec<PathBuf>, listing: &Listing) -> Tree {
    let sizes = listing.values().filter_map(|entry| match entry {
        Entry::File { size, .. } => Some(*size),
        Entry::Folder { .. } | Entry::Link { .. } => None,
    });
    Tree {
        folder: folder.to_owned(),
        without,
        digest: ContentDigest::of(format!("{listing:?}").as_bytes()),
        files: sizes.clone().count(),
        bytes: sizes.sum(),
    }
}

fn digest(path: &Path) -> io::Result<ContentDigest> {
    use sha2::Digest as _;
    let (mut file, mut hasher) = (File::open(path)?, sha2::Sha256::new());
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(ContentDigest::finish(hasher)),
            got => hasher.update(&buffer[..got]),
        }
    }
}

/// Keeps a copy of a release, whole or not at all. Nothing to do where there is one.
///
/// # Errors
/// Something cannot be read or written.
pub fn keep(copy: &Copy) -> io::Result<()> {
    let target = copy.project.copy();
    if target.is_dir() {
        return Ok(());
    }
    let parent = target.parent().unwrap_or(&target);
    fs::create_dir_all(parent)?;
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(parent)?;
    let listing = list(&copy.tree.folder, &copy.tree.without)?;
    if tree(&copy.tree.folder, copy.tree.without.clone(), &listing).digest != copy.tree.digest {
        return Err(io::Error::other(format!("{} was changed while it was looked at", copy.tree.folder.display())));
    }
    let root = new.path().join(TREE);
    fs::create_dir(&root)?;
    for (path, entry) in &listing {
        put(&copy.tree.folder.join(path), &root.join(path), entry)?;
    }
    let variables: Vec<(&str, Option<&str>)> =
        copy.variables.iter().map(|var| (var.name.as_str(), var.value.as_ref().map(|value| value.reveal()))).collect();
    write(&new.path().join(LISTING), &serde_json::to_vec(&listing.iter().collect::<Vec<_>>())?)?;
    write(&new.path().join(VARIABLES), &serde_json::to_vec(&variables)?)?;
    write(&new.path().join(OVERRIDE), copy.overlay.as_bytes())?;
    File::open(new.path())?.sync_all()?;
    fs::rename(new.keep(), &target)?;
    File::open(parent)?.sync_all()
}

/// The variables of a copy.
///
/// # Errors
/// They cannot be read.
pub fn variables(project: &Project) -> io::Result<Vec<(String, Option<String>)>> {
    Ok(serde_json::from_slice(&fs::read(project.copy().join(VARIABLES))?)?)
}

/// Lays a copy out where Compose works.
///
/// # Errors
/// Something cannot be read or written, or a folder that is not empty stands where a file must be.
pub fn place(project: &Project) -> io::Result<()> {
    let (root, place) = (project.copy().join(TREE), project.state.join(PLACE));
    let ledger = project.state.join(LEDGER);
    let wanted: Vec<(PathBuf, Entry)> = serde_json::from_slice(&fs::read(project.copy().join(LISTING))?)?;
    let wanted: Listing = wanted.into_iter().collect();
    let before = read_ledger(&ledger);
    // Both are ours until this is done: should we be killed here, neither is taken for somebody else's work.
    let mut both = before.clone();
    for (path, digest) in files(&wanted) {
        both.entry(path.clone()).or_default().insert(digest.clone());
    }
    write_ledger(&ledger, &both)?;
    fs::create_dir_all(&place)?;
    for (path, entry) in &wanted {
        let to = place.join(path);
        if let Entry::File { digest: new, .. } = entry {
            let present = present(&to)?;
            let is_ours = |digest: &ContentDigest| both.get(path).is_some_and(|known| known.contains(digest));
            match present {
                Some(digest) if digest == *new => {}
                Some(digest) if !is_ours(&digest) && before.get(path).is_some_and(|known| known.contains(new)) => {
                    continue;
                }
                Some(digest) if !is_ours(&digest) => set_aside(&to)?,
                _ => {}
            }
        }
        put(&root.join(path), &to, entry)?;
    }
    for path in both.keys().filter(|path| !wanted.contains_key(*path)) {
        let at = place.join(path);
        if present(&at)?.is_some_and(|digest| both[path].contains(&digest)) {
            fs::remove_file(&at)?;
        }
    }
    let after = files(&wanted).map(|(path, digest)| (path.clone(), BTreeSet::from([digest.clone()]))).collect();
    write_ledger(&ledger, &after)
}

type Ledger = BTreeMap<PathBuf, BTreeSet<ContentDigest>>;

fn files(listing: &Listing) -> impl Iterator<Item = (&PathBuf, &ContentDigest)> {
    listing.iter().filter_map(|(path, entry)| match entry {
        Entry::File { digest, .. } => Some((path, digest)),
        Entry::Folder { .. } | Entry::Link { .. } => None,
    })
}

fn read_ledger(path: &Path) -> Ledger {
    let entries: Option<Vec<(PathBuf, BTreeSet<ContentDigest>)>> =
        fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    entries.unwrap_or_default().into_iter().collect()
}

fn write_ledger(path: &Path, ledger: &Ledger) -> io::Result<()> {
    write(path, &serde_json::to_vec(&ledger.iter().collect::<Vec<_>>())?)
}

/// The digest of the file at `path`; `None` where no file is. An empty folder there, which the engine makes for a bind
/// mount without a source, gives way.
fn present(path: &Path) -> io::Result<Option<ContentDigest>> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(None),
        Ok(meta) if meta.is_file() => digest(path).map(Some),
        Ok(meta) if meta.is_dir() => {
            let _ = fs::remove_dir(path);
            Ok(None)
        }
        Ok(_) => Ok(None),
    }
}

fn set_aside(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let free = (1..).map(|n| path.with_file_name(format!("{name}.balehook-saved-{n}"))).find(|to| !to.exists());
    let to = free.unwrap_or_else(|| path.to_owned());
    tracing::warn!(file = %path.display(), kept = %to.display(), "it was changed on this host, and the revision's own too");
    fs::rename(path, to)
}

/// Puts one entry there, in one moment: a container that has the old file mounted keeps it.
fn put(from: &Path, to: &Path, entry: &Entry) -> io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    match entry {
        Entry::Folder { mode } => {
            if !to.is_dir() {
                fs::create_dir_all(to)?;
            }
            fs::set_permissions(to, fs::Permissions::from_mode(*mode))
        }
        Entry::File { mode, .. } => {
            let mut new = tempfile::Builder::new().prefix(".balehook-").tempfile_in(folder)?;
            io::copy(&mut File::open(from)?, new.as_file_mut())?;
            new.as_file().set_permissions(fs::Permissions::from_mode(*mode))?;
            new.as_file().sync_all()?;
            new.persist(to).map(drop).map_err(|error| error.error)
        }
        Entry::Link { target } => {
            if fs::read_link(to).is_ok_and(|there| there == *target) {
                return Ok(());
            }
            let _ = fs::remove_file(to);
            symlink(target, to)
        }
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::modes::compose::project::{Generation, Tool};

    struct Host {
        bundle: tempfile::TempDir,
        state: tempfile::TempDir,
    }

    impl Host {
        fn new() -> Self {
            Self { bundle: tempfile::tempdir().unwrap(), state: tempfile::tempdir().unwrap() }
        }

        /// The next revision: only these files.
        fn release(&self, id: &str, files: &[(&str, &str)]) -> Project {
            fs::remove_dir_all(self.bundle.path()).unwrap();
            for (path, content) in files {
                let path = self.bundle.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            let tool = Tool { argv: Vec::new(), version: String::new(), generation: Generation::V2 };
            let state = self.state.path().to_owned();
            let (files, env_files, profiles) = (Vec::new(), Vec::new(), Vec::new());
            let project = Project { name: "web".into(), tool, state, id: id.into(), files, env_files, profiles };
            let listing = list(self.bundle.path(), &[]).unwrap();
            let tree = tree(self.bundle.path(), Vec::new(), &listing);
            keep(&Copy { project: project.clone(), tree, overlay: String::new(), variables: Vec::new() }).unwrap();
            project
        }

        fn laid(&self, id: &str, files: &[(&str, &str)]) -> Project {
            let project = self.release(id, files);
            place(&project).unwrap();
            project
        }

        fn write(&self, path: &str, content: &str) {
            fs::write(self.state.path().join(PLACE).join(path), content).unwrap();
        }

        fn files(&self) -> Vec<(String, String)> {
            let place = self.state.path().join(PLACE);
            let listing = list(&place, &[]).unwrap();
            let files = files(&listing)
                .map(|(path, _)| (path.display().to_string(), fs::read_to_string(place.join(path)).unwrap()));
            files.collect()
        }
    }

    fn pairs(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned())).collect()
    }

    #[test]
    fn a_release_replaces_its_files_and_removes_those_that_it_has_no_longer() {
        let host = Host::new();
        host.laid("1", &[("compose.yml", "one"), ("conf/a", "a"), ("conf/b", "b")]);
        host.laid("2", &[("compose.yml", "two"), ("conf/a", "a")]);
        assert_eq!(host.files(), pairs(&[("compose.yml", "two"), ("conf/a", "a")]));
    }

    #[test]
    fn what_a_container_wrote_is_never_lost() {
        let host = Host::new();
        host.laid("1", &[("data/seed", "seed"), ("data/same", "same"), ("data/gone", "gone")]);
        host.write("data/new", "written");
        host.write("data/seed", "written over");
        host.write("data/same", "written over");
        host.write("data/gone", "written over");
        host.laid("2", &[("data/seed", "another seed"), ("data/same", "same")]);
        let wanted = [
            ("data/gone", "written over"),
            ("data/new", "written"),
            ("data/same", "written over"),
            ("data/seed", "another seed"),
            ("data/seed.balehook-saved-1", "written over"),
        ];
        assert_eq!(host.files(), pairs(&wanted));
    }

    #[test]
    fn the_previous_release_comes_back_from_its_copy_also_after_a_layout_that_was_cut_off() {
        let host = Host::new();
        let first = host.laid("1", &[("compose.yml", "one"), ("conf/a", "a")]);
        let second = host.laid("2", &[("compose.yml", "two"), ("conf/b", "b")]);
        place(&first).unwrap();
        assert_eq!(host.files(), pairs(&[("compose.yml", "one"), ("conf/a", "a")]));
        // Cut off: the ledger knows both, one file is laid out, the other is not.
        let mut ledger = read_ledger(&host.state.path().join(LEDGER));
        ledger.entry("compose.yml".into()).or_default().insert(ContentDigest::of(b"two"));
        write_ledger(&host.state.path().join(LEDGER), &ledger).unwrap();
        host.write("compose.yml", "two");
        place(&first).unwrap();
        assert_eq!(host.files(), pairs(&[("compose.yml", "one"), ("conf/a", "a")]));
        place(&second).unwrap();
        assert_eq!(host.files(), pairs(&[("compose.yml", "two"), ("conf/b", "b")]));
    }

    #[test]
    fn a_file_that_is_mounted_keeps_its_content_for_whoever_has_it_open_and_a_folder_its_identity() {
        use std::os::unix::fs::MetadataExt as _;
        let host = Host::new();
        host.laid("1", &[("conf/a", "a")]);
        let place = host.state.path().join(PLACE);
        let (mut open, folder) =
            (File::open(place.join("conf/a")).unwrap(), fs::metadata(place.join("conf")).unwrap().ino());
        host.laid("2", &[("conf/a", "another")]);
        let mut text = String::new();
        open.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), fs::metadata(place.join("conf")).unwrap().ino()), ("a", folder));
    }

    #[test]
    fn an_empty_folder_that_the_engine_made_gives_way_to_the_file_that_was_missing() {
        let host = Host::new();
        host.laid("1", &[("compose.yml", "one")]);
        fs::create_dir(host.state.path().join(PLACE).join("app.conf")).unwrap();
        host.laid("2", &[("compose.yml", "one"), ("app.conf", "x")]);
        assert_eq!(host.files(), pairs(&[("app.conf", "x"), ("compose.yml", "one")]));
    }
}
