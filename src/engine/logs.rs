//! A container's last log lines and its published ports.

use std::time::Duration;

use bollard::query_parameters as query;
use futures_util::StreamExt as _;

use crate::engine::Engine;
use crate::values::text::printable;

/// Lines of a container's log that a report shows.
const LOG_LINES: usize = 20;

/// How long reading a container's log may take: the old container waits.
const LOG_LIMIT: Duration = Duration::from_millis(700);

/// Published ports as `0.0.0.0:49153->80/tcp`, sorted.
pub fn published(ports: &bollard::models::PortMap) -> Vec<String> {
    let each = ports.iter().flat_map(|(port, bindings)| {
        bindings.iter().flatten().map(move |binding| {
            let host = binding.host_ip.as_deref().unwrap_or_default();
            format!("{host}:{}->{port}", binding.host_port.as_deref().unwrap_or_default())
        })
    });
    let mut lines: Vec<String> = each.collect();
    lines.sort_unstable();
    lines
}

/// The container's last log lines; where the driver's log cannot be read, why.
pub async fn log_tail(engine: &Engine, id: &str) -> Vec<String> {
    log_tail_within(engine, id, LOG_LIMIT).await
}

/// The same where there is so much time.
pub async fn log_tail_within(engine: &Engine, id: &str, limit: Duration) -> Vec<String> {
    let options = query::LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&LOG_LINES.to_string()).build();
    let mut text = Vec::new();
    let read = async {
        let mut stream = std::pin::pin!(engine.docker.logs(id, Some(options)));
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => text.extend_from_slice(&chunk.into_bytes()),
                Err(error) => {
                    text.extend_from_slice(
                        format!("(its log cannot be read: {})\n", crate::engine::cause(&error)).as_bytes(),
                    );
                    break;
                }
            }
        }
    };
    let _ = tokio::time::timeout(limit, read).await;
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<String> = text.lines().map(|line| printable(line).trim_end().to_owned()).collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].to_vec()
}
