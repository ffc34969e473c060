//! `status`: what was deployed on this host, as the engine and the kernel have it now.

pub(crate) mod observe;

use std::convert::Infallible;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use crate::app::{Context, layout, names, say_as};
use crate::cli::Format;
use crate::deploy::history::Ended;
use crate::deploy::journal::Left;
use crate::deploy::state::Store;
use crate::engine::Engine;
use crate::error::{Failure, Kind};
use crate::modes::health_now::health_now;
use crate::modes::operation::Operation;
use crate::modes::release::Release;
use crate::poll;
use crate::ui::status::{self, Deployed, Health, LastFailure, NameStatus};
use crate::ui::text::Console;
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
}

pub(crate) async fn status(context: &Context, wanted: Wanted<'_>) -> u8 {
    let looks = async || {
        let code = once(context, wanted).await;
        Ok::<_, Infallible>((!wanted.watch).then_some(code))
    };
    let Ok(code) = poll::until(FOR_EVER, EVERY, looks).await;
    code.unwrap_or_default()
}

async fn once(context: &Context, wanted: Wanted<'_>) -> u8 {
    let found = match deployed(context, wanted.name).await {
        Ok(found) => found,
        Err(failure) => return say_as(wanted.format == Format::Json, &failure),
    };
    let text = match wanted.format {
        Format::Text => status::text(&found),
        Format::Json => format!("{:#}\n", status::json(&found)),
    };
    if wanted.watch && io::stdout().is_terminal() {
        let _ = console::Term::stdout().clear_screen();
    }
    Console::new(&mut io::stdout()).laid_out(layout(wanted.format), &text);
    match (wanted.exit_code, found.is_interrupted(), found.is_well()) {
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
    let known = match names(context, wanted) {
        Ok(known) => known,
        // Its state was lost, and the engine has it.
        Err(_) if is_there => Vec::new(),
        Err(failure) => return Err(failure),
    };
    let is_stopped = |name: &&Name| Store::new(&context.settings.state_dir, name).is_stopped();
    let stopped: Vec<String> = known.iter().filter(is_stopped).map(ToString::to_string).collect();
    let mut all = Vec::new();
    for name in known {
        all.push(one(context, &engine, name, &containers).await);
    }
    Ok(Deployed { names: all, containers, services, is_worker, stopped })
}

async fn one(context: &Context, engine: &Engine, name: Name, containers: &[status::Status]) -> NameStatus {
    let store = Store::new(&context.settings.state_dir, &name);
    let release: Option<Release> = store.releases().into_iter().next();
    let under_way = store.is_locked();
    let runs = containers.iter().any(|container| container.name == name.as_str());
    let health = match release.as_ref().filter(|_| runs && !store.is_stopped()) {
        Some(release) => health_now(engine, &name, release).await,
        None => None,
    };
    let health = health.map(|(asked, answer)| Health { asked, bad: answer.err().map(|failure| failure.message) });
    let left: Option<Left<Operation>> = store.left();
    let interrupted = left.filter(|_| !under_way).map(|left| match left {
        Left::Plan(interrupted) => interrupted.journal.deployment,
        Left::Format1(_) => "an earlier version".to_owned(),
    });
    NameStatus {
        release: release.as_ref().map(|release| release.image.describe()),
        more_images: release.as_ref().map_or(0, |release| release.more_images.len()),
        deployment: release.as_ref().map(|release| release.deployment.clone()),
        revision: release.as_ref().map(|release| release.revision.clone()),
        saved: release.map(|release| release.observed.at),
        health,
        last_failure: last_failure(&store),
        interrupted,
        under_way,
        name: name.to_string(),
    }
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
