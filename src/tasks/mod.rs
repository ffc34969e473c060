//! Running tasks: a container or a command of the host to its end, its output to the log, its last lines for the report.

pub(crate) mod command;
pub mod operation;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt as _;

use crate::engine::Engine;
use crate::engine::creation::Creation;
use crate::engine::request::ContainerSpec;
use crate::error::{Failure, Kind};
use crate::values::target::Target;
use crate::values::text::printable;

/// Lines of a task's output that a report shows.
const LAST_LINES: usize = 20;

/// A longer line is taken as several, in bytes.
const LONGEST_LINE: usize = 4096;

/// How long output may still come when the task has ended.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// What a task has said: every line goes to the log, the last ones are kept.
pub(crate) struct Output<'a> {
    task: &'a str,
    line: Vec<u8>,
    last: VecDeque<String>,
}

impl<'a> Output<'a> {
    pub(crate) const fn new(task: &'a str) -> Self {
        Self { task, line: Vec::new(), last: VecDeque::new() }
    }

    /// Takes what was read, in any portions.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.end_of_line(),
                byte => self.line.push(*byte),
            }
            if self.line.len() == LONGEST_LINE {
                self.end_of_line();
            }
        }
    }

    fn end_of_line(&mut self) {
        let line = printable(&String::from_utf8_lossy(&self.line)).trim_end().to_owned();
        self.line.clear();
        tracing::info!(task = self.task, "{line}");
        if !line.is_empty() {
            self.last.push_back(line);
        }
        if self.last.len() > LAST_LINES {
            self.last.pop_front();
        }
    }

    pub(crate) fn last_lines(mut self) -> Vec<String> {
        if !self.line.is_empty() {
            self.end_of_line();
        }
        self.last.into()
    }
}

pub(crate) fn failed(task: &str, how: &str, output: Output<'_>) -> Failure {
    let evidence = output.last_lines();
    let next = match evidence.is_empty() {
        true => "it said nothing; correct it and deploy again",
        false => "its last lines above say why, all of them are in the log; correct it and deploy again",
    };
    Failure::new(Kind::Task, format!("task {task} {how}")).evidence(evidence).next(next)
}

/// How one failed that was killed at its timeout.
pub(crate) fn too_long(limit: Duration) -> String {
    format!("was not done within {limit:?} and was killed")
}

/// A container from `image`, to its end. It is removed, whatever became of it, but where this future is dropped.
/// Errors: [`Kind::Task`]: it cannot be created or started, ends with another exit code than 0, or takes too long.
pub(crate) async fn container(
    engine: &Engine,
    task: &str,
    spec: &ContainerSpec,
    image: String,
    limit: Duration,
    creation: &mut Creation,
) -> Result<(), Failure> {
    let of_task = |failure: Failure| match failure.kind {
        Kind::Container => {
            Failure { kind: Kind::Task, message: format!("task {task}: {}", failure.message), ..failure }
        }
        _ => failure,
    };
    let id = creation.of(engine.create(spec, image)).await.map_err(of_task)?;
    let mut output = Output::new(task);
    let result = tokio::time::timeout(limit, to_its_end(engine, spec, &id, &mut output)).await;
    let removed = engine.remove(&id).await;
    match result {
        Err(_) => Err(failed(task, &too_long(limit), output)),
        Ok(Err(failure)) => Err(of_task(failure)),
        Ok(Ok(Some(how))) => Err(failed(task, &how, output)),
        Ok(Ok(None)) => removed,
    }
}

/// Starts it and follows its output to its end. Returns how it failed, where it did.
async fn to_its_end(
    engine: &Engine,
    spec: &ContainerSpec,
    id: &str,
    output: &mut Output<'_>,
) -> Result<Option<String>, Failure> {
    let attached = engine.attach(id).await;
    let attached = attached.map_err(|error| error.failure_of(Kind::Engine, &format!("attach to {}", spec.name)))?;
    let mut attached = std::pin::pin!(attached);
    engine.start(&Target { name: spec.name.clone(), id: Some(id.to_owned()) }).await?;
    let mut ended = std::pin::pin!(engine.wait(id));
    loop {
        tokio::select! {
            biased;
            chunk = attached.next() => match chunk {
                Some(chunk) => output.take(&chunk),
                None => break ended.await,
            },
            () = &mut ended => {
                let rest = async {
                    while let Some(chunk) = attached.next().await {
                        output.take(&chunk);
                    }
                };
                let _ = tokio::time::timeout(LAST_OUTPUT, rest).await;
                break;
            }
        }
    }
    how_it_ended(engine, spec, id).await
}

async fn how_it_ended(engine: &Engine, spec: &ContainerSpec, id: &str) -> Result<Option<String>, Failure> {
    let state = engine.inspect(id).await?.and_then(|found| found.state);
    let Some(state) = state else {
        return Ok(Some(format!("is lost: {} was removed", spec.name)));
    };
    let memory = if state.oom_killed.unwrap_or(false) { ", out of memory" } else { "" };
    match state.exit_code.unwrap_or(0) {
        0 => Ok(None),
        code => Ok(Some(format!("ended with exit code {code}{memory}"))),
    }
}
