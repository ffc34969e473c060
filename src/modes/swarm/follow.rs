//! Follows the service of a task until its only task has ended.

use std::time::{Duration, Instant};

use crate::engine::api::Api;
use crate::error::Failure;
use crate::modes::swarm::service_tasks::{Patience, Task, Tasks};
use crate::modes::swarm::task::TaskLock;
use crate::modes::swarm::task_log::log;
use crate::poll;
use crate::tasks::{Output, failed, too_long};

const PAUSE: Duration = Duration::from_millis(100);

/// How long it may take to start: another node may have to pull the image.
pub(crate) const STARTS: Duration = Duration::from_secs(60);

/// How long its log may take when it has ended.
const LOG: Duration = Duration::from_secs(5);

/// The same where it is ended because it takes too long.
const LAST_LOG: Duration = Duration::from_millis(700);

/// The same where its deployment must stop: an undo has little time.
const QUICK_LOG: Duration = Duration::from_millis(250);

/// Waits for the end of the task, and reads its output then.
/// Errors: `Kind::Task`: it cannot start, finds no node, ends with another exit code than 0, or takes longer than
/// `limit`.
pub(crate) async fn to_its_end(api: &Api, lock: &TaskLock, limit: Duration) -> Result<(), Failure> {
    let mut waiting = Waiting { since: Instant::now(), running: None, unplaced: Patience::default() };
    let ended = poll::without_limit(PAUSE, async || {
        let seen = Tasks::of(api, &lock.service).await;
        let seen = seen.map_err(|error| error.failure(&format!("inspect the service of task {}", lock.task)))?;
        let mut output = Output::new(&lock.task);
        let Some(mut seen) = seen else {
            return Err(failed(&lock.task, &format!("is lost: service {} was removed", lock.service), output));
        };
        if seen.all().next().is_some_and(|task| task.has_ended()) {
            seen.name_nodes(api).await;
        }
        let Some((how, patience)) = waiting.end(api, &seen, limit).await else { return Ok(None) };
        if let Some(task) = seen.all().next() {
            output.take(&log(api, &task.id(), patience).await);
        }
        match how {
            Some(how) => Err(failed(&lock.task, &how, output)),
            None => {
                drop(output.last_lines());
                Ok(Some(()))
            }
        }
    });
    ended.await
}

/// Reads what a task has written until now, for the log, quickly.
pub(crate) async fn log_last_output(api: &Api, lock: &TaskLock) {
    let Ok(Some(seen)) = Tasks::of(api, &lock.service).await else { return };
    let mut output = Output::new(&lock.task);
    if let Some(task) = seen.all().next() {
        output.take(&log(api, &task.id(), QUICK_LOG).await);
    }
    drop(output.last_lines());
}

struct Waiting {
    since: Instant,
    running: Option<Instant>,
    unplaced: Patience,
}

impl Waiting {
    /// Where it has ended or must end: how it failed, if it did, and how long its log may take.
    async fn end(&mut self, api: &Api, seen: &Tasks, limit: Duration) -> Option<(Option<String>, Duration)> {
        let state = seen.all().next().map_or(State::Waits, |task| state(&task));
        match state {
            State::Ended(how) => return Some((how, LOG)),
            State::Runs if self.running.get_or_insert_with(Instant::now).elapsed() >= limit => {
                return Some((Some(too_long(limit)), LAST_LOG));
            }
            State::Runs => return None,
            State::Unplaced(why) if self.unplaced.is_over(api, seen).await => {
                return Some((Some(format!("finds no node: {why}")), Duration::ZERO));
            }
            State::Unplaced(_) | State::Waits => {}
        }
        let limit = STARTS.max(limit);
        (self.since.elapsed() >= limit).then(|| (Some(format!("did not start within {limit:?}")), Duration::ZERO))
    }
}

enum State {
    Waits,
    Unplaced(String),
    Runs,
    /// How it failed, if it did.
    Ended(Option<String>),
}

fn state(task: &Task<'_>) -> State {
    let place = if task.node().is_empty() { String::new() } else { format!(" on {}", task.node()) };
    match (task.state(), task.exit_code()) {
        ("complete", _) => State::Ended(None),
        ("running", _) => State::Runs,
        ("failed", Some(code @ 1..)) if task.error().starts_with("task: non-zero exit") => {
            State::Ended(Some(format!("ended with exit code {code}{place}")))
        }
        ("failed", _) => State::Ended(Some(format!("failed{place}: {}", task.error()))),
        ("rejected", _) => State::Ended(Some(format!("was refused{place}: {}", task.error()))),
        ("shutdown" | "remove" | "orphaned", _) => State::Ended(Some(format!("is lost: it was ended{place}"))),
        ("pending", _) if !task.error().is_empty() => State::Unplaced(task.error().to_owned()),
        _ => State::Waits,
    }
}
