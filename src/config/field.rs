//! Reading values from nodes, with a problem for each that is wrong.

use std::collections::HashMap;

use crate::config::keys::{Keys, meant};
use crate::config::problem::Problems;
use crate::config::rules::{MISSING_KEY, Rule};
use crate::config::service::words;
use crate::config::yaml::{Node, Value};
use crate::values::types::Refused;
use crate::values::{bytes, duration};

/// A value with its path, and where problems go.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
    pub(crate) problems: &'a Problems,
}

impl<'a> Field<'a> {
    /// The value of an inner key or item.
    pub(crate) fn inner(&self, node: &'a Node, name: &str) -> Self {
        let path = if name.starts_with('[') { format!("{}{name}", self.path) } else { join(&self.path, name) };
        Self { node, path, problems: self.problems }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Self> {
        self.node.get(key).map(|(_, value)| self.inner(value, key))
    }

    /// The value of a key that is there and not null.
    pub(crate) fn given(&self, key: &str) -> Option<Self> {
        self.get(key).filter(|value| !value.node.is_null())
    }

    /// The key itself: a problem of it has its place.
    pub(crate) fn key(&self, key: &str) -> Option<Self> {
        self.node.get(key).map(|(node, _)| self.inner(node, key))
    }

    /// A key that the mapping lacks: a problem of it has the mapping's place.
    pub(crate) fn lacking(&self, key: &str) -> Self {
        self.inner(self.node, key)
    }

    /// The text of a key's value.
    pub(crate) fn text_of(&self, key: &str) -> Option<&'a str> {
        self.node.get(key).and_then(|(_, value)| value.as_text())
    }

    /// The items of a list, each with its own path; none where it is no list.
    pub(crate) fn each(&self) -> impl Iterator<Item = Self> {
        let items = self.node.as_sequence().unwrap_or_default().iter().enumerate();
        items.map(|(index, item)| self.inner(item, &format!("[{index}]")))
    }

    /// Reports what is wrong with the value; an empty `help` is none.
    pub(crate) fn error(&self, message: impl Into<String>, help: impl AsRef<str>) {
        self.problems.error(self.node.place, &self.path, message, help);
    }

    /// Reports an error of a rule.
    pub(crate) fn broken(&self, rule: Rule, message: impl Into<String>, help: impl AsRef<str>) {
        self.problems.broken(rule, self.node.place, &self.path, message, help);
    }

    /// Reports a warning.
    pub(crate) fn warning(&self, rule: Rule, message: impl Into<String>, help: impl AsRef<str>) {
        self.problems.warning(rule, self.node.place, &self.path, message, help);
    }

    /// The same as [`Self::error`], for a reader that has no value then.
    pub(crate) fn refuse<T>(&self, message: impl Into<String>, help: impl AsRef<str>) -> Option<T> {
        self.error(message, help);
        None
    }

    /// The same of a key that must be there.
    pub(crate) fn lacks<T>(&self, message: impl Into<String>, help: impl AsRef<str>) -> Option<T> {
        self.broken(MISSING_KEY, message, help);
        None
    }

    fn wrong_kind<T>(&self, wanted: &str) -> Option<T> {
        self.refuse(format!("expected {wanted}, not {}", self.node.describe()), "")
    }

    pub(crate) fn text(&self) -> Option<String> {
        match self.node.as_text() {
            Some(text) => Some(text.to_owned()),
            None => self.wrong_kind("a string"),
        }
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        self.node.as_bool().or_else(|| self.wrong_kind("`true` or `false`"))
    }

    /// A whole number of at least `least`.
    pub(crate) fn integer(&self, least: i64) -> Option<i64> {
        match self.node.as_i64() {
            Some(value) if value >= least => Some(value),
            Some(value) => self.refuse(format!("`{value}` is too small"), format!("write a whole number from {least}")),
            None => self.wrong_kind("a whole number"),
        }
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn within(&self, least: i64, most: i64) -> Option<i64> {
        match self.integer(least)? {
            value if value <= most => Some(value),
            value => self.refuse(format!("`{value}` is too large"), format!("write a whole number to {most}")),
        }
    }

    /// How many: a whole number from 0.
    pub(crate) fn count(&self) -> Option<u64> {
        self.integer(0).and_then(|count| u64::try_from(count).ok())
    }

    /// A number of at least 0.
    pub(crate) fn number(&self) -> Option<f64> {
        match self.node.as_f64() {
            Some(value) if value >= 0.0 => Some(value),
            _ => self.wrong_kind("a number from 0"),
        }
    }

    /// A size in bytes.
    pub(crate) fn size(&self) -> Option<i64> {
        self.parsed(bytes::parse)
    }

    /// A duration in nanoseconds.
    pub(crate) fn nanoseconds(&self) -> Option<i64> {
        self.duration().and_then(|duration| i64::try_from(duration.as_nanos()).ok())
    }

    pub(crate) fn duration(&self) -> Option<std::time::Duration> {
        self.parsed(duration::parse)
    }

    /// A text that a parser accepts.
    pub(crate) fn parsed<T>(&self, parse: impl Fn(&str) -> Result<T, Refused>) -> Option<T> {
        let text = self.text()?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(Refused(why)) => self.refuse(format!("`{text}` {why}"), ""),
        }
    }

    /// One of some texts.
    pub(crate) fn one_of(&self, known: &[&'static str]) -> Option<&'static str> {
        let text = self.text()?;
        let found = known.iter().find(|known| **known == text).copied();
        found.or_else(|| self.refuse(format!("`{text}` is not known"), meant(&text, "write one of", known)))
    }

    /// The items of a list, each read by itself.
    pub(crate) fn items<T>(&self, mut read: impl FnMut(&Self) -> Option<T>) -> Vec<T> {
        if self.node.as_sequence().is_none() {
            self.wrong_kind::<()>("a list");
        }
        self.each().filter_map(|item| read(&item)).collect()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.items(Self::text)
    }

    pub(crate) fn text_or_texts(&self) -> Vec<String> {
        match self.node.value {
            Value::Sequence(_) => self.texts(),
            _ => self.text().into_iter().collect(),
        }
    }

    /// A command: a list, or one text that is split as a POSIX shell splits words.
    pub(crate) fn command(&self) -> Vec<String> {
        match self.node.value {
            Value::Sequence(_) => self.texts(),
            _ => self.parsed(words).unwrap_or_default(),
        }
    }

    /// `KEY: value` entries, or a list of `KEY=value`; a key without a value gives `None`.
    pub(crate) fn pairs(&self) -> Vec<(String, Option<String>)> {
        match &self.node.value {
            Value::Mapping(_) => self.entries(|name, field| match field.node.is_null() {
                true => Some((name.to_owned(), None)),
                false => field.text().map(|value| (name.to_owned(), Some(value))),
            }),
            Value::Sequence(_) => self.items(|field| {
                let text = field.text()?;
                match text.split_once('=') {
                    Some((name, value)) if !name.is_empty() => Some((name.to_owned(), Some(value.to_owned()))),
                    None if !text.is_empty() => Some((text, None)),
                    _ => field.refuse(format!("`{text}` names nothing"), "write `NAME=value`"),
                }
            }),
            _ => self.wrong_kind("a mapping or a list of `NAME=value`").unwrap_or_default(),
        }
    }

    /// The same where every key must have a value; one without has the empty text.
    pub(crate) fn map(&self) -> HashMap<String, String> {
        self.pairs().into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()
    }

    /// Every entry of a mapping. Keys given twice are reported by the reader of the file.
    pub(crate) fn entries<T>(&self, mut read: impl FnMut(&str, &Self) -> Option<T>) -> Vec<T> {
        let Some(entries) = self.node.as_mapping() else { return self.wrong_kind("a mapping").unwrap_or_default() };
        let each = entries.iter();
        each.filter_map(|(key, value)| {
            let name = key.as_text().unwrap_or_default();
            read(name, &self.inner(value, name))
        })
        .collect()
    }

    /// Refuses keys of a mapping that are none of these.
    pub(crate) fn only(&self, known: &[&'static str]) {
        self.mapping(|keys| known.iter().for_each(|key| drop(keys.know(key))));
    }

    /// A mapping, by the keys that `read` asks for: any other one is refused.
    pub(crate) fn mapping<T>(&self, read: impl FnOnce(&mut Keys<'_, 'a>) -> T) -> T {
        let mut keys = Keys::of(self);
        let value = read(&mut keys);
        match self.node.as_mapping() {
            Some(entries) => entries.iter().for_each(|(key, _)| keys.refuse_unknown(key)),
            None => self.error(format!("expected a mapping, not {}", self.node.describe()), ""),
        }
        value
    }
}

/// Characters of a key that a path shows.
const LONGEST_KEY: usize = 64;

/// The path of an inner key; of a key as long as a page its beginning.
pub(crate) fn join(path: &str, name: &str) -> String {
    let name = name.char_indices().nth(LONGEST_KEY).map_or(name, |(end, _)| &name[..end]);
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
