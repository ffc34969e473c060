//! `resume --ports`: what systemd starts when the kernel's rules were changed.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::resume::{Only, resume};
use super::{Context, run, say};
use crate::error::Kind;
use crate::host::nat;

/// So long no change may come before we look: whoever flushes rules writes his own next.
const QUIET: Duration = Duration::from_millis(200);
/// Somebody who never stops writing is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// So long after the last change we are there for the next: the engine writes its rules anew after a firewall's reload,
/// and systemd starts nothing that is asked for too often.
const LINGER: Duration = Duration::from_secs(3);
/// How often the socket is looked at.
const TICK: Duration = Duration::from_millis(50);
/// After this long it ends: systemd starts it again for the next change.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Looks after the rules of handed ports, and after each change that standard input tells, until none comes any more.
pub(crate) async fn ports(context: &Context) -> u8 {
    let Some(mut changes) = Changes::on_stdin() else { return resume(context, Only::Ports).await };
    let stop = match run::stop_signal(context.started + LIMIT, LIMIT) {
        Ok(stop) => stop,
        Err(failure) => return say(&failure),
    };
    tokio::select! {
        // Nothing is half done: rules are written in one transaction.
        _ = stop => 0,
        code = look_after(context, &mut changes) => code,
    }
}

async fn look_after(context: &Context, changes: &mut Changes) -> u8 {
    loop {
        let began = Instant::now();
        while changes.within(QUIET).await && began.elapsed() < PATIENCE {}
        let code = match context.settings.state_dir.join(nat::LOCK).exists() {
            true => resume(context, Only::Ports).await,
            false => 0,
        };
        // Whoever deploys a name writes its rules; what was flushed meanwhile is looked at once he has done.
        let is_changed = changes.within(LINGER).await;
        if !is_changed && code != Kind::Locked.exit_code() {
            return code;
        }
    }
}

/// The kernel's messages on a socket of systemd's. What they say is of no interest.
struct Changes {
    socket: File,
}

impl Changes {
    /// `None` where standard input is no socket: by hand.
    fn on_stdin() -> Option<Self> {
        let socket = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        socket.metadata().ok().filter(|meta| meta.file_type().is_socket())?;
        let flags = OFlag::from_bits_truncate(fcntl(&socket, FcntlArg::F_GETFL).ok()?);
        fcntl(&socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).ok()?;
        Some(Self { socket })
    }

    /// Whether a change came, within this time at the latest.
    async fn within(&mut self, time: Duration) -> bool {
        let began = Instant::now();
        while !self.read() {
            if began.elapsed() >= time {
                return false;
            }
            tokio::time::sleep(TICK).await;
        }
        true
    }

    /// Reads all that came; whether that was anything.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 8192];
        let mut is_any = false;
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return is_any,
                Ok(_) => is_any = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return is_any,
                // More came than there was room for.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => is_any = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return is_any,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn changes() -> (UnixDatagram, Changes) {
        let (kernel, socket) = UnixDatagram::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        (kernel, Changes { socket: File::from(OwnedFd::from(socket)) })
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
}
