//! The texts of `explain`, for a terminal of 80 columns.

use crate::config::explained::Key;
use crate::config::rules::Rule;
use crate::error::{Kind, exit_code_table};

/// Columns of a line.
const WIDTH: usize = 78;

/// Every rule with what it means, and every exit code.
pub(crate) fn list(rules: &[Rule]) -> String {
    let each = rules.iter().map(|rule| format!("  {}\n{}", rule.name, wrapped(rule.means, 6)));
    let rules: String = each.collect();
    format!(
        "Rules of check:\n{rules}\nExit codes:\n{}\n`balehook explain RULE|KEY|EXIT-CODE` says more; a key is one of x-balehook.\n",
        exit_code_table()
    )
}

/// One rule.
pub(crate) fn rule(rule: &Rule) -> String {
    let mut text = format!("{}: a rule of check\n\n{}\n", rule.name, wrapped(rule.means, 0));
    text += &format!("Why it matters:\n{}\n", wrapped(rule.matters, 2));
    text += &format!("What to do:\n{}", wrapped(rule.remedy, 2));
    if !rule.example.is_empty() {
        let lines: String = rule.example.lines().map(|line| format!("  {line}\n")).collect();
        text += &format!("\nAn example:\n{lines}");
    }
    let comment = format!("# balehook: allow {}", rule.name);
    text + &format!("\nA warning is silenced in its line, or in the line above, by the comment\n  {comment}\n")
}

/// A key of `x-balehook`.
pub(crate) fn key(key: &Key) -> String {
    let mut text = format!("{}: a key of x-balehook\n", key.path);
    if !key.meaning.is_empty() {
        text += &format!("\n{}", wrapped(&key.meaning, 0));
    }
    if !key.below.is_empty() {
        let each = key.below.iter().map(|(name, meaning)| match meaning.as_str() {
            "" => format!("  {name}\n"),
            meaning => format!("  {name}\n{}", wrapped(meaning, 6)),
        });
        text += &format!("\nKeys below it:\n{}", each.collect::<String>());
    }
    text
}

/// The exit code of a failure.
pub(crate) fn kind(kind: Kind) -> String {
    let (code, meaning) = (kind.exit_code(), kind.meaning());
    let state = match kind {
        Kind::Undo => "What runs now is neither sure to be the old release nor the new one.",
        Kind::Appspec | Kind::Policy | Kind::Hook | Kind::Usage => "Nothing was touched.",
        _ => "What an event began is undone: the report's last lines say what runs then.",
    };
    let text = wrapped(&format!("exit code {code}: {meaning}"), 0);
    format!(
        "{text}\nWhat runs then:\n{}\nWhat to do:\n{}",
        wrapped(state, 2),
        wrapped(&format!("{}.", kind.remedy()), 2)
    )
}

/// An exit code of success.
pub(crate) fn no_failure(code: u8, meaning: &str) -> String {
    format!("exit code {code}: {meaning}\n")
}

/// The words in lines, each behind `indent` blanks.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines
            .last_mut()
            .filter(|line| line.is_empty() || line.chars().count() + 1 + word.chars().count() <= WIDTH - indent);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{}{line}\n", " ".repeat(indent))).collect()
}
