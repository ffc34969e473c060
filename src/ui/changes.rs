//! What a plan changes of the options of what serves, a line for each.

use crate::modes::operation::Plan;
use crate::values::options::{ChangeKind, OptionChange};

/// Names are as wide as this at most, before what becomes of them.
const NAME: usize = 40;

/// What a line begins with, and what became of a value that is not shown.
const fn words(kind: ChangeKind) -> (char, &'static str) {
    match kind {
        ChangeKind::Add => ('+', "added"),
        ChangeKind::Change => ('~', "changed"),
        ChangeKind::Remove => ('-', "removed"),
    }
}

pub(crate) const fn mark(kind: ChangeKind) -> char {
    words(kind).0
}

/// The heading, and the changes below it, those of a Compose project by service.
pub(crate) fn lines(plan: &Plan) -> Vec<String> {
    let Some(with) = &plan.compared_with else { return Vec::new() };
    if plan.changed_options.is_empty() {
        return vec![format!("  compared with {with}: no option changes")];
    }
    let mut lines = vec![format!("  changes, compared with {with}:")];
    lines.extend(rows(&plan.changed_options));
    lines
}

/// A line for each, those of a service below its name.
pub(crate) fn rows(changes: &[OptionChange]) -> Vec<String> {
    let mut lines = Vec::new();
    for of_service in changes.chunk_by(|one, other| one.service == other.service) {
        let service = of_service.first().and_then(|change| change.service.as_ref());
        let indent = if service.is_some() { 4 } else { 2 };
        lines.extend(service.map(|service| format!("  {service}:")));
        let width = of_service.iter().map(|change| name(change).chars().count()).filter(|width| *width <= NAME).max();
        lines.extend(of_service.iter().map(|change| line(change, indent, width.unwrap_or_default())));
    }
    lines
}

fn line(change: &OptionChange, indent: usize, width: usize) -> String {
    let text = format!("{:indent$}{} {:width$}  {}", "", mark(change.kind), name(change), what(change));
    text.trim_end().to_owned()
}

/// `environment LOG_LEVEL`.
pub(crate) fn name(change: &OptionChange) -> String {
    let (option, key) = change.option_and_key();
    key.map_or_else(|| option.to_owned(), |key| format!("{option} {key}"))
}

/// `512M → 1G`, `(sensitive, changed)`.
pub(crate) fn what(change: &OptionChange) -> String {
    let sensitive = if change.is_sensitive { " (sensitive)" } else { "" };
    match (&change.was, &change.becomes) {
        (Some(was), Some(becomes)) => format!("{was} → {becomes}{sensitive}"),
        (Some(value), None) | (None, Some(value)) if change.kind != ChangeKind::Change => format!("{value}{sensitive}"),
        _ if change.is_sensitive => format!("(sensitive, {})", words(change.kind).1),
        _ if change.kind == ChangeKind::Change => "(changed)".to_owned(),
        _ => String::new(),
    }
}
