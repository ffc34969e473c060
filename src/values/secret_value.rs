//! A value that nothing prints, and that a release keeps as a reference where it was fetched.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::values::source::Source;
use crate::values::types::ContentDigest;

/// A value that is never printed: `Debug` shows `***`. Its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    value: Zeroizing<String>,
    reference: Option<Box<Reference>>,
}

/// Of a value that is fetched.
#[derive(Clone, PartialEq, Eq)]
struct Reference {
    source: Source,
    /// Salt and digest; empty before the value was ever there.
    digest: String,
    /// The value is there.
    is_fetched: bool,
}

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self { value: Zeroizing::new(value.into()), reference: None }
    }

    /// A value that is still to be fetched.
    pub fn of(source: Source) -> Self {
        Self::referring(source, String::new())
    }

    fn referring(source: Source, digest: String) -> Self {
        Self { value: Zeroizing::default(), reference: Some(Box::new(Reference { source, digest, is_fetched: false })) }
    }

    /// The same with the value that was fetched. A file keeps its digest with `salt`.
    #[must_use]
    pub(crate) fn fetched(source: Source, value: impl Into<String>, salt: &str) -> Self {
        let value = Zeroizing::new(value.into());
        let digest = salted(salt, &value);
        let reference = Reference { source, digest, is_fetched: true };
        Self { value, reference: Some(Box::new(reference)) }
    }

    /// The value itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.value
    }

    /// Where it is fetched.
    pub fn source(&self) -> Option<&Source> {
        self.reference.as_ref().map(|reference| &reference.source)
    }

    /// It was not fetched, or comes from a file, which has no value.
    pub fn is_missing(&self) -> bool {
        self.reference.as_ref().is_some_and(|reference| !reference.is_fetched)
    }

    /// The salt of the digest, where there is one.
    pub(crate) fn salt(&self) -> Option<&str> {
        self.reference.as_ref()?.digest.split_once(':').map(|(salt, _)| salt)
    }

    /// What tells one value from another in a digest of several: of a fetched one its own digest.
    pub(crate) fn compared(&self) -> &str {
        self.reference.as_ref().map_or(&self.value, |reference| &reference.digest)
    }

    /// Whether both are the same value, as far as is known of one that is not there.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self.is_missing(), other.is_missing()) {
            (false, false) => self.value == other.value,
            (true, true) => self.compared() == other.compared(),
            (true, false) => self.is_digest_of(other),
            (false, true) => other.is_digest_of(self),
        }
    }

    fn is_digest_of(&self, other: &Self) -> bool {
        self.salt().is_some_and(|salt| salted(salt, &other.value) == self.compared())
    }
}

fn salted(salt: &str, value: &str) -> String {
    format!("{salt}:{}", ContentDigest::of(format!("{salt}:{value}").as_bytes()).hex())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The form in the state directory, whose files are for their owner alone: the value itself, or where it is fetched.
/// Nothing that is printed goes through serde.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Value(String),
    Reference { from: Source, digest: String },
}

impl From<&Secret> for Stored {
    fn from(secret: &Secret) -> Self {
        match &secret.reference {
            None => Self::Value(secret.value.to_string()),
            Some(reference) => Self::Reference { from: reference.source.clone(), digest: reference.digest.clone() },
        }
    }
}

impl From<Stored> for Secret {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Value(value) => Self::new(value),
            Stored::Reference { from, digest } => Self::referring(from, digest),
        }
    }
}

/// Where there may be none.
pub(crate) mod stored {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::{Secret, Stored};

    pub(crate) fn serialize<S: Serializer>(value: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Stored::from).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<Stored>::deserialize(deserializer)?.map(Secret::from))
    }
}

/// The same of a value that is always there.
pub(crate) mod revealed {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::{Secret, Stored};

    pub(crate) fn serialize<S: Serializer>(value: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        Stored::from(value).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        Stored::deserialize(deserializer).map(Secret::from)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::values::types::EnvVar;

    fn source() -> Source {
        Source::Ssm { ssm: "/prod/db".parse().unwrap() }
    }

    fn saved(value: &str) -> Secret {
        let var = EnvVar { name: "DB".into(), value: Some(Secret::fetched(source(), value, "5a17")), hidden: true };
        let text = serde_json::to_string(&var).unwrap();
        assert!(!text.contains(value), "{text}");
        serde_json::from_str::<EnvVar>(&text).unwrap().value.unwrap()
    }

    #[test]
    fn a_file_has_where_a_value_is_fetched_and_its_salted_digest_and_never_the_value() {
        let saved = saved("hunter2");
        assert_eq!((saved.source(), saved.is_missing(), saved.reveal()), (Some(&source()), true, ""));
        assert_eq!(saved.salt(), Some("5a17"));
    }

    #[test]
    fn a_value_that_stands_in_appspec_yml_or_a_file_is_kept_as_before() {
        let var: EnvVar = serde_json::from_str(r#"{"name":"A","value":"b","hidden":false}"#).unwrap();
        assert_eq!(var.value.as_ref().map(Secret::reveal), Some("b"));
        assert_eq!(serde_json::to_string(&var).unwrap(), r#"{"name":"A","value":"b","hidden":false}"#);
    }

    #[test]
    fn whether_a_value_is_another_one_is_known_by_the_digest() {
        let fetched = |value: &str, salt: &str| Secret::fetched(source(), value, salt);
        let saved = saved("hunter2");
        for (other, same) in [
            (fetched("hunter2", "other"), true),
            (fetched("hunter3", "5a17"), false),
            (Secret::new("hunter2"), true),
            (Secret::new(""), false),
            (saved.clone(), true),
            (Secret::of(source()), false),
        ] {
            assert_eq!((saved.is_same(&other), other.is_same(&saved)), (same, same));
        }
    }
}
