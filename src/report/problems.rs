//! Problems of a file: each with its place, its line and what to write instead.

use serde_json::{Value, json};

use super::text::printable;
use crate::input::appspec::AppSpecText;
use crate::spec::problem::{Problem, Problems, Severity};

/// Columns of the offending line that are shown.
const WIDTH: usize = 100;

/// All problems, and a line that counts them.
pub fn render(file: &AppSpecText, problems: &Problems) -> String {
    render_within(file, problems, usize::MAX)
}

/// The same in at most `limit` bytes: the first problems, and how many more there are.
pub fn render_within(file: &AppSpecText, problems: &Problems, limit: usize) -> String {
    let all = problems.sorted();
    let mut text = String::new();
    for (index, problem) in all.iter().enumerate() {
        let one = one(file, problem);
        if text.len() + one.len() + 40 > limit {
            text.push_str(&format!("… and {} more\n", all.len() - index));
            break;
        }
        text.push_str(&one);
    }
    if !all.is_empty() {
        text.push_str(&count(problems));
    }
    text
}

/// `[{file, line, column, severity, path, message, help}]`.
pub fn json(file: &AppSpecText, problems: &Problems) -> Value {
    let each = problems.sorted().into_iter().map(|problem| {
        json!({
            "file": file.path,
            "line": problem.place.line,
            "column": problem.place.column,
            "severity": problem.severity,
            "path": problem.path,
            "message": problem.message,
            "help": problem.help,
        })
    });
    each.collect()
}

fn count(problems: &Problems) -> String {
    let some = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (errors, warnings) = (problems.errors(), problems.sorted().len() - problems.errors());
    match (errors, warnings) {
        (0, warnings) => format!("{}\n", some(warnings, "warning")),
        (errors, 0) => format!("{}\n", some(errors, "error")),
        (errors, warnings) => format!("{}, {}\n", some(errors, "error"), some(warnings, "warning")),
    }
}

fn one(file: &AppSpecText, problem: &Problem) -> String {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let place = format!("{}:{}", file.file_name(), problem.place);
    let at = if problem.path.is_empty() { String::new() } else { format!(" ({})", printable(&problem.path)) };
    let mut text = format!("{place}: {severity}: {}{at}\n", printable(&problem.message));
    if let Some((line, caret)) = excerpt(&file.text, problem) {
        text.push_str(&format!("    {line}\n    {}^\n", " ".repeat(caret)));
    }
    if let Some(help) = &problem.help {
        text.push_str(&format!("    help: {}\n", printable(help)));
    }
    text
}

/// The offending line, cut around the place, and where in it the caret stands.
fn excerpt(text: &str, problem: &Problem) -> Option<(String, usize)> {
    let line = text.lines().nth(problem.place.line.checked_sub(1)?)?;
    let letters: Vec<char> = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let caret = problem.place.column.saturating_sub(1).min(letters.len());
    let from = caret.saturating_sub(WIDTH / 2).min(letters.len().saturating_sub(WIDTH));
    let to = letters.len().min(from + WIDTH);
    let shown: String = letters[from..to].iter().collect();
    (!shown.trim().is_empty()).then_some((shown, caret - from))
}
