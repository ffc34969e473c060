//! Undoing what was begun, within the time that is left for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::deploy::execute::{Host, Progress, Run, evidence, now, perform};
use crate::deploy::outcome::Stop;
use crate::deploy::plan::{Action, Operation, Undo, undo_steps};
use crate::error::{Failure, Kind};
use crate::values::operation::Moment;
use crate::values::text::seconds;

/// The least that an undo step is given, also where little time is left.
const LEAST: Duration = Duration::from_millis(500);

/// What cleaning up is given after a signal: an engine may take two seconds to remove a container that runs. Nobody reads a
/// report that is late then, as at the hook's own end, so that it may be.
const CLEANING: Duration = Duration::from_secs(3);

/// Until when an undo must have ended.
#[derive(Debug, Clone, Copy)]
pub struct UndoLimit {
    /// The hook's own end: the agent stops reading the report then.
    pub end: Instant,
    /// So much longer what served before may take to come back.
    pub overtime: Duration,
    /// So long after a signal everything has ended.
    pub after_signal: Duration,
}

/// The time of an undo, and how it is shared out.
pub(super) struct Budget {
    limit: UndoLimit,
    cleaning: Duration,
    /// The last step had not ended in its time.
    is_late: bool,
    /// A call had no answer, or what serves depends on it: the next step may have no answer either.
    is_hanging: bool,
}

impl Budget {
    pub(super) const fn new(limit: UndoLimit) -> Self {
        Self { limit, cleaning: LEAST, is_late: false, is_hanging: false }
    }

    /// The plan must stop, since `at`: after a signal there is less time.
    pub(super) fn stopped(&mut self, why: &Stop, at: Instant) {
        if let Stop::Signal(_) = why {
            let UndoLimit { end, overtime, after_signal } = self.limit;
            self.limit.end = end.min(at + after_signal.saturating_sub(overtime));
            self.cleaning = CLEANING;
        }
    }

    /// What looking at the host for the report may take.
    pub(super) fn for_report(&self) -> Duration {
        LEAST.min((self.limit.end + self.limit.overtime).saturating_duration_since(now()))
    }

    /// What one step may take, `left` of them being left with this one: what served before comes first, and what comes
    /// after it has the least. Whether it is healthy is asked as long as the report is still read.
    fn share(&self, kind: Share, left: usize) -> Duration {
        let now = now();
        let until = |end: Instant| end.saturating_duration_since(now);
        let (time, all) = (until(self.limit.end), until(self.limit.end + self.limit.overtime));
        let rest = u32::try_from(left.saturating_sub(1)).unwrap_or_default();
        let share = match (self.is_hanging, kind) {
            (true, _) => time / (rest + 1),
            (false, Share::Restore) => all.saturating_sub(LEAST * rest),
            (false, Share::Check | Share::LastClean) => (time * 3 / 4).max(self.cleaning),
            (false, Share::Clean) => time / 3,
        };
        share.max(LEAST).min(all)
    }
}

/// What a step is for, as far as its time goes.
enum Share {
    Restore,
    Check,
    Clean,
    /// Nothing is restored after it.
    LastClean,
}

impl Share {
    fn of<O: Operation>(step: &Undo<O>, rest: &[&Undo<O>]) -> Self {
        match (step.is_check(), step.restores) {
            (true, _) => Self::Check,
            (false, true) => Self::Restore,
            (false, false) if rest.iter().any(|later| later.restores && !later.is_check()) => Self::Clean,
            (false, false) => Self::LastClean,
        }
    }
}

#[derive(Default)]
pub(super) struct Undone {
    /// Why what served before is not back.
    pub(super) lost: Option<String>,
    /// A step that puts back what served before has succeeded.
    pub(super) is_restored: bool,
    /// It runs again, and there was no time to see it healthy.
    pub(super) is_unchecked: bool,
    pub(super) failures: Vec<String>,
}

impl<H: Host, P: Progress<H::Operation>> Run<'_, H, P> {
    /// Undoes what was begun, the last first. A step that fails is said, and the rest still runs; one that only cleans up and had
    /// no time is done once more when the old release is back. What is left of it at any moment is in the journal.
    pub(super) async fn undo(&mut self, begun: &[Action<H::Operation>], seen: &mut Vec<String>) -> Undone {
        let steps = undo_steps(begun.iter().map(|action| &action.undo));
        let (mut undone, mut left) = (Undone::default(), vec![true; steps.len()]);
        let mut queue: VecDeque<(usize, bool)> = (0..steps.len()).map(|index| (index, false)).collect();
        while let Some((index, is_late)) = queue.pop_front() {
            let step = steps[index];
            if step.is_check() && undone.lost.is_some() {
                continue;
            }
            let rest: Vec<&Undo<H::Operation>> = queue.iter().map(|(index, _)| steps[*index]).collect();
            match self.timed(step, &rest, seen).await {
                Ok(messages) => {
                    seen.extend(messages);
                    undone.is_restored |= step.restores;
                    left[index] = false;
                }
                Err(_) if step.is_check() && self.budget.is_late => {
                    (undone.is_unchecked, left[index]) = (true, false);
                    seen.extend(evidence(self.host, &step.operation, Moment::Failed(Kind::Deadline)).await);
                }
                Err(failure) if step.operation.traits().hastens => {
                    tracing::warn!(step = %step.operation, %failure, "went on undoing");
                    left[index] = false;
                }
                Err(_) if self.budget.is_late && !step.restores && !is_late => {
                    let checks = queue.iter().position(|(index, _)| steps[*index].is_check());
                    queue.insert(checks.unwrap_or(queue.len()), (index, true));
                }
                Err(failure) => self.failed(step, failure, &mut undone, seen).await,
            }
            self.keep(steps.iter().zip(&left).filter(|(_, is_left)| **is_left).map(|(step, _)| (*step).clone()));
        }
        undone
    }

    /// One step within its share of the time; `rest` comes after it.
    async fn timed(
        &mut self,
        step: &Undo<H::Operation>,
        rest: &[&Undo<H::Operation>],
        seen: &mut Vec<String>,
    ) -> Result<Vec<String>, Failure> {
        self.progress.undoes(&step.operation);
        if !self.budget.is_late {
            // The old release is back by now: there is time to ask what the new one has said. What a failed task has said
            // comes last: it is the cause.
            seen.splice(0..0, evidence(self.host, &step.operation, Moment::BeforeUndo).await);
        }
        let limit = self.budget.share(Share::of(step, rest), rest.len() + 1);
        self.undo_step(step, limit).await
    }

    async fn failed(
        &mut self,
        step: &Undo<H::Operation>,
        failure: Failure,
        undone: &mut Undone,
        seen: &mut Vec<String>,
    ) {
        tracing::error!(step = %step.operation, %failure, "could not undo");
        seen.extend(failure.evidence.iter().cloned());
        if step.is_check() {
            seen.extend(evidence(self.host, &step.operation, Moment::Failed(failure.kind)).await);
        }
        let why = format!("{}: {failure}", step.operation.title());
        self.progress.not_undone(&why);
        if step.restores {
            undone.lost.get_or_insert_with(|| why.clone());
        }
        undone.failures.push(why);
    }

    async fn undo_step(&mut self, step: &Undo<H::Operation>, limit: Duration) -> Result<Vec<String>, Failure> {
        let performed = perform(self.host, &step.operation, step.repair.as_ref(), None);
        let performed = tokio::time::timeout(limit, performed).await;
        let silent = self.host.given_up().filter(|_| performed.is_err());
        self.budget.is_late = performed.is_err();
        self.budget.is_hanging = performed.is_err() && (step.restores || silent.is_some());
        match performed {
            Ok(performed) => performed.map(|outcome| outcome.messages),
            Err(_) => {
                let long = || format!("it has not ended for {}", seconds(limit));
                Err(Failure::new(Kind::Undo, silent.unwrap_or_else(long)))
            }
        }
    }

    /// Once the release is saved its journal says how it is finished.
    fn keep(&self, left: impl Iterator<Item = Undo<H::Operation>>) {
        let left: Vec<_> = left.collect();
        if self.saved || left.is_empty() {
            return;
        }
        if let Err(error) = self.journal.keep(self.plan, left) {
            tracing::error!(%error, "more of the undo is kept than what is left of it");
        }
    }
}
