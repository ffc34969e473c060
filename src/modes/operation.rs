//! What can be done, and the one rendering of each.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::config::{ArchiveLocation, Probe};
use crate::deploy::state::Release;
use crate::engine::request::{ContainerSpec, Target};
use crate::health::check::{HealthCheck, SETTLE};
use crate::images::delta::Missing;
use crate::images::operation::Import;
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::container::run_line;
use crate::modes::swarm::operation::SwarmOperation;
use crate::ports::operation::PortsOperation;
use crate::tasks::operation::TaskOperation;
use crate::values::pin::ImagePin;
use crate::values::text::megabytes;

/// One step. Its `Display` is what is printed; the same values are what the host is given.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Operation {
    /// Bring an image into the engine.
    Import(Import),
    /// Give the image a tag of ours, so that it is kept.
    Retain {
        /// The image.
        image: ImagePin,
        /// `balehook/<name>:<digits>`.
        tag: String,
    },
    /// Create a container, without starting it.
    Create(Box<ContainerSpec>),
    /// Ask it to stop; kill it when the grace period is over.
    Stop {
        /// Which.
        container: Target,
        /// How long it may take.
        grace: Duration,
    },
    /// End it at once. Nothing to do when it does not run.
    Kill {
        /// Which.
        container: Target,
    },
    /// Give it another name. Nothing to do when it bears it already.
    Rename {
        /// Which, by its present name.
        container: Target,
        /// The new name.
        to: String,
    },
    /// Start it. Nothing to do when it runs.
    Start {
        /// Which.
        container: Target,
    },
    /// Wait until it is proven.
    CheckHealth {
        /// Which.
        container: Target,
        /// How.
        health_check: HealthCheck,
    },
    /// Record the release: from here on the new container is the one that stays.
    SaveRelease {
        /// The container that was proven.
        container: Target,
        /// The record; what was observed is filled in when it is written.
        release: Box<Release>,
    },
    /// Remove it, running or not. Nothing to do when it is gone.
    Remove {
        /// Which.
        container: Target,
        /// Its anonymous volumes go too.
        volumes: bool,
    },
    /// Hand host ports over in the kernel.
    StartFirst(PortsOperation),
    /// Anything with a Compose project.
    Compose(ComposeOperation),
    /// Take a reference off an image; the engine drops the image with the last one.
    Untag {
        /// The reference.
        reference: String,
    },
    /// A step in a swarm.
    Swarm(SwarmOperation),
    /// A task of a person's before or after the deployment.
    Task(TaskOperation),
}

impl ContainerSpec {
    /// The options as `docker run` takes them, one item each, secrets hidden.
    pub fn run_options(&self) -> Vec<Vec<String>> {
        run_line::run_options(&self.options, &self.environment)
    }
}

impl Operation {
    /// Whether it changes what runs or what the engine holds.
    pub const fn is_change(&self) -> bool {
        match self {
            Self::CheckHealth { .. } | Self::SaveRelease { .. } | Self::Retain { .. } => false,
            Self::StartFirst(step) => step.is_change(),
            Self::Compose(step) => step.is_change(),
            Self::Import(_)
            | Self::Create(_)
            | Self::Stop { .. }
            | Self::Kill { .. }
            | Self::Rename { .. }
            | Self::Start { .. }
            | Self::Remove { .. }
            | Self::Untag { .. }
            | Self::Task(_) => true,
            Self::Swarm(step) => step.is_change(),
        }
    }

    /// Whether it puts the release on record: from here on nothing is undone.
    pub const fn is_record(&self) -> bool {
        matches!(self, Self::SaveRelease { .. } | Self::Swarm(SwarmOperation::SaveRelease { .. }))
    }

    /// One short line for the console: a created container without its options.
    pub fn title(&self) -> String {
        match self {
            Self::Create(spec) => format!("docker create --name {} … {}", spec.name, spec.image.describe()),
            Self::Swarm(step) => step.title(),
            Self::Compose(step) => step.title(),
            Self::Task(task) => task.title(),
            other => other.to_string(),
        }
    }

    /// Whether it proves what was started.
    pub const fn is_health_check(&self) -> bool {
        matches!(
            self,
            Self::CheckHealth { .. }
                | Self::Compose(ComposeOperation::Wait { .. })
                | Self::Swarm(SwarmOperation::RolloutCheck(_))
        )
    }

    /// Whether it touches what served before.
    pub const fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Stop { .. } | Self::Compose(ComposeOperation::Up { .. }) | Self::Swarm(SwarmOperation::Update(_))
        )
    }

    /// Whether it may take long: it is dropped when the plan must stop.
    pub const fn is_long(&self) -> bool {
        let is_compose = matches!(
            self,
            Self::Compose(
                ComposeOperation::Up { .. }
                    | ComposeOperation::Wait { .. }
                    | ComposeOperation::Stop { .. }
                    | ComposeOperation::Down { .. }
            )
        );
        let is_drain = matches!(self, Self::StartFirst(PortsOperation::Drain { .. }));
        let is_swarm = matches!(self, Self::Swarm(step) if step.is_waiting());
        is_compose
            || is_drain
            || is_swarm
            || matches!(self, Self::Import(_) | Self::Stop { .. } | Self::CheckHealth { .. } | Self::Task(_))
    }

    /// Whether what served before depends on it when it comes back.
    pub const fn is_restoring(&self) -> bool {
        matches!(
            self,
            Self::Rename { .. }
                | Self::Start { .. }
                | Self::Compose(_)
                | Self::StartFirst(_)
                | Self::Swarm(SwarmOperation::Rollback { .. })
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Import(import) => write!(f, "{import}"),
            Self::Retain { image, tag } => write!(f, "docker tag {} {tag}", image.argument()),
            Self::Create(spec) => f.write_str(&run_line::create_line(spec)),
            Self::Stop { container, grace } => write!(f, "docker stop --time {} {container}", grace.as_secs()),
            Self::Kill { container } => write!(f, "docker kill {container}"),
            Self::Rename { container, to } => write!(f, "docker rename {container} {to}"),
            Self::Start { container } => write!(f, "docker start {container}"),
            Self::CheckHealth { container, health_check } => write!(f, "prove {container}: {health_check}"),
            Self::SaveRelease { container, release } => {
                let more = match release.more_images.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                write!(f, "record {container} as {}{more} of {}", release.image.describe(), release.deployment)
            }
            Self::Remove { container, volumes: true } => write!(f, "docker rm --force --volumes {container}"),
            Self::Remove { container, volumes: false } => write!(f, "docker rm --force {container}"),
            Self::StartFirst(step) => write!(f, "{step}"),
            Self::Compose(step) => write!(f, "{step}"),
            Self::Untag { reference } => write!(f, "docker rmi {reference}"),
            Self::Swarm(step) => write!(f, "{step}"),
            Self::Task(task) => write!(f, "{task}"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, total) = (megabytes(self.bytes), megabytes(self.total));
        write!(f, "{} of {} layers missing, {bytes} of {total}", self.layers, self.of)
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => write!(f, "its HEALTHCHECK, or {SETTLE:?} without a restart where it has none"),
            Self::Http(address) => write!(f, "GET {address} answers 2xx or 3xx"),
            Self::Tcp(address) => write!(f, "{address} accepts a connection"),
        }
    }
}

impl fmt::Display for ArchiveLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::S3(uri) => write!(f, "{uri}"),
        }
    }
}

impl Serialize for ArchiveLocation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
