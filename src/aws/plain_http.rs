//! One question over plain HTTP: what the instance metadata service and a server's clock are asked.

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Its clock, as `Fri, 27 Nov 2026 20:00:00 GMT`.
    pub(crate) date: Option<String>,
}

/// Asks; the caller bounds it.
/// Errors: Why there is no answer, in one clause.
pub(crate) async fn ask(method: http::Method, url: &str, headers: &[(&str, &str)]) -> Result<Head, String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("{url} is no URL: {error}"))?;
    let authority = uri.authority().ok_or_else(|| format!("{url} names no host"))?.clone();
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await;
    let stream = stream.map_err(|error| format!("cannot connect to {authority}: {error}"))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = http::Request::builder().method(method).uri(path).header(http::header::HOST, authority.as_str());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    driver.abort();
    let answer = answer.map_err(|error| error.to_string())?;
    let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
    Ok(Head { status: answer.status().as_u16(), date })
}
