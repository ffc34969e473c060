//! A plan: actions, each with its role and with what undoes it. The printed plan is the run plan, the same value.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind};
use crate::values::operation::{Role, Traits};
use crate::values::options::OptionChange;
use crate::values::target::Target;
use crate::values::types::Name;

/// What a mode can do to a host, as far as plans and their execution need to know it. `Display` is its one rendering;
/// serde is its form in the journal, which is for the state directory alone.
pub trait Operation: Clone + fmt::Debug + fmt::Display + PartialEq + Serialize + DeserializeOwned {
    /// One short line for the console.
    fn title(&self) -> String;
    /// Lines that a printed plan shows below it.
    fn details(&self) -> Vec<String>;
    /// What its execution must know of it.
    fn traits(&self) -> Traits;
}

/// What an event will do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan<O> {
    pub(crate) event: String,
    pub(crate) name: String,
    /// What was taken for granted because it could not be looked up.
    pub(crate) assumptions: Vec<String>,
    /// What a person should know before it runs.
    pub notes: Vec<String>,
    /// Why it could not be run here and now, in a plan that is only printed.
    pub(crate) would_fail: Vec<Failure>,
    /// What finishes or undoes what an interrupted event left, in this order, before anything else. `None` in a plan that
    /// leaves its journal as it is.
    pub recovery: Option<Vec<Action<O>>>,
    /// In this order.
    pub actions: Vec<Action<O>>,
    /// Expected interruption of the service, one sentence.
    pub(crate) interruption: String,
    pub(crate) old: Old,
    pub(crate) subject: String,
    /// What serves now, where its options are known.
    pub(crate) compared_with: Option<String>,
    /// Options that differ from those.
    pub(crate) changed_options: Vec<OptionChange>,
}

/// What was there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Old {
    /// It was not observed, or could not be.
    NotObserved,
    /// There was none.
    Nothing,
    /// It is there and does not run.
    Stopped(Target),
    /// It is there and runs.
    Running(Target),
}

/// One operation with what it means and what undoes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Action<O> {
    /// What is done.
    pub operation: O,
    /// What it means to the execution.
    pub role: Role,
    pub(crate) is_long: bool,
    /// What undoes it, in this order, should it or a later action fail before the release is saved.
    pub(crate) undo: Vec<Undo<O>>,
    pub(crate) repair: Option<Repair<O>>,
    /// A failure is said, and ends nothing.
    pub best_effort: bool,
}

/// What may put right why an operation failed. Where it changed anything, the operation is done once more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Repair<O> {
    /// After failures of these kinds alone.
    pub(crate) after: Vec<Kind>,
    pub(crate) operations: Vec<O>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "O: Serialize + DeserializeOwned")]
pub(crate) struct Undo<O> {
    pub(crate) operation: O,
    /// What served before depends on it to come back.
    pub(crate) restores: bool,
    /// For this plan alone: what is observed after a crash may ask for another one.
    #[serde(skip)]
    pub(crate) repair: Option<Repair<O>>,
}

impl<O> Repair<O> {
    pub(crate) fn of(after: &[Kind], operations: Vec<O>) -> Option<Self> {
        (!operations.is_empty()).then(|| Self { after: after.to_vec(), operations })
    }
}

impl<O: Operation> From<O> for Undo<O> {
    fn from(operation: O) -> Self {
        Self { restores: operation.traits().restores, operation, repair: None }
    }
}

impl<O: Operation> Undo<O> {
    /// It changes nothing: it asks whether what served before is healthy again.
    pub(crate) fn is_check(&self) -> bool {
        self.operation.traits().role == Role::ChecksHealth
    }
}

/// What undoes actions, of which the undo steps are given in the order of the plan: the last action's first. A step that
/// undoes two of them is done once. Whether the old release is healthy is asked once everything else is done.
pub(crate) fn undo_steps<'a, O: Operation>(
    begun: impl DoubleEndedIterator<Item = &'a Vec<Undo<O>>>,
) -> Vec<&'a Undo<O>> {
    let mut steps: Vec<&Undo<O>> = Vec::new();
    for step in begun.rev().flatten() {
        if !steps.iter().any(|known| known.operation == step.operation) {
            steps.push(step);
        }
    }
    let (checks, mut all): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.is_check());
    all.extend(checks);
    all
}

impl<O: Operation> Action<O> {
    pub(crate) fn required(operation: impl Into<O>) -> Self {
        let operation = operation.into();
        let Traits { role, is_long, .. } = operation.traits();
        Self { operation, role, is_long, undo: Vec::new(), repair: None, best_effort: false }
    }

    pub(crate) fn undone_by(operation: impl Into<O>, undo: impl IntoIterator<Item: Into<O>>) -> Self {
        let undo = undo.into_iter().map(|step| Undo::from(step.into())).collect();
        Self { undo, ..Self::required(operation) }
    }

    pub(crate) fn best_effort(operation: impl Into<O>) -> Self {
        Self { best_effort: true, ..Self::required(operation) }
    }

    #[must_use]
    pub(crate) fn repaired_by(mut self, after: &[Kind], operations: Vec<O>) -> Self {
        self.repair = Repair::of(after, operations);
        self
    }
}

impl<O: Operation> Plan<O> {
    pub(crate) fn new(event: impl Into<String>, name: &Name) -> Self {
        Self {
            event: event.into(),
            name: name.to_string(),
            assumptions: Vec::new(),
            notes: Vec::new(),
            would_fail: Vec::new(),
            recovery: None,
            actions: Vec::new(),
            interruption: "none".into(),
            old: Old::NotObserved,
            subject: "old container".into(),
            compared_with: None,
            changed_options: Vec::new(),
        }
    }

    /// Everything that is done, in order: the recovery first.
    pub fn all(&self) -> impl Iterator<Item = &Action<O>> {
        self.recovery.iter().flatten().chain(&self.actions)
    }

    /// Whether anything that runs, or that the engine holds, would change.
    pub fn has_changes(&self) -> bool {
        self.all().any(|action| action.role.changes())
    }

    /// An operation whose failure fails the plan.
    pub(crate) fn require(&mut self, operation: impl Into<O>) {
        self.actions.push(Action::required(operation));
    }

    /// An operation whose failure is said and ends nothing.
    pub(crate) fn attempt(&mut self, operation: impl Into<O>) {
        self.actions.push(Action::best_effort(operation));
    }

    pub(crate) fn undoable(&mut self, operation: impl Into<O>, undo: impl IntoIterator<Item: Into<O>>) {
        self.actions.push(Action::undone_by(operation, undo));
    }

    pub(crate) fn saves(&self) -> bool {
        self.actions.iter().any(|action| action.role == Role::Saves)
    }

    pub(crate) fn recover(&mut self, actions: impl IntoIterator<Item = Action<O>>) {
        self.recovery.get_or_insert_default().extend(actions);
    }
}

impl Old {
    pub(crate) fn of(target: Option<Target>, is_running: bool) -> Self {
        match (target, is_running) {
            (None, _) => Self::Nothing,
            (Some(target), true) => Self::Running(target),
            (Some(target), false) => Self::Stopped(target),
        }
    }
}
