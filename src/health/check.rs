//! A health check as a plan has it, and its one rendering.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Health, Probe, SETTLE};

/// What makes a container, a project or a service healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is asked from outside; nothing where it is `Auto`.
    pub probe: Probe,
    /// Whether a container's own HEALTHCHECK must pass too, where it has one.
    pub healthcheck: bool,
    /// How long it may take to become healthy.
    pub timeout: Duration,
    /// Between two questions.
    pub interval: Duration,
    /// How long it must stay healthy.
    pub stable_for: Duration,
    /// Good answers in a row to each question, at least 1.
    pub successes: u32,
}

impl HealthCheck {
    /// What `health:` says, with the address that a plan has made of its probe.
    pub(crate) fn of(health: &Health, probe: Probe, healthcheck: bool) -> Self {
        Self {
            probe,
            healthcheck,
            timeout: health.timeout,
            interval: health.interval,
            stable_for: health.stable_for,
            successes: health.successes.unwrap_or(1),
        }
    }

    /// How often and how long, and within which time: `3 times in a row, asked every 100ms, within 1m, stable for 2s`.
    pub(crate) fn terms(&self) -> String {
        let row = if self.successes > 1 { format!("{} times in a row, ", self.successes) } else { String::new() };
        let stable = match self.stable_for {
            Duration::ZERO => String::new(),
            stable => format!(", stable for {stable:?}"),
        };
        format!("{row}asked every {:?}, within {:?}{stable}", self.interval, self.timeout)
    }
}

impl fmt::Display for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.probe, self.healthcheck) {
            (Probe::Auto, true) => write!(f, "its HEALTHCHECK passes, or it runs for {SETTLE:?} without a restart")?,
            (Probe::Auto, false) => write!(f, "it runs for {SETTLE:?} without a restart")?,
            (probe, true) => write!(f, "{probe}, its HEALTHCHECK passes where it has one")?,
            (probe, false) => write!(f, "{probe}")?,
        }
        write!(f, ", {}", self.terms())
    }
}
