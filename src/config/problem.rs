//! Problems of a file: collected, never thrown one by one.

use std::cell::{Cell, RefCell};

use crate::config::rules::{INVALID_VALUE, Rule};
use crate::config::yaml::Place;
use crate::values::secret::masked;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Nothing can be deployed.
    Error,
    /// It works here, and may not be what was meant, or not work with another agent.
    Warning,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) rule: Rule,
    pub(crate) severity: Severity,
    /// Where the offending key or value starts.
    pub(crate) place: Place,
    /// The path of keys, as `x-balehook.container.ports[0]`.
    pub(crate) path: String,
    /// What is wrong, with the offending value.
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// Most problems that are kept: a file that is garbage must not fill the memory.
const MOST: usize = 1000;

/// Longest message, in characters: an offending value may be as long as the file.
const LONGEST: usize = 400;

/// The same of a help: ours, and it may list every key that there is.
const LONGEST_HELP: usize = 1000;

/// All problems found so far; beyond the first thousand they are only counted. Every reader of a file shares the one list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    kept: RefCell<Vec<Problem>>,
    errors: Cell<usize>,
    warnings: Cell<usize>,
}

impl Problems {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an error of a value; an empty `help` is none.
    pub(crate) fn error(&self, place: Place, path: &str, message: impl Into<String>, help: impl AsRef<str>) {
        self.broken(INVALID_VALUE, place, path, message, help);
    }

    /// Adds an error of a rule.
    pub(crate) fn broken(
        &self,
        rule: Rule,
        place: Place,
        path: &str,
        message: impl Into<String>,
        help: impl AsRef<str>,
    ) {
        self.errors.update(|count| count + 1);
        self.keep(Severity::Error, rule, (place, path), message.into(), help.as_ref());
    }

    /// Adds a warning; an empty `help` is none.
    pub(crate) fn warning(
        &self,
        rule: Rule,
        place: Place,
        path: &str,
        message: impl Into<String>,
        help: impl AsRef<str>,
    ) {
        self.warnings.update(|count| count + 1);
        self.keep(Severity::Warning, rule, (place, path), message.into(), help.as_ref());
    }

    fn keep(&self, severity: Severity, rule: Rule, (place, path): (Place, &str), message: String, help: &str) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < MOST {
            let (path, message) = (shortened(path, LONGEST), masked(&shortened(&message, LONGEST)));
            let help = (!help.is_empty()).then(|| shortened(help, LONGEST_HELP));
            kept.push(Problem { rule, severity, place, path, message, help });
        }
    }

    /// Makes errors of the warnings of a rule.
    pub(crate) fn raise(&self, rule: Rule) {
        let mut kept = self.kept.borrow_mut();
        for problem in kept.iter_mut().filter(|problem| problem.rule == rule) {
            if problem.severity == Severity::Warning {
                problem.severity = Severity::Error;
                self.warnings.update(|count| count - 1);
                self.errors.update(|count| count + 1);
            }
        }
    }

    /// Takes away the warnings of which that is true.
    pub(crate) fn drop_warnings(&self, is_allowed: impl Fn(&Problem) -> bool) {
        let mut kept = self.kept.borrow_mut();
        let before = kept.len();
        kept.retain(|problem| problem.severity == Severity::Error || !is_allowed(problem));
        self.warnings.update(|count| count - (before - kept.len()));
    }

    /// Whether anything forbids a deployment.
    pub fn has_errors(&self) -> bool {
        self.errors.get() > 0
    }

    pub(crate) fn errors(&self) -> usize {
        self.errors.get()
    }

    pub(crate) fn warnings(&self) -> usize {
        self.warnings.get()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.errors() + self.warnings() == 0
    }

    /// Those that were kept, in the file's order.
    pub(crate) fn sorted(&self) -> Vec<Problem> {
        let mut all = self.kept.borrow().clone();
        all.sort_by_key(|problem| problem.place);
        all
    }
}

fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The known name nearest to `given`, where one is near enough to be meant.
pub(crate) fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let reach = |name: &str| 1.max(name.chars().count() / 3);
    known
        .iter()
        .filter(|name| given.len().abs_diff(name.len()) <= reach(name) * 4) // cheap; a letter has at most 4 bytes
        .map(|name| (strsim::damerau_levenshtein(&given.to_lowercase(), &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= reach(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Place = Place { line: 1, column: 1 };

    #[test]
    fn a_file_of_garbage_keeps_a_thousand_problems_and_counts_all() {
        let problems = Problems::new();
        (0..1500).for_each(|_| problems.warning(INVALID_VALUE, START, "", "w", ""));
        problems.error(START, "", "e", "");
        assert_eq!((problems.sorted().len(), problems.warnings(), problems.errors()), (1000, 1500, 1));
        assert!(problems.has_errors());
    }

    #[test]
    fn a_message_with_an_endless_value_is_cut_between_letters() {
        let problems = Problems::new();
        problems.error(START, "", "é".repeat(10_000), "");
        assert_eq!(problems.sorted()[0].message.chars().count(), 401);
    }

    #[test]
    fn a_name_that_is_far_from_every_known_one_has_no_nearest() {
        assert_eq!(nearest("zebra", &["ports", "image"]), None);
        assert_eq!(nearest(&"k".repeat(1_000_000), &["ports"]), None);
        assert_eq!(nearest("", &["ports"]), None);
    }

    #[test]
    fn a_slip_of_the_pen_finds_the_name_that_was_meant() {
        for (given, meant) in [("prots", "ports"), ("PORTS", "ports"), ("port", "ports"), ("enviroment", "environment")]
        {
            assert_eq!(nearest(given, &["image", "environment", "ports"]), Some(meant));
        }
    }
}
