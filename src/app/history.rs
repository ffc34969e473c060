//! `history`: what was deployed on this host, and how each deployment ended.

use std::io::{self, Write as _};
use std::path::Path;

use jiff::Timestamp;
use serde::de::IgnoredAny;

use crate::app::status::observe::{self, Running};
use crate::app::{Context, names, notify, say, say_as};
use crate::cli::Format;
use crate::deploy::history::DeploymentRecord;
use crate::deploy::origin::MANUAL;
use crate::deploy::release::Release;
use crate::deploy::state::Store;
use crate::error::{Failure, Kind};
use crate::files;
use crate::ui::history::{self, Listed, Serving};
use crate::ui::page::{self, Made};
use crate::ui::text::{Console, width};
use crate::values::types::Name;

/// Which deployments.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: Option<&'a Name>,
    pub(crate) deployment: Option<&'a str>,
    pub(crate) limit: usize,
}

/// Writes one deployment as a page. Returns the exit code.
pub(crate) async fn page(context: &Context, wanted: Wanted<'_>, file: &Path) -> u8 {
    let found = match listed(context, wanted).await {
        Ok(found) => found,
        Err(failure) => return say(&failure),
    };
    let log = |name: &Name, number: u64| Store::new(&context.settings.state_dir, name).kept_log(number);
    let made = Made { at: Timestamp::now().to_string(), host: notify::host().unwrap_or_default() };
    let page = page::page(&found, log, &made);
    if file == Path::new("-") {
        let _ = io::stdout().write_all(page.as_bytes());
        return 0;
    }
    match write(file, &page) {
        Ok(()) => {
            Console::stdout().success(&format!("{} is written", file.display()));
            0
        }
        Err(error) => say(&Failure::new(Kind::Usage, format!("cannot write {}: {error}", file.display()))
            .next("name a file in a folder that is there and may be written, or `-`")),
    }
}

/// Whole or not at all, and for its owner alone: it has what the containers have said.
fn write(file: &Path, page: &str) -> io::Result<()> {
    let folder = std::path::absolute(file)?.parent().unwrap_or(Path::new("/")).canonicalize()?;
    let name = file.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    files::replace(&folder.join(name), page.as_bytes())
}

pub(crate) async fn history(context: &Context, wanted: Wanted<'_>, format: Format) -> u8 {
    let found = match listed(context, wanted).await {
        Ok(found) => found,
        Err(failure) => return say_as(format == Format::Json, &failure),
    };
    let mut console = Console::stdout();
    match (format, wanted.deployment) {
        (Format::Json, _) => console.whole(&format!("{:#}\n", history::json(&found))),
        (Format::Text, Some(_)) => found.iter().for_each(|name| console.page(&history::timelines(name, width()))),
        (Format::Text, None) => console.page(&history::tables(&found, width())),
    }
    0
}

async fn listed(context: &Context, wanted: Wanted<'_>) -> Result<Vec<Listed>, Failure> {
    let Wanted { name, deployment, limit } = wanted;
    let names = names(context, name)?;
    // The history is there without the engine too.
    let running = match context.engine() {
        Ok(engine) if !engine.endpoint.is_remote() => observe::running(&engine).await.ok(),
        Ok(_) | Err(_) => None,
    };
    let mut found: Vec<Listed> = names.into_iter().map(|name| of(context, name, running.as_deref())).collect();
    if let Some(wanted) = deployment {
        for name in &mut found {
            name.deployments.retain(|(number, record, _)| is(record, *number, wanted));
            // One by hand is the newest, where no number is given.
            name.deployments.truncate(1);
        }
        found.retain(|name| !name.deployments.is_empty());
        if found.is_empty() {
            return Err(not_there(wanted));
        }
    }
    found.iter_mut().for_each(|name| name.deployments.truncate(limit));
    Ok(found)
}

/// Whether `wanted` names this deployment.
pub(super) fn is(record: &DeploymentRecord, number: u64, wanted: &str) -> bool {
    record.deployment == wanted || record.label(number) == wanted
}

pub(super) fn not_there(wanted: &str) -> Failure {
    Failure::new(Kind::State, format!("this host has no record of deployment {wanted}"))
        .next("`balehook history` lists those that it has")
}

fn of(context: &Context, name: Name, running: Option<&[Running]>) -> Listed {
    let store = Store::new(&context.settings.state_dir, &name);
    let all = store.history().into_iter();
    let deployments: Vec<_> = all.map(|(number, record)| (number, record, store.has_log(number))).collect();
    let serving = match running.map(|running| running.iter().find(|one| one.name == name.as_str())) {
        None => Serving::NotKnown,
        Some(None) => Serving::Nothing,
        Some(Some(one)) => deployment_of(one, &store).map_or(Serving::NotKnown, Serving::Deployment),
    };
    let releases = store.releases::<IgnoredAny>();
    let pinned =
        releases.iter().filter(|release| release.pinned).filter_map(|release| number_of(release, &deployments));
    Listed { is_locked: store.is_locked(), pinned: pinned.collect(), name, deployments, serving }
}

/// The number of the deployment that saved a release. Of several by hand it is the one in whose time it was healthy first.
fn number_of(release: &Release<IgnoredAny>, all: &[(u64, DeploymentRecord, bool)]) -> Option<u64> {
    let in_its_time = |record: &DeploymentRecord| {
        let began = record.events.first()?.at.parse::<Timestamp>().ok()?;
        let saved = release.observed.at.parse::<Timestamp>().ok()?.duration_since(began).as_millis();
        u64::try_from(saved).ok().filter(|after| *after <= record.took_ms())
    };
    let of_it = |record: &DeploymentRecord| record.deployment == release.deployment;
    let is_it =
        |record: &DeploymentRecord| of_it(record) && (release.deployment != MANUAL || in_its_time(record).is_some());
    all.iter().find(|(_, record, _)| is_it(record)).map(|(number, _, _)| *number)
}

/// The deployment of what runs: the newest release that found or put it there, else what its own label says.
fn deployment_of(running: &Running, store: &Store) -> Option<String> {
    let releases = store.releases::<IgnoredAny>();
    let is_it = |release: &&Release<IgnoredAny>| match &running.container {
        Some(id) => release.observed.container.is_empty() || release.observed.container == *id,
        None => true,
    };
    releases.iter().find(is_it).map(|release| release.deployment.clone()).or_else(|| running.deployment.clone())
}
