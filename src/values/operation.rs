//! What an operation means to the execution of a plan, and what it did.

use serde::{Deserialize, Serialize};

use crate::error::Kind;

/// What an action means to the execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It changes what the host holds, not what serves.
    Prepares,
    /// It touches what serves: from here on the service may be down.
    Interrupts,
    /// It checks what was started: a good answer ends the time that the service was down.
    ChecksHealth,
    /// It saves the release: from here on nothing is undone, and nothing fails the deployment.
    Saves,
    /// It changes nothing that runs: a tag, a wait, a note.
    Passive,
}

/// What the execution of a plan must know of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// What it means.
    pub role: Role,
    /// It may take long: it is dropped when the plan must stop. A brief one is let end, for its outcome to be known.
    pub is_long: bool,
    /// As an undo step: what served before depends on it to come back.
    pub restores: bool,
    /// As an undo step: it only hastens a later one, whose outcome is what counts.
    pub hastens: bool,
}

impl Traits {
    #[must_use]
    pub(crate) const fn restoring(self) -> Self {
        Self { restores: true, ..self }
    }

    #[must_use]
    pub(crate) const fn hastening(self) -> Self {
        Self { hastens: true, ..self }
    }
}

impl Role {
    pub(crate) const fn brief(self) -> Traits {
        Traits { role: self, is_long: false, restores: false, hastens: false }
    }

    pub(crate) const fn long(self) -> Traits {
        Traits { role: self, is_long: true, restores: false, hastens: false }
    }

    /// Whether anything that runs, or that the engine holds, is another afterwards.
    pub(crate) const fn changes(self) -> bool {
        match self {
            Self::Prepares | Self::Interrupts => true,
            Self::ChecksHealth | Self::Saves | Self::Passive => false,
        }
    }
}

/// What an operation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What a person should know of it.
    pub messages: Vec<String>,
    /// Whether anything is another than before.
    pub changed: bool,
}

/// When evidence is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The operation has failed, or was dropped.
    Failed(Kind),
    /// The operation is about to undo something, and its object may be gone afterwards.
    BeforeUndo,
}

impl Outcome {
    pub(crate) const fn changed() -> Self {
        Self { messages: Vec::new(), changed: true }
    }

    /// It is done, and a person should know this of it.
    pub(crate) const fn with(messages: Vec<String>) -> Self {
        Self { messages, changed: true }
    }

    pub(crate) const fn unchanged() -> Self {
        Self { messages: Vec::new(), changed: false }
    }
}
