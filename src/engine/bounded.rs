//! A connection to an engine of which only so much is read: most answers are held in memory.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that is read of an answer, in bytes.
const MOST: u64 = 64 * 1024 * 1024;

/// How many bytes may be read still.
#[derive(Debug, Clone)]
pub(super) struct Left(Arc<AtomicU64>);

impl Left {
    /// For the answer to a request of `path`. The output of a container or a command is not held, and read to its end.
    pub(super) fn of(path: &str) -> Self {
        let left = Self(Arc::default());
        left.again(path);
        left
    }

    /// The same for the next answer on that connection.
    pub(super) fn again(&self, path: &str) {
        let is_exec = path.contains("/exec/") && path.ends_with("/start");
        let is_output = is_exec || ["/attach", "/logs"].iter().any(|end| path.ends_with(end));
        self.0.store(if is_output { u64::MAX } else { MOST }, Ordering::Relaxed);
    }

    fn take(&self, got: u64) -> io::Result<()> {
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(got));
        taken.map(|_| ()).map_err(|_| io::Error::other("the engine's answer is too long"))
    }
}

pub(super) struct Bounded<S> {
    pub(super) stream: S,
    pub(super) left: Left,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let got = (buffer.filled().len() - before) as u64;
        Poll::Ready(this.left.take(got))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_without_an_end_is_refused_and_an_output_is_read_to_its_end() {
        use tokio::io::AsyncReadExt as _;
        let read = async |path: &str| {
            let stream = tokio::io::repeat(b'x').take(MOST + 1);
            let joined = tokio::io::join(stream, tokio::io::sink());
            let mut bounded = Bounded { stream: joined, left: Left::of(path) };
            tokio::io::copy(&mut bounded, &mut tokio::io::sink()).await.map_err(|error| error.to_string())
        };
        let refused = Err("the engine's answer is too long".to_owned());
        assert_eq!((read("/info").await, read("/images/load").await), (refused.clone(), refused));
        for output in ["/containers/web/logs", "/containers/web/attach", "/exec/0123/start"] {
            assert_eq!(read(output).await, Ok(MOST + 1), "{output}");
        }
    }
}
