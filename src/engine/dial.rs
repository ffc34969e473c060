//! The one place that dials the engine. Each call has a connection of its own: an engine that was restarted is met anew,
//! and a call that is given up takes nothing else along.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bollard::BollardRequest;
use bollard::errors::Error;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::engine::absence::{Absence, PAUSE};
use crate::poll;

/// Schemes of an address, with the port where it names none, as docker has it.
const SCHEMES: [(&str, u16); 2] = [("tcp://", 2375), ("http://", 80)];

#[derive(Debug, Clone)]
pub(super) struct Dial {
    address: Address,
    pub(super) absence: Absence,
}

#[derive(Debug, Clone)]
enum Address {
    Unix(PathBuf),
    Tcp(Authority, u16),
}

impl Dial {
    /// Reads `unix:///path`, `tcp://host:port` or `http://host:port`; `None` for anything else.
    pub(super) fn parse(address: &str) -> Option<Self> {
        let new = |address| Self { address, absence: Absence::default() };
        if let Some(path) = address.strip_prefix("unix://") {
            return Some(new(Address::Unix(path.into())));
        }
        let known = |(scheme, port)| Some((address.strip_prefix(scheme)?, port));
        let (rest, port) = SCHEMES.into_iter().find_map(known)?;
        let authority: Authority = rest.split('/').next()?.parse().ok()?;
        let port = authority.port_u16().unwrap_or(port);
        Some(new(Address::Tcp(authority, port)))
    }

    /// The base of the URIs of its requests. A socket has no host name: docker's own client calls it so.
    pub(super) fn base(&self) -> String {
        match &self.address {
            Address::Unix(_) => "http://docker".to_owned(),
            Address::Tcp(authority, _) => format!("http://{authority}"),
        }
    }

    /// Sends a request, and returns the answer once its head is there. A question that the engine's end cut off is asked
    /// once more: whoever restarts it breaks every connection.
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

/// The connection lives on beside the answer's body, and ends with it, or when nobody waits for the answer any more.
async fn exchange<S>(stream: S, request: BollardRequest) -> Result<Response<Incoming>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(with_host(request)).await?)
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
}
