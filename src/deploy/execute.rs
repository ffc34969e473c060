//! Runs a plan: each step recorded, undone on failure, deadline or signal. Decides nothing.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

use crate::deploy::host::Host;
use crate::deploy::plan::{Action, Plan};
use crate::engine::request::Target;
use crate::error::{Failure, Kind};
use crate::modes::operation::Operation;
use crate::modes::swarm::operation::SwarmOperation;
use crate::values::pin::ImagePin;

/// Why a plan must end before its last step.
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
    /// From stopping the old container until the new one was proven.
    pub down: Option<Duration>,
    /// Images that were brought into the engine, each with the references this gave it.
    pub imported: Vec<(ImagePin, Vec<String>)>,
    /// What a step saw that a person should know.
    pub said: Vec<String>,
    /// What went wrong after nothing could fail any more.
    pub warnings: Vec<String>,
}

/// How a plan failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed {
    /// The step that failed, as printed.
    pub step: String,
    /// Its number, from 1.
    pub number: usize,
    /// Why.
    pub failure: Failure,
    /// What reports call that which served before.
    pub subject: &'static str,
    /// What became of the old container.
    pub old: OldRelease,
    /// Images that were brought into the engine before it failed, each with the references this gave it.
    pub imported: Vec<(ImagePin, Vec<String>)>,
}

/// What became of the old container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldRelease {
    /// There was none.
    None,
    /// Nobody touched it.
    Untouched(Target),
    /// It was stopped, and is back after so long.
    Back(Target, Duration),
    /// It could not be put back: why.
    Lost(Target, String),
}

/// What is told while a plan runs.
pub trait Watcher {
    /// A step begins; `number` counts from 1.
    fn begins(&mut self, number: usize, of: usize, step: &Operation);
    /// A step that undoes begins.
    fn undoes(&mut self, step: &Operation);
}

struct Run<'a, H, W> {
    plan: &'a Plan,
    host: &'a mut H,
    watcher: &'a mut W,
    stopped_at: Option<Instant>,
    recorded: bool,
    done: Done,
}

/// How long a call to the engine that was under way when the plan must stop may still take, so that its outcome is known.
const OUTCOME: Duration = Duration::from_secs(1);

/// Lines of evidence that a warning shows.
const LAST_WORDS: usize = 5;

/// Runs the plan's steps in order.
///
/// # Errors
/// The first step that failed, after everything begun before it was undone.
pub async fn run<H: Host, W: Watcher>(
    plan: &Plan,
    host: &mut H,
    watcher: &mut W,
    stop: impl Future<Output = Stop>,
) -> Result<Done, Box<Failed>> {
    let mut stop = std::pin::pin!(stop);
    let mut run = Run { plan, host, watcher, stopped_at: None, recorded: false, done: Done::default() };
    for (index, action) in plan.actions.iter().enumerate() {
        if let Some(why) = stop.as_mut().now_or_never() {
            return run.stopped(index, index, &why).await;
        }
        run.watcher.begins(index + 1, plan.actions.len(), &action.step);
        if action.step.is_interruption() {
            run.stopped_at.get_or_insert_with(Instant::now);
        }
        let (result, stopped) = attempt(run.host, &action.step, run.done.down, stop.as_mut()).await;
        match result {
            Some(Ok(imported)) => run.succeeded(action, imported),
            Some(Err(failure)) if action.best_effort || run.recorded => run.warn(&action.step, &failure),
            Some(Err(failure)) => return Err(Box::new(run.fail(index, index + 1, failure).await)),
            None => {}
        }
        if let Some(why) = stopped {
            return run.stopped(index, index + 1, &why).await;
        }
    }
    Ok(run.done)
}

impl<H: Host, W: Watcher> Run<'_, H, W> {
    fn succeeded(&mut self, action: &Action, imported: Vec<String>) {
        match &action.step {
            Operation::Import(import) => self.done.imported.push((import.image().clone(), imported)),
            _ => self.done.said.extend(imported),
        }
        match action.step {
            Operation::CheckHealth { .. } => self.done.down = self.stopped_at.map(|since| since.elapsed()),
            Operation::SaveRelease { .. } | Operation::Swarm(SwarmOperation::SaveRelease { .. }) => {
                self.recorded = true
            }
            _ => {}
        }
    }

    fn warn(&mut self, step: &Operation, failure: &Failure) {
        tracing::warn!(%step, %failure, "went on");
        let said = &failure.evidence[failure.evidence.len().saturating_sub(LAST_WORDS)..];
        let said: String = said.iter().map(|line| format!("\n  | {line}")).collect();
        self.done.warnings.push(format!("{}: {failure}{said}", step.title()));
    }

    /// The plan must stop at step `index`; `begun` steps were begun. What is on record stays: only what is under way ends.
    async fn stopped(mut self, index: usize, begun: usize, why: &Stop) -> Result<Done, Box<Failed>> {
        if self.recorded {
            let under_way = self.plan.actions[..begun].get(index).filter(|action| !action.undo.is_empty());
            if let Some(action) = under_way {
                self.warn(&action.step, &why_stopped(self.plan, why));
                self.undo(std::slice::from_ref(action), &mut Vec::new()).await;
            }
            return Ok(self.done);
        }
        let failure = why_stopped(self.plan, why);
        Err(Box::new(self.fail(index, begun, failure).await))
    }

    async fn fail(mut self, index: usize, begun: usize, mut failure: Failure) -> Failed {
        let failed = &self.plan.actions[index].step;
        tracing::error!(step = %failed, %failure, "failed");
        if let Operation::CheckHealth { container: container @ Target { id: Some(_), .. }, .. } = failed {
            failure.evidence = self.host.evidence(container).await;
        }
        if let (Operation::Swarm(SwarmOperation::RolloutCheck(wanted)), Kind::Deadline) = (failed, failure.kind) {
            failure.evidence = self.host.waiting(wanted).await;
        }
        let plan = self.plan;
        let lost = self.undo(&plan.actions[..begun], &mut failure.evidence).await;
        let old = self.fate(lost);
        if let OldRelease::Lost(..) = old {
            failure.kind = Kind::Undo;
        }
        Failed {
            step: failed.title(),
            number: index + 1,
            failure,
            subject: self.plan.subject,
            old,
            imported: self.done.imported,
        }
    }

    /// Undoes what was begun, the last first. A step that fails is said, and the rest still runs. Returns why the old
    /// container could not be put back.
    async fn undo(&mut self, begun: &[Action], evidence: &mut Vec<String>) -> Option<String> {
        let mut lost = None;
        for step in begun.iter().rev().flat_map(|action| &action.undo) {
            self.watcher.undoes(step);
            // The old container is back by now: there is time to ask what the new one has said. What a failed task has
            // said comes last: it is the cause.
            if let Operation::Remove { container, .. } = step {
                evidence.splice(0..0, self.host.evidence(container).await);
            }
            match perform(self.host, step, None).await {
                Ok(said) => evidence.extend(said),
                Err(failure) => {
                    tracing::error!(%step, %failure, "could not undo");
                    if step.is_restoring() {
                        lost.get_or_insert_with(|| format!("{}: {failure}", step.title()));
                    }
                }
            }
        }
        lost
    }

    fn fate(&self, lost: Option<String>) -> OldRelease {
        match (&self.plan.old, lost, self.stopped_at) {
            (None, _, _) => OldRelease::None,
            (Some(old), Some(why), _) => OldRelease::Lost(old.clone(), why),
            (Some(old), None, Some(since)) => OldRelease::Back(old.clone(), since.elapsed()),
            (Some(old), None, None) => OldRelease::Untouched(old.clone()),
        }
    }
}

/// One step, unless the plan must stop: then a long step is dropped, a brief one is let end, for its outcome to be known.
async fn attempt<H: Host>(
    host: &mut H,
    step: &Operation,
    down: Option<Duration>,
    mut stop: std::pin::Pin<&mut impl Future<Output = Stop>>,
) -> (Option<Result<Vec<String>, Failure>>, Option<Stop>) {
    let mut work = std::pin::pin!(perform(host, step, down));
    let why = tokio::select! {
        biased;
        why = &mut stop => why,
        result = &mut work => return (Some(result), None),
    };
    let outcome = match step {
        step if step.is_long() => None,
        _ => tokio::time::timeout(OUTCOME, work).await.ok(),
    };
    (outcome, Some(why))
}

fn why_stopped(plan: &Plan, why: &Stop) -> Failure {
    match why {
        Stop::Deadline(limit) => {
            Failure::new(Kind::Deadline, format!("the time for {} was up after {limit:?}", plan.event))
                .next(format!("raise the `timeout:` of the {} hook, or find out what took so long", plan.event))
        }
        Stop::Signal(name) => {
            Failure::new(Kind::Interrupted, format!("{name} was received")).next("deploy again when the host is ready")
        }
    }
}

/// One step on the host; the references it brought in, or what it saw.
async fn perform<H: Host>(host: &mut H, step: &Operation, down: Option<Duration>) -> Result<Vec<String>, Failure> {
    tracing::info!(%step, "begins");
    match step {
        Operation::Import(import) => return host.import(import).await,
        Operation::Retain { image, tag } => host.keep(image, tag).await,
        Operation::Create(spec) => host.create(spec).await,
        Operation::Stop { container, grace } => host.stop(container, *grace).await,
        Operation::Kill { container } => host.kill(container).await,
        Operation::Rename { container, to } => host.rename(container, to).await,
        Operation::Start { container } => host.start(container).await,
        Operation::CheckHealth { container, health_check } => host.check_health(container, health_check).await,
        Operation::SaveRelease { container, release } => host.record(container, release, down).await,
        Operation::Remove { container, volumes } => host.remove(container, *volumes).await,
        Operation::StartFirst(step) => host.ports(step).await,
        Operation::Compose(step) => host.compose(step).await,
        Operation::Untag { reference } => host.untag(reference).await,
        Operation::Swarm(step) => return host.swarm(step).await,
        Operation::Task(task) => return host.task(task).await,
    }?;
    Ok(Vec::new())
}
