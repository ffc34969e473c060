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
use crate::modes::operation::Operation;
use crate::modes::operation::{Action, Plan};
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
        swap(plan, deployment, facts, old, new);
        return Ok(());
    };
    let seen = facts.ports.as_ref();
    let seen = seen.ok_or_else(|| Failure::new(Kind::Unexpected, "the host's tables were not looked at"))?;
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

/// The swap: everything that can fail without touching the old container comes first.
pub(super) fn swap(
    plan: &mut Plan,
    deployment: &Deployment,
    facts: &Facts,
    old: Option<&ContainerFacts>,
    new: Incoming,
) {
    let Incoming { spec, health_check, release, around, if_lost } = new;
    let name = deployment.name.to_string();
    let created = |name: &str| Target { name: name.to_owned(), id: None };
    let aside = new_name(&deployment.name);
    let remove_new =
        |name: &str| vec![Operation::Container(ContainerOperation::Remove { container: created(name), volumes: true })];
    let create = Action::undone_by(ContainerOperation::Create(Box::new(spec)), remove_new(&aside));
    plan.actions.push(create.repaired_by(&[Kind::Image], if_lost));
    plan.actions.extend(around.before);
    if let Some(old) = old {
        note_unmanaged(plan, deployment, old);
        set_aside(plan, old, &old_name(&deployment.name), start_first::switch_to(facts, &deployment.name, Some(old)));
    }
    plan.actions.push(Action::undone_by(
        ContainerOperation::Rename { container: created(&aside), to: name.clone() },
        vec![Operation::Container(ContainerOperation::Rename { container: created(&name), to: aside })],
    ));
    // From the handover back to the swap: the engine publishes the ports again.
    plan.actions.extend(start_first::switch_to(facts, &deployment.name, None).map(Action::required));
    let start = Operation::Container(ContainerOperation::Start { container: created(&name) });
    plan.actions.push(Action::undone_by(
        start,
        vec![Operation::Container(ContainerOperation::Kill { container: created(&name) })],
    ));
    plan.actions.push(Action::required(ContainerOperation::CheckHealth { container: created(&name), health_check }));
    plan.actions.extend(around.healthy);
    plan.actions.push(Action::required(ContainerOperation::SaveRelease {
        container: created(&name),
        release: Box::new(release),
    }));
    if let Some(old) = old {
        let aside = ContainerFacts { name: old_name(&deployment.name), ..old.clone() };
        plan.actions.push(Action::best_effort(remove(&aside)));
    }
    plan.actions.extend(around.recorded);
}

/// `lead_back`: where the kernel hands the ports over, the step after which they lead to the old container again.
pub(super) fn set_aside(plan: &mut Plan, old: &ContainerFacts, aside: &str, switch_back: Option<Operation>) {
    if old.is_running() {
        let undo = vec![
            Operation::Container(ContainerOperation::Kill { container: old.target() }),
            Operation::Container(ContainerOperation::Start { container: old.target() }),
        ];
        let stop = Operation::Container(ContainerOperation::Stop { container: old.target(), grace: old.stop_grace });
        plan.actions.push(Action::undone_by(stop, undo));
        plan.interruption = format!(
            "{} is down from `docker stop` (at most {} s) until the new container is healthy",
            plan.name,
            old.stop_grace.as_secs()
        );
    }
    let set_aside = Target { name: aside.to_owned(), id: Some(old.id.clone()) };
    plan.actions.push(Action::undone_by(
        ContainerOperation::Rename { container: old.target(), to: aside.to_owned() },
        [Operation::Container(ContainerOperation::Rename { container: set_aside, to: old.name.clone() })]
            .into_iter()
            .chain(switch_back)
            .collect(),
    ));
}
