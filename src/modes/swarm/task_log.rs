//! The log of a task, which a manager reads from whichever node the task is on.

use std::time::Duration;

use http::Method;

use crate::engine::api::Api;
use crate::values::text::printable;

/// Lines of a task's log that a report shows.
const LOG_LINES: u32 = 12;

/// Lines of a log that are read at most: our own log file has room for so many.
const ALL_LINES: u32 = 10_000;

/// How long reading them may take.
const LOG_LIMIT: Duration = Duration::from_millis(1500);

/// All of it; nothing where it cannot be read within `limit`.
pub(crate) async fn log(api: &Api, task: &str, limit: Duration) -> Vec<u8> {
    read_log(api, task, ALL_LINES, limit).await
}

/// The last lines of it.
pub(crate) async fn log_tail(api: &Api, task: &str) -> Vec<String> {
    let bytes = read_log(api, task, LOG_LINES, LOG_LIMIT).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.lines().map(|line| printable(line).trim_end().to_owned()).collect()
}

async fn read_log(api: &Api, task: &str, lines: u32, limit: Duration) -> Vec<u8> {
    let path = format!("/tasks/{task}/logs?stdout=true&stderr=true&tail={lines}");
    match tokio::time::timeout(limit, api.bytes(Method::GET, &path, None, None)).await {
        Ok(Ok(bytes)) => unframed(&bytes),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// The payload of the engine's frames: a byte for the stream, three zeros, four for the length. The log of a terminal has
/// no frames.
fn unframed(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [stream @ 0..=2, 0, 0, 0, a, b, c, d, rest @ ..] = bytes {
        let _ = stream;
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX).min(rest.len());
        out.extend_from_slice(&rest[..length]);
        bytes = &rest[length..];
    }
    out.extend_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_log_are_taken_off_and_a_cut_one_is_shown_as_far_as_it_goes() {
        let frames = [&[1, 0, 0, 0, 0, 0, 0, 3][..], b"ab\n", &[2, 0, 0, 0, 0, 0, 0, 9], b"cut"].concat();
        assert_eq!(unframed(&frames), b"ab\ncut");
        assert_eq!(unframed(b"plain"), b"plain");
    }
}
