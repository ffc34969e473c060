//! Compose projects on the real host.

use std::io;
use std::time::Duration;

use crate::deploy::state::Observed;
use crate::engine::Engine;
use crate::error::{Failure, Kind};
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::compose::project::{COPIES, Project};
use crate::modes::compose::task::ComposeTask;
use crate::modes::compose::tool::{Processes, check_pair};
use crate::modes::compose::{snapshot, tool, wait};
use crate::modes::host::Host;
use crate::tasks::command;
use crate::values::operation::Outcome;
use crate::values::types::{EnvVar, Secret};

/// Compose is given so long; the hook's deadline comes first.
const LIMIT: Duration = Duration::from_secs(4 * 3600);

impl ComposeOperation {
    /// Does it.
    ///
    /// # Errors
    /// [`Kind::State`] where files cannot be written, [`Kind::Container`] with Compose's words, [`Kind::Health`].
    pub(crate) async fn perform(&self, host: &mut Host) -> Result<Outcome, Failure> {
        match self {
            Self::Retain(copy) => snapshot::keep(copy).map_err(|error| unwritable(&copy.project, &error))?,
            Self::Place { project } => snapshot::place(project).map_err(|error| unwritable(project, &error))?,
            Self::Up { project, .. } => up(host, project, self).await?,
            Self::Stop { project } | Self::Down { project } => call(host, project, self).await?,
            Self::RunTask(task) => run_task(host, task).await?,
            Self::Wait { name, health_check } => {
                wait::wait(&mut host.health, &host.engine, name, health_check).await?;
            }
            Self::SaveRelease(release) => {
                let observed = observe(&host.engine, host.name.as_str()).await?;
                host.save(release, observed)?;
            }
            Self::Forget { id, .. } => {
                let copy = host.store.store().folder().join(COPIES).join(id);
                std::fs::remove_dir_all(&copy)
                    .map_err(|error| Failure::new(Kind::State, format!("cannot remove {}: {error}", copy.display())))?;
            }
        }
        Ok(Outcome::changed())
    }
}

/// A dependency that is unhealthy or ended with an error is why Compose failed, and its log says more than Compose.
async fn up(host: &Host, project: &Project, operation: &ComposeOperation) -> Result<(), Failure> {
    let Err(failure) = call(host, project, operation).await else { return Ok(()) };
    let broken = wait::broken_now(&host.engine, &project.name).await;
    Err(broken.map_or(failure.clone(), |broken| Failure {
        message: format!("{} ({})", broken.message, failure.message),
        ..broken
    }))
}

/// Runs a service once, to its end. Compose leaves its container behind where it is killed.
///
/// # Errors
/// [`Kind::Task`] with its last lines; [`Kind::State`], [`Kind::Container`] where Compose cannot be run.
async fn run_task(host: &mut Host, task: &ComposeTask) -> Result<(), Failure> {
    let variables = variables(&task.project)?;
    let processes = Processes { settings: &host.images.credentials, docker_host: &host.engine.address };
    let mut process = processes.command(&task.argv(), &variables);
    command::set(&mut process, &task.environment);
    let cannot =
        |error| Failure::new(Kind::Container, format!("cannot run {}: {error}", task.project.tool.argv.join(" ")));
    let ended = command::run(&mut host.tasks.under_way, &task.name, process, task.timeout).await.map_err(cannot)?;
    let removed = host.engine.remove(&task.container).await;
    ended.and(removed)
}

/// Runs Compose with the very words that the step prints. Where the Compose of a recorded release is gone, with the one
/// that is there.
async fn call(host: &Host, project: &Project, step: &ComposeOperation) -> Result<(), Failure> {
    let processes = Processes { settings: &host.images.credentials, docker_host: &host.engine.address };
    let variables = variables(project)?;
    let mut argv = step.argv().unwrap_or_default();
    let first = argv.first().cloned().unwrap_or_default();
    let mut tool = project.tool.clone();
    if first.contains('/') && !std::path::Path::new(&first).is_file() {
        tool = processes.find().await?;
        argv.splice(..project.tool.argv.len(), tool.argv.iter().cloned());
    }
    if matches!(step, ComposeOperation::Up { .. }) {
        // The engine, too, may be another one than that of the release on record.
        check_pair(&tool, &host.engine.hello().await?)?;
    }
    let output = processes.run(&argv, &[], &variables, LIMIT).await?;
    match output.status.success() {
        true => Ok(()),
        false => {
            tracing::error!(stderr = %String::from_utf8_lossy(&output.stderr), "compose failed");
            let what = argv.iter().rfind(|word| ["up", "rm", "down"].contains(&word.as_str()));
            let what = what.map(String::as_str).unwrap_or_default();
            Err(Failure::new(Kind::Container, format!("compose {what}: {}", tool::said(&output))))
        }
    }
}

fn variables(project: &Project) -> Result<Vec<EnvVar>, Failure> {
    let all = snapshot::variables(project).map_err(|error| unwritable(project, &error))?;
    Ok(all.into_iter().map(|(name, value)| EnvVar { name, value: value.map(Secret::new), hidden: true }).collect())
}

fn unwritable(project: &Project, error: &io::Error) -> Failure {
    Failure::new(Kind::State, format!("the files of project {}: {error}", project.name))
        .next(format!("look at {}", project.state.display()))
}

/// What is seen of a project once it runs.
///
/// # Errors
/// [`Kind::Engine`].
pub async fn observe(engine: &Engine, project: &str) -> Result<Observed, Failure> {
    let all = engine.list().await?;
    let containers = wait::of_project(&all, project);
    let mut ports: Vec<String> = containers
        .iter()
        .flat_map(|(container, _)| container.ports.iter().flatten())
        .filter_map(|port| {
            let address = port.ip.clone().unwrap_or_default();
            let protocol = port.typ.map(|kind| kind.to_string()).unwrap_or_default();
            Some(format!("{address}:{}->{}/{protocol}", port.public_port?, port.private_port))
        })
        .collect();
    ports.sort_unstable();
    let is_running = |container: &&bollard::models::ContainerSummary| {
        container.state.is_some_and(|state| state == bollard::models::ContainerSummaryStateEnum::RUNNING)
    };
    let mut running: Vec<String> =
        containers.iter().map(|(container, _)| *container).filter(is_running).map(crate::engine::name_of).collect();
    running.sort_unstable();
    Ok(Observed { at: jiff::Timestamp::now().to_string(), ports, running, ..Observed::default() })
}
