//! `stop`, `start` and `restart`: what a person does to a name between two deployments, saved so that `resume` leaves it so.
//! Values in, a plan out.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::facts::ContainerFacts;
use crate::error::{Failure, Kind};
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::compose::release::ComposeRelease;
use crate::modes::container::operation::ContainerOperation;
use crate::modes::facts::Facts;
use crate::modes::host::Host;
use crate::modes::operation::{Action, Operation, Plan};
use crate::modes::resume::is_compose;
use crate::modes::swarm::facts::{Role, SwarmFacts};
use crate::modes::swarm::operation::{RolloutCheck, SwarmOperation};
use crate::modes::{compose, container};
use crate::values::known::Known;
use crate::values::labels::{LABEL_SPEC, LABEL_STOPPED};
use crate::values::operation::{Outcome, Role as Meaning, Traits};
use crate::values::types::Name;

/// How long a service's tasks must run without a failure: as in Compose, where nothing else is set.
pub(super) const MONITOR: Duration = Duration::from_secs(5);

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHand {
    /// It stays stopped, at boot too.
    Stop,
    /// It runs again, and is healthy.
    Start,
    /// Both, one after the other.
    Restart,
}

/// What is saved of it in the state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkOperation {
    /// A person has stopped the name.
    SaveStopped,
    /// Nobody has, any more.
    DeleteStopped,
    /// The release with this number is never pruned.
    #[allow(missing_docs)] // `what` is the release, as a person reads it
    Pin { number: u64, what: String },
    /// It goes as others do.
    #[allow(missing_docs)]
    Unpin { number: u64, what: String },
}

impl ByHand {
    /// As the command is called.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Restart => "restart",
        }
    }
}

impl MarkOperation {
    pub(crate) const fn traits(&self) -> Traits {
        match self {
            Self::SaveStopped | Self::DeleteStopped => Meaning::Passive.brief(),
            Self::Pin { .. } | Self::Unpin { .. } => Meaning::Prepares.brief(),
        }
    }

    pub(crate) fn perform(&self, host: &Host) -> Result<Outcome, Failure> {
        match self {
            Self::SaveStopped => host.store.save_stopped()?,
            Self::DeleteStopped => host.store.delete_stopped()?,
            Self::Pin { number, .. } => host.store.set_pinned(*number, true)?,
            Self::Unpin { number, .. } => host.store.set_pinned(*number, false)?,
        }
        Ok(Outcome::changed())
    }
}

impl fmt::Display for MarkOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SaveStopped => f.write_str("save that it was stopped by hand: resume leaves it so"),
            Self::DeleteStopped => f.write_str("save that it is to run: resume starts it"),
            Self::Pin { what, .. } => write!(f, "pin {what}: it is never pruned"),
            Self::Unpin { what, .. } => write!(f, "unpin {what}: it goes as others do"),
        }
    }
}

/// What `stop`, `start` or `restart` does with a name.
///
/// # Errors
/// There is nothing of that name, a killed deployment left something, or this node or host cannot do it.
pub fn plan(what: ByHand, name: &Name, facts: &Facts) -> Result<Plan, Failure> {
    let mut plan = Plan::new(what.as_str(), name);
    if facts.left.is_some() {
        return Err(Failure::new(
            Kind::State,
            format!("a deployment of {name} was killed, and is not finished or undone"),
        )
        .next(format!("balehook resume {name}, then {} it", what.as_str())));
    }
    if let Some(seen) = facts.swarm.as_ref().filter(|seen| is_service(seen, facts)) {
        service(what, name, seen, &mut plan)?;
        return Ok(plan);
    }
    match (is_compose(facts), facts.saved_project()) {
        (true, Some(saved)) => project(what, saved, facts, &mut plan)?,
        (true, None) => return Err(nothing(name, "no release of its project is saved")),
        (false, _) => {
            let found = facts.containers.iter().find(|found| found.ours && found.name == name.as_str());
            let found = found.ok_or_else(|| nothing(name, "no container of it is on this host"))?;
            plan.old = container::plan::old(Some(found), facts);
            one_container(what, found, facts, &mut plan);
        }
    }
    if what == ByHand::Stop {
        plan.interruption = down(name);
    }
    Ok(plan)
}

fn down(name: &Name) -> String {
    format!("{name} is down until `balehook start {name}` or the next deployment")
}

pub(super) fn nothing(name: &Name, why: &str) -> Failure {
    Failure::new(Kind::State, format!("nothing can be done with {name}: {why}"))
        .next("`balehook status` lists the names; deploy it first")
}

/// What a person wants is saved first: a command that is cut off leaves `resume` to end it.
fn mark(what: ByHand, facts: &Facts, plan: &mut Plan) {
    match what {
        ByHand::Stop if !facts.stopped => plan.require(MarkOperation::SaveStopped),
        ByHand::Start | ByHand::Restart if facts.stopped => plan.require(MarkOperation::DeleteStopped),
        ByHand::Stop | ByHand::Start | ByHand::Restart => {}
    }
}

fn one_container(what: ByHand, found: &ContainerFacts, facts: &Facts, plan: &mut Plan) {
    mark(what, facts, plan);
    plan.actions.extend(container::secrets::restore(facts).filter(|_| what != ByHand::Stop));
    let start = || ContainerOperation::Start { container: found.target() };
    let stop = ContainerOperation::Stop { container: found.target(), grace: found.stop_grace };
    let check = ContainerOperation::check_back(facts, found);
    match what {
        ByHand::Stop => {
            plan.actions.extend(found.is_running().then(|| Action::required(stop)));
            return;
        }
        ByHand::Restart if found.is_running() => {
            plan.interruption = format!("{} is down until it is healthy again", found.name);
            plan.undoable(stop, [start()]);
            plan.require(start());
        }
        ByHand::Start if found.is_running() => {}
        ByHand::Start | ByHand::Restart => plan.require(start()),
    }
    plan.require(check);
}

fn project(what: ByHand, saved: &ComposeRelease, facts: &Facts, plan: &mut Plan) -> Result<(), Failure> {
    if let Known::No(why) = &facts.compose_tool {
        return Err(Failure::new(Kind::Container, why).next(compose::project::INSTALL));
    }
    plan.subject = compose::plan::SUBJECT.into();
    mark(what, facts, plan);
    let own = |operation: ComposeOperation| Operation::from(operation.run_by(&facts.compose_tool));
    let is_running = facts.containers.iter().any(ContainerFacts::is_running);
    let halt = own(ComposeOperation::Halt { project: saved.project.clone() });
    let back: Vec<Operation> = compose::recover::back(saved).into_iter().map(own).collect();
    match what {
        ByHand::Stop => {
            plan.actions.extend(is_running.then(|| Action::required(halt)));
            return Ok(());
        }
        ByHand::Restart if is_running => plan.undoable(halt, back.clone()),
        ByHand::Start | ByHand::Restart => {}
    }
    if what == ByHand::Restart {
        plan.interruption = format!("{} is down until it is healthy again", saved.project.name);
    }
    plan.actions.extend(back.into_iter().map(Action::required));
    Ok(())
}

/// Of a node outside of any swarm, or of a release in another mode, there is none.
pub(super) fn is_service(seen: &SwarmFacts, facts: &Facts) -> bool {
    let is_saved = facts.releases.first().is_some_and(|release| release.part.swarm.is_some());
    seen.service.is_some() || is_saved || (seen.role == Role::Worker && facts.containers.is_empty())
}

/// A swarm has no service that is stopped: it has none of its tasks. How many it had is the service's own label, so that every
/// manager knows it.
fn service(what: ByHand, name: &Name, seen: &SwarmFacts, plan: &mut Plan) -> Result<(), Failure> {
    let refused = |why: String, next: &str| Failure::new(Kind::Container, why).next(next);
    if seen.role != Role::Manager {
        let why = format!("this node manages no swarm: it cannot {} service {name}", what.as_str());
        return Err(refused(why, "run it on a manager"));
    }
    let found = seen.service.as_ref().ok_or_else(|| nothing(name, "the swarm has no such service"))?;
    let spec = found.spec.reveal();
    let Some(now) = spec["Mode"]["Replicated"]["Replicas"].as_u64() else {
        let next = format!("drain the nodes, or docker service rm {name} and deploy again");
        return Err(refused(format!("service {name} is global: it has a task on every node"), &next));
    };
    plan.subject = "old service".into();
    let before = found.spec.label(LABEL_STOPPED).and_then(|count| count.parse().ok());
    let scale = |to, stopped| SwarmOperation::Scale { service: name.to_string(), to, stopped };
    match what {
        // The swarm ends the tasks by itself, each within its own time.
        ByHand::Stop => {
            plan.actions.extend((now > 0).then(|| Action::required(scale(0, Some(now)))));
            plan.interruption = down(name);
            return Ok(());
        }
        ByHand::Start if now > 0 => {}
        ByHand::Start => plan.require(scale(before.unwrap_or(1), None)),
        ByHand::Restart if now == 0 => plan.require(scale(before.unwrap_or(1), None)),
        ByHand::Restart => {
            plan.require(SwarmOperation::Restart { service: name.to_string() });
            plan.interruption =
                "each task is replaced as in an update: with one task the service is down meanwhile".into();
        }
    }
    plan.require(SwarmOperation::RolloutCheck(RolloutCheck {
        service: name.to_string(),
        spec: found.spec.label(LABEL_SPEC).unwrap_or_default().to_owned(),
        monitor: MONITOR,
        strict: false,
    }));
    Ok(())
}
