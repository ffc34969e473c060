//! `resume`: after a reboot or a crash, for every name on record.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::app::{Context, run};
use crate::aws::s3::S3;
use crate::deploy::execute;
use crate::deploy::plan::{Action, Plan};
use crate::deploy::state::{ComposeRelease, Holder, Release, Store};
use crate::engine::api::Api;
use crate::engine::facts::ContainerFacts;
use crate::engine::{Engine, stopped};
use crate::error::{Failure, Kind};
use crate::images::credentials::CredentialSettings;
use crate::images::source::Archives;
use crate::modes::facts::Facts;
use crate::modes::live::LiveHost;
use crate::modes::operation::Operation;
use crate::modes::swarm::operation::SwarmOperation;
use crate::modes::{compose, container, swarm};
use crate::ui::text::Console;
use crate::ui::{log, text};
use crate::values::known::Known;
use crate::values::names::{new_name, old_name};
use crate::values::types::Name;
use crate::{engine, ports};

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(300);

/// How long an engine may take to write its rules after a firewall was started.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whether a part of it is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Only {
    /// No: all of it.
    Everything,
    /// The tokens of registries in a swarm.
    Tokens,
    /// The rules of handed ports.
    Ports,
}

/// Finishes or undoes what was interrupted, starts the recorded containers that do not run, renews the tokens of
/// registries in a swarm; or only a part of that.
pub(crate) async fn resume(context: &Context, only: Only) -> u8 {
    let mut stdout = io::stdout();
    let mut console = Console::new(&mut stdout);
    let mut worst = 0;
    for name in names(&context.settings.state_dir) {
        if let Err(failure) = one(context, &name, only, &mut console).await {
            if only != Only::Ports || failure.kind != Kind::Locked {
                console.lines(&text::failure(&failure));
            }
            worst = worst.max(failure.kind.exit_code());
        }
    }
    worst
}

fn names(state_dir: &PathBuf) -> Vec<Name> {
    let Ok(entries) = std::fs::read_dir(state_dir) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.path().join("lock").exists());
    let mut names: Vec<Name> = folders.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    names.sort_unstable();
    names
}

async fn one(context: &Context, name: &Name, only: Only, console: &mut Console<'_>) -> Result<(), Failure> {
    // Those who look after the ports may be there for long.
    let deadline = if only == Only::Ports { Instant::now() } else { context.started } + LIMIT;
    let store = Store::new(&context.settings.state_dir, name);
    let me = Holder { pid: std::process::id(), deployment: "resume".into(), event: "resume".into() };
    let waiting = |holder: &str| console.line(&format!("waiting: {holder} deploys {name}"));
    // Nobody's rules wait for the deployment of another name.
    let patience = if only == Only::Ports { Duration::ZERO } else { LIMIT };
    let locked = store.clone().lock(&me, deadline.min(Instant::now() + patience), waiting).await?;
    log::start(&context.settings, Some(store.folder()));
    let engine = Engine::connect(context.env.lookup("DOCKER_HOST"))?;
    let mut plan = match only {
        Only::Everything => everything(&engine, name, &see(&engine, &store, name).await?).await,
        Only::Tokens => Plan::new("resume", name),
        Only::Ports => ports(name, &see(&engine, &store, name).await?),
    };
    match only {
        Only::Everything | Only::Tokens => plan.actions.extend(token(&engine, name, only == Only::Tokens).await),
        // It is asked often, and then there is nothing to say.
        Only::Ports if plan.actions.is_empty() => return Ok(()),
        Only::Ports => {}
    }
    let variable = |key: &str| context.env.lookup(key).map(str::to_owned);
    let (archives, credentials) = (Archives::new(S3::from_env(&variable)), CredentialSettings::from_env(&variable));
    let mut host = LiveHost::new(name.clone(), engine, archives, credentials, locked, usize::MAX);
    plan.notes.iter().for_each(|note| console.line(note));
    let stop = run::stop_signal(deadline, LIMIT)?;
    let outcome = execute::run(&plan, &mut host, &mut run::ConsoleProgress { console: &mut *console }, stop).await;
    if let Err(failed) = outcome {
        console.lines(&text::failed("resume", name.as_str(), plan.actions.len(), &failed));
        let (kind, what) = match only {
            Only::Everything => (Kind::Undo, "could not be brought back"),
            Only::Tokens => (Kind::Image, "got no new token"),
            Only::Ports => (Kind::Undo, "is not reached by its ports"),
        };
        return Err(Failure::new(kind, format!("{name} {what}")));
    }
    if only == Only::Everything {
        host.store.close_journal();
    }
    let is_change = plan.has_changes();
    console.line(&format!("{name}: {}", if is_change { "brought back" } else { "nothing was left" }));
    Ok(())
}

/// Whether the container ought to run, and does not; what somebody stopped by hand stays so, which is said.
async fn is_down(engine: &Engine, plan: &mut Plan, name: &str, found: Option<&ContainerFacts>) -> bool {
    match found {
        None => true,
        Some(container) if container.is_running() => false,
        Some(container) => {
            let is_wanted_so = stopped::by_hand(engine, &container.id).await;
            if is_wanted_so {
                plan.notes.push(format!("{name} was stopped by hand and stays so: docker start {name}"));
            }
            !is_wanted_so
        }
    }
}

/// Brings a project back where any of its containers is down that ran when the release was recorded.
async fn bring_back(engine: &Engine, plan: &mut Plan, release: &Release, project: &ComposeRelease, facts: &Facts) {
    let (mut down, mut stopped) = (Vec::new(), Vec::new());
    for name in &release.observed.running {
        let found = facts.containers.iter().find(|container| container.name == *name);
        let service = found.and_then(|container| container.service.as_deref());
        if is_down(engine, plan, name, found).await {
            down.push(service);
        } else if found.is_some_and(|container| !container.is_running()) {
            stopped.push(service);
        }
    }
    // Of one service a container may have been stopped by hand, and another one be down by itself.
    let left: Vec<&str> = stopped.into_iter().filter(|service| !down.contains(service)).flatten().collect();
    if !down.is_empty() {
        plan.actions.extend(compose::plan::back_but(project, &left).into_iter().map(Action::required));
    }
}

/// What the engine and the record have of a name, and where the ports lead.
async fn see(engine: &Engine, store: &Store, name: &Name) -> Result<Facts, Failure> {
    let hello = engine.hello().await?;
    let all = engine.list().await?;
    let names = [name.to_string(), new_name(name), old_name(name)];
    let ours = engine.ours(&all, name, &names).await?;
    let has_switched = ours.iter().any(|container| container.switched.is_some());
    let look = ports::observe::Observer {
        engine: Some(engine),
        api: Some(hello.api),
        name: name.as_str(),
        service: None,
        all: &all,
        ours: &ours,
        subnet: None,
        patience: PATIENCE,
    };
    let ports = if has_switched { Some(look.facts().await?) } else { None };
    let task_containers = engine::task_containers(&all, name);
    let engine = Known::Yes(hello);
    Ok(Facts { containers: ours, task_containers, engine, ports, ..Facts::unseen(store) })
}

fn ports(name: &Name, facts: &Facts) -> Plan {
    let recovery = container::recover::ports(name, facts);
    Plan { notes: recovery.note.into_iter().collect(), actions: recovery.actions, ..Plan::new("resume", name) }
}

async fn everything(engine: &Engine, name: &Name, facts: &Facts) -> Plan {
    let mut plan = Plan::new("resume", name);
    let recorded = facts.releases.first().and_then(|release| Some((release, release.compose.as_ref()?)));
    if facts.journal.as_ref().is_some_and(|journal| journal.compose.is_some()) || recorded.is_some() {
        plan.subject = compose::plan::SUBJECT;
        if !compose::plan::recover(&mut plan, facts, false)
            && let Some((release, project)) = recorded
            // After ApplicationStop, or `docker compose down`, none is left to be brought back.
            && !facts.containers.is_empty()
        {
            bring_back(engine, &mut plan, release, project, facts).await;
        }
        return plan;
    }
    let recovery = container::recover::recover(name, facts);
    plan.notes.extend(recovery.note);
    plan.actions = recovery.actions;
    let recorded = facts.releases.first().map(|release| release.observed.container.as_str());
    if let Some(serving) = recovery.serving.filter(|found| Some(found.id.as_str()) == recorded)
        && is_down(engine, &mut plan, &serving.name, Some(&serving)).await
    {
        plan.actions.push(Action::required(Operation::Start { container: container::recover::target(&serving) }));
    }
    plan
}

/// A registry's token ends with its time, ECR's after 12 hours: a node that needs the image then could not pull it.
async fn token(engine: &Engine, name: &Name, only_tokens: bool) -> Option<Action> {
    let registry = swarm::perform::registry_of(&Api::of(engine), name).await?;
    let step = Operation::Swarm(SwarmOperation::Refresh { service: name.to_string(), registry });
    // At boot what runs is more than a token.
    Some(if only_tokens { Action::required(step) } else { Action::best_effort(step) })
}
