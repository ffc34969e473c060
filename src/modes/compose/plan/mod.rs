//! Compose mode: event × facts → steps.

pub mod wanted;

use std::time::Duration;

use crate::config::compose::Compose;
use crate::config::{Deployment, Probe};
use crate::deploy::origin::Origin;
use crate::modes::compose::release::ComposeRelease;
use crate::modes::container::operation::ContainerOperation;
use crate::modes::operation::{Action, Plan};

use crate::deploy::plan::Old;
use crate::deploy::state::{JournalV1, Left};
use crate::engine::facts::ContainerFacts;
use crate::engine::request::Target;
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::modes;
use crate::modes::compose::operation::{Change, ComposeOperation, Copy, ProjectHealth, ServiceChange};
use crate::modes::compose::plan::wanted::Wanted;
use crate::modes::compose::project::Project;
use crate::modes::compose::task;
use crate::modes::facts::Facts;
use crate::modes::images::Imports;
use crate::modes::operation::Operation;
use crate::modes::tasks::TaskActions;
use crate::values::pin::ImagePin;
use crate::values::types::{LifecycleEvent, Name};

/// Containers of an unproven release have so many seconds to stop when the previous one comes back.
const AT_ONCE: u64 = 1;

/// The longest that the previous project is waited for when it comes back.
const BACK: Duration = Duration::from_secs(30);

/// What `event` does in Compose mode.
///
/// # Errors
/// See [`crate::modes::plan`].
pub fn plan(
    event: LifecycleEvent,
    deployment: &Deployment,
    compose: &Compose,
    origin: &Origin,
    facts: &Facts,
) -> Result<Plan, Failure> {
    let mut plan = Plan::new(event.to_string(), &deployment.name);
    plan.subject = SUBJECT.into();
    plan.old = old(&deployment.name, facts);
    match event {
        LifecycleEvent::ApplicationStop => stop(&mut plan, facts),
        LifecycleEvent::BeforeInstall => {
            let wanted = Wanted::of(deployment, compose, facts)?;
            wanted.check(&mut plan, facts)?;
            recover(&mut plan, facts, true);
            modes::images::make_room(&mut plan, deployment, facts, &wanted.pins())?;
            modes::images::prune(&mut plan, deployment, facts, &wanted.pins());
        }
        LifecycleEvent::AfterInstall => {
            let wanted = Wanted::of(deployment, compose, facts)?;
            wanted.check(&mut plan, facts)?;
            recover(&mut plan, facts, true);
            wanted.import(&mut plan, deployment, facts)?;
        }
        LifecycleEvent::ApplicationStart => start(&mut plan, deployment, compose, origin, facts)?,
        LifecycleEvent::ValidateService => validate(&mut plan, deployment, compose, facts)?,
        LifecycleEvent::BeforeBlockTraffic
        | LifecycleEvent::AfterBlockTraffic
        | LifecycleEvent::BeforeAllowTraffic
        | LifecycleEvent::AfterAllowTraffic => {}
    }
    Ok(plan)
}

/// What reports call that which served before.
pub const SUBJECT: &str = "previous project";

/// The same for a recorded project: its own checks alone, and not for long.
fn health_of(release: &ComposeRelease) -> ProjectHealth {
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

/// The previous release's project, as it was.
pub fn back(previous: &ComposeRelease) -> Vec<Operation> {
    back_but(previous, &[])
}

/// The same but for services that stay as they are.
pub fn back_but(previous: &ComposeRelease, left: &[&str]) -> Vec<Operation> {
    let project = previous.project.clone();
    let mut health_check = health_of(previous);
    health_check.services.retain(|(service, _)| !left.contains(&service.as_str()));
    if health_check.services.is_empty() {
        return Vec::new();
    }
    let names = health_check.services.iter().map(|(service, _)| service.clone());
    let only = if left.is_empty() { Vec::new() } else { names.collect() };
    let up = ComposeOperation::Up { project: project.clone(), within: Some(AT_ONCE), services: Vec::new(), only };
    let wait = ComposeOperation::Wait { name: project.name.clone(), health_check };
    vec![Operation::Compose(ComposeOperation::Place { project }), Operation::Compose(up), Operation::Compose(wait)]
}

/// What an interrupted event left is undone: the saved project comes back; where there is none, what was begun goes.
/// Returns whether there was anything. In an event that goes on with a new release a failure is said and ends nothing.
pub fn recover(plan: &mut Plan, facts: &Facts, is_best_effort: bool) -> bool {
    plan.recover(modes::tasks::remove_left(facts));
    let (operations, note) = match &facts.left {
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
    if operations.is_empty() {
        return false;
    }
    plan.notes.extend(note);
    let is_saved = matches!(&facts.left, Some(Left::Plan(left)) if left.is_saved);
    let action = if is_best_effort || is_saved { Action::best_effort } else { Action::required };
    plan.recover(operations.into_iter().map(action));
    true
}

/// A journal of format 1 names the project that was begun alone.
fn format1(facts: &Facts, journal: &JournalV1) -> (Vec<Operation>, Option<String>) {
    let begun = journal.compose.clone().and_then(|begun| serde_json::from_value::<Project>(begun).ok());
    let saved = facts.releases.first().and_then(|release| release.part.compose.as_ref());
    match (begun, saved) {
        (None, _) => (Vec::new(), None),
        (Some(begun), Some(saved)) if saved.project.id == begun.id => (Vec::new(), None),
        (Some(begun), Some(saved)) => {
            let note = format!(
                "an interrupted deployment had begun to change project {}; the saved one comes back first",
                begun.name
            );
            (back(saved), Some(note))
        }
        (Some(project), None) => {
            let note = format!("project {} was never healthy: its deployment was interrupted; it goes", project.name);
            (vec![Operation::Compose(ComposeOperation::Down { project })], Some(note))
        }
    }
}

/// The project that an interrupted event had begun.
fn begun(left: &Left<Operation>) -> Option<Project> {
    match left {
        Left::Plan(left) => {
            left.journal.steps.iter().flat_map(|step| &step.undo).find_map(|undo| match &undo.operation {
                Operation::Compose(ComposeOperation::Down { project }) => Some(project.clone()),
                Operation::Compose(_)
                | Operation::Image(_)
                | Operation::Container(_)
                | Operation::Ports(_)
                | Operation::Swarm(_)
                | Operation::Task(_) => None,
            })
        }
        Left::Format1(journal) => serde_json::from_value(journal.compose.clone()?).ok(),
    }
}

/// Containers go, whatever state they are in. Nothing here can fail the event.
fn stop(plan: &mut Plan, facts: &Facts) {
    plan.recover(modes::tasks::remove_left(facts));
    if facts.containers.is_empty() {
        return;
    }
    let recorded =
        facts.releases.first().and_then(|release| release.part.compose.as_ref()).map(|release| &release.project);
    let begun = facts.left.as_ref().and_then(begun);
    if let Some(project) = recorded.cloned().or(begun) {
        plan.actions.push(Action::best_effort(ComposeOperation::Stop { project }));
    }
    // What Compose did not know of, or could not remove, goes one by one.
    for container in facts.containers.iter().filter(|container| container.ours) {
        let container = crate::modes::container::recover::target(container);
        plan.actions.push(Action::best_effort(ContainerOperation::Remove { container, volumes: false }));
    }
    plan.interruption = format!("{} is down until ApplicationStart has proven the new project", plan.name);
}

fn start(
    plan: &mut Plan,
    deployment: &Deployment,
    compose: &Compose,
    origin: &Origin,
    facts: &Facts,
) -> Result<(), Failure> {
    let wanted = Wanted::of(deployment, compose, facts)?;
    let recovered = recover(plan, facts, true);
    let changes = wanted.changes(facts, &deployment.name);
    let previous = facts.releases.first().and_then(|release| Some((release, release.part.compose.as_ref()?)));
    let is_same = !recovered && changes.iter().all(|change| change.change == Change::Unchanged);
    let mut around = TaskActions::default();
    if !is_same {
        wanted.check(plan, facts)?;
        let imports = wanted.import(plan, deployment, facts)?;
        around = task::around(deployment, origin, wanted.facts, &wanted.project, &imports)?;
        let before = std::mem::take(&mut around.before);
        up(plan, &wanted, previous.map(|(_, previous)| previous), changes, before, &imports);
    }
    plan.actions.push(Action::required(ComposeOperation::Wait {
        name: plan.name.clone(),
        health_check: wanted.health_check.clone(),
    }));
    plan.actions.append(&mut around.proven);
    let is_recorded = previous.is_some_and(|(release, previous)| {
        release.deployment == origin.deployment && previous.project.id == wanted.project.id
    });
    if !(is_same && is_recorded) {
        if is_same {
            plan.actions.insert(plan.actions.len() - 1, Action::required(keep(&wanted)));
        }
        let release = Box::new(wanted.release(origin)?);
        plan.actions.push(Action::required(ComposeOperation::SaveRelease(release)));
    }
    plan.actions.append(&mut around.recorded);
    modes::images::prune(plan, deployment, facts, &wanted.pins());
    forget(plan, deployment, facts, &wanted);
    Ok(())
}

/// What serves. A project of which no release is saved cannot be told from what a deployment has begun.
pub fn old(name: &Name, facts: &Facts) -> Old {
    let saved = facts.releases.first().filter(|release| release.part.compose.is_some());
    match (facts.engine.yes(), saved) {
        (None, _) => Old::NotObserved,
        (Some(_), Some(release)) => {
            let target = Target { name: name.to_string(), id: Some(release.deployment.clone()) };
            let there = (!facts.containers.is_empty()).then_some(target);
            Old::of(there, facts.containers.iter().any(ContainerFacts::is_running))
        }
        (Some(_), None) if facts.containers.is_empty() => Old::Nothing,
        (Some(_), None) => Old::NotObserved,
    }
}

fn keep(wanted: &Wanted<'_>) -> Operation {
    Operation::Compose(ComposeOperation::Retain(Box::new(Copy {
        project: wanted.project.clone(),
        tree: wanted.facts.tree.clone(),
        overlay: wanted.overlay.clone(),
        variables: wanted.facts.variables.clone(),
    })))
}

fn up(
    plan: &mut Plan,
    wanted: &Wanted<'_>,
    previous: Option<&ComposeRelease>,
    services: Vec<ServiceChange>,
    before: Vec<Action>,
    imports: &Imports,
) {
    let project = wanted.project.clone();
    let down = || vec![Operation::Compose(ComposeOperation::Down { project: project.clone() })];
    let undo = previous.map_or_else(down, back);
    // A service's own folders are where Compose works; a command of the host needs nothing of the new release there.
    let is_of_a_service =
        |action: &Action| matches!(action.operation, Operation::Compose(ComposeOperation::RunTask(_)));
    let (early, late) = if before.iter().any(is_of_a_service) { (Vec::new(), before) } else { (before, Vec::new()) };
    plan.actions.extend(early);
    plan.actions.push(Action::required(keep(wanted)));
    plan.actions.push(Action::undone_by(ComposeOperation::Place { project: project.clone() }, undo));
    plan.actions.extend(late);
    let touched: Vec<&str> = services
        .iter()
        .filter(|change| matches!(change.change, Change::Recreated(_) | Change::Removed))
        .map(|change| change.service.as_str())
        .collect();
    if !touched.is_empty() {
        plan.interruption = format!("{} while Compose replaces what runs", touched.join(", "));
    }
    let up = ComposeOperation::Up { project, within: None, services, only: Vec::new() };
    let up = Action::required(up);
    plan.actions.push(up.repaired_by(&[Kind::Container, Kind::Health, Kind::Image], imports.if_lost()));
}

/// Copies of releases that are kept no longer.
fn forget(plan: &mut Plan, deployment: &Deployment, facts: &Facts, wanted: &Wanted<'_>) {
    let earlier = deployment.keep - usize::from(plan.saves());
    let kept: Vec<&str> = facts
        .releases
        .iter()
        .take(earlier)
        .filter_map(|release| Some(release.part.compose.as_ref()?.project.id.as_str()))
        .chain([wanted.project.id.as_str()])
        .collect();
    for id in wanted.facts.copies.iter().filter(|id| !kept.contains(&id.as_str())) {
        let step = ComposeOperation::Forget { project: plan.name.clone(), id: id.clone() };
        plan.actions.push(Action::best_effort(step));
    }
}

fn validate(plan: &mut Plan, deployment: &Deployment, compose: &Compose, facts: &Facts) -> Result<(), Failure> {
    let wanted = Wanted::of(deployment, compose, facts)?;
    for (service, image, spec) in &wanted.services {
        modes::images::assume(plan, image);
        let there: Vec<_> =
            wanted.facts.containers.iter().filter(|container| container.service == service.name).collect();
        if there.len() < service.replicas {
            let (found, wanted) = (there.len(), service.replicas);
            let message = format!("service {} has {found} of {wanted} containers", service.name);
            return Err(Failure::new(Kind::Health, message)
                .next("did ApplicationStart run? its output says why the container is gone"));
        }
        let is_known = !matches!(image.pin, ImagePin::Unknown { .. });
        if let Some(other) = there.iter().find(|found| is_known && found.spec.as_deref() != Some(spec.as_str())) {
            let image = image.pin.describe();
            let message = format!("{} runs {}, not as the revision says (image {image})", other.name, other.image);
            return Err(Failure::new(Kind::Health, message).next("run ApplicationStart again"));
        }
    }
    let step = ComposeOperation::Wait { name: plan.name.clone(), health_check: wanted.health_check };
    plan.actions.push(Action::required(step));
    Ok(())
}
