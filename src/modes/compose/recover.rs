//! How a project of an earlier release comes back: what undoes an `up`, and what an interrupted event left.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::deploy::journal::{JournalV1, Left};
use crate::engine::facts::ContainerFacts;
use crate::health::check::HealthCheck;
use crate::modes;
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::compose::project::Project;
use crate::modes::compose::release::{ComposeRelease, SavedHealth};
use crate::modes::compose::wait::ProjectHealth;
use crate::modes::facts::Facts;
use crate::modes::operation::{Action, Operation, Plan};
use crate::values::target::Target;

/// Containers of an unhealthy release have so many seconds to stop when the old one comes back.
const AT_ONCE: u64 = 1;

/// Digits of an ID in the name of a container that replaces it.
const SHORT_ID: usize = 12;

/// The health check of a project that comes back.
pub(crate) fn health_check(release: &ComposeRelease) -> ProjectHealth {
    let SavedHealth { services, timeout_ms, probe } = release.health_check.clone();
    let back = HealthCheck::back(None);
    let timeout = Duration::from_millis(timeout_ms).min(back.timeout);
    ProjectHealth { services, check: HealthCheck { probe, timeout, ..back } }
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
    let end_stops = ComposeOperation::EndStops { name: project.name.clone() };
    vec![ComposeOperation::CheckOut { project }, end_stops, up, wait]
}

/// What an interrupted event left is undone: the saved project comes back; where there is none, what was begun goes. That
/// is done by the Compose that this host has now. Returns whether there was anything. In an event that goes on with a new
/// release a failure is a warning.
pub(crate) fn recover(plan: &mut Plan, facts: &Facts, is_best_effort: bool) -> bool {
    plan.recover(modes::tasks::remove_left(facts));
    let (operations, note) = match &facts.left {
        None if facts.releases.is_empty() => return undo_replacing(plan, facts),
        None => return false,
        Some(Left::Plan(left)) if left.is_saved => (left.operations(), None),
        Some(Left::Plan(left)) => {
            let operations = left.operations();
            let note = match operations.iter().find(|operation| operation.decides_project()) {
                Some(down) if down.takes_project_down() => "what it had begun is taken down first",
                Some(_) => "the project before comes back first",
                None => "what it had changed is undone first",
            };
            (operations, Some(format!("deployment {} was interrupted; {note}", left.journal.deployment)))
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

/// Compose was killed while it replaced containers, and neither a journal nor a release says so: new ones that never ran do.
/// Where an old one is there the new one goes, and the old one runs again; otherwise the new one takes its place. Whether
/// there was any.
///
/// Source: Compose creates the new container as `<ID of the old one>_<name>`, stops and removes the old one, and renames
/// the new one (pkg/compose/convergence.go, `recreateContainer`).
fn undo_replacing(plan: &mut Plan, facts: &Facts) -> bool {
    let is_new = |container: &&ContainerFacts| container.ours && container.state == "created";
    let services: BTreeSet<&str> = facts.containers.iter().filter(is_new).filter_map(service).collect();
    let (mut steps, mut starts, mut down): (Vec<Operation>, Vec<Operation>, Vec<(String, usize)>) = Default::default();
    for name in services {
        let of_it = facts.containers.iter().filter(|container| service(container) == Some(name));
        let (new, old): (Vec<_>, Vec<_>) = of_it.partition(is_new);
        let back: Vec<Target> = if old.is_empty() {
            let own = |new: &&ContainerFacts| Target { name: own_name(&new.name).to_owned(), ..new.target() };
            let misnamed = new.iter().filter(|new| own_name(&new.name) != new.name);
            steps.extend(misnamed.map(|new| Operation::rename_container(new.target(), own(new).name)));
            new.iter().map(own).collect()
        } else {
            steps.extend(new.iter().map(|new| Operation::remove_container(new.target())));
            old.iter().map(|old| old.target()).collect()
        };
        if old.iter().any(|container| container.is_running()) {
            continue;
        }
        plan.notes.push(format!("service {name} is down: replacing its container was interrupted"));
        down.push((name.to_owned(), back.len()));
        starts.extend(back.into_iter().map(Operation::start_container));
    }
    let is_any = !steps.is_empty() || !starts.is_empty();
    steps.append(&mut starts);
    if !down.is_empty() {
        let health_check = ProjectHealth { services: down, check: HealthCheck::back(None) };
        steps.push(ComposeOperation::Wait { name: plan.name.clone(), health_check }.into());
    }
    plan.recover(steps.into_iter().map(Action::best_effort));
    is_any
}

fn service(container: &ContainerFacts) -> Option<&str> {
    container.service.as_deref()
}

/// The name that Compose would have given a new container in the end; it has more than one ID before it where Compose was
/// cut off more than once.
fn own_name(name: &str) -> &str {
    let is_id = |id: &str| id.len() == SHORT_ID && id.bytes().all(|digit| digit.is_ascii_hexdigit());
    match name.split_once('_').filter(|(id, _)| is_id(id)) {
        Some((_, rest)) => own_name(rest),
        None => name,
    }
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
            let note =
                format!("project {} was never healthy: its deployment was interrupted; it is removed", project.name);
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
