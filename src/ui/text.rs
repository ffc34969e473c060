//! Lines for a person or for CodeDeploy's console.
//!
//! The console keeps whole lines from the end while their sum is below 2048 bytes, and one bad byte or one long line
//! empties it: every line is printable UTF-8 of at most [`LINE`] characters, and a failure ends with at most
//! [`TAIL`] bytes that say everything.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write;

use crate::deploy::outcome::{Done, Failed, OldRelease};
use crate::deploy::plan::{Operation as _, undo_steps};
use crate::engine::facts::short_id;
use crate::error::Failure;
use crate::modes::operation::Plan;
use crate::modes::release::Release;
use crate::values::operation::Role;
use crate::values::options::table;
use crate::values::target::Target;
use crate::values::text::{printable, shorten};
use crate::values::types::LifecycleEvent;

/// The longest line, in characters.
pub(crate) const LINE: usize = 400;

/// The longest failure report, in bytes: the v2 agent adds 20 bytes to each line of the 2048 that it keeps.
pub(crate) const TAIL: usize = 1500;

/// The longest line of evidence, in characters.
const EVIDENCE_LINE: usize = 200;

/// Where lines go. A reader that went away is no error: 2 ms after its SIGTERM the agent closes the pipe.
pub(crate) struct Console<'a> {
    out: &'a mut dyn Write,
}

impl<'a> Console<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }

    pub(crate) fn line(&mut self, text: &str) {
        let text = shorten(&printable(text), LINE);
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    /// A document of our own making: cleaned, but not cut.
    pub(crate) fn whole(&mut self, text: &str) {
        let clean: String = text.lines().map(|line| printable(line) + "\n").collect();
        let _ = self.out.write_all(clean.as_bytes()).and_then(|()| self.out.flush());
    }

    pub(crate) fn lines(&mut self, text: &str) {
        text.lines().for_each(|line| self.line(line));
    }
}

/// The plan for a person: what it assumed, what it does, what undoes it.
pub fn plan(plan: &Plan) -> String {
    plan_with(plan, false)
}

/// The same; `show_values`: options of appspec.yml are shown although they look like secrets.
pub fn plan_with(plan: &Plan, show_values: bool) -> String {
    let mut out = String::new();
    let changes = if plan.has_changes() { "" } else { ": nothing to change" };
    let _ = writeln!(out, "{} of {}{changes}", plan.event, plan.name);
    for assumption in &plan.assumptions {
        let _ = writeln!(out, "  assumed: {assumption}");
    }
    for note in &plan.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    for failure in &plan.would_fail {
        let next = failure.next.as_ref().map(|next| format!("; next: {next}")).unwrap_or_default();
        let _ = writeln!(out, "  would fail: {}{next}", failure.message);
        for line in &failure.evidence {
            let _ = writeln!(out, "    {line}");
        }
    }
    let (width, recovered) = (plan.all().count().to_string().len(), plan.recovery.iter().flatten().count());
    for (index, action) in plan.all().enumerate() {
        let mark = if action.role.changes() { '+' } else { ' ' };
        let _ = writeln!(out, "{mark} {:>width$}. {}", index + 1, action.operation);
        let is_new = index >= recovered && action.operation.has_changed_options();
        let changes = if is_new { plan.changed_options.as_slice() } else { &[] };
        for line in table(&action.operation.options(), changes, show_values) {
            let _ = writeln!(out, "       {line}");
        }
        for line in action.operation.details() {
            let _ = writeln!(out, "       {line}");
        }
        for operation in action.repair.iter().flat_map(|repair| &repair.operations) {
            let _ = writeln!(out, "       if it fails: {}, and once more", operation.title());
        }
    }
    let undo = undo_steps(plan.actions.iter().map(|action| &action.undo));
    let steps: Vec<String> = undo.iter().map(|undo| undo.operation.to_string()).collect();
    if !steps.is_empty() {
        let _ = writeln!(out, "  on failure, of these what was begun: {}", steps.join("; "));
    }
    let repairs = undo.iter().filter_map(|undo| undo.repair.as_ref()).flat_map(|repair| &repair.operations);
    for repair in repairs.map(|operation| operation.title()).collect::<BTreeSet<_>>() {
        let _ = writeln!(out, "  where that fails: {repair}, and once more");
    }
    if plan.has_changes() {
        let _ = writeln!(out, "  interruption: {}", plan.interruption);
    }
    out
}

/// The last line of an event that succeeded.
pub(crate) fn succeeded(event: LifecycleEvent, plan: &Plan, release: Option<&Release>, done: &Done) -> String {
    let is_checked = plan.actions.iter().any(|action| action.role == Role::ChecksHealth);
    let Some(release) = release.filter(|_| is_checked) else {
        let what = if plan.actions.is_empty() { "nothing to do" } else { "done" };
        return format!("{event} of {}: {what}", plan.name);
    };
    let unchanged = if plan.has_changes() { "" } else { ", unchanged" };
    let ports = release.observed.ports.join(" ");
    let ports = if ports.is_empty() { ports } else { format!(", {ports}") };
    // What a project's or a swarm's own update left running meanwhile is not known.
    let down = done.down.filter(|_| release.part.container.is_some());
    let down = down.map(|down| format!(", down {} ms", down.as_millis())).unwrap_or_default();
    let what = match &release.part.compose {
        Some(project) => format!("{} services of {}", project.health_check.services.len(), release.deployment),
        None => release.image.describe(),
    };
    let runs = if release.part.compose.is_some() { "run" } else { "runs" };
    format!("{event} of {}: {what} {runs}{unchanged}{ports}{down}", plan.name)
}

/// The last lines of a failed event, at most [`TAIL`] bytes, the most important one last.
pub(crate) fn failed(event: &str, name: &str, failed: &Failed) -> String {
    let place =
        format!("{event} of {name} failed at step {} of {}: {}", failed.number, failed.of, shorten(&failed.step, 200));
    failure_tail(Some(place), old(name, failed), &failed.failure)
}

/// The same for a failure before any step.
pub(crate) fn refused(event: &str, failure: &Failure) -> String {
    failure_tail(None, Some(format!("{event} was refused: nothing was touched")), failure)
}

/// A failure of a command by hand.
pub(crate) fn failure(failure: &Failure) -> String {
    failure_tail(None, None, failure)
}

fn failure_tail(place: Option<String>, old: Option<String>, failure: &Failure) -> String {
    let cause = format!("balehook: error: {} (exit code {})", failure.message, failure.kind.exit_code());
    let next = failure.next.as_ref().map(|next| format!("next: {next}"));
    let clean = |line: &String| shorten(&printable(line), LINE);
    let head: Vec<String> = place.iter().map(clean).collect();
    let tail: Vec<String> = old.iter().chain(&next).chain([&cause]).map(clean).collect();
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

/// What became of that which served before, and what could not be undone; `None` where nobody looked.
fn old(name: &str, failed: &Failed) -> Option<String> {
    let subject = &failed.subject;
    let of = |old: &Target| format!("{subject}: {} ({})", old.name, id(old.id.as_deref()));
    let left = match failed.not_undone.first() {
        Some(why) => format!("; what was begun could NOT be undone: {why}"),
        None => String::new(),
    };
    match &failed.old {
        OldRelease::NotObserved if left.is_empty() => None,
        OldRelease::NotObserved => Some(format!("{subject}: not known{left}")),
        OldRelease::None if left.is_empty() => Some(format!("{subject}: there was none, so nothing serves as {name}")),
        OldRelease::None => Some(format!("{subject}: there was none{left}")),
        OldRelease::Untouched(old) => Some(format!("{} was not touched{left}", of(old))),
        OldRelease::Back(old, after) => Some(format!("{} is back after {} ms{left}", of(old), after.as_millis())),
        OldRelease::Unchecked(old, after) => Some(format!(
            "{} runs again after {} ms; there was no time to see it healthy{left}",
            of(old),
            after.as_millis()
        )),
        OldRelease::Lost(old, why) => Some(format!("{} could NOT be put back: {why}", of(old))),
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

    /// What is printed of a first release that failed at this step.
    fn report(step: String, failure: Failure) -> String {
        let (subject, old, not_undone) = ("old container".into(), OldRelease::None, Vec::new());
        failed("ApplicationStart", "web", &Failed { step, number: 3, of: 9, failure, subject, old, not_undone })
    }

    #[test]
    fn a_report_with_endless_evidence_stays_under_the_consoles_limit_and_ends_with_the_cause() {
        let evidence: Vec<String> = (0..500).map(|n| format!("line {n} {}", "ü".repeat(300))).collect();
        let failure = Failure::new(Kind::Health, "x".repeat(5000)).next("y".repeat(5000)).evidence(evidence);
        let text = report("z".repeat(5000), failure);
        assert!(text.len() <= 2000, "{} bytes", text.len());
        assert!(text.lines().last().is_some_and(|line| line.starts_with("balehook: error: xxx")));
    }

    #[test]
    fn an_ordinary_report_with_twenty_log_lines_has_at_most_1500_bytes() {
        let evidence: Vec<String> =
            (0..20).map(|n| format!("2026-01-01T00:00:00 level=info msg=\"request {n}\" path=/a/b/c")).collect();
        let failure = Failure::new(Kind::Health, "web ended with exit code 3").next("look").evidence(evidence);
        let text = report("check health of web".into(), failure);
        assert!(text.len() <= TAIL, "{} bytes", text.len());
        assert!(text.contains("request 19"));
    }
}
