//! The three modes: what each observes, plans, recovers and does. It knows neither commands nor the console.
//!
//! `plan()` takes values only and is the only place that decides: no I/O, no async, no clock. What may happen at run time is
//! data in the plan: each action carries what undoes it, and what follows the saved release cannot fail the deployment.

pub(crate) mod against;
pub mod as_it_is;
pub mod by_hand;
pub(crate) mod changeable;
pub mod compose;
pub mod container;
pub mod create;
pub(crate) mod drift;
pub(crate) mod env_files;
pub mod facts;
pub(crate) mod fill;
pub(crate) mod health_now;
pub(crate) mod host;
pub(crate) mod images;
pub(crate) mod mounts;
pub(crate) mod observe;
pub mod operation;
pub(crate) mod options;
pub mod pinned;
pub mod prune;
pub mod release;
pub mod resume;
pub mod rollback;
pub(crate) mod runs_now;
pub mod secrets;
pub mod sharing;
pub mod swarm;
pub(crate) mod tasks;
pub(crate) mod volumes;

use crate::config::{Deployment, Mode};
use crate::deploy::origin::Origin;
use crate::error::Failure;
use crate::modes::facts::Facts;
use crate::modes::operation::Plan;
use crate::values::types::LifecycleEvent;

/// What `event` will do.
///
/// # Errors
/// What can be known to fail before anything is touched: an image for another processor, a host port that is
/// taken, a network that is missing, an option that the engine is too old for.
pub fn plan(event: LifecycleEvent, deployment: &Deployment, origin: &Origin, facts: &Facts) -> Result<Plan, Failure> {
    let plan = whole(event, deployment, origin, facts)?;
    match plan.would_fail.first() {
        Some(refused) => Err(refused.clone()),
        None => Ok(plan),
    }
}

/// The same with what is known to fail beside it, as far as there is a plan then.
pub(crate) fn whole(
    event: LifecycleEvent,
    deployment: &Deployment,
    origin: &Origin,
    facts: &Facts,
) -> Result<Plan, Failure> {
    if !observe::touches_engine(event) {
        return Ok(Plan::new(event.to_string(), &deployment.name));
    }
    let mut plan = match &deployment.mode {
        Mode::Container(container) => container::plan::plan(event, deployment, container, origin, facts),
        Mode::Swarm(swarm) => swarm::plan::plan(event, deployment, swarm, origin, facts),
        Mode::Compose(compose) => compose::plan::plan(event, deployment, compose, origin, facts),
    }?;
    if event == LifecycleEvent::BeforeInstall {
        plan.notes.extend(images::verified(facts));
    }
    if facts.stopped && event == LifecycleEvent::ApplicationStart {
        plan.attempt(by_hand::MarkOperation::DeleteStopped);
    }
    Ok(plan)
}
