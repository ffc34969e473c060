//! Proving a container: polled from the first moment, not at the engine's own interval.

pub mod check;
pub mod probe;

use std::time::{Duration, Instant};

use bollard::models::{ContainerInspectResponse, HealthConfig};

use crate::config::Probe;
use crate::config::SETTLE;
use crate::engine::Engine;
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;

/// What was last seen of a container.
struct Seen {
    running: bool,
    restarts: i64,
    started_at: String,
    exit_code: i64,
    error: String,
    out_of_memory: bool,
}

/// Waits until the container `id`, called `name`, is proven.
///
/// # Errors
/// [`Kind::Health`] when it exits, restarts or is not proven in time.
pub async fn check_health(engine: &Engine, name: &str, id: &str, health_check: &HealthCheck) -> Result<(), Failure> {
    let began = Instant::now();
    let first = inspect(engine, name, id).await?;
    still_up(name, &seen(&first), &seen(&first))?;
    let check = Check::of(health_check, &first).map_err(|why| Failure::new(Kind::Health, format!("{name}: {why}")))?;
    let first = seen(&first);
    let (mut good_since, mut successes): (Option<Instant>, u32) = (None, 0);
    loop {
        still_up(name, &first, &seen(&inspect(engine, name, id).await?))?;
        let answer = check.ask(engine, id, began.elapsed()).await;
        match &answer {
            Ok(()) => (good_since, successes) = (good_since.or_else(|| Some(Instant::now())), successes + 1),
            Err(_) => (good_since, successes) = (None, 0),
        }
        let is_stable = good_since.is_some_and(|since| since.elapsed() >= health_check.stable_for);
        if is_stable && successes >= health_check.successes {
            let last = seen(&inspect(engine, name, id).await?);
            return still_up(name, &first, &last);
        }
        if began.elapsed() >= health_check.timeout {
            return Err(late(name, health_check, &check, answer.err()));
        }
        tokio::time::sleep(health_check.interval).await;
    }
}

async fn inspect(engine: &Engine, name: &str, id: &str) -> Result<ContainerInspectResponse, Failure> {
    let found = engine.inspect(id).await?;
    found.ok_or_else(|| Failure::new(Kind::Health, format!("{name} is gone: somebody removed it")))
}

fn seen(container: &ContainerInspectResponse) -> Seen {
    let state = container.state.clone().unwrap_or_default();
    Seen {
        running: state.running.unwrap_or(false) && !state.restarting.unwrap_or(false),
        restarts: container.restart_count.unwrap_or(0),
        started_at: state.started_at.unwrap_or_default(),
        exit_code: state.exit_code.unwrap_or(0),
        error: state.error.unwrap_or_default(),
        out_of_memory: state.oom_killed.unwrap_or(false),
    }
}

fn still_up(name: &str, first: &Seen, now: &Seen) -> Result<(), Failure> {
    let ended = if now.restarts > first.restarts || (now.running && now.started_at != first.started_at) {
        "ended and was restarted by the engine"
    } else if !now.running {
        "ended"
    } else {
        return Ok(());
    };
    let memory = if now.out_of_memory { ", out of memory" } else { "" };
    let words = if now.error.is_empty() { String::new() } else { format!(": {}", now.error) };
    Err(Failure::new(Kind::Health, format!("{name} {ended} with exit code {}{memory}{words}", now.exit_code))
        .next("its last log lines above say why"))
}

fn late(name: &str, health_check: &HealthCheck, check: &Check, last: Option<String>) -> Failure {
    let last = last.unwrap_or_else(|| "it answered, but not for long enough".into());
    Failure::new(Kind::Health, format!("{name} was not proven within {:?}: {check}: {last}", health_check.timeout))
        .next("its last log lines are above; raise health.timeout if it only needs longer to boot")
}

/// The check after looking at the container: what `Auto` came to, and the address of a published port.
pub(crate) enum Check {
    Http(String),
    Tcp(String),
    Command { command: Vec<String>, limit: Duration },
    Settled { before: Duration },
}

impl Check {
    pub(crate) fn of(health_check: &HealthCheck, container: &ContainerInspectResponse) -> Result<Self, String> {
        match &health_check.probe {
            Probe::Http(address) if address.starts_with('/') => {
                let port = published(container).ok_or("health.http names a path, but no TCP port is published")?;
                Ok(Self::Http(format!("http://{port}{address}")))
            }
            Probe::Http(address) => Ok(Self::Http(address.clone())),
            Probe::Tcp(address) if address.starts_with(':') => Ok(Self::Tcp(format!("127.0.0.1{address}"))),
            Probe::Tcp(address) => Ok(Self::Tcp(address.clone())),
            Probe::Auto => {
                let config = container.config.clone().unwrap_or_default();
                Ok(config
                    .healthcheck
                    .and_then(|check| command(check, config.shell))
                    .unwrap_or_else(|| Self::Settled { before: age(container) }))
            }
        }
    }

    /// Asks once. `more` is what has gone by since the container was looked at first.
    pub(crate) async fn ask(&self, engine: &Engine, id: &str, more: Duration) -> Result<(), String> {
        match self {
            Self::Http(url) => probe::http(url).await,
            Self::Tcp(address) => probe::tcp(address).await,
            Self::Command { command, limit } => probe::command(engine, id, command, *limit).await,
            Self::Settled { before } if *before + more >= SETTLE => Ok(()),
            Self::Settled { .. } => Err(format!("it runs for less than {SETTLE:?}")),
        }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http(url) => write!(f, "GET {url}"),
            Self::Tcp(address) => write!(f, "TCP {address}"),
            Self::Command { command, .. } => write!(f, "HEALTHCHECK `{}`", command.join(" ")),
            Self::Settled { .. } => write!(f, "it must run for {SETTLE:?}"),
        }
    }
}

/// How long the container has been running.
fn age(container: &ContainerInspectResponse) -> Duration {
    let started = container.state.as_ref().and_then(|state| state.started_at.as_deref());
    let started: Option<jiff::Timestamp> = started.and_then(|text| text.parse().ok());
    let age = started.map(|started| jiff::Timestamp::now().duration_since(started));
    age.and_then(|age| age.try_into().ok()).unwrap_or_default()
}

/// The command of a HEALTHCHECK; `None` for `NONE` and for none at all.
///
/// Source: Docker Engine API, `HealthConfig.Test`.
fn command(check: HealthConfig, shell: Option<Vec<String>>) -> Option<Check> {
    const DEFAULT_LIMIT: Duration = Duration::from_secs(30);
    let nanoseconds = check.timeout.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
    let limit = nanoseconds.map_or(DEFAULT_LIMIT, Duration::from_nanos);
    let test = check.test?;
    let (kind, rest) = test.split_first()?;
    let command = match kind.as_str() {
        "CMD" => rest.to_vec(),
        "CMD-SHELL" => {
            let shell = shell.filter(|shell| !shell.is_empty());
            let mut command = shell.unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]);
            command.extend(rest.iter().cloned());
            command
        }
        _ => return None,
    };
    (!command.is_empty()).then_some(Check::Command { command, limit })
}

/// The host side of the published TCP port with the lowest container port, as `127.0.0.1:49153`.
fn published(container: &ContainerInspectResponse) -> Option<String> {
    let ports = container.network_settings.as_ref()?.ports.as_ref()?;
    let tcp = ports.iter().filter_map(|(port, bindings)| {
        let number: u16 = port.strip_suffix("/tcp")?.parse().ok()?;
        let binding = bindings.as_ref()?.first()?;
        Some((number, binding.host_ip.clone().unwrap_or_default(), binding.host_port.clone()?))
    });
    let (_, address, port) = tcp.min_by_key(|(number, _, _)| *number)?;
    let address = match address.as_str() {
        "" | "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        v6 if v6.contains(':') => format!("[{v6}]"),
        v4 => v4.to_owned(),
    };
    Some(format!("{address}:{port}"))
}
