//! Problems of a file: each with its place, its line and what to write instead.

pub(crate) mod sarif;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::{Value, json};

use crate::config::appspec::AppSpecText;
use crate::config::problem::{Problem, Problems, Severity};
use crate::ui::excerpt::{excerpt, lines};
use crate::ui::json::FORMAT;
use crate::values::text::printable;

const MOST: usize = 100;

/// Bytes that the last two lines may need.
const RESERVE: usize = 80;

/// A file with its problems.
pub(crate) type Checked = (AppSpecText, Problems);

/// The problems, at most a hundred, and a line that counts them all.
pub(crate) fn render(file: &AppSpecText, problems: &Problems) -> String {
    render_within(file, problems, usize::MAX)
}

/// The same in at most `limit` bytes: the first problems and how many more there are. Of the first one at least what is
/// wrong is always said.
pub(crate) fn render_within(file: &AppSpecText, problems: &Problems, limit: usize) -> String {
    let text = listed(&file.file_name(), file, problems, limit);
    if problems.is_empty() { text } else { text + &count(problems.errors(), problems.warnings()) }
}

/// The same of several files, named from the folder of the first.
pub(crate) fn render_all(all: &[Checked]) -> String {
    let root = all.first().map_or(Path::new("/"), |(file, _)| file.bundle_root());
    let each = all.iter().map(|(file, problems)| {
        let name = file.path.strip_prefix(root).unwrap_or(&file.path).display().to_string();
        listed(&name, file, problems, usize::MAX)
    });
    let text: String = each.collect();
    let sum = |count: fn(&Problems) -> usize| all.iter().map(|(_, problems)| count(problems)).sum();
    text + &count(sum(Problems::errors), sum(Problems::warnings))
}

fn listed(name: &str, file: &AppSpecText, problems: &Problems, limit: usize) -> String {
    let lines = lines(&file.text);
    let mut text = String::new();
    let mut shown = 0;
    for problem in problems.sorted().into_iter().take(MOST) {
        let one = one(name, &lines, &problem);
        if text.len() + one.len() + RESERVE > limit {
            break;
        }
        text.push_str(&one);
        shown += 1;
    }
    if let Some(first) = problems.sorted().first().filter(|_| shown == 0) {
        text.push_str(&head(name, first));
        shown = 1;
    }
    match problems.errors() + problems.warnings() - shown {
        0 => {}
        more => text.push_str(&format!("and {more} more\n")),
    }
    text
}

/// `{format, problems: [{file, line, column, severity, rule, path, message, help}]}`.
pub(crate) fn json(all: &[Checked]) -> Value {
    let each = each(all).map(|(file, problem)| {
        json!({
            "file": file.path,
            "line": problem.place.line,
            "column": problem.place.column,
            "severity": problem.severity,
            "rule": problem.rule.name,
            "path": problem.path,
            "message": problem.message,
            "help": problem.help,
        })
    });
    json!({ "format": FORMAT, "problems": each.collect::<Vec<_>>() })
}

fn each(all: &[Checked]) -> impl Iterator<Item = (&AppSpecText, Problem)> {
    all.iter().flat_map(|(file, problems)| problems.sorted().into_iter().map(move |problem| (file, problem)))
}

/// A line for each problem, which GitHub shows beside the file's line.
/// Source: GitHub Docs, "Workflow commands for GitHub Actions": how a file, a line and a message are written.
pub(crate) fn github(all: &[Checked]) -> String {
    let message = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| message(text).replace(':', "%3A").replace(',', "%2C");
    let each = each(all).map(|(file, problem)| {
        let help = problem.help.map(|help| format!("\n{help}")).unwrap_or_default();
        let (path, place) = (property(&file.path.display().to_string()), problem.place);
        let text = message(&format!("{}{help}", problem.message));
        let (severity, rule) = (word(problem.severity), problem.rule.name);
        format!("::{severity} file={path},line={},col={},title={rule}::{text}\n", place.line, place.column)
    });
    each.collect()
}

fn count(errors: usize, warnings: usize) -> String {
    let some = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, warnings) => format!("{}\n", some(warnings, "warning")),
        (errors, 0) => format!("{}\n", some(errors, "error")),
        (errors, warnings) => format!("{}, {}\n", some(errors, "error"), some(warnings, "warning")),
    }
}

fn one(name: &str, lines: &[&str], problem: &Problem) -> String {
    let mut text = head(name, problem);
    if let Some(shown) = excerpt(lines, problem.place) {
        text.push_str(&format!("    {}\n    {}^\n", shown.line, " ".repeat(shown.caret)));
    }
    if let Some(help) = &problem.help {
        text.push_str(&format!("    help: {}\n", printable(help)));
    }
    text
}

fn head(name: &str, problem: &Problem) -> String {
    let severity = word(problem.severity);
    let at = if problem.path.is_empty() { String::new() } else { format!(" ({})", printable(&problem.path)) };
    format!("{name}:{}: {severity}[{}]: {}{at}\n", problem.place, problem.rule.name, printable(&problem.message))
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}
