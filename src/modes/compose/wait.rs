//! Proving a project: every service's containers, polled from the first moment, and then from outside.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, HealthStatusEnum, RestartPolicyNameEnum,
};

use crate::config::Probe;
use crate::engine::logs::log_tail_within;
use crate::engine::{Engine, SERVICE, label};
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::health::{Check, probe};
use crate::modes::compose::operation::ProjectHealth;
use crate::values::text::shorten;

/// Compose's label with the project's name.
const PROJECT: &str = "com.docker.compose.project";

/// Compose's label on what `run` made.
const ONE_OFF: &str = "com.docker.compose.oneoff";

/// A check of our own that takes longer is left to the engine's.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// Log lines that a report shows of all failing services together, and at least of each.
const LOG_LINES: (usize, usize) = (16, 3);

/// How long reading one log may take.
const LOG_LIMIT: Duration = Duration::from_secs(3);

/// The longest log line where several services fail, in characters.
const LOG_LINE: usize = 110;

/// Those of `all` that are the project's: containers with their services.
pub fn of_project<'a>(all: &'a [ContainerSummary], project: &str) -> Vec<(&'a ContainerSummary, String)> {
    let ours = all.iter().filter(|container| label(container, PROJECT).as_deref() == Some(project));
    let lasting =
        ours.filter(|container| label(container, ONE_OFF).is_none_or(|text| !text.eq_ignore_ascii_case("true")));
    lasting.filter_map(|container| Some((container, label(container, SERVICE)?))).collect()
}

/// What a container came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Good,
    Pending(String),
    Failed(String),
}

/// A container that is watched: what it was when it was first seen.
struct Watched {
    service: String,
    restarts: i64,
    started_at: String,
    check: Option<Check>,
    proven: bool,
    since: Instant,
}

/// Waits until every service of a project is proven, then asks from outside.
///
/// # Errors
/// [`Kind::Health`]: a container ended, restarts or is unhealthy, or time is up; with its last log lines.
pub async fn wait(engine: &Engine, project: &str, health_check: &ProjectHealth) -> Result<(), Failure> {
    let began = Instant::now();
    let mut watched: BTreeMap<String, Watched> = BTreeMap::new();
    let mut good_since: Option<Instant> = None;
    loop {
        let all = engine.list().await?;
        let mut states = Vec::new();
        for (container, service) in of_project(&all, project) {
            let Some(id) = container.id.clone() else { continue };
            if !health_check.services.iter().any(|(name, _)| *name == service) {
                continue;
            }
            let Some(seen) = engine.inspect(&id).await? else { continue };
            let first = watched.entry(id.clone()).or_insert_with(|| Watched::new(&service, &seen));
            let state = first.state(engine, &id, &seen).await;
            states.push((id, service, state));
        }
        let failed: Vec<_> = states.iter().filter(|(_, _, state)| matches!(state, State::Failed(_))).collect();
        if !failed.is_empty() {
            return Err(broken(engine, &failed).await);
        }
        let pending = pending(health_check, &states);
        let open = match pending.first() {
            Some(why) => Some(why.clone()),
            None => outside(health_check, &all, project).await.err(),
        };
        good_since = if open.is_some() { None } else { good_since.or_else(|| Some(Instant::now())) };
        if good_since.is_some_and(|since| since.elapsed() >= health_check.stable_for) {
            return Ok(());
        }
        if began.elapsed() >= health_check.timeout {
            let late: Vec<_> = states.iter().filter(|(_, _, state)| *state != State::Good).collect();
            let why = if pending.is_empty() { open.into_iter().collect() } else { pending };
            return Err(not_in_time(health_check, &why).evidence(evidence(engine, &late).await));
        }
        tokio::time::sleep(health_check.interval).await;
    }
}

/// Services that are not proven yet, each with why.
fn pending(health_check: &ProjectHealth, states: &[(String, String, State)]) -> Vec<String> {
    let mut pending = Vec::new();
    for (service, replicas) in &health_check.services {
        let of: Vec<&State> = states.iter().filter(|(_, name, _)| name == service).map(|(_, _, state)| state).collect();
        let why = of.iter().find_map(|state| match state {
            State::Pending(why) => Some(why.clone()),
            State::Good | State::Failed(_) => None,
        });
        if let Some(why) = why {
            pending.push(format!("{service}: {why}"));
        } else if of.len() < *replicas {
            pending.push(format!("{service}: {} of {replicas} containers", of.len()));
        }
    }
    pending
}

/// An address that is asked from outside.
enum Outside {
    Http(String),
    Tcp(String),
}

/// What `health:` asks, where it asks anything; a path is asked of the published TCP port with the lowest container port.
async fn outside(health_check: &ProjectHealth, all: &[ContainerSummary], project: &str) -> Result<(), String> {
    let check = match &health_check.probe {
        Probe::Auto => return Ok(()),
        Probe::Http(address) if address.starts_with('/') => {
            let containers = of_project(all, project);
            let ports = containers.iter().flat_map(|(container, _)| container.ports.iter().flatten());
            let tcp = ports.filter(|port| port.typ == Some(bollard::models::PortSummaryTypeEnum::TCP));
            let public = tcp
                .filter_map(|port| Some((port.private_port, port.ip.clone().unwrap_or_default(), port.public_port?)));
            let (_, address_of, port) = public.min().ok_or("health.http names a path, but no TCP port is published")?;
            let host = if address_of.is_empty() || address_of == "0.0.0.0" || address_of == "::" {
                "127.0.0.1".into()
            } else {
                address_of
            };
            Outside::Http(format!("http://{host}:{port}{address}"))
        }
        Probe::Http(address) => Outside::Http(address.clone()),
        Probe::Tcp(address) if address.starts_with(':') => Outside::Tcp(format!("127.0.0.1{address}")),
        Probe::Tcp(address) => Outside::Tcp(address.clone()),
    };
    match &check {
        Outside::Http(url) => probe::http(url).await.map_err(|why| format!("GET {url}: {why}")),
        Outside::Tcp(address) => probe::tcp(address).await.map_err(|why| format!("TCP {address}: {why}")),
    }
}

impl Watched {
    fn new(service: &str, seen: &ContainerInspectResponse) -> Self {
        let state = seen.state.clone().unwrap_or_default();
        let health_check = HealthCheck {
            probe: Probe::Auto,
            timeout: Duration::ZERO,
            interval: Duration::ZERO,
            stable_for: Duration::ZERO,
            successes: 1,
        };
        Self {
            service: service.to_owned(),
            restarts: seen.restart_count.unwrap_or(0),
            started_at: state.started_at.unwrap_or_default(),
            check: Check::of(&health_check, seen).ok(),
            proven: false,
            since: Instant::now(),
        }
    }

    async fn state(&mut self, engine: &Engine, id: &str, seen: &ContainerInspectResponse) -> State {
        let state = seen.state.clone().unwrap_or_default();
        let code = state.exit_code.unwrap_or(0);
        let (started_at, restarts) = (state.started_at.clone().unwrap_or_default(), seen.restart_count.unwrap_or(0));
        let memory = if state.oom_killed == Some(true) { ", out of memory" } else { "" };
        match state.status {
            Some(ContainerStateStatusEnum::RESTARTING) => {
                self.failed(format!("keeps ending with exit code {code}{memory}"))
            }
            Some(ContainerStateStatusEnum::RUNNING) if restarts > self.restarts => {
                self.failed(format!("ended and was restarted by the engine, exit code {code}{memory}"))
            }
            Some(ContainerStateStatusEnum::RUNNING) => {
                if started_at != self.started_at {
                    // Started again by Compose: it is watched from here.
                    *self = Self::new(&self.service, seen);
                }
                self.running(engine, id, seen).await
            }
            Some(ContainerStateStatusEnum::EXITED) if code == 0 && !is_restarted(seen) => State::Good,
            Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) => {
                let words = state.error.filter(|words| !words.is_empty()).map(|words| format!(": {words}"));
                self.failed(format!("ended with exit code {code}{memory}{}", words.unwrap_or_default()))
            }
            other => {
                let words = state.error.filter(|words| !words.is_empty()).map(|words| format!(": {words}"));
                State::Pending(format!(
                    "{}{}",
                    other.map(|state| state.to_string()).unwrap_or_default(),
                    words.unwrap_or_default()
                ))
            }
        }
    }

    async fn running(&mut self, engine: &Engine, id: &str, seen: &ContainerInspectResponse) -> State {
        let health = seen.state.as_ref().and_then(|state| state.health.as_ref()).and_then(|health| health.status);
        let Some(check) = &self.check else { return State::Good };
        // A container that was not replaced has been asked by the engine already.
        if self.proven || health == Some(HealthStatusEnum::HEALTHY) {
            self.proven = true;
            return State::Good;
        }
        let asked = tokio::time::timeout(CHECK_LIMIT, check.ask(engine, id, self.since.elapsed())).await;
        let answer = asked.unwrap_or_else(|_| Err(format!("no answer within {CHECK_LIMIT:?}")));
        match (answer, health) {
            (Ok(()), _) => {
                self.proven = true;
                State::Good
            }
            (Err(why), Some(HealthStatusEnum::UNHEALTHY)) => self.failed(format!("is unhealthy: {check}: {why}")),
            (Err(why), _) => State::Pending(why),
        }
    }

    fn failed(&self, what: String) -> State {
        State::Failed(format!("service {} {what}", self.service))
    }
}

/// Whether the engine starts a container again that has ended with 0.
fn is_restarted(seen: &ContainerInspectResponse) -> bool {
    let policy = seen.host_config.as_ref().and_then(|host| host.restart_policy.as_ref()).and_then(|policy| policy.name);
    matches!(policy, Some(RestartPolicyNameEnum::ALWAYS | RestartPolicyNameEnum::UNLESS_STOPPED))
}

type Found = (String, String, State);

async fn broken(engine: &Engine, failed: &[&Found]) -> Failure {
    let words: Vec<&str> = failed
        .iter()
        .filter_map(|(_, _, state)| match state {
            State::Failed(why) => Some(why.as_str()),
            State::Good | State::Pending(_) => None,
        })
        .collect();
    Failure::new(Kind::Health, words.join("; "))
        .next("its last log lines above say why")
        .evidence(evidence(engine, failed).await)
}

fn not_in_time(health_check: &ProjectHealth, why: &[String]) -> Failure {
    Failure::new(Kind::Health, format!("not proven within {:?}: {}", health_check.timeout, why.join("; ")))
        .next("last log lines are above; raise compose.wait_timeout if it only needs longer to boot")
}

/// Each service's last log lines.
async fn evidence(engine: &Engine, failed: &[&Found]) -> Vec<String> {
    let each = (LOG_LINES.0 / failed.len().max(1)).max(LOG_LINES.1);
    let mut lines = Vec::new();
    for (id, service, _) in failed {
        let log = log_tail_within(engine, id, LOG_LIMIT).await;
        let last = &log[log.len().saturating_sub(each)..];
        let limit = if failed.len() > 1 { LOG_LINE } else { usize::MAX };
        lines.extend(last.iter().map(|line| format!("{service}: {}", shorten(line, limit))));
    }
    lines
}

/// What is broken of a project at this moment, with log lines: for a failure of Compose itself.
pub async fn broken_now(engine: &Engine, project: &str) -> Option<Failure> {
    let all = engine.list().await.ok()?;
    let mut failed = Vec::new();
    for (container, service) in of_project(&all, project) {
        let Some(id) = container.id.clone() else { continue };
        let Some(seen) = engine.inspect(&id).await.ok().flatten() else { continue };
        let state = seen.state.unwrap_or_default();
        let code = state.exit_code.unwrap_or(0);
        let health = state.health.and_then(|health| health.status);
        let what = match state.status {
            Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::RESTARTING) if code != 0 => {
                format!("service {service} ended with exit code {code}")
            }
            _ if health == Some(HealthStatusEnum::UNHEALTHY) => format!("service {service} is unhealthy"),
            _ => continue,
        };
        failed.push((id, service, State::Failed(what)));
    }
    let failed: Vec<&Found> = failed.iter().collect();
    match failed.is_empty() {
        true => None,
        false => Some(broken(engine, &failed).await),
    }
}
