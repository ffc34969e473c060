//! Observing the bundle alone: for a plan on a machine that has nothing to do with the host, as in CI.

use crate::config::ArchiveLocation;
use crate::error::{Failure, Kind};
use crate::modes::observe::Observer;

/// Why something was not looked at.
pub(crate) const OFFLINE: &str = "--offline";

impl Observer<'_> {
    /// The same; only the bundle is looked at.
    pub(crate) fn offline(self) -> Self {
        Self { engine: Err(Failure::new(Kind::Engine, OFFLINE)), offline: true, ..self }
    }

    /// Whether a file is not in the bundle, and is not looked at.
    pub(super) fn is_elsewhere(&self, location: &ArchiveLocation) -> bool {
        self.offline
            && match location {
                ArchiveLocation::File(path) => !path.starts_with(&self.deployment.bundle_root),
                ArchiveLocation::S3(_) => true,
            }
    }
}
