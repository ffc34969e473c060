//! What a report says of the release before, for each plan and each of its steps that fails.

use std::fmt::Write as _;

use balehook::deploy::outcome::RunsNow;
use balehook::deploy::plan::Operation as _;
use balehook::modes::operation::Plan;
use balehook::ui::report;

use crate::drift::{Scribe, run};
use crate::golden::differs;
use crate::scenes;

/// The line of the report that says it, for each of what may be observed to run.
fn said(plan: &Plan, number: usize) -> Option<[String; 4]> {
    let mut host = Scribe { fails_step: Some(number), ..Scribe::default() };
    let mut failed = run(plan, &mut host).1.err()?;
    Some([RunsNow::Old, RunsNow::Some, RunsNow::Nothing, RunsNow::NotKnown].map(|runs| {
        failed.runs = runs;
        let report = report::failed("EVENT", "web", &failed);
        let about = |line: &&str| line.contains("old ") || line.contains("previous ") || line.contains(" runs");
        let mut lines = report.lines().skip(1).filter(|line| !line.starts_with("balehook: error"));
        let line = lines.find(about).unwrap_or("nothing is said");
        // How long it took is another time in each run.
        line.split(' ').filter(|word| word.parse::<u32>().is_err()).collect::<Vec<_>>().join(" ")
    }))
}

#[test]
fn what_the_report_of_each_failing_step_says_of_what_runs_is_what_was_observed_and_reads_as_its_golden_file() {
    let mut text = String::new();
    for (name, plan) in scenes::plans() {
        let mut last = None;
        for (number, action) in plan.all().enumerate() {
            let Some(lines) = said(&plan, number) else { continue };
            let [old, some, nothing, unknown] = &lines;
            let step = action.operation.title();
            let claims = ["is back after", "; it runs", "runs again", "web runs", "; it does not run", "nothing "];
            for claim in &claims[..4] {
                assert!(!nothing.contains(claim), "{name}, {step}: {nothing}");
            }
            for claim in claims {
                assert!(!unknown.contains(claim) || unknown == "nothing is said", "{name}, {step}: {unknown}");
            }
            for runs in [old, some] {
                assert!(!runs.contains("does not run") && !runs.contains("nothing"), "{name}, {step}: {runs}");
            }
            if last.as_ref() != Some(&lines) {
                writeln!(text, "{name}, from: {step}").unwrap();
                let observed = ["the release before", "something", "nothing", "not known"];
                observed.iter().zip(&lines).for_each(|(runs, line)| writeln!(text, "  {runs}: {line}").unwrap());
                last = Some(lines);
            }
        }
    }
    let wrong = differs("failures", &text);
    assert!(wrong.is_none(), "{}", wrong.unwrap());
}
