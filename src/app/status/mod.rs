//! `status`: what was deployed on this host, as the engine and the kernel have it now.

mod metrics;
pub(crate) mod observe;
mod tasks;

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::app::{Context, names, reach, say, say_as};
use crate::cli::Format;
use crate::deploy::history::Ended;
use crate::deploy::journal::Left;
use crate::deploy::state::Store;
use crate::engine::Engine;
use crate::error::{Failure, Kind};
use crate::modes::drift::{Drift, drift};
use crate::modes::health_now::health_now;
use crate::modes::operation::Operation;
use crate::modes::release::Release;
use crate::poll;
use crate::ui::status::metrics as ui_metrics;
use crate::ui::status::{self, Deployed, Health, LastFailure, NameStatus, Ports};
use crate::ui::text::Console;
use crate::values::pin::ImagePin;
use crate::values::types::Name;

/// How often `--watch` looks.
const EVERY: Duration = Duration::from_secs(2);

/// As long as a person may look.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is wanted of `status`.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: Option<&'a Name>,
    pub(crate) format: Format,
    pub(crate) exit_code: bool,
    pub(crate) watch: bool,
    pub(crate) metrics: Option<Metrics<'a>>,
}

/// For which monitoring.
#[derive(Clone, Copy)]
pub(crate) enum Metrics<'a> {
    /// Into a file, or to standard output.
    Prometheus(Option<&'a Path>),
    /// CloudWatch's embedded metric format.
    Emf,
}

pub(crate) async fn status(context: &Context, wanted: Wanted<'_>) -> u8 {
    let said = context.engine().ok().and_then(|engine| reach::said(&engine));
    Console::stderr().lines(&said.unwrap_or_default());
    let looks = async || {
        let code = once(context, wanted).await;
        Ok::<_, Infallible>((!wanted.watch).then_some(code))
    };
    let Ok(code) = poll::until(FOR_EVER, EVERY, looks).await;
    code.unwrap_or_default()
}

async fn once(context: &Context, wanted: Wanted<'_>) -> u8 {
    let found = Box::pin(deployed(context, wanted.name)).await;
    if let Some(kind) = wanted.metrics {
        return measured(context, kind, found, wanted.exit_code);
    }
    let found = match found {
        Ok(found) => found,
        Err(failure) => return say_as(wanted.format == Format::Json, &failure),
    };
    let mut console = Console::stdout();
    if wanted.watch {
        console.clears();
    }
    match wanted.format {
        Format::Text => console.page(&status::text(&found)),
        Format::Json => console.whole(&format!("{:#}\n", status::json(&found))),
    }
    exit_code(&found, wanted.exit_code)
}

/// The metrics of what was found. Where the engine does not answer, Prometheus is told that, and no older file stays.
fn measured(context: &Context, kind: Metrics<'_>, found: Result<Deployed, Failure>, is_wanted: bool) -> u8 {
    let names = found.as_ref().map(|found| metrics::measure(context, found)).unwrap_or_default();
    let is_up = found.as_ref().err().is_none_or(|failure| failure.kind != Kind::Engine);
    let text = match kind {
        Metrics::Prometheus(_) => ui_metrics::prometheus(is_up, &names),
        Metrics::Emf => ui_metrics::emf(&names, &hostname(), Timestamp::now().as_millisecond()),
    };
    let written = match kind {
        Metrics::Prometheus(Some(file)) => metrics::publish(file, &text),
        Metrics::Prometheus(None) | Metrics::Emf => {
            Console::stdout().whole(&text);
            Ok(())
        }
    };
    match (found, written) {
        (Err(failure), _) | (Ok(_), Err(failure)) => say(&failure),
        (Ok(found), Ok(())) => exit_code(&found, is_wanted),
    }
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

fn exit_code(found: &Deployed, is_wanted: bool) -> u8 {
    match (is_wanted, found.is_interrupted(), found.is_well()) {
        (false, _, _) | (true, false, true) => 0,
        (true, true, _) => Kind::Undo.exit_code(),
        (true, false, false) => Kind::Health.exit_code(),
    }
}

async fn deployed(context: &Context, wanted: Option<&Name>) -> Result<Deployed, Failure> {
    let engine = context.engine()?;
    let mut containers = engine.status().await?;
    let services = observe::services(&engine).await?;
    let is_worker = services.is_none();
    let mut services = services.unwrap_or_default();
    if let Some(wanted) = wanted {
        containers.retain(|container| container.name == wanted.as_str());
        services.retain(|service| service.name == wanted.as_str());
    }
    let is_there = !containers.is_empty() || !services.is_empty();
    let known = saved(context, &engine, wanted, is_there)?;
    let is_stopped = |name: &&Name| Store::new(&context.settings.state_dir, name).is_stopped();
    let of_services = services.iter().filter(|service| service.is_stopped).map(|service| service.name.clone());
    let stopped = known.iter().filter(is_stopped).map(ToString::to_string).chain(of_services).collect();
    let mut all = Vec::new();
    for name in known {
        all.push(one(context, &engine, name, &containers).await);
    }
    Ok(Deployed { names: all, containers, services, is_worker, stopped })
}

/// The names of which this host has saved something. Where its state was lost, the engine has it; and what it has saved says
/// nothing of another host's engine.
/// Errors: [`Kind::State`]: there is nothing of the name that is wanted.
fn saved(context: &Context, engine: &Engine, wanted: Option<&Name>, is_there: bool) -> Result<Vec<Name>, Failure> {
    match (names(context, wanted), wanted) {
        (_, Some(name)) if engine.endpoint.is_remote() && !is_there => {
            Err(Failure::new(Kind::State, format!("the engine at {} has nothing of {name}", engine.endpoint)))
        }
        _ if engine.endpoint.is_remote() => Ok(Vec::new()),
        (Err(_), _) if is_there => Ok(Vec::new()),
        (found, _) => found,
    }
}

/// Those that nothing prunes; of one whose image another tool removed that is said.
async fn pinned(engine: &Engine, name: &Name, releases: &[Release]) -> Vec<String> {
    let mut all = Vec::new();
    for release in releases.iter().filter(|release| release.pinned) {
        let missing = release.missing(engine, name).await.unwrap_or_default();
        let is_lost = missing.iter().any(|image| !matches!(image, ImagePin::Registry { .. }));
        all.push(if is_lost { format!("{release}, whose image was removed") } else { release.to_string() });
    }
    all
}

async fn one(context: &Context, engine: &Engine, name: Name, containers: &[status::Status]) -> NameStatus {
    let store = Store::new(&context.settings.state_dir, &name);
    let releases: Vec<Release> = store.releases();
    let pinned = pinned(engine, &name, &releases).await;
    let under_way = store.is_locked();
    let runs = containers.iter().any(|container| container.name == name.as_str());
    let drift = Box::pin(drift(engine, &name, &releases)).await;
    let drift = with_rules(drift, containers, &name);
    let release = releases.into_iter().next();
    let health = match release.as_ref().filter(|_| runs && !store.is_stopped()) {
        Some(release) => health_now(engine, &name, release).await,
        None => None,
    };
    let health = health.map(|(asked, answer)| match answer {
        Ok(answers) => Health { asked, answers, bad: None },
        Err(failure) => Health { asked, answers: Vec::new(), bad: Some(failure.message) },
    });
    let left: Option<Left<Operation>> = store.left();
    let interrupted = left.filter(|_| !under_way).map(|left| match left {
        Left::Plan(interrupted) => interrupted.journal.deployment,
        Left::Format1(_) => "an earlier version".to_owned(),
    });
    NameStatus {
        release: release.as_ref().map(|release| release.image.describe()),
        more_images: release.as_ref().map_or(0, |release| release.more_images.len()),
        digest: release.as_ref().map(|release| release.image.identity().to_string()),
        deployment: release.as_ref().map(|release| release.deployment.clone()),
        revision: release.as_ref().map(|release| release.revision.clone()),
        pinned,
        saved: release.map(|release| release.observed.at),
        drift,
        health,
        last_failure: last_failure(&store),
        interrupted,
        under_way,
        name: name.to_string(),
    }
}

/// Switched ports are of this host's kernel, not of the container.
fn with_rules(drift: Option<Drift>, containers: &[status::Status], name: &Name) -> Option<Drift> {
    let mut drift = drift?;
    for container in containers.iter().filter(|container| container.name == name.as_str()) {
        if let (Ports::SwitchedPorts { ports, open: Some(false), .. }, "running") =
            (&container.ports, &*container.state)
        {
            drift.rules_are_gone(ports);
        }
    }
    Some(drift)
}

/// Why the last deployment failed, where it did.
fn last_failure(store: &Store) -> Option<LastFailure> {
    let (number, record) = store.last_deployment()?;
    let last = record.last()?;
    let Ended::Failed { cause, .. } = &last.ended else { return None };
    Some(LastFailure {
        deployment: record.label(number),
        at: last.at.clone(),
        event: last.event.to_string(),
        cause: cause.clone(),
    })
}
