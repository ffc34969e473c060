//! Texts for a person: the plan, and the last lines of what ran.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::deploy::outcome::{Done, RunsNow};
use crate::deploy::plan::{Operation as _, undo_steps};
use crate::modes::operation::Plan;
use crate::modes::release::Release;
use crate::modes::resume::Only;
use crate::ui::changes;
pub(crate) use crate::ui::console::Console;
use crate::values::operation::Role;
use crate::values::options::table;
use crate::values::text::short_digests;
use crate::values::types::LifecycleEvent;

/// The width of the terminal, in columns; wide where there is none.
pub(crate) fn width() -> usize {
    let terminal = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(told).unwrap_or(160).max(60)
}

/// An RFC 3339 time in UTC, in this form of `strftime`; `None` of another text.
pub(crate) fn utc(at: &str, form: &str) -> Option<String> {
    let time = at.parse::<jiff::Timestamp>().ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    Some(time.strftime(form).to_string())
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
    changes::lines(plan).iter().for_each(|line| _ = writeln!(out, "{line}"));
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
    short_digests(&(out + &steps(plan, show_values)))
}

/// What it does, and what undoes it.
pub(crate) fn steps(plan: &Plan, show_values: bool) -> String {
    let mut out = String::new();
    let width = plan.all().count().to_string().len();
    for (index, action) in plan.all().enumerate() {
        let mark = if action.role.changes() { '+' } else { ' ' };
        let _ = writeln!(out, "{mark} {:>width$}. {}", index + 1, action.operation);
        for line in table(&action.operation.options(), show_values) {
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
        let _ = writeln!(out, "  on failure, undo what was begun: {}", steps.join("; "));
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

/// What a plan that ended well has to say.
pub(crate) fn ended(console: &mut Console<'_>, done: &Done) {
    done.messages.iter().for_each(|line| console.line(line));
    done.warnings.iter().for_each(|warning| console.lines(&format!("warning: {warning}")));
}

/// The last line of a `resume` that succeeded.
pub(crate) fn resumed(plan: &Plan, only: Only, runs: &RunsNow) -> String {
    let what = match (only, runs) {
        (Only::Tokens, _) if plan.actions.is_empty() => "no token to renew",
        (Only::Tokens, _) => "token renewed",
        (Only::Everything | Only::Ports, _) if !plan.has_changes() => "nothing to recover",
        (Only::Everything | Only::Ports, RunsNow::Nothing) => "recovered, and nothing runs",
        (Only::Everything | Only::Ports, RunsNow::NotKnown) => "recovered",
        (Only::Everything | Only::Ports, RunsNow::Old | RunsNow::Other(_) | RunsNow::Some) => "brought back",
    };
    format!("{}: {what}", plan.name)
}

/// The last line of `stop`, `start` and `restart`.
pub(crate) fn by_hand(plan: &Plan, runs: &RunsNow) -> String {
    let what = match runs {
        RunsNow::Nothing => "stopped",
        RunsNow::NotKnown => "done",
        // The swarm ends its tasks by itself.
        RunsNow::Some if plan.event == "stop" => "stopping",
        RunsNow::Old | RunsNow::Other(_) | RunsNow::Some => "runs",
    };
    let unchanged = if plan.has_changes() { "" } else { ", unchanged" };
    format!("{}: {what}{unchanged}", plan.name)
}

/// The last line of `pin` and `unpin`.
pub(crate) fn pinned(plan: &Plan) -> String {
    let what = if plan.has_changes() { format!("{}ned", plan.event) } else { "unchanged".into() };
    format!("{}: {what}", plan.name)
}

/// The last line of `prune`.
pub(crate) fn pruned(plan: &Plan) -> String {
    match plan.actions.len() {
        0 => format!("{}: nothing to prune", plan.name),
        count => format!("{}: {count} references were taken off images", plan.name),
    }
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
