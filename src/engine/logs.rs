//! The logs of containers and of a swarm's tasks, bounded in time and size; a container's published ports.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters as query;
use futures_util::{Stream, StreamExt as _};

use crate::engine::Engine;
use crate::engine::call::CallError;
use crate::values::text::printable;

/// Lines of a container's log that a report shows.
const LOG_LINES: usize = 20;

/// How long reading a container's log may take: the old container waits.
const LOG_LIMIT: Duration = Duration::from_millis(700);

/// What is kept of a container's log, in bytes: the end of it.
const LOG_BYTES: usize = 64 * 1024;

/// What is kept of a task's log, in bytes.
const TASK_LOG_BYTES: usize = 4 * 1024 * 1024;

/// Published ports as `0.0.0.0:49153->80/tcp`, sorted.
pub(crate) fn published(ports: &bollard::models::PortMap) -> Vec<String> {
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

/// What is said in place of a log without a line.
pub(crate) const NO_LOG: &str = "it wrote no log";

/// The container's last log lines, or that it has none; where the driver's log cannot be read, why. Of one that is gone, or was never made, there
/// is nothing to say.
pub(crate) async fn log_tail(engine: &Engine, container: &str) -> Vec<String> {
    log_tail_within(engine, container, LOG_LIMIT).await
}

/// The same where there is so much time.
pub(crate) async fn log_tail_within(engine: &Engine, container: &str, limit: Duration) -> Vec<String> {
    let stream = engine.docker.logs(container, Some(options(LOG_LINES)));
    let (text, is_whole) = last_bytes(engine, stream, LOG_BYTES, limit).await;
    if text.is_empty() && is_whole {
        return vec![NO_LOG.to_owned()];
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<String> = text.lines().map(|line| printable(line).trim_end().to_owned()).collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].to_vec()
}

impl Engine {
    /// The last lines of the log of a swarm's task, from whichever node it is on: as much as can be read in time.
    pub(crate) async fn task_log(&self, task: &str, lines: usize, limit: Duration) -> Vec<u8> {
        let stream = self.docker.task_logs(task, Some(options(lines)));
        last_bytes(self, stream, TASK_LOG_BYTES, limit).await.0
    }
}

fn options(lines: usize) -> query::LogsOptions {
    query::LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&lines.to_string()).build()
}

/// The last bytes of a log, of as much as comes in time. An error ends it, and is said in its place, but for the one that
/// there is nothing of that name. And whether it was read to its end.
async fn last_bytes(
    engine: &Engine,
    log: impl Stream<Item = Result<LogOutput, Error>>,
    most: usize,
    limit: Duration,
) -> (Vec<u8>, bool) {
    let (mut text, mut is_there) = (Vec::new(), true);
    let mut log = std::pin::pin!(log);
    let read = async {
        while let Some(chunk) = log.next().await {
            match chunk {
                Ok(chunk) => text.extend_from_slice(&chunk.into_bytes()),
                Err(error) => {
                    let why = CallError::of(&engine.address, &error);
                    is_there = why.status != Some(404);
                    if is_there {
                        text.extend_from_slice(format!("(its log cannot be read: {})\n", why.message).as_bytes());
                    }
                }
            }
            text.drain(..text.len().saturating_sub(most));
        }
    };
    let is_whole = tokio::time::timeout(limit, read).await.is_ok() && is_there;
    (text, is_whole)
}
