//! Runs a plan: the recovery first, then each action, journalled before it begins; undone on failure, deadline or signal.
//! It matches roles, never operations: what a mode does it does not know, and it decides nothing.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

use crate::deploy::journal::JournalFile;
use crate::deploy::outcome::{Done, Failed, OldRelease, RunsNow, Stop};
use crate::deploy::plan::{Action, Old, Operation, Plan, Repair};
use crate::deploy::undo::{Budget, UndoLimit, Undone};
use crate::error::{Failure, Kind};
use crate::values::operation::{Moment, Outcome, Role};
use crate::values::text::seconds;

/// Performs the operations of one mode. Every one is idempotent: what is done already is no error.
#[allow(async_fn_in_trait)] // one implementation, one thread: the futures need no Send bound
pub trait Host {
    /// What it can do.
    type Operation: Operation;
    /// Does one. `down` is how long the service was down for it, once that is known.
    async fn perform(&mut self, operation: &Self::Operation, down: Option<Duration>) -> Result<Outcome, Failure>;
    /// What can be seen of an operation's object, quickly, for the report.
    async fn evidence(&mut self, operation: &Self::Operation, moment: Moment) -> Vec<String>;
    /// Who had not answered, and for how long, where an operation was dropped in this moment; `None` where nobody was
    /// waited for.
    fn given_up(&mut self) -> Option<String>;
    /// What runs now, beside or instead of what was there before.
    async fn runs_now(&mut self, before: &Old) -> RunsNow;
}

/// What is shown while a plan runs.
pub trait Progress<O> {
    /// An action begins; `number` counts from 1.
    fn begins(&mut self, number: usize, of: usize, operation: &O);
    /// The action under way failed where that ends nothing.
    fn warns(&mut self) {}
    /// An action failed, or the plan must stop at it: said before anything is undone.
    fn fails(&mut self, number: usize, of: usize, failure: &Failure);
    /// An undo step begins.
    fn undoes(&mut self, operation: &O);
    /// An undo step failed.
    fn not_undone(&mut self, why: &str);
}

pub(super) struct Run<'a, H: Host, P> {
    pub(super) plan: &'a Plan<H::Operation>,
    pub(super) of: usize,
    pub(super) host: &'a mut H,
    pub(super) progress: &'a mut P,
    pub(super) journal: &'a mut JournalFile<H::Operation>,
    pub(super) budget: Budget,
    pub(super) interrupted_at: Option<Instant>,
    /// The same by an action of the plan: what a recovery interrupted it has put back.
    pub(super) touched_at: Option<Instant>,
    pub(super) saved: bool,
    pub(super) done: Done,
}

/// How long a brief operation that was under way when the plan must stop may still take, for its outcome to be known.
const OUTCOME: Duration = Duration::from_secs(1);

/// How long collecting evidence may take: the old release waits.
const EVIDENCE: Duration = Duration::from_secs(1);

/// Lines of evidence that a warning shows.
const LAST_LINES: usize = 5;

/// Runs the plan's recovery and then its actions, in order.
///
/// # Errors
/// The first action that failed, after everything begun before it was undone.
pub async fn run<H: Host, P: Progress<H::Operation>>(
    plan: &Plan<H::Operation>,
    host: &mut H,
    progress: &mut P,
    journal: &mut JournalFile<H::Operation>,
    limit: UndoLimit,
    stop: impl Future<Output = Stop>,
) -> Result<Done, Box<Failed>> {
    let mut stop = std::pin::pin!(stop);
    let (of, done, budget) = (plan.all().count(), Done::default(), Budget::new(limit));
    let mut run =
        Run { plan, of, host, progress, journal, budget, interrupted_at: None, touched_at: None, saved: false, done };
    let mut ended = run.steps(stop.as_mut()).await;
    if let Err(failed) = &mut ended {
        failed.runs = run.runs_now().await;
    }
    ended.map(|()| run.done)
}

struct Unfinished {
    begun: bool,
    why: Failure,
}

impl<H: Host, P: Progress<H::Operation>> Run<'_, H, P> {
    async fn steps(&mut self, mut stop: Pin<&mut impl Future<Output = Stop>>) -> Result<(), Box<Failed>> {
        let plan = self.plan;
        self.recover(stop.as_mut()).await?;
        let first = self.of - plan.actions.len();
        self.journal.open(plan).map_err(|failure| Box::new(self.failure_at(first, failure, &Undone::default())))?;
        for (index, action) in plan.actions.iter().enumerate() {
            if let Err(step) = self.action(first + index, action, Some(index), stop.as_mut()).await {
                return self.end(index, step).await;
            }
        }
        self.journal.finish();
        Ok(())
    }

    /// Finishes or undoes what an interrupted event left. Its journal stays until that has succeeded.
    async fn recover(&mut self, mut stop: Pin<&mut impl Future<Output = Stop>>) -> Result<(), Box<Failed>> {
        let Some(recovery) = &self.plan.recovery else { return Ok(()) };
        let warnings = self.done.warnings.len();
        for (index, action) in recovery.iter().enumerate() {
            written(self.journal.recovers(&action.operation));
            let warned = self.done.warnings.len();
            let ended = self.action(index, action, None, stop.as_mut()).await;
            if ended.is_ok() && self.done.warnings.len() == warned {
                written(self.journal.recovered(&action.operation));
            }
            let Err(ended) = ended else { continue };
            let kind = match ended.why.kind {
                stopped @ (Kind::Deadline | Kind::Interrupted) => stopped,
                _ => Kind::Undo,
            };
            let mut failure = Failure { kind, ..ended.why };
            self.progress.fails(index + 1, self.of, &failure);
            failure.evidence.extend(evidence(self.host, &action.operation, Moment::Failed(kind)).await);
            let lost = (action.operation.traits().restores && kind == Kind::Undo).then(|| failure.to_string());
            let old = lost.map_or(OldRelease::NotBack, OldRelease::Lost);
            return Err(Box::new(Failed { old, ..self.failure_at(index, failure, &Undone::default()) }));
        }
        if self.done.warnings.len() == warnings {
            self.journal.close();
        }
        Ok(())
    }

    /// Runs one action; a failure that ends nothing is a warning.
    async fn action(
        &mut self,
        number: usize,
        action: &Action<H::Operation>,
        journalled: Option<usize>,
        mut stop: Pin<&mut impl Future<Output = Stop>>,
    ) -> Result<(), Unfinished> {
        let unbegun = |why| Unfinished { begun: false, why };
        if let Some(why) = stop.as_mut().now_or_never() {
            self.budget.stopped(&why, now());
            return Err(unbegun(why.failure(&self.plan.event, None)));
        }
        if let Some(index) = journalled {
            self.journal.begin(index).map_err(unbegun)?;
        }
        self.progress.begins(number + 1, self.of, &action.operation);
        if action.role == Role::Interrupts {
            self.interrupted_at.get_or_insert_with(Instant::now);
            self.touched_at = self.touched_at.or_else(|| journalled.map(|_| Instant::now()));
        }
        let began = Instant::now();
        let (result, stopped) = attempt(self.host, action, self.done.down, stop).await;
        let ended = |why| Err(Unfinished { begun: true, why });
        match result {
            Some(Ok(outcome)) => self.succeeded(action, outcome),
            Some(Err(failure)) if action.best_effort || self.saved => self.warn(&action.operation, &failure),
            Some(Err(failure)) => return ended(failure),
            None => {}
        }
        let Some((why, at)) = stopped else { return Ok(()) };
        self.budget.stopped(&why, at);
        let took = || format!("{} has not ended for {}", action.operation.title(), seconds(began.elapsed()));
        let waited = self.host.given_up().or_else(|| matches!(why, Stop::Deadline(_)).then(took));
        ended(why.failure(&self.plan.event, waited))
    }

    fn succeeded(&mut self, action: &Action<H::Operation>, outcome: Outcome) {
        self.done.messages.extend(outcome.messages);
        match action.role {
            Role::ChecksHealth => self.done.down = self.interrupted_at.map(|since| since.elapsed()),
            Role::Saves => self.saved = true,
            Role::Prepares | Role::Interrupts | Role::Passive => {}
        }
    }

    fn warn(&mut self, operation: &H::Operation, failure: &Failure) {
        tracing::warn!(%operation, %failure, "went on");
        self.progress.warns();
        let lines = &failure.evidence[failure.evidence.len().saturating_sub(LAST_LINES)..];
        let lines: String = lines.iter().map(|line| format!("\n  | {line}")).collect();
        self.done.warnings.push(format!("{}: {failure}{lines}", operation.title()));
    }

    /// The plan ends at the action `index`. What is saved stays: only what is under way ends.
    async fn end(&mut self, index: usize, step: Unfinished) -> Result<(), Box<Failed>> {
        let action = &self.plan.actions[index];
        if self.saved {
            if step.begun && !action.undo.is_empty() {
                self.warn(&action.operation, &step.why);
                self.undo(std::slice::from_ref(action), &mut Vec::new()).await;
            }
            self.journal.finish();
            return Ok(());
        }
        Err(Box::new(self.fail(index, step.begun, step.why).await))
    }

    async fn fail(&mut self, index: usize, is_begun: bool, mut failure: Failure) -> Failed {
        let (action, first) = (&self.plan.actions[index], self.of - self.plan.actions.len());
        tracing::error!(step = %action.operation, %failure, "failed");
        self.progress.fails(first + index + 1, self.of, &failure);
        failure.evidence.extend(evidence(self.host, &action.operation, Moment::Failed(failure.kind)).await);
        let plan = self.plan;
        let undone = self.undo(&plan.actions[..index + usize::from(is_begun)], &mut failure.evidence).await;
        match undone.failures.is_empty() {
            true => self.journal.finish(),
            false => failure.kind = Kind::Undo,
        }
        self.failure_at(first + index, failure, &undone)
    }
}

/// One action, unless the plan must stop, and when it had to: then a long one is dropped, a brief one is let end.
async fn attempt<H: Host>(
    host: &mut H,
    action: &Action<H::Operation>,
    down: Option<Duration>,
    mut stop: Pin<&mut impl Future<Output = Stop>>,
) -> (Option<Result<Outcome, Failure>>, Option<(Stop, Instant)>) {
    let mut work = std::pin::pin!(perform(host, &action.operation, action.repair.as_ref(), down));
    let why = tokio::select! {
        biased;
        why = &mut stop => why,
        result = &mut work => return (Some(result), None),
    };
    let at = now();
    let outcome = match action.is_long {
        true => None,
        false => tokio::time::timeout(OUTCOME, work).await.ok(),
    };
    (outcome, Some((why, at)))
}

/// One operation; once more where its repair changed anything.
pub(super) async fn perform<H: Host>(
    host: &mut H,
    operation: &H::Operation,
    repair: Option<&Repair<H::Operation>>,
    down: Option<Duration>,
) -> Result<Outcome, Failure> {
    tracing::info!(%operation, "begins");
    let failure = match host.perform(operation, down).await {
        Ok(outcome) => return Ok(outcome),
        Err(failure) => failure,
    };
    let Some(repair) = repair.filter(|repair| repair.after.contains(&failure.kind)) else {
        return Err(failure);
    };
    let mut changed = false;
    for repairing in &repair.operations {
        changed |= host.perform(repairing, None).await?.changed;
    }
    if !changed {
        return Err(failure);
    }
    tracing::warn!(%operation, %failure, "once more");
    host.perform(operation, down).await
}

/// A recovery that is cut off is gone on with, not begun anew: what serves by then is not stopped again.
fn written(result: Result<(), Failure>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the next recovery does more again");
    }
}

/// By the clock that time-outs go by.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(super) async fn evidence<H: Host>(host: &mut H, operation: &H::Operation, moment: Moment) -> Vec<String> {
    tokio::time::timeout(EVIDENCE, host.evidence(operation, moment)).await.unwrap_or_default()
}
