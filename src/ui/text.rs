//! Lines for a person or for CodeDeploy's console.
//!
//! The console keeps whole lines from the end while their sum is below 2048 bytes, and one bad byte or one long line
//! empties it: every line is printable UTF-8 of at most [`LINE`] characters, and a failure ends with at most
//! [`TAIL`] bytes that say everything.

use std::fmt::Write as _;
use std::io::Write;

use crate::deploy::execute::{Done, Failed, OldRelease};
use crate::deploy::plan::Plan;
use crate::deploy::state::Release;
use crate::engine::facts::short_id;
use crate::engine::request::Target;
use crate::error::Failure;
use crate::modes::compose;
use crate::modes::operation::Operation;
use crate::modes::swarm::operation::SwarmOperation;
use crate::values::text::{printable, shorten};
use crate::values::types::LifecycleEvent;

/// The longest line, in characters.
pub const LINE: usize = 400;

/// The longest failure report, in bytes: the v2 agent adds 20 bytes to each line of the 2048 that it keeps.
pub const TAIL: usize = 1500;

/// The longest line of evidence, in characters.
const EVIDENCE_LINE: usize = 200;

/// Where lines go. A reader that went away is no error: 2 ms after its SIGTERM the agent closes the pipe.
pub struct Console<'a> {
    out: &'a mut dyn Write,
}

impl<'a> Console<'a> {
    /// Writes to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }

    /// One line, cleaned and cut.
    pub fn line(&mut self, text: &str) {
        let text = shorten(&printable(text), LINE);
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    /// A document of our own making: cleaned, but not cut.
    pub fn whole(&mut self, text: &str) {
        let clean: String = text.lines().map(|line| printable(line) + "\n").collect();
        let _ = self.out.write_all(clean.as_bytes()).and_then(|()| self.out.flush());
    }

    /// Several lines.
    pub fn lines(&mut self, text: &str) {
        text.lines().for_each(|line| self.line(line));
    }
}

/// The plan for a person: what it assumed, what it does, what undoes it.
pub fn plan(plan: &Plan) -> String {
    let mut out = String::new();
    let changes = if plan.has_changes() { "" } else { ": nothing to change" };
    let _ = writeln!(out, "{} of {}{changes}", plan.event, plan.name);
    for assumption in &plan.assumptions {
        let _ = writeln!(out, "  assumed: {assumption}");
    }
    for note in &plan.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    let width = plan.actions.len().to_string().len();
    for (index, action) in plan.actions.iter().enumerate() {
        let mark = if action.step.is_change() { '+' } else { ' ' };
        let _ = writeln!(out, "{mark} {:>width$}. {}", index + 1, action.step);
        match &action.step {
            Operation::Create(spec) => create_details(&mut out, plan, &spec.run_options()),
            Operation::Swarm(SwarmOperation::Create(request) | SwarmOperation::Update(request)) => {
                create_details(&mut out, plan, &request.options());
            }
            Operation::Compose(step) => step.details().iter().for_each(|line| {
                let _ = writeln!(out, "       {line}");
            }),
            _ => {}
        }
    }
    let undo: Vec<String> =
        plan.actions.iter().rev().flat_map(|action| &action.undo).map(ToString::to_string).collect();
    if !undo.is_empty() {
        let _ = writeln!(out, "  on failure, of these what was begun: {}", undo.join("; "));
    }
    if plan.has_changes() {
        let _ = writeln!(out, "  interruption: {}", plan.interruption);
    }
    out
}

fn create_details(out: &mut String, plan: &Plan, options: &[Vec<String>]) {
    for option in options {
        let changed = if plan.changed_options.contains(option) { "  <- changed" } else { "" };
        if !changed.is_empty() {
            let _ = writeln!(out, "       {}{changed}", option.join(" "));
        }
    }
}

/// The last line of an event that succeeded.
pub fn succeeded(event: LifecycleEvent, plan: &Plan, release: Option<&Release>, done: &Done) -> String {
    let proven = plan.actions.iter().any(|action| action.step.is_health_check());
    let Some(release) = release.filter(|_| proven) else {
        let what = if plan.actions.is_empty() { "nothing to do" } else { "done" };
        return format!("{event} of {}: {what}", plan.name);
    };
    let unchanged = if plan.has_changes() { "" } else { ", unchanged" };
    let ports = release.observed.ports.join(" ");
    let ports = if ports.is_empty() { ports } else { format!(", {ports}") };
    let down = done.down.map(|down| format!(", down {} ms", down.as_millis())).unwrap_or_default();
    let what = match &release.compose {
        Some(project) => format!("{} services of {}", project.health_check.services.len(), release.deployment),
        None => release.image.describe(),
    };
    let runs = if release.compose.is_some() { "run" } else { "runs" };
    format!("{event} of {}: {what} {runs}{unchanged}{ports}{down}", plan.name)
}

/// The last lines of a failed event, at most [`TAIL`] bytes, the most important one last.
pub fn failed(event: &str, name: &str, of: usize, failed: &Failed) -> String {
    let place = format!("{event} of {name} failed at step {} of {of}: {}", failed.number, shorten(&failed.step, 200));
    let fate = fate(name, failed.subject, &failed.old);
    failure_tail(Some(place), Some(fate), &failed.failure)
}

/// The same for a failure before any step.
pub fn refused(event: &str, failure: &Failure) -> String {
    failure_tail(None, Some(format!("{event} was refused: nothing was touched")), failure)
}

/// A failure of a command by hand.
pub fn failure(failure: &Failure) -> String {
    failure_tail(None, None, failure)
}

fn failure_tail(place: Option<String>, fate: Option<String>, failure: &Failure) -> String {
    let cause = format!("balehook: error: {} (exit code {})", failure.message, failure.kind.exit_code());
    let next = failure.next.as_ref().map(|next| format!("next: {next}"));
    let clean = |line: &String| shorten(&printable(line), LINE);
    let head: Vec<String> = place.iter().map(clean).collect();
    let tail: Vec<String> = fate.iter().chain(&next).chain([&cause]).map(clean).collect();
    let used: usize = head.iter().chain(&tail).map(|line| line.len() + 1).sum();
    let evidence = last_that_fit(&failure.evidence, TAIL.saturating_sub(used));
    let lines = head.iter().chain(&evidence).chain(&tail);
    lines.fold(String::new(), |text, line| text + line + "\n")
}

fn last_that_fit(lines: &[String], mut room: usize) -> Vec<String> {
    let mut kept = Vec::new();
    for line in lines.iter().rev() {
        let line = format!("  | {}", shorten(&printable(line), EVIDENCE_LINE));
        if line.len() + 1 > room {
            break;
        }
        room -= line.len() + 1;
        kept.push(line);
    }
    kept.reverse();
    kept
}

fn fate(name: &str, subject: &str, fate: &OldRelease) -> String {
    let of = |old: &Target| format!("{subject}: {} ({})", old.name, id(old.id.as_deref()));
    match fate {
        OldRelease::None if subject == compose::plan::SUBJECT => {
            format!("{subject}: there was none; what was begun is taken down, so nothing serves as {name}")
        }
        OldRelease::None => format!("{subject}: there was none, so nothing serves as {name}"),
        OldRelease::Untouched(old) => format!("{} was not touched", of(old)),
        OldRelease::Back(old, after) => format!("{} is back after {} ms", of(old), after.as_millis()),
        OldRelease::Lost(old, why) => format!("{} could NOT be put back: {why}", of(old)),
    }
}

fn id(id: Option<&str>) -> &str {
    id.map_or("new", short_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn control_sequences_carriage_returns_and_bidi_marks_never_reach_the_console() {
        assert_eq!(printable("\u{1b}[31mred\u{1b}[0m\r\n\tx\u{202e}y"), "red x y");
        assert_eq!(printable("\u{1b}"), "");
        assert_eq!(printable("\u{1b}["), "");
    }

    #[test]
    fn a_report_with_endless_evidence_stays_under_the_consoles_limit_and_ends_with_the_cause() {
        let evidence: Vec<String> = (0..500).map(|n| format!("line {n} {}", "ü".repeat(300))).collect();
        let failure = Failure::new(Kind::Health, "x".repeat(5000)).next("y".repeat(5000)).evidence(evidence);
        let failed = Failed {
            step: "z".repeat(5000),
            number: 3,
            failure,
            subject: "old container",
            old: OldRelease::None,
            imported: Vec::new(),
        };
        let text = super::failed("ApplicationStart", "web", 9, &failed);
        assert!(text.len() <= 2000, "{} bytes", text.len());
        assert!(text.lines().last().is_some_and(|line| line.starts_with("balehook: error: xxx")));
    }

    #[test]
    fn an_ordinary_report_with_twenty_log_lines_has_at_most_1500_bytes() {
        let evidence: Vec<String> =
            (0..20).map(|n| format!("2026-01-01T00:00:00 level=info msg=\"request {n}\" path=/a/b/c")).collect();
        let failure = Failure::new(Kind::Health, "web ended with exit code 3").next("look").evidence(evidence);
        let failed = Failed {
            step: "prove web".into(),
            number: 6,
            failure,
            subject: "old container",
            old: OldRelease::None,
            imported: Vec::new(),
        };
        let text = super::failed("ApplicationStart", "web", 9, &failed);
        assert!(text.len() <= TAIL, "{} bytes", text.len());
        assert!(text.contains("request 19"));
    }
}
