//! The tasks of this node. A worker gets no other ones from the engine.

use std::time::Duration;

use bollard::models::ContainerInspectResponse;

use crate::engine::Engine;
use crate::engine::facts::short_id;
use crate::engine::logs::log_tail;
use crate::error::{Failure, Kind};
use crate::poll;
use crate::values::labels::SWARM_SERVICE;

const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Of the wanted image, and up for this time.
    Up(Duration),
    /// Of the wanted image, not up yet.
    Starting,
    /// Of the wanted image, and exited with this code since we began.
    Failed(i64),
    /// Of another image, and up.
    Old,
    /// Stopped by the swarm, or before we began.
    Past,
}

/// Waits until the tasks of this node run the wanted image. A node without a task has done its part after `patience`.
/// Errors: [`Kind::Health`]: one of them failed, is not up in time, or was rolled back.
pub(crate) async fn wait(
    engine: &Engine,
    service: &str,
    image: &str,
    patience: Duration,
    monitor: Duration,
) -> Result<Vec<String>, Failure> {
    let began = jiff::Timestamp::now();
    let (mut seen_up, mut counts) = (false, (0, 0, 0));
    let done = poll::until(patience, PAUSE, async || {
        let all = containers(engine, service).await?;
        let states: Vec<State> = all.iter().map(|found| state(found, image, began)).collect();
        let count = |wanted: fn(&State) -> bool| states.iter().filter(|state| wanted(state)).count();
        let (up, old) = (count(|state| matches!(state, State::Up(_))), count(|state| *state == State::Old));
        let starting = count(|state| *state == State::Starting);
        if let Some((found, State::Failed(code))) =
            all.iter().zip(&states).find(|(_, state)| matches!(state, State::Failed(_)))
        {
            return Err(ended(engine, service, found, *code).await);
        }
        if seen_up && up == 0 && starting == 0 && old > 0 {
            return Err(Failure::new(Kind::Health, format!("the swarm rolled {service} back on this node"))
                .next("the report of a manager has the tasks' own errors"));
        }
        seen_up |= up > 0;
        let is_stable = states.iter().all(|state| !matches!(state, State::Up(since) if *since < monitor));
        if up > 0 && starting == 0 && old == 0 && is_stable {
            return Ok(Some(vec![format!(
                "{up} task{} of {service} on this node run",
                if up == 1 { "" } else { "s" }
            )]));
        }
        counts = (up, starting, old);
        Ok(None)
    });
    match done.await? {
        Some(done) => Ok(done),
        None => at_the_end(service, counts),
    }
}

fn at_the_end(service: &str, counts: (usize, usize, usize)) -> Result<Vec<String>, Failure> {
    match counts {
        (0, 0, 0) => Ok(vec![format!("no task of {service} is on this node")]),
        (0, 0, old) => Ok(vec![format!("no manager has updated {service} yet: {old} of the release before run here")]),
        (up, 0, 0) => Ok(vec![format!("{up} of {service} on this node run, for less than the swarm watches them")]),
        (up, starting, old) => {
            Err(Failure::new(Kind::Health, format!("{service} on this node: {up} up, {starting} starting, {old} old"))
                .next(format!(
                    "docker ps --filter label={SWARM_SERVICE}={service}; raise health.timeout if it only needs longer"
                )))
        }
    }
}

async fn containers(engine: &Engine, service: &str) -> Result<Vec<ContainerInspectResponse>, Failure> {
    let mut found = Vec::new();
    for summary in engine.list_labelled(format!("{SWARM_SERVICE}={service}")).await? {
        found.extend(engine.inspect(&summary.id.unwrap_or_default()).await?);
    }
    Ok(found)
}

fn state(found: &ContainerInspectResponse, image: &str, began: jiff::Timestamp) -> State {
    let state = found.state.clone().unwrap_or_default();
    let is_wanted = found.config.as_ref().and_then(|config| config.image.as_deref()) == Some(image);
    let running = state.running.unwrap_or(false);
    if !is_wanted {
        return if running { State::Old } else { State::Past };
    }
    let time = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let is_healthy = state.health.as_ref().and_then(|health| health.status).is_none_or(|status| {
        matches!(
            status,
            bollard::models::HealthStatusEnum::HEALTHY
                | bollard::models::HealthStatusEnum::NONE
                | bollard::models::HealthStatusEnum::EMPTY
        )
    });
    if running && is_healthy {
        let age = time(&state.started_at).map(|since| jiff::Timestamp::now().duration_since(since));
        return State::Up(age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default());
    }
    let is_new = time(&state.finished_at).is_some_and(|at| at >= began);
    match state.exit_code.unwrap_or(0) {
        _ if running || matches!(state.status, Some(bollard::models::ContainerStateStatusEnum::CREATED)) => {
            State::Starting
        }
        // The swarm ended it: SIGTERM, SIGKILL, or an application that handles SIGTERM.
        0 | 137 | 143 if !state.oom_killed.unwrap_or(false) => State::Past,
        code if is_new => State::Failed(code),
        _ => State::Past,
    }
}

async fn ended(engine: &Engine, service: &str, found: &ContainerInspectResponse, code: i64) -> Failure {
    let id = found.id.clone().unwrap_or_default();
    let name = found.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned();
    let error = found.state.as_ref().and_then(|state| state.error.clone()).unwrap_or_default();
    let error = if error.is_empty() { error } else { format!(": {error}") };
    let log = log_tail(engine, &id).await;
    Failure::new(Kind::Health, format!("a task of {service} on this node ended with exit code {code}{error}"))
        .evidence(log)
        .with_log()
        .next(format!("docker inspect {name} ({})", short_id(&id)))
}
