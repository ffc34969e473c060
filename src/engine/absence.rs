//! An engine that is starting or is restarted: waited for once, by every call together.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

/// How long an event waits for an engine that is away.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// Whether the engine is away at this moment; all clones know the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Absence {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// How long it may be away.
    patience: Duration,
    /// Since when it is away.
    since: Option<Instant>,
    /// How often it was.
    times: u32,
}

impl Absence {
    pub(super) fn may_last(&self, patience: Duration) {
        if let Ok(mut seen) = self.seen.lock() {
            seen.patience = patience;
        }
    }

    pub(super) fn patience(&self) -> Duration {
        self.seen.lock().map_or(Duration::ZERO, |seen| seen.patience)
    }

    /// Notes that it is away; whether it is waited for any longer.
    pub(super) fn goes_on(&self) -> bool {
        let Ok(mut seen) = self.seen.lock() else { return false };
        if seen.since.is_none() && !seen.patience.is_zero() {
            (seen.since, seen.times) = (Some(Instant::now()), seen.times + 1);
            tracing::warn!(patience = ?seen.patience, "the engine is away: it is waited for");
        }
        seen.is_on()
    }

    /// It answers.
    pub(super) fn ends(&self) {
        if let Ok(mut seen) = self.seen.lock() {
            seen.since = None;
        }
    }

    /// Whether it is away and waited for.
    pub(super) fn is_on(&self) -> bool {
        self.seen.lock().is_ok_and(|seen| seen.is_on())
    }

    pub(super) fn times(&self) -> u32 {
        self.seen.lock().map_or(0, |seen| seen.times)
    }
}

impl Seen {
    fn is_on(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() < self.patience)
    }
}
