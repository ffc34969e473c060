//! The one way to run another program: in a process group of its own, for a limited time, with bounded output.
//!
//! Nothing that it leaves in its group outlives it, and nothing that keeps its pipes open is waited for. Knows nothing of
//! what the programs are.

mod error;
mod output;
mod running;
mod talk;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

pub(crate) use error::ProcessError;
pub(crate) use output::{Ended, Kept};
pub(crate) use running::{Running, Stream};
pub(crate) use talk::{Complaints, Talk};

use crate::values::types::EnvVar;

/// How much of the end of standard error is kept: a program that fails says why last.
const STDERR: usize = 64 * 1024;

/// A program with its arguments, variables and input. Its environment is empty but for what is given.
pub(crate) struct Program {
    path: PathBuf,
    command: Command,
    folder: PathBuf,
    input: Option<Vec<u8>>,
}

/// The pipes of a program's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pipes {
    /// One for each.
    Two,
    /// One for both, in which they come in their order; read as [`Stream::Stdout`].
    One,
}

/// The file of a program on a PATH.
pub(crate) fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

impl Program {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let mut command = Command::new(&path);
        command.env_clear();
        Self { path, command, folder: PathBuf::new(), input: None }
    }

    pub(crate) fn name(&self) -> String {
        error::name(&self.path)
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn envs(mut self, all: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Self {
        self.command.envs(all);
        self
    }

    /// Sets those that have a value, and takes the others away.
    pub(crate) fn variables(mut self, variables: &[EnvVar]) -> Self {
        for EnvVar { name, value, .. } in variables {
            match value {
                Some(value) => self.command.env(name, value.reveal()),
                None => self.command.env_remove(name),
            };
        }
        self
    }

    /// Where it runs; without this, where we do.
    pub(crate) fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = folder.into();
        self.command.current_dir(&self.folder);
        self
    }

    /// Its standard input; without this, none.
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Runs it to its end and keeps the first `most` bytes of its standard output.
    /// Errors: It cannot be started, or takes longer than `limit`: then it was killed.
    pub(crate) async fn run(self, limit: Duration, most: usize) -> Result<Ended, ProcessError> {
        let mut running = self.start(Pipes::Two)?;
        let program = running.name().to_owned();
        let (mut stdout, mut stderr) = (Kept::first(most), Kept::last(STDERR));
        let mut take = |stream, bytes: &[u8]| match stream {
            Stream::Stdout => stdout.take(bytes),
            Stream::Stderr => stderr.take(bytes),
        };
        let status = running.follow(limit, &mut take).await;
        running.end(&mut take).await;
        Ok(Ended { program, status: status?, stdout, stderr })
    }

    /// Starts it, to be talked with.
    pub(crate) fn talk(mut self) -> Result<(Talk, Complaints), ProcessError> {
        let pipes = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let talk = pipes.process_group(0).kill_on_drop(true).spawn().and_then(Talk::new);
        talk.map_err(|why| ProcessError::not_started(&self.path, &self.folder, why))
    }

    /// Starts it.
    pub(crate) fn start(mut self, pipes: Pipes) -> Result<Running, ProcessError> {
        let started = self.spawn(pipes);
        started.map_err(|why| ProcessError::not_started(&self.path, &self.folder, why))
    }

    fn spawn(&mut self, pipes: Pipes) -> io::Result<Running> {
        let (stdout, writer) = io::pipe()?;
        let stderr = match pipes {
            Pipes::One => {
                self.command.stderr(writer.try_clone()?);
                None
            }
            Pipes::Two => {
                let (stderr, writer) = io::pipe()?;
                self.command.stderr(writer);
                Some(stderr)
            }
        };
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        let child = self.command.stdin(stdin).stdout(writer).process_group(0).kill_on_drop(true).spawn()?;
        Running::new(error::name(&self.path), child, self.input.take(), stdout, stderr)
    }
}
