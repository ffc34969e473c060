//! `env_file`: one variable a line, as Compose reads it.
//!
//! Source: Compose specification, "env_file" and ".env file syntax".

use super::service::is_secret;
use super::types::{EnvVar, Secret};
use crate::error::{Failure, Kind};
use crate::input::interpolate::expand;

/// Reads a file's variables. `raw`: values are taken as they are. `hidden`: plans show none of them.
///
/// # Errors
/// [`Kind::Appspec`] with every bad line as evidence; values are never shown.
pub fn variables(
    file: &str,
    text: &str,
    raw: bool,
    hidden: bool,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<EnvVar>, Failure> {
    let mut found = Vec::new();
    let mut bad = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let (entry, after) = entry(rest, raw);
        match read(entry, raw, lookup) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                let hidden = hidden || is_secret(&name);
                found.push(EnvVar { name, value: value.map(Secret::new), hidden });
            }
            Err(why) => bad.push(format!("{file}:{line}: {why}")),
        }
        line += rest[..rest.len() - after.len()].matches('\n').count();
        rest = after;
    }
    match bad.len() {
        0 => Ok(found),
        count => Err(Failure::new(Kind::Appspec, format!("{file} has {count} bad lines"))
            .evidence(bad)
            .next("write `NAME=value`, one on a line")),
    }
}

/// The next entry and what follows it: one line, or more where a quote goes on.
fn entry(text: &str, raw: bool) -> (&str, &str) {
    let line_end = text.find('\n').unwrap_or(text.len());
    let line = &text[..line_end];
    let value = line.split_once('=').map(|(_, value)| value.trim_start()).unwrap_or_default();
    let quote =
        value.chars().next().filter(|quote| !raw && matches!(quote, '"' | '\'') && !line.trim_start().starts_with('#'));
    let end = match quote {
        Some(quote) => {
            let opened = line.len() - value.len();
            closing(&text[opened + 1..], quote).map_or(line_end, |at| {
                let close = opened + 1 + at;
                text[close..].find('\n').map_or(text.len(), |newline| close + newline)
            })
        }
        None => line_end,
    };
    (&text[..end], text.get(end + 1..).unwrap_or_default())
}

fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            letter if letter == quote => return Some(at),
            _ => {}
        }
    }
    None
}

type Variable = (String, Option<String>);

fn read(entry: &str, raw: bool, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Option<Variable>, String> {
    let entry = entry.trim_end_matches('\r');
    let line = entry.trim_start();
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_whitespace) || name.contains('\0') {
        return Err("no variable's name before `=`".into());
    }
    let value = match value {
        None => lookup(name),
        Some(value) if raw => Some(value.to_owned()),
        Some(value) => Some(unquoted(value, lookup)?),
    };
    Ok(Some((name.to_owned(), value)))
}

fn unquoted(value: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let value = value.trim();
    let expanded = |text: &str| expand(text, lookup, &mut Vec::new());
    match value.chars().next() {
        Some('\'') => {
            let end = closing(&value[1..], '\'').ok_or("a ' is not closed")?;
            Ok(value[1..=end].to_owned())
        }
        Some('"') => {
            let end = closing(&value[1..], '"').ok_or("a \" is not closed")?;
            expanded(&escapes(&value[1..=end]))
        }
        _ => {
            let end = value.find(" #").unwrap_or(value.len());
            expanded(value[..end].trim_end())
        }
    }
}

fn escapes(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '\\') {
            (_, true) => match letters.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('$') => out.push_str("$$"),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (letter, false) => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "HOSTED").then(|| "yes".to_owned())
    }

    fn read_all(text: &str) -> Vec<(String, Option<String>)> {
        let all = variables("web.env", text, false, false, &lookup).unwrap();
        all.into_iter().map(|var| (var.name, var.value.map(|value| value.reveal().to_owned()))).collect()
    }

    #[test]
    fn every_bad_line_is_named_and_no_value_is_shown() {
        let text = "=hunter2\nOK=1\nA B=hunter2\nC='hunter2\n";
        let failure = variables("web.env", text, false, false, &lookup).unwrap_err();
        assert_eq!(failure.message, "web.env has 3 bad lines");
        assert_eq!(failure.evidence[0], "web.env:1: no variable's name before `=`");
        assert_eq!(failure.evidence[2], "web.env:4: a ' is not closed");
        assert!(!format!("{failure:?}").contains("hunter2"));
    }

    #[test]
    fn composes_forms_are_read() {
        let text = "# note\nexport A=1\r\nB = two words # note\nC=\"x\\n${HOSTED}\"\nD='$HOSTED # \"'\nHOSTED\nE=\nF=\"a\nb\"\nG=${X:-d}";
        let wanted = [
            ("A", Some("1")),
            ("B", Some("two words")),
            ("C", Some("x\nyes")),
            ("D", Some("$HOSTED # \"")),
            ("HOSTED", Some("yes")),
            ("E", Some("")),
            ("F", Some("a\nb")),
            ("G", Some("d")),
        ];
        let wanted: Vec<_> = wanted.map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).into();
        assert_eq!(read_all(text), wanted);
    }

    #[test]
    fn secrets_are_hidden_by_name_and_by_where_they_come_from() {
        let hidden = |text: &str, s3: bool| variables("f", text, false, s3, &lookup).unwrap()[0].hidden;
        assert!(hidden("DB_PASSWORD=x", false) && hidden("PLAIN=x", true) && !hidden("PLAIN=x", false));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A-C= \"'#$\\\\{}\r\né]{0,80}") {
            let _ = variables("f", &text, false, false, &lookup);
        }
    }
}
