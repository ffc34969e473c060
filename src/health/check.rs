//! A health check as a plan has it, and its one rendering.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Health, Probe, SETTLE};

/// The longest that a release which comes back is waited for.
const BACK: Duration = Duration::from_secs(30);

/// How long a container without any check must run again, when its release comes back.
const BACK_SETTLE: Duration = Duration::from_secs(1);

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
    /// How long a container without any check must run without a restart.
    #[serde(default = "settle")]
    pub settle: Duration,
}

const fn settle() -> Duration {
    SETTLE
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
            settle: SETTLE,
        }
    }

    /// That of a release which comes back: it has passed these questions before, and there is little time. `None`: its own
    /// questions are not known.
    pub(crate) fn back(saved: Option<&Self>) -> Self {
        Self {
            probe: saved.map_or(Probe::Auto, |saved| saved.probe.clone()),
            healthcheck: saved.is_none_or(|saved| saved.healthcheck),
            timeout: saved.map_or(BACK, |saved| saved.timeout.min(BACK)),
            interval: Duration::from_millis(100),
            stable_for: Duration::ZERO,
            successes: 1,
            settle: BACK_SETTLE,
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
        let settle = self.settle;
        match (&self.probe, self.healthcheck) {
            (Probe::Auto, true) => write!(f, "its HEALTHCHECK passes, or it runs for {settle:?} without a restart")?,
            (Probe::Auto, false) => write!(f, "it runs for {settle:?} without a restart")?,
            (probe, true) => write!(f, "{probe}, its HEALTHCHECK passes where it has one")?,
            (probe, false) => write!(f, "{probe}")?,
        }
        write!(f, ", {}", self.terms())
    }
}
