//! What can be done with a Compose project, and the one rendering of each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Probe;
use crate::health::check::HealthCheck;
use crate::modes::compose::project::{Project, Tree};
use crate::modes::compose::task::ComposeTask;
use crate::modes::container::run_line::quoted;
use crate::modes::release::Release;
use crate::values::operation::Role;
use crate::values::text::megabytes;
use crate::values::types::EnvVar;

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum ComposeOperation {
    /// Keep a copy of the release: its files, the generated override file, the variables.
    Retain(Box<Copy>),
    /// Lay the files of a copy where Compose works. What containers wrote there stays.
    Place {
        /// Which.
        project: Project,
    },
    /// `up`: containers are created, recreated and removed until the project is as its files say.
    Up {
        /// Which.
        project: Project,
        /// How long containers that are replaced may take to stop, in seconds; their own time where there is none.
        within: Option<u64>,
        /// What becomes of each service.
        services: Vec<ServiceChange>,
        /// The services that come up, with those that they depend on; all where none is named.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only: Vec<String>,
    },
    /// Wait until every service is healthy.
    Wait {
        /// Which project.
        name: String,
        /// How.
        health_check: ProjectHealth,
    },
    /// Save the release: from here on the new project is the one that stays.
    SaveRelease(Box<Release>),
    /// `rm --stop --force`: the containers go, networks and volumes stay.
    Stop {
        /// Which.
        project: Project,
    },
    /// `down`: containers and networks go, volumes stay.
    Down {
        /// Which.
        project: Project,
    },
    /// Run a service once as a task, to its end, and remove its container.
    RunTask(Box<ComposeTask>),
    /// Remove the copy of a release.
    Forget {
        /// Which.
        project: String,
        /// Its digits.
        id: String,
    },
}

/// What is kept of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Copy {
    /// The project.
    pub project: Project,
    /// Its files in the bundle.
    pub tree: Tree,
    /// The generated override file.
    pub overlay: String,
    /// The variables that its files name.
    pub variables: Vec<EnvVar>,
}

/// What makes a project healthy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectHealth {
    /// The services, each with its number of containers.
    pub services: Vec<(String, usize)>,
    /// What makes them healthy.
    #[serde(flatten)]
    pub check: HealthCheck,
}

/// What becomes of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceChange {
    /// The service.
    pub service: String,
    /// What.
    pub change: Change,
    /// Its image before, where it was another one.
    pub from: Option<String>,
    /// Its image.
    pub to: Option<String>,
}

/// What becomes of a service's containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Nothing.
    Unchanged,
    /// There are none yet.
    Created,
    /// They are replaced, because these options are others.
    Recreated(Vec<String>),
    /// They are started, or there are too few or too many.
    Started,
    /// They go.
    Removed,
}

impl ComposeOperation {
    /// The command line of Compose, where it is one.
    pub fn argv(&self) -> Option<Vec<String>> {
        match self {
            Self::Up { project, within, only, .. } => {
                let seconds = within.map(|seconds| seconds.to_string());
                let mut command = vec!["up", "--detach", "--remove-orphans", "--no-build"];
                command.extend(seconds.iter().flat_map(|seconds| ["--timeout", seconds]));
                command.extend(only.iter().map(String::as_str));
                Some(project.argv(&command))
            }
            Self::Stop { project } => Some(project.argv(&["rm", "--stop", "--force"])),
            Self::Down { project } => Some(project.argv(&["down", "--remove-orphans", "--timeout", "1"])),
            Self::RunTask(task) => Some(task.argv()),
            Self::Retain(_) | Self::Place { .. } | Self::Wait { .. } | Self::SaveRelease(_) | Self::Forget { .. } => {
                None
            }
        }
    }

    /// What it means to the execution.
    pub const fn role(&self) -> Role {
        match self {
            Self::Retain(_) | Self::Forget { .. } => Role::Passive,
            Self::Place { .. } | Self::Stop { .. } | Self::Down { .. } | Self::RunTask(_) => Role::Prepares,
            Self::Up { .. } => Role::Interrupts,
            Self::Wait { .. } => Role::ChecksHealth,
            Self::SaveRelease(_) => Role::Saves,
        }
    }

    /// Whether it may take long.
    pub const fn is_long(&self) -> bool {
        match self {
            Self::Up { .. } | Self::Wait { .. } | Self::Stop { .. } | Self::Down { .. } | Self::RunTask(_) => true,
            Self::Retain(_) | Self::Place { .. } | Self::SaveRelease(_) | Self::Forget { .. } => false,
        }
    }

    /// Lines that a printed plan shows below the step.
    pub fn details(&self) -> Vec<String> {
        match self {
            Self::Retain(copy) => copy.overlay.lines().map(str::to_owned).collect(),
            Self::Up { services, .. } => services.iter().map(ToString::to_string).collect(),
            Self::Place { .. }
            | Self::Wait { .. }
            | Self::SaveRelease(_)
            | Self::Stop { .. }
            | Self::Down { .. }
            | Self::RunTask(_)
            | Self::Forget { .. } => Vec::new(),
        }
    }

    /// One short line for the console.
    pub fn title(&self) -> String {
        match self {
            Self::Up { project, .. } => format!("docker compose --project-name {} … up --detach", project.name),
            Self::Stop { project } => format!("docker compose --project-name {} … rm --stop --force", project.name),
            Self::Down { project } => format!("docker compose --project-name {} … down", project.name),
            Self::RunTask(task) => task.title(),
            Self::Retain(_) | Self::Place { .. } | Self::Wait { .. } | Self::SaveRelease(_) | Self::Forget { .. } => {
                self.to_string()
            }
        }
    }
}

impl fmt::Display for ComposeOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retain(copy) => {
                let (tree, to) = (&copy.tree, copy.project.copy());
                let (files, bytes) = (tree.files, megabytes(tree.bytes));
                write!(f, "copy {} ({files} files, {bytes}) to {}", tree.folder.display(), to.display())
            }
            Self::Place { project } => {
                write!(f, "lay {} out in {}", project.copy().display(), project.place().display())
            }
            Self::Up { .. } | Self::Stop { .. } | Self::Down { .. } => {
                let words: Vec<String> = self.argv().unwrap_or_default().iter().map(|word| quoted(word)).collect();
                f.write_str(&words.join(" "))
            }
            Self::RunTask(task) => write!(f, "{task}"),
            Self::Wait { name, health_check } => write!(f, "check health of {name}: {health_check}"),
            Self::SaveRelease(release) => write!(f, "save release: {release}"),
            Self::Forget { project, id } => write!(f, "forget the copy {id} of {project}"),
        }
    }
}

impl fmt::Display for ProjectHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.services.iter().map(|(name, count)| match count {
            1 => name.clone(),
            count => format!("{name} ({count} containers)"),
        });
        write!(f, "{} healthy, running or exited with 0", services.collect::<Vec<_>>().join(", "))?;
        match &self.check.probe {
            Probe::Auto => {}
            probe => write!(f, ", {probe}")?,
        }
        write!(f, ", {}", self.check.terms())
    }
}

impl fmt::Display for ServiceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = &self.service;
        match &self.change {
            Change::Unchanged => write!(f, "{service}: unchanged"),
            Change::Created => write!(f, "{service}: created"),
            Change::Started => write!(f, "{service}: started"),
            Change::Removed => write!(f, "{service}: removed"),
            Change::Recreated(options) if options.is_empty() => write!(f, "{service}: recreated"),
            Change::Recreated(options) => write!(f, "{service}: recreated ({})", options.join(", ")),
        }?;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, ", image {from} -> {to}"),
            (None, Some(to)) => write!(f, ", image {to}"),
            (_, None) => Ok(()),
        }
    }
}
