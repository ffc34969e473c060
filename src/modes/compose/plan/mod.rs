//! Compose mode: event × facts → steps.

pub(crate) mod wanted;

use crate::config::Deployment;
use crate::config::compose::Compose;
use crate::deploy::origin::Origin;
use crate::deploy::plan::{Old, Undo};
use crate::deploy::release::kept;
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
use crate::modes::compose::{task, unsaved};
use crate::modes::facts::Facts;
use crate::modes::images::Imports;
use crate::modes::operation::{Action, Operation, Plan};
use crate::modes::sharing;
use crate::modes::tasks::TaskActions;
use crate::values::known::Known;
use crate::values::pin::ImagePin;
use crate::values::target::Target;
use crate::values::types::{LifecycleEvent, Name};

/// What reports call that which served before.
pub(crate) const SUBJECT: &str = "previous project";

/// What one event in Compose mode is planned from.
struct Planner<'a> {
    deployment: &'a Deployment,
    compose: &'a Compose,
    origin: &'a Origin,
    facts: &'a Facts,
    plan: Plan,
}

pub(crate) fn plan(
    event: LifecycleEvent,
    deployment: &Deployment,
    compose: &Compose,
    origin: &Origin,
    facts: &Facts,
) -> Result<Plan, Failure> {
    let mut plan = Plan::new(event.to_string(), &deployment.name);
    plan.subject = SUBJECT.into();
    if event.replaces() {
        plan.old = old(&deployment.name, facts);
    }
    if facts.compose.is_none() && !facts.not_yet.is_empty() {
        return Ok(plan);
    }
    let mut planner = Planner { deployment, compose, origin, facts, plan };
    match event {
        LifecycleEvent::ApplicationStop => planner.stop(),
        LifecycleEvent::BeforeInstall => planner.before_install()?,
        LifecycleEvent::AfterInstall => planner.import()?,
        LifecycleEvent::ApplicationStart => planner.start()?,
        LifecycleEvent::ValidateService => planner.validate()?,
        LifecycleEvent::BeforeBlockTraffic
        | LifecycleEvent::AfterBlockTraffic
        | LifecycleEvent::BeforeAllowTraffic
        | LifecycleEvent::AfterAllowTraffic => {}
    }
    Ok(planner.plan)
}

impl<'a> Planner<'a> {
    fn wanted(&self) -> Result<Wanted<'a>, Failure> {
        Wanted::of(self.deployment, self.compose, self.facts)
    }

    /// Containers go, whatever state they are in. Nothing here can fail the event: without Compose the engine removes them.
    fn stop(&mut self) {
        let (plan, facts) = (&mut self.plan, self.facts);
        plan.recover(modes::tasks::remove_left(facts));
        if facts.containers.is_empty() {
            return;
        }
        let saved = facts.saved_project().map(|release| release.project.clone());
        match (saved.or_else(|| facts.left.as_ref().and_then(begun)), &facts.compose_tool) {
            (Some(project), tool @ Known::Yes(_)) => plan.attempt(ComposeOperation::Stop { project }.run_by(tool)),
            (Some(_), Known::No(why)) => {
                plan.notes.push(format!("{why}: the containers of {} are removed one by one", plan.name));
            }
            (None, _) => {}
        }
        // What Compose does not know of, or cannot remove, goes one by one.
        for container in facts.containers.iter().filter(|container| container.ours) {
            plan.notes.extend(sharing::notes(&facts.sharing, container));
            plan.attempt(Operation::remove_container(container.target()));
        }
        plan.interruption = format!("{} is down until the new containers of ApplicationStart are healthy", plan.name);
    }

    fn before_install(&mut self) -> Result<(), Failure> {
        let wanted = self.wanted()?;
        wanted.check(&mut self.plan, self.facts);
        recover(&mut self.plan, self.facts, true);
        modes::images::make_room(&mut self.plan, self.deployment, self.facts, &wanted.pins());
        modes::images::prune(&mut self.plan, self.deployment, self.facts, &wanted.pins());
        Ok(())
    }

    fn import(&mut self) -> Result<(), Failure> {
        let wanted = self.wanted()?;
        wanted.check(&mut self.plan, self.facts);
        recover(&mut self.plan, self.facts, true);
        wanted.import(&mut self.plan, self.deployment, self.facts).map(drop)
    }

    fn start(&mut self) -> Result<(), Failure> {
        let (facts, wanted) = (self.facts, self.wanted()?);
        let recovered = recover(&mut self.plan, facts, true);
        let changes = wanted.changes(facts, &self.deployment.name);
        let previous = facts.releases.first().and_then(|release| Some((release, release.part.compose.as_ref()?)));
        let is_same = !recovered && changes.iter().all(|change| change.change == Change::Unchanged);
        let mut around = TaskActions::default();
        if !is_same {
            wanted.check(&mut self.plan, facts);
            wanted.compare(&mut self.plan, facts, &changes, &self.deployment.name);
            self.plan.notes.extend(wanted.visible_values(facts));
            let imports = wanted.import(&mut self.plan, self.deployment, facts)?;
            around = task::around(self.deployment, self.origin, &wanted, &imports)?;
            let undo = UndoProject::of(&wanted, previous.map(|(_, previous)| previous), facts);
            let before = std::mem::take(&mut around.before);
            self.up(&wanted, undo, changes, before, &imports);
        }
        let (name, health_check) = (self.plan.name.clone(), wanted.health_check.clone());
        self.plan.require(ComposeOperation::Wait { name, health_check });
        self.plan.actions.append(&mut around.healthy);
        let is_saved = previous.is_some_and(|(release, previous)| {
            release.deployment == self.origin.deployment && previous.project.id == wanted.project.id
        });
        if !(is_same && is_saved) {
            if is_same {
                let before_wait = self.plan.actions.len() - 1;
                self.plan.actions.insert(before_wait, Action::required(snapshot(&wanted)));
            }
            self.plan.require(ComposeOperation::SaveRelease(Box::new(wanted.release(self.origin)?)));
        }
        self.plan.actions.append(&mut around.saved);
        modes::images::prune(&mut self.plan, self.deployment, facts, &wanted.pins());
        self.delete_snapshots(&wanted);
        Ok(())
    }

    fn up(
        &mut self,
        wanted: &Wanted<'_>,
        undo: UndoProject,
        services: Vec<ServiceChange>,
        before: Vec<Action>,
        imports: &Imports,
    ) {
        let (plan, project) = (&mut self.plan, wanted.project.clone());
        // A service's own folders are where Compose works; a command of the host needs nothing of the new release there.
        let is_of_a_service =
            |action: &Action| matches!(action.operation, Operation::Compose(ComposeOperation::RunTask(_)));
        let is_late = before.iter().any(is_of_a_service);
        let (early, mut late) = if is_late { (Vec::new(), before) } else { (before, Vec::new()) };
        if let Some(first) = late.first_mut() {
            first.undo.extend(undo.tasks.into_iter().map(Undo::from));
        }
        plan.actions.extend(early);
        plan.require(snapshot(wanted));
        plan.undoable(ComposeOperation::CheckOut { project: project.clone() }, undo.check_out);
        plan.actions.extend(late);
        let touched = services.iter().filter(|service| service.change.interrupts());
        let touched: Vec<&str> = touched.map(|service| service.service.as_str()).collect();
        let is_touched = |found: &&ContainerFacts| found.service.as_deref().is_some_and(|name| touched.contains(&name));
        for container in self.facts.containers.iter().filter(is_touched) {
            plan.notes.extend(sharing::notes(&self.facts.sharing, container));
        }
        if !touched.is_empty() {
            plan.interruption = format!("{} while Compose replaces what runs", touched.join(", "));
        }
        let up = ComposeOperation::Up { project, within: None, services, only: Vec::new() };
        let up = modes::images::restoring(Action::undone_by(up, undo.up), self.facts);
        plan.actions.push(up.repaired_by(&[Kind::Container, Kind::Health, Kind::Image], imports.if_lost()));
    }

    /// Those of releases that are retained no longer.
    fn delete_snapshots(&mut self, wanted: &Wanted<'_>) {
        let earlier = self.deployment.keep - usize::from(self.plan.saves());
        let releases = kept(&self.facts.releases, earlier);
        let retained = releases.filter_map(|release| Some(&release.part.compose.as_ref()?.project.id));
        let retained: Vec<&String> = retained.chain([&wanted.project.id]).collect();
        for id in wanted.facts.snapshots.iter().filter(|id| !retained.contains(id)) {
            let snapshot = wanted.facts.state.join(SNAPSHOTS).join(id);
            self.plan.attempt(ComposeOperation::DeleteSnapshot { snapshot });
        }
    }

    fn validate(&mut self) -> Result<(), Failure> {
        let wanted = self.wanted()?;
        for (service, image, spec) in &wanted.services {
            modes::images::assume(&mut self.plan, image);
            let of_service = wanted.facts.containers.iter().filter(|container| container.service == service.name);
            let there: Vec<_> = of_service.collect();
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
        let (name, health_check) = (self.plan.name.clone(), wanted.health_check);
        self.plan.require(ComposeOperation::Wait { name, health_check });
        Ok(())
    }
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
        (Some(_), None) => match facts.compose.as_ref().map(|seen| seen.unsaved.as_slice()) {
            Some(unsaved @ [_, ..]) => {
                Old::of(Some(Target::created(name.as_str())), unsaved.iter().any(|one| one.is_running))
            }
            None | Some([]) if facts.containers.is_empty() => Old::Nothing,
            None | Some([]) => Old::NotObserved,
        },
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

/// What undoes checking out the new files, what tasks make of the project (networks, volumes), and `up`.
#[derive(Default)]
struct UndoProject {
    check_out: Vec<Operation>,
    tasks: Vec<Operation>,
    up: Vec<Operation>,
}

impl UndoProject {
    /// The previous project comes back by the Compose that this host has now, its files alone where nothing else was
    /// changed. Of a first one, files alone change nothing; it goes once Compose was run.
    fn of(wanted: &Wanted<'_>, previous: Option<&ComposeRelease>, facts: &Facts) -> Self {
        let run_by = |operation: ComposeOperation| vec![Operation::Compose(operation.run_by(&facts.compose_tool))];
        match previous {
            Some(previous) => Self {
                check_out: run_by(ComposeOperation::CheckOut { project: previous.project.clone() }),
                up: back(previous).into_iter().flat_map(run_by).collect(),
                ..Self::default()
            },
            None if !wanted.facts.unsaved.is_empty() => {
                Self { up: unsaved::back(&wanted.project.name, &wanted.facts.unsaved), ..Self::default() }
            }
            None => {
                let up = run_by(ComposeOperation::Down { project: wanted.project.clone() });
                // What serves without a saved release is not touched by tasks.
                let tasks = if facts.containers.is_empty() { up.clone() } else { Vec::new() };
                Self { tasks, up, ..Self::default() }
            }
        }
    }
}
