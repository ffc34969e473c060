//! What is still to come to the host before ApplicationStart needs it: files that Install copies, and whatever scripts of
//! other hooks write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::values::types::LifecycleEvent;

/// Files that need not be there yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    pub(crate) installs: Vec<Install>,
    /// The events, up to ApplicationStart, in which scripts of others run.
    pub(crate) scripts: BTreeSet<LifecycleEvent>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Install {
    /// In the bundle, absolute.
    pub(crate) source: PathBuf,
    /// The folder on the host.
    pub(crate) destination: PathBuf,
}

impl Pending {
    /// The events whose scripts can write what ApplicationStart needs.
    pub(crate) const EVENTS: [LifecycleEvent; 3] =
        [LifecycleEvent::BeforeInstall, LifecycleEvent::AfterInstall, LifecycleEvent::ApplicationStart];

    /// What is still to come when a hook of `event` runs. Which of an event's hooks runs first is not known.
    pub(crate) fn at(&self, event: LifecycleEvent) -> Self {
        let later = |first: LifecycleEvent| self.scripts.iter().filter(|at| **at >= first).copied().collect();
        match event {
            LifecycleEvent::BeforeInstall => self.clone(),
            LifecycleEvent::AfterInstall => Self { installs: Vec::new(), scripts: later(event) },
            LifecycleEvent::ApplicationStop
            | LifecycleEvent::ApplicationStart
            | LifecycleEvent::ValidateService
            | LifecycleEvent::BeforeBlockTraffic
            | LifecycleEvent::AfterBlockTraffic
            | LifecycleEvent::BeforeAllowTraffic
            | LifecycleEvent::AfterAllowTraffic => Self::default(),
        }
    }

    /// Whether Install puts a file there.
    pub(crate) fn installs(&self, path: &Path) -> bool {
        self.installs.iter().any(|Install { source, destination }| {
            let Ok(inside) = path.strip_prefix(destination) else { return false };
            match source.is_dir() {
                true => source.join(inside).is_file(),
                false => source.file_name().is_some_and(|name| inside == Path::new(name)),
            }
        })
    }

    /// Who may still write a file.
    pub(crate) fn who_writes(&self, path: &Path) -> Option<&'static str> {
        match (self.installs(path), self.scripts.is_empty()) {
            (true, _) => Some("`files:` installs it"),
            (false, false) => Some("a script of another hook may write it"),
            (false, true) => None,
        }
    }

    /// Who may still write a file that Compose did not find, by its words.
    pub(crate) fn brings_what(&self, refused: &str) -> Option<&'static str> {
        let is_missing = ["not found", "no such file"].iter().any(|words| refused.to_lowercase().contains(words));
        let mut named = self.installs.iter().map(|install| install.destination.to_string_lossy());
        match is_missing {
            true if named.any(|destination| refused.contains(&*destination)) => Some("`files:` installs it"),
            true if !self.scripts.is_empty() => Some("a script of another hook may write it"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pending(bundle: &Path, scripts: &[LifecycleEvent]) -> Pending {
        std::fs::create_dir_all(bundle.join("conf/deep")).unwrap();
        std::fs::write(bundle.join("conf/deep/a.env"), "").unwrap();
        std::fs::write(bundle.join("b.env"), "").unwrap();
        let install = |source: &str, destination: &str| Install {
            source: bundle.join(source),
            destination: PathBuf::from(destination),
        };
        let installs = vec![install("conf", "/opt/app"), install("b.env", "/etc/app")];
        Pending { installs, scripts: scripts.iter().copied().collect() }
    }

    #[test]
    fn what_nobody_brings_is_demanded() {
        let bundle = tempfile::tempdir().unwrap();
        let pending = pending(bundle.path(), &[]);
        for path in
            ["/opt/app/none.env", "/opt/app/deep", "/etc/app/c.env", "/etc/app/b.env/b.env", "/opt/application/a"]
        {
            assert_eq!(pending.who_writes(Path::new(path)), None, "{path}");
        }
        assert_eq!(pending.brings_what("env file /opt/other/x not found"), None);
        assert_eq!(pending.brings_what("yaml: line 3: mapping values are not allowed"), None);
    }

    #[test]
    fn what_files_install_is_pending_until_install_and_what_a_script_writes_until_it_has_run() {
        let bundle = tempfile::tempdir().unwrap();
        let pending = pending(bundle.path(), &[LifecycleEvent::AfterInstall]);
        let (file, other) = (Path::new("/opt/app/deep/a.env"), Path::new("/opt/app/none.env"));
        let before = pending.at(LifecycleEvent::BeforeInstall);
        assert_eq!(before.who_writes(file), Some("`files:` installs it"));
        assert_eq!(before.who_writes(Path::new("/etc/app/b.env")), Some("`files:` installs it"));
        assert_eq!(before.who_writes(other), Some("a script of another hook may write it"));
        let after = pending.at(LifecycleEvent::AfterInstall);
        assert!(!after.installs(file));
        assert_eq!(after.who_writes(other), Some("a script of another hook may write it"));
        assert_eq!(pending.at(LifecycleEvent::ApplicationStart), Pending::default());
        assert_eq!(pending.at(LifecycleEvent::ValidateService), Pending::default());
    }

    #[test]
    fn a_script_that_has_run_writes_nothing_more() {
        let bundle = tempfile::tempdir().unwrap();
        let pending = pending(bundle.path(), &[LifecycleEvent::BeforeInstall]);
        assert_eq!(pending.at(LifecycleEvent::AfterInstall).who_writes(Path::new("/x")), None);
    }
}
