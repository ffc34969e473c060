//! The files of a project: a snapshot of each release, and what is checked out of one where Compose works.
//!
//! Compose works in one folder whose path never changes. What is checked out there is remembered by its digests, so that
//! a file which a container or a person has changed is distinguished from one of ours: such a file is never lost. It stays as it
//! is where the revision's own did not change, and is backed up (`NAME.balehook-saved-1`) where it did. Files that the
//! revision never had are not touched at all, and no folder is ever removed: a container may have it mounted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::replace;
use crate::inputs;
use crate::modes::compose::listing::{Entry, Listing, files, list, summary};
use crate::modes::compose::project::{OVERRIDE, Project, ProjectFolder};
use crate::values::types::{ContentDigest, EnvVar, Secret};

/// The folder of a snapshot with the project's files.
const FILES: &str = "tree";

/// What that folder holds.
const LISTING: &str = "files.json";

/// The hook's variables that the files name.
const VARIABLES: &str = "variables.json";

/// What is checked out: every digest of ours that a file may have.
const CHECKED_OUT: &str = "project.json";

/// A release of a project, with everything that brings it back without its bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct Snapshot {
    pub project: Project,
    pub folder: ProjectFolder,
    pub override_file: String,
    pub(crate) variables: Vec<EnvVar>,
}

/// Takes a snapshot, whole or not at all. Nothing to do where there is a good one; what is to be said of a damaged one.
/// Errors: Something cannot be read or written, or the bundle has changed since it was observed.
pub(crate) fn take(snapshot: &Snapshot) -> io::Result<Option<String>> {
    let (target, folder) = (snapshot.project.snapshot(), &snapshot.folder);
    let listing = list(&folder.path, &folder.excluded)?;
    if summary(&folder.path, folder.excluded.clone(), &listing).digest != folder.digest {
        return Err(io::Error::other(format!("{} was changed during the deployment", folder.path.display())));
    }
    let value = |var: &EnvVar| var.value.as_ref().map(|value| value.reveal().to_owned());
    let variables: Vec<_> = snapshot.variables.iter().map(|var| (&var.name, value(var))).collect();
    let beside = [
        (LISTING, serde_json::to_vec(&listing.iter().collect::<Vec<_>>())?),
        (VARIABLES, serde_json::to_vec(&variables)?),
        (OVERRIDE, snapshot.override_file.as_bytes().to_vec()),
    ];
    let is_there = |(name, wanted): &(&str, Vec<u8>)| fs::read(target.join(name)).is_ok_and(|found| found == *wanted);
    if beside.iter().all(is_there) && list(&target.join(FILES), &[]).is_ok_and(|found| found == listing) {
        return Ok(None);
    }
    let parent = target.parent().unwrap_or(&target);
    fs::create_dir_all(parent)?;
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(parent)?;
    let root = new.path().join(FILES);
    fs::create_dir(&root)?;
    for (path, entry) in &listing {
        put(&folder.path.join(path), &root.join(path), entry)?;
    }
    for (name, content) in &beside {
        replace(&new.path().join(name), content)?;
    }
    File::open(new.path())?.sync_all()?;
    let damaged = fs::symlink_metadata(&target).is_ok();
    if damaged {
        let aside = tempfile::Builder::new().prefix(".damaged-").tempdir_in(parent)?;
        fs::rename(&target, aside.path().join(FILES))?;
    }
    fs::rename(new.keep(), &target)?;
    File::open(parent)?.sync_all()?;
    Ok(damaged.then(|| format!("{} was damaged: it was made anew", target.display())))
}

/// Removes a snapshot. Nothing to do when it is gone.
pub(crate) fn delete(snapshot: &Path) -> io::Result<()> {
    match fs::remove_dir_all(snapshot) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The variables of a project's snapshot.
pub(crate) fn variables(project: &Project) -> io::Result<Vec<EnvVar>> {
    let all: Vec<(String, Option<String>)> = serde_json::from_slice(&fs::read(project.snapshot().join(VARIABLES))?)?;
    Ok(all.into_iter().map(|(name, value)| EnvVar { name, value: value.map(Secret::new), hidden: true }).collect())
}

/// Checks a project's snapshot out where Compose works.
/// Errors: Something cannot be read or written, or a folder that is not empty stands where a file must be.
pub(crate) fn check_out(project: &Project) -> io::Result<()> {
    let (root, directory) = (project.snapshot().join(FILES), project.directory());
    let record = project.state.join(CHECKED_OUT);
    let wanted: Listing = read_listing(project, &root)?;
    let before = read_digests(&record);
    // Both are ours until this is done: should we be killed here, neither is taken for somebody else's work.
    let mut both = before.clone();
    for (path, digest) in files(&wanted) {
        both.entry(path.clone()).or_default().insert(digest.clone());
    }
    write_digests(&record, &both)?;
    fs::create_dir_all(&directory)?;
    for (path, entry) in &wanted {
        let to = directory.join(path);
        if make_way(&to, entry, before.get(path))? {
            put(&root.join(path), &to, entry)?;
        }
    }
    for path in both.keys().filter(|path| !wanted.contains_key(*path)) {
        let at = directory.join(path);
        if present(&at)?.is_some_and(|digest| both[path].contains(&digest)) {
            fs::remove_file(&at)?;
        }
    }
    let after = files(&wanted).map(|(path, digest)| (path.clone(), BTreeSet::from([digest.clone()]))).collect();
    write_digests(&record, &after)
}

/// What a snapshot holds. Where that was damaged, its files are taken as they are.
fn read_listing(project: &Project, root: &Path) -> io::Result<Listing> {
    let path = project.snapshot().join(LISTING);
    let read = fs::read(&path).and_then(|text| Ok(serde_json::from_slice::<Vec<(PathBuf, Entry)>>(&text)?));
    match read {
        Ok(wanted) => Ok(wanted.into_iter().collect()),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a snapshot is damaged: its files are taken as they are");
            list(root, &[])
        }
    }
}

/// Backs up a file that was changed on this host, where the revision's own changed too; `ours` are the digests of those
/// checked out before. Returns whether the new entry is to be put there.
fn make_way(at: &Path, new: &Entry, ours: Option<&BTreeSet<ContentDigest>>) -> io::Result<bool> {
    let Entry::File { digest: new, .. } = new else { return Ok(true) };
    let is_ours = |digest: &ContentDigest| ours.is_some_and(|known| known.contains(digest));
    match present(at)? {
        Some(digest) if digest != *new && !is_ours(&digest) && is_ours(new) => Ok(false),
        Some(digest) if digest != *new && !is_ours(&digest) => back_up(at).map(|()| true),
        _ => Ok(true),
    }
}

/// Of each file every digest that it may have as ours.
type Digests = BTreeMap<PathBuf, BTreeSet<ContentDigest>>;

fn read_digests(path: &Path) -> Digests {
    let entries: Option<Vec<(PathBuf, BTreeSet<ContentDigest>)>> =
        fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    entries.unwrap_or_default().into_iter().collect()
}

fn write_digests(path: &Path, digests: &Digests) -> io::Result<()> {
    replace(path, &serde_json::to_vec(&digests.iter().collect::<Vec<_>>())?)
}

/// The digest of the file at `path`; `None` where no file is. An empty folder there, which the engine makes for a bind
/// mount without a source, gives way.
fn present(path: &Path) -> io::Result<Option<ContentDigest>> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(None),
        Ok(meta) if meta.is_file() => inputs::digest(inputs::open(path, None)?).map(Some),
        Ok(meta) if meta.is_dir() => {
            let _ = fs::remove_dir(path);
            Ok(None)
        }
        Ok(_) => Ok(None),
    }
}

fn back_up(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let free = (1..).map(|n| path.with_file_name(format!("{name}.balehook-saved-{n}"))).find(|to| !to.exists());
    let to = free.unwrap_or_else(|| path.to_owned());
    tracing::warn!(file = %path.display(), backup = %to.display(), "backed up: it was changed on this host and by the revision");
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::modes::compose::project::{DIRECTORY, Tool};

    struct Host {
        bundle: tempfile::TempDir,
        state: tempfile::TempDir,
        /// Whether the last snapshot was damaged.
        said: std::cell::Cell<bool>,
    }

    impl Host {
        fn new() -> Self {
            Self { bundle: tempfile::tempdir().unwrap(), state: tempfile::tempdir().unwrap(), said: false.into() }
        }

        /// The next revision: only these files.
        fn release(&self, id: &str, files: &[(&str, &str)]) -> Project {
            fs::remove_dir_all(self.bundle.path()).unwrap();
            for (path, content) in files {
                let path = self.bundle.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            let tool = Tool { argv: Vec::new(), version: String::new() };
            let state = self.state.path().to_owned();
            let (files, env_files, profiles) = (Vec::new(), Vec::new(), Vec::new());
            let project = Project {
                name: "web".into(),
                tool,
                state,
                id: id.into(),
                files,
                env_files,
                profiles,
                services: Vec::new(),
            };
            let listing = list(self.bundle.path(), &[]).unwrap();
            let folder = summary(self.bundle.path(), Vec::new(), &listing);
            let (override_file, variables) = (String::new(), Vec::new());
            let said = take(&Snapshot { project: project.clone(), folder, override_file, variables }).unwrap();
            self.said.set(said.is_some());
            project
        }

        fn checked_out(&self, id: &str, files: &[(&str, &str)]) -> Project {
            let project = self.release(id, files);
            check_out(&project).unwrap();
            project
        }

        fn write(&self, path: &str, content: &str) {
            fs::write(self.state.path().join(DIRECTORY).join(path), content).unwrap();
        }

        fn files(&self) -> Vec<(String, String)> {
            let directory = self.state.path().join(DIRECTORY);
            let listing = list(&directory, &[]).unwrap();
            let files = files(&listing)
                .map(|(path, _)| (path.display().to_string(), fs::read_to_string(directory.join(path)).unwrap()));
            files.collect()
        }
    }

    fn pairs(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned())).collect()
    }

    #[test]
    fn a_release_replaces_its_files_and_removes_those_that_it_has_no_longer() {
        let host = Host::new();
        host.checked_out("1", &[("compose.yml", "one"), ("conf/a", "a"), ("conf/b", "b")]);
        host.checked_out("2", &[("compose.yml", "two"), ("conf/a", "a")]);
        assert_eq!(host.files(), pairs(&[("compose.yml", "two"), ("conf/a", "a")]));
    }

    #[test]
    fn a_snapshot_that_was_damaged_anywhere_is_made_anew_from_the_same_revision() {
        let files = [("compose.yml", "one"), ("conf/a", "a")];
        for damaged in ["files.json", "variables.json", "override.yml", "tree/conf/a", "tree/conf", ""] {
            let host = Host::new();
            let at: PathBuf = host.release("1", &files).snapshot().join(damaged).components().collect();
            host.release("1", &files);
            assert!(!host.said.get(), "{damaged}: it is whole");
            match at.is_dir() {
                true => fs::remove_dir_all(&at).unwrap(),
                false => fs::write(&at, "x").unwrap(),
            }
            if damaged.is_empty() {
                fs::write(&at, "a file in its place").unwrap();
            }
            host.checked_out("1", &files);
            assert!(host.said.get(), "{damaged}: it is said");
            assert_eq!(host.files(), pairs(&files), "{damaged}");
            assert_eq!(fs::read_dir(at.ancestors().find(|up| up.ends_with("compose")).unwrap()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_snapshot_without_its_listing_comes_back_as_its_files_are() {
        let host = Host::new();
        let first = host.checked_out("1", &[("compose.yml", "one"), ("conf/a", "a")]);
        host.checked_out("2", &[("compose.yml", "two")]);
        fs::write(first.snapshot().join(LISTING), "").unwrap();
        check_out(&first).unwrap();
        assert_eq!(host.files(), pairs(&[("compose.yml", "one"), ("conf/a", "a")]));
    }

    #[test]
    fn what_a_container_wrote_is_never_lost() {
        let host = Host::new();
        host.checked_out("1", &[("data/seed", "seed"), ("data/same", "same"), ("data/gone", "gone")]);
        host.write("data/new", "written");
        host.write("data/seed", "written over");
        host.write("data/same", "written over");
        host.write("data/gone", "written over");
        host.checked_out("2", &[("data/seed", "another seed"), ("data/same", "same")]);
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
    fn the_previous_release_comes_back_from_its_snapshot_also_after_a_check_out_that_was_cut_off() {
        let host = Host::new();
        let first = host.checked_out("1", &[("compose.yml", "one"), ("conf/a", "a")]);
        let second = host.checked_out("2", &[("compose.yml", "two"), ("conf/b", "b")]);
        check_out(&first).unwrap();
        assert_eq!(host.files(), pairs(&[("compose.yml", "one"), ("conf/a", "a")]));
        // Cut off: the digests of both are known, one file is checked out, the other is not.
        let mut digests = read_digests(&host.state.path().join(CHECKED_OUT));
        digests.entry("compose.yml".into()).or_default().insert(ContentDigest::of(b"two"));
        write_digests(&host.state.path().join(CHECKED_OUT), &digests).unwrap();
        host.write("compose.yml", "two");
        check_out(&first).unwrap();
        assert_eq!(host.files(), pairs(&[("compose.yml", "one"), ("conf/a", "a")]));
        check_out(&second).unwrap();
        assert_eq!(host.files(), pairs(&[("compose.yml", "two"), ("conf/b", "b")]));
    }

    #[test]
    fn a_file_that_is_mounted_keeps_its_content_for_who_has_it_open_and_a_folder_its_identity() {
        use std::io::Read as _;
        use std::os::unix::fs::MetadataExt as _;
        let host = Host::new();
        host.checked_out("1", &[("conf/a", "a")]);
        let directory = host.state.path().join(DIRECTORY);
        let (mut open, folder) =
            (File::open(directory.join("conf/a")).unwrap(), fs::metadata(directory.join("conf")).unwrap().ino());
        host.checked_out("2", &[("conf/a", "another")]);
        let mut text = String::new();
        open.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), fs::metadata(directory.join("conf")).unwrap().ino()), ("a", folder));
    }

    #[test]
    fn an_empty_folder_that_the_engine_made_gives_way_to_the_file_that_was_missing() {
        let host = Host::new();
        host.checked_out("1", &[("compose.yml", "one")]);
        fs::create_dir(host.state.path().join(DIRECTORY).join("app.conf")).unwrap();
        host.checked_out("2", &[("compose.yml", "one"), ("app.conf", "x")]);
        assert_eq!(host.files(), pairs(&[("app.conf", "x"), ("compose.yml", "one")]));
    }
}
