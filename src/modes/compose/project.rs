//! A Compose project as Compose is called for it, and what is observed of one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::ImageNeed;
use crate::error::{Failure, Kind};
use crate::modes::compose::unsaved::UnsavedContainer;
use crate::values::known::Known;
use crate::values::mounted::MountedFile;
use crate::values::pin::ImagePin;
use crate::values::types::{ContentDigest, EnvVar, Name};

/// The folder of one name's state that Compose works in: its path never changes, so that bind mounts keep theirs.
pub(crate) const DIRECTORY: &str = "project";

/// The folder of one name's state with a snapshot of each retained release.
pub(crate) const SNAPSHOTS: &str = "compose";

/// The generated override file of a release, in its snapshot.
pub(crate) const OVERRIDE: &str = "override.yml";

/// How a person installs Compose 2: Debian 12 and Amazon Linux 2023 have no package of it.
pub(crate) const INSTALL: &str = "install Compose 2: `apt-get install docker-compose-v2` (Ubuntu); on others (Debian 12, Amazon \
    Linux 2023): `P=/usr/local/lib/docker/cli-plugins/docker-compose; curl -fL --create-dirs -o $P \
    https://github.com/docker/compose/releases/latest/download/docker-compose-linux-$(uname -m) && chmod +x $P`";

/// Compose on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// The words that start it: a plugin's path, or the path of `docker` and `compose`.
    pub argv: Vec<String>,
    /// As it says itself: `2.40.3`.
    pub version: String,
}

impl Tool {
    /// Of a plan for a host that has none.
    pub(crate) fn assumed() -> Self {
        Self { argv: vec!["docker".into(), "compose".into()], version: "2".into() }
    }

    /// Refuses Compose 1, which releases on disk may still name.
    /// Errors: [`Kind::Container`], with the words that install Compose 2.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.version.starts_with("1.") {
            true => Err(Failure::new(
                Kind::Container,
                format!("{} {} is Compose 1, which is out of support", self.argv.join(" "), self.version),
            )
            .next(INSTALL)),
            false => Ok(()),
        }
    }
}

/// A project with everything that Compose is given for it but its variables, which may be secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// Compose; in a release on disk the one that deployed it.
    pub tool: Tool,
    /// The state folder of the name.
    pub state: PathBuf,
    /// What tells this release's snapshot from others: twelve digits.
    pub id: String,
    /// The Compose files, relative to the project's folder.
    pub files: Vec<PathBuf>,
    /// Files with variables, relative to the project's folder.
    pub env_files: Vec<PathBuf>,
    /// Active profiles.
    pub profiles: Vec<String>,
    /// The services that `up` names; all where it names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}

impl Project {
    /// The same project with the Compose that this host has now, where that was looked up.
    pub fn run_by(&self, tool: &Known<Tool>) -> Self {
        Self { tool: tool.yes().unwrap_or(&self.tool).clone(), ..self.clone() }
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.state.join(DIRECTORY)
    }

    pub(crate) fn snapshot(&self) -> PathBuf {
        self.state.join(SNAPSHOTS).join(&self.id)
    }

    pub(crate) fn argv(&self, command: &[&str]) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        let mut argv = self.tool.argv.clone();
        let mut option = |name: &str, value: String| argv.extend([name.to_owned(), value]);
        option("--project-name", self.name.clone());
        option("--project-directory", text(self.directory()));
        self.files.iter().for_each(|file| option("--file", text(self.directory().join(file))));
        option("--file", text(self.snapshot().join(OVERRIDE)));
        self.env_files.iter().for_each(|file| option("--env-file", text(self.directory().join(file))));
        self.profiles.iter().for_each(|profile| option("--profile", profile.clone()));
        argv.extend(command.iter().map(|word| (*word).to_owned()));
        argv
    }
}

/// A project as Compose reads it, and as the engine has it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names say it
pub struct ComposeFacts {
    pub state: PathBuf,
    pub folder: ProjectFolder,
    /// The active services, sorted by name.
    pub services: Vec<ServiceFacts>,
    /// Active services that this deployment leaves as they are.
    pub left_out: Vec<String>,
    pub containers: Vec<ProjectContainer>,
    /// Variables of the hook that the files name.
    pub variables: Vec<EnvVar>,
    /// The IDs of the snapshots that there are.
    pub snapshots: Vec<String>,
    /// The containers that come back after a failure, where no release says how.
    pub unsaved: Vec<UnsavedContainer>,
}

/// A project's folder in the bundle, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct ProjectFolder {
    pub path: PathBuf,
    /// Paths in it that are left out of a snapshot: archives, hooks, the program.
    pub excluded: Vec<PathBuf>,
    /// Of names, modes and contents together.
    pub digest: ContentDigest,
    pub files: usize,
    pub bytes: u64,
}

/// One service.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names say it
pub struct ServiceFacts {
    pub name: String,
    pub need: ImageNeed,
    /// Every option with a digest of its value, for two releases to be compared without their secrets. What a bind
    /// mount of the project's folder holds is one of them.
    pub options: BTreeMap<String, String>,
    /// The values that may be shown, by option.
    pub values: BTreeMap<String, String>,
    /// The variables of its containers that are made with a value that is fetched.
    pub fetched: Vec<String>,
    pub replicas: usize,
    /// Files that it mounts of the host, outside the project's folder.
    pub files: Vec<MountedFile>,
}

/// One container of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub struct ProjectContainer {
    pub name: String,
    pub service: String,
    /// It bears our label with the deployment's name.
    pub ours: bool,
    /// It runs, or has ended with 0.
    pub good: bool,
    pub spec: Option<String>,
    pub image: String,
}

impl ServiceFacts {
    /// What tells this service with this image from any other.
    pub fn spec(&self, pin: &ImagePin) -> ContentDigest {
        ContentDigest::of(format!("{}\n{:?}", pin.identity(), self.options).as_bytes())
    }
}

/// An image as every Compose takes it: by its digest, or by a tag of ours that is made of its content.
pub(crate) fn pinned(pin: &ImagePin, name: &Name) -> String {
    match pin {
        ImagePin::Registry { .. } | ImagePin::Unknown { .. } => pin.argument(),
        ImagePin::Content { .. } | ImagePin::Unread { .. } => pin.retention_tag(name),
    }
}
