//! What can be done with one container: each operation, its one rendering, and its effect.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::deploy::release::Observed;
use crate::engine::facts::ContainerFacts;
use crate::engine::request::ContainerSpec;
use crate::engine::{logs, summary};
use crate::error::Failure;
use crate::health;
use crate::health::check::HealthCheck;
use crate::modes;
use crate::modes::container::volumes;
use crate::modes::facts::Facts;
use crate::modes::fill;
use crate::modes::host::Host;
use crate::modes::options::of_container;
use crate::modes::release::Release;
use crate::ports::{self, conflict};
use crate::values::labels::{LABEL_ADDRESS, LABEL_PORTS};
use crate::values::operation::{Moment, Outcome, Role, Traits};
use crate::values::options::SetOption;
use crate::values::target::Target;

/// One operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names say it
pub enum ContainerOperation {
    /// Create a container, without starting it.
    Create(Box<ContainerSpec>),
    /// Create the container of a saved release anew where it was removed. Nothing to do where it is there.
    Recreate { container: Target, spec: Box<ContainerSpec> },
    /// Ask it to stop; kill it when the grace period is over.
    Stop { container: Target, grace: Duration },
    /// End it at once. Nothing to do when it does not run.
    Kill { container: Target },
    /// Give it another name. Nothing to do when it has it already.
    Rename { container: Target, to: String },
    /// Start it. Nothing to do when it runs.
    Start { container: Target },
    /// Wait until it is healthy.
    CheckHealth { container: Target, health_check: HealthCheck },
    /// Save the release, with what was observed by then: from here on the new container is the one that stays.
    SaveRelease { container: Target, release: Box<Release> },
    /// Remove it, running or not, with its anonymous volumes or without. Nothing to do when it is gone.
    Remove { container: Target, volumes: bool },
}

impl ContainerOperation {
    pub(crate) fn options(&self) -> Vec<SetOption> {
        match self {
            Self::Create(spec) => of_container(spec),
            Self::Recreate { .. }
            | Self::Stop { .. }
            | Self::Kill { .. }
            | Self::Rename { .. }
            | Self::Start { .. }
            | Self::CheckHealth { .. }
            | Self::SaveRelease { .. }
            | Self::Remove { .. } => Vec::new(),
        }
    }

    /// A container of the last release runs again: it is healthy by that release's own questions.
    pub(crate) fn check_back(facts: &Facts, container: &ContainerFacts) -> Self {
        let saved = facts.releases.first().filter(|release| release.observed.container == container.id);
        let saved = saved.and_then(|release| release.part.container.as_ref()).map(|kept| &kept.health_check);
        Self::CheckHealth { container: container.target(), health_check: HealthCheck::back(saved) }
    }

    /// What its execution must know of it.
    pub(crate) const fn traits(&self) -> Traits {
        match self {
            Self::Create(_) | Self::Rename { .. } | Self::Start { .. } => Role::Prepares.brief().restoring(),
            Self::Kill { .. } => Role::Prepares.brief().hastening(),
            Self::Remove { .. } => Role::Prepares.brief(),
            Self::Recreate { .. } => Role::Prepares.long().restoring(),
            Self::Stop { .. } => Role::Interrupts.long(),
            Self::CheckHealth { .. } => Role::ChecksHealth.long().restoring(),
            Self::SaveRelease { .. } => Role::Saves.brief(),
        }
    }

    /// Does it.
    /// Errors: `Kind::Container` with the engine's words, `Kind::Image` where the image is lost, `Kind::Health`,
    /// `Kind::State` where the release cannot be written.
    pub(crate) async fn perform(&self, host: &mut Host, down: Option<Duration>) -> Result<Outcome, Failure> {
        match self {
            Self::Create(spec) => {
                let (id, said) = create(host, spec).await?;
                host.containers.created = Some(id);
                return Ok(Outcome::with(said));
            }
            Self::Recreate { container, spec } => return recreate(host, container, spec).await,
            Self::Stop { container, grace } => host.engine.stop(&host.containers.target(container), *grace).await?,
            Self::Kill { container } => host.engine.kill(&host.containers.target(container)).await?,
            Self::Rename { container, to } => host.engine.rename(&host.containers.target(container), to).await?,
            Self::Start { container } => {
                let target = host.containers.target(container);
                if let Err(failure) = host.engine.start(&target).await {
                    return Err(conflict::explained(&host.engine, Some(target.address()), failure).await);
                }
            }
            Self::CheckHealth { container, health_check } => {
                let container = (container.name.as_str(), host.containers.id(container));
                health::check_container(&mut host.health, &host.engine, container, health_check).await?;
            }
            Self::SaveRelease { container, release } => save(host, container, release, down).await?,
            Self::Remove { container, volumes } => {
                host.engine.remove_with(&host.containers.target(container), *volumes).await?;
            }
        }
        Ok(Outcome::changed())
    }

    /// The container's last log lines.
    pub(crate) async fn evidence(&self, host: &Host, moment: Moment) -> Vec<String> {
        let Some(container) = self.logs_of(moment) else { return Vec::new() };
        logs::log_tail(&host.engine, host.containers.target(container).address()).await
    }

    /// Whose log is read in this moment: where a check of one that was there before fails, and before one is removed.
    pub(crate) const fn logs_of(&self, moment: Moment) -> Option<&Target> {
        let ((Self::CheckHealth { container: container @ Target { id: Some(_), .. }, .. }, Moment::Failed(_))
        | (Self::Remove { container, .. }, Moment::BeforeUndo)) = (self, moment)
        else {
            return None;
        };
        Some(container)
    }
}

impl fmt::Display for ContainerOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(spec) => write!(f, "create container {} from {}", spec.name, spec.image.describe()),
            Self::Recreate { container, spec } => {
                write!(f, "create container {container} anew from {} if it is gone", spec.image.describe())
            }
            Self::Stop { container, grace } => write!(f, "docker stop --time {} {container}", grace.as_secs()),
            Self::Kill { container } => write!(f, "docker kill {container}"),
            Self::Rename { container, to } => write!(f, "docker rename {container} {to}"),
            Self::Start { container } => write!(f, "docker start {container}"),
            Self::CheckHealth { container, health_check } => write!(f, "check health of {container}: {health_check}"),
            Self::SaveRelease { container, release } => write!(f, "save release {container}: {release}"),
            Self::Remove { container, volumes: true } => write!(f, "docker rm --force --volumes {container}"),
            Self::Remove { container, volumes: false } => write!(f, "docker rm --force {container}"),
        }
    }
}

/// Creates the container; where it gets an address of its own, alone with the other names that take one.
/// Returns its ID, and what is to be said: volumes for which its image has no place, values that are others.
async fn create(host: &Host, spec: &ContainerSpec) -> Result<(String, Vec<String>), Failure> {
    let (environment, mut said) = fill::filled(&host.fetcher, &spec.environment).await?;
    let spec = &ContainerSpec { environment, ..spec.clone() };
    let image = host.images.argument(&host.engine, &spec.image).await?;
    let seen = if spec.if_declared.is_empty() { None } else { host.engine.image(&image).await? };
    let (spec, stay) = modes::volumes::declared(spec, &seen.unwrap_or_default());
    let create = host.engine.create(&spec, image);
    let created = match spec.options.body.labels.as_ref().and_then(|labels| labels.get(LABEL_ADDRESS)) {
        Some(at) => ports::create_alone(&host.engine, host.state_dir(), at, &host.name, create).await,
        None => create.await,
    };
    said.extend(stay.iter().map(volumes::stays));
    Ok((created?, said))
}

async fn recreate(host: &mut Host, container: &Target, spec: &ContainerSpec) -> Result<Outcome, Failure> {
    let target = host.containers.target(container);
    if host.engine.inspect(target.address()).await?.is_some() {
        return Ok(Outcome::unchanged());
    }
    let (id, others) = create(host, spec).await?;
    let gone = container.id.clone().unwrap_or_default();
    host.store.rename_container(&gone, &id)?;
    host.containers.anew.push((gone, id));
    let said = std::iter::once(format!("container {container} was gone: it was created anew"));
    Ok(Outcome::with(said.chain(others).collect()))
}

async fn save(host: &Host, container: &Target, release: &Release, down: Option<Duration>) -> Result<(), Failure> {
    let seen = host.engine.inspect(host.containers.id(container)).await?.unwrap_or_default();
    let labels = seen.config.and_then(|config| config.labels).unwrap_or_default();
    let switched = labels.get(LABEL_PORTS).map(|ports| ports.split(' ').map(str::to_owned).collect());
    let published = seen.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
    let volumes = summary::anonymous_volumes(seen.mounts.unwrap_or_default());
    let observed = Observed {
        volumes,
        at: jiff::Timestamp::now().to_string(),
        container: seen.id.unwrap_or_default(),
        image_id: seen.image.unwrap_or_default(),
        ports: switched.unwrap_or_else(|| logs::published(&published)),
        running: Vec::new(),
        options: Vec::new(),
        down_ms: down.and_then(|down| u64::try_from(down.as_millis()).ok()),
    };
    host.save(release, observed)
}

#[derive(Debug, Default)]
pub(crate) struct Containers {
    /// The ID of the one that the plan created.
    pub(crate) created: Option<String>,
    /// IDs of those that were gone, each with that of the one that was created in its place.
    anew: Vec<(String, String)>,
}

impl Containers {
    /// The ID or the name by which the engine is to be asked for a container.
    pub(crate) fn id<'a>(&'a self, container: &'a Target) -> &'a str {
        self.known(container).unwrap_or(&container.name)
    }

    pub(crate) fn target(&self, container: &Target) -> Target {
        Target { id: self.known(container).map(str::to_owned), ..container.clone() }
    }

    fn known<'a>(&'a self, container: &'a Target) -> Option<&'a str> {
        let anew = self.anew.iter().find(|(gone, _)| container.id.as_ref() == Some(gone));
        anew.map(|(_, id)| id).or(container.id.as_ref()).or(self.created.as_ref()).map(String::as_str)
    }
}
