//! One question to a container: TCP, or a command inside it. The answer in one clause, or why it is not good.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::engine::Engine;
use crate::values::secret::masked;
use crate::values::text::printable;

/// How long one question from outside may take, with its handshakes.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// So much of an answer is read, in bytes.
pub(super) const MOST: usize = 120;

/// What was answered, and the first line of the text that came with it.
pub(super) fn with_line(what: &str, text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let line = masked(&printable(&line.chars().take(MOST).collect::<String>()));
    if line.is_empty() { what.to_owned() } else { format!("{what}: {line}") }
}

pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
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
