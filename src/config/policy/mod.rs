//! `/etc/balehook/policy.yml`: what deployments may ask for on this host. It is opt-in: without the file everything is
//! allowed, and a key that is absent allows everything of its kind.
//!
//! No variable names another file: a hook's environment is made by the agent and by the revision, and neither
//! may take the policy away. The command line may (`--policy`): only a person at this host's shell writes that.

pub(crate) mod demand;
pub(crate) mod judge;
mod paths;
pub(crate) mod rule;
pub(crate) mod section;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use crate::config::appspec::AppSpecText;
use crate::config::field::Field;
use crate::config::policy::demand::Subject;
use crate::config::policy::rule::Rule;
use crate::config::problem::Problems;
use crate::config::validate::{duplicates, parse};

/// Where it is.
pub(crate) const PATH: &str = "/etc/balehook/policy.yml";

/// Largest file that is read, in bytes.
const LIMIT: u64 = 64 * 1024;

/// What this host allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) path: PathBuf,
    pub(crate) rules: Vec<Rule>,
}

/// Why a policy that is there cannot be used: nothing is deployed then.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It cannot be read, or others may write it; and what to do.
    File(String, String),
    /// It is wrong.
    Wrong(Box<AppSpecText>, Problems),
}

/// Reads the policy; none where the file is missing, which one that was `named` may not be.
///
/// # Errors
/// See [`Unusable`].
pub(crate) fn read(path: &Path, named: bool) -> Result<Option<Policy>, Unusable> {
    match bounded(path) {
        Ok(bytes) => of_bytes(path, bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Ok(None),
        Err(error) => Err(unusable(path, &error.to_string())),
    }
}

fn unusable(path: &Path, why: &str) -> Unusable {
    let path = path.display();
    let next = format!("as root: `chown root {path}; chmod 644 {path}`, a file itself and no link to one");
    Unusable::File(format!("the host's policy {path} cannot be used, so nothing is deployed: {why}"), next)
}

fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Policy, Unusable> {
    let text = String::from_utf8(bytes).map_err(|_| unusable(path, "it is not UTF-8"))?;
    let file = AppSpecText { path: path.to_owned(), text, had_mark: false };
    of_text(&file).map_err(|problems| Unusable::Wrong(Box::new(file), problems))
}

/// The policy that a text is.
///
/// # Errors
/// Every problem of it.
pub(crate) fn of_text(file: &AppSpecText) -> Result<Policy, Problems> {
    let problems = Problems::new();
    let rules = parse(file, &problems, "write `privileged: false`, or remove the file").map(|root| {
        let field = Field { node: &root, path: String::new(), problems: &problems };
        duplicates(&field);
        field.mapping(|keys| Subject::ALL.into_iter().filter_map(|subject| rule::read(keys, &field, subject)).collect())
    });
    match rules {
        Some(rules) if !problems.has_errors() => Ok(Policy { path: file.path.clone(), rules }),
        _ => Err(problems),
    }
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(code) if code == nix::errno::Errno::ELOOP as i32 => io::Error::other("it is a symbolic link"),
        _ => error,
    })?;
    check(&file)?;
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LIMIT {
        true => Err(io::Error::other(format!("it has more than {LIMIT} bytes"))),
        false => Ok(bytes),
    }
}

/// Who may write it decides what runs here.
fn check(file: &File) -> io::Result<()> {
    let meta = file.metadata()?;
    let why = match () {
        () if !meta.is_file() => "it is not a file".to_owned(),
        () if meta.uid() != 0 && meta.uid() != geteuid().as_raw() => format!("it belongs to user {}", meta.uid()),
        () if meta.mode() & 0o022 != 0 => format!("others may write it (mode {:o})", meta.mode() & 0o7777),
        () => return Ok(()),
    };
    Err(io::Error::other(why))
}
