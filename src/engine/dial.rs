//! The one place that dials the engine. Each call has a connection of its own: an engine that was restarted is met anew,
//! and a call that is given up takes nothing else along.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use bollard::BollardRequest;
use bollard::errors::Error;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::engine::absence::{Absence, PAUSE};
use crate::engine::bounded::{Bounded, Left};
use crate::engine::endpoint::{Way, host};
use crate::engine::starting::is_starting;
use crate::poll;
use crate::tls;

/// What helps against an engine whose authority is another one.
const AUTHORITY: &str = "no authority in ca.pem has signed it";

/// What to do where TLS comes to nothing.
pub(super) const SAME_FILES: &str =
    "are ca.pem, cert.pem and key.pem those of this engine? `docker version` with the same variables says the same";

#[derive(Debug, Clone)]
pub(super) struct Dial {
    way: Way,
    pub(super) absence: Absence,
    /// `/proc`, or a stand-in.
    pub(super) proc: PathBuf,
}

/// Why nothing can be asked over a connection that is there, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct Unusable {
    why: String,
    pub(super) next: &'static str,
}

impl Dial {
    pub(super) fn new(way: &Way) -> Self {
        Self { way: way.clone(), absence: Absence::default(), proc: PathBuf::from("/proc") }
    }

    /// Whether who accepts our connections is an engine that is still starting. Of another host that cannot be seen.
    pub(super) async fn is_starting(&self) -> bool {
        let Way::Unix(path) = &self.way else { return false };
        let Ok(stream) = UnixStream::connect(path).await else { return false };
        let listener = stream.peer_cred().ok().and_then(|listener| listener.pid());
        listener.is_some_and(|listener| is_starting(&self.proc, listener))
    }

    /// The base of the URIs of its requests. A socket has no host name: docker's own client calls it so.
    pub(super) fn base(&self) -> String {
        match &self.way {
            Way::Unix(_) | Way::Ssh(_) => "http://docker".to_owned(),
            Way::Tcp(authority, _) | Way::Tls(authority, ..) => format!("http://{authority}"),
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
            let dialled = match &self.way {
                Way::Unix(path) => match UnixStream::connect(path).await {
                    Ok(stream) => return exchange(stream, request).await,
                    Err(error) => error,
                },
                Way::Tcp(authority, port) => match TcpStream::connect((host(authority), *port)).await {
                    Ok(stream) => return exchange(stream, request).await,
                    Err(error) => error,
                },
                Way::Tls(authority, port, config) => match TcpStream::connect((host(authority), *port)).await {
                    Ok(stream) => {
                        let stream = tls::connect(stream, host(authority), config.clone(), AUTHORITY).await;
                        return exchange(stream.map_err(|why| unusable(why, SAME_FILES))?, request).await;
                    }
                    Err(error) => error,
                },
                Way::Ssh(ssh) => return ssh.exchange(request).await,
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
        match &self.way {
            Way::Unix(path) if is_gone => path.parent().is_some_and(Path::is_dir),
            Way::Unix(_) | Way::Tcp(..) | Way::Tls(..) | Way::Ssh(_) => error == ErrorKind::ConnectionRefused,
        }
    }
}

pub(super) fn unusable(why: String, next: &'static str) -> Error {
    Error::IOError { err: io::Error::other(Unusable { why, next }) }
}

/// Only dialling fails with an error of the operating system itself, or with one of ours.
pub(super) fn is_of_dialling(error: &Error) -> bool {
    matches!(error, Error::IOError { err } if err.raw_os_error().is_some()) || why_unusable(error).is_some()
}

pub(super) fn why_unusable(error: &Error) -> Option<&Unusable> {
    match error {
        Error::IOError { err } => err.get_ref()?.downcast_ref(),
        _ => None,
    }
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
    let stream = Bounded { stream, left: Left::of(request.uri().path()) };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(with_host(request)).await?)
}

/// The request as a server gets it: the path alone, and the host in a header.
pub(super) fn with_host(mut request: BollardRequest) -> BollardRequest {
    let authority = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(host)) = authority {
        request.headers_mut().insert(header::HOST, host);
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
    request
}
