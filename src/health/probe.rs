//! One question to a container: HTTP, TCP or a command inside it. The answer in one clause, or why it is not good.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::engine::Engine;
use crate::values::secret::masked;
use crate::values::text::printable;

/// How long one HTTP or TCP question may take.
const LIMIT: Duration = Duration::from_secs(5);

/// How long the begin of a good answer's body is waited for: it decides nothing.
const BODY: Duration = Duration::from_millis(50);

/// So much of an answer is read, in bytes.
const MOST: usize = 120;

/// Whether `GET url` answers 2xx or 3xx. Redirects are not followed.
/// Errors: Why not, in one clause.
pub(crate) async fn http(url: &str) -> Result<String, String> {
    timeout(LIMIT, get(url)).await.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")))
}

async fn get(url: &str) -> Result<String, String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
    let authority = uri.authority().ok_or("the URL names no host")?.clone();
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = connect(host, authority.port_u16().unwrap_or(80)).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = http::Request::get(path)
        .header(http::header::HOST, authority.as_str())
        .header(http::header::USER_AGENT, concat!("balehook/", env!("CARGO_PKG_VERSION")))
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let verdict = match sender.send_request(request).await {
        Ok(response) => judge(response).await,
        Err(error) => Err(error.to_string()),
    };
    driver.abort();
    verdict
}

async fn judge(response: http::Response<hyper::body::Incoming>) -> Result<String, String> {
    let status = response.status();
    if status.is_success() || status.is_redirection() {
        let start = timeout(BODY, start(response)).await.unwrap_or_default();
        return Ok(with_line(&status.to_string(), &start));
    }
    let line = printable(&start(response).await);
    Err(format!("it answered {status} {line}").trim_end().to_owned())
}

async fn start(response: http::Response<hyper::body::Incoming>) -> String {
    let frame = response.into_body().frame().await;
    let start = frame.and_then(Result::ok).and_then(|frame| frame.into_data().ok()).unwrap_or_default();
    String::from_utf8_lossy(&start[..start.len().min(MOST)]).into_owned()
}

/// What was answered, and the first line of the text that came with it.
fn with_line(what: &str, text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let line = masked(&printable(&line.chars().take(MOST).collect::<String>()));
    if line.is_empty() { what.to_owned() } else { format!("{what}: {line}") }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port)).await.map_err(|error| format!("cannot connect: {error}"))
}

/// Whether `host:port` accepts a connection.
/// Errors: Why not, in one clause.
pub(crate) async fn tcp(address: &str) -> Result<String, String> {
    let (host, port) = address.rsplit_once(':').ok_or("it names no port")?;
    let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let connected = timeout(LIMIT, connect(host, port)).await;
    connected.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}"))).map(|_| "it is open".to_owned())
}

/// Whether a command inside the container exits with 0.
/// Errors: Why not, with the first line that the command printed.
pub(crate) async fn command(engine: &Engine, id: &str, command: &[String], limit: Duration) -> Result<String, String> {
    let run = run_command(engine, id, command);
    timeout(limit, run).await.unwrap_or_else(|_| Err(format!("it did not end within {limit:?}")))
}

async fn run_command(engine: &Engine, id: &str, command: &[String]) -> Result<String, String> {
    match engine.exec(id, command).await.map_err(|error| error.message)? {
        (Some(0), printed) => Ok(with_line("exit code 0", &printed)),
        (code, printed) => {
            let printed = printable(printed.trim());
            Err(format!("exit code {} {printed}", code.unwrap_or(-1)).trim_end().to_owned())
        }
    }
}
