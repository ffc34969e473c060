//! The journal: what undoes, or finishes, the plan under way, on disk before anything changes.
//!
//! `journal.json` holds the undo steps themselves, one entry for each action; `journal.begun` holds one line for each action
//! that was begun, written before it is. So what a crash left needs neither the bundle nor a new plan.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use crate::deploy::file::read;
use crate::deploy::plan::{Action, Old, Operation, Plan, Undo, undo_steps};
use crate::error::Failure;
use crate::files::{unwritable, write};
use crate::folder::Folder;
use crate::values::operation::Role;

/// The version of the file's form. A newer one is refused, not guessed at.
pub(crate) const FORMAT: u32 = 2;

/// The journal of the plan under way.
const JOURNAL: &str = "journal.json";
/// Which of its actions were begun: one number in each line.
const BEGUN: &str = "journal.begun";

/// The plan under way, as far as another process must be able to end it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "O: Operation")]
pub struct Journal<O> {
    pub(crate) format: u32,
    pub(crate) event: String,
    pub(crate) deployment: String,
    pub(crate) old: Old,
    /// The number that its release gets: where there is such a release, it was saved.
    pub(crate) release: u64,
    pub(crate) steps: Vec<Step<O>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "O: Operation")]
pub(crate) struct Step<O> {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) undo: Vec<Undo<O>>,
    /// What is to be done yet once the release is saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) then: Option<O>,
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

    /// Takes all before an operation out of what undoes the first `begun` actions: it was done, or there was nothing to do.
    /// Whether that was anything.
    fn reach(&mut self, next: &O, begun: usize) -> bool {
        let begun = begun.min(self.steps.len());
        let place = |step: &Step<O>| step.undo.iter().position(|undo| undo.operation == *next);
        let Some((index, place)) = (0..begun).rev().find_map(|index| Some((index, place(&self.steps[index])?))) else {
            return false;
        };
        let before = self.operations_left(begun);
        self.steps[index + 1..begun].iter_mut().for_each(|later| later.undo.clear());
        self.steps[index].undo.drain(..place);
        self.operations_left(begun) != before
    }

    fn operations_left(&self, begun: usize) -> usize {
        self.steps[..begun].iter().map(|step| step.undo.len()).sum()
    }

    /// Takes out what was still to be done once the release was saved; whether it was there.
    fn finished(&mut self, done: &O) -> bool {
        let step = self.steps.iter_mut().find(|step| step.then.as_ref() == Some(done));
        step.is_some_and(|step| step.then.take().is_some())
    }

    /// What undoes the first `begun` actions, the last first.
    pub(crate) fn undo(&self, begun: usize) -> Vec<O> {
        let begun = &self.steps[..begun.min(self.steps.len())];
        undo_steps(begun.iter().map(|step| &step.undo)).into_iter().map(|undo| undo.operation.clone()).collect()
    }

    /// What finishes a plan whose release was saved: an action that was begun may not have ended.
    pub(crate) fn finish(&self, begun: usize) -> Vec<O> {
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

/// What an interrupted event left on disk.
#[derive(Debug, Clone, PartialEq)]
pub enum Left<O> {
    /// A plan with its undo steps.
    Plan(Interrupted<O>),
    /// A journal of format 1: it says what served, and nothing of how it comes back.
    Format1(JournalV1),
}

/// A journal of format 1.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct JournalV1 {
    /// The container that served when it began: its ID, and whether it ran.
    pub old: Option<(String, bool)>,
    /// In Compose mode: the project that was begun.
    #[serde(default)]
    pub compose: Option<serde_json::Value>,
}

/// What is left in a folder. `is_saved`: whether there is a release of a number.
pub(super) fn left<O: Operation>(folder: &Path, is_saved: impl Fn(u64) -> bool) -> Option<Left<O>> {
    let path = folder.join(JOURNAL);
    let value: serde_json::Value = read(&path)?;
    if value["format"] == 1 {
        return serde_json::from_value(value).ok().map(Left::Format1);
    }
    let journal: Journal<O> = read(&path)?;
    let begun = fs::read_to_string(folder.join(BEGUN)).unwrap_or_default();
    let begun = begun.lines().filter_map(|line| line.parse::<usize>().ok()).max().map_or(0, |last| last + 1);
    let is_saved = is_saved(journal.release);
    Some(Left::Plan(Interrupted { journal, begun, is_saved }))
}

/// The journal of one plan, written by the lock's holder alone.
#[derive(Debug)]
pub struct JournalFile<O> {
    folder: PathBuf,
    deployment: String,
    release: u64,
    /// Whether each action's begin is written down: those that need no undoing, and nothing afterwards, are not.
    steps: Vec<bool>,
    begun: Option<File>,
    /// What another event left, as far as it is not recovered yet.
    left: Option<Interrupted<O>>,
}

impl<O: Operation> JournalFile<O> {
    /// The journal of a deployment's plan, which saves the release of this number; nothing is written yet.
    pub(super) fn new(folder: &Path, deployment: &str, release: u64) -> Self {
        let left = match left(folder, |_| false) {
            Some(Left::Plan(left)) => Some(left),
            Some(Left::Format1(_)) | None => None,
        };
        let (folder, deployment) = (folder.to_owned(), deployment.to_owned());
        Self { folder, deployment, release, steps: Vec::new(), begun: None, left }
    }

    /// Writes what undoes a plan. A plan that needs no undoing leaves what is there.
    pub(crate) fn open(&mut self, plan: &Plan<O>) -> Result<(), Failure> {
        let Some(journal) = Journal::of(plan, &self.deployment, self.release) else { return Ok(()) };
        self.left = None;
        self.steps = journal.steps.iter().map(|step| !step.undo.is_empty() || step.then.is_some()).collect();
        let path = self.folder.join(BEGUN);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
        let begun = Folder::open_last(&self.folder).and_then(|folder| folder.file(OsStr::new(BEGUN), flags));
        self.begun = Some(begun.map_err(|error| unwritable(&path, &error))?);
        write(&self.folder.join(JOURNAL), &journal)
    }

    /// Writes down that an action is about to begin.
    pub(crate) fn begin(&mut self, index: usize) -> Result<(), Failure> {
        let Some(begun) = self.begun.as_mut().filter(|_| self.steps.get(index) == Some(&true)) else { return Ok(()) };
        let written = writeln!(begun, "{index}").and_then(|()| begun.sync_data());
        written.map_err(|error| unwritable(&self.folder.join(BEGUN), &error))
    }

    /// Keeps the undo steps that are left, for the next event to do.
    pub(crate) fn keep(&self, plan: &Plan<O>, left: Vec<Undo<O>>) -> Result<(), Failure> {
        let Some(journal) = Journal::of(plan, &self.deployment, self.release) else { return Ok(()) };
        write(&self.folder.join(JOURNAL), &Journal { steps: vec![Step { undo: left, then: None }], ..journal })
    }

    /// An operation of what another event left begins: what is before it is never to be done again.
    pub(crate) fn recovers(&mut self, next: &O) -> Result<(), Failure> {
        self.rewrite(|journal, begun| journal.reach(next, begun))
    }

    /// An operation is done that another event, which had saved its release, left.
    pub(crate) fn recovered(&mut self, done: &O) -> Result<(), Failure> {
        self.rewrite(|journal, _| journal.finished(done))
    }

    fn rewrite(&mut self, change: impl Fn(&mut Journal<O>, usize) -> bool) -> Result<(), Failure> {
        let Some(left) = &mut self.left else { return Ok(()) };
        match change(&mut left.journal, left.begun) {
            true => write(&self.folder.join(JOURNAL), &left.journal),
            false => Ok(()),
        }
    }

    /// Everything that this plan's journal promised was done or undone.
    pub(crate) fn finish(&mut self) {
        if self.begun.take().is_some() {
            self.close();
        }
    }

    /// Everything that the journal on disk promised was done or undone, also that of another event.
    pub(crate) fn close(&mut self) {
        self.left = None;
        let _ = fs::remove_file(self.folder.join(JOURNAL));
        let _ = fs::remove_file(self.folder.join(BEGUN));
    }
}
