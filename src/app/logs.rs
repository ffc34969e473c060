//! `logs`: the output of containers, and what was kept of those that are gone.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use futures_util::stream::{SelectAll, Stream, StreamExt as _};

use crate::app::history::{is, not_there};
use crate::app::stop::Signals;
use crate::app::{Context, one_name, say};
use crate::deploy::state::Store;
use crate::engine::logs::Output;
use crate::error::{Failure, Kind};
use crate::ui::screen::look::Look;
use crate::ui::screen::row::Meaning;
use crate::ui::text::Console;
use crate::values::types::Name;

/// As long as a person may look.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Which lines.
#[derive(Clone, Copy)]
pub(crate) struct Lines {
    pub(crate) follow: bool,
    pub(crate) tail: Option<usize>,
}

pub(crate) async fn logs(context: &Context, name: Option<&Name>, deployment: Option<&str>, lines: Lines) -> u8 {
    match print(context, name, deployment, lines).await {
        Ok(()) => 0,
        Err(failure) => say(&failure),
    }
}

async fn print(context: &Context, name: Option<&Name>, deployment: Option<&str>, lines: Lines) -> Result<(), Failure> {
    let is_remote = context.engine().is_ok_and(|engine| engine.endpoint.is_remote());
    let name = match name {
        // What this host has saved says nothing of another one.
        Some(name) if is_remote => name.clone(),
        _ => one_name(context, name, "logs")?,
    };
    let Some(wanted) = deployment else {
        return match running(context, &name, None, lines).await? {
            true => Ok(()),
            false if is_remote => Err(Failure::new(Kind::State, format!("{name} has no container there"))),
            false => Err(Failure::new(Kind::State, format!("{name} has no container on this host"))
                .next(format!("`balehook history {name}` lists its deployments"))),
        };
    };
    let store = Store::new(&context.settings.state_dir, &name);
    let found = store.history().into_iter().find(|(number, record)| is(record, *number, wanted));
    let (number, record) = found.ok_or_else(|| not_there(wanted))?;
    if let Some(log) = store.kept_log(number) {
        let _ = io::stdout().write_all(tail(&log, lines.tail));
        return Ok(());
    }
    match running(context, &name, Some(&record.deployment), lines).await? {
        true => Ok(()),
        false => Err(Failure::new(Kind::State, format!("the containers of deployment {wanted} are gone"))
            .next("only the output of releases that failed is kept: a log driver such as awslogs keeps all of it")),
    }
}

/// The last lines of a text.
fn tail(text: &[u8], lines: Option<usize>) -> &[u8] {
    let Some(lines) = lines else { return text };
    let ends = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let before = ends.filter(|at| at + 1 < text.len()).nth(lines.saturating_sub(1));
    if lines == 0 { &[] } else { before.map_or(text, |at| &text[at + 1..]) }
}

/// Prints what the containers of a name print, or of one deployment. False where there is none.
async fn running(
    context: &Context,
    name: &Name,
    deployment: Option<&str>,
    Lines { follow, tail }: Lines,
) -> Result<bool, Failure> {
    let outputs = context.engine()?.outputs(name, deployment, follow, tail).await?;
    let is_there = !outputs.is_empty();
    let width = outputs.iter().map(|output| output.container.len()).max().filter(|_| outputs.len() > 1);
    let mut all: SelectAll<_> = outputs.into_iter().map(|output| lines(output, width)).collect();
    let mut signals = Signals::listen()?;
    let mut stop = std::pin::pin!(signals.or(Instant::now() + FOR_EVER, FOR_EVER));
    loop {
        let printed = tokio::select! { _ = &mut stop => None, printed = all.next() => printed };
        let Some(printed) = printed else { break };
        let (text, is_error) = printed?;
        let written = match is_error {
            true => io::stderr().write_all(&text),
            false => io::stdout().write_all(&text).and_then(|()| io::stdout().flush()),
        };
        // The reader went away.
        if written.is_err() {
            break;
        }
    }
    Console::stdout().ends_colors();
    Ok(is_there)
}

/// What a container prints; where there are several, its name stands before each line, so wide.
fn lines(output: Output, width: Option<usize>) -> impl Stream<Item = Result<(Vec<u8>, bool), Failure>> {
    let prefix = width.map(|width| format!("{:<width$} | ", output.container)).unwrap_or_default();
    let prefix = if Look::of_stdout().has_color { Meaning::Detail.paint(&prefix) } else { prefix };
    let mut is_begin = true;
    output.parts.map(move |part| {
        let (part, is_error) = part?;
        let mut text = Vec::with_capacity(part.len() + prefix.len());
        for line in part.split_inclusive(|byte| *byte == b'\n') {
            if is_begin {
                text.extend_from_slice(prefix.as_bytes());
            }
            text.extend_from_slice(line);
            is_begin = line.ends_with(b"\n");
        }
        Ok((text, is_error))
    })
}
