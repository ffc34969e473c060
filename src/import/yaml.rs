//! Values as YAML that every reader understands alike: what could be taken for a number, a date or a key is quoted.

use serde_yaml::Value;

/// `key:` with its value, each line with `indent` blanks before it. A `$` is doubled: it is none of a variable.
pub(super) fn entry(key: &str, value: &Value, indent: usize) -> String {
    let margin = " ".repeat(indent);
    let key = text(key);
    match value {
        Value::Mapping(entries) if !entries.is_empty() => {
            let inner = entries.iter().map(|(key, value)| entry(key.as_str().unwrap_or_default(), value, indent + 2));
            format!("{margin}{key}:\n{}", inner.collect::<String>())
        }
        Value::Sequence(items) if items.iter().any(Value::is_mapping) => {
            let inner = items.iter().map(|item| self::item(item, indent + 2));
            format!("{margin}{key}:\n{}", inner.collect::<String>())
        }
        Value::Sequence(items) => {
            let line = format!("[{}]", items.iter().map(scalar).collect::<Vec<_>>().join(", "));
            if line.len() + key.len() + indent <= 100 || items.is_empty() {
                return format!("{margin}{key}: {line}\n");
            }
            let inner = items.iter().map(|item| self::item(item, indent + 2));
            format!("{margin}{key}:\n{}", inner.collect::<String>())
        }
        value => format!("{margin}{key}: {}", scalar(value)).trim_end().to_owned() + "\n",
    }
}

/// An item of a list; of a mapping the first key stands behind the dash.
fn item(value: &Value, indent: usize) -> String {
    let margin = " ".repeat(indent);
    match value.as_mapping().filter(|entries| !entries.is_empty()) {
        Some(entries) => {
            let inner = entries.iter().map(|(key, value)| entry(key.as_str().unwrap_or_default(), value, indent + 2));
            let inner = inner.collect::<String>();
            format!("{margin}- {}", inner.trim_start())
        }
        None => format!("{margin}- {}\n", scalar(value)),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(value) => text(&value.replace('$', "$$")),
        Value::Sequence(items) => format!("[{}]", items.iter().map(scalar).collect::<Vec<_>>().join(", ")),
        Value::Mapping(_) => "{}".to_owned(),
        Value::Tagged(tagged) => scalar(&tagged.value),
    }
}

/// Words that YAML reads as something else.
const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "~"];

/// Plain where nobody can take it for anything else, as in JSON otherwise.
fn text(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_./@-".contains(letter);
    let begins = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/' || letter == '_');
    let inside = text.replace(':', "");
    let has_colon = text.ends_with(':') || text.contains(": ");
    let is_word = WORDS.contains(&text.to_lowercase().as_str());
    match begins && inside.chars().all(is_plain) && !has_colon && !is_word {
        true => text.to_owned(),
        false => serde_json::Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_was_meant() {
        let value: Value = serde_yaml::from_str(
            "{a: ['80:80', 'no', '1.5', '2026-11-28', 'x y', \"t\\n\\\"\", -d, ''], b: {c: {}, 'D E': '', F: null, g: 1.5, h: true},
              i: [{j: 1, k: [l, m]}, {n: 'o: p'}], q: 'host:/a/b', r: '#s', t: '0x1f', u: 'é'}",
        )
        .unwrap();
        let written = entry("top", &value, 2);
        let read: Value = serde_yaml::from_str(&written).unwrap();
        assert_eq!(read["top"], value, "{written}");
    }

    #[test]
    fn a_dollar_sign_is_doubled_and_long_lists_stand_one_below_the_other() {
        assert_eq!(entry("command", &Value::from(vec!["echo $HOME"]), 4), "    command: [\"echo $$HOME\"]\n");
        let long = vec![Value::from("x".repeat(60)), Value::from("y".repeat(60))];
        assert_eq!(
            entry("a", &Value::Sequence(long), 0),
            format!("a:\n  - {}\n  - {}\n", "x".repeat(60), "y".repeat(60))
        );
    }
}
