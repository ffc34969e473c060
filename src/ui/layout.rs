//! How wide a text is for who reads it, and whether in colour.

use console::{Term, measure_text_width};

use crate::ui::screen::look::Look;
use crate::ui::screen::row::Meaning;
use crate::ui::text::width;
use crate::values::text::printable;

/// Narrower than this nothing is folded.
const NARROWEST: usize = 40;

/// The columns of a terminal that does not say.
const USUAL: usize = 80;

/// Narrower than this a line is not made.
const LEAST: usize = 8;
/// Where the second column of `status` begins; that of `doctor` begins two before it, and that of a service two behind it.
const COLUMN: usize = 13;

/// The width and the colours of a text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layout {
    /// Lines are folded at so many columns; elsewhere than on a terminal they are left as they are.
    pub width: Option<usize>,
    /// Changes are coloured by what they are.
    pub has_color: bool,
}

/// The columns of the terminal now.
pub(crate) fn columns() -> usize {
    let size = Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    size.filter(|columns| *columns > 0).unwrap_or(USUAL).max(LEAST)
}

impl Layout {
    pub(crate) fn of(look: Look) -> Self {
        Self { width: look.is_terminal.then(width), has_color: look.has_color }
    }

    /// The text as it is written: without control sequences but those of its own colours.
    pub fn lay_out(&self, text: &str) -> String {
        let lines = text.lines().map(printable).flat_map(|line| match self.width {
            Some(width) if width >= NARROWEST => fold(&line, width),
            _ => vec![line],
        });
        lines.map(|line| if self.has_color { Meaning::of(&line).paint(&line) } else { line } + "\n").collect()
    }
}

/// A line in several: what follows is indented deeper than where its text begins. A word that is wider is broken.
pub(crate) fn fold(line: &str, width: usize) -> Vec<String> {
    let marks = line.chars().take_while(|letter| " +~-.0123456789|".contains(*letter)).count() + 2;
    let indent = " ".repeat(column(line).unwrap_or(marks).min(width / 4));
    let (mut lines, mut now, mut at) = (Vec::new(), String::new(), 0);
    for word in line.split_inclusive(' ') {
        let mut word = word;
        let is_too_long = |at: usize, word: &str| at + measure_text_width(word.trim_end_matches(' ')) > width;
        if is_too_long(at, word) && at > indent.len() {
            lines.push(std::mem::replace(&mut now, indent.clone()).trim_end().to_owned());
            at = indent.len();
        }
        while is_too_long(at, word) {
            let (fits, rest) = word.split_at(end_that_fits(word, width - at));
            now.push_str(fits);
            lines.push(std::mem::replace(&mut now, indent.clone()));
            (word, at) = (rest, indent.len());
        }
        at += measure_text_width(word);
        now.push_str(word);
    }
    lines.push(now.trim_end().to_owned());
    lines
}

/// How much of a word takes at most so many columns; one letter at least.
fn end_that_fits(word: &str, width: usize) -> usize {
    let ends = word.char_indices().map(|(at, letter)| at + letter.len_utf8());
    let fits = ends.clone().take_while(|end| measure_text_width(&word[..*end]) <= width).last();
    fits.or_else(|| ends.clone().next()).unwrap_or(word.len())
}

/// Where the text begins behind one word in a column of its own: `  health     it answered 500`.
fn column(line: &str) -> Option<usize> {
    let letters: Vec<char> = line.chars().take(COLUMN + 3).collect();
    let is_at = |at: usize| letters.get(at).is_some_and(|letter| *letter != ' ') && letters[at - 1] == ' ';
    let is_word = |letters: &[char]| {
        let word: Vec<&char> = letters.iter().skip_while(|letter| **letter != ' ').collect();
        word.iter().all(|letter| **letter == ' ')
    };
    let begins = letters.iter().take_while(|letter| **letter == ' ').count();
    let at = match begins {
        0 => COLUMN - 2,
        2 => COLUMN,
        4 => COLUMN + 2,
        _ => return None,
    };
    (is_at(at) && is_word(&letters[begins..at])).then_some(at)
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
    }
}
