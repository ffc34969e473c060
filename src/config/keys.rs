//! The keys of a mapping, known by being asked for.

use crate::config::field::Field;
use crate::config::hints;
use crate::config::problem::nearest;
use crate::config::rules::{NOT_FOR_A_DEPLOYMENT, UNKNOWN_KEY};
use crate::config::yaml::Node;
use crate::values::types::Refused;

/// The keys of a mapping that is being read. What is asked for is known.
pub(crate) struct Keys<'f, 'a> {
    field: &'f Field<'a>,
    known: Vec<&'static str>,
    /// Known too, and named in no help.
    unlisted: Vec<&'static str>,
}

impl<'f, 'a> Keys<'f, 'a> {
    pub(crate) fn of(field: &'f Field<'a>) -> Self {
        Self { field, known: Vec::new(), unlisted: Vec::new() }
    }

    /// A key that is read elsewhere.
    pub(crate) fn know(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.known.push(key);
        self.field.get(key)
    }

    /// A key that no help names.
    pub(crate) fn unlisted(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.unlisted.push(key);
        self.field.get(key)
    }

    /// What `read` makes of a key's value; `None` where the key is absent or the value is wrong.
    pub(crate) fn get<T>(&mut self, key: &'static str, read: impl FnOnce(&Field<'a>) -> Option<T>) -> Option<T> {
        self.know(key).and_then(|field| read(&field))
    }

    /// The same under either of two names; help names the first.
    pub(crate) fn either<T>(
        &mut self,
        key: &'static str,
        other: &'static str,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) -> Option<T> {
        let other = self.unlisted(other);
        self.know(key).or(other).and_then(|field| read(&field))
    }

    /// What `read` makes of a key's value; `None` where the key is absent.
    pub(crate) fn all<T>(&mut self, key: &'static str, read: impl FnOnce(&Field<'a>) -> T) -> Option<T> {
        self.know(key).map(|field| read(&field))
    }

    /// The same; the default where the key is absent or null.
    pub(crate) fn given<T: Default>(&mut self, key: &'static str, read: impl FnOnce(&Field<'a>) -> T) -> T {
        let field = self.know(key).filter(|field| !field.node.is_null());
        field.map(|field| read(&field)).unwrap_or_default()
    }

    /// A text that a parser accepts.
    pub(crate) fn parsed<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, Refused>) -> Option<T> {
        self.get(key, |field| field.parsed(parse))
    }

    /// One of some texts.
    pub(crate) fn one_of(&mut self, key: &'static str, known: &[&'static str]) -> Option<&'static str> {
        self.get(key, |field| field.one_of(known))
    }

    /// Refuses keys of Compose that mean nothing here, each with what to do instead.
    pub(crate) fn elsewhere(&mut self, keys: &[(&'static str, &str)]) {
        for (name, instead) in keys {
            self.unlisted.push(name);
            if let Some(key) = self.field.key(name) {
                key.broken(NOT_FOR_A_DEPLOYMENT, format!("`{name}` is not for a deployment"), instead);
            }
        }
    }

    /// Refuses those of `names` that were not read so far.
    pub(crate) fn refuse_others(&mut self, names: &[&'static str], instead: &str) {
        let others = names.iter().filter(|name| !self.known.contains(name) && !self.unlisted.contains(name));
        let others: Vec<_> = others.map(|name| (*name, instead)).collect();
        self.elsewhere(&others);
    }

    /// The keys that are known so far, in alphabetical order: in that order help names them.
    pub(crate) fn sorted(&mut self) -> &[&'static str] {
        self.known.sort_unstable();
        &self.known
    }

    pub(crate) fn refuse_unknown(&self, key: &'a Node) {
        let name = key.as_text().unwrap_or_default();
        if name.starts_with("x-") || self.known.contains(&name) || self.unlisted.contains(&name) {
            return;
        }
        let help = hints::of_key(self.field, name, &self.known);
        self.field.inner(key, name).broken(UNKNOWN_KEY, format!("unknown key `{name}`"), help);
    }
}

/// `did you mean …?`, or all that is known.
pub(crate) fn meant(given: &str, all: &str, known: &[&str]) -> String {
    match nearest(given, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{all} {}", known.join(", ")),
    }
}
