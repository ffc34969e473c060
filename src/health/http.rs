//! One request of HTTP or HTTPS. Redirects are not followed.

use std::time::Duration;

use bytes::Bytes;
use http::header;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::config::HttpProbe;
use crate::config::probe::HttpOptions;
use crate::health::probe::{LIMIT, MOST, connect, with_line};
use crate::tls;
use crate::values::text::printable;

/// How long the begin of a good answer's body is waited for, where it decides nothing.
const BODY: Duration = Duration::from_millis(50);

/// So much of a body is searched for the text that it must have, in bytes.
const SEARCHED: usize = 64 * 1024;

/// What helps against a certificate whose authority this host does not know.
pub(super) const UNKNOWN_ISSUER: &str = "name its authority by `ca`";

/// Whether the answer is what was wanted.
/// Errors: Why not, in one clause.
pub(super) async fn ask(request: &HttpProbe) -> Result<String, String> {
    timeout(LIMIT, dial(request)).await.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")))
}

async fn dial(request: &HttpProbe) -> Result<String, String> {
    let uri: http::Uri = request.address.parse().map_err(|error| format!("not a URL: {error}"))?;
    let authority = uri.authority().ok_or("the URL names no host")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = if request.is_https() { 443 } else { 80 };
    let stream = connect(host, authority.port_u16().unwrap_or(port)).await?;
    if !request.is_https() {
        return exchange(stream, request, &uri).await;
    }
    let none = HttpOptions::default();
    let options = request.options.as_deref().unwrap_or(&none);
    let config = tls::client(&options.trust, None, &[b"http/1.1"])?;
    let stream = tls::connect(stream, &name(options.host.as_deref(), host), config, UNKNOWN_ISSUER).await?;
    exchange(stream, request, &uri).await
}

/// The name that a certificate must be for: that of `host:port`, or who is dialled.
pub(super) fn name(host: Option<&str>, dialled: &str) -> String {
    let host = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
    host.map_or_else(|| dialled.to_owned(), |host| host.host().to_owned())
}

async fn exchange<S>(stream: S, request: &HttpProbe, uri: &http::Uri) -> Result<String, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let wire = on_the_wire(request, uri)?;
    let driver = tokio::spawn(connection);
    let verdict = match sender.send_request(wire).await {
        Ok(response) => judge(request, response).await,
        Err(error) => Err(error.to_string()),
    };
    driver.abort();
    verdict
}

fn on_the_wire(request: &HttpProbe, uri: &http::Uri) -> Result<http::Request<Empty<Bytes>>, String> {
    let none = HttpOptions::default();
    let options = request.options.as_deref().unwrap_or(&none);
    let host = options.host.as_deref().or_else(|| uri.authority().map(http::uri::Authority::as_str));
    let mut wire = http::Request::builder()
        .method(request.method())
        .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, host.unwrap_or_default())
        .header(header::CONNECTION, "close");
    let names_itself = |header: &crate::config::notify::Header| header.name.eq_ignore_ascii_case("user-agent");
    if !options.headers.iter().any(names_itself) {
        wire = wire.header(header::USER_AGENT, concat!("balehook/", env!("CARGO_PKG_VERSION")));
    }
    for header in &options.headers {
        wire = wire.header(&header.name, header.value.reveal());
    }
    wire.body(Empty::new()).map_err(|error| error.to_string())
}

async fn judge(request: &HttpProbe, response: http::Response<Incoming>) -> Result<String, String> {
    let status = response.status();
    if !request.is_good(status.as_u16()) {
        let line = printable(&start(response, MOST, None).await);
        return Err(format!("it answered {status} {line}").trim_end().to_owned());
    }
    let Some(wanted) = request.options.as_ref().and_then(|options| options.body.as_deref()) else {
        let start = timeout(BODY, start(response, MOST, None)).await.unwrap_or_default();
        return Ok(with_line(&status.to_string(), &start));
    };
    let body = start(response, SEARCHED, Some(wanted)).await;
    let answer = with_line(&status.to_string(), &body);
    match body.contains(wanted) {
        true => Ok(answer),
        false => Err(format!("it answered {answer}, without `{wanted}` in its body")),
    }
}

/// The first bytes of a body: its first part, or as many parts as `wanted` takes.
async fn start(response: http::Response<Incoming>, most: usize, wanted: Option<&str>) -> String {
    let (mut body, mut start) = (response.into_body(), Vec::new());
    while let Some(Ok(frame)) = body.frame().await {
        start.extend_from_slice(&frame.into_data().unwrap_or_default());
        let is_enough = wanted.is_none_or(|wanted| String::from_utf8_lossy(&start).contains(wanted));
        if is_enough || start.len() >= most {
            break;
        }
    }
    start.truncate(most);
    String::from_utf8_lossy(&start).into_owned()
}
