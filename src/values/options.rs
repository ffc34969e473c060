//! Options as names and values that a person reads, and how they differ.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::values::secret::HIDDEN;
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
    /// The value that the engine is given.
    pub(crate) fn whole(&self) -> &str {
        self.hidden.as_ref().map_or(&self.value, |hidden| hidden.value.reveal())
    }

    /// Whether the engine is given the same value. Of one that was fetched its salted digest is known.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let secret = |option: &Self| match &option.hidden {
            Some(hidden) => hidden.value.clone(),
            None => Secret::new(&*option.value),
        };
        secret(self).is_same(&secret(other))
    }

    /// What is printed: of what stands in appspec.yml the value itself, where that is asked for.
    pub fn printed(&self, show_values: bool) -> &str {
        match &self.hidden {
            Some(hidden) if show_values && !hidden.from_file => hidden.value.reveal(),
            _ => &self.value,
        }
    }
}

/// An option of which a plan makes something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OptionChange {
    pub(crate) kind: ChangeKind,
    /// The service of a Compose project.
    pub(crate) service: Option<String>,
    /// As in the Compose specification, with the key of an entry: `environment.LOG_LEVEL`.
    pub(crate) name: String,
    /// The value before, where it was set and may be shown.
    pub(crate) was: Option<String>,
    /// The value afterwards, where it is set and may be shown.
    pub(crate) becomes: Option<String>,
    /// A value is not shown, or only in part.
    pub(crate) is_sensitive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeKind {
    Add,
    Change,
    Remove,
}

/// Options with entries, the keys of which are the user's own.
const KEYED: [&str; 8] = [
    "environment", "labels", "deploy.labels", "annotations", "sysctls", "storage_opt", "logging.options", "driver_opts",
];

/// Options whose value is a digest: that it is another one is all that a person reads of it.
const DIGESTS: [&str; 2] = ["content of ", "definition of "];

impl OptionChange {
    /// What differs between two options of one name, of which one may not be set.
    fn between(old: Option<&SetOption>, new: Option<&SetOption>) -> Option<Self> {
        let (kind, name) = match (old, new) {
            (None, Some(new)) => (ChangeKind::Add, &new.name),
            (Some(old), Some(_)) => (ChangeKind::Change, &old.name),
            (Some(old), None) => (ChangeKind::Remove, &old.name),
            (None, None) => return None,
        };
        let is_digest = DIGESTS.iter().any(|begin| name.starts_with(begin));
        let looks_the_same = old.map(|old| &old.value) == new.map(|new| &new.value);
        let shown = |option: Option<&SetOption>| {
            let value = option.map(|option| option.value.clone());
            value.filter(|value| !is_digest && !looks_the_same && value != HIDDEN)
        };
        let is_sensitive = old.into_iter().chain(new).any(|option| option.hidden.is_some());
        let (was, becomes) = (shown(old), shown(new));
        Some(Self { kind, service: None, name: name.clone(), was, becomes, is_sensitive })
    }

    /// The way back.
    pub(crate) fn reversed(self) -> Self {
        let kind = match self.kind {
            ChangeKind::Add => ChangeKind::Remove,
            ChangeKind::Change => ChangeKind::Change,
            ChangeKind::Remove => ChangeKind::Add,
        };
        Self { kind, was: self.becomes, becomes: self.was, ..self }
    }

    /// The option's name, and the key of the entry where it has entries: `environment` and `LOG_LEVEL`.
    pub(crate) fn option_and_key(&self) -> (&str, Option<&str>) {
        let key_of = |option: &&str| self.name.strip_prefix(*option).and_then(|rest| rest.strip_prefix('.'));
        match KEYED.into_iter().find_map(|option| Some((option, key_of(&option)?))) {
            Some((option, key)) => (option, Some(key)),
            None => (&self.name, None),
        }
    }
}

/// What differs, by name, the image first. Labels of balehook's own are left out: they differ in every deployment.
pub(crate) fn changes(old: &[SetOption], new: &[SetOption]) -> Vec<OptionChange> {
    changes_but(old, new, |_| false)
}

/// The same; an old option that was `given`, and chosen by no one, counts as one that was not set.
pub(crate) fn changes_but(
    old: &[SetOption],
    new: &[SetOption],
    given: impl Fn(&SetOption) -> bool,
) -> Vec<OptionChange> {
    let pairs = differences(old, new).into_iter().map(|(old, new)| (old.filter(|old| !given(old)), new));
    let mut changes: Vec<_> = pairs.filter_map(|(old, new)| OptionChange::between(old, new)).collect();
    changes.sort_by_key(|change| change.name != "image");
    changes
}

/// Options that are set otherwise, or on one side alone.
pub(crate) fn differences<'a>(old: &'a [SetOption], new: &'a [SetOption]) -> Vec<Difference<'a>> {
    let names: BTreeSet<&str> = old.iter().chain(new).map(|option| option.name.as_str()).collect();
    names.into_iter().filter(|name| !is_own(name)).flat_map(|name| differences_of(name, old, new)).collect()
}

pub(crate) type Difference<'a> = (Option<&'a SetOption>, Option<&'a SetOption>);

/// Whether it is a label of balehook's own.
pub(crate) fn is_own(name: &str) -> bool {
    name.contains("labels.balehook.")
}

/// Of several values only those that differ; one old and one new value belong together.
fn differences_of<'a>(name: &str, old: &'a [SetOption], new: &'a [SetOption]) -> Vec<Difference<'a>> {
    let is_in = |all: &[SetOption], option: &SetOption| {
        all.iter().any(|other| other.name == option.name && other.is_same(option))
    };
    let gone: Vec<_> = old.iter().filter(|option| option.name == name && !is_in(new, option)).collect();
    let come: Vec<_> = new.iter().filter(|option| option.name == name && !is_in(old, option)).collect();
    match (gone.as_slice(), come.as_slice()) {
        ([gone], [come]) => vec![(Some(*gone), Some(*come))],
        _ => {
            let gone = gone.into_iter().map(|option| (Some(option), None));
            gone.chain(come.into_iter().map(|option| (None, Some(option)))).collect()
        }
    }
}

/// One line for each option, names and values in columns.
pub fn table(options: &[SetOption], show_values: bool) -> Vec<String> {
    let width = options.iter().map(|option| option.name.chars().count()).max().unwrap_or_default();
    options.iter().map(|option| format!("{:width$}  {}", option.name, option.printed(show_values))).collect()
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

    fn change(kind: ChangeKind, name: &str, was: Option<&str>, becomes: Option<&str>) -> OptionChange {
        let (was, becomes) = (was.map(str::to_owned), becomes.map(str::to_owned));
        OptionChange { kind, service: None, name: name.into(), was, becomes, is_sensitive: false }
    }

    #[test]
    fn changes_name_the_old_and_the_new_value_and_of_several_values_only_those_that_differ_the_image_first() {
        let old = set(&[
            ("hostname", "a"),
            ("image", "web:1"),
            ("ports", "80:80"),
            ("ports", "81:81"),
            ("labels.balehook.spec", "1"),
            ("user", "u"),
        ]);
        let new = set(&[
            ("content of /etc/app.conf", "0123456789ab"),
            ("hostname", "b"),
            ("image", "web:2"),
            ("ports", "80:80"),
            ("ports", "82:82"),
            ("labels.balehook.spec", "2"),
            ("tty", "true"),
        ]);
        assert_eq!(
            changes(&old, &new),
            [
                change(ChangeKind::Change, "image", Some("web:1"), Some("web:2")),
                change(ChangeKind::Add, "content of /etc/app.conf", None, None),
                change(ChangeKind::Change, "hostname", Some("a"), Some("b")),
                change(ChangeKind::Change, "ports", Some("81:81"), Some("82:82")),
                change(ChangeKind::Add, "tty", None, Some("true")),
                change(ChangeKind::Remove, "user", Some("u"), None),
            ]
        );
        assert_eq!(
            table(&new, false),
            [
                "content of /etc/app.conf  0123456789ab",
                "hostname                  b",
                "image                     web:2",
                "ports                     80:80",
                "ports                     82:82",
                "labels.balehook.spec      2",
                "tty                       true",
            ]
        );
    }

    #[test]
    fn a_hidden_value_that_is_another_one_is_a_change_and_stays_hidden() {
        assert_eq!(changes(&[hidden("hunter1")], &[hidden("hunter1")]), []);
        let plain = SetOption { value: "hunter1".into(), hidden: None, ..hidden("hunter1") };
        assert_eq!(changes(&[hidden("hunter1")], &[plain]), [], "the same value from elsewhere");
        let sensitive = |kind| OptionChange { is_sensitive: true, ..change(kind, "environment.KEY", None, None) };
        let (one, other) = ([hidden("hunter1")], [hidden("hunter2")]);
        assert_eq!(changes(&one, &other), [sensitive(ChangeKind::Change)]);
        assert_eq!(changes(&one, &[]), [sensitive(ChangeKind::Remove)]);
        assert_eq!(changes(&[], &other), [sensitive(ChangeKind::Add)]);
        let words = |shown: &str, whole| SetOption { name: "command".into(), value: shown.into(), ..hidden(whole) };
        let changed = changes(&[words("a --key=***", "a --key=hunter1")], &[words("b --key=***", "b --key=hunter2")]);
        let wanted = change(ChangeKind::Change, "command", Some("a --key=***"), Some("b --key=***"));
        assert_eq!(changed, [OptionChange { is_sensitive: true, ..wanted }]);
        assert!(!format!("{:?} {:?}", changes(&one, &other), hidden("hunter2")).contains("hunter"));
    }

    #[test]
    fn an_entry_has_a_key_where_keys_are_the_users_own() {
        let split = |name: &str| {
            let change = change(ChangeKind::Add, name, None, None);
            let (option, key) = change.option_and_key();
            (option.to_owned(), key.unwrap_or("-").to_owned())
        };
        assert_eq!(split("environment.A.B"), ("environment".into(), "A.B".into()));
        assert_eq!(split("deploy.labels.team"), ("deploy.labels".into(), "team".into()));
        assert_eq!(split("deploy.replicas"), ("deploy.replicas".into(), "-".into()));
        assert_eq!(split("environment"), ("environment".into(), "-".into()));
    }

    #[test]
    fn who_asks_for_it_is_shown_what_stands_in_the_file_in_plain_text_and_never_what_comes_from_elsewhere() {
        let mut option = hidden("hunter2");
        assert_eq!(table(&[option.clone()], true), ["environment.KEY  hunter2"]);
        option.hidden.iter_mut().for_each(|hidden| hidden.from_file = true);
        assert_eq!(table(&[option], true), ["environment.KEY  ***"]);
    }
}
