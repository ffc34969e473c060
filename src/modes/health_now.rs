//! Whether what serves is healthy at this moment, by the health check of its release.

use std::time::Duration;

use crate::engine::Engine;
use crate::error::Failure;
use crate::health;
use crate::health::check::HealthCheck;
use crate::health::checker::HealthChecker;
use crate::modes::compose::recover::health_check;
use crate::modes::compose::wait::{self, ProjectHealth};
use crate::modes::release::Release;
use crate::values::types::Name;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(3);

/// Asks once, of a release of a container or a project; `None` of a swarm's service, whose tasks the swarm watches.
/// Returns what was asked, and the answers, or why they are bad.
pub(crate) async fn health_now(
    engine: &Engine,
    name: &Name,
    release: &Release,
) -> Option<(String, Result<Vec<String>, Failure>)> {
    let (part, mut checker) = (&release.part, HealthChecker::default());
    if let Some(kept) = &part.container {
        let check = once(&kept.health_check);
        let container = (name.as_str(), release.observed.container.as_str());
        let answer = health::check_container(&mut checker, engine, container, &check).await;
        return Some((asked(&check), answer.map(|()| checker.said)));
    }
    let project = part.compose.as_ref()?;
    let wanted = health_check(project);
    let wanted = ProjectHealth { check: once(&wanted.check), ..wanted };
    let services: Vec<&str> = wanted.services.iter().map(|(service, _)| service.as_str()).collect();
    let what = format!("{}: {}", services.join(", "), asked(&wanted.check));
    let answer = wait::wait(&mut checker, engine, &project.project.name, &wanted).await;
    Some((what, answer.map(|()| checker.said)))
}

fn once(saved: &HealthCheck) -> HealthCheck {
    let (timeout, interval) = (LIMIT, Duration::from_millis(200));
    HealthCheck {
        probe: saved.probe.clone(),
        healthcheck: saved.healthcheck,
        timeout,
        interval,
        stable_for: Duration::ZERO,
        successes: 1,
        settle: Duration::ZERO,
    }
}

fn asked(check: &HealthCheck) -> String {
    match (&check.probe, check.healthcheck) {
        (crate::config::Probe::Auto, true) => "it runs, and its HEALTHCHECK passes where it has one".to_owned(),
        (crate::config::Probe::Auto, false) => "it runs".to_owned(),
        (probe, _) => probe.to_string(),
    }
}
