//! Problems of a file: collected, never thrown one by one.

use crate::input::yaml::Place;

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing can be deployed.
    Error,
    /// It works here; it will surprise somebody, or another agent.
    Warning,
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where the offending key or value starts.
    pub place: Place,
    /// The path of keys, as `x-balehook.container.ports[0]`.
    pub path: String,
    /// What is wrong, with the offending value.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// All problems found so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an error.
    pub fn error(&mut self, place: Place, path: &str, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.push(Severity::Error, place, path, message.into(), help.into());
    }

    /// Adds a warning.
    pub fn warning(&mut self, place: Place, path: &str, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.push(Severity::Warning, place, path, message.into(), help.into());
    }

    fn push(&mut self, severity: Severity, place: Place, path: &str, message: String, help: Option<String>) {
        self.0.push(Problem { severity, place, path: path.to_owned(), message, help });
    }

    /// Whether anything forbids a deployment.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// How many forbid a deployment.
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// Nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the file's order.
    pub fn sorted(&self) -> Vec<&Problem> {
        let mut all: Vec<&Problem> = self.0.iter().collect();
        all.sort_by_key(|problem| problem.place);
        all
    }
}

/// The known name nearest to `given`, where one is near enough to be meant.
pub fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&given.to_lowercase(), &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= 1.max(name.chars().count() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
