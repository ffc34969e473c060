//! How a project of an earlier release comes back: what undoes an `up`, and what an interrupted event left.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::Probe;
use crate::deploy::journal::{JournalV1, Left};
use crate::deploy::plan::Old;
use crate::health::check::HealthCheck;
use crate::modes;
use crate::modes::compose::operation::{ComposeOperation, ProjectHealth};
use crate::modes::compose::project::Project;
use crate::modes::compose::release::ComposeRelease;
use crate::modes::facts::Facts;
use crate::modes::operation::{Action, Operation, Plan};

/// Containers of an unhealthy release have so many seconds to stop when the old one comes back.
const AT_ONCE: u64 = 1;

/// The longest that the old project is waited for when it comes back.
const BACK: Duration = Duration::from_secs(30);

/// The health check of a project that comes back: its services' own checks alone, and not for long.
fn health_check(release: &ComposeRelease) -> ProjectHealth {
    let check = HealthCheck {
        probe: Probe::Auto,
        healthcheck: true,
        timeout: Duration::from_millis(release.health_check.timeout_ms).min(BACK),
        interval: Duration::from_millis(100),
        stable_for: Duration::ZERO,
        successes: 1,
    };
    ProjectHealth { services: release.health_check.services.clone(), check }
}

/// The project of a release comes back as it was.
pub(crate) fn back(release: &ComposeRelease) -> Vec<ComposeOperation> {
    back_but(release, &[])
}

/// The same but for services that stay as they are.
pub(crate) fn back_but(release: &ComposeRelease, left: &[&str]) -> Vec<ComposeOperation> {
    let project = release.project.clone();
    let mut health_check = health_check(release);
    health_check.services.retain(|(service, _)| !left.contains(&service.as_str()));
    if health_check.services.is_empty() {
        return Vec::new();
    }
    let names = health_check.services.iter().map(|(service, _)| service.clone());
    let only = if left.is_empty() { Vec::new() } else { names.collect() };
    let up = ComposeOperation::Up { project: project.clone(), within: Some(AT_ONCE), services: Vec::new(), only };
    let wait = ComposeOperation::Wait { name: project.name.clone(), health_check };
    vec![ComposeOperation::CheckOut { project }, up, wait]
}

/// What an interrupted event left is undone: the saved project comes back; where there is none, what was begun goes. That
/// is done by the Compose that this host has now. Returns whether there was anything. In an event that goes on with a new
/// release a failure is a warning.
pub(crate) fn recover(plan: &mut Plan, facts: &Facts, is_best_effort: bool) -> bool {
    plan.recover(modes::tasks::remove_left(facts));
    let (operations, note) = match &facts.left {
        None if facts.releases.is_empty() => return start_replaced(plan, facts),
        None => return false,
        Some(Left::Plan(left)) if left.is_saved => (left.operations(), None),
        Some(Left::Plan(left)) => {
            let note = match left.journal.old {
                Old::Nothing => "what it had begun goes",
                Old::NotObserved | Old::Stopped(_) | Old::Running(_) => "the project before comes back first",
            };
            (left.operations(), Some(format!("deployment {} was interrupted; {note}", left.journal.deployment)))
        }
        Some(Left::Format1(journal)) => format1(facts, journal),
    };
    let operations = up_again(operations, facts);
    if operations.is_empty() {
        return false;
    }
    plan.notes.extend(note);
    let is_saved = matches!(&facts.left, Some(Left::Plan(left)) if left.is_saved);
    let action = if is_best_effort || is_saved { Action::best_effort } else { Action::required };
    let actions = operations.into_iter().map(|operation| action(run_by(operation, facts)));
    plan.recover(actions.map(|action| modes::images::restoring(action, facts)));
    true
}

/// Compose was killed between a service's old container and its new one, and neither a journal nor a record says so: a new
/// one that never ran does. The old one starts again, or the new one where the old one is gone. Whether there was any.
fn start_replaced(plan: &mut Plan, facts: &Facts) -> bool {
    let never_ran = facts.containers.iter().filter(|container| container.state == "created");
    let services: BTreeSet<&str> = never_ran.filter_map(|container| container.service.as_deref()).collect();
    let mut starts = Vec::new();
    for service in services {
        let of_it: Vec<_> = facts.containers.iter().filter(|found| found.service.as_deref() == Some(service)).collect();
        if of_it.iter().any(|container| container.is_running()) {
            continue;
        }
        let old = of_it.iter().find(|container| container.state == "exited");
        let Some(back) = old.or(of_it.first()) else { continue };
        plan.notes.push(format!("service {service} is down: replacing its container was interrupted"));
        starts.push(Action::best_effort(Operation::start_container(back.target())));
    }
    let is_any = !starts.is_empty();
    plan.recover(starts);
    is_any
}

/// A project that came up and was not healthy comes up again before it is waited for: it may have ended since.
fn up_again(operations: Vec<Operation>, facts: &Facts) -> Vec<Operation> {
    match (operations.as_slice(), facts.saved_project()) {
        ([Operation::Compose(ComposeOperation::Wait { .. })], Some(saved)) => {
            back(saved).into_iter().map(Operation::Compose).collect()
        }
        _ => operations,
    }
}

fn run_by(operation: Operation, facts: &Facts) -> Operation {
    match operation {
        Operation::Compose(operation) => Operation::Compose(operation.run_by(&facts.compose_tool)),
        other => other,
    }
}

/// A journal of format 1 names the project that was begun alone.
fn format1(facts: &Facts, journal: &JournalV1) -> (Vec<Operation>, Option<String>) {
    let begun = journal.compose.clone().and_then(|begun| serde_json::from_value::<Project>(begun).ok());
    let (operations, note) = match (begun, facts.saved_project()) {
        (None, _) => return (Vec::new(), None),
        (Some(begun), Some(saved)) if saved.project.id == begun.id => return (Vec::new(), None),
        (Some(begun), Some(saved)) => {
            let note = "an interrupted deployment had begun to change project";
            (back(saved), format!("{note} {}; the saved one comes back first", begun.name))
        }
        (Some(project), None) => {
            let note = format!("project {} was never healthy: its deployment was interrupted; it goes", project.name);
            (vec![ComposeOperation::Down { project }], note)
        }
    };
    (operations.into_iter().map(Operation::Compose).collect(), Some(note))
}

/// The project that an interrupted event had begun.
pub(crate) fn begun(left: &Left<Operation>) -> Option<Project> {
    match left {
        Left::Plan(left) => left.journal.steps.iter().flat_map(|step| &step.undo).find_map(|undo| {
            let Operation::Compose(ComposeOperation::Down { project }) = &undo.operation else { return None };
            Some(project.clone())
        }),
        Left::Format1(journal) => serde_json::from_value(journal.compose.clone()?).ok(),
    }
}
