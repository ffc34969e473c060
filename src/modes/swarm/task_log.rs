//! The log of a task, which a manager reads from whichever node the task is on.

use std::time::Duration;

use crate::engine::api::Api;
use crate::values::text::printable;

/// Lines of a task's log that a report shows.
const LOG_LINES: usize = 12;

/// Lines of a log that are read at most: our own log file has room for so many.
const ALL_LINES: usize = 10_000;

const LOG_LIMIT: Duration = Duration::from_millis(1500);

/// All of it; nothing where it cannot be read within `limit`.
pub(crate) async fn log(api: &Api, task: &str, limit: Duration) -> Vec<u8> {
    api.engine().task_log(task, ALL_LINES, limit).await
}

pub(crate) async fn log_tail(api: &Api, task: &str) -> Vec<String> {
    let bytes = api.engine().task_log(task, LOG_LINES, LOG_LIMIT).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.lines().map(|line| printable(line).trim_end().to_owned()).collect()
}
