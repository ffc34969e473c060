//! The files of a release where Compose works.
//!
//! That is one folder whose path never changes. What is checked out there is remembered, so that what a container or a
//! person has changed is distinguished from what is ours: such a thing is never lost. It stays as it is where the
//! revision's own did not change, and is backed up (`NAME.balehook-saved-1`) where it did. Files that the revision never had
//! are not touched at all, and no folder with something in it is ever removed: a container may have it mounted. A file that
//! is right already stays the very same, for the same reason.
//!
//! What is in that folder is not trusted, because containers write there: see [`Folder`].

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;
use sha2::Digest as _;

use crate::files::replace;
use crate::folder::Folder;
use crate::inputs;
use crate::modes::compose::listing::Entry;
use crate::modes::compose::project::{DIRECTORY, Project};
use crate::modes::compose::snapshot::{FILES, read_listing};
use crate::values::types::ContentDigest;

/// What is checked out: everything of ours that a path may have.
const CHECKED_OUT: &str = "project.json";

/// Of each path what of ours may be there: of one release, or of two where a check-out was cut off.
type Record = BTreeMap<PathBuf, BTreeSet<Entry>>;

/// What there is at a path.
enum Found {
    Nothing,
    Folder {
        mode: u32,
    },
    File {
        mode: u32,
        digest: ContentDigest,
    },
    Link {
        target: PathBuf,
    },
    /// A file whose length already says that it is none of ours; a socket, a pipe, a device.
    Other,
}

/// A path of a project's folder, and what of ours may be there.
struct Place<'a> {
    path: &'a Path,
    folder: Folder,
    name: &'a OsStr,
    ours: BTreeSet<Entry>,
}

/// Checks a project's snapshot out where Compose works.
/// Errors: Something cannot be read or written, a folder that is not empty stands where a file must be, or another process puts
/// a link in the place of a folder meanwhile.
pub(crate) fn check_out(project: &Project) -> io::Result<()> {
    let record = project.state.join(CHECKED_OUT);
    let wanted = read_listing(project)?;
    let before = read_record(&record);
    // Both are ours until this is done: should we be killed here, neither is taken for another's work.
    let mut both = before.clone();
    for (path, entry) in &wanted {
        both.entry(path.clone()).or_default().insert(entry.clone());
    }
    write_record(&record, &both)?;
    let snapshot = Folder::open(&project.snapshot().join(FILES))?;
    let root = Folder::open(&project.state)?.make(OsStr::new(DIRECTORY), 0o755)?;
    for (path, ours) in before.iter().filter(|(path, _)| !wanted.contains_key(*path)) {
        if let Some(place) = Place::reach(&root, path, ours)? {
            place.remove()?;
        }
    }
    for (path, entry) in &wanted {
        let ours = before.get(path).cloned().unwrap_or_default();
        let (folder, name) = root.reach(path)?;
        Place { path, folder, name, ours }.put(&snapshot, entry)?;
    }
    write_record(&record, &wanted.into_iter().map(|(path, entry)| (path, BTreeSet::from([entry]))).collect())
}

fn read_record(path: &Path) -> Record {
    let entries: Option<Vec<(PathBuf, BTreeSet<Entry>)>> =
        fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    entries.unwrap_or_default().into_iter().collect()
}

fn write_record(path: &Path, record: &Record) -> io::Result<()> {
    replace(path, &serde_json::to_vec(&record.iter().collect::<Vec<_>>())?)
}

impl<'a> Place<'a> {
    /// A path that may be gone with its folder.
    fn reach(root: &Folder, path: &'a Path, ours: &BTreeSet<Entry>) -> io::Result<Option<Self>> {
        match root.reach(path) {
            Ok((folder, name)) => Ok(Some(Self { path, folder, name, ours: ours.clone() })),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what the revision has no longer, where it is still ours. A folder stays.
    fn remove(&self) -> io::Result<()> {
        match self.found(None)? {
            Found::Nothing | Found::Folder { .. } | Found::Other => Ok(()),
            Found::File { digest, .. } if self.is_our_file(&digest) => self.folder.remove(self.name),
            Found::Link { target } if self.is_our_link(&target) => self.folder.remove(self.name),
            Found::File { .. } | Found::Link { .. } => Ok(()),
        }
    }

    /// Puts an entry of the revision there.
    fn put(&self, snapshot: &Folder, entry: &Entry) -> io::Result<()> {
        let found = self.found(Some(entry))?;
        match entry {
            Entry::Folder { mode } => self.put_folder(&found, *mode),
            Entry::File { mode, digest, .. } => self.put_file(snapshot, &found, *mode, digest),
            Entry::Link { target } if matches!(&found, Found::Link { target: there } if there == target) => Ok(()),
            Entry::Link { target } => {
                self.give_way(&found)?;
                self.folder.make_link(self.name, target)
            }
        }
    }

    fn put_folder(&self, found: &Found, mode: u32) -> io::Result<()> {
        match found {
            Found::Folder { mode: there } => match self.keeps_mode(*there, mode) {
                true => Ok(()),
                false => set_mode(&self.folder.enter(self.name)?, mode),
            },
            Found::Nothing | Found::File { .. } | Found::Link { .. } | Found::Other => {
                self.give_way(found)?;
                set_mode(&self.folder.make(self.name, 0o700)?, mode)
            }
        }
    }

    fn put_file(&self, snapshot: &Folder, found: &Found, mode: u32, new: &ContentDigest) -> io::Result<()> {
        match found {
            Found::File { mode: there, digest } if digest == new => match self.keeps_mode(*there, mode) {
                true => Ok(()),
                false => self.folder.file(self.name, OFlag::O_RDONLY)?.set_permissions(Permissions::from_mode(mode)),
            },
            // Changed here, and not by the revision.
            Found::File { digest, .. } if !self.is_our_file(digest) && self.is_our_file(new) => Ok(()),
            Found::Other if self.is_our_file(new) && self.is_file()? => Ok(()),
            // One of ours is replaced in one moment, and what has it mounted keeps it.
            Found::File { digest, .. } if self.is_our_file(digest) => self.copy(snapshot, mode, new),
            Found::Nothing | Found::Folder { .. } | Found::File { .. } | Found::Link { .. } | Found::Other => {
                self.give_way(found).and_then(|()| self.copy(snapshot, mode, new))
            }
        }
    }

    fn copy(&self, snapshot: &Folder, mode: u32, digest: &ContentDigest) -> io::Result<()> {
        if copy(snapshot, self.path, (&self.folder, self.name), mode)? != *digest {
            tracing::warn!(file = %self.path.display(), "a snapshot is damaged: this file is taken as it is");
        }
        Ok(())
    }

    /// What is there goes: ours is removed, an empty folder too (the engine makes one for a bind mount without a source),
    /// anything else is backed up.
    fn give_way(&self, found: &Found) -> io::Result<()> {
        match found {
            Found::Nothing => Ok(()),
            Found::Folder { .. } => self.folder.remove_empty(self.name),
            Found::File { digest, .. } if self.is_our_file(digest) => self.folder.remove(self.name),
            Found::Link { target } if self.is_our_link(target) => self.folder.remove(self.name),
            Found::File { .. } | Found::Link { .. } | Found::Other => self.back_up(),
        }
    }

    fn back_up(&self) -> io::Result<()> {
        let mut number = 1;
        loop {
            let mut to = OsString::from(self.name);
            to.push(format!(".balehook-saved-{number}"));
            if self.folder.stat(&to)?.is_none() {
                let (file, backup) = (self.path.display(), to.display());
                tracing::warn!(%file, %backup, "backed up: it was changed on this host and by the revision");
                return self.folder.rename(self.name, &to);
            }
            number += 1;
        }
    }

    fn found(&self, wanted: Option<&Entry>) -> io::Result<Found> {
        let Some((kind, stat)) = self.folder.stat(self.name)? else { return Ok(Found::Nothing) };
        let mode = stat.st_mode & 0o7777;
        match kind {
            SFlag::S_IFDIR => Ok(Found::Folder { mode }),
            SFlag::S_IFLNK => Ok(Found::Link { target: self.folder.link(self.name)? }),
            SFlag::S_IFREG => self.content(mode, stat.st_size, wanted),
            _ => Ok(Found::Other),
        }
    }

    /// Only a file of a length that is known is read: one that is not ours may be endless.
    fn content(&self, mode: u32, length: i64, wanted: Option<&Entry>) -> io::Result<Found> {
        let is_known = |entry: &Entry| match entry {
            Entry::File { size, .. } => i64::try_from(*size) == Ok(length),
            Entry::Folder { .. } | Entry::Link { .. } => false,
        };
        if !self.ours.iter().chain(wanted).any(is_known) {
            return Ok(Found::Other);
        }
        let file = self.folder.file(self.name, OFlag::O_RDONLY)?;
        Ok(Found::File { mode, digest: inputs::digest(file.take(u64::try_from(length).unwrap_or_default()))? })
    }

    fn is_file(&self) -> io::Result<bool> {
        Ok(self.folder.stat(self.name)?.is_some_and(|(kind, _)| kind == SFlag::S_IFREG))
    }

    fn is_our_file(&self, found: &ContentDigest) -> bool {
        self.ours.iter().any(|entry| matches!(entry, Entry::File { digest, .. } if digest == found))
    }

    fn is_our_link(&self, found: &Path) -> bool {
        self.ours.iter().any(|entry| matches!(entry, Entry::Link { target } if target == found))
    }

    /// A mode that was changed stays as long as the revision's own is the same.
    fn keeps_mode(&self, there: u32, new: u32) -> bool {
        let is_ours = |wanted: u32| {
            self.ours.iter().any(|entry| match entry {
                Entry::Folder { mode } | Entry::File { mode, .. } => *mode == wanted,
                Entry::Link { .. } => false,
            })
        };
        there == new || (!is_ours(there) && is_ours(new))
    }
}

pub(super) fn set_mode(folder: &Folder, mode: u32) -> io::Result<()> {
    match folder.mode()? == mode {
        true => Ok(()),
        false => folder.set_mode(mode),
    }
}

/// Copies the file `path` of a folder, in one moment: a container that has the old one mounted keeps it. Returns the digest of
/// what was copied.
pub(super) fn copy(
    from: &Folder,
    path: &Path,
    (folder, name): (&Folder, &OsStr),
    mode: u32,
) -> io::Result<ContentDigest> {
    let (source, source_name) = from.reach(path)?;
    let mut source = source.file(source_name, OFlag::O_RDONLY)?;
    let (mut new, new_name) = folder.new_file()?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let got = source.read(&mut buffer)?;
        if got == 0 {
            break;
        }
        hasher.update(&buffer[..got]);
        new.write_all(&buffer[..got])?;
    }
    new.set_permissions(Permissions::from_mode(mode))?;
    new.sync_all()?;
    folder.rename(&new_name, name)?;
    Ok(ContentDigest::finish(hasher))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::File;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;
    use crate::modes::compose::listing::{list, summary};
    use crate::modes::compose::project::Tool;
    use crate::modes::compose::snapshot::{Snapshot, take};

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
                match content.strip_prefix("-> ") {
                    Some(target) => symlink(target, path).unwrap(),
                    None => fs::write(path, content).unwrap(),
                }
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

        fn directory(&self) -> PathBuf {
            self.state.path().join(DIRECTORY)
        }

        fn mode(&self, path: &str) -> u32 {
            fs::metadata(self.directory().join(path)).unwrap().mode() & 0o7777
        }

        fn write(&self, path: &str, content: &str) {
            fs::write(self.state.path().join(DIRECTORY).join(path), content).unwrap();
        }

        fn files(&self) -> Vec<(String, String)> {
            let directory = self.state.path().join(DIRECTORY);
            let listing = list(&directory, &[]).unwrap();
            let files = listing.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. }));
            let read = |path: &PathBuf| fs::read_to_string(directory.join(path)).unwrap();
            files.map(|(path, _)| (path.display().to_string(), read(path))).collect()
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
        fs::write(first.snapshot().join("files.json"), "").unwrap();
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
        let mut record = read_record(&host.state.path().join(CHECKED_OUT));
        let two = Entry::File { mode: 0o644, digest: ContentDigest::of(b"two"), size: 3 };
        record.entry("compose.yml".into()).or_default().insert(two);
        write_record(&host.state.path().join(CHECKED_OUT), &record).unwrap();
        host.write("compose.yml", "two");
        check_out(&first).unwrap();
        assert_eq!(host.files(), pairs(&[("compose.yml", "one"), ("conf/a", "a")]));
        check_out(&second).unwrap();
        assert_eq!(host.files(), pairs(&[("compose.yml", "two"), ("conf/b", "b")]));
    }

    #[test]
    fn a_file_that_is_mounted_keeps_its_content_for_who_has_it_open_and_a_folder_its_identity() {
        use std::io::Read as _;
        let host = Host::new();
        host.checked_out("1", &[("conf/a", "a")]);
        let directory = host.directory();
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

    /// A folder of the host, beside a project, that nobody may touch: its mode and what it holds.
    struct Victim(tempfile::TempDir);

    impl Victim {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
            fs::write(folder.path().join("a"), "of the host").unwrap();
            Self(folder)
        }

        fn path(&self) -> &str {
            self.0.path().to_str().unwrap()
        }

        fn state(&self) -> (u32, Vec<String>, String) {
            let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mode = fs::metadata(&self.0).unwrap().mode() & 0o7777;
            (mode, names.collect(), fs::read_to_string(self.0.path().join("a")).unwrap())
        }

        fn is_untouched(&self) -> bool {
            self.state() == (0o700, vec!["a".into()], "of the host".into())
        }
    }

    /// What a container that has a folder of the project mounted does there, and what the next release finds.
    #[test]
    fn a_folder_that_a_container_replaced_by_a_link_is_never_followed() {
        let deep = [("app/conf/a", "ours"), ("app/conf/deep/b", "ours")];
        for (replaced, next) in [
            ("app/conf", &deep[..]),
            ("app", &deep),
            // The file is removed by the revision: what it is called behind the link stays.
            ("app/conf", &[("app/other", "x")]),
            ("app/conf", &[("app/conf/a", "another"), ("app/conf/c", "new")]),
        ] {
            let (host, victim) = (Host::new(), Victim::new());
            fs::write(victim.0.path().join("a"), "ours").unwrap();
            host.checked_out("1", &deep);
            let folder = host.directory().join(replaced);
            fs::rename(&folder, host.directory().join("moved")).unwrap();
            symlink(victim.path(), &folder).unwrap();
            host.checked_out("2", next);
            assert_eq!(victim.state(), (0o700, vec!["a".into()], "ours".into()), "{replaced} {next:?}");
            for (path, content) in next {
                assert_eq!(fs::read_to_string(host.directory().join(path)).unwrap(), *content);
            }
        }
    }

    #[test]
    fn a_file_that_a_container_replaced_by_a_link_is_backed_up_and_what_it_leads_to_is_neither_read_nor_written() {
        let (host, victim) = (Host::new(), Victim::new());
        host.checked_out("1", &[("conf/a", "one"), ("conf/b", "b")]);
        for name in ["a", "b"] {
            fs::remove_file(host.directory().join("conf").join(name)).unwrap();
            symlink(victim.0.path().join("a"), host.directory().join("conf").join(name)).unwrap();
        }
        symlink(victim.0.path().join("a"), host.directory().join("conf/.balehook-new-0")).unwrap();
        host.checked_out("2", &[("conf/a", "two"), ("conf/b", "b")]);
        assert!(victim.is_untouched());
        let read = |path: &str| fs::read_to_string(host.directory().join(path)).unwrap();
        assert_eq!((read("conf/a"), read("conf/b")), ("two".into(), "b".into()));
        let saved = fs::read_link(host.directory().join("conf/a.balehook-saved-1")).unwrap();
        assert_eq!(saved, victim.0.path().join("a"));
    }

    #[test]
    fn a_link_that_an_earlier_release_laid_out_gives_way_to_a_folder_and_goes_with_its_revision() {
        let (host, victim) = (Host::new(), Victim::new());
        let link = format!("-> {}", victim.path());
        host.checked_out("1", &[("app/d", &link), ("app/e", &link)]);
        assert_eq!(fs::read_link(host.directory().join("app/d")).unwrap(), Path::new(victim.path()));
        host.checked_out("2", &[("app/d/a", "ours")]);
        assert!(victim.is_untouched());
        assert_eq!(host.files(), pairs(&[("app/d/a", "ours")]));
        assert!(!host.directory().join("app/e").is_symlink(), "the revision has it no longer");
        host.checked_out("3", &[("app/d", &link)]);
        assert_eq!(fs::read_link(host.directory().join("app/d")).unwrap(), Path::new(victim.path()), "and back");
        assert!(victim.is_untouched());
    }

    #[test]
    fn the_projects_folder_itself_is_never_a_link() {
        let (host, victim) = (Host::new(), Victim::new());
        symlink(victim.path(), host.directory()).unwrap();
        let refused = check_out(&host.release("1", &[("a", "ours")])).unwrap_err();
        assert_eq!(refused.to_string(), "project is a symbolic link or a file, and must be a folder");
        assert!(victim.is_untouched());
    }

    #[test]
    fn a_file_that_did_not_change_stays_the_very_same_and_a_mode_that_was_changed_stays_until_the_revision_does() {
        let host = Host::new();
        let release = [("conf/a", "a"), ("data/x", "x")];
        host.checked_out("1", &release);
        let inode = || fs::metadata(host.directory().join("conf/a")).unwrap().ino();
        let before = inode();
        fs::set_permissions(host.directory().join("data"), Permissions::from_mode(0o2770)).unwrap();
        fs::set_permissions(host.directory().join("data/x"), Permissions::from_mode(0o660)).unwrap();
        host.checked_out("2", &release);
        assert_eq!((inode(), host.mode("data"), host.mode("data/x")), (before, 0o2770, 0o660));
        let next = host.release("3", &release);
        fs::set_permissions(host.bundle.path().join("data"), Permissions::from_mode(0o750)).unwrap();
        fs::set_permissions(host.bundle.path().join("conf/a"), Permissions::from_mode(0o755)).unwrap();
        let folder = summary(host.bundle.path(), Vec::new(), &list(host.bundle.path(), &[]).unwrap());
        let project = Project { id: "4".into(), ..next };
        take(&Snapshot { project: project.clone(), folder, override_file: String::new(), variables: Vec::new() })
            .unwrap();
        check_out(&project).unwrap();
        assert_eq!((inode(), host.mode("data"), host.mode("conf/a")), (before, 0o750, 0o755));
    }

    #[test]
    fn a_file_without_an_end_in_the_place_of_ours_is_not_read() {
        let host = Host::new();
        host.checked_out("1", &[("a", "one"), ("b", "two"), ("c", "three")]);
        for (name, length) in [("a", 1 << 50), ("b", 1 << 50)] {
            File::create(host.directory().join(name)).unwrap().set_len(length).unwrap_or_default();
        }
        fs::remove_file(host.directory().join("c")).unwrap();
        nix::unistd::mkfifo(&host.directory().join("c"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        host.checked_out("2", &[("a", "next"), ("b", "two"), ("c", "three")]);
        let read = |path: &str| fs::read_to_string(host.directory().join(path)).unwrap();
        assert_eq!((read("a"), read("c")), ("next".into(), "three".into()));
        assert!(host.directory().join("a.balehook-saved-1").exists(), "what was written there is not lost");
        assert!(host.directory().join("c.balehook-saved-1").exists());
        assert_ne!(fs::metadata(host.directory().join("b")).unwrap().len(), 3, "changed here, not by the revision");
    }
}
