//! The one place that dials the engine. Each call has a connection of its own: an engine that was restarted is met anew,
//! and a call that is given up takes nothing else along.

use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bollard::BollardRequest;
use bollard::errors::Error;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::engine::absence::{Absence, PAUSE};
use crate::engine::starting::is_starting;
use crate::poll;

/// Schemes of an address, with the port where it names none, as docker has it.
const SCHEMES: [(&str, u16); 2] = [("tcp://", 2375), ("http://", 80)];

#[derive(Debug, Clone)]
pub(super) struct Dial {
    address: Address,
    pub(super) absence: Absence,
    /// `/proc`, or a stand-in.
    pub(super) proc: PathBuf,
}

#[derive(Debug, Clone)]
enum Address {
    Unix(PathBuf),
    Tcp(Authority, u16),
}

impl Dial {
    /// Reads `unix:///path`, `tcp://host:port` or `http://host:port`; `None` for anything else.
    pub(super) fn parse(address: &str) -> Option<Self> {
        let new = |address| Self { address, absence: Absence::default(), proc: PathBuf::from("/proc") };
        if let Some(path) = address.strip_prefix("unix://") {
            return Some(new(Address::Unix(path.into())));
        }
        let known = |(scheme, port)| Some((address.strip_prefix(scheme)?, port));
        let (rest, port) = SCHEMES.into_iter().find_map(known)?;
        let authority: Authority = rest.split('/').next()?.parse().ok()?;
        let port = authority.port_u16().unwrap_or(port);
        Some(new(Address::Tcp(authority, port)))
    }

    /// Whether who accepts our connections is an engine that is still starting. Of another host that cannot be seen.
    pub(super) async fn is_starting(&self) -> bool {
        let Address::Unix(path) = &self.address else { return false };
        let Ok(stream) = UnixStream::connect(path).await else { return false };
        let listener = stream.peer_cred().ok().and_then(|listener| listener.pid());
        listener.is_some_and(|listener| is_starting(&self.proc, listener))
    }

    /// The base of the URIs of its requests. A socket has no host name: docker's own client calls it so.
    pub(super) fn base(&self) -> String {
        match &self.address {
            Address::Unix(_) => "http://docker".to_owned(),
            Address::Tcp(authority, _) => format!("http://{authority}"),
        }
    }

    /// Sends a request, and returns the answer once its head is there. A question that the engine's end cut off is asked
    /// once more: a restart breaks every connection.
    pub(super) async fn send(self, request: BollardRequest) -> Result<Response<Incoming>, Error> {
        let again = repeated(&request);
        let answer = match (self.clone().once(request).await, again) {
            (Err(error), Some(again)) if !is_of_dialling(&error) && self.absence.goes_on() => {
                self.clone().once(again).await
            }
            (answer, _) => answer,
        };
        if answer.is_ok() {
            self.absence.ends();
        }
        answer
    }

    async fn once(self, request: BollardRequest) -> Result<Response<Incoming>, Error> {
        loop {
            let dialled = match &self.address {
                Address::Unix(path) => match UnixStream::connect(path).await {
                    Ok(stream) => return exchange(stream, request).await,
                    Err(error) => error,
                },
                Address::Tcp(authority, port) => {
                    let host = authority.host().trim_matches(['[', ']']).to_owned();
                    match TcpStream::connect((host, *port)).await {
                        Ok(stream) => return exchange(stream, request).await,
                        Err(error) => error,
                    }
                }
            };
            if !(self.may_come(dialled.kind()) && self.absence.goes_on()) {
                return Err(dialled.into());
            }
            poll::pause(PAUSE).await;
        }
    }

    /// Whether what was dialled in vain may be there in a moment.
    fn may_come(&self, error: ErrorKind) -> bool {
        let is_gone = error == ErrorKind::NotFound;
        match &self.address {
            Address::Unix(path) if is_gone => path.parent().is_some_and(Path::is_dir),
            Address::Unix(_) | Address::Tcp(..) => error == ErrorKind::ConnectionRefused,
        }
    }
}

/// Only dialling fails with an error of the operating system itself.
pub(super) fn is_of_dialling(error: &Error) -> bool {
    matches!(error, Error::IOError { err } if err.raw_os_error().is_some())
}

/// The same request, where it is a question.
fn repeated(request: &BollardRequest) -> Option<BollardRequest> {
    let mut again = BollardRequest::new(bollard::body_full(Vec::new().into()));
    again.uri_mut().clone_from(request.uri());
    again.headers_mut().clone_from(request.headers());
    (request.method() == Method::GET).then_some(again)
}

/// The connection lives on beside the answer's body, and ends with it, or when the answer is waited for no more.
async fn exchange<S>(stream: S, request: BollardRequest) -> Result<Response<Incoming>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = Bounded { stream, left: most(request.uri().path()) };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(with_host(request)).await?)
}

/// The most that is read of an answer, in bytes: it is held in memory.
const MOST: u64 = 64 * 1024 * 1024;

/// The output of a container or a command is not held, and read to its end.
fn most(path: &str) -> u64 {
    let is_exec = path.contains("/exec/") && path.ends_with("/start");
    let is_output = is_exec || ["/attach", "/logs"].iter().any(|end| path.ends_with(end));
    if is_output { u64::MAX } else { MOST }
}

/// A connection of which only so much is read.
struct Bounded<S> {
    stream: S,
    left: u64,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let got = (buffer.filled().len() - before) as u64;
        match this.left.checked_sub(got) {
            Some(left) => this.left = left,
            None => return Poll::Ready(Err(io::Error::other("the engine's answer is too long"))),
        }
        Poll::Ready(Ok(()))
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

/// The request as a server gets it: the path alone, and the host in a header.
fn with_host(mut request: BollardRequest) -> BollardRequest {
    let authority = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(host)) = authority {
        request.headers_mut().insert(header::HOST, host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_hosts_are_dialled_and_nothing_else() {
        for address in ["ssh://host", "npipe:////./pipe/docker", "/var/run/docker.sock", "tcp://", "tcp://a b"] {
            assert!(Dial::parse(address).is_none(), "{address}");
        }
        let base = |address: &str| Dial::parse(address).map(|dial| dial.base());
        assert_eq!(base("unix:///run/docker.sock").as_deref(), Some("http://docker"));
        assert_eq!(base("tcp://10.0.0.1:2375/").as_deref(), Some("http://10.0.0.1:2375"));
        assert_eq!(base("http://[::1]:80").as_deref(), Some("http://[::1]:80"));
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_refused_and_an_output_is_read_to_its_end() {
        use tokio::io::AsyncReadExt as _;
        let read = async |path: &str| {
            let stream = tokio::io::repeat(b'x').take(MOST + 1);
            let joined = tokio::io::join(stream, tokio::io::sink());
            let mut bounded = Bounded { stream: joined, left: most(path) };
            tokio::io::copy(&mut bounded, &mut tokio::io::sink()).await.map_err(|error| error.to_string())
        };
        let refused = Err("the engine's answer is too long".to_owned());
        assert_eq!((read("/info").await, read("/images/load").await), (refused.clone(), refused));
        for output in ["/containers/web/logs", "/containers/web/attach", "/exec/0123/start"] {
            assert_eq!(read(output).await, Ok(MOST + 1), "{output}");
        }
    }
}
