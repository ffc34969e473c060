//! Volumes without a name of their own: an image's `VOLUME`, `volumes: ["/data"]`.

use serde::{Deserialize, Serialize};

/// A volume that the engine made and named, and where a container has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct AnonymousVolume {
    /// 64 hexadecimal digits.
    pub name: String,
    pub path: String,
}

impl AnonymousVolume {
    /// None where it was given that name.
    pub(crate) fn new(name: String, path: String) -> Option<Self> {
        let is_given = name.len() != 64 || !name.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        (!is_given).then_some(Self { name, path })
    }

    /// As an engine's bind.
    pub(crate) fn bind(&self) -> String {
        format!("{}:{}", self.name, self.path)
    }
}
