//! Something that was looked up, or why it could not be.

use serde::{Deserialize, Serialize};

/// Something that was looked up, or why it could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Known<T> {
    /// It was seen.
    Yes(T),
    /// It could not be seen: why, in one clause.
    No(String),
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self::No("it was not needed".into())
    }
}

impl<T> Known<T> {
    pub(crate) const fn yes(&self) -> Option<&T> {
        match self {
            Self::Yes(value) => Some(value),
            Self::No(_) => None,
        }
    }
}
