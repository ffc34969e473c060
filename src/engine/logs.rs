//! The logs of containers and of a swarm's tasks, bounded in time and size; a container's published ports.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::ContainerSummary;
use bollard::query_parameters as query;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::LocalBoxStream;
use futures_util::{Stream, StreamExt as _};

use crate::engine::Engine;
use crate::engine::api::Api;
use crate::engine::call::CallError;
use crate::engine::summary::{label, name_of};
use crate::error::{Failure, Kind};
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_NAME, SWARM_SERVICE};
use crate::values::text::printable;
use crate::values::types::Name;

/// Lines of a container's log that a report shows.
const LOG_LINES: usize = 20;

/// How long reading a container's log may take: the old container waits.
const LOG_LIMIT: Duration = Duration::from_millis(700);

/// What is kept of a container's log, in bytes: the end of it.
const LOG_BYTES: usize = 64 * 1024;

/// What is kept of a task's log, in bytes.
const TASK_LOG_BYTES: usize = 4 * 1024 * 1024;

/// What is kept of the logs of a release that failed, in bytes and lines, and how long reading them may take.
const LAST_WORDS_BYTES: usize = 1024 * 1024;
const LAST_WORDS_LINES: usize = 10_000;
const LAST_WORDS_LIMIT: Duration = Duration::from_millis(250);

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

/// What the containers of this name have said last: those created since `began` (seconds since 1970), or all where there
/// are none. As much as comes in a short time: the old release waits.
pub(crate) async fn last_words(engine: &Engine, name: &Name, began: i64) -> Vec<u8> {
    let Ok(all) = engine.list_labelled(format!("{LABEL_NAME}={name}")).await else { return Vec::new() };
    let is_new = |summary: &&ContainerSummary| summary.created.is_some_and(|created| created >= began);
    let new: Vec<&ContainerSummary> = all.iter().filter(is_new).collect();
    let chosen = if new.is_empty() { all.iter().collect() } else { new };
    let most = LAST_WORDS_BYTES / chosen.len().max(1);
    let each = chosen.iter().map(async |summary| {
        let stream = engine.docker.logs(summary.id.as_deref().unwrap_or_default(), Some(options(LAST_WORDS_LINES)));
        (name_of(summary), last_bytes(engine, stream, most, LAST_WORDS_LIMIT).await.0)
    });
    let mut logs = join_all(each).await;
    logs.retain(|(_, log)| !log.is_empty());
    let is_one = logs.len() == 1;
    logs.into_iter().fold(Vec::new(), |mut text, (container, log)| {
        let head = if is_one { String::new() } else { format!("==> {container} <==\n") };
        text.extend_from_slice(head.as_bytes());
        text.extend_from_slice(&log);
        text
    })
}

/// What one container prints.
pub(crate) struct Output {
    pub(crate) container: String,
    /// Parts of it, each with whether it is of its standard error.
    pub(crate) parts: LocalBoxStream<'static, Result<(Bytes, bool), Failure>>,
}

impl Engine {
    /// What the containers of a name print, and the service of that name on a manager of a swarm, from any node: those of
    /// one deployment where one is named. `follow`: to the end of the containers.
    pub(crate) async fn outputs(
        &self,
        name: &Name,
        deployment: Option<&str>,
        follow: bool,
        tail: Option<usize>,
    ) -> Result<Vec<Output>, Failure> {
        let tail = tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = query::LogsOptionsBuilder::default().stdout(true).stderr(true).follow(follow).tail(&tail).build();
        let mut found = self.list_labelled(format!("{LABEL_NAME}={name}")).await?;
        found.retain(|summary| deployment.is_none_or(|id| label(summary, LABEL_DEPLOYMENT).as_deref() == Some(id)));
        let is_task = |summary: &ContainerSummary| label(summary, SWARM_SERVICE).as_deref() == Some(name.as_str());
        // A revision may have put no label of ours on its tasks, and they may all be on other nodes.
        let of_tasks = found.is_empty() || found.iter().any(is_task);
        if of_tasks && Api::of(self).get(&format!("/services/{name}")).await.is_ok() {
            let service = self.docker.service_logs(name.as_str(), Some(options));
            return Ok(vec![Output { container: name.to_string(), parts: self.parts(service) }]);
        }
        found.sort_by_key(name_of);
        let each = found.iter().map(|summary| {
            let log = self.docker.logs(summary.id.as_deref().unwrap_or_default(), Some(options.clone()));
            Output { container: name_of(summary), parts: self.parts(log) }
        });
        Ok(each.collect())
    }

    fn parts(
        &self,
        log: impl Stream<Item = Result<LogOutput, Error>> + 'static,
    ) -> LocalBoxStream<'static, Result<(Bytes, bool), Failure>> {
        let address = self.address.clone();
        log.map(move |part| match part {
            Ok(LogOutput::StdErr { message }) => Ok((message, true)),
            Ok(LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message }) => {
                Ok((message, false))
            }
            Err(error) => Err(CallError::of(&address, &error).failure_of(Kind::Engine, "read the log")),
        })
        .boxed_local()
    }

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
