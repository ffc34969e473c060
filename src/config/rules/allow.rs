//! `# balehook: allow RULE`: a comment that silences a warning of its line, or of the next line where it stands alone.

use std::collections::BTreeMap;

use crate::config::problem::Problems;
use crate::config::problem::nearest;
use crate::config::rules::{UNKNOWN_RULE, all, find};
use crate::config::yaml::Place;

const MARK: &str = "balehook:";
const VERB: &str = "allow";

/// A word of a comment, where a rule's name is expected.
type Word<'a> = (&'a str, Place);

/// Takes away the warnings that comments of `text` allow. Errors stay.
pub(crate) fn apply(text: &str, problems: &Problems) {
    let mut allowed: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (line, words) in comments(text) {
        allowed.entry(line).or_default().extend(words.iter().map(|(name, _)| *name));
    }
    if !allowed.is_empty() {
        problems.drop_warnings(|problem| {
            let names = allowed.get(&problem.place.line.max(1));
            names.is_some_and(|names| names.contains(&problem.rule.name))
        });
    }
}

/// Warns of names that no rule has.
pub(crate) fn check(text: &str, problems: &Problems) {
    let known: Vec<&str> = all().iter().map(|rule| rule.name).collect();
    for (name, place) in comments(text).into_iter().flat_map(|(_, words)| words) {
        if find(name).is_none() {
            let help = match nearest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`balehook explain` lists the rules".to_owned(),
            };
            problems.warning(UNKNOWN_RULE, place, "", format!("`{name}` is no rule, so nothing is allowed"), help);
        }
    }
}

/// The words behind each `# balehook: allow`, with the line that they are meant for.
fn comments(text: &str) -> Vec<(usize, Vec<Word<'_>>)> {
    let lines: Vec<&str> = text.lines().collect();
    let each = lines.iter().enumerate().filter_map(|(index, line)| {
        let (start, words) = comment(line, index + 1)?;
        let is_alone = line[..start].trim().is_empty();
        let below = || lines[index + 1..].iter().position(|line| !is_blank(line)).map(|ahead| index + 2 + ahead);
        let meant = if is_alone { below()? } else { index + 1 };
        Some((meant, words))
    });
    each.collect()
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#')
}

/// Where the comment begins, and its words.
fn comment(line: &str, number: usize) -> Option<(usize, Vec<Word<'_>>)> {
    let begins = |at: &usize| *at == 0 || line[..*at].ends_with(char::is_whitespace);
    let starts = line.match_indices('#').map(|(at, _)| at).filter(begins);
    starts.into_iter().find_map(|start| {
        let rest = line[start + 1..].trim_start().strip_prefix(MARK)?.trim_start().strip_prefix(VERB)?;
        let rest = rest.strip_prefix(char::is_whitespace)?;
        let names = rest
            .split([',', ' ', '\t'])
            .take_while(|word| !word.starts_with(['#', '(']))
            .filter(|word| !word.is_empty());
        let place = |word: &str| {
            let at = word.as_ptr() as usize - line.as_ptr() as usize;
            Place { line: number, column: line[..at].chars().count() + 1 }
        };
        Some((start, names.map(|word| (word, place(word))).collect()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::rules::{MOVING_TAG, PRIVILEGED};

    /// The rules of the warnings in line 1, 2, … that stay.
    fn left(text: &str) -> Vec<(usize, &'static str)> {
        let problems = Problems::new();
        for line in 1..=text.lines().count() {
            for rule in [MOVING_TAG, PRIVILEGED] {
                problems.warning(rule, Place { line, column: 1 }, "", "w", "");
            }
        }
        apply(text, &problems);
        assert_eq!(problems.sorted().len(), problems.warnings());
        problems.sorted().into_iter().map(|problem| (problem.place.line, problem.rule.name)).collect()
    }

    #[test]
    fn a_comment_silences_its_own_line_and_one_that_stands_alone_the_next_line() {
        assert_eq!(
            left("image: web # balehook: allow moving-tag\na: b"),
            [(1, "privileged"), (2, "moving-tag"), (2, "privileged")]
        );
        let above = "# balehook: allow moving-tag, privileged (the vendor has no others)\n# why\n\nimage: web";
        assert_eq!(left(above).iter().filter(|(line, _)| *line == 4).count(), 0);
        assert_eq!(left(above).len(), 6);
        assert_eq!(left("image: web#balehook: allow moving-tag").len(), 2, "that is no comment");
        assert_eq!(left("image: web # see balehook: allow moving-tag").len(), 2);
    }

    #[test]
    fn an_error_is_never_silenced() {
        let problems = Problems::new();
        problems.broken(PRIVILEGED, Place { line: 1, column: 1 }, "", "e", "");
        apply("a: b # balehook: allow privileged", &problems);
        assert_eq!((problems.errors(), problems.sorted().len()), (1, 1));
    }

    #[test]
    fn a_name_that_no_rule_has_is_a_warning_at_its_place() {
        let problems = Problems::new();
        check("é: b # balehook: allow moving-tag, movin-tag\n# balehook: allow zebra\n#", &problems);
        assert_eq!(problems.warnings(), 1, "a comment that is for no line is not looked at");
        let found = problems.sorted().into_iter().next().unwrap();
        assert_eq!((found.place, found.rule), (Place { line: 1, column: 36 }, UNKNOWN_RULE));
        assert_eq!(found.help.as_deref(), Some("did you mean `moving-tag`?"));
    }
}
