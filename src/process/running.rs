//! A program under way.

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, PipeReader};
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStdin};

use crate::poll;
use crate::process::ProcessError;

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_millis(500);

/// What is read at once. It is what a pipe holds: all that is left in one is read at once too.
const PORTION: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// A program under way, with everything that it started in its process group. Dropped, all of that is killed.
pub(crate) struct Running {
    name: String,
    child: Child,
    /// `None` once nobody is in it: its number may be another's by then.
    group: Option<Pid>,
    input: Vec<u8>,
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
}

impl Running {
    pub(super) fn new(
        name: String,
        child: Child,
        input: Option<Vec<u8>>,
        stdout: PipeReader,
        stderr: Option<PipeReader>,
    ) -> io::Result<Self> {
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let input = input.unwrap_or_default();
        let mut running = Self { name, child, group, input, stdout: None, stderr: None };
        running.stdout = Some(Receiver::from_owned_fd(stdout.into())?);
        running.stderr = stderr.map(|pipe| Receiver::from_owned_fd(pipe.into())).transpose()?;
        Ok(running)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Gives it its input and hands on what it prints, until it ends. It goes on when `limit` is up.
    pub(crate) async fn follow(
        &mut self,
        limit: Duration,
        take: &mut impl FnMut(Stream, &[u8]),
    ) -> Result<ExitStatus, ProcessError> {
        match tokio::time::timeout(limit, self.wait(take)).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(why)) => Err(ProcessError::Lost { program: self.name.clone(), why }),
            Err(_) => Err(ProcessError::TimeUp { program: self.name.clone(), limit }),
        }
    }

    async fn wait(&mut self, take: &mut impl FnMut(Stream, &[u8])) -> io::Result<ExitStatus> {
        let mut feed = pin!(feed(self.child.stdin.take(), std::mem::take(&mut self.input)));
        let mut is_fed = false;
        let (mut stdout, mut stderr) = (vec![0; PORTION], vec![0; PORTION]);
        let status = loop {
            tokio::select! {
                count = read(&mut self.stdout, &mut stdout) => take(Stream::Stdout, &stdout[..count?]),
                count = read(&mut self.stderr, &mut stderr) => take(Stream::Stderr, &stderr[..count?]),
                () = &mut feed, if !is_fed => is_fed = true,
                status = self.child.wait() => break status?,
            }
        };
        // A process that it left behind may hold a pipe open. Only what is in the pipe by now is read.
        for (stream, pipe) in [(Stream::Stdout, &self.stdout), (Stream::Stderr, &self.stderr)] {
            if let Some(pipe) = pipe {
                take(stream, left_in(pipe, &mut stdout));
            }
        }
        Ok(status)
    }

    /// SIGTERM to it and its group, and SIGKILL half a second later to what is left. Its last words are heard: a write
    /// to a closed pipe would kill it.
    pub(crate) async fn end(mut self, take: &mut impl FnMut(Stream, &[u8])) {
        if !self.signal(Some(Signal::SIGTERM)) {
            return;
        }
        let ending = async {
            let _ = self.wait(take).await;
            let is_over = async || Ok::<_, Infallible>((!self.signal(None)).then_some(()));
            poll::without_limit(GRACE / 50, is_over).await
        };
        let _ = tokio::time::timeout(GRACE, ending).await;
    }

    /// Whether anybody was there to get it; without a signal, whether anybody is.
    fn signal(&mut self, signal: Option<Signal>) -> bool {
        self.group = self.group.filter(|group| killpg(*group, signal).is_ok());
        self.group.is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Some(Signal::SIGKILL));
    }
}

/// A program that ends without reading its input is judged by its answer.
async fn feed(stdin: Option<ChildStdin>, input: Vec<u8>) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(&input).await;
    }
}

/// What comes next; never returns once the pipe is closed.
async fn read(pipe: &mut Option<Receiver>, buffer: &mut [u8]) -> io::Result<usize> {
    let Some(open) = pipe else { return pending().await };
    let count = open.read(buffer).await?;
    if count == 0 {
        *pipe = None;
    }
    Ok(count)
}

/// The pipe is asked, not the runtime: that may not know of the last bytes yet when it knows of the end.
fn left_in<'a>(pipe: &Receiver, buffer: &'a mut [u8]) -> &'a [u8] {
    let count = nix::unistd::read(pipe, buffer).unwrap_or(0);
    &buffer[..count]
}
