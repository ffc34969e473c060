//! The report of a failure: its last lines on the console, at most [`TAIL`] bytes that say everything.
//!
//! What it says of the release before comes from the execution, and what it says of what runs was observed.

use crate::deploy::outcome::{Failed, OldRelease, RunsNow};
use crate::deploy::plan::Old;
use crate::engine::facts::short_id;
use crate::engine::logs::NO_LOG;
use crate::error::Failure;
use crate::ui::console::LINE;
use crate::values::target::Target;
use crate::values::text::{printable, shorten};

/// The longest failure report, in bytes: the v2 agent adds 20 bytes to each line of the 2048 that it keeps.
pub(crate) const TAIL: usize = 1500;

/// Where the last lines of a log are among the evidence.
const LOG_ABOVE: &str = "its last log lines are above";

/// The longest line of evidence, in characters.
const EVIDENCE_LINE: usize = 200;

/// The last lines of a failed event, at most [`TAIL`] bytes, the most important one last.
pub fn failed(event: &str, name: &str, failed: &Failed) -> String {
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
    let (evidence, log) = evidence(failure);
    let next: Vec<&str> = log.into_iter().chain(failure.next.as_deref()).collect();
    let next = (!next.is_empty()).then(|| format!("next: {}", next.join("; ")));
    let clean = |line: &String| shorten(&printable(line), LINE);
    let head: Vec<String> = place.iter().map(clean).collect();
    let tail: Vec<String> = old.iter().chain(&next).chain([&cause]).map(clean).collect();
    let used: usize = head.iter().chain(&tail).map(|line| line.len() + 1).sum();
    let evidence = last_that_fit(&evidence, TAIL.saturating_sub(used));
    let lines = head.iter().chain(&evidence).chain(&tail);
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// The lines of a failure, and what they say of the log.
fn evidence(failure: &Failure) -> (Vec<&String>, Option<&str>) {
    let (without, lines): (Vec<_>, Vec<_>) = failure.evidence.iter().partition(|line| line.ends_with(NO_LOG));
    match (lines.is_empty(), without.is_empty()) {
        _ if !failure.has_log => (lines, None),
        (false, _) => (failure.evidence.iter().filter(|line| *line != NO_LOG).collect(), Some(LOG_ABOVE)),
        (true, false) => (lines, Some(NO_LOG)),
        (true, true) => (lines, None),
    }
}

fn last_that_fit(lines: &[&String], mut room: usize) -> Vec<String> {
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

/// What was there before, what became of it and what runs now, and what could not be undone; `None` where nothing is known.
fn old(name: &str, failed: &Failed) -> Option<String> {
    let Failed { subject, old, runs, .. } = failed;
    let left = failed.not_undone.first().map(|why| format!("; what was begun could NOT be undone: {why}"));
    let left = left.as_deref().unwrap_or_default();
    Some(match (&failed.before, old, runs) {
        (Old::NotObserved, _, RunsNow::NotKnown) if left.is_empty() => return None,
        (Old::NotObserved, _, RunsNow::NotKnown) => format!("{subject}: not known{left}"),
        (Old::Nothing, OldRelease::Untouched | OldRelease::Back(_) | OldRelease::Unchecked(_), RunsNow::Nothing) => {
            format!("{subject}: there was none, so nothing serves as {name}{left}")
        }
        (Old::NotObserved | Old::Nothing, _, runs) => match runs {
            RunsNow::NotKnown => format!("whether anything runs as {name} is not known{left}"),
            RunsNow::Nothing => format!("nothing runs as {name}{left}"),
            RunsNow::Old | RunsNow::Some => format!("{name} runs{left}"),
            RunsNow::Other(other) => format!("{} runs{left}", target(other)),
        },
        (Old::Running(before) | Old::Stopped(before), old, runs) => {
            format!("{subject}: {} {}", target(before), became(old, runs, left))
        }
    })
}

/// What became of the old release: `is back after 865 ms`.
fn became(old: &OldRelease, runs: &RunsNow, left: &str) -> String {
    let now = match (old, runs) {
        (_, RunsNow::NotKnown) => "whether it runs is not known".to_owned(),
        (_, RunsNow::Nothing) => "it does not run".to_owned(),
        (_, RunsNow::Other(other)) => format!("it does not run, {} does", target(other)),
        (OldRelease::Lost(_) | OldRelease::NotBack, RunsNow::Some) => {
            "what runs may be of it or of the new one".to_owned()
        }
        (_, RunsNow::Old | RunsNow::Some) => "it runs".to_owned(),
    };
    let is_there = matches!(runs, RunsNow::Old | RunsNow::Some);
    match old {
        OldRelease::Untouched => format!("was not touched; {now}{left}"),
        OldRelease::Back(after) if is_there => format!("is back after {} ms{left}", after.as_millis()),
        OldRelease::Unchecked(after) if is_there => {
            format!("runs again after {} ms; there was no time to see it healthy{left}", after.as_millis())
        }
        OldRelease::Back(after) | OldRelease::Unchecked(after) => {
            format!("was put back after {} ms; {now}{left}", after.as_millis())
        }
        OldRelease::Lost(why) => format!("could NOT be put back; {now}: {why}"),
        OldRelease::NotBack => format!("was not put back; {now}{left}"),
    }
}

fn target(target: &Target) -> String {
    match target.id.as_deref() {
        Some(id) => format!("{} ({})", target.name, short_id(id)),
        None => target.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::Kind;

    use std::time::Duration;

    fn before() -> Target {
        Target { name: "web".into(), id: Some("a1".repeat(32)) }
    }

    fn ended(before: Old) -> Failed {
        let failure = Failure::new(Kind::Health, "web exited with code 3");
        let (old, runs) = (OldRelease::Untouched, RunsNow::NotKnown);
        let (step, subject) = ("check health of web".into(), "old container".into());
        Failed { step, number: 3, of: 9, failure, subject, before, old, runs, not_undone: Vec::new() }
    }

    #[test]
    fn what_is_said_of_the_release_before_is_what_became_of_it_and_what_runs_is_what_was_observed() {
        let ms = Duration::from_millis(865);
        let (there, stopped) = (Old::Running(before()), Old::Stopped(before()));
        let other = || RunsNow::Other(Target { name: "web".into(), id: Some("c3".repeat(32)) });
        let lost = || OldRelease::Lost("docker start web: no".into());
        let old = "old container: web (a1a1a1a1a1a1)";
        let new = "web (c3c3c3c3c3c3)";
        for (before, became, runs, wanted) in [
            (&Old::NotObserved, OldRelease::Untouched, RunsNow::NotKnown, String::new()),
            (&Old::NotObserved, OldRelease::NotBack, RunsNow::Nothing, "nothing runs as web".into()),
            (&Old::NotObserved, OldRelease::Untouched, other(), format!("{new} runs")),
            (&Old::NotObserved, OldRelease::Untouched, RunsNow::Some, "web runs".into()),
            (
                &Old::Nothing,
                OldRelease::Untouched,
                RunsNow::Nothing,
                "old container: there was none, so nothing serves as web".into(),
            ),
            (&Old::Nothing, OldRelease::Untouched, other(), format!("{new} runs")),
            (&Old::Nothing, OldRelease::Back(ms), RunsNow::Some, "web runs".into()),
            (
                &Old::Nothing,
                OldRelease::Untouched,
                RunsNow::NotKnown,
                "whether anything runs as web is not known".into(),
            ),
            (&Old::Nothing, lost(), RunsNow::Nothing, "nothing runs as web".into()),
            (&there, OldRelease::Untouched, RunsNow::Old, format!("{old} was not touched; it runs")),
            (&there, OldRelease::Untouched, RunsNow::Nothing, format!("{old} was not touched; it does not run")),
            (
                &there,
                OldRelease::Untouched,
                RunsNow::NotKnown,
                format!("{old} was not touched; whether it runs is not known"),
            ),
            (&stopped, OldRelease::Untouched, RunsNow::Nothing, format!("{old} was not touched; it does not run")),
            (&there, OldRelease::Back(ms), RunsNow::Old, format!("{old} is back after 865 ms")),
            (&there, OldRelease::Back(ms), RunsNow::Some, format!("{old} is back after 865 ms")),
            (
                &there,
                OldRelease::Back(ms),
                RunsNow::Nothing,
                format!("{old} was put back after 865 ms; it does not run"),
            ),
            (
                &there,
                OldRelease::Back(ms),
                other(),
                format!("{old} was put back after 865 ms; it does not run, {new} does"),
            ),
            (
                &there,
                OldRelease::Unchecked(ms),
                RunsNow::Old,
                format!("{old} runs again after 865 ms; there was no time to see it healthy"),
            ),
            (
                &there,
                OldRelease::Unchecked(ms),
                RunsNow::NotKnown,
                format!("{old} was put back after 865 ms; whether it runs is not known"),
            ),
            (
                &there,
                lost(),
                RunsNow::Nothing,
                format!("{old} could NOT be put back; it does not run: docker start web: no"),
            ),
            (&there, lost(), RunsNow::Old, format!("{old} could NOT be put back; it runs: docker start web: no")),
            (
                &there,
                lost(),
                RunsNow::Some,
                format!("{old} could NOT be put back; what runs may be of it or of the new one: docker start web: no"),
            ),
            (&there, OldRelease::NotBack, RunsNow::Nothing, format!("{old} was not put back; it does not run")),
            (&there, OldRelease::NotBack, RunsNow::Old, format!("{old} was not put back; it runs")),
        ] {
            let failed = Failed { old: became, runs, ..ended(before.clone()) };
            assert_eq!(super::old("web", &failed).unwrap_or_default(), wanted, "{failed:?}");
        }
    }

    #[test]
    fn a_report_says_of_a_log_what_its_own_lines_show() {
        let of = |lines: &[&str]| {
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            failure(&Failure::new(Kind::Health, "web exited").with_log().evidence(lines).next("look"))
        };
        let cause = "balehook: error: web exited (exit code 8)\n";
        assert_eq!(of(&["no database"]), format!("  | no database\nnext: its last log lines are above; look\n{cause}"));
        assert_eq!(of(&[NO_LOG]), format!("next: it wrote no log; look\n{cause}"));
        assert_eq!(of(&["db: it wrote no log"]), format!("next: it wrote no log; look\n{cause}"));
        assert_eq!(of(&[]), format!("next: look\n{cause}"), "it was not read");
        let without = Failure::new(Kind::Container, "no port").evidence(vec![NO_LOG.into()]);
        assert_eq!(failure(&without), "balehook: error: no port (exit code 7)\n");
    }

    #[test]
    fn what_could_not_be_undone_is_said_whatever_else_is_known() {
        for (before, runs) in [
            (Old::NotObserved, RunsNow::NotKnown),
            (Old::Nothing, RunsNow::Some),
            (Old::Running(before()), RunsNow::Old),
        ] {
            let failed = Failed { runs, not_undone: vec!["docker rm web: no".into()], ..ended(before) };
            let said = super::old("web", &failed).unwrap();
            assert!(said.ends_with("; what was begun could NOT be undone: docker rm web: no"), "{said}");
        }
    }

    /// What is printed of a first release that failed at this step.
    fn report(step: String, failure: Failure) -> String {
        failed("ApplicationStart", "web", &Failed { step, failure, ..ended(Old::Nothing) })
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
