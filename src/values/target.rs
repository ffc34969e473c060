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
