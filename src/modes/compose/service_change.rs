//! What a plan says of each service of a project.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One service of the project before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct ServiceChange {
    pub service: String,
    pub change: Change,
    /// Its image before, where it was another one.
    pub from: Option<String>,
    pub to: Option<String>,
}

/// What happens to a service's containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Nothing.
    Unchanged,
    /// There are none yet.
    Created,
    /// They are replaced, because these options are others.
    Recreated(Vec<String>),
    /// They are started, or there are too few or too many.
    Started,
    /// They are removed: the files do not name the service.
    Removed,
}

impl Change {
    /// Whether containers that run are taken away.
    pub(crate) const fn interrupts(&self) -> bool {
        match self {
            Self::Recreated(_) | Self::Removed => true,
            Self::Unchanged | Self::Created | Self::Started => false,
        }
    }
}

impl fmt::Display for ServiceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = &self.service;
        match &self.change {
            Change::Unchanged => write!(f, "{service}: unchanged"),
            Change::Created => write!(f, "{service}: created"),
            Change::Started => write!(f, "{service}: started"),
            Change::Removed => write!(f, "{service}: removed"),
            Change::Recreated(options) if options.is_empty() => write!(f, "{service}: recreated"),
            Change::Recreated(options) => write!(f, "{service}: recreated ({})", options.join(", ")),
        }?;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, ", image {from} -> {to}"),
            (None, Some(to)) => write!(f, ", image {to}"),
            (_, None) => Ok(()),
        }
    }
}
