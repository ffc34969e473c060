//! A program that is talked with: what is written is its input, and its output is read, for as long as the talk lasts.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;

use crate::process::{Kept, STDERR};
use crate::values::text::{printable, shorten};

/// A program under way, with everything that it started in its process group. Dropped, all of that is killed.
pub(crate) struct Talk {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

/// What it prints on its standard error.
pub(crate) struct Complaints(JoinHandle<Kept>);

impl Talk {
    /// `child` is the first of its process group, and has three pipes.
    pub(super) fn new(mut child: Child) -> io::Result<(Self, Complaints)> {
        let missing = || io::Error::other("it has no pipe");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let complaints = tokio::spawn(read(child.stderr.take().ok_or_else(missing)?));
        Ok((Self { child, input, output }, Complaints(complaints)))
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // Nobody has waited for it: its number is still its own.
        let group = self.child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let _ = group.map(|group| killpg(group, Signal::SIGKILL));
    }
}

impl Complaints {
    /// All of it in one line of at most `letters`, once it has ended; nothing where it does not within `limit`.
    pub(crate) async fn all(self, limit: Duration, letters: usize) -> String {
        let Ok(Ok(kept)) = tokio::time::timeout(limit, self.0).await else { return String::new() };
        let words = printable(&String::from_utf8_lossy(&kept.bytes));
        shorten(&words.split_whitespace().collect::<Vec<_>>().join(" "), letters)
    }
}

async fn read(mut stderr: ChildStderr) -> Kept {
    let (mut kept, mut portion) = (Kept::last(STDERR), vec![0; 4096]);
    while let Ok(count @ 1..) = stderr.read(&mut portion).await {
        kept.take(&portion[..count]);
    }
    kept
}

impl AsyncRead for Talk {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().output).poll_read(context, buffer)
    }
}

impl AsyncWrite for Talk {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().input).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().input).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().input).poll_shutdown(context)
    }
}
