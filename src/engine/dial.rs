//! The one place that dials the engine. Each call has a connection of its own: an engine that was restarted is met anew,
//! and a call that is given up takes nothing else along.

use std::path::PathBuf;

use bollard::BollardRequest;
use bollard::errors::Error;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Schemes of an address, with the port where it names none, as docker has it.
const SCHEMES: [(&str, u16); 2] = [("tcp://", 2375), ("http://", 80)];

#[derive(Debug, Clone)]
pub(super) enum Dial {
    Unix(PathBuf),
    Tcp(Authority, u16),
}

impl Dial {
    /// Reads `unix:///path`, `tcp://host:port` or `http://host:port`; `None` for anything else.
    pub(super) fn parse(address: &str) -> Option<Self> {
        if let Some(path) = address.strip_prefix("unix://") {
            return Some(Self::Unix(path.into()));
        }
        let known = |(scheme, port)| Some((address.strip_prefix(scheme)?, port));
        let (rest, port) = SCHEMES.into_iter().find_map(known)?;
        let authority: Authority = rest.split('/').next()?.parse().ok()?;
        let port = authority.port_u16().unwrap_or(port);
        Some(Self::Tcp(authority, port))
    }

    /// The base of the URIs of its requests. A socket has no host name: docker's own client calls it so.
    pub(super) fn base(&self) -> String {
        match self {
            Self::Unix(_) => "http://docker".to_owned(),
            Self::Tcp(authority, _) => format!("http://{authority}"),
        }
    }

    /// Sends a request, and returns the answer once its head is there.
    pub(super) async fn send(self, request: BollardRequest) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Unix(path) => exchange(UnixStream::connect(path).await?, request).await,
            Self::Tcp(authority, port) => {
                let host = authority.host().trim_matches(['[', ']']);
                exchange(TcpStream::connect((host, port)).await?, request).await
            }
        }
    }
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
