//! A YAML document with the place of every node.
//!
//! serde tells where a *value* is wrong, and stops at the first one. To name the line and the column of every
//! key and to report all problems at once we read `saphyr-parser`'s events into a small tree.

use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Largest `appspec.yml` that is read, in bytes.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;

/// Deepest nesting that is read.
pub(crate) const MAX_DEPTH: usize = 64;

/// Where a node starts; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Place {
    /// Line, from 1.
    pub(crate) line: usize,
    /// Column in characters, from 1.
    pub(crate) column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One node of the document.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// A scalar and whether it was written plain (unquoted): only plain ones can be numbers, booleans or null.
    Scalar {
        /// The text, unescaped.
        text: String,
        /// Not quoted, not a block scalar.
        plain: bool,
    },
    Sequence(Vec<Node>),
    /// A mapping in the file's order; keys may repeat (a finding, not a parse error).
    Mapping(Vec<(Node, Node)>),
    /// An alias (`*a`): never followed.
    Alias,
}

/// Why a document could not be read at all.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    pub(crate) place: Place,
    pub(crate) message: String,
}

impl Node {
    /// Reads one document.
    ///
    /// # Errors
    /// Not YAML, too deep, empty, or more than one document.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut builder = Builder::default();
        for event in Parser::new_from_str(text) {
            let (event, span) = event
                .map_err(|error| SyntaxError { place: place(error.marker()), message: error.info().to_owned() })?;
            builder.take(event, place(&span.start))?;
        }
        builder
            .root
            .ok_or_else(|| SyntaxError { place: Place { line: 1, column: 1 }, message: "the file is empty".into() })
    }

    /// The text of a scalar, also of a plain number or boolean; `None` for null, sequences, mappings and aliases.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// Plain `null`, `~` or nothing at all.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// A plain `true` or `false` (YAML 1.2: `yes` and `on` are strings), or the same quoted, as Compose accepts it.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.as_text()? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    /// A whole number, also quoted.
    pub(crate) fn as_i64(&self) -> Option<i64> {
        self.as_text()?.parse().ok()
    }

    /// A finite number, also quoted.
    pub(crate) fn as_f64(&self) -> Option<f64> {
        self.as_text()?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// The items of a sequence.
    pub(crate) fn as_sequence(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a mapping, in the file's order.
    pub(crate) fn as_mapping(&self) -> Option<&[(Node, Node)]> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The key and the value of a mapping's entry.
    pub(crate) fn get(&self, key: &str) -> Option<(&Node, &Node)> {
        self.as_mapping()?.iter().find(|(name, _)| name.as_text() == Some(key)).map(|(name, value)| (name, value))
    }

    /// What it is, for messages: "the text `x`", "a list", "a mapping", "nothing", "an alias".
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing".into(),
            Value::Scalar { text, .. } => format!("`{text}`"),
            Value::Sequence(_) => "a list".into(),
            Value::Mapping(_) => "a mapping".into(),
            Value::Alias => "an alias".into(),
        }
    }
}

fn place(marker: &saphyr_parser::Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
}

enum Open {
    Sequence(Place, Vec<Node>),
    Mapping(Place, Vec<(Node, Node)>, Option<Node>),
}

impl Builder {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(text, style, _, _) => self.close(Node {
                value: Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain },
                place,
            }),
            Event::Alias(_) => self.close(Node { value: Value::Alias, place }),
            Event::SequenceStart(..) => self.open(Open::Sequence(place, Vec::new()), place),
            Event::MappingStart(..) => self.open(Open::Mapping(place, Vec::new(), None), place),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::Sequence(place, items)) => self.close(Node { value: Value::Sequence(items), place }),
                Some(Open::Mapping(place, entries, _)) => self.close(Node { value: Value::Mapping(entries), place }),
                None => Ok(()),
            },
            Event::DocumentStart(_) if self.root.is_some() => Err(SyntaxError {
                place,
                message: "a second YAML document starts here; the file may hold only one".into(),
            }),
            _ => Ok(()),
        }
    }

    fn open(&mut self, open: Open, place: Place) -> Result<(), SyntaxError> {
        if self.open.len() == MAX_DEPTH {
            return Err(SyntaxError { place, message: format!("nested deeper than {MAX_DEPTH} levels") });
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self, node: Node) -> Result<(), SyntaxError> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence(_, items)) => items.push(node),
            Some(Open::Mapping(_, entries, key)) => match key.take() {
                None => *key = Some(node),
                Some(key) => entries.push((key, node)),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> Node {
        Node::parse(&format!("k: {text}")).unwrap().get("k").unwrap().1.clone()
    }

    fn refused(text: &str) -> String {
        let error = Node::parse(text).unwrap_err();
        format!("{} {}", error.place, error.message)
    }

    #[test]
    fn what_is_no_single_document_is_refused_with_its_place() {
        assert_eq!(refused(""), "1:1 the file is empty");
        assert_eq!(refused("# only a note\n"), "1:1 the file is empty");
        assert_eq!(refused("a: 1\n---\nb: 2"), "2:1 a second YAML document starts here; the file may hold only one");
        assert!(refused("a: [1, 2").starts_with("2:1 "), "{}", refused("a: [1, 2"));
        assert!(refused("a: b: c").starts_with("1:"), "{}", refused("a: b: c"));
    }

    #[test]
    fn one_level_more_than_the_limit_is_refused() {
        let nested = |depth: usize| format!("{}x", "- ".repeat(depth));
        assert!(Node::parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(refused(&nested(MAX_DEPTH + 1)), "1:129 nested deeper than 64 levels");
    }

    #[test]
    fn twenty_thousand_levels_are_refused() {
        for level in ["[", "{a: ", "- ", "? ", ": ", "[\"]\","] {
            assert!(Node::parse(&level.repeat(20_000)).is_err(), "{level}");
        }
    }

    #[test]
    fn places_count_lines_from_1_and_columns_in_characters() {
        let root = Node::parse("é: 1\n名前: {名: [a, b]}\n").unwrap();
        let (key, inner) = root.get("名前").unwrap();
        assert_eq!(key.place, Place { line: 2, column: 1 });
        let (_, list) = inner.get("名").unwrap();
        assert_eq!(list.as_sequence().unwrap()[1].place, Place { line: 2, column: 13 });
    }

    #[test]
    fn only_what_is_written_plain_can_be_nothing() {
        assert!(["", "~", "null", "NULL"].iter().all(|text| value(text).is_null()));
        assert_eq!(
            ["''", "'null'", "\"~\""].map(|text| value(text).as_text().map(str::len)),
            [Some(0), Some(4), Some(1)]
        );
        assert_eq!(value("|-\n  null").as_text(), Some("null"));
    }

    #[test]
    fn numbers_and_booleans_are_read_as_compose_reads_them() {
        assert_eq!(
            ["5", "'5'", "-5", "5.0", "five", "[5]"].map(|text| value(text).as_i64()),
            [Some(5), Some(5), Some(-5), None, None, None]
        );
        assert_eq!(
            ["0.5", ".inf", "inf", "NaN", "1e999"].map(|text| value(text).as_f64()),
            [Some(0.5), None, None, None, None]
        );
        assert_eq!(
            ["true", "False", "yes", "on", "1"].map(|text| value(text).as_bool()),
            [Some(true), Some(false), None, None, None]
        );
    }

    #[test]
    fn an_alias_is_kept_as_one_and_never_followed() {
        let root = Node::parse("a: &x [1]\nb: *x").unwrap();
        assert_eq!(root.get("b").unwrap().1.value, Value::Alias);
    }

    #[test]
    fn keys_that_repeat_are_kept_in_the_files_order() {
        let root = Node::parse("a: 1\nb: 2\na: 3").unwrap();
        let keys: Vec<_> = root.as_mapping().unwrap().iter().map(|(key, _)| key.as_text().unwrap()).collect();
        assert_eq!(keys, ["a", "b", "a"]);
    }

    #[test]
    fn what_stands_there_is_told_in_words() {
        let told = ["x", "", "[1]", "{a: 1}"].map(|text| value(text).describe());
        assert_eq!(told, ["`x`", "nothing", "a list", "a mapping"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), yaml in "[ \\n\\ta-c:{}\\[\\]'\"&*|>#%@!?,~-]{0,120}") {
            let _ = Node::parse(&text);
            let _ = Node::parse(&yaml);
        }
    }
}
