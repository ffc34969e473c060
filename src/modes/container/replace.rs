//! Stop-first: the new container takes the old one's place, under the old one's name.

use crate::config::{Container, Deployment};
use crate::engine::facts::ContainerFacts;
use crate::engine::request::ContainerSpec;
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::modes::container::operation::ContainerOperation;
use crate::modes::container::plan::{health_check, note_unmanaged};
use crate::modes::container::recover::remove;
use crate::modes::container::spec::compare;
use crate::modes::container::start_first;
use crate::modes::facts::Facts;
use crate::modes::operation::{Action, Operation, Plan};
use crate::modes::release::Release;
use crate::modes::tasks::TaskActions;
use crate::values::names::{new_name, old_name};
use crate::values::target::Target;

/// A release that is put in place.
pub(crate) struct Incoming {
    pub(crate) spec: ContainerSpec,
    pub(crate) health_check: HealthCheck,
    pub(crate) release: Release,
    pub(crate) around: TaskActions,
    /// What imports its image again, should it be lost.
    pub(crate) if_lost: Vec<Operation>,
}

/// One container after the other, or the new one beside the old one until the ports are switched.
pub(super) fn replace(
    plan: &mut Plan,
    deployment: &Deployment,
    container: &Container,
    facts: &Facts,
    old: Option<&ContainerFacts>,
    new: Incoming,
) -> Result<(), Failure> {
    let service = &container.service;
    let Some(order) = service.start_first else {
        compare(plan, &new.spec, facts);
        stop_first(plan, deployment, facts, old, new);
        return Ok(());
    };
    let seen = facts.ports.as_ref();
    let seen = seen.ok_or_else(|| Failure::new(Kind::Unexpected, "the host's tables were not observed"))?;
    if let Some(old) = old {
        note_unmanaged(plan, deployment, old);
    }
    let at = start_first::place(&deployment.name, service, seen, old)?;
    let spec = start_first::dressed(new.spec, service, facts.engine.yes(), &at);
    let mut release = new.release;
    if let Some(kept) = &mut release.part.container {
        kept.request = spec.clone();
    }
    compare(plan, &spec, facts);
    let health_check = health_check(deployment, container, Some(at.address));
    start_first::start(plan, deployment, order, facts, old, at, Incoming { spec, health_check, release, ..new });
    Ok(())
}

/// Everything that can fail without touching the old container comes first.
fn stop_first(plan: &mut Plan, deployment: &Deployment, facts: &Facts, old: Option<&ContainerFacts>, new: Incoming) {
    let Incoming { spec, health_check, release, around, if_lost } = new;
    let (name, aside) = (deployment.name.to_string(), new_name(&deployment.name));
    let (created, created_aside) = (Target::created(&name), Target::created(&aside));
    let remove_new = ContainerOperation::Remove { container: created_aside.clone(), volumes: true };
    let create = Action::undone_by(ContainerOperation::Create(Box::new(spec)), [remove_new]);
    plan.actions.push(create.repaired_by(&[Kind::Image], if_lost));
    plan.actions.extend(around.before);
    if let Some(old) = old {
        note_unmanaged(plan, deployment, old);
        stop_old(plan, old);
        rename_old(plan, deployment, old, start_first::switch_to(facts, &deployment.name, Some(old)));
    }
    let rename_back = ContainerOperation::Rename { container: created.clone(), to: aside };
    plan.undoable(ContainerOperation::Rename { container: created_aside, to: name }, [rename_back]);
    // Where the kernel switched the ports until now: the engine publishes them again.
    plan.actions.extend(start_first::switch_to(facts, &deployment.name, None).map(Action::required));
    let kill = ContainerOperation::Kill { container: created.clone() };
    plan.undoable(ContainerOperation::Start { container: created.clone() }, [kill]);
    plan.require(ContainerOperation::CheckHealth { container: created.clone(), health_check });
    plan.actions.extend(around.healthy);
    plan.require(ContainerOperation::SaveRelease { container: created, release: Box::new(release) });
    if let Some(old) = old {
        plan.attempt(remove(&ContainerFacts { name: old_name(&deployment.name), ..old.clone() }));
    }
    plan.actions.extend(around.recorded);
}

fn stop_old(plan: &mut Plan, old: &ContainerFacts) {
    if !old.is_running() {
        return;
    }
    let (container, grace) = (old.target(), old.stop_grace);
    let undo =
        [ContainerOperation::Kill { container: old.target() }, ContainerOperation::Start { container: old.target() }];
    plan.undoable(ContainerOperation::Stop { container, grace }, undo);
    let (name, seconds) = (&plan.name, grace.as_secs());
    plan.interruption =
        format!("{name} is down from `docker stop` (at most {seconds} s) until the new container is healthy");
}

/// Gives the old container's name away. `switch_back`: the step after which the kernel switches the ports to it again.
pub(super) fn rename_old(
    plan: &mut Plan,
    deployment: &Deployment,
    old: &ContainerFacts,
    switch_back: Option<Operation>,
) {
    let aside = old_name(&deployment.name);
    let renamed = Target { name: aside.clone(), id: Some(old.id.clone()) };
    let back = Operation::from(ContainerOperation::Rename { container: renamed, to: old.name.clone() });
    let rename = ContainerOperation::Rename { container: old.target(), to: aside };
    plan.undoable(rename, [back].into_iter().chain(switch_back));
}
