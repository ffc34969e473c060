//! Writing secrets into memory and removing them there. What cannot be read again is kept in the state directory.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use crate::error::{Failure, Kind};
use crate::files::{replace, unwritable};
use crate::inputs;
use crate::modes::host::Host;
use crate::modes::release::Part;
use crate::modes::secrets::observe::{LARGEST, check_memory};
use crate::modes::secrets::owner::owner;
use crate::modes::secrets::{KEPT, SALT, salt};
use crate::values::operation::Outcome;
use crate::values::secret_file::{SecretFile, SecretSet, SecretSource, SecretValue};

/// Writes a set, whole or not at all; nothing to do where it is there.
/// Errors: `Kind::Container`: a value, the user or the memory is lost; `Kind::State`: a copy cannot be kept.
pub(crate) async fn write(host: &Host, set: &SecretSet) -> Result<Outcome, Failure> {
    let folder = Path::new(&set.folder);
    keep(host, set)?;
    if folder.is_dir() {
        return Ok(Outcome::unchanged());
    }
    let said = fetch(host, set).await?;
    let values = set.files.iter().map(|file| value(host, file)).collect::<Result<Vec<_>, _>>()?;
    let owner = match set.files.iter().all(|file| file.uid.is_some()) {
        true => (0, 0),
        false => {
            let image = host.image(&set.image).await?;
            owner(&host.engine, &host.name, set, &image).await?
        }
    };
    fill(folder, set, &values, owner).map_err(|error| {
        let why = format!("cannot write secrets to {}: {error}", folder.display());
        Failure::new(Kind::Container, why).next("secrets need root, and a tmpfs with room at /run")
    })?;
    Ok(Outcome::with(said))
}

/// Fetches what this plan has not: at a boot, and where a release comes back. What is another value by now is said.
async fn fetch(host: &Host, set: &SecretSet) -> Result<Vec<String>, Failure> {
    let wanted = || {
        set.files.iter().filter_map(|file| match &file.source {
            SecretSource::Fetched(source) if host.secrets.get(&file.digest).is_none() => Some((file, source)),
            SecretSource::Fetched(_)
            | SecretSource::Bundle(_)
            | SecretSource::File(_)
            | SecretSource::Environment(_) => None,
        })
    };
    if let Some((source, error)) = host.fetcher.whole(wanted().map(|(_, source)| source)).await.into_iter().next() {
        let name = wanted().find(|(_, found)| **found == source).map_or("", |(file, _)| file.name.as_str());
        return Err(error.failure(&format!("secret {name}: {source}")).failure);
    }
    let salt = salt(host.store.store().folder()).unwrap_or_default();
    let digest = |source| host.fetcher.file(source).map(|value| value.digest(&salt));
    let others = wanted().filter(|(file, source)| digest(source).is_some_and(|digest| digest != file.digest));
    Ok(others.map(|(file, _)| format!("secret {} has another value than the release had", file.name)).collect())
}

fn fill(folder: &Path, set: &SecretSet, values: &[SecretValue], owner: (u32, u32)) -> io::Result<()> {
    let base = folder.parent().unwrap_or(folder);
    DirBuilder::new().recursive(true).mode(0o700).create(base)?;
    check_memory(base).map_err(io::Error::other)?;
    let new = folder.with_extension("new");
    remove(&new)?;
    DirBuilder::new().mode(0o700).create(&new)?;
    for (number, (file, value)) in set.files.iter().zip(values).enumerate() {
        let mut written =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(new.join(number.to_string()))?;
        written.write_all(value.reveal())?;
        fchown(&written, Some(file.uid.unwrap_or(owner.0)), Some(file.gid.unwrap_or(owner.1)))?;
        written.set_permissions(Permissions::from_mode(file.mode))?;
    }
    fs::rename(&new, folder)
}

/// Removes a set. Nothing to do where it is gone.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The same as a step.
pub(crate) fn removed(folder: &Path) -> Result<(), Failure> {
    remove(folder).map_err(|error| {
        let why = format!("cannot remove the secrets of {}: {error}", folder.display());
        Failure::new(Kind::Container, why).next(format!("as root: rm -r {}", folder.display()))
    })
}

/// Of this plan, of the state directory, or of where it came from.
fn value(host: &Host, file: &SecretFile) -> Result<SecretValue, Failure> {
    if let Some(value) = host.secrets.get(&file.digest) {
        return Ok(value);
    }
    let kept = host.store.store().folder().join(KEPT).join(&file.digest);
    let read = match &file.source {
        SecretSource::Fetched(source) => {
            let found = host.fetcher.file(source);
            return found.ok_or_else(|| lost(file, &"it was not fetched"));
        }
        SecretSource::Bundle(_) | SecretSource::Environment(_) => inputs::read_state(&kept),
        SecretSource::File(path) => inputs::read(path, None, LARGEST),
    };
    read.map(SecretValue::new).map_err(|error| lost(file, &error))
}

fn lost(file: &SecretFile, why: &dyn std::fmt::Display) -> Failure {
    let why = format!("the value of the secret {} ({}) is lost: {why}", file.name, file.source);
    Failure::new(Kind::Container, why).next("deploy again")
}

/// Keeps the values that the next boot cannot read again, and the salt of all digests.
fn keep(host: &Host, set: &SecretSet) -> Result<(), Failure> {
    let folder = host.store.store().folder().join(KEPT);
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.and_then(|()| replace(&path, bytes)).map_err(|error| unwritable(&path, &error))
    };
    let salt = host.secrets.salt();
    if !salt.is_empty() && !folder.join(SALT).exists() {
        write(SALT, &salt)?;
    }
    for file in set.files.iter().filter(|file| !file.source.lasts() && !folder.join(&file.digest).exists()) {
        if let Some(value) = host.secrets.get(&file.digest) {
            write(&file.digest, value.reveal())?;
        }
    }
    Ok(())
}

/// Removes the kept values that no kept release has.
pub(crate) fn forget(host: &Host) {
    let store = host.store.store();
    let releases = store.releases::<Part>();
    let sets = releases.iter().filter_map(|release| release.part.container.as_ref()?.request.secrets.as_ref());
    let needed: Vec<&str> = sets.flat_map(|set| &set.files).map(|file| file.digest.as_str()).collect();
    let Ok(entries) = fs::read_dir(store.folder().join(KEPT)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name != SALT && !needed.iter().any(|digest| name == *digest) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
