//! Runs a plan: each step recorded, undone on failure, deadline or signal. Decides nothing.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

use crate::deploy::host::Host;
use crate::deploy::plan::{Action, Plan};
use crate::engine::request::Target;
use crate::error::{Failure, Kind};
use crate::modes::operation::Step;
use crate::modes::swarm::operation::SwarmStep;
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
    pub brought: Vec<(ImagePin, Vec<String>)>,
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
    pub old: Fate,
    /// Images that were brought into the engine before it failed, each with the references this gave it.
    pub brought: Vec<(ImagePin, Vec<String>)>,
}

/// What became of the old container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
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
    fn begins(&mut self, number: usize, of: usize, step: &Step);
    /// A step that undoes begins.
    fn undoes(&mut self, step: &Step);
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
            Some(Ok(brought)) => run.succeeded(action, brought),
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
    fn succeeded(&mut self, action: &Action, brought: Vec<String>) {
        match &action.step {
            Step::Bring(bring) => self.done.brought.push((bring.image().clone(), brought)),
            _ => self.done.said.extend(brought),
        }
        match action.step {
            Step::Prove { .. } => self.done.down = self.stopped_at.map(|since| since.elapsed()),
            Step::Record { .. } | Step::Swarm(SwarmStep::Record { .. }) => self.recorded = true,
            _ => {}
        }
    }

    fn warn(&mut self, step: &Step, failure: &Failure) {
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
        if let Step::Prove { container: container @ Target { id: Some(_), .. }, .. } = failed {
            failure.evidence = self.host.evidence(container).await;
        }
        if let (Step::Swarm(SwarmStep::Converge(wanted)), Kind::Deadline) = (failed, failure.kind) {
            failure.evidence = self.host.waiting(wanted).await;
        }
        let plan = self.plan;
        let lost = self.undo(&plan.actions[..begun], &mut failure.evidence).await;
        let old = self.fate(lost);
        if let Fate::Lost(..) = old {
            failure.kind = Kind::Undo;
        }
        Failed {
            step: failed.title(),
            number: index + 1,
            failure,
            subject: self.plan.subject,
            old,
            brought: self.done.brought,
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
            if let Step::Remove { container, .. } = step {
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

    fn fate(&self, lost: Option<String>) -> Fate {
        match (&self.plan.old, lost, self.stopped_at) {
            (None, _, _) => Fate::None,
            (Some(old), Some(why), _) => Fate::Lost(old.clone(), why),
            (Some(old), None, Some(since)) => Fate::Back(old.clone(), since.elapsed()),
            (Some(old), None, None) => Fate::Untouched(old.clone()),
        }
    }
}

/// One step, unless the plan must stop: then a long step is dropped, a brief one is let end, for its outcome to be known.
async fn attempt<H: Host>(
    host: &mut H,
    step: &Step,
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
async fn perform<H: Host>(host: &mut H, step: &Step, down: Option<Duration>) -> Result<Vec<String>, Failure> {
    tracing::info!(%step, "begins");
    match step {
        Step::Bring(bring) => return host.bring(bring).await,
        Step::Keep { image, tag } => host.keep(image, tag).await,
        Step::Create(spec) => host.create(spec).await,
        Step::Stop { container, grace } => host.stop(container, *grace).await,
        Step::Kill { container } => host.kill(container).await,
        Step::Rename { container, to } => host.rename(container, to).await,
        Step::Start { container } => host.start(container).await,
        Step::Prove { container, proof } => host.prove(container, proof).await,
        Step::Record { container, release } => host.record(container, release, down).await,
        Step::Remove { container, volumes } => host.remove(container, *volumes).await,
        Step::Handover(step) => host.handover(step).await,
        Step::Compose(step) => host.compose(step).await,
        Step::Untag { reference } => host.untag(reference).await,
        Step::Swarm(step) => return host.swarm(step).await,
        Step::Task(task) => return host.task(task).await,
    }?;
    Ok(Vec::new())
}
