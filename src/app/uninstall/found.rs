//! What there is of balehook on this host: reading only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use http::Method;
use serde_json::Value;

use crate::app::uninstall::units::{self, Unit};
use crate::app::{Context, names_in};
use crate::config::policy;
use crate::deploy::journal::Left;
use crate::deploy::state::Store;
use crate::engine::api::{Api, filter};
use crate::engine::{self, Engine, label};
use crate::error::Failure;
use crate::modes::operation::Operation;
use crate::modes::release::Release;
use crate::ports;
use crate::ports::operation::{BRIDGE, NETWORK};
use crate::values::labels::{COMPOSE_PROJECT, LABEL_NAME, LABEL_PORTS, SWARM_SERVICE};
use crate::values::pin::ImagePin;
use crate::values::target::Target;
use crate::values::types::{Name, STOP_GRACE};

/// The folder that a project's containers write into.
const PROJECT: &str = "project";

/// A container that bears our label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) target: Target,
    pub(super) runs: bool,
    /// The kernel leads its ports to it.
    pub(super) is_switched: bool,
    pub(super) project: Option<String>,
    /// As long as it may take to stop.
    pub(super) grace: Duration,
}

/// The state of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) folder: PathBuf,
    /// Where containers of a project write.
    pub(super) project: PathBuf,
    pub(super) has_project: bool,
    /// Anything beside that.
    pub(super) has_more: bool,
}

/// Everything that there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The names of which there is state.
    pub(super) names: Vec<Name>,
    /// Those of which a killed deployment left something.
    pub(super) killed: Vec<Name>,
    /// Each name's folder in the state directory.
    pub(super) state: Vec<State>,
    /// The lock of the rules, where it is there.
    pub(super) lock: Option<PathBuf>,
    pub(super) containers: Vec<Container>,
    /// What bears our label in the swarm that this node manages: the kind, as docker calls it, and the name.
    pub(super) swarm: Vec<(&'static str, String)>,
    /// Rules of ours are in the kernel's tables.
    pub(super) has_rules: bool,
    /// Our network is there; whether balehook created it.
    pub(super) network: Option<bool>,
    /// Networks that Compose made for our projects.
    pub(super) project_networks: Vec<String>,
    /// Our tags.
    pub(super) tags: Vec<String>,
    /// References of images that deployments gave the engine.
    pub(super) images: Vec<String>,
    pub(super) units: Vec<Unit>,
    /// What the program itself goes by.
    pub(super) program: Option<String>,
    pub(super) policy: Option<PathBuf>,
}

pub(super) async fn observe(context: &Context, engine: &Engine) -> Result<Found, Failure> {
    let state_dir = &context.settings.state_dir;
    let names = names_in(state_dir);
    let containers = containers(engine).await?;
    let projects: BTreeSet<&String> = containers.iter().filter_map(|one| one.project.as_ref()).collect();
    let network = ports::observe::network(engine).await?;
    let is_killed =
        |name: &&Name| Store::new(state_dir, name).left::<Operation>().is_some_and(|_: Left<Operation>| true);
    let policy = context.settings.policy.clone().unwrap_or_else(|| policy::PATH.into());
    let (units, program) = units::observe(&context.credentials().path).await;
    Ok(Found {
        killed: names.iter().filter(is_killed).cloned().collect(),
        state: state(state_dir),
        lock: Some(ports::lock_file(state_dir)).filter(|lock| lock.exists()),
        has_rules: ports::has_rules(engine, ports::were_switched(state_dir)).await?,
        network: network.map(|(facts, _)| facts.is_ok_and(|facts| facts.bridge == BRIDGE)),
        project_networks: engine.project_networks(&projects).await?,
        tags: engine.all_retention_tags().await?,
        images: images(state_dir, &names),
        swarm: swarm(engine).await,
        units,
        program,
        policy: Some(policy).filter(|path| path.exists()),
        names,
        containers,
    })
}

/// The folders of names: what an earlier `uninstall` left of a project too.
fn state(state_dir: &Path) -> Vec<State> {
    let entries = fs::read_dir(state_dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut all: Vec<State> = entries
        .filter(|folder| folder.join("lock").exists() || folder.join(PROJECT).exists())
        .map(|folder| {
            let project = folder.join(PROJECT);
            let more = fs::read_dir(&folder).into_iter().flatten().flatten().any(|entry| entry.path() != project);
            State { has_project: project.exists(), has_more: more, project, folder }
        })
        .collect();
    all.sort_by(|a, b| a.folder.cmp(&b.folder));
    all
}

async fn containers(engine: &Engine) -> Result<Vec<Container>, Failure> {
    let mut all = Vec::new();
    // The swarm ends the tasks of a service with it.
    let is_ours = |one: &ContainerSummary| label(one, LABEL_NAME).is_some() && label(one, SWARM_SERVICE).is_none();
    for summary in engine.list().await?.iter().filter(|one| is_ours(one)) {
        let Some(seen) = engine.inspect(summary.id.as_deref().unwrap_or_default()).await? else { continue };
        let seconds = seen.config.and_then(|config| config.stop_timeout);
        all.push(Container {
            target: Target { name: engine::name_of(summary), id: summary.id.clone() },
            runs: summary.state == Some(ContainerSummaryStateEnum::RUNNING),
            is_switched: label(summary, LABEL_PORTS).is_some(),
            project: label(summary, COMPOSE_PROJECT),
            grace: seconds.and_then(|s| u64::try_from(s).ok()).map_or(STOP_GRACE, Duration::from_secs),
        });
    }
    all.sort_by(|a, b| a.target.name.cmp(&b.target.name));
    Ok(all)
}

/// What imports gave the engine, and what releases run by.
fn images(state_dir: &Path, names: &[Name]) -> Vec<String> {
    let mut images = BTreeSet::new();
    for name in names {
        let store = Store::new(state_dir, name);
        images.extend(store.imported().into_iter().flat_map(|imported| imported.references));
        let releases: Vec<Release> = store.releases();
        let pulled = releases.iter().flat_map(Release::images).filter(|pin| matches!(pin, ImagePin::Registry { .. }));
        images.extend(pulled.map(ImagePin::argument));
    }
    images.into_iter().collect()
}

/// Services, and what only services use, in this order; nothing where this node manages no swarm.
async fn swarm(engine: &Engine) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for kind in ["service", "config", "secret"] {
        let path = format!("/{kind}s?{}", filter("label", LABEL_NAME));
        let found: Value = Api::of(engine).once(Method::GET, &path, None, None).await.unwrap_or_default();
        let names = found.as_array().into_iter().flatten().filter_map(|one| one["Spec"]["Name"].as_str());
        all.extend(names.map(|name| (kind, name.to_owned())));
    }
    all
}

/// The name of our network, as it is printed.
pub(super) const OUR_NETWORK: &str = NETWORK;
