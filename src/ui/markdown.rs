//! A plan as a comment on a pull request: what would fail and what changes, then the steps, folded.
//!
//! The author of appspec.yml must not write the comment: every value stands in a code span or in a fenced block, where
//! nothing is a link, an image, a tag of HTML or somebody's name.

use std::fmt::Write as _;

use crate::error::Failure;
use crate::modes::operation::Plan;
use crate::ui::{changes, text};
use crate::values::text::{printable, short_digests, shorten};

/// The longest comment, in bytes. Source: GitHub's API: "body is too long (maximum is 65536 characters)"; what a recipe
/// adds fits beside it.
const LIMIT: usize = 60_000;

/// What the lists above the steps may take of it, each.
const LIST: usize = 12_000;

/// What folds the steps, and says how many lines were left out.
const FOLD: usize = 300;

/// The longest value, in characters.
const VALUE: usize = 300;

/// The longest line of a block, in characters.
const LINE: usize = 2000;

/// The plan of a deployment in `mode`.
pub fn plan(plan: &Plan, mode: &str) -> String {
    plan_with(plan, mode, false)
}

/// The same; `show_values`: options of appspec.yml are shown although they look like secrets.
pub fn plan_with(plan: &Plan, mode: &str, show_values: bool) -> String {
    let changes = if plan.has_changes() { "" } else { ": nothing to change" };
    let mut out = format!("### {} of {} ({mode}){changes}\n\n", plan.event, code(&plan.name));
    out += &failures(&plan.would_fail);
    let assumed = plan.assumptions.iter().map(|line| format!("- assumed: {}", code(line)));
    let notes = plan.notes.iter().map(|line| format!("- note: {}", code(line)));
    out += &bounded(assumed.chain(notes));
    out += &services(plan);
    out += &options(plan);
    if plan.has_changes() {
        let _ = writeln!(out, "**Interruption:** {}\n", code(&plan.interruption));
    }
    let room = LIMIT.saturating_sub(out.len() + FOLD);
    out + &steps(plan, show_values, room)
}

/// A failure to make one.
pub(crate) fn failure(failure: &Failure) -> String {
    "### balehook plan\n\n".to_owned() + &failures(std::slice::from_ref(failure))
}

fn failures(all: &[Failure]) -> String {
    let mut out = String::new();
    for failure in all {
        let next = failure.next.as_ref().map(|next| format!("; next: {}", code(next))).unwrap_or_default();
        let _ = writeln!(out, "**Would fail:** {}{next}\n", code(&failure.message));
        if !failure.evidence.is_empty() {
            out += &fenced(&failure.evidence.join("\n"), LIST / 4);
        }
        if out.len() > LIST {
            return out + "**Would fail:** and more\n\n";
        }
    }
    out
}

fn services(plan: &Plan) -> String {
    let services = plan.all().flat_map(|action| action.operation.services());
    bounded(services.map(|service| format!("- {}", code(&service.to_string()))))
}

/// The very lines of the text plan, in a table.
fn options(plan: &Plan) -> String {
    let Some(with) = plan.compared_with.as_ref().filter(|_| !plan.changed_options.is_empty()) else {
        return String::new();
    };
    let cell = |text: &str| if text.is_empty() { String::new() } else { code(text).replace('|', "\\|") };
    let head = [
        format!("Changes, compared with {}:\n", code(with)),
        "| | option | what changes |".to_owned(),
        "|---|---|---|".to_owned(),
    ];
    let rows = plan.changed_options.iter().map(|change| {
        let service = change.service.as_ref().map(|service| format!("{service}: ")).unwrap_or_default();
        let name = cell(&(service + &changes::name(change)));
        format!("| `{}` | {name} | {} |", changes::mark(change.kind), cell(&changes::what(change)))
    });
    bounded(head.into_iter().chain(rows))
}

/// The steps as the text plan has them.
fn steps(plan: &Plan, show_values: bool, limit: usize) -> String {
    let (all, changing) = (plan.all().count(), plan.all().filter(|action| action.role.changes()).count());
    if all == 0 {
        return String::new();
    }
    let block = fenced(&short_digests(&text::steps(plan, show_values)), limit);
    format!("<details><summary>{all} steps, {changing} of them (+) change something</summary>\n\n{block}</details>\n")
}

/// Lines as long as there is room for them, and an empty one.
fn bounded(lines: impl Iterator<Item = String>) -> String {
    let (mut out, mut more) = (String::new(), 0);
    for line in lines {
        match out.len() + line.len() > LIST {
            true => more += 1,
            false => out += &(line + "\n"),
        }
    }
    if more > 0 {
        let _ = writeln!(out, "\nand {more} more");
    }
    if out.is_empty() { out } else { out + "\n" }
}

/// A block that nothing in it can end.
fn fenced(text: &str, limit: usize) -> String {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    let (mut out, mut more) = (format!("{fence}text\n"), 0);
    for line in text.lines() {
        let line = shorten(&printable(line), LINE);
        match more > 0 || out.len() + line.len() > limit {
            true => more += 1,
            false => out += &(line + "\n"),
        }
    }
    if more > 0 {
        let _ = writeln!(out, "… and {more} more lines: `balehook plan` prints them all");
    }
    out + &format!("{fence}\n\n")
}

/// A code span that nothing in it can end.
fn code(text: &str) -> String {
    let text = shorten(&printable(text), VALUE);
    if text.trim().is_empty() {
        return "(empty)".into();
    }
    let ticks = "`".repeat(longest_run(&text) + 1);
    match text.contains('`') {
        true => format!("{ticks} {text} {ticks}"),
        false => format!("{ticks}{text}{ticks}"),
    }
}

/// Of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|letter| letter != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::deploy::plan::Action;
    use crate::error::Kind;
    use crate::modes::operation::Operation;
    use crate::values::options::{ChangeKind, OptionChange};
    use crate::values::target::Target;

    fn plan_of(steps: usize) -> Plan {
        let mut plan = Plan::new("ApplicationStart", &"web".parse().unwrap());
        let remove = || Operation::remove_container(Target::created(&"x".repeat(400)));
        plan.actions = (0..steps).map(|_| Action::required(remove())).collect();
        plan
    }

    fn added(name: &str, value: &str) -> OptionChange {
        let (name, becomes) = (name.to_owned(), Some(value.to_owned()));
        OptionChange { kind: ChangeKind::Add, service: None, name, was: None, becomes, is_sensitive: false }
    }

    #[test]
    fn who_writes_appspec_yml_does_not_write_the_comment() {
        assert_eq!(code("@all <img src=x> [a](b)"), "`@all <img src=x> [a](b)`");
        assert_eq!(code("a ``` b\n# c"), "```` a ``` b # c ````");
        assert_eq!(code(" "), "(empty)");
        let mut plan = plan_of(0);
        plan.compared_with = Some("release d-1".into());
        plan.changed_options = vec![added("environment.A|B", "x | <y>")];
        let rows = options(&plan);
        assert_eq!(rows.lines().last(), Some(""));
        assert_eq!(rows.lines().nth(4), Some(r"| `+` | `environment A\|B` | `x \| <y>` |"));
        assert_eq!(fenced("a\n````\n</details>", 100), "`````text\na\n````\n</details>\n`````\n\n");
    }

    #[test]
    fn a_comment_with_too_many_steps_changes_and_failures_stays_under_the_limit_and_says_what_is_left_out() {
        let mut plan = plan_of(500);
        plan.compared_with = Some("release d-1".into());
        plan.changed_options = (0..500).map(|n| added(&format!("labels.{n}"), &"ü".repeat(5000))).collect();
        plan.notes = (0..500).map(|n| format!("note {n} {}", "y".repeat(5000))).collect();
        let failure = Failure::new(Kind::Policy, "`z` ".repeat(2000)).evidence(vec!["`".repeat(5000); 50]);
        plan.would_fail = vec![failure; 50];
        let comment = super::plan(&plan, "container");
        assert!(comment.len() <= LIMIT && comment.len() > LIMIT / 2, "{} bytes", comment.len());
        for left_out in ["**Would fail:** and more\n", "\nand 4", " more lines: `balehook plan` prints them all\n"] {
            assert!(comment.contains(left_out), "{left_out}");
        }
        assert!(comment.ends_with("```\n\n</details>\n"));
        assert!(comment.contains("500 steps, 500 of them (+) change something"));
    }

    #[test]
    fn what_would_fail_stands_first_with_what_to_do_and_its_evidence() {
        let mut plan = plan_of(1);
        plan.notes = vec!["known".into()];
        let failure =
            Failure::new(Kind::Policy, "the policy refuses it").next("ask root").evidence(vec!["line".into()]);
        plan.would_fail = vec![failure.clone()];
        let comment = super::plan(&plan, "container");
        let top = "### ApplicationStart of `web` (container)\n\n**Would fail:** `the policy refuses it`; next: `ask root`\n\n```text\nline\n```\n\n- note: `known`\n";
        assert!(comment.starts_with(top), "{comment}");
        let alone = super::failure(&failure);
        assert!(alone.starts_with("### balehook plan\n\n**Would fail:** `the policy refuses it`"), "{alone}");
    }
}
