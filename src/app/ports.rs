//! `resume --ports`: what systemd starts when the kernel's rules were changed.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::time::{Duration, Instant};

use tokio::net::UnixDatagram;

use crate::app::resume::resume;
use crate::app::stop::Signals;
use crate::app::{Context, say};
use crate::error::Kind;
use crate::modes::resume::Only;
use crate::ports;

/// So long no change may come before the rules are read: who flushes rules writes new ones next.
const QUIET: Duration = Duration::from_millis(200);

/// Changes without an end are not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// So long after the last change we are there for the next: the engine writes its rules anew after a firewall's reload,
/// and systemd starts nothing that is asked for too often.
const LINGER: Duration = Duration::from_secs(3);

/// After this long it ends: systemd starts it again for the next change.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps the rules of switched ports right after each change that standard input reports, until none comes any more.
pub(crate) async fn ports(context: &Context) -> u8 {
    let Some(mut changes) = Changes::on_stdin() else { return resume(context, Only::Ports, None).await };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(failure) => return say(&failure),
    };
    tokio::select! {
        biased;
        // Nothing is half done: rules are written in one transaction.
        _ = signals.or(context.started + LIMIT, LIMIT) => 0,
        code = keep_right(context, &mut changes) => code,
    }
}

async fn keep_right(context: &Context, changes: &mut Changes) -> u8 {
    loop {
        let began = Instant::now();
        while changes.within(QUIET).await && began.elapsed() < PATIENCE {}
        let code = match ports::were_switched(&context.settings.state_dir) {
            true => resume(context, Only::Ports, None).await,
            false => 0,
        };
        // A deployment writes the rules of its own name; what was flushed meanwhile is written after it.
        let is_changed = changes.within(LINGER).await;
        if !is_changed && code != Kind::Locked.exit_code() {
            return code;
        }
    }
}

/// The kernel's messages on a socket of systemd's. What they say is of no interest.
struct Changes {
    /// Of another family in truth: `recv(2)` is the same for all of them.
    socket: UnixDatagram,
}

impl Changes {
    /// `None` where standard input is no socket: by hand.
    fn on_stdin() -> Option<Self> {
        let socket = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        socket.metadata().ok().filter(|meta| meta.file_type().is_socket())?;
        Self::on(OwnedFd::from(socket)).ok()
    }

    fn on(socket: OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixDatagram::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UnixDatagram::from_std(socket)? })
    }

    /// Whether a change came, within this time at the latest. None comes on a socket that is closed.
    async fn within(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.next()).await.is_ok_and(|next| next.is_ok())
    }

    async fn next(&mut self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        is_change(self.socket.recv(&mut buffer).await)?;
        while is_change(self.socket.try_recv(&mut buffer)).is_ok() {}
        Ok(())
    }
}

fn is_change(received: io::Result<usize>) -> io::Result<()> {
    match received {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        // More came than there was room for.
        Err(error) if error.raw_os_error() != Some(nix::libc::ENOBUFS) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    fn changes() -> (UnixDatagram, Changes) {
        let (kernel, socket) = UnixDatagram::pair().unwrap();
        (kernel, Changes::on(socket.into()).unwrap())
    }

    #[tokio::test]
    async fn without_a_change_the_time_is_waited_out() {
        let (_kernel, mut changes) = changes();
        let began = Instant::now();
        assert!(!changes.within(Duration::from_millis(60)).await);
        assert!(began.elapsed() >= Duration::from_millis(60));
    }

    #[tokio::test]
    async fn all_that_came_is_one_change_also_what_is_longer_than_the_buffer() {
        let (kernel, mut changes) = changes();
        for message in [&[0; 20_000][..], b"rule", b"chain"] {
            kernel.send(message).unwrap();
        }
        assert!(changes.within(Duration::from_secs(5)).await);
        assert!(!changes.within(Duration::ZERO).await);
    }

    #[tokio::test]
    async fn on_a_closed_socket_no_change_comes_and_it_is_not_waited_for() {
        let (peer, socket) = UnixStream::pair().unwrap();
        let mut changes = Changes::on(socket.into()).unwrap();
        drop(peer);
        assert!(!changes.within(Duration::MAX).await);
    }
}
