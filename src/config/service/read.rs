//! Reading values of the Compose specification from nodes, with a problem for each that is wrong.

use crate::config::problem::{Problems, nearest};
use crate::config::yaml::{Node, Value};
use crate::values::types::Refused;
use crate::values::{bytes, duration};

/// A key's value with its path, and where problems go.
pub(crate) struct Field<'a, 'p> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
    pub(crate) problems: &'p mut Problems,
}

impl<'a> Field<'a, '_> {
    /// The value of an inner key or item.
    pub(crate) fn inner<'b>(&'b mut self, node: &'a Node, name: &str) -> Field<'a, 'b> {
        let dot = if name.starts_with('[') { "" } else { "." };
        Field { node, path: format!("{}{dot}{name}", self.path), problems: &mut *self.problems }
    }

    /// Reports what is wrong with the value.
    pub(crate) fn refuse<T>(&mut self, message: impl Into<String>, help: &str) -> Option<T> {
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.problems.error(self.node.place, &self.path, message, help);
        None
    }

    fn wrong_kind<T>(&mut self, wanted: &str) -> Option<T> {
        let message = format!("{wanted} is expected, not {}", self.node.describe());
        self.refuse(message, "")
    }

    /// Any scalar.
    pub(crate) fn text(&mut self) -> Option<String> {
        match self.node.as_text() {
            Some(text) => Some(text.to_owned()),
            None => self.wrong_kind("a text"),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Option<bool> {
        match self.node.as_bool() {
            Some(value) => Some(value),
            None => self.wrong_kind("`true` or `false`"),
        }
    }

    /// A whole number of at least `least`.
    pub(crate) fn integer(&mut self, least: i64) -> Option<i64> {
        match self.node.as_i64() {
            Some(value) if value >= least => Some(value),
            Some(value) => {
                self.refuse(format!("`{value}` is too small"), &format!("write a whole number from {least}"))
            }
            None => self.wrong_kind("a whole number"),
        }
    }

    /// A whole number from `least` to `most`.
    pub fn within(&mut self, least: i64, most: i64) -> Option<i64> {
        match self.integer(least)? {
            value if value <= most => Some(value),
            value => self.refuse(format!("`{value}` is too large"), &format!("write a whole number to {most}")),
        }
    }

    /// A number of at least 0.
    pub(crate) fn number(&mut self) -> Option<f64> {
        match self.node.as_f64() {
            Some(value) if value >= 0.0 => Some(value),
            _ => self.wrong_kind("a number from 0"),
        }
    }

    /// A size in bytes.
    pub(crate) fn size(&mut self) -> Option<i64> {
        self.parsed(bytes::parse)
    }

    /// A duration in nanoseconds.
    pub(crate) fn nanoseconds(&mut self) -> Option<i64> {
        self.duration().and_then(|duration| i64::try_from(duration.as_nanos()).ok())
    }

    /// A duration.
    pub(crate) fn duration(&mut self) -> Option<std::time::Duration> {
        self.parsed(duration::parse)
    }

    /// A text that a parser accepts.
    pub(crate) fn parsed<T>(&mut self, parse: impl Fn(&str) -> Result<T, Refused>) -> Option<T> {
        let text = self.text()?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(Refused(why)) => self.refuse(format!("`{text}` {why}"), ""),
        }
    }

    /// One of some texts.
    pub(crate) fn one_of(&mut self, known: &[&str]) -> Option<String> {
        let text = self.text()?;
        if known.contains(&text.as_str()) {
            return Some(text);
        }
        let help = match nearest(&text, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}", known.join(", ")),
        };
        self.refuse(format!("`{text}` is not known"), &help)
    }

    /// The items of a list, each with its own path.
    pub(crate) fn items<T>(&mut self, mut read: impl FnMut(&mut Field<'a, '_>) -> Option<T>) -> Vec<T> {
        match self.node.as_sequence() {
            None => self.wrong_kind("a list").unwrap_or_default(),
            Some(items) => {
                let each = items.iter().enumerate();
                each.filter_map(|(index, item)| read(&mut self.inner(item, &format!("[{index}]")))).collect()
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self) -> Vec<String> {
        self.items(|field| field.text())
    }

    /// One text or a list of texts.
    pub(crate) fn text_or_texts(&mut self) -> Vec<String> {
        match self.node.value {
            Value::Sequence(_) => self.texts(),
            _ => self.text().into_iter().collect(),
        }
    }

    /// A command: a list, or one text that is split as a POSIX shell splits words.
    pub(crate) fn command(&mut self) -> Vec<String> {
        match self.node.value {
            Value::Sequence(_) => self.texts(),
            _ => self.parsed(words).unwrap_or_default(),
        }
    }

    /// `KEY: value` entries, or a list of `KEY=value`; a key without a value gives `None`.
    pub(crate) fn pairs(&mut self) -> Vec<(String, Option<String>)> {
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
    pub(crate) fn map(&mut self) -> std::collections::HashMap<String, String> {
        self.pairs().into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()
    }

    /// Every entry of a mapping. Keys given twice are reported by the reader of the file.
    pub(crate) fn entries<T>(&mut self, mut read: impl FnMut(&str, &mut Field<'a, '_>) -> Option<T>) -> Vec<T> {
        let Some(entries) = self.node.as_mapping() else { return self.wrong_kind("a mapping").unwrap_or_default() };
        let each = entries.iter();
        each.filter_map(|(key, value)| {
            let name = key.as_text().unwrap_or_default();
            read(name, &mut self.inner(value, name))
        })
        .collect()
    }

    /// Every entry of a mapping with known keys; `read` answers `false` for a key it does not know.
    pub(crate) fn known(&mut self, known: &[&str], mut read: impl FnMut(&str, &mut Field<'a, '_>) -> bool) {
        let Some(entries) = self.node.as_mapping() else {
            self.wrong_kind::<()>("a mapping");
            return;
        };
        for (key, value) in entries {
            let name = key.as_text().unwrap_or_default();
            if !name.starts_with("x-") && !read(name, &mut self.inner(value, name)) {
                let message = format!("unknown key `{name}`");
                let help = match nearest(name, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known keys: {}", known.join(", ")),
                };
                self.problems.error(key.place, &format!("{}.{name}", self.path), message, help);
            }
        }
    }
}

/// Splits a text into words as a POSIX shell does, without expanding anything.
///
/// # Errors
/// A quote that is not closed.
pub(crate) fn words(text: &str) -> Result<Vec<String>, Refused> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    let open = |quote: char| Refused(format!("has a {quote} that is not closed"));
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or_else(|| open('\''))? {
                        '\'' => break,
                        letter => word.push(letter),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or_else(|| open('"'))? {
                        '"' => break,
                        '\\' => match letters.next().ok_or_else(|| open('"'))? {
                            letter @ ('"' | '\\' | '$' | '`') => word.push(letter),
                            letter => word.extend(['\\', letter]),
                        },
                        letter => word.push(letter),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_quote_that_is_not_closed_is_refused() {
        assert_eq!(words("sh -c 'x").unwrap_err().0, "has a ' that is not closed");
        assert!(words("a \"b\\").is_err());
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        assert_eq!(
            words(r#"sh -c 'a "b"' "c \" $d" e\ f '' "#).unwrap(),
            ["sh", "-c", r#"a "b""#, r#"c " $d"#, "e f", ""]
        );
    }
}
