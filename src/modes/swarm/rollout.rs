//! Waits until a service runs as wanted, or until it is known that it will not.

use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::engine::api::{Api, ApiError};
use crate::error::{Failure, Kind};
use crate::modes::swarm::operation::RolloutCheck;
use crate::modes::swarm::service_tasks::{Patience, Task, Tasks};
use crate::modes::swarm::task_log::log_tail;
use crate::poll;
use crate::values::labels::LABEL_SPEC;

const PAUSE: Duration = Duration::from_millis(100);

/// How long a report waits for the state of the tasks where the deployment's time is up.
const QUICK: Duration = Duration::from_millis(700);

const LINES: usize = 6;

/// How long the swarm may take to begin an update that it was given.
const BEGINS: Duration = Duration::from_millis(500);

/// How long the swarm may take to begin its own rollback after a task failed. A second one, ours, would put the failed
/// spec back.
const OWN_ROLLBACK: Duration = Duration::from_secs(2);

enum Verdict {
    Runs(String),
    NotYet,
    Unplaced(String),
    /// A task failed, and the swarm will roll back.
    Failing(String),
    Failed(String),
}

/// Waits. Returns a message: how many tasks run.
/// Errors: [`Kind::Health`]: a task failed or found no node, the swarm rolled back or paused, or another deployment
/// changed the service.
pub(crate) async fn wait_for_rollout(api: &Api, wanted: &RolloutCheck) -> Result<Vec<String>, Failure> {
    let began = Instant::now();
    let mut all_up: Option<Instant> = None;
    let mut failing: Option<Instant> = None;
    let mut patience = Patience::default();
    let (mut since, mut was_rolled_back) = (None, None);
    let ended = poll::without_limit(PAUSE, async || {
        let failed = |error: ApiError| error.failure(&format!("inspect service {}", wanted.service));
        let Some(seen) = Tasks::of(api, &wanted.service).await.map_err(failed)? else {
            return Err(Failure::new(Kind::Health, format!("service {} is gone: it was removed", wanted.service))
                .next("another manager undid its creation (its report says why), or it was removed by hand"));
        };
        since.get_or_insert_with(|| seen.service.since());
        // An earlier rollback may have put back the very spec that is wanted.
        let was_rolled_back = *was_rolled_back.get_or_insert_with(|| is_rollback(&seen));
        let complete = seen.outdated() == 0 && seen.running().len() >= seen.desired();
        all_up = complete.then(|| all_up.unwrap_or_else(Instant::now));
        let why = match verdict(&seen, wanted, began, all_up, was_rolled_back) {
            Verdict::Runs(line) => return Ok(Some(vec![line])),
            Verdict::NotYet => {
                (failing, patience) = (None, Patience::default());
                None
            }
            Verdict::Unplaced(why) => patience.is_over(api, &seen).await.then_some(why),
            Verdict::Failing(why) => (failing.get_or_insert_with(Instant::now).elapsed() > OWN_ROLLBACK).then_some(why),
            Verdict::Failed(why) => Some(why),
        };
        match why {
            Some(why) => Err(report(api, wanted, seen, since.as_deref(), why).await),
            None => Ok(None),
        }
    });
    ended.await
}

fn is_rollback(seen: &Tasks) -> bool {
    seen.service.update_state().starts_with("rollback")
}

fn verdict(
    seen: &Tasks,
    wanted: &RolloutCheck,
    began: Instant,
    all_up: Option<Instant>,
    was_rolled_back: bool,
) -> Verdict {
    let (service, name) = (&seen.service, &wanted.service);
    let state = service.update_state();
    if service.label(LABEL_SPEC) != wanted.spec || (is_rollback(seen) && !was_rolled_back) {
        return Verdict::Failed(match is_rollback(seen) {
            true => format!("the swarm rolled {name} back: {}", service.update_message()),
            false => format!("another deployment changed service {name} meanwhile"),
        });
    }
    if matches!(state, "paused" | "rollback_paused") {
        return Verdict::Failed(format!("the swarm paused the update of {name}: {}", service.update_message()));
    }
    if !matches!(state, "updating" | "rollback_started")
        && all_up.is_some_and(|since| is_stable(seen, wanted, began, since))
    {
        return Verdict::Runs(runs(seen));
    }
    if let Some(task) = seen.failed().first().filter(|_| wanted.strict) {
        let why = format!("{name}: {}", task.describe());
        return match state == "updating" && service.rolls_back() {
            true => Verdict::Failing(why),
            false => Verdict::Failed(why),
        };
    }
    match seen.unplaced().first() {
        Some(task) => Verdict::Unplaced(format!("{name}: no node takes a task: {}", task.error())),
        None => Verdict::NotYet,
    }
}

/// After an update the swarm itself has watched the tasks for `monitor`; after a creation it has not.
fn is_stable(seen: &Tasks, wanted: &RolloutCheck, began: Instant, all_up: Instant) -> bool {
    if matches!(seen.service.update_state(), "completed" | "rollback_completed") {
        return true;
    }
    let age = |since: Option<jiff::Timestamp>| {
        let age = since.map(|since| jiff::Timestamp::now().duration_since(since));
        age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default()
    };
    let youngest = seen.running().iter().map(|task| age(task.changed())).min().unwrap_or(Duration::MAX);
    let is_begun = began.elapsed() >= BEGINS || age(seen.service.updated_at()) >= wanted.monitor.max(BEGINS);
    is_begun && youngest.max(all_up.elapsed()) >= wanted.monitor
}

fn runs(seen: &Tasks) -> String {
    let count = seen.running().len();
    format!("{count} of {} task{} run", seen.desired(), if seen.desired() == 1 { "" } else { "s" })
}

/// What the tasks of the service wait for, as far as the swarm answers quickly.
pub(crate) async fn waiting(engine: &Engine, wanted: &RolloutCheck) -> Vec<String> {
    let api = Api::of(engine);
    let observe = async {
        let mut seen = Tasks::of(&api, &wanted.service).await.ok().flatten()?;
        seen.name_nodes(&api).await;
        Some(seen.unfinished().iter().map(Task::waits_for).take(LINES).collect())
    };
    let silent = || vec!["no leader of the swarm answers: docker node ls says which managers are there".to_owned()];
    tokio::time::timeout(QUICK, observe).await.map_or_else(|_| silent(), Option::unwrap_or_default)
}

/// The failure with the tasks' own errors, by task and node, and the log of the first.
async fn report(api: &Api, wanted: &RolloutCheck, mut seen: Tasks, since: Option<&str>, why: String) -> Failure {
    seen.name_nodes(api).await;
    let since = since.unwrap_or_default().to_owned();
    let began = seen.service.since();
    let since = if since < began { since } else { began };
    let mut lines = Vec::new();
    let mut first = None;
    for task in seen.failed_since(&since).chain(seen.unplaced()) {
        let line = task.describe();
        if !lines.contains(&line) {
            lines.push(line);
        }
        if first.is_none() && task.state() == "failed" {
            first = Some(task.id());
        }
    }
    lines.truncate(LINES);
    if let Some(task) = first {
        lines.extend(log_tail(api, &task).await);
    }
    Failure::new(Kind::Health, why).evidence(lines).next(format!(
        "the tasks' own errors are above; docker service ps --no-trunc {} has all of them",
        wanted.service
    ))
}
