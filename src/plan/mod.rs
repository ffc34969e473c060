//! Values in, steps out: no I/O, no async, no clock.
//!
//! `plan()` is the only place that decides. Everything that may happen at run time is data in the [`Plan`]: each
//! action carries what undoes it, and what follows the record of the release can no longer fail the deployment.

pub mod compose;
pub mod container;
pub mod create;
pub mod handover;
pub mod images;
pub mod recover;
pub mod run_line;
pub mod step;
pub mod swarm;
pub mod task;

use serde::Serialize;

use crate::error::Failure;
use crate::facts::Facts;
use crate::spec::types::{LifecycleEvent, Name};
use crate::spec::{Deployment, Mode};
use step::{Bring, Step, Target};

/// What an event will do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The event, or `resume`.
    pub event: String,
    /// The deployment's name.
    pub name: String,
    /// What was taken for granted because it could not be looked up.
    pub assumptions: Vec<String>,
    /// What a person should know before it runs.
    pub notes: Vec<String>,
    /// In this order.
    pub actions: Vec<Action>,
    /// Expected interruption of the service, one sentence.
    pub interruption: String,
    /// The container or the service that serves when the plan begins.
    pub old: Option<Target>,
    /// Whether it ran.
    pub old_ran: bool,
    /// What reports call it.
    pub subject: &'static str,
    /// Options of the new container that differ from the recorded release's.
    pub changed_options: Vec<Vec<String>>,
    /// How each image that it needs would be brought in, also where the engine says that it has it.
    #[serde(skip)]
    pub sources: Vec<Bring>,
}

/// One step and what undoes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Action {
    /// What is done.
    pub step: Step,
    /// What undoes it, should this or a later step fail before the release is recorded.
    pub undo: Vec<Step>,
    /// A failure is said, and ends nothing.
    pub best_effort: bool,
}

impl Action {
    /// A step that needs no undoing.
    pub const fn required(step: Step) -> Self {
        Self { step, undo: Vec::new(), best_effort: false }
    }

    /// A step with what undoes it.
    pub const fn undone_by(step: Step, undo: Vec<Step>) -> Self {
        Self { step, undo, best_effort: false }
    }

    /// A step whose failure is said and ends nothing.
    pub const fn best_effort(step: Step) -> Self {
        Self { step, undo: Vec::new(), best_effort: true }
    }
}

/// The deployment's ID where no agent gave one.
pub const MANUAL: &str = "manual";

/// Who asks: what labels and records say of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// CodeDeploy's deployment ID, or [`MANUAL`].
    pub deployment: String,
    /// Where the revision came from.
    pub revision: String,
    /// The image source as written in `appspec.yml`.
    pub source: String,
}

impl Plan {
    /// A plan without steps.
    pub fn new(event: impl Into<String>, name: &Name) -> Self {
        Self {
            event: event.into(),
            name: name.to_string(),
            assumptions: Vec::new(),
            notes: Vec::new(),
            actions: Vec::new(),
            sources: Vec::new(),
            interruption: "none".into(),
            old: None,
            old_ran: false,
            subject: "old container",
            changed_options: Vec::new(),
        }
    }

    /// Whether anything that runs, or that the engine holds, would change.
    pub fn has_changes(&self) -> bool {
        self.actions.iter().any(|action| action.step.is_change())
    }
}

/// What `event` will do.
///
/// # Errors
/// What can be known to fail before anything is touched: an image for another processor, a host port that somebody
/// else has, a network that is missing, an option that the engine is too old for.
pub fn plan(event: LifecycleEvent, deployment: &Deployment, asker: &Asker, facts: &Facts) -> Result<Plan, Failure> {
    match &deployment.mode {
        Mode::Container(container) => container::plan(event, deployment, container, asker, facts),
        Mode::Swarm(swarm) => swarm::plan(event, deployment, swarm, asker, facts),
        Mode::Compose(compose) => compose::plan(event, deployment, compose, asker, facts),
    }
}
