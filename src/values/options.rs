//! Options as names and values that a person reads, and how they differ.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::values::types::Secret;

/// An option that is set; an option with several values comes several times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SetOption {
    /// As in the Compose specification: `mem_limit`, `environment.LOG_LEVEL`, `deploy.replicas`.
    pub(crate) name: String,
    /// The value; `***` where it is hidden.
    pub value: String,
    /// What the hidden value is: it counts where options are compared.
    #[serde(skip)]
    pub hidden: Option<Hidden>,
}

/// A value that is not shown, or only in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// The whole value.
    pub value: Secret,
    /// It comes from a file, and is never shown; any other one stands in plain text in appspec.yml.
    pub from_file: bool,
}

impl SetOption {
    /// What is printed: of what stands in appspec.yml the value itself, where that is asked for.
    pub fn printed(&self, show_values: bool) -> &str {
        match &self.hidden {
            Some(hidden) if show_values && !hidden.from_file => hidden.value.reveal(),
            _ => &self.value,
        }
    }
}

/// An option whose value is another one than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ChangedOption {
    pub(crate) name: String,
    /// The value before; `None` where it was not set.
    pub(crate) old: Option<String>,
    /// The value now; `None` where it is not set any more.
    pub(crate) new: Option<String>,
}

/// What differs, by name. Labels of balehook's own are left out: they differ in every deployment.
pub(crate) fn changes(old: &[SetOption], new: &[SetOption]) -> Vec<ChangedOption> {
    let is_own = |name: &str| name.contains("labels.balehook.");
    let names: BTreeSet<&str> = old.iter().chain(new).map(|option| option.name.as_str()).collect();
    names.into_iter().filter(|name| !is_own(name)).flat_map(|name| changes_of(name, old, new)).collect()
}

/// Of several values only those that differ; one old and one new value belong together.
fn changes_of(name: &str, old: &[SetOption], new: &[SetOption]) -> Vec<ChangedOption> {
    let only_in = |these: &[SetOption], those: &[SetOption]| {
        let only = these.iter().filter(|option| option.name == name && !those.contains(option));
        only.map(|option| Some(option.value.clone())).collect::<Vec<_>>()
    };
    let changed = |old, new| ChangedOption { name: name.to_owned(), old, new };
    let (gone, come) = (only_in(old, new), only_in(new, old));
    match (gone.as_slice(), come.as_slice()) {
        ([gone], [come]) => vec![changed(gone.clone(), come.clone())],
        _ => {
            let gone = gone.into_iter().map(|value| changed(value, None));
            gone.chain(come.into_iter().map(|value| changed(None, value))).collect()
        }
    }
}

/// One line for each option, names and values in columns; behind a value that has changed what it was.
pub fn table(options: &[SetOption], changes: &[ChangedOption], show_values: bool) -> Vec<String> {
    let mut lines: Vec<(&str, String)> = Vec::new();
    for option in options {
        let SetOption { name, value, .. } = option;
        let change = changes.iter().find(|change| change.name == *name && change.new.as_ref() == Some(value));
        let mark = change.map_or(String::new(), |change| mark(change.old.as_deref()));
        lines.push((name, format!("{}{mark}", option.printed(show_values))));
    }
    let gone = changes.iter().filter(|change| change.new.is_none());
    lines.extend(gone.map(|change| (&*change.name, format!("not set{}", mark(change.old.as_deref())))));
    lines.sort_by_key(|(name, _)| *name);
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    lines.into_iter().map(|(name, text)| format!("{name:width$}  {text}")).collect()
}

fn mark(old: Option<&str>) -> String {
    old.map_or("  <- new".to_owned(), |old| format!("  <- was {old}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(options: &[(&str, &str)]) -> Vec<SetOption> {
        let one =
            |(name, value): &(&str, &str)| SetOption { name: (*name).into(), value: (*value).into(), hidden: None };
        options.iter().map(one).collect()
    }

    fn hidden(value: &str) -> SetOption {
        let hidden = Hidden { value: Secret::new(value), from_file: false };
        SetOption { name: "environment.KEY".into(), value: "***".into(), hidden: Some(hidden) }
    }

    #[test]
    fn changes_name_the_old_and_the_new_value_and_of_several_values_only_those_that_differ() {
        let old = set(&[
            ("hostname", "a"),
            ("ports", "80:80"),
            ("ports", "81:81"),
            ("labels.balehook.spec", "1"),
            ("user", "u"),
        ]);
        let new = set(&[
            ("hostname", "b"),
            ("ports", "80:80"),
            ("ports", "82:82"),
            ("labels.balehook.spec", "2"),
            ("tty", "true"),
        ]);
        let changes = changes(&old, &new);
        let change = |name: &str, old: Option<&str>, new: Option<&str>| ChangedOption {
            name: name.into(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        };
        assert_eq!(
            changes,
            [
                change("hostname", Some("a"), Some("b")),
                change("ports", Some("81:81"), Some("82:82")),
                change("tty", None, Some("true")),
                change("user", Some("u"), None),
            ]
        );
        assert_eq!(
            table(&new, &changes, false),
            [
                "hostname              b  <- was a",
                "labels.balehook.spec  2",
                "ports                 80:80",
                "ports                 82:82  <- was 81:81",
                "tty                   true  <- new",
                "user                  not set  <- was u",
            ]
        );
    }

    #[test]
    fn a_hidden_value_that_is_another_one_is_a_change_and_stays_hidden() {
        assert_eq!(changes(&[hidden("hunter1")], &[hidden("hunter1")]), []);
        let changes = changes(&[hidden("hunter1")], &[hidden("hunter2")]);
        assert_eq!(table(&[hidden("hunter2")], &changes, false), ["environment.KEY  ***  <- was ***"]);
        assert!(!format!("{changes:?} {:?}", hidden("hunter2")).contains("hunter"));
    }

    #[test]
    fn who_asks_for_it_is_shown_what_stands_in_the_file_in_plain_text_and_never_what_comes_from_elsewhere() {
        let mut option = hidden("hunter2");
        assert_eq!(table(&[option.clone()], &[], true), ["environment.KEY  hunter2"]);
        option.hidden.iter_mut().for_each(|hidden| hidden.from_file = true);
        assert_eq!(table(&[option], &[], true), ["environment.KEY  ***"]);
    }
}
