//! What secrets as files need to know of the host. Nothing is written.

use std::path::Path;

use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use nix::unistd::geteuid;

use crate::config::secrets::{Defined, SecretMount};
use crate::config::service::Service;
use crate::engine::Engine;
use crate::error::{Failure, Kind, ObserveFailure};
use crate::inputs;
use crate::modes::facts::Facts;
use crate::modes::observe::Observer;
use crate::modes::observe::offline::OFFLINE;
use crate::values::secret_file::{FOLDER, SecretSource, SecretValue};
use crate::values::source::Source;
use crate::values::types::Secret;

/// Another folder for what does not outlive the host's memory.
const RUN_DIR: &str = "BALEHOOK_RUN_DIR";

const RUN: &str = "/run/balehook";

/// Largest secret, in bytes: swarm's limit, so that a mode can be changed for the other.
pub(crate) const LARGEST: u64 = 500 * 1024;

/// Memory that is never written to a disk, not even as swap. Source: Linux, `include/uapi/linux/magic.h`.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

impl Observer<'_> {
    pub(crate) async fn secrets(&self, service: &Service, facts: &mut Facts) {
        let run = self.env.lookup(RUN_DIR).filter(|path| path.starts_with('/')).unwrap_or(RUN);
        let base = Path::new(run).join(FOLDER).join(self.deployment.name.as_str());
        facts.container.secrets.base = base.to_string_lossy().into_owned();
        folders(facts);
        if service.secrets.is_empty() {
            return;
        }
        let engine = self.engine.as_ref().ok().filter(|_| facts.engine.yes().is_some());
        if let Some(engine) = engine {
            facts.container.secrets.obstacle = obstacle(engine, &base, self.is_local()).await;
        }
        let fetched = service.secrets.iter().filter_map(|secret| match &secret.defined {
            Defined::Fetched(source) => Some((secret.name.clone(), source.clone())),
            Defined::File(_) | Defined::Environment(..) | Defined::External(_) => None,
        });
        Box::pin(self.fetch_secrets(&fetched.collect::<Vec<_>>(), facts)).await;
        for secret in &service.secrets {
            match self.secret(secret, facts) {
                Ok(digest) => facts.container.secrets.digests.push(digest),
                Err(failure) => {
                    let failure = self.deployment.placed(&["secrets"], |text| text == secret.name, failure);
                    facts.failures.push(ObserveFailure { failure, definite: true });
                }
            }
        }
    }

    /// Fetches the values of secrets, in an event that does so. Those that cannot be had are said.
    pub(crate) async fn fetch_secrets(&self, named: &[(String, Source)], facts: &mut Facts) {
        if !facts.fetches || named.is_empty() {
            return;
        }
        if self.offline {
            let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
            facts.warnings.push(format!("not fetched ({OFFLINE}): {}", names.join(", ")));
            return;
        }
        for (source, error) in self.fetcher.whole(named.iter().map(|(_, source)| source)).await {
            let name = named.iter().find(|(_, found)| *found == source).map_or("", |(name, _)| name);
            let ObserveFailure { failure, definite } = error.failure(&format!("secret {name}: {source}"));
            let failure = self.deployment.placed(&[name], |text| source.is_named(text), failure);
            facts.failures.push(ObserveFailure { failure, definite });
        }
    }

    /// The digest of one; `None` where it is not there yet, and need not be.
    fn secret(&self, secret: &SecretMount, facts: &mut Facts) -> Result<Option<String>, Failure> {
        if let Defined::File(path) = &secret.defined
            && facts.put_off(path).is_some()
        {
            return Ok(None);
        }
        let value = match &secret.defined {
            Defined::Fetched(source) => self.fetcher.file(source),
            defined => Some(value(&secret.name, defined, &self.deployment.bundle_root)?),
        };
        let Some(value) = value else { return Ok(None) };
        self.secrets.add(self.store.folder(), value).map(Some).map_err(|error| {
            Failure::new(Kind::Unexpected, format!("cannot read random numbers from /dev/urandom: {error}"))
        })
    }
}

/// The value of a secret.
/// Errors: [`Kind::Appspec`]: it cannot be read, or is not set. No part of it stands there.
pub(crate) fn value(name: &str, defined: &Defined, bundle: &Path) -> Result<SecretValue, Failure> {
    let bad = |why: String, next: &str| {
        Err(Failure::new(Kind::Appspec, format!("cannot read the secret {name}: {why}")).next(next))
    };
    match defined {
        Defined::File(path) => match inputs::read(path, Some(bundle), LARGEST) {
            Ok(bytes) => Ok(SecretValue::new(bytes)),
            Err(error) => bad(
                format!("{}: {error}", path.display()),
                "put the file into the bundle or on this host, and name it under x-balehook.secrets",
            ),
        },
        Defined::Environment(variable, value) => of_variable(name, variable, value.as_ref()),
        Defined::Fetched(source) => bad(format!("{source} was not fetched"), "deploy again"),
        Defined::External(_) => bad("it is one of a swarm".into(), "deploy with `swarm:`"),
    }
}

/// The value of a variable.
/// Errors: [`Kind::Appspec`]: it is not set.
pub(crate) fn of_variable(name: &str, variable: &str, value: Option<&Secret>) -> Result<SecretValue, Failure> {
    let value = value.map(|value| SecretValue::new(value.reveal().as_bytes().to_vec()));
    value.ok_or_else(|| {
        let why = format!("neither the hook nor a file of `variables` sets {variable}");
        Failure::new(Kind::Appspec, format!("cannot read the secret {name}: {why}"))
            .next("write it into a file of x-balehook.variables")
    })
}

/// Where a value comes from, as it is saved.
pub(crate) fn source(defined: &Defined, bundle: &Path) -> SecretSource {
    match defined {
        Defined::File(path) => match path.strip_prefix(bundle) {
            Ok(inside) => SecretSource::Bundle(inside.to_owned()),
            Err(_) => SecretSource::File(path.clone()),
        },
        Defined::Fetched(source) => SecretSource::Fetched(source.clone()),
        Defined::Environment(name, _) | Defined::External(name) => SecretSource::Environment(name.clone()),
    }
}

/// The sets of a name that are in memory: of all releases, since each may be another one's successor.
pub(crate) fn folders(facts: &mut Facts) {
    let sets = facts.releases.iter().filter_map(|release| release.part.container.as_ref()?.request.secrets.as_ref());
    let of_releases = sets.filter_map(|set| Path::new(&set.folder).parent()).map(Path::to_owned);
    let own = Some(facts.container.secrets.base.clone()).filter(|base| !base.is_empty());
    let mut bases: Vec<_> = of_releases.chain(own.map(Into::into)).collect();
    bases.sort_unstable();
    bases.dedup();
    let entries = bases.iter().filter_map(|base| std::fs::read_dir(base).ok()).flat_map(|entries| entries.flatten());
    facts.container.secrets.folders = entries.map(|entry| entry.path().to_string_lossy().into_owned()).collect();
    facts.container.secrets.folders.sort_unstable();
}

/// Why this host cannot give a container secrets as files, and what to do.
async fn obstacle(engine: &Engine, base: &Path, is_local: bool) -> Option<(String, String)> {
    let other = "or use `environment`, or deploy with `swarm:`, which has secrets of its own";
    if !is_local {
        let why = format!("the engine at {} is on another host, and secrets are files of its memory", engine.address);
        return Some((why, format!("run balehook on that host, {other}")));
    }
    if !geteuid().is_root() {
        let why = "only root can give files to a container's user".to_owned();
        return Some((why, format!("leave `runas` out of the hook, {other}")));
    }
    let options = engine.info().await.ok()?.security_options.unwrap_or_default();
    if let Some(option) = ["rootless", "userns"].into_iter().find(|kind| has(&options, kind)) {
        let why = format!("the engine gives containers other user IDs than this host has ({option})");
        return Some((why, format!("run an engine without that, {other}")));
    }
    let known = base.ancestors().find(|path| path.exists())?;
    check_memory(known).err().map(|why| (why, format!("mount a tmpfs there, {other}")))
}

fn has(options: &[String], kind: &str) -> bool {
    options.iter().any(|option| option.split(',').any(|part| part == format!("name={kind}")))
}

/// Whether what is written in a folder stays in the host's memory.
/// Errors: What it lies on.
pub(crate) fn check_memory(folder: &Path) -> Result<(), String> {
    let kind = statfs(folder).map_err(|error| format!("{}: {error}", folder.display()))?.filesystem_type();
    match kind == TMPFS_MAGIC || kind == RAMFS_MAGIC {
        true => Ok(()),
        false => Err(format!("{} is no tmpfs: a secret would be written to a disk", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_folder_in_memory_is_taken_for_secrets() {
        assert_eq!(check_memory(Path::new("/dev/shm")), Ok(()));
        let why = "/proc is no tmpfs: a secret would be written to a disk";
        assert_eq!(check_memory(Path::new("/proc")), Err(why.to_owned()));
    }

    #[test]
    fn an_engine_with_user_namespaces_is_known_by_its_security_options() {
        let options = ["name=seccomp,profile=builtin", "name=userns"].map(str::to_owned);
        assert!(has(&options, "userns") && !has(&options, "rootless"));
    }
}
