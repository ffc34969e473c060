//! What a transfer reports on its way. `app` hands down who listens.

pub(crate) trait TransferProgress: Send {
    fn at(&mut self, bytes: u64);

    fn more(&mut self, bytes: usize);

    fn finish(&self);
}

/// Begins to follow a transfer: its label, and its bytes where they are known.
pub(crate) type FollowTransfer = fn(String, Option<u64>) -> Box<dyn TransferProgress>;
