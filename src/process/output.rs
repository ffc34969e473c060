//! What a program printed, as far as it is kept.

use std::process::ExitStatus;

use crate::process::ProcessError;
use crate::values::text::{printable, shorten};

/// A program that has ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(super) program: String,
    pub(crate) status: ExitStatus,
    pub(super) stdout: Kept,
    pub(super) stderr: Kept,
}

impl Ended {
    /// All of its standard output.
    pub(crate) fn stdout(&self) -> Result<&[u8], ProcessError> {
        let Kept { bytes, total, .. } = &self.stdout;
        match usize::try_from(*total) == Ok(bytes.len()) {
            true => Ok(bytes),
            false => {
                Err(ProcessError::TooMuch { program: self.program.clone(), total: *total, limit: bytes.len() as u64 })
            }
        }
    }

    pub(crate) fn stderr(&self) -> &[u8] {
        &self.stderr.bytes
    }

    /// The beginning of its standard output and the end of its standard error, in one line of at most `letters`.
    pub(crate) fn words(&self, letters: usize) -> String {
        let all = [&self.stdout.bytes[..], b" ", &self.stderr.bytes[..]].concat();
        let words = printable(&String::from_utf8_lossy(&all));
        shorten(&words.split_whitespace().collect::<Vec<_>>().join(" "), letters)
    }
}

/// Which part of an output is kept, in bytes.
#[derive(Debug, Clone, Copy)]
enum Keep {
    First(usize),
    Last(usize),
}

/// The part of an output that was kept: the rest is read and dropped. It may hold a secret, so its `Debug` shows its size
/// alone.
pub(crate) struct Kept {
    keep: Keep,
    pub(super) bytes: Vec<u8>,
    total: u64,
}

impl Kept {
    pub(crate) const fn first(bytes: usize) -> Self {
        Self { keep: Keep::First(bytes), bytes: Vec::new(), total: 0 }
    }

    pub(crate) const fn last(bytes: usize) -> Self {
        Self { keep: Keep::Last(bytes), bytes: Vec::new(), total: 0 }
    }

    /// Takes what was read, in any portions.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        match self.keep {
            Keep::First(most) => {
                let room = most - self.bytes.len();
                self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Keep::Last(most) => {
                let bytes = &bytes[bytes.len().saturating_sub(most)..];
                let over = (self.bytes.len() + bytes.len()).saturating_sub(most);
                self.bytes.drain(..over);
                self.bytes.extend_from_slice(bytes);
            }
        }
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} bytes", self.bytes.len(), self.total)
    }
}
