//! Why a program did not end by itself, or why its output cannot be used.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::error::{Failure, Kind};
use crate::values::text::{megabytes, seconds};

/// Programs are named by their file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    #[error("{program} cannot be started: {why}")]
    NotStarted { program: String, why: io::Error, next: &'static str },
    /// It was killed, unless it is followed further.
    #[error("{program} has not answered for {}", seconds(*limit))]
    TimeUp { program: String, limit: Duration },
    #[error("{program} is lost: {why}")]
    Lost { program: String, why: io::Error },
    /// Sizes in bytes.
    #[error("{program} printed {}, more than the {} that are read", megabytes(*total), megabytes(*limit))]
    TooMuch { program: String, total: u64, limit: u64 },
}

impl ProcessError {
    pub(super) fn not_started(path: &Path, folder: &Path, why: io::Error) -> Self {
        let next = next(path, folder, &why);
        Self::NotStarted { program: name(path), why, next }
    }

    pub(crate) fn failure(&self, kind: Kind) -> Failure {
        let failure = Failure::new(kind, self.to_string());
        match self {
            Self::NotStarted { next, .. } => failure.next(*next),
            Self::TimeUp { .. } | Self::Lost { .. } | Self::TooMuch { .. } => failure,
        }
    }
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The kernel says ENOENT of a program, of the interpreter of its first line and of the folder alike.
fn next(path: &Path, folder: &Path, why: &io::Error) -> &'static str {
    let is_there = path.components().nth(1).is_some() && folder.join(path).exists();
    match why.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOEXEC) => {
            "its first line must name its interpreter: #!/bin/sh; or it is built for another processor"
        }
        Some(Errno::ENOENT) if !folder.as_os_str().is_empty() && !folder.exists() => {
            "the folder that it is to run in is not there"
        }
        Some(Errno::ENOENT) if is_there => "the interpreter that its first line names is not on this host",
        Some(Errno::ENOENT) => "is it installed, and on the hook's PATH?",
        Some(Errno::E2BIG) => "its arguments and variables are longer than the kernel takes",
        _ => "may the hook's user run it, and is its file system mounted noexec?",
    }
}
