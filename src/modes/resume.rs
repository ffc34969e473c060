//! `resume`: what a reboot, a crash or a killed event left, put in order. Values in, a plan out.

use bollard::models::RestartPolicyNameEnum;

use crate::deploy::journal::Left;
use crate::deploy::outcome::RESUME;
use crate::engine::facts::ContainerFacts;
use crate::modes::compose::release::ComposeRelease;
use crate::modes::container::operation::ContainerOperation;
use crate::modes::container::recover;
use crate::modes::facts::Facts;
use crate::modes::operation::{Action, Operation, Plan};
use crate::modes::swarm::operation::SwarmOperation;
use crate::modes::{self, compose, container};
use crate::values::types::Name;

/// Which part of it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// All of it.
    Everything,
    /// The tokens of registries in a swarm.
    Tokens,
    /// The rules of switched ports.
    Ports,
}

/// What `resume` does for one name. `registry`: whose token the swarm's service of that name needs.
pub fn plan(name: &Name, facts: &Facts, registry: Option<&str>, only: Only) -> Plan {
    let mut plan = Plan::new(RESUME, name);
    match only {
        Only::Everything => everything(&mut plan, name, facts),
        Only::Ports => {
            let recovery = recover::ports(name, facts);
            plan.notes.extend(recovery.note);
            plan.actions = recovery.actions;
        }
        Only::Tokens => {}
    }
    if let Some(registry) = registry.filter(|_| only != Only::Ports) {
        let refresh = SwarmOperation::RenewToken { service: name.to_string(), registry: registry.to_owned() };
        // At boot what runs is more than a token.
        let action = if only == Only::Tokens { Action::required } else { Action::best_effort };
        plan.actions.push(action(Operation::Swarm(refresh)));
    }
    plan
}

fn everything(plan: &mut Plan, name: &Name, facts: &Facts) {
    match (is_compose(facts), facts.saved_project()) {
        (false, _) => container(plan, name, facts),
        (true, saved) => {
            plan.subject = compose::plan::SUBJECT.into();
            plan.old = compose::plan::old(name, facts);
            compose::recover::recover(plan, facts, false);
            let is_decided = plan.recovery.iter().flatten().any(|action| action.operation.decides_project());
            // After ApplicationStop, or `docker compose down`, none is left to restore.
            if facts.stopped {
                note_stopped(plan, name);
            } else if let Some(saved) = saved.filter(|_| !is_decided && !facts.containers.is_empty()) {
                project(plan, saved, facts);
            }
        }
    }
}

/// Whether it is a project that is restored: then this host's Compose is needed.
pub(crate) fn is_compose(facts: &Facts) -> bool {
    let is_begun = match &facts.left {
        None => false,
        Some(Left::Format1(journal)) => journal.compose.is_some(),
        Some(Left::Plan(left)) => left.operations().iter().any(|operation| matches!(operation, Operation::Compose(_))),
    };
    let is_of_a_service = facts.containers.iter().any(|container| container.service.is_some());
    is_begun || is_of_a_service || facts.releases.first().is_some_and(|release| release.part.compose.is_some())
}

fn container(plan: &mut Plan, name: &Name, facts: &Facts) {
    let mut recovery = recover::recover(name, facts);
    recover::close_stale(name, facts, &mut recovery);
    plan.notes.extend(recovery.note);
    plan.recover(recovery.actions);
    // A swarm's service is no container of this name.
    if !facts.containers.is_empty() {
        plan.old = container::plan::old(recovery.serving.as_ref(), facts);
    }
    let saved = facts.releases.first().map(|release| release.observed.container.as_str());
    if facts.stopped {
        stays_stopped(plan, name, recovery.serving.as_ref(), facts);
        return;
    }
    if let Some(serving) = recovery.serving.filter(|found| Some(found.id.as_str()) == saved)
        && is_down(plan, Some(&serving))
    {
        plan.require(ContainerOperation::Start { container: serving.target() });
        plan.require(ContainerOperation::check_back(facts, &serving));
    }
}

/// What a person has stopped stays so: the engine starts one with `restart: always` all the same when it starts itself.
fn stays_stopped(plan: &mut Plan, name: &Name, serving: Option<&ContainerFacts>, facts: &Facts) {
    note_stopped(plan, name);
    let kept = facts.releases.first().and_then(|release| release.part.container.as_ref());
    let policy = kept.and_then(|kept| kept.request.options.body.host_config.as_ref()?.restart_policy.as_ref()?.name);
    let is_always = policy == Some(RestartPolicyNameEnum::ALWAYS);
    if let Some(serving) = serving.filter(|found| is_always && found.is_running()) {
        plan.require(ContainerOperation::Stop { container: serving.target(), grace: serving.stop_grace });
    }
}

fn note_stopped(plan: &mut Plan, name: &Name) {
    plan.notes.push(format!("{name} was stopped by hand and stays so: balehook start {name}"));
}

/// Whether a container ought to run, and does not; what was stopped by hand stays so, which is noted.
fn is_down(plan: &mut Plan, found: Option<&ContainerFacts>) -> bool {
    let Some(container) = found else { return true };
    if container.stopped_by_hand {
        let name = &container.name;
        plan.notes.push(format!(
            "{name} was stopped by hand and stays so: docker start {name} (`docker kill --signal` counts as a stop)"
        ));
    }
    !container.is_running() && !container.stopped_by_hand
}

/// Restores a project where any of its containers is down that ran when the release was saved.
fn project(plan: &mut Plan, saved: &ComposeRelease, facts: &Facts) {
    let running = facts.releases.first().map(|release| release.observed.running.as_slice()).unwrap_or_default();
    let (mut down, mut stopped) = (Vec::new(), Vec::new());
    for name in running {
        let found = facts.containers.iter().find(|container| container.name == *name);
        let service = found.and_then(|container| container.service.as_deref());
        if is_down(plan, found) {
            down.push(service);
        } else if found.is_some_and(|container| !container.is_running()) {
            stopped.push(service);
        }
    }
    // Of one service a container may have been stopped by hand, and another one be down by itself.
    let left: Vec<&str> = stopped.into_iter().filter(|service| !down.contains(service)).flatten().collect();
    if !down.is_empty() {
        let back = compose::recover::back_but(saved, &left).into_iter();
        let actions = back.map(|operation| Action::required(operation.run_by(&facts.compose_tool)));
        plan.actions.extend(actions.map(|action| modes::images::restoring(action, facts)));
    }
}
