//! A Compose project as Compose is called for it, and what is seen of one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::ImageNeed;
use crate::values::pin::ImagePin;
use crate::values::types::{ContentDigest, EnvVar, Name};

/// The folder of one name's state that Compose works in: its path never changes, so that bind mounts keep theirs.
pub const PLACE: &str = "project";

/// The folder of one name's state with a copy of each kept release.
pub const COPIES: &str = "compose";

/// The generated override file of a release, in its copy.
pub const OVERRIDE: &str = "override.yml";

/// Which of the two programs that are called Compose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// `docker-compose` 1.x.
    V1,
    /// `docker compose` 2.x and later.
    V2,
}

/// Compose on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// What it is called by.
    pub argv: Vec<String>,
    /// As it says itself: `2.40.3`.
    pub version: String,
    /// What that means.
    pub generation: Generation,
}

/// A project with everything that Compose is told of it but its variables, which may be secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// Compose.
    pub tool: Tool,
    /// The state folder of the name.
    pub state: PathBuf,
    /// What tells this release's copy from others: twelve digits.
    pub id: String,
    /// The Compose files, relative to the project's folder.
    pub files: Vec<PathBuf>,
    /// Files with variables, relative to the project's folder.
    pub env_files: Vec<PathBuf>,
    /// Active profiles.
    pub profiles: Vec<String>,
}

impl Project {
    /// Where Compose works.
    pub fn place(&self) -> PathBuf {
        self.state.join(PLACE)
    }

    /// The copy of this release.
    pub fn copy(&self) -> PathBuf {
        self.state.join(COPIES).join(&self.id)
    }

    /// The command line of Compose for this project.
    pub fn argv(&self, command: &[&str]) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        let mut argv = self.tool.argv.clone();
        let mut option = |name: &str, value: String| argv.extend([name.to_owned(), value]);
        option("--project-name", self.name.clone());
        option("--project-directory", text(self.place()));
        self.files.iter().for_each(|file| option("--file", text(self.place().join(file))));
        option("--file", text(self.copy().join(OVERRIDE)));
        self.env_files.iter().for_each(|file| option("--env-file", text(self.place().join(file))));
        self.profiles.iter().for_each(|profile| option("--profile", profile.clone()));
        argv.extend(command.iter().map(|word| (*word).to_owned()));
        argv
    }
}

/// A project as Compose reads it, and as the engine has it.
#[derive(Debug, Clone, PartialEq)]
pub struct ComposeFacts {
    /// Compose.
    pub tool: Tool,
    /// The state folder of the name.
    pub state: PathBuf,
    /// Everything in the project's folder that is copied.
    pub tree: Tree,
    /// `version:` of the first file, which Compose 1 wants in every file.
    pub version_key: Option<String>,
    /// The active services, sorted by name.
    pub services: Vec<ServiceFacts>,
    /// The project's containers.
    pub containers: Vec<ProjectContainer>,
    /// Variables of the hook that the files name.
    pub variables: Vec<EnvVar>,
    /// Releases of which there is a copy.
    pub copies: Vec<String>,
}

/// A folder's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The folder.
    pub folder: PathBuf,
    /// What of it is left out, relative to it.
    pub without: Vec<PathBuf>,
    /// Names, modes and contents together.
    pub digest: ContentDigest,
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// One service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceFacts {
    /// Its name.
    pub name: String,
    /// The image that it needs.
    pub need: ImageNeed,
    /// Every option with a digest of its value, for two releases to be compared without their secrets. What a bind
    /// mount of the project's folder holds is one of them.
    pub options: BTreeMap<String, String>,
    /// Containers that it has.
    pub replicas: usize,
}

/// One container of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectContainer {
    /// Its name.
    pub name: String,
    /// Its service.
    pub service: String,
    /// It bears our label with the deployment's name.
    pub ours: bool,
    /// It runs, or has ended with 0.
    pub good: bool,
    /// The `balehook.spec` label.
    pub spec: Option<String>,
    /// The image as it was created from.
    pub image: String,
}

impl ServiceFacts {
    /// What tells this service with this image from any other.
    pub fn spec(&self, pin: &ImagePin) -> ContentDigest {
        ContentDigest::of(format!("{}\n{:?}", pin.identity(), self.options).as_bytes())
    }
}

/// An image as every Compose takes it: by its digest, or by a tag of ours that is made of its content.
pub fn pinned(pin: &ImagePin, name: &Name) -> String {
    match pin {
        ImagePin::Registry { .. } | ImagePin::Unknown { .. } => pin.argument(),
        ImagePin::Content { .. } | ImagePin::Unread { .. } => pin.retention_tag(name),
    }
}
