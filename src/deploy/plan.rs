//! A plan: actions, each with what undoes it. The printed plan is the run plan.

use serde::Serialize;

use crate::engine::request::Target;
use crate::images::operation::Import;
use crate::modes::operation::Operation;
use crate::values::types::Name;

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
    pub sources: Vec<Import>,
}

/// One step and what undoes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Action {
    /// What is done.
    pub step: Operation,
    /// What undoes it, should this or a later step fail before the release is recorded.
    pub undo: Vec<Operation>,
    /// A failure is said, and ends nothing.
    pub best_effort: bool,
}

impl Action {
    /// A step that needs no undoing.
    pub const fn required(step: Operation) -> Self {
        Self { step, undo: Vec::new(), best_effort: false }
    }

    /// A step with what undoes it.
    pub const fn undone_by(step: Operation, undo: Vec<Operation>) -> Self {
        Self { step, undo, best_effort: false }
    }

    /// A step whose failure is said and ends nothing.
    pub const fn best_effort(step: Operation) -> Self {
        Self { step, undo: Vec::new(), best_effort: true }
    }
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
