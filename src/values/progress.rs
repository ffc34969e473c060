//! What a transfer reports on its way. `app` hands down who listens.

/// Follows one transfer.
pub(crate) trait TransferProgress: Send {
    /// So many bytes altogether.
    fn at(&mut self, bytes: u64);

    /// So many more bytes.
    fn more(&mut self, bytes: usize);

    /// The end of it.
    fn finish(&self);
}

/// Begins to follow a transfer: its label, and its bytes where they are known.
pub(crate) type FollowTransfer = fn(String, Option<u64>) -> Box<dyn TransferProgress>;
