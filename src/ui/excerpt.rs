//! One line of a file with a caret, as it may be shown: no control characters, no secrets, never wider than a screen.

use crate::config::yaml::Place;
use crate::values::secret::{is_secret_name, masked};

/// Columns of the line that are shown.
pub(crate) const WIDTH: usize = 76;

/// Lines above the shown one that are searched for the key it belongs to.
const ABOVE: usize = 2000;

/// A line and where in it the caret stands, in columns from 0.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) line: String,
    pub(crate) caret: usize,
}

/// The lines as YAML counts them: ended by `\n`, `\r\n` or `\r`.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        lines.extend(line.strip_suffix('\r').unwrap_or(line).split('\r'));
    }
    lines
}

/// The line of `place`; `None` where there is nothing to see.
pub(crate) fn excerpt(lines: &[&str], place: Place) -> Option<Excerpt> {
    let index = place.line.checked_sub(1)?;
    let line = lines.get(index)?;
    let hidden = hidden_from(lines, index);
    let end = hidden.unwrap_or_else(|| line.chars().count());
    let caret = place.column.saturating_sub(1).min(end);
    let (mut cells, caret) = cells(line, caret, hidden);
    if cells.iter().all(|cell| cell.trim().is_empty()) {
        return None;
    }
    let before: usize = cells.iter().take(caret).map(|cell| width(cell)).sum();
    if before > WIDTH / 2 && total(&cells) > WIDTH {
        let cut = cells.drain(..caret).rev().collect::<Vec<_>>();
        let kept = fitting(&cut, WIDTH / 2 - 1);
        let before = total(&cut[..kept]) + 1;
        let start = std::iter::once("…".to_owned()).chain(cut[..kept].iter().rev().cloned());
        cells = start.chain(cells).collect();
        return Some(Excerpt { line: within(&cells), caret: before });
    }
    Some(Excerpt { line: within(&cells), caret: before })
}

/// What each character is shown as, of the part around the caret; and the caret's index in it.
fn cells(line: &str, caret: usize, hidden: Option<usize>) -> (Vec<String>, usize) {
    let from = caret.saturating_sub(WIDTH);
    let to = hidden.unwrap_or(usize::MAX).min(caret.saturating_add(WIDTH * 2));
    let mut cells: Vec<String> = line.chars().take(to).skip(from).map(cell).collect();
    if hidden == Some(to) {
        cells.push("***".into());
    }
    let caret = (caret - from).min(cells.len());
    (cells, caret)
}

fn cell(letter: char) -> String {
    match letter {
        '\t' => " ".into(),
        letter if letter.is_control() || is_invisible(letter) => format!("\\u{{{:x}}}", u32::from(letter)),
        letter => letter.into(),
    }
}

/// Marks that turn the writing direction, and letters without a width.
const fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Columns on a terminal: letters of East Asia and pictures take two, combining marks none.
fn width(cell: &str) -> usize {
    let one = |letter| match letter {
        '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' => 2,
        '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}' => 2,
        '\u{1f300}'..='\u{1f64f}' | '\u{1f680}'..='\u{1f6ff}' | '\u{1f900}'..='\u{1f9ff}' => 2,
        '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    };
    cell.chars().map(one).sum()
}

fn total(cells: &[String]) -> usize {
    cells.iter().map(|cell| width(cell)).sum()
}

fn fitting(cells: &[String], columns: usize) -> usize {
    let mut used = 0;
    cells
        .iter()
        .take_while(|cell| {
            used += width(cell);
            used <= columns
        })
        .count()
}

fn within(cells: &[String]) -> String {
    if total(cells) <= WIDTH {
        return cells.concat().trim_end().to_owned();
    }
    format!("{}…", cells[..fitting(cells, WIDTH - 1)].concat())
}

/// The character from which a line belongs to a value whose name says that it is a secret: its own, or that of a key
/// above it.
fn hidden_from(lines: &[&str], index: usize) -> Option<usize> {
    let line = lines[index];
    let mut depth = depth(line);
    for above in lines[..index].iter().rev().take(ABOVE).filter(|line| !line.trim().is_empty()) {
        let outer = self::depth(above);
        if outer < depth {
            if secret_in(above).is_some() {
                return Some(line.chars().take_while(|letter| letter.is_whitespace()).count());
            }
            depth = outer;
        }
    }
    secret_in(line)
}

/// How deep a line stands. One without a key, or after a tab, belongs to the key above it wherever it begins: that may
/// be the mistake.
fn depth(line: &str) -> usize {
    let indent = line.chars().take_while(|letter| *letter == ' ').count();
    let content = line[indent..].trim_start_matches("- ");
    let key = content.split_once(": ").map(|(key, _)| key).or_else(|| content.trim_end().strip_suffix(':'));
    let has_key = key.is_some_and(|key| !key.is_empty() && !key.contains(char::is_whitespace));
    if has_key && !content.starts_with('\t') { indent } else { usize::MAX }
}

/// The character where the value of the line's first secret begins: by its name, else by its form.
fn secret_in(line: &str) -> Option<usize> {
    let letters: Vec<char> = line.chars().collect();
    let is_name = |letter: &char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
    let mut at = 0;
    while at < letters.len() {
        let end = at + letters[at..].iter().take_while(|letter| is_name(letter)).count();
        if end == at {
            at += 1;
            continue;
        }
        let quote = usize::from(letters.get(end).is_some_and(|letter| matches!(letter, '"' | '\'')));
        let blanks = letters[end + quote..].iter().take_while(|letter| **letter == ' ').count();
        let sign = end + quote + blanks;
        let name: String = letters[at..end].iter().collect();
        if matches!(letters.get(sign), Some(':' | '=')) && is_secret_name(&name) {
            let blanks = letters[sign + 1..].iter().take_while(|letter| **letter == ' ').count();
            return Some(sign + 1 + blanks);
        }
        at = end;
    }
    let masked = masked(line);
    let same = letters.iter().zip(masked.chars()).take_while(|(letter, shown)| *letter == shown).count();
    (masked != line).then_some(same)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str, line: usize, column: usize) -> (String, usize) {
        let found = excerpt(&lines(text), Place { line, column }).unwrap();
        (found.line, found.caret)
    }

    #[test]
    fn a_place_outside_the_file_shows_nothing() {
        let lines = lines("a: 1\n\n");
        for place in [Place { line: 0, column: 1 }, Place { line: 2, column: 1 }, Place { line: 9, column: 9 }] {
            assert_eq!(excerpt(&lines, place), None);
        }
        assert_eq!(shown("a: 1", 1, 99), ("a: 1".into(), 4));
    }

    #[test]
    fn control_characters_and_marks_of_direction_are_escaped_and_the_caret_keeps_its_place() {
        assert_eq!(shown("a\t\u{1b}[31m: x", 1, 9), ("a \\u{1b}[31m: x".into(), 13));
        assert_eq!(shown("\u{202e}b: x", 1, 2), ("\\u{202e}b: x".into(), 8));
    }

    #[test]
    fn a_wide_letter_moves_the_caret_by_two_columns_and_a_combining_mark_by_none() {
        assert_eq!(shown("名前: x", 1, 5), ("名前: x".into(), 6));
        assert_eq!(shown("e\u{301}: x", 1, 5), ("e\u{301}: x".into(), 3));
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let (line, caret) = shown(&text, 1, 5001);
        assert_eq!((width(&line), line.chars().nth(caret)), (WIDTH, Some('X')));
        assert!(line.starts_with('…') && line.ends_with('…'));
        let (line, caret) = shown(&text, 1, 1);
        assert_eq!((line.chars().count(), caret), (WIDTH, 0));
    }

    #[test]
    fn the_value_of_a_secret_is_not_shown_on_its_line_nor_below_its_key() {
        for (text, place, line) in [
            ("DB_PASSWORD: hunter2", 1, "DB_PASSWORD: ***"),
            ("{A: 1, \"API_TOKEN\" : 'hunter2', B: 2}", 1, "{A: 1, \"API_TOKEN\" : ***"),
            ("- DB_PASSWORD=hunter2", 1, "- DB_PASSWORD=***"),
            ("command: [app, --db-password=hunter2]", 1, "command: [app, --db-password=***"),
            ("PRIVATE_KEY: |\n  hunter2", 2, "  ***"),
            ("PRIVATE_KEY: |\n  a\n    b\n\n  hunter2", 5, "  ***"),
            ("PRIVATE_KEY: |\n  a\n\t\thunter2", 3, "  ***"),
            ("a:\n  PRIVATE_KEY: |\n-----BEGIN\nhunter2", 4, "***"),
            ("a:\n  TOKENS:\n  - hunter2", 3, "  ***"),
            ("secrets:\n  db:\n    user: hunter2", 3, "    ***"),
        ] {
            assert_eq!(shown(text, place, 99).0, line, "{text}");
        }
    }

    #[test]
    fn what_follows_a_secret_at_the_same_depth_is_shown() {
        assert_eq!(shown("environment:\n  DB_PASSWORD: hunter2\n  LEVEL: x", 3, 3).0, "  LEVEL: x");
        assert_eq!(shown("env_file: s3://secrets/web.env", 1, 1).0, "env_file: s3://secrets/web.env");
    }

    #[test]
    fn lines_end_as_yaml_ends_them() {
        assert_eq!(lines("a\r\nb\rc\nd"), ["a", "b", "c", "d"]);
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_screen(text in any::<String>(), line in 0usize..4, column in 0usize..300) {
            if let Some(found) = excerpt(&lines(&text), Place { line, column }) {
                prop_assert!(width(&found.line) <= WIDTH && found.caret <= WIDTH);
                prop_assert!(!found.line.chars().any(char::is_control));
            }
        }
    }
}
