//! A snapshot of each release of a project: its files, the generated override file, the variables.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::replace;
use crate::folder::Folder;
use crate::modes::compose::check_out::{copy, set_mode};
use crate::modes::compose::listing::{Entry, Listing, list, summary};
use crate::modes::compose::project::{OVERRIDE, Project, ProjectFolder};
use crate::values::types::{EnvVar, Secret, stored};

/// The folder of a snapshot with the project's files.
pub(super) const FILES: &str = "tree";

/// What that folder holds.
pub(super) const LISTING: &str = "files.json";

/// The variables: those of the hook that the files name, and those that the section gives.
const VARIABLES: &str = "variables.json";

/// A release of a project, with everything that restores it without its bundle.
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
    let variables: Vec<_> =
        snapshot.variables.iter().map(|var| Variable(var.name.clone(), var.value.clone())).collect();
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
    fs::create_dir(new.path().join(FILES))?;
    fill(&Folder::open(&folder.path)?, &Folder::open(&new.path().join(FILES))?, &listing)?;
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

/// What a snapshot holds. Where that was damaged, its files are taken as they are.
pub(super) fn read_listing(project: &Project) -> io::Result<Listing> {
    let path = project.snapshot().join(LISTING);
    let read = fs::read(&path).and_then(|text| Ok(serde_json::from_slice::<Vec<(PathBuf, Entry)>>(&text)?));
    match read {
        Ok(wanted) => Ok(wanted.into_iter().collect()),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a snapshot is damaged: its files are taken as they are");
            list(&project.snapshot().join(FILES), &[])
        }
    }
}

/// Copies what is listed to a folder that is empty.
fn fill(from: &Folder, to: &Folder, listing: &Listing) -> io::Result<()> {
    for (path, entry) in listing {
        let (folder, name) = to.reach(path)?;
        match entry {
            Entry::Folder { mode } => set_mode(&folder.make(name, 0o700)?, *mode)?,
            Entry::File { mode, digest, .. } => match copy(from, path, (&folder, name), *mode)? == *digest {
                true => {}
                false => return Err(io::Error::other(format!("{} was changed during the deployment", path.display()))),
            },
            Entry::Link { target } => folder.make_link(name, target)?,
        }
    }
    Ok(())
}

/// Removes a snapshot. Nothing to do when it is gone.
pub(crate) fn delete(snapshot: &Path) -> io::Result<()> {
    match fs::remove_dir_all(snapshot) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// One of the variables: its name, and its value or where that is fetched.
#[derive(Serialize, Deserialize)]
struct Variable(String, #[serde(with = "stored")] Option<Secret>);

/// The variables of a project's snapshot.
pub(crate) fn variables(project: &Project) -> io::Result<Vec<EnvVar>> {
    let all: Vec<Variable> = serde_json::from_slice(&fs::read(project.snapshot().join(VARIABLES))?)?;
    Ok(all.into_iter().map(|Variable(name, value)| EnvVar { name, value, hidden: true }).collect())
}
