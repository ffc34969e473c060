//! How a plan ends: well, or with what failed and what became of that which served before.

use std::time::Duration;

use crate::error::{Failure, Kind};
use crate::values::target::Target;

/// Why a plan must end before its last action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The hook's time, less the reserve for undoing, is up.
    Deadline(Duration),
    /// A signal, by its name.
    Signal(&'static str),
}

impl Stop {
    /// `waited`: who or what had not ended, where that is the reason.
    pub(super) fn failure(&self, event: &str, waited: Option<String>) -> Failure {
        self.said(event, "", waited)
    }

    /// Where all that was done so far was to look.
    pub(crate) fn early(&self, event: &str, waited: Option<String>) -> Failure {
        self.said(event, " before anything was changed", waited)
    }

    fn said(&self, event: &str, when: &str, waited: Option<String>) -> Failure {
        let waited = waited.map(|waited| format!(": {waited}")).unwrap_or_default();
        match self {
            Self::Deadline(limit) => {
                Failure::new(Kind::Deadline, format!("the time for {event} was up after {limit:?}{when}{waited}"))
                    .next(format!("raise the `timeout:` of the {event} hook, or find out what took so long"))
            }
            Self::Signal(name) => Failure::new(Kind::Interrupted, format!("{name} was received{when}{waited}"))
                .next("deploy again when the host is ready"),
        }
    }
}

/// How a plan ended well.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// From the first interruption until the new release was healthy.
    pub(crate) down: Option<Duration>,
    pub(crate) messages: Vec<String>,
    /// What went wrong where it could not fail the event.
    pub warnings: Vec<String>,
}

/// How a plan failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed {
    /// The action that failed, as printed.
    pub step: String,
    /// Its number, from 1.
    pub number: usize,
    pub(crate) of: usize,
    /// Why.
    pub failure: Failure,
    pub(crate) subject: String,
    /// What became of it.
    pub old: OldRelease,
    /// Undo steps that failed, each with its reason: the journal keeps them.
    pub(crate) not_undone: Vec<String>,
}

/// What became of that which served before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldRelease {
    /// It was not observed.
    NotObserved,
    /// There was none.
    None,
    /// Nobody touched it.
    Untouched(Target),
    /// It was stopped, and is back after so long.
    Back(Target, Duration),
    /// It was stopped, and runs again since so long; there was no time to see it healthy.
    Unchecked(Target, Duration),
    /// It could not be put back: why.
    Lost(Target, String),
}
