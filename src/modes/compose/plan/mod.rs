//! Compose mode: event × facts → steps.

pub(crate) mod wanted;

use crate::config::Deployment;
use crate::config::compose::Compose;
use crate::deploy::origin::Origin;
use crate::deploy::plan::Old;
use crate::engine::facts::ContainerFacts;
use crate::error::{Failure, Kind};
use crate::modes;
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::compose::plan::wanted::Wanted;
use crate::modes::compose::project::SNAPSHOTS;
use crate::modes::compose::recover::{back, begun, recover};
use crate::modes::compose::release::ComposeRelease;
use crate::modes::compose::service_change::{Change, ServiceChange};
use crate::modes::compose::snapshot::Snapshot;
use crate::modes::compose::task;
use crate::modes::facts::Facts;
use crate::modes::images::Imports;
use crate::modes::operation::{Action, Operation, Plan};
use crate::modes::tasks::TaskActions;
use crate::values::known::Known;
use crate::values::pin::ImagePin;
use crate::values::target::Target;
use crate::values::types::{LifecycleEvent, Name};

pub(crate) fn plan(
    event: LifecycleEvent,
    deployment: &Deployment,
    compose: &Compose,
    origin: &Origin,
    facts: &Facts,
) -> Result<Plan, Failure> {
    let mut plan = Plan::new(event.to_string(), &deployment.name);
    plan.subject = SUBJECT.into();
    plan.old = old(&deployment.name, facts);
    if facts.compose.is_none() && !facts.not_yet.is_empty() {
        return Ok(plan);
    }
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
pub(crate) const SUBJECT: &str = "previous project";

/// Containers go, whatever state they are in. Nothing here can fail the event: without Compose the engine removes them.
fn stop(plan: &mut Plan, facts: &Facts) {
    plan.recover(modes::tasks::remove_left(facts));
    if facts.containers.is_empty() {
        return;
    }
    let saved =
        facts.releases.first().and_then(|release| release.part.compose.as_ref()).map(|release| &release.project);
    let begun = facts.left.as_ref().and_then(begun);
    match (saved.cloned().or(begun), &facts.compose_tool) {
        (Some(project), tool @ Known::Yes(_)) => {
            plan.attempt(ComposeOperation::Stop { project }.run_by(tool));
        }
        (Some(_), Known::No(why)) => {
            plan.notes.push(format!("{why}: the containers of {} are removed one by one", plan.name));
        }
        (None, _) => {}
    }
    // What Compose does not know of, or cannot remove, goes one by one.
    for container in facts.containers.iter().filter(|container| container.ours) {
        plan.attempt(Operation::remove_container(container.target()));
    }
    plan.interruption = format!("{} is down until the new containers of ApplicationStart are healthy", plan.name);
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
        around = task::around(deployment, origin, &wanted, &imports)?;
        let undo = UndoProject::of(&wanted, previous.map(|(_, previous)| previous), facts);
        let before = std::mem::take(&mut around.before);
        up(plan, &wanted, undo, changes, before, &imports);
    }
    plan.require(ComposeOperation::Wait { name: plan.name.clone(), health_check: wanted.health_check.clone() });
    plan.actions.append(&mut around.healthy);
    let is_recorded = previous.is_some_and(|(release, previous)| {
        release.deployment == origin.deployment && previous.project.id == wanted.project.id
    });
    if !(is_same && is_recorded) {
        if is_same {
            plan.actions.insert(plan.actions.len() - 1, Action::required(snapshot(&wanted)));
        }
        let release = Box::new(wanted.release(origin)?);
        plan.require(ComposeOperation::SaveRelease(release));
    }
    plan.actions.append(&mut around.saved);
    modes::images::prune(plan, deployment, facts, &wanted.pins());
    delete_snapshots(plan, deployment, facts, &wanted);
    Ok(())
}

/// What serves. A project of which no release is saved may be what a deployment has begun.
pub(crate) fn old(name: &Name, facts: &Facts) -> Old {
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

fn snapshot(wanted: &Wanted<'_>) -> ComposeOperation {
    ComposeOperation::Snapshot(Box::new(Snapshot {
        project: wanted.project.clone(),
        folder: wanted.facts.folder.clone(),
        override_file: wanted.override_file.clone(),
        variables: wanted.facts.variables.clone(),
    }))
}

/// What undoes checking out the new files, and what undoes `up`.
struct UndoProject {
    check_out: Vec<Operation>,
    up: Vec<Operation>,
}

impl UndoProject {
    /// The previous project comes back by the Compose that this host has now, its files alone where nothing else was
    /// changed; a first one goes.
    fn of(wanted: &Wanted<'_>, previous: Option<&ComposeRelease>, facts: &Facts) -> Self {
        let down = || vec![ComposeOperation::Down { project: wanted.project.clone() }];
        let undo = previous.map_or_else(down, back).into_iter();
        let up: Vec<_> = undo.map(|operation| Operation::Compose(operation.run_by(&facts.compose_tool))).collect();
        Self { check_out: up.first().cloned().into_iter().collect(), up }
    }
}

fn up(
    plan: &mut Plan,
    wanted: &Wanted<'_>,
    undo: UndoProject,
    services: Vec<ServiceChange>,
    before: Vec<Action>,
    imports: &Imports,
) {
    let project = wanted.project.clone();
    // A service's own folders are where Compose works; a command of the host needs nothing of the new release there.
    let is_of_a_service =
        |action: &Action| matches!(action.operation, Operation::Compose(ComposeOperation::RunTask(_)));
    let (early, late) = if before.iter().any(is_of_a_service) { (Vec::new(), before) } else { (before, Vec::new()) };
    plan.actions.extend(early);
    plan.require(snapshot(wanted));
    plan.undoable(ComposeOperation::CheckOut { project: project.clone() }, undo.check_out);
    plan.actions.extend(late);
    let touched = services.iter().filter(|service| service.change.interrupts());
    let touched: Vec<&str> = touched.map(|service| service.service.as_str()).collect();
    if !touched.is_empty() {
        plan.interruption = format!("{} while Compose replaces what runs", touched.join(", "));
    }
    let up = ComposeOperation::Up { project, within: None, services, only: Vec::new() };
    let up = Action::undone_by(up, undo.up);
    plan.actions.push(up.repaired_by(&[Kind::Container, Kind::Health, Kind::Image], imports.if_lost()));
}

fn delete_snapshots(plan: &mut Plan, deployment: &Deployment, facts: &Facts, wanted: &Wanted<'_>) {
    let earlier = deployment.keep - usize::from(plan.saves());
    let retained: Vec<&str> = facts
        .releases
        .iter()
        .take(earlier)
        .filter_map(|release| Some(release.part.compose.as_ref()?.project.id.as_str()))
        .chain([wanted.project.id.as_str()])
        .collect();
    for id in wanted.facts.snapshots.iter().filter(|id| !retained.contains(&id.as_str())) {
        let step = ComposeOperation::DeleteSnapshot { snapshot: wanted.facts.state.join(SNAPSHOTS).join(id) };
        plan.attempt(step);
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
    plan.require(step);
    Ok(())
}
