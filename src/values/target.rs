//! How a plan names a container.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A container, by the name it bears at that point of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The name.
    pub name: String,
    /// The ID, where the container exists already; the one that this plan creates otherwise.
    pub id: Option<String>,
}

impl Target {
    /// The container that this plan creates, by the name that it has by then.
    pub(crate) fn created(name: &str) -> Self {
        Self { name: name.to_owned(), id: None }
    }

    /// What the engine knows it by: its ID, or its name.
    pub(crate) fn address(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
