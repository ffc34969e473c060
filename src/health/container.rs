//! A container under a health check: whether it keeps running, its HEALTHCHECK, its published port.

use std::time::{Duration, Instant};

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Status, HealthStatusEnum,
    RestartPolicyNameEnum,
};

pub(crate) struct Member {
    /// As reports call it: `web`, or `service db` of a project.
    pub(crate) name: String,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) shown: ContainerInspectResponse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    KeepsRunning,
    /// A service of a project: it may end with 0, and Compose may start it again.
    Service,
}

/// What it was when the check saw it first.
pub(crate) struct First {
    restarts: i64,
    started_at: String,
    /// The engine calls it healthy: it was not replaced, and the engine has asked it already.
    is_healthy: bool,
    age: Duration,
    since: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// Compose started it again: it is a new one.
    StartedAgain,
    /// A one-shot service that ended with 0.
    Completed,
    /// Not there yet: why.
    Waiting(String),
    /// Healthy it will not become: why, as the rest of a sentence about it.
    Failed(String),
}

impl First {
    pub(crate) fn of(member: &Member) -> Self {
        Self {
            restarts: member.shown.restart_count.unwrap_or(0),
            started_at: member.state().started_at.unwrap_or_default(),
            is_healthy: member.lifecycle == Lifecycle::Service && member.health() == Some(HealthStatusEnum::HEALTHY),
            age: member.age(),
            since: Instant::now(),
        }
    }

    /// Whether it has run long enough for a container without a HEALTHCHECK.
    pub(crate) fn is_settled(&self, settle: Duration) -> bool {
        self.age + self.since.elapsed() >= settle
    }

    /// Whether the engine has called it healthy from the first moment.
    pub(crate) fn is_healthy_still(&self, member: &Member) -> bool {
        self.is_healthy && member.health() == Some(HealthStatusEnum::HEALTHY)
    }
}

impl Member {
    pub(crate) fn id(&self) -> &str {
        self.shown.id.as_deref().unwrap_or_default()
    }

    /// Whether the engine has given it up; of a container that must keep running the time limit decides.
    pub(crate) fn is_unhealthy(&self) -> bool {
        self.lifecycle == Lifecycle::Service && self.health() == Some(HealthStatusEnum::UNHEALTHY)
    }

    pub(crate) fn state_since(&self, first: &First) -> State {
        let state = self.state();
        let restarted = self.shown.restart_count.unwrap_or(0) > first.restarts;
        let started_again = state.started_at.as_deref().unwrap_or_default() != first.started_at;
        let runs = state.running.unwrap_or(false) && !state.restarting.unwrap_or(false);
        match (self.lifecycle, runs) {
            (_, true) if restarted => State::Failed(format!("exited and was restarted by the engine{}", why(&state))),
            (Lifecycle::KeepsRunning, true) if started_again => State::Failed("exited and was started again".into()),
            (Lifecycle::Service, true) if started_again => State::StartedAgain,
            (_, true) => State::Running,
            (Lifecycle::KeepsRunning, false) => State::Failed(exited(&state)),
            (Lifecycle::Service, false) => self.service_stopped(&state),
        }
    }

    fn service_stopped(&self, state: &ContainerState) -> State {
        match state.status {
            Some(Status::RESTARTING) => {
                State::Failed(format!("keeps {}", exited(state).replacen("exited", "exiting", 1)))
            }
            Some(Status::EXITED) if state.exit_code.unwrap_or(0) == 0 && !self.is_restarted() => State::Completed,
            Some(Status::EXITED | Status::DEAD) => State::Failed(exited(state)),
            status => {
                State::Waiting(format!("{}{}", status.map(|status| status.to_string()).unwrap_or_default(), why(state)))
            }
        }
    }

    /// Whether the engine starts it again when it has ended with 0.
    fn is_restarted(&self) -> bool {
        let policy = self.shown.host_config.as_ref().and_then(|host| host.restart_policy.as_ref());
        let policy = policy.and_then(|policy| policy.name);
        matches!(policy, Some(RestartPolicyNameEnum::ALWAYS | RestartPolicyNameEnum::UNLESS_STOPPED))
    }

    fn state(&self) -> ContainerState {
        self.shown.state.clone().unwrap_or_default()
    }

    fn health(&self) -> Option<HealthStatusEnum> {
        self.shown.state.as_ref()?.health.as_ref()?.status
    }

    /// How long it has been running, by the engine's and this host's clocks.
    fn age(&self) -> Duration {
        let started: Option<jiff::Timestamp> = self.state().started_at.and_then(|text| text.parse().ok());
        let age = started.map(|started| jiff::Timestamp::now().duration_since(started));
        age.and_then(|age| age.try_into().ok()).unwrap_or_default()
    }

    /// The command of its HEALTHCHECK and how long that may take; `None` where it has none, or `NONE`.
    ///
    /// Source: Docker Engine API, `HealthConfig`.
    pub(crate) fn healthcheck(&self) -> Option<(Vec<String>, Duration)> {
        const DEFAULT_LIMIT: Duration = Duration::from_secs(30);
        let config = self.shown.config.as_ref()?;
        let check = config.healthcheck.as_ref()?;
        let nanoseconds = check.timeout.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
        let (kind, rest) = check.test.as_ref()?.split_first()?;
        let shell = config.shell.clone().filter(|shell| !shell.is_empty());
        let command = match kind.as_str() {
            "CMD" => rest.to_vec(),
            "CMD-SHELL" => [&shell.unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]), rest].concat(),
            _ => return None,
        };
        (!command.is_empty()).then(|| (command, nanoseconds.map_or(DEFAULT_LIMIT, Duration::from_nanos)))
    }
}

/// `exited with code 3, out of memory: the engine's own words`.
fn exited(state: &ContainerState) -> String {
    format!("exited with code {}{}", state.exit_code.unwrap_or(0), why(state))
}

fn why(state: &ContainerState) -> String {
    let memory = if state.oom_killed == Some(true) { ", out of memory" } else { "" };
    let words = state.error.as_ref().filter(|words| !words.is_empty()).map(|words| format!(": {words}"));
    format!("{memory}{}", words.unwrap_or_default())
}

/// Where this host reaches the published TCP port with the lowest container port, as `127.0.0.1:49153`.
pub(crate) fn published(members: &[Member]) -> Option<String> {
    let ports = members.iter().filter_map(|member| member.shown.network_settings.as_ref()?.ports.as_ref()).flatten();
    let tcp = ports.filter_map(|(port, bindings)| {
        let number: u16 = port.strip_suffix("/tcp")?.parse().ok()?;
        let binding = bindings.as_ref()?.first()?;
        Some((number, binding.host_ip.clone().unwrap_or_default(), binding.host_port.clone()?))
    });
    let (_, address, port) = tcp.min()?;
    let host = match address.as_str() {
        "" | "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        v6 if v6.contains(':') => format!("[{v6}]"),
        v4 => v4.to_owned(),
    };
    Some(format!("{host}:{port}"))
}
