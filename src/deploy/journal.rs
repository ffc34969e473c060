//! The journal: what undoes, or finishes, the plan under way, on disk before anything changes.
//!
//! `journal.json` holds the undo steps themselves, one entry for each action; `journal.begun` holds one line for each action
//! that was begun, written before it is. So what a crash left needs neither the bundle nor a new plan.

use serde::{Deserialize, Serialize};

use crate::deploy::plan::{Action, Old, Operation, Plan, Undo};
use crate::values::operation::Role;

/// The version of the file's form. A newer one is refused, not guessed at.
pub const FORMAT: u32 = 2;

/// The plan under way, as far as somebody else must be able to end it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "O: Operation")]
pub struct Journal<O> {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// The event.
    pub event: String,
    /// The deployment.
    pub deployment: String,
    /// What served when it began.
    pub old: Old,
    /// The number that its release gets: where there is such a release, it was saved.
    pub release: u64,
    /// One for each action.
    pub steps: Vec<Step<O>>,
}

/// What is left of one action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "O: Operation")]
pub struct Step<O> {
    /// What undoes it, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<Undo<O>>,
    /// What is to be done yet once the release is saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<O>,
}

impl<O: Operation> Journal<O> {
    /// That of a plan; `None` where nothing would have to be undone.
    pub fn of(plan: &Plan<O>, deployment: &str, release: u64) -> Option<Self> {
        if plan.actions.iter().all(|action| action.undo.is_empty()) {
            return None;
        }
        let saved = plan.actions.iter().position(|action| action.role == Role::Saves).unwrap_or(usize::MAX);
        let step = |(index, action): (usize, &Action<O>)| Step {
            undo: action.undo.clone(),
            then: (index > saved && action.role.changes()).then(|| action.operation.clone()),
        };
        Some(Self {
            format: FORMAT,
            event: plan.event.clone(),
            deployment: deployment.to_owned(),
            old: plan.old.clone(),
            release,
            steps: plan.actions.iter().enumerate().map(step).collect(),
        })
    }

    /// What undoes the first `begun` actions, the last first.
    pub fn undo(&self, begun: usize) -> Vec<O> {
        let begun = &self.steps[..begun.min(self.steps.len())];
        begun.iter().rev().flat_map(|step| &step.undo).map(|undo| undo.operation.clone()).collect()
    }

    /// What finishes a plan whose release was saved: an action that was begun may not have ended.
    pub fn finish(&self, begun: usize) -> Vec<O> {
        self.steps.iter().skip(begun.saturating_sub(1)).filter_map(|step| step.then.clone()).collect()
    }
}

/// What an interrupted event left, or a failed undo.
#[derive(Debug, Clone, PartialEq)]
pub struct Interrupted<O> {
    /// Its journal.
    pub journal: Journal<O>,
    /// How many of its actions were begun.
    pub begun: usize,
    /// Its release was saved: it is finished, not undone.
    pub is_saved: bool,
}

impl<O: Operation> Interrupted<O> {
    /// What ends it.
    pub fn operations(&self) -> Vec<O> {
        match self.is_saved {
            true => self.journal.finish(self.begun),
            false => self.journal.undo(self.begun),
        }
    }
}
