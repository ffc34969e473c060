//! The variables of a project: those of the hook that its files name, and those that Compose reads from files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::compose::Compose;
use crate::config::env_file;
use crate::modes::compose::files::text;
use crate::modes::compose::listing::{Entry, Listing};
use crate::modes::observe::Observer;
use crate::values::types::{EnvVar, Secret};

/// The largest file that is searched for names of variables, in bytes.
pub(crate) const SEARCHED: u64 = 1024 * 1024;

/// Variables that a process of Compose is given anyway.
const OWN: [&str; 9] = [
    "PATH", "HOME", "LC_ALL", "DOCKER_CONFIG", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
];

impl Observer<'_> {
    /// Variables of the hook whose names stand in the Compose files or in files with variables: they are saved with the
    /// release, so that it can come back without the hook.
    pub(super) fn variables(&self, compose: &Compose, listing: &Listing) -> Vec<EnvVar> {
        let is_searched = |path: &Path| {
            let name = path.to_string_lossy();
            name.ends_with(".yml") || name.ends_with(".yaml") || name.ends_with(".env")
        };
        let small = |entry: &Entry| matches!(entry, Entry::File { size, .. } if *size <= SEARCHED);
        let listed = listing.iter().filter(|(path, entry)| is_searched(path) && small(entry)).map(|(path, _)| path);
        let paths: BTreeSet<&PathBuf> = compose.files.iter().chain(&compose.env_file).chain(listed).collect();
        let mut names: BTreeSet<String> = BTreeSet::new();
        for path in paths {
            let text = text(&compose.directory.join(path), &self.deployment.bundle_root);
            names.extend(words(&text).filter(|word| !word.is_empty()).map(str::to_owned));
        }
        let known = names.into_iter().filter(|name| !OWN.contains(&name.as_str()) && !name.starts_with("COMPOSE_"));
        known
            .filter_map(|name| Some(EnvVar { value: Some(Secret::new(self.variable(&name)?)), hidden: true, name }))
            .collect()
    }

    /// What Compose makes configs and secrets of that are named by a variable: those of the hook go before those of files.
    pub(super) fn project_environment(&self, compose: &Compose, hook: &[EnvVar]) -> BTreeMap<String, String> {
        let default = [PathBuf::from(".env")];
        let files = if compose.env_file.is_empty() { &default[..] } else { &compose.env_file };
        let mut all: Vec<EnvVar> = Vec::new();
        for file in files {
            let text = text(&compose.directory.join(file), &self.deployment.bundle_root);
            // Compose has read it already, and refused what is wrong.
            let read = env_file::read("", &text, false, &|name| self.variable(name));
            all.extend(read.into_iter().flat_map(|read| read.variables));
        }
        let each = all.into_iter().chain(hook.iter().cloned());
        each.filter_map(|var| Some((var.name, var.value?.reveal().to_owned()))).collect()
    }
}

/// What may be names of variables in a text.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
}
