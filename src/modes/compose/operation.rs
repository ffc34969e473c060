//! What can be done with a Compose project: each operation, its one rendering, and its effect.

use std::path::PathBuf;
use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::deploy::release::Observed;
use crate::error::{Failure, Kind};
use crate::modes::compose::call::{run, up};
use crate::modes::compose::check_out::check_out;
use crate::modes::compose::project::{Project, Tool};
use crate::modes::compose::service_change::ServiceChange;
use crate::modes::compose::snapshot::{self, Snapshot};
use crate::modes::compose::task::{self, ComposeTask};
use crate::modes::compose::wait::ProjectHealth;
use crate::modes::compose::{containers, drift, unsaved, wait};
use crate::modes::host::Host;
use crate::modes::release::Release;
use crate::values::known::Known;
use crate::values::operation::{Moment, Outcome, Role, Traits};
use crate::values::target::Target;
use crate::values::text::{command_line, megabytes};

/// One operation on a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names say it
pub enum ComposeOperation {
    /// Take a snapshot of the release: its files, the generated override file, the variables.
    Snapshot(Box<Snapshot>),
    /// Check a snapshot out where Compose works. What containers wrote there stays.
    CheckOut { project: Project },
    /// Kill the containers that are being stopped: an engine goes on with it when Compose has ended, and `up` would find
    /// them running.
    EndStops { name: String },
    /// `up`: containers are created, recreated and removed until the project is as its files say.
    Up {
        project: Project,
        /// How long containers that are replaced may take to stop, in seconds; their own time where there is none.
        within: Option<u64>,
        services: Vec<ServiceChange>,
        /// The services that come up, with those that they depend on; all where none is named.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only: Vec<String>,
    },
    /// Wait until every service is healthy.
    Wait { name: String, health_check: ProjectHealth },
    /// Save the release: from here on the new project is the one that stays.
    SaveRelease(Box<Release>),
    /// `rm --stop --force`: the containers go, networks and volumes stay.
    Stop { project: Project },
    /// `stop`: the containers stay, and end.
    Halt { project: Project },
    /// `down`: containers and networks go, volumes stay.
    Down { project: Project },
    /// Remove the project's containers but these, which were there before.
    Withdraw { name: String, but: Vec<Target> },
    /// Run a service once as a task, to its end, and remove its container.
    RunTask(Box<ComposeTask>),
    /// Remove the snapshot of a release that is retained no longer.
    DeleteSnapshot { snapshot: PathBuf },
}

impl ComposeOperation {
    /// The command line of Compose, where the operation is one.
    pub fn argv(&self) -> Option<Vec<String>> {
        match self {
            Self::Up { project, within, only, .. } => {
                let seconds = within.map(|seconds| seconds.to_string());
                let mut command = vec!["up", "--detach", "--remove-orphans", "--no-build"];
                command.extend(seconds.iter().flat_map(|seconds| ["--timeout", seconds]));
                let named = if only.is_empty() { &project.services } else { only };
                command.extend(named.iter().map(String::as_str));
                Some(project.argv(&command))
            }
            Self::Stop { project } => Some(project.argv(&["rm", "--stop", "--force"])),
            Self::Halt { project } => Some(project.argv(&["stop"])),
            // It was never healthy, and an undo has little time.
            Self::Down { project } => Some(project.argv(&["down", "--remove-orphans", "--timeout", "0"])),
            Self::RunTask(task) => Some(task.argv()),
            Self::Snapshot(_)
            | Self::CheckOut { .. }
            | Self::EndStops { .. }
            | Self::Wait { .. }
            | Self::SaveRelease(_)
            | Self::Withdraw { .. }
            | Self::DeleteSnapshot { .. } => None,
        }
    }

    /// What its execution must know of it.
    pub(crate) const fn traits(&self) -> Traits {
        match self {
            Self::Snapshot(_) | Self::DeleteSnapshot { .. } => Role::Passive.brief(),
            // Files alone restore nothing.
            Self::CheckOut { .. } => Role::Prepares.brief(),
            Self::EndStops { .. } => Role::Prepares.brief().hastening(),
            Self::RunTask(_) => Role::Prepares.long(),
            Self::Stop { .. } | Self::Down { .. } | Self::Withdraw { .. } => Role::Prepares.long().restoring(),
            Self::Halt { .. } => Role::Interrupts.long(),
            Self::Up { .. } => Role::Interrupts.long().restoring(),
            Self::Wait { .. } => Role::ChecksHealth.long().restoring(),
            Self::SaveRelease(_) => Role::Saves.brief(),
        }
    }

    pub(crate) fn details(&self) -> Vec<String> {
        match self {
            Self::Snapshot(snapshot) => snapshot.override_file.lines().map(str::to_owned).collect(),
            Self::Up { services, .. } => services.iter().map(ToString::to_string).collect(),
            Self::CheckOut { .. }
            | Self::EndStops { .. }
            | Self::Wait { .. }
            | Self::SaveRelease(_)
            | Self::Stop { .. }
            | Self::Halt { .. }
            | Self::Down { .. }
            | Self::RunTask(_)
            | Self::Withdraw { .. }
            | Self::DeleteSnapshot { .. } => Vec::new(),
        }
    }

    pub(crate) fn title(&self) -> String {
        match self {
            Self::Up { project, .. } => format!("docker compose --project-name {} … up --detach", project.name),
            Self::Stop { project } => format!("docker compose --project-name {} … rm --stop --force", project.name),
            Self::Halt { project } => format!("docker compose --project-name {} … stop", project.name),
            Self::Down { project } => format!("docker compose --project-name {} … down", project.name),
            Self::RunTask(task) => task.title(),
            Self::Snapshot(_)
            | Self::CheckOut { .. }
            | Self::EndStops { .. }
            | Self::Wait { .. }
            | Self::SaveRelease(_)
            | Self::Withdraw { .. }
            | Self::DeleteSnapshot { .. } => self.to_string(),
        }
    }

    /// The same operation by the Compose that this host has now, where that was looked up.
    pub(crate) fn run_by(mut self, tool: &Known<Tool>) -> Self {
        match &mut self {
            Self::CheckOut { project }
            | Self::Up { project, .. }
            | Self::Stop { project }
            | Self::Halt { project }
            | Self::Down { project } => {
                *project = project.run_by(tool);
            }
            Self::RunTask(task) => task.project = task.project.run_by(tool),
            Self::Snapshot(_)
            | Self::EndStops { .. }
            | Self::Wait { .. }
            | Self::SaveRelease(_)
            | Self::Withdraw { .. }
            | Self::DeleteSnapshot { .. } => {}
        }
        self
    }

    /// The project that Compose is called for, now or next.
    const fn project(&self) -> Option<&Project> {
        match self {
            Self::CheckOut { project }
            | Self::Up { project, .. }
            | Self::Stop { project }
            | Self::Halt { project }
            | Self::Down { project } => Some(project),
            Self::RunTask(task) => Some(&task.project),
            Self::Snapshot(_)
            | Self::EndStops { .. }
            | Self::Wait { .. }
            | Self::SaveRelease(_)
            | Self::Withdraw { .. }
            | Self::DeleteSnapshot { .. } => None,
        }
    }
}

impl fmt::Display for ComposeOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(snapshot) => {
                let (folder, to) = (&snapshot.folder, snapshot.project.snapshot());
                let (files, bytes) = (folder.files, megabytes(folder.bytes));
                write!(f, "snapshot {} ({files} files, {bytes}) to {}", folder.path.display(), to.display())
            }
            Self::CheckOut { project } => {
                write!(f, "check out {} to {}", project.snapshot().display(), project.directory().display())
            }
            Self::Up { .. } | Self::Stop { .. } | Self::Halt { .. } | Self::Down { .. } => {
                f.write_str(&command_line(&self.argv().unwrap_or_default()))
            }
            Self::RunTask(task) => write!(f, "{task}"),
            Self::EndStops { name } => write!(f, "kill containers of {name} that are being stopped"),
            Self::Wait { name, health_check } => write!(f, "check health of {name}: {health_check}"),
            Self::SaveRelease(release) => write!(f, "save release: {release}"),
            Self::Withdraw { name, but } => {
                let but: Vec<_> = but.iter().map(|kept| kept.name.as_str()).collect();
                write!(f, "docker rm --force what project {name} has beside {}", but.join(", "))
            }
            Self::DeleteSnapshot { snapshot } => write!(f, "delete snapshot {}", snapshot.display()),
        }
    }
}

impl ComposeOperation {
    /// Does it. Nothing is done for a project of Compose 1, which an old release may name.
    /// Errors: [`Kind::State`] where files cannot be written, [`Kind::Container`] with Compose's words,
    /// [`Kind::Health`].
    pub(crate) async fn perform(&self, host: &mut Host) -> Result<Outcome, Failure> {
        self.project().map_or(Ok(()), |project| project.tool.check())?;
        match self {
            Self::Snapshot(new) => {
                let said = snapshot::take(new).map_err(|error| unwritable(&new.project, &error))?;
                return Ok(Outcome::with(said.into_iter().collect()));
            }
            Self::CheckOut { project } => check_out(project).map_err(|error| unwritable(project, &error))?,
            Self::EndStops { .. } => host.engine.end_stops(&host.name).await?,
            Self::Up { project, .. } => return Box::pin(up(host, project, self)).await.map(Outcome::with),
            Self::Stop { project } => run(host, project, self, "rm", None).await?,
            Self::Halt { project } => run(host, project, self, "stop", None).await?,
            Self::Down { project } => run(host, project, self, "down", None).await?,
            Self::RunTask(task) => Box::pin(task::run(host, task)).await?,
            Self::Wait { name, health_check } => {
                wait::wait(&mut host.health, &host.engine, name, health_check).await?;
            }
            Self::SaveRelease(release) => {
                let observed = containers::observe(&host.engine, host.name.as_str()).await?;
                let last = host.store.store().releases();
                let options = drift::observe(&host.engine, host.name.as_str(), (last.first(), release.salt())).await?;
                let observed = Observed { options, ..observed };
                host.save(release, observed)?;
            }
            Self::Withdraw { name, but } => unsaved::withdraw(&host.engine, name, but).await?,
            Self::DeleteSnapshot { snapshot } => snapshot::delete(snapshot)
                .map_err(|error| Failure::new(Kind::State, format!("cannot remove {}: {error}", snapshot.display())))?,
        }
        Ok(Outcome::changed())
    }

    pub(crate) async fn evidence(&self, host: &Host, moment: Moment) -> Vec<String> {
        let Moment::Failed(Kind::Deadline | Kind::Interrupted) = moment else { return Vec::new() };
        match self {
            Self::Wait { .. } => wait::cut_off(&host.health, &host.engine).await,
            Self::Up { project, .. } => wait::up_cut_off(&host.engine, &project.name).await,
            Self::Snapshot(_)
            | Self::CheckOut { .. }
            | Self::EndStops { .. }
            | Self::SaveRelease(_)
            | Self::Stop { .. }
            | Self::Halt { .. }
            | Self::Down { .. }
            | Self::RunTask(_)
            | Self::Withdraw { .. }
            | Self::DeleteSnapshot { .. } => Vec::new(),
        }
    }
}

pub(crate) fn unwritable(project: &Project, error: &io::Error) -> Failure {
    Failure::new(Kind::State, format!("the files of project {}: {error}", project.name))
        .next(format!("look at {}", project.state.display()))
}
