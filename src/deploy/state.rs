//! Records and the lock: only the lock's guard can write.
//!
//! `<state>/<name>/`: `lock` (flock: the kernel frees it), `releases/<number>.json`, `journal.json` while an event
//! changes something, `resolved.json` (what the images of this deployment and of recorded ones were resolved to),
//! `images.json` (what imports gave the engine), `stopped.json` while a person has stopped it, `deployments/` (see
//! `history`) and `balehook.log`. Folders are 0700, files 0600, each whole or not there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::deploy::file::{read, read_as};
use crate::deploy::history;
use crate::deploy::journal::{self, JournalFile, Left};
use crate::deploy::plan::Operation;
use crate::deploy::release::{FORMAT, Release};
use crate::error::{Failure, Kind};
use crate::files::{unwritable, write};
use crate::folder::Folder;
use crate::images::record::{ImportRecord, ImportedReferences};
use crate::inputs;
use crate::poll;
use crate::values::pin::ImagePin;
use crate::values::types::Name;

/// How often a lock that another holds is tried.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// The most that is read of what a holder writes, in bytes.
const HOLDER: u64 = 64 * 1024;

/// What tags and archives were resolved to, once for each deployment.
#[derive(Debug, Serialize, Deserialize)]
struct Resolved {
    format: u32,
    /// By deployment: the results, each with the key of the image that was needed.
    deployments: BTreeMap<String, Vec<(String, ImagePin)>>,
}

/// The state folder of one name, for reading.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// The state folder with the lock held: the only way to write.
#[derive(Debug)]
pub struct LockedStore {
    store: Store,
    _lock: File,
    /// What was damaged and is kept under another name, each as a person reads it.
    pub(crate) set_aside: Vec<String>,
}

/// Who holds, or asks for, the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct Holder {
    pub pid: u32,
    pub deployment: String,
    pub event: String,
}

impl Store {
    /// The folder of `name` under the state directory; nothing is created.
    pub fn new(state_dir: &Path, name: &Name) -> Self {
        Self { folder: state_dir.join(name.as_str()) }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of all names.
    pub(crate) fn all(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// The saved releases, the newest first. One that cannot be read is left out: the engine's labels are the truth.
    pub(crate) fn releases<P: DeserializeOwned>(&self) -> Vec<Release<P>> {
        let mut numbers = self.numbers();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let saved = |number: &u64| read_as(&self.release_path(*number), Release::from_value);
        numbers.iter().filter_map(|number| Some(Release { number: *number, ..saved(number)? })).collect()
    }

    pub(crate) fn left<O: Operation>(&self) -> Option<Left<O>> {
        journal::left(&self.folder, |release| self.numbers().contains(&release))
    }

    /// What the images of a deployment were resolved to, each with its key: of the last one, or of a recorded one.
    pub(crate) fn resolved(&self, deployment: &str) -> Vec<(String, ImagePin)> {
        self.all_resolved().remove(deployment).unwrap_or_default()
    }

    fn all_resolved(&self) -> BTreeMap<String, Vec<(String, ImagePin)>> {
        let resolved: Option<Resolved> = read(&self.folder.join("resolved.json"));
        resolved.map(|resolved| resolved.deployments).unwrap_or_default()
    }

    pub(crate) fn imported(&self) -> Vec<ImportedReferences> {
        ImportRecord::new(&self.folder).read()
    }

    /// Who holds the lock at this moment; nothing is created and nobody is kept waiting.
    pub(crate) fn holder(&self) -> Option<String> {
        let mut file = File::open(self.folder.join("lock")).ok()?;
        let is_held = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        is_held.then(|| describe_holder(&mut file))
    }

    /// Takes the lock; waits for another holder until `give_up`. `waiting` is called once, when it has to wait.
    ///
    /// # Errors
    /// [`Kind::State`] where the folder cannot be made or written, [`Kind::Locked`] when time is up.
    pub async fn lock(
        self,
        me: &Holder,
        give_up: Instant,
        mut waiting: impl FnMut(&str),
    ) -> Result<LockedStore, Failure> {
        let path = self.folder.join("lock");
        let mut file = self.open_lock(&path)?;
        let mut holder: Option<String> = None;
        let patience = give_up.saturating_duration_since(Instant::now());
        let locked = poll::until(patience, LOCK_INTERVAL, async || match file.try_lock() {
            Ok(()) => Ok(Some(())),
            Err(TryLockError::Error(error)) => Err(unwritable(&path, &error)),
            Err(TryLockError::WouldBlock) => {
                let now = describe_holder(&mut file);
                if holder.replace(now.clone()).is_none() {
                    waiting(&now);
                }
                Ok(None)
            }
        });
        match locked.await? {
            Some(()) => self.locked(file, me),
            None => {
                let holder = holder.unwrap_or_default();
                Err(Failure::new(Kind::Locked, format!("{holder} still holds {}", path.display()))
                    .next("wait for that deployment to end, then deploy again"))
            }
        }
    }

    fn open_lock(&self, path: &Path) -> Result<File, Failure> {
        let failed = |error: io::Error| unwritable(path, &error);
        let all = self.folder.parent().unwrap_or(&self.folder);
        if !all.exists() {
            fs::DirBuilder::new().recursive(true).create(all).map_err(failed)?;
            // A hook with `runas` must get through to the folder of its own name; what is in a folder is 0700.
            fs::set_permissions(all, fs::Permissions::from_mode(0o711)).map_err(failed)?;
        }
        let states = Folder::open(all).map_err(failed)?;
        check_owner(&states, all)?;
        let folder = states.make(self.folder.file_name().unwrap_or_default(), 0o700).map_err(failed)?;
        check_owner(&folder, &self.folder)?;
        let mode = folder.mode().map_err(failed)?;
        if mode != 0o700 {
            folder.set_mode(0o700).map_err(failed)?;
        }
        for records in ["releases", history::FOLDER] {
            folder.make(OsStr::new(records), 0o700).map_err(failed)?;
        }
        folder.file(OsStr::new("lock"), OFlag::O_RDWR | OFlag::O_CREAT).map_err(failed)
    }

    fn locked(self, mut lock: File, me: &Holder) -> Result<LockedStore, Failure> {
        let path = self.folder.join("lock");
        let text = serde_json::to_vec(me).unwrap_or_default();
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(&text))
            .map_err(|error| unwritable(&path, &error))?;
        let set_aside = RECORDS.iter().filter_map(|name| set_aside(&self.folder, name)).collect();
        Ok(LockedStore { store: self, _lock: lock, set_aside })
    }

    fn release_path(&self, number: u64) -> PathBuf {
        self.folder.join("releases").join(format!("{number:06}.json"))
    }

    fn numbers(&self) -> Vec<u64> {
        numbered(&self.folder.join("releases"))
    }
}

/// The numbers of a folder's `<number>.json`, in no order.
pub(super) fn numbered(folder: &Path) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect()
}

impl LockedStore {
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// Writes a release as the newest, and forgets all but the `keep` newest and those that are pinned.
    pub(crate) fn save_release<P: Serialize>(&self, release: &Release<P>, keep: usize) -> Result<(), Failure> {
        let mut numbers = self.store.numbers();
        numbers.sort_unstable();
        let number = numbers.last().map_or(1, |last| last + 1);
        write(&self.store.release_path(number), release)?;
        numbers.push(number);
        let pinned = self.store.releases::<IgnoredAny>().into_iter().filter(|release| release.pinned);
        let pinned: Vec<u64> = pinned.map(|release| release.number).collect();
        for old in numbers.iter().rev().skip(keep.max(1)).filter(|number| !pinned.contains(number)) {
            let _ = fs::remove_file(self.store.release_path(*old));
        }
        Ok(())
    }

    /// Whether a release is never pruned.
    pub(crate) fn set_pinned(&self, number: u64, pinned: bool) -> Result<(), Failure> {
        let path = self.store.release_path(number);
        let mut release: serde_json::Value = read(&path)
            .ok_or_else(|| Failure::new(Kind::State, format!("{} is no release any more", path.display())))?;
        release["pinned"] = pinned.into();
        write(&path, &release)
    }

    /// The container of the newest release was created anew: it has another ID.
    pub(crate) fn rename_container(&self, from: &str, to: &str) -> Result<(), Failure> {
        let Some(number) = self.store.numbers().into_iter().max() else { return Ok(()) };
        let path = self.store.release_path(number);
        match read::<serde_json::Value>(&path) {
            Some(mut release) if release["observed"]["container"] == from => {
                release["observed"]["container"] = to.into();
                write(&path, &release)
            }
            _ => Ok(()),
        }
    }

    /// The journal of a deployment's plan; nothing is written yet.
    pub fn journal<O: Operation>(&self, deployment: &str) -> JournalFile<O> {
        let release = self.store.numbers().into_iter().max().map_or(1, |last| last + 1);
        JournalFile::new(&self.store.folder, deployment, release)
    }

    pub(crate) fn import_record(&self) -> ImportRecord {
        ImportRecord::new(&self.store.folder)
    }

    /// Keeps what tags and archives of a deployment were resolved to, beside those of recorded deployments.
    pub(crate) fn save_resolved(&self, deployment: &str, images: Vec<(String, ImagePin)>) -> Result<(), Failure> {
        let recorded: Vec<String> =
            self.store.releases::<IgnoredAny>().into_iter().map(|release| release.deployment).collect();
        let mut deployments = self.store.all_resolved();
        deployments.retain(|known, _| recorded.contains(known));
        deployments.insert(deployment.to_owned(), images);
        write(&self.store.folder.join("resolved.json"), &Resolved { format: FORMAT, deployments })
    }
}

/// Records that a deployment can do without: a damaged one is kept for a person to look at, and written anew.
const RECORDS: [&str; 3] = ["images.json", "resolved.json", "project.json"];

/// Gives a damaged record another name; what was damaged, where it was.
fn set_aside(folder: &Path, name: &str) -> Option<String> {
    let path = folder.join(name);
    let is_file = fs::symlink_metadata(&path).ok()?.is_file();
    let read = || inputs::read_state(&path).is_ok_and(|text| serde_json::from_slice::<IgnoredAny>(&text).is_ok());
    if is_file && read() {
        return None;
    }
    let mut names = (1..).map(|number| folder.join(format!("{name}.damaged-{number}")));
    let to = names.find(|to| fs::symlink_metadata(to).is_err())?;
    fs::rename(&path, &to).ok()?;
    Some(format!("{} was damaged: it is kept as {}", path.display(), to.display()))
}

/// Errors: [`Kind::State`]: others may write there, and could have root read, write and run what they like.
fn check_owner(folder: &Folder, path: &Path) -> Result<(), Failure> {
    let me = nix::unistd::geteuid();
    let remedy = format!("look at what is in it; then `chown {me} {0} && chmod go-w {0}`", path.display());
    let refused = |why| Failure::new(Kind::State, format!("{} is not used: {why}", path.display())).next(remedy);
    folder.check_owner().map_err(refused)
}

fn describe_holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(HOLDER).read_to_string(&mut text));
    match read.ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok()) {
        Some(holder) => format!("deployment {} ({}, pid {})", holder.deployment, holder.event, holder.pid),
        None => "another deployment".into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn store(folder: &Path) -> Store {
        Store::new(folder, &"web".parse().unwrap())
    }

    async fn locked(folder: &Path) -> LockedStore {
        let me = Holder { pid: 1, deployment: "d-1".into(), event: "ApplicationStart".into() };
        store(folder).lock(&me, Instant::now(), |_| {}).await.unwrap()
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Part {
        options: Vec<Vec<String>>,
    }

    fn release(deployment: &str) -> Release<Part> {
        let text = include_str!("../../tests/golden/release-1.json");
        Release { deployment: deployment.into(), ..Release::from_value(serde_json::from_str(text).unwrap()).unwrap() }
    }

    fn deployments(store: &Store) -> Vec<String> {
        store.releases::<Part>().into_iter().map(|release| release.deployment).collect()
    }

    #[tokio::test]
    async fn a_broken_record_and_one_of_a_newer_format_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let locked = locked(folder.path()).await;
        locked.save_release(&release("d-1"), 3).unwrap();
        let releases = folder.path().join("web/releases");
        fs::write(releases.join("000002.json"), "{\"format\": 1").unwrap();
        let newer = serde_json::to_string(&release("d-3")).unwrap().replace("\"format\":1", "\"format\":3");
        fs::write(releases.join("000003.json"), newer).unwrap();
        assert_eq!(deployments(locked.store()), ["d-1"]);
    }

    #[tokio::test]
    async fn a_damaged_record_is_kept_under_another_name_said_and_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        drop(locked(folder.path()).await);
        let path = |name: &str| folder.path().join("web").join(name);
        fs::create_dir(path("images.json")).unwrap();
        fs::write(path("resolved.json"), "").unwrap();
        fs::write(path("project.json"), "[]").unwrap();
        let again = locked(folder.path()).await;
        let said = |name: &str| format!("{0} was damaged: it is kept as {0}.damaged-1", path(name).display());
        assert_eq!(again.set_aside, [said("images.json"), said("resolved.json")]);
        again.import_record().add("balehook/web:1", ["web:1".to_owned()]).unwrap();
        again.save_resolved("d-1", vec![("web:1".to_owned(), release("d-1").image)]).unwrap();
        drop(again);
        assert_eq!(locked(folder.path()).await.set_aside, Vec::<String>::new());
    }

    #[tokio::test]
    async fn the_newest_release_comes_first_and_only_as_many_as_are_kept_stay() {
        let folder = tempfile::tempdir().unwrap();
        let locked = locked(folder.path()).await;
        for number in 1..=5 {
            locked.save_release(&release(&format!("d-{number}")), 3).unwrap();
        }
        assert_eq!(deployments(locked.store()), ["d-5", "d-4", "d-3"]);
        assert_eq!(fs::read_dir(folder.path().join("web/releases")).unwrap().count(), 3, "no temporary file is left");
    }

    #[tokio::test]
    async fn a_release_that_is_pinned_stays_whatever_its_age_until_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let locked = locked(folder.path()).await;
        locked.save_release(&release("d-1"), 2).unwrap();
        locked.set_pinned(1, true).unwrap();
        for number in 2..=5 {
            locked.save_release(&release(&format!("d-{number}")), 2).unwrap();
        }
        assert_eq!(deployments(locked.store()), ["d-5", "d-4", "d-1"]);
        let pinned =
            |store: &Store| store.releases::<Part>().iter().map(|one| (one.number, one.pinned)).collect::<Vec<_>>();
        assert_eq!(pinned(locked.store()), [(5, false), (4, false), (1, true)]);
        locked.set_pinned(1, false).unwrap();
        locked.save_release(&release("d-6"), 2).unwrap();
        assert_eq!(deployments(locked.store()), ["d-6", "d-5"]);
        assert_eq!(locked.set_pinned(1, true).unwrap_err().kind, Kind::State);
    }

    #[tokio::test]
    async fn a_second_holder_is_told_who_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let _first = locked(folder.path()).await;
        let me = Holder { pid: 2, deployment: "d-2".into(), event: "AfterInstall".into() };
        let failure = store(folder.path()).lock(&me, Instant::now(), |_| {}).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Locked);
        assert!(failure.message.starts_with("deployment d-1 (ApplicationStart, pid 1) still holds"), "{failure}");
    }

    #[tokio::test]
    async fn folders_and_files_are_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let locked = locked(folder.path()).await;
        locked.save_release(&release("d-1"), 3).unwrap();
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("web"), mode("web/releases/000001.json"), mode("web/lock")), (0o700, 0o600, 0o600));
    }

    async fn refused(folder: &Path) -> String {
        let me = Holder { pid: 1, deployment: "d-1".into(), event: "ApplicationStart".into() };
        let failure = store(folder).lock(&me, Instant::now(), |_| {}).await.unwrap_err();
        assert_eq!(failure.kind, Kind::State);
        failure.message.replace(folder.to_str().unwrap(), "STATE")
    }

    #[tokio::test]
    async fn a_state_folder_in_which_others_may_write_is_refused() {
        for (path, mode) in [("", 0o777), ("", 0o770), ("web", 0o702)] {
            let folder = tempfile::tempdir().unwrap();
            let at = folder.path().join(path);
            fs::create_dir_all(&at).unwrap();
            fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
            let shown = if path.is_empty() { "STATE" } else { "STATE/web" };
            let why = format!("is not used: others may write in it (mode {mode:04o})");
            assert_eq!(
                refused(folder.path()).await.trim_end_matches('/').replace("/ is", " is"),
                format!("{shown} {why}")
            );
        }
    }

    #[tokio::test]
    async fn a_link_in_the_place_of_a_names_folder_or_of_its_lock_is_refused_and_what_it_leads_to_is_untouched() {
        let (folder, victim) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::set_permissions(victim.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(victim.path().join("passwd"), "of the host").unwrap();
        std::os::unix::fs::symlink(victim.path(), folder.path().join("web")).unwrap();
        let refused_folder = refused(folder.path()).await;
        assert_eq!(
            refused_folder,
            "cannot write STATE/web/lock: web is a symbolic link or a file, and must be a folder"
        );
        assert_eq!(fs::metadata(victim.path()).unwrap().permissions().mode() & 0o777, 0o755);
        fs::remove_file(folder.path().join("web")).unwrap();
        fs::create_dir(folder.path().join("web")).unwrap();
        std::os::unix::fs::symlink(victim.path().join("passwd"), folder.path().join("web/lock")).unwrap();
        let refused_lock = refused(folder.path()).await;
        assert_eq!(refused_lock, "cannot write STATE/web/lock: lock is a symbolic link, and must be a file");
        assert_eq!(fs::read_to_string(victim.path().join("passwd")).unwrap(), "of the host");
    }

    #[tokio::test]
    async fn what_was_resolved_holds_for_its_deployment_alone_and_is_kept_as_long_as_that_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let locked = locked(folder.path()).await;
        let images = |key: &str| vec![(key.to_owned(), release("d-1").image)];
        locked.save_resolved("d-1", images("web:1")).unwrap();
        assert_eq!((locked.store().resolved("d-1"), locked.store().resolved("d-2")), (images("web:1"), vec![]));
        locked.save_release(&release("d-1"), 3).unwrap();
        locked.save_resolved("d-2", images("web:2")).unwrap();
        locked.save_resolved("d-3", images("web:3")).unwrap();
        let kept = ["d-1", "d-2", "d-3"].map(|deployment| locked.store().resolved(deployment));
        assert_eq!(kept, [images("web:1"), vec![], images("web:3")]);
    }
}
