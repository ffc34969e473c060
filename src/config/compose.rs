//! `x-balehook.compose`, validated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::ImageSource;
use crate::inputs;
use crate::values::source::Many;
use crate::values::types::{EnvVar, Refused};

/// The files that Compose looks for where none is named, in its order; the second of a pair is merged onto the first.
///
/// Source: Compose file specification, "The Compose file"; `docker compose` for the override files.
pub(crate) const DEFAULT_FILES: [(&str, &str); 4] = [
    ("compose.yaml", "compose.override.yaml"),
    ("compose.yml", "compose.override.yml"),
    ("docker-compose.yml", "docker-compose.override.yml"),
    ("docker-compose.yaml", "docker-compose.override.yaml"),
];

/// The most that is read of a Compose file, in bytes.
const MOST: u64 = 4 * 1024 * 1024;

/// A Compose project of this host.
#[derive(Debug, Clone, PartialEq)]
pub struct Compose {
    /// The project's folder in the bundle, absolute: what is copied, and what relative paths are relative to.
    pub(crate) directory: PathBuf,
    /// The Compose files, relative to the folder, in order.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) profiles: Vec<String>,
    /// The services that come up, with those that they depend on; all where none is named.
    pub(crate) services: Vec<String>,
    /// Files with variables for the Compose files, relative to the folder; none: `.env` of the folder, as in Compose.
    pub(crate) env_file: Vec<PathBuf>,
    /// Variables for the Compose files, some of them fetched.
    pub(crate) environment: Vec<EnvVar>,
    /// Many such variables at once.
    pub(crate) fetched: Vec<Many>,
    /// Where the image of a service comes from, where its own `image:` does not say.
    pub(crate) images: BTreeMap<String, ImageSource>,
    /// How long all services may take to become healthy.
    pub(crate) wait_timeout: Duration,
}

impl Compose {
    /// As written, in one line.
    pub(crate) fn written(&self, bundle_root: &Path) -> String {
        let folder = self.directory.strip_prefix(bundle_root).unwrap_or(&self.directory);
        let files: Vec<String> = self.files.iter().map(|file| folder.join(file).display().to_string()).collect();
        files.join(" ")
    }

    /// Whether the files' text alone tells that no service publishes a port. Other files may be included or extended.
    pub(crate) fn publishes_nothing(&self) -> bool {
        let read = |file: &PathBuf| inputs::read(&self.directory.join(file), None, MOST).ok();
        let texts: Vec<String> =
            self.files.iter().filter_map(read).filter_map(|text| String::from_utf8(text).ok()).collect();
        let has = |word: &str| texts.iter().any(|text| text.contains(word));
        has("services") && !["ports", "include", "extends"].into_iter().any(has)
    }
}

/// A project's name, which Compose wants in lower case.
/// Errors: Why Compose refuses it.  Source: Compose file specification, "Name top-level element".
pub(crate) fn project_name(text: &str) -> Result<(), Refused> {
    let good = text.bytes().all(|letter| matches!(letter, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    match good {
        true => Ok(()),
        false => Err(Refused("is no name of a Compose project: lower-case letters, digits, `_` and `-` alone".into())),
    }
}

/// Variables that tell Compose, or the docker it calls, what to do.
pub(crate) fn is_own(name: &str) -> bool {
    ["COMPOSE_", "DOCKER_", "LD_"].iter().any(|own| name.starts_with(own)) || ["PATH", "HOME", "LC_ALL"].contains(&name)
}

/// A profile's name.
pub(crate) fn profile(text: &str) -> Result<String, Refused> {
    name_of_a("profile", text)
}

/// A service's name.
pub(crate) fn service(text: &str) -> Result<String, Refused> {
    name_of_a("service", text)
}

fn name_of_a(what: &str, text: &str) -> Result<String, Refused> {
    let first = text.bytes().next().is_some_and(|letter| letter.is_ascii_alphanumeric());
    let rest = text.bytes().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'_' | b'.' | b'-'));
    match first && rest {
        true => Ok(text.to_owned()),
        false => Err(Refused(format!("is no name of a {what}: letters, digits, `_`, `.` and `-`"))),
    }
}
