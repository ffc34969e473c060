//! What a record of the history is of: an event of a deployment, or a command that was run on this host.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::deploy::outcome::RESUME;
use crate::values::types::LifecycleEvent;

/// Commands that change what runs, or what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Command {
    Rollback,
    Stop,
    Start,
    Restart,
    Resume,
    Prune,
    Pin,
    Unpin,
}

/// In a file it is the word alone, as a person gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum EventOrCommand {
    Event(LifecycleEvent),
    Command(Command),
}

impl Command {
    /// As it is called.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Resume => RESUME,
            Self::Prune => "prune",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
        }
    }
}

impl From<LifecycleEvent> for EventOrCommand {
    fn from(event: LifecycleEvent) -> Self {
        Self::Event(event)
    }
}

impl From<Command> for EventOrCommand {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}

impl fmt::Display for EventOrCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => event.fmt(f),
            Self::Command(command) => f.write_str(command.as_str()),
        }
    }
}
