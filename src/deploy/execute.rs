//! Runs a plan: the recovery first, then each action, journalled before it begins; undone on failure, deadline or signal.
//! It matches roles, never operations: what a mode does it does not know, and it decides nothing.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

use crate::deploy::plan::{Action, Old, Operation, Plan, Undo};
use crate::deploy::state::JournalFile;
use crate::engine::request::Target;
use crate::error::{Failure, Kind};
use crate::values::operation::{Moment, Outcome, Role};

/// Performs the operations of one mode. Every one is idempotent: what is done already is no error.
#[allow(async_fn_in_trait)] // one implementation, one thread: the futures need no Send bound
pub trait Host {
    /// What it can do.
    type Operation: Operation;
    /// Does one. `down` is how long the service was down for it, once that is known.
    async fn perform(&mut self, operation: &Self::Operation, down: Option<Duration>) -> Result<Outcome, Failure>;
    /// What can be seen of an operation's object, quickly, for the report.
    async fn evidence(&mut self, operation: &Self::Operation, moment: Moment) -> Vec<String>;
}

/// Why a plan must end before its last action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The hook's time, less the reserve for undoing, is up.
    Deadline(Duration),
    /// A signal, by its name.
    Signal(&'static str),
}

/// How a plan ended well.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// From the first interruption until the new release was healthy.
    pub down: Option<Duration>,
    /// What an operation saw that a person should know.
    pub messages: Vec<String>,
    /// What went wrong where it could not fail the event.
    pub warnings: Vec<String>,
}

/// How a plan failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed {
    /// The action that failed, as printed.
    pub step: String,
    /// Its number, from 1.
    pub number: usize,
    /// Of so many.
    pub of: usize,
    /// Why.
    pub failure: Failure,
    /// What reports call that which served before.
    pub subject: String,
    /// What became of it.
    pub old: OldRelease,
    /// Undo steps that failed, each with its reason: the journal keeps them.
    pub not_undone: Vec<String>,
}

/// What became of that which served before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldRelease {
    /// Nobody looked at it.
    NotObserved,
    /// There was none.
    None,
    /// Nobody touched it.
    Untouched(Target),
    /// It was stopped, and is back after so long.
    Back(Target, Duration),
    /// It could not be put back: why.
    Lost(Target, String),
}

/// What is shown while a plan runs.
pub trait Progress<O> {
    /// An action begins; `number` counts from 1.
    fn begins(&mut self, number: usize, of: usize, operation: &O);
    /// An action failed, or the plan must stop at it: said before anything is undone.
    fn fails(&mut self, number: usize, of: usize, failure: &Failure);
    /// An undo step begins.
    fn undoes(&mut self, operation: &O);
    /// An undo step failed.
    fn not_undone(&mut self, why: &str);
}

/// Until when an undo must have ended.
#[derive(Debug, Clone, Copy)]
pub struct UndoLimit {
    /// The hook's own end.
    pub end: Instant,
    /// So long after a signal the agent kills.
    pub after_signal: Duration,
}

struct Run<'a, H: Host, P> {
    plan: &'a Plan<H::Operation>,
    of: usize,
    host: &'a mut H,
    progress: &'a mut P,
    journal: &'a mut JournalFile,
    undo_until: Instant,
    interrupted_at: Option<Instant>,
    saved: bool,
    done: Done,
}

/// How long a brief operation that was under way when the plan must stop may still take, for its outcome to be known.
const OUTCOME: Duration = Duration::from_secs(1);

/// The least that an undo step is given, also where little time is left.
const LEAST: Duration = Duration::from_millis(500);

/// How much longer what served before may take to come back: the agent kills 5 s after its SIGTERM.
const OVERTIME: Duration = Duration::from_secs(3);

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
    journal: &mut JournalFile,
    limit: UndoLimit,
    stop: impl Future<Output = Stop>,
) -> Result<Done, Box<Failed>> {
    let mut stop = std::pin::pin!(stop);
    let (of, done) = (plan.all().count(), Done::default());
    let mut run =
        Run { plan, of, host, progress, journal, undo_until: limit.end, interrupted_at: None, saved: false, done };
    run.recover(stop.as_mut()).await?;
    let first = of - plan.actions.len();
    run.journal.open(plan).map_err(|failure| Box::new(run.unchanged(first, failure)))?;
    for (index, action) in plan.actions.iter().enumerate() {
        let step = match run.action(first + index, action, Some(index), stop.as_mut()).await {
            Ok(()) => continue,
            Err(step) => step,
        };
        if let Ended::Stopped(Stop::Signal(_)) = step.why {
            run.undo_until = limit.end.min(Instant::now() + limit.after_signal);
        }
        return run.end(index, step).await;
    }
    run.journal.finish();
    Ok(run.done)
}

/// How an action ended that did not end well.
struct Unfinished {
    begun: bool,
    why: Ended,
    took: Duration,
}

enum Ended {
    Failed(Failure),
    Stopped(Stop),
}

impl<H: Host, P: Progress<H::Operation>> Run<'_, H, P> {
    /// Finishes or undoes what an interrupted event left. Its journal stays until that has succeeded.
    async fn recover(&mut self, mut stop: Pin<&mut impl Future<Output = Stop>>) -> Result<(), Box<Failed>> {
        let Some(recovery) = &self.plan.recovery else { return Ok(()) };
        let warnings = self.done.warnings.len();
        for (index, action) in recovery.iter().enumerate() {
            let Err(ended) = self.action(index, action, None, stop.as_mut()).await else { continue };
            let failure = match ended.why {
                Ended::Failed(failure) => Failure { kind: Kind::Undo, ..failure },
                Ended::Stopped(why) => why_stopped(self.plan, &why, action, ended.took),
            };
            self.progress.fails(index + 1, self.of, &failure);
            return Err(Box::new(self.unchanged(index, failure)));
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
        let unbegun = |why| Unfinished { begun: false, why, took: Duration::ZERO };
        if let Some(why) = stop.as_mut().now_or_never() {
            return Err(unbegun(Ended::Stopped(why)));
        }
        if let Some(index) = journalled {
            self.journal.begin(index).map_err(|failure| unbegun(Ended::Failed(failure)))?;
        }
        self.progress.begins(number + 1, self.of, &action.operation);
        if action.role == Role::Interrupts {
            self.interrupted_at.get_or_insert_with(Instant::now);
        }
        let began = Instant::now();
        let (result, stopped) = attempt(self.host, action, self.done.down, stop).await;
        let ended = |why| Unfinished { begun: true, why, took: began.elapsed() };
        match result {
            Some(Ok(outcome)) => self.succeeded(action, outcome),
            Some(Err(failure)) if action.best_effort || self.saved => self.warn(&action.operation, &failure),
            Some(Err(failure)) => return Err(ended(Ended::Failed(failure))),
            None => {}
        }
        stopped.map_or(Ok(()), |why| Err(ended(Ended::Stopped(why))))
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
        let lines = &failure.evidence[failure.evidence.len().saturating_sub(LAST_LINES)..];
        let lines: String = lines.iter().map(|line| format!("\n  | {line}")).collect();
        self.done.warnings.push(format!("{}: {failure}{lines}", operation.title()));
    }

    /// The plan ends at the action `index`. What is saved stays: only what is under way ends.
    async fn end(mut self, index: usize, step: Unfinished) -> Result<Done, Box<Failed>> {
        let action = &self.plan.actions[index];
        let failure = match step.why {
            Ended::Failed(failure) => failure,
            Ended::Stopped(why) => why_stopped(self.plan, &why, action, step.took),
        };
        if self.saved {
            if step.begun && !action.undo.is_empty() {
                self.warn(&action.operation, &failure);
                self.undo(std::slice::from_ref(action), &mut Vec::new()).await;
            }
            self.journal.finish();
            return Ok(self.done);
        }
        Err(Box::new(self.fail(index, step.begun, failure).await))
    }

    async fn fail(mut self, index: usize, is_begun: bool, mut failure: Failure) -> Failed {
        let (action, first) = (&self.plan.actions[index], self.of - self.plan.actions.len());
        tracing::error!(step = %action.operation, %failure, "failed");
        self.progress.fails(first + index + 1, self.of, &failure);
        if action.role == Role::ChecksHealth {
            let seen = self.host.evidence(&action.operation, Moment::Failed(failure.kind)).await;
            failure.evidence.extend(seen);
        }
        let plan = self.plan;
        let undone = self.undo(&plan.actions[..index + usize::from(is_begun)], &mut failure.evidence).await;
        let old = self.old(undone.lost);
        if undone.failures.is_empty() {
            self.journal.finish();
        } else {
            failure.kind = Kind::Undo;
            if let Err(error) = self.journal.keep(plan, undone.left) {
                tracing::error!(%error, "the whole undo is kept instead of what is left of it");
            }
        }
        Failed { old, not_undone: undone.failures, ..self.unchanged(first + index, failure) }
    }

    /// A failure after which nothing had to be undone.
    fn unchanged(&self, index: usize, failure: Failure) -> Failed {
        Failed {
            step: self.plan.all().nth(index).map(|action| action.operation.title()).unwrap_or_default(),
            number: index + 1,
            of: self.of,
            failure,
            subject: self.plan.subject.clone(),
            old: self.old(None),
            not_undone: Vec::new(),
        }
    }

    /// Undoes what was begun, the last first. A step that fails is said, and the rest still runs.
    async fn undo(&mut self, begun: &[Action<H::Operation>], evidence: &mut Vec<String>) -> Undone<H::Operation> {
        let mut undone = Undone { lost: None, failures: Vec::new(), left: Vec::new() };
        let steps: Vec<&Undo<H::Operation>> = begun.iter().rev().flat_map(|action| &action.undo).collect();
        for (index, step) in steps.iter().enumerate() {
            self.progress.undoes(&step.operation);
            // The old release is back by now: there is time to ask what the new one has said. What a failed task has
            // said comes last: it is the cause.
            let seen = self.host.evidence(&step.operation, Moment::BeforeUndo).await;
            evidence.splice(0..0, seen);
            let is_last = !steps[index + 1..].iter().any(|later| later.restores);
            let limit = self.share(step.restores, is_last);
            let performed = tokio::time::timeout(limit, self.host.perform(&step.operation, None)).await;
            match performed.unwrap_or_else(|_| Err(not_ended(limit))) {
                Ok(outcome) => evidence.extend(outcome.messages),
                Err(failure) => {
                    tracing::error!(step = %step.operation, %failure, "could not undo");
                    let why = format!("{}: {failure}", step.operation.title());
                    self.progress.not_undone(&why);
                    if step.restores {
                        undone.lost.get_or_insert_with(|| why.clone());
                    }
                    undone.failures.push(why);
                    undone.left.push((*step).clone());
                }
            }
        }
        undone
    }

    /// What one undo step may take of the time that is left: what served before comes first, and no step takes all of it.
    fn share(&self, restores: bool, is_last: bool) -> Duration {
        let left = self.undo_until.saturating_duration_since(Instant::now());
        match (restores, is_last) {
            (true, true) => left.saturating_add(OVERTIME),
            (true, false) => left.saturating_add(OVERTIME) * 3 / 4,
            (false, true) => left * 3 / 4,
            (false, false) => left / 3,
        }
        .max(LEAST)
    }

    fn old(&self, lost: Option<String>) -> OldRelease {
        match (&self.plan.old, lost, self.interrupted_at) {
            (Old::NotObserved, _, _) => OldRelease::NotObserved,
            (Old::Nothing, _, _) => OldRelease::None,
            (Old::Running(old) | Old::Stopped(old), Some(why), _) => OldRelease::Lost(old.clone(), why),
            (Old::Running(old) | Old::Stopped(old), None, Some(since)) => {
                OldRelease::Back(old.clone(), since.elapsed())
            }
            (Old::Running(old) | Old::Stopped(old), None, None) => OldRelease::Untouched(old.clone()),
        }
    }
}

/// What an undo came to.
struct Undone<O> {
    /// Why what served before is not back.
    lost: Option<String>,
    /// Each step that failed, with its reason.
    failures: Vec<String>,
    /// Those steps, in this order.
    left: Vec<Undo<O>>,
}

fn not_ended(limit: Duration) -> Failure {
    Failure::new(Kind::Undo, format!("it has not ended for {:.1} s", limit.as_secs_f64()))
}

/// One action, unless the plan must stop: then a long one is dropped, a brief one is let end.
async fn attempt<H: Host>(
    host: &mut H,
    action: &Action<H::Operation>,
    down: Option<Duration>,
    mut stop: Pin<&mut impl Future<Output = Stop>>,
) -> (Option<Result<Outcome, Failure>>, Option<Stop>) {
    let mut work = std::pin::pin!(perform(host, action, down));
    let why = tokio::select! {
        biased;
        why = &mut stop => why,
        result = &mut work => return (Some(result), None),
    };
    let outcome = match action.is_long {
        true => None,
        false => tokio::time::timeout(OUTCOME, work).await.ok(),
    };
    (outcome, Some(why))
}

/// One action; once more where its repair changed anything.
async fn perform<H: Host>(
    host: &mut H,
    action: &Action<H::Operation>,
    down: Option<Duration>,
) -> Result<Outcome, Failure> {
    tracing::info!(operation = %action.operation, "begins");
    let failure = match host.perform(&action.operation, down).await {
        Ok(outcome) => return Ok(outcome),
        Err(failure) => failure,
    };
    let Some(repair) = action.repair.as_ref().filter(|repair| repair.after.contains(&failure.kind)) else {
        return Err(failure);
    };
    let mut changed = false;
    for operation in &repair.operations {
        changed |= host.perform(operation, None).await?.changed;
    }
    if !changed {
        return Err(failure);
    }
    tracing::warn!(operation = %action.operation, %failure, "once more");
    host.perform(&action.operation, down).await
}

fn why_stopped<O: Operation>(plan: &Plan<O>, why: &Stop, action: &Action<O>, took: Duration) -> Failure {
    let event = &plan.event;
    match why {
        Stop::Deadline(limit) => {
            let waited = match took.is_zero() {
                true => String::new(),
                false => format!(": {} has not ended for {:.1} s", action.operation.title(), took.as_secs_f64()),
            };
            Failure::new(Kind::Deadline, format!("the time for {event} was up after {limit:?}{waited}"))
                .next(format!("raise the `timeout:` of the {event} hook, or find out what took so long"))
        }
        Stop::Signal(name) => {
            Failure::new(Kind::Interrupted, format!("{name} was received")).next("deploy again when the host is ready")
        }
    }
}
