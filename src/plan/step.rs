//! What can be done, and the one rendering of each.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::compose::step::ComposeStep;
use super::create::ContainerOptions;
use super::handover::HandoverStep;
use super::run_line;
use super::swarm::step::SwarmStep;
use super::task::TaskStep;
use crate::image::delta::Missing;
use crate::image::pin::ImagePin;
use crate::release::Release;
use crate::report::progress::megabytes;
use crate::spec::types::EnvVar;
use crate::spec::{ArchiveLocation, Probe};

/// One step. Its `Display` is what is printed; the same values are what the host is given.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Bring an image into the engine.
    Bring(Bring),
    /// Give the image a tag of ours, so that it is kept.
    Keep {
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
    Prove {
        /// Which.
        container: Target,
        /// How.
        proof: Proof,
    },
    /// Record the release: from here on the new container is the one that stays.
    Record {
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
    Handover(HandoverStep),
    /// Anything with a Compose project.
    Compose(ComposeStep),
    /// Take a reference off an image; the engine drops the image with the last one.
    Untag {
        /// The reference.
        reference: String,
    },
    /// A step in a swarm.
    Swarm(SwarmStep),
    /// A task of a person's before or after the deployment.
    Task(TaskStep),
}

/// How an image is brought in.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum Bring {
    /// The engine pulls it, with the credentials of that registry (a slot: the host fills it).
    Pull {
        /// Which image.
        image: ImagePin,
        /// The registry's host.
        registry: String,
        /// `linux/arm64`, where the service names one.
        platform: Option<String>,
    },
    /// We stream what is missing of an archive into the engine.
    Load {
        /// Which image must be in the engine afterwards.
        image: ImagePin,
        /// From where.
        archive: ArchiveLocation,
        /// `linux/arm64`, where the service names one.
        platform: Option<String>,
        /// The length of a compressed archive: it travels as a whole.
        bytes: Option<u64>,
        /// What is missing, where that was looked up.
        missing: Option<Missing>,
    },
}

impl Bring {
    /// Which image.
    pub const fn image(&self) -> &ImagePin {
        match self {
            Self::Pull { image, .. } | Self::Load { image, .. } => image,
        }
    }
}

/// A container to create: everything the engine is given.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContainerSpec {
    /// The name it is created under.
    pub name: String,
    /// The image.
    pub image: ImagePin,
    /// The engine's create request but for image and environment, which are filled in when it is sent.
    pub options: ContainerOptions,
    /// The environment; values are hidden in every printed form where they look secret.
    pub environment: Vec<EnvVar>,
}

impl ContainerSpec {
    /// The options as `docker run` takes them, one item each, secrets hidden.
    pub fn run_options(&self) -> Vec<Vec<String>> {
        run_line::run_options(&self.options, &self.environment)
    }
}

/// A container, by the name it bears at that point of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The name.
    pub name: String,
    /// The ID, where the container exists already; the one that this plan creates otherwise.
    pub id: Option<String>,
}

/// How a container is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// What is asked of it.
    #[serde(serialize_with = "through_display")]
    pub probe: Probe,
    /// How long it may take.
    pub timeout: Duration,
    /// Between two probes.
    pub interval: Duration,
    /// How long it must stay proven.
    pub stable_for: Duration,
    /// Good answers in a row that prove it, at least 1.
    pub successes: u32,
}

fn through_display<S: serde::Serializer>(probe: &Probe, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(probe)
}

/// How long a container without any check must run without a restart.
pub const SETTLE: Duration = Duration::from_secs(3);

impl Step {
    /// Whether it changes what runs or what the engine holds.
    pub const fn is_change(&self) -> bool {
        match self {
            Self::Prove { .. } | Self::Record { .. } | Self::Keep { .. } => false,
            Self::Handover(step) => step.is_change(),
            Self::Compose(step) => step.is_change(),
            Self::Bring(_)
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
        matches!(self, Self::Record { .. } | Self::Swarm(SwarmStep::Record { .. }))
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
    pub const fn is_proof(&self) -> bool {
        matches!(
            self,
            Self::Prove { .. } | Self::Compose(ComposeStep::Wait { .. }) | Self::Swarm(SwarmStep::Converge(_))
        )
    }

    /// Whether it touches what served before.
    pub const fn is_interruption(&self) -> bool {
        matches!(self, Self::Stop { .. } | Self::Compose(ComposeStep::Up { .. }) | Self::Swarm(SwarmStep::Update(_)))
    }

    /// Whether it may take long: it is dropped when the plan must stop.
    pub const fn is_long(&self) -> bool {
        let is_compose = matches!(
            self,
            Self::Compose(
                ComposeStep::Up { .. } | ComposeStep::Wait { .. } | ComposeStep::Stop { .. } | ComposeStep::Down { .. }
            )
        );
        let is_drain = matches!(self, Self::Handover(HandoverStep::Drain { .. }));
        let is_swarm = matches!(self, Self::Swarm(step) if step.is_waiting());
        is_compose
            || is_drain
            || is_swarm
            || matches!(self, Self::Bring(_) | Self::Stop { .. } | Self::Prove { .. } | Self::Task(_))
    }

    /// Whether what served before depends on it when it comes back.
    pub const fn is_restoring(&self) -> bool {
        matches!(
            self,
            Self::Rename { .. }
                | Self::Start { .. }
                | Self::Compose(_)
                | Self::Handover(_)
                | Self::Swarm(SwarmStep::Rollback { .. })
        )
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bring(bring) => write!(f, "{bring}"),
            Self::Keep { image, tag } => write!(f, "docker tag {} {tag}", image.argument()),
            Self::Create(spec) => f.write_str(&run_line::create_line(spec)),
            Self::Stop { container, grace } => write!(f, "docker stop --time {} {container}", grace.as_secs()),
            Self::Kill { container } => write!(f, "docker kill {container}"),
            Self::Rename { container, to } => write!(f, "docker rename {container} {to}"),
            Self::Start { container } => write!(f, "docker start {container}"),
            Self::Prove { container, proof } => write!(f, "prove {container}: {proof}"),
            Self::Record { container, release } => {
                let more = match release.more_images.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                write!(f, "record {container} as {}{more} of {}", release.image.describe(), release.deployment)
            }
            Self::Remove { container, volumes: true } => write!(f, "docker rm --force --volumes {container}"),
            Self::Remove { container, volumes: false } => write!(f, "docker rm --force {container}"),
            Self::Handover(step) => write!(f, "{step}"),
            Self::Compose(step) => write!(f, "{step}"),
            Self::Untag { reference } => write!(f, "docker rmi {reference}"),
            Self::Swarm(step) => write!(f, "{step}"),
            Self::Task(task) => write!(f, "{task}"),
        }
    }
}

impl fmt::Display for Bring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull { image, platform, .. } => {
                let platform = platform.as_ref().map(|name| format!("--platform {name} ")).unwrap_or_default();
                write!(f, "docker pull {platform}{}", image.argument())
            }
            Self::Load { image, archive, missing: Some(missing), .. } => {
                write!(f, "load {} from {archive}: {missing}", image.describe())
            }
            Self::Load { image, archive, bytes, .. } => {
                let bytes = bytes.map(|bytes| format!(": all of {}, compressed", megabytes(bytes)));
                write!(f, "load {} from {archive}{}", image.describe(), bytes.unwrap_or_default())
            }
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, total) = (megabytes(self.bytes), megabytes(self.total));
        write!(f, "{} of {} layers missing, {bytes} of {total}", self.layers, self.of)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.probe)?;
        if self.successes > 1 {
            write!(f, " {} times in a row", self.successes)?;
        }
        write!(f, ", within {:?}", self.timeout)?;
        match self.stable_for {
            Duration::ZERO => Ok(()),
            stable => write!(f, ", stable for {stable:?}"),
        }
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
