//! How wide a text is for who reads it, and whether in colour.

use std::io::IsTerminal as _;

use crate::ui::text::width;
use crate::values::text::printable;

/// Narrower than this nothing is folded.
const NARROWEST: usize = 40;

/// Where the second column of `status` begins; that of `doctor` begins two before it, and that of a service two behind it.
const COLUMN: usize = 13;
const IN_SERVICE: usize = COLUMN + 2;

/// The width and the colours of a text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layout {
    /// Lines are folded at so many columns; elsewhere than on a terminal they are left as they are.
    pub width: Option<usize>,
    /// Changes are coloured by what they are.
    pub has_color: bool,
}

impl Layout {
    /// That of standard output; `NO_COLOR` and `TERM=dumb` are respected.
    pub(crate) fn of_stdout(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::default();
        }
        Self { width: Some(width()), has_color: has_color(variable) }
    }

    /// The same of a plan, for who runs the program.
    pub(crate) fn of_plan() -> Self {
        Self::of_stdout(&|name| std::env::var(name).ok())
    }

    /// The same of a text that has no changes to colour.
    pub(crate) fn uncolored() -> Self {
        Self { has_color: false, ..Self::of_plan() }
    }

    /// The text as it is written: without control sequences but those of its own colours.
    pub fn lay_out(&self, text: &str) -> String {
        let lines = text.lines().map(printable).flat_map(|line| match self.width {
            Some(width) if width >= NARROWEST => fold(&line, width),
            _ => vec![line],
        });
        lines.map(|line| if self.has_color { colored(&line) } else { line } + "\n").collect()
    }
}

/// Source: <https://no-color.org>.
fn has_color(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    variable("NO_COLOR").is_none_or(|text| text.is_empty()) && variable("TERM").is_none_or(|term| term != "dumb")
}

/// A line in several: what follows is indented deeper than where its text begins. A word that is wider is broken.
fn fold(line: &str, width: usize) -> Vec<String> {
    let marks = line.chars().take_while(|letter| " +~-.0123456789".contains(*letter)).count() + 2;
    let indent = " ".repeat(column(line).unwrap_or(marks).min(width / 4));
    let (mut lines, mut now, mut at) = (Vec::new(), String::new(), 0);
    for word in line.split_inclusive(' ') {
        let mut word: Vec<char> = word.chars().collect();
        let is_too_long = |at: usize, word: &[char]| at + word.iter().filter(|letter| **letter != ' ').count() > width;
        if is_too_long(at, &word) && at > indent.len() {
            lines.push(std::mem::replace(&mut now, indent.clone()).trim_end().to_owned());
            at = indent.len();
        }
        while is_too_long(at, &word) {
            now.extend(word.drain(..width - at));
            lines.push(std::mem::replace(&mut now, indent.clone()));
            at = indent.len();
        }
        at += word.len();
        now.extend(word);
    }
    lines.push(now.trim_end().to_owned());
    lines
}

/// Where the text begins behind one word in a column of its own: `  health     it answered 500`.
fn column(line: &str) -> Option<usize> {
    let letters: Vec<char> = line.chars().take(COLUMN + 1).collect();
    let is_at = |at: usize| letters.get(at).is_some_and(|letter| *letter != ' ') && letters[at - 1] == ' ';
    let is_word = |letters: &[char]| {
        let word: Vec<&char> = letters.iter().skip_while(|letter| **letter != ' ').collect();
        word.iter().all(|letter| **letter == ' ')
    };
    let begins = letters.iter().take_while(|letter| **letter == ' ').count();
    let is_one = |at: &usize| begins < *at && is_at(*at) && is_word(&letters[begins..*at]);
    [COLUMN, COLUMN - 2].into_iter().find(|at| matches!(begins, 0 | 2) && is_one(at))
}

/// What is added green, what is changed yellow, what is removed and what would fail red; notes stand out.
fn colored(line: &str) -> String {
    let text = line.trim_start_matches(' ');
    let code = match (line.len() - text.len(), text.get(..2)) {
        (2 | 4 | COLUMN | IN_SERVICE, Some("+ ")) => "32",
        (2 | 4 | COLUMN | IN_SERVICE, Some("~ ")) => "33",
        (2 | 4 | COLUMN | IN_SERVICE, Some("- ")) => "31",
        (2, _) if text.starts_with("would fail: ") => "31",
        (2, _) if text.starts_with("note: ") || text.starts_with("assumed: ") => "36",
        _ => return line.to_owned(),
    };
    format!("\u{1b}[{code}m{line}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_folded_at_its_words_below_its_text_and_a_word_that_is_too_long_is_broken() {
        let layout = Layout { width: Some(40), has_color: false };
        let text = "+  3. create container web.balehook-new from registry.test:5443/team/web:1.4.2 (sha256:8ec5a17af827)\n  ~ memory  1 → 2\n";
        assert_eq!(
            layout.lay_out(text),
            "+  3. create container web.balehook-new\n        from\n        registry.test:5443/team/web:1.4.\n        2 (sha256:8ec5a17af827)\n  ~ memory  1 → 2\n"
        );
        assert_eq!(Layout { width: Some(10), has_color: false }.lay_out(text), text);
    }

    #[test]
    fn colour_is_for_changes_and_nothing_of_the_text_itself_controls_the_terminal() {
        let layout = Layout { width: None, has_color: true };
        let text = "  + a\n  ~ b\u{1b}[2J\n  - c\n+ 1. docker pull x\n";
        let wanted =
            "\u{1b}[32m  + a\u{1b}[0m\n\u{1b}[33m  ~ b\u{1b}[0m\n\u{1b}[31m  - c\u{1b}[0m\n+ 1. docker pull x\n";
        assert_eq!(layout.lay_out(text), wanted);
        let with =
            |name: &'static str, value: &'static str| has_color(&move |asked| (asked == name).then(|| value.into()));
        assert_eq!(
            [with("NO_COLOR", "1"), with("NO_COLOR", ""), with("TERM", "dumb"), with("TERM", "xterm")],
            [false, true, false, true]
        );
    }
}
