//! What ends a command before its work is done: a signal, or its time.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::deploy::outcome::Stop;
use crate::error::{Failure, Kind};
use crate::waits::Waits;

/// SIGTERM and SIGINT, from here to the command's end: none that comes between two events or names is lost.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(Kind::Unexpected, format!("cannot listen for signals: {error}")))
        };
        Ok(Self { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? })
    }

    /// Resolves when the work must stop: a signal came, or the deadline of its `limit`.
    pub(super) async fn or(&mut self, deadline: Instant, limit: Duration) -> Stop {
        tokio::select! {
            _ = self.term.recv() => Stop::Signal("SIGTERM"),
            _ = self.int.recv() => Stop::Signal("SIGINT"),
            () = tokio::time::sleep_until(deadline.into()) => Stop::Deadline(limit),
        }
    }
}

/// Does what only looks, and is stopped without anything to undo.
pub(super) async fn unless_stopped<T>(
    stop: impl Future<Output = Stop>,
    looks: impl Future<Output = Result<T, Failure>>,
    event: &str,
    waits: &Waits,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        why = stop => Err(why.early(event, waits.given_up())),
        ended = looks => ended,
    }
}
