//! `appspec.yml` and the hook environment, read, and the validated deployment: a wrong one cannot be built. It knows no host.

pub mod appspec;
pub(crate) mod compose;
pub mod env_file;
pub(crate) mod explained;
pub(crate) mod field;
pub(crate) mod fix;
pub(crate) mod hints;
pub mod hook_env;
pub mod interpolate;
pub(crate) mod keys;
pub(crate) mod lint;
pub(crate) mod notify;
pub mod pending;
pub(crate) mod places;
pub(crate) mod policy;
pub(crate) mod probe;
pub mod problem;
pub(crate) mod rules;
pub(crate) mod schema;
pub mod secrets;
pub mod service;
pub(crate) mod source;
pub(crate) mod start_first;
pub mod swarm;
pub(crate) mod task;
pub mod validate;
pub(crate) mod variables;
pub mod verify;
pub mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::config::probe::{GrpcProbe, HttpProbe, Probe};
use crate::error::Failure;
use crate::values::reference::ImageReference;
use crate::values::types::{ContentDigest, LifecycleEvent, Name, S3Uri};

/// What one `appspec.yml` asks for.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub(crate) name: Name,
    /// The bundle's folder: the one with `appspec.yml`.
    pub bundle_root: PathBuf,
    /// What the files of `x-balehook.variables` hold.
    pub(crate) variables: variables::Variables,
    /// Which of the three ways.
    pub mode: Mode,
    pub(crate) health: Health,
    /// `x-balehook.keep`: releases whose images stay for a rollback, at least 1. Default 3.
    pub(crate) keep: usize,
    pub(crate) tasks: task::Tasks,
    /// Who is told how it ended.
    pub(crate) notify: Vec<notify::Notify>,
    /// The `timeout:` of our own hook of each event that has one.
    pub(crate) timeouts: BTreeMap<LifecycleEvent, Duration>,
    /// What Install and scripts of other hooks may still write.
    pub(crate) pending: pending::Pending,
    /// What the section asks for that a policy of the host may refuse.
    pub(crate) demands: Vec<policy::demand::Demand>,
    pub(crate) places: places::Places,
}

impl Deployment {
    /// A variable of the hook, or of the files of `variables`.
    pub(crate) fn variable(&self, name: &str, hook: Option<&str>) -> Option<String> {
        hook.map(str::to_owned).or_else(|| variables::value(&self.variables, name))
    }

    /// The time that our hook of an event has; CodeDeploy's default is 3600 s.
    pub(crate) fn timeout(&self, event: LifecycleEvent) -> Duration {
        self.timeouts.get(&event).copied().unwrap_or(Duration::from_secs(3600))
    }

    /// A failure that comes from a value below one of `keys`, with the place of that.
    pub(crate) fn placed(&self, keys: &[&str], is_meant: impl Fn(&str) -> bool, failure: Failure) -> Failure {
        match self.places.find(keys, is_meant) {
            Some(place) => Failure { message: format!("{place}: {}", failure.message), ..failure },
            None => failure,
        }
    }

    /// Whether a text of the file is this image source or file.
    pub(crate) fn is_location(&self, text: &str, location: &ArchiveLocation) -> bool {
        match location {
            ArchiveLocation::File(path) => self.bundle_root.join(text) == *path,
            ArchiveLocation::S3(uri) => text == uri.to_string(),
        }
    }

    /// The images that tasks have of their own.
    pub(crate) fn task_images(&self) -> Vec<ImageNeed> {
        self.tasks.all().filter_map(task::Task::need).collect()
    }

    /// What is deployed, as written: for the record.
    pub(crate) fn source(&self) -> String {
        match &self.mode {
            Mode::Container(container) => container.image.written(&self.bundle_root),
            Mode::Swarm(swarm) => swarm.image.written(&self.bundle_root),
            Mode::Compose(compose) => compose.written(&self.bundle_root),
        }
    }
}

/// How the application is started.
#[derive(Debug, Clone)]
pub enum Mode {
    /// One container on this host.
    Container(Box<Container>),
    /// A service of a swarm.
    Swarm(Box<swarm::Swarm>),
    /// A Compose project on this host.
    Compose(Box<compose::Compose>),
}

impl Mode {
    /// Its key in the section.
    pub(crate) const fn key(&self) -> &'static str {
        match self {
            Self::Container(_) => "container",
            Self::Swarm(_) => "swarm",
            Self::Compose(_) => "compose",
        }
    }
}

/// `x-balehook.container`.
#[derive(Debug, Clone)]
pub struct Container {
    /// Where the image comes from.
    pub image: ImageSource,
    /// Its options.
    pub service: service::Service,
}

impl Container {
    pub(crate) fn need(&self) -> ImageNeed {
        ImageNeed { source: self.image.clone(), platform: self.service.platform.clone() }
    }
}

/// One image that a deployment needs.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageNeed {
    /// Where it comes from.
    pub source: ImageSource,
    /// `linux/arm64`, where one is named.
    pub platform: Option<String>,
}

impl ImageNeed {
    /// As written, with the platform and what must hold of it: what identifies a need.
    pub fn key(&self, bundle_root: &Path) -> String {
        let platform = self.platform.as_ref().map(|platform| format!(" for {platform}")).unwrap_or_default();
        let verify = self.source.verify().map(|verify| format!(", {}", verify.said(bundle_root))).unwrap_or_default();
        format!("{}{platform}{verify}", self.source.written(bundle_root))
    }
}

impl ImageSource {
    /// As written in `appspec.yml`, in one line: the same on whichever host and in whichever folder the bundle lies.
    pub(crate) fn written(&self, bundle_root: &Path) -> String {
        match self {
            Self::Registry(reference, pull, ..) => format!("{reference}{}", pull.said()),
            Self::Archive { location, reference, id, .. } => {
                let archive = match location {
                    ArchiveLocation::File(path) => path.strip_prefix(bundle_root).unwrap_or(path).display().to_string(),
                    ArchiveLocation::S3(uri) => uri.to_string(),
                };
                let reference = reference.as_ref().map(|reference| format!(" {reference}")).unwrap_or_default();
                format!("{archive}{reference}{}", id.as_ref().map(|id| format!(" {id}")).unwrap_or_default())
            }
        }
    }
}

/// When a registry is asked for an image. Source: Compose specification, `pull_policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// At every deployment: what a tag stands for now is what runs.
    #[default]
    Always,
    /// Where the engine has none of that name.
    Missing,
    /// Never: the engine must have it.
    Never,
}

impl Pull {
    /// As in a Compose file; nothing is built during a deployment, and each deployment is later than any interval.
    pub(crate) fn of(policy: Option<&str>) -> Self {
        match policy {
            Some("missing" | "if_not_present") => Self::Missing,
            Some("never") => Self::Never,
            _ => Self::Always,
        }
    }

    /// Behind a reference; nothing of what is done anyway.
    pub(crate) const fn said(self) -> &'static str {
        match self {
            Self::Always => "",
            Self::Missing => " (pull: missing)",
            Self::Never => " (pull: never)",
        }
    }
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageSource {
    /// Of a registry; a tag is resolved to its digest once. What the registry does not have yet is waited for so long.
    Registry(ImageReference, Pull, Option<Box<verify::Verify>>, Duration),
    /// A `docker save` or OCI archive.
    Archive {
        /// Where the archive is.
        location: ArchiveLocation,
        /// Which image of the archive, where it holds several.
        reference: Option<ImageReference>,
        /// Refuse any other image (its config digest).
        id: Option<ContentDigest>,
        /// What must hold of it.
        verify: Option<Box<verify::Verify>>,
    },
}

/// Where an archive is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveLocation {
    /// An absolute path (a path inside the bundle was joined to the bundle's root).
    File(PathBuf),
    /// An object in S3.
    S3(S3Uri),
}

/// `x-balehook.health`: what makes the new container healthy.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Health {
    /// What is asked; `Auto` where the section names nothing.
    pub(crate) probe: Probe,
    /// How long it may take to become healthy. Default 60 s.
    pub(crate) timeout: Duration,
    /// Between two probes, 100 ms to 250 ms. Default 100 ms.
    pub(crate) interval: Duration,
    /// How long it must stay healthy. Default 0.
    pub(crate) stable_for: Duration,
    /// Good answers in a row to each question. Default 1, and 3 with `order: start-first`.
    pub(crate) successes: Option<u32>,
}

/// What to write in place of a path without an address.
pub(crate) fn whole_address(asked: &HttpProbe) -> String {
    let write = match &asked.options {
        None => format!("write `http: \"http://127.0.0.1:8080{}\"`", asked.address),
        Some(_) => "write `port: 8080` beside `path`,".to_owned(),
    };
    format!("{write} with the port that answers on this host, or publish one with `ports:`")
}

/// How long a container without any check must run without a restart.
pub(crate) const SETTLE: Duration = Duration::from_secs(3);

impl fmt::Display for ArchiveLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::S3(uri) => write!(f, "{uri}"),
        }
    }
}
