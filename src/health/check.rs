//! How a container is checked, as a plan has it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Probe;

/// How a container is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is asked of it.
    pub probe: Probe,
    /// How long it may take.
    pub timeout: Duration,
    /// Between two probes.
    pub interval: Duration,
    /// How long it must stay proven.
    pub stable_for: Duration,
    /// Good answers in a row that prove it, at least 1.
    pub successes: u32,
}

impl fmt::Display for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.probe)?;
        if self.successes > 1 {
            write!(f, " {} times in a row", self.successes)?;
        }
        write!(f, ", within {:?}", self.timeout)?;
        match self.stable_for {
            Duration::ZERO => Ok(()),
            stable => write!(f, ", stable for {stable:?}"),
        }
    }
}
