//! What monitoring is told: of what was found, and of this host's history.

use std::path::Path;

use jiff::Timestamp;

use crate::app::Context;
use crate::deploy::history::{DeploymentRecord, Ended};
use crate::deploy::state::Store;
use crate::error::{Failure, Kind};
use crate::files;
use crate::ui::status::metrics::{LastDeployment, NameMetrics, ReleaseInfo};
use crate::ui::status::{Deployed, NameStatus};

/// Each name that was found, with what its history says.
pub(super) fn measure(context: &Context, all: &Deployed) -> Vec<NameMetrics> {
    all.names.iter().map(|name| one(&context.settings.state_dir, all, name)).collect()
}

fn one(state: &Path, all: &Deployed, known: &NameStatus) -> NameMetrics {
    let service = all.services.iter().find(|service| service.name == known.name);
    let history = known.name.parse().map(|name| Store::new(state, &name).history()).unwrap_or_default();
    let is_over =
        |record: &DeploymentRecord| record.last().is_some_and(|last| !matches!(last.ended, Ended::NotYet { .. }));
    let ended = history.iter().map(|(_, record)| record).filter(|record| !record.is_command()).enumerate();
    let ended = ended.filter(|(at, record)| *at > 0 || !known.under_way || is_over(record));
    let ended: Vec<&DeploymentRecord> = ended.map(|(_, record)| record).collect();
    let count = |wanted: &str| ended.iter().filter(|record| result(record) == wanted).count() as u64;
    NameMetrics {
        release: release(known),
        up: all.runs(&known.name),
        healthy: known.health.as_ref().map(|health| health.bad.is_none()),
        stopped: all.stopped.contains(&known.name),
        under_way: known.under_way,
        drift: known.drift.as_ref().map(|drift| drift.changes.len()),
        leftovers: usize::from(known.interrupted.is_some()),
        tasks: service.map(|service| (service.running, service.wanted)),
        deployments: history.first().map(|(number, _)| *number).unwrap_or_default(),
        results: ["succeeded", "failed", "killed"].map(|result| (result, count(result))).to_vec(),
        last: ended.first().and_then(|record| last(record)),
        name: known.name.clone(),
    }
}

fn result(record: &DeploymentRecord) -> &'static str {
    match record.last().map(|last| &last.ended) {
        Some(Ended::Succeeded) => "succeeded",
        Some(Ended::Failed { .. }) => "failed",
        Some(Ended::NotYet { .. }) | None => "killed",
    }
}

fn release(known: &NameStatus) -> Option<ReleaseInfo> {
    let described = known.release.as_deref()?;
    let image = described.split(" (").next().unwrap_or(described).to_owned();
    let tag = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map(|(_, tag)| tag.to_owned());
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Some(ReleaseInfo {
        tag: tag.unwrap_or_default(),
        digest: text(&known.digest),
        deployment: text(&known.deployment),
        image,
    })
}

#[allow(clippy::cast_precision_loss)] // times, far below 2^52 ms
fn last(record: &DeploymentRecord) -> Option<LastDeployment> {
    let seconds = |milliseconds: u64| milliseconds as f64 / 1000.0;
    let began: Timestamp = record.events.first()?.at.parse().ok()?;
    Some(LastDeployment {
        succeeded: result(record) == "succeeded",
        ended: began.as_millisecond() as f64 / 1000.0 + seconds(record.took_ms()),
        seconds: seconds(record.took_ms()),
        moved: record.moved(),
        down: record.down_ms().map(seconds),
    })
}

/// Puts the text in place at once, for all to read: a collector never sees half of it.
pub(super) fn publish(path: &Path, text: &str) -> Result<(), Failure> {
    files::publish(path, text.as_bytes()).map_err(|error| {
        Failure::new(Kind::State, format!("cannot write {}: {error}", path.display()))
            .next("name a file in the folder of node_exporter's --collector.textfile.directory, which must be there")
    })
}
