//! A project's health: every service's containers, and what is asked from outside.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bollard::models::{ContainerStateStatusEnum, HealthStatusEnum};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::config::Probe;
use crate::engine::Engine;
use crate::engine::logs::log_tail_within;
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::health::checker::{HealthChecker, Members};
use crate::health::container::{Lifecycle, Member};
use crate::modes::compose::containers::of_project;
use crate::values::text::shorten;

/// What makes a project healthy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectHealth {
    /// The services, each with its number of containers.
    pub services: Vec<(String, usize)>,
    /// What makes them healthy.
    pub check: HealthCheck,
}

impl fmt::Display for ProjectHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.services.iter().map(|(name, count)| match count {
            1 => name.clone(),
            count => format!("{name} ({count} containers)"),
        });
        let (services, settle) = (services.collect::<Vec<_>>().join(", "), self.check.settle);
        write!(f, "{services} healthy, running for {settle:?} or exited with 0")?;
        match &self.check.probe {
            Probe::Auto => {}
            probe => write!(f, ", {probe}")?,
        }
        write!(f, ", {}", self.check.terms())
    }
}

/// Log lines that a report shows of all failing services together, and at least of each.
const LOG_LINES: (usize, usize) = (16, 3);

/// How long reading one log may take.
const LOG_LIMIT: Duration = Duration::from_secs(3);

/// The same where the plan must stop: what served before waits.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The longest log line where several services fail, in characters.
const LOG_LINE: usize = 110;

/// Waits until every service of a project is healthy, and what is asked from outside answers.
/// Errors: [`Kind::Health`]: a container exited, restarts or is unhealthy, or time is up; with its last log lines.
pub(crate) async fn wait(
    checker: &mut HealthChecker,
    engine: &Engine,
    project: &str,
    wanted: &ProjectHealth,
) -> Result<(), Failure> {
    let checked = checker.check(engine, project, &wanted.check, async || observe(engine, project, wanted).await).await;
    let Err(unhealthy) = checked else { return Ok(()) };
    let failure = unhealthy.failure.evidence(evidence(engine, &unhealthy.containers, LOG_LIMIT).await).with_log();
    Err(if unhealthy.is_late { failure.next("raise compose.wait_timeout if they only boot longer") } else { failure })
}

async fn observe(engine: &Engine, project: &str, wanted: &ProjectHealth) -> Result<Members, Failure> {
    let all = engine.list().await?;
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let mut containers = Vec::new();
    for (container, service) in of_project(&all, project) {
        let is_wanted = wanted.services.iter().any(|(name, _)| *name == service);
        let Some(id) = container.id.as_deref().filter(|_| is_wanted) else { continue };
        let Some(shown) = engine.inspect(id).await? else { continue };
        containers.push(Member { name: format!("service {service}"), lifecycle: Lifecycle::Service, shown });
        *found.entry(service).or_default() += 1;
    }
    let missing = wanted.services.iter().filter_map(|(service, replicas)| {
        let found = found.get(service).copied().unwrap_or_default();
        (found < *replicas).then(|| format!("service {service}: {found} of {replicas} containers"))
    });
    Ok(Members { missing: missing.collect(), containers })
}

/// The last log lines of the containers that a check which was cut off waited for.
pub(crate) async fn cut_off(checker: &HealthChecker, engine: &Engine) -> Vec<String> {
    evidence(engine, &checker.cut_off(), LAST_WORDS).await
}

/// What is broken of a project at this moment, where `up` was cut off.
pub(crate) async fn up_cut_off(engine: &Engine, project: &str) -> Vec<String> {
    let broken = broken(engine, project, LAST_WORDS).await;
    broken.map(|broken| [vec![broken.message], broken.evidence].concat()).unwrap_or_default()
}

async fn evidence(engine: &Engine, containers: &[(String, String)], limit: Duration) -> Vec<String> {
    let each = (LOG_LINES.0 / containers.len().max(1)).max(LOG_LINES.1);
    let mut lines = Vec::new();
    let logs = join_all(containers.iter().map(|(id, _)| log_tail_within(engine, id, limit))).await;
    for ((_, name), log) in containers.iter().zip(logs) {
        let last = &log[log.len().saturating_sub(each)..];
        let limit = if containers.len() > 1 { LOG_LINE } else { usize::MAX };
        let name = name.trim_start_matches("service ");
        lines.extend(last.iter().map(|line| format!("{name}: {}", shorten(line, limit))));
    }
    lines
}

/// What is broken of a project at this moment, with log lines: for a failure of Compose itself.
pub(crate) async fn broken_now(engine: &Engine, project: &str) -> Option<Failure> {
    broken(engine, project, LOG_LIMIT).await.map(Failure::with_log)
}

async fn broken(engine: &Engine, project: &str, limit: Duration) -> Option<Failure> {
    let all = engine.list().await.ok()?;
    let (mut failed, mut words) = (Vec::new(), Vec::new());
    for (container, service) in of_project(&all, project) {
        let Some(id) = container.id.clone() else { continue };
        let Some(seen) = engine.inspect(&id).await.ok().flatten() else { continue };
        let state = seen.state.unwrap_or_default();
        let code = state.exit_code.unwrap_or(0);
        let health = state.health.and_then(|health| health.status);
        words.push(match state.status {
            Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::RESTARTING) if code != 0 => {
                format!("service {service} exited with code {code}")
            }
            _ if health == Some(HealthStatusEnum::UNHEALTHY) => format!("service {service} is unhealthy"),
            _ => continue,
        });
        failed.push((id, service));
    }
    if failed.is_empty() {
        return None;
    }
    let evidence = evidence(engine, &failed, limit).await;
    Some(Failure::new(Kind::Health, words.join("; ")).evidence(evidence))
}
