//! `env_file`: one variable a line, as Compose reads it.
//!
//! Source: Compose specification, "env_file" and ".env file syntax".

use crate::config::interpolate::expand;
use crate::error::{Failure, Kind};
use crate::values::types::{EnvVar, Secret};

/// What a file says.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    /// In the file's order; nothing that is printed shows their values.
    pub variables: Vec<EnvVar>,
    /// Warnings, by place; no part of a value stands there, not even a name behind a `$`.
    pub warnings: Vec<String>,
}

/// Reads a file's variables. `raw`: values are taken as they are.
///
/// # Errors
/// [`Kind::Appspec`] with every bad line as evidence; values are never shown.
pub fn read(file: &str, text: &str, raw: bool, lookup: Lookup<'_>) -> Result<Read, Failure> {
    let mut found = Vec::new();
    let (mut bad, mut warnings) = (Vec::new(), Vec::new());
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let (entry, after) = entry(rest, raw);
        let mut unset = Vec::new();
        match one(entry, raw, &|name| lookup(name).or_else(|| earlier(&found, name)), &mut unset) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                if !unset.is_empty() {
                    warnings.push(format!(
                        "{file}:{line}: {name}: a `$` begins a variable that is not set: an empty string is used; write \
                         `$$` for a dollar sign"
                    ));
                }
                found.push(EnvVar { name, value: Some(Secret::new(value)), hidden: true });
            }
            Err(why) => bad.push(format!("{file}:{line}: {why}")),
        }
        line += rest[..rest.len() - after.len()].matches('\n').count();
        rest = after;
    }
    match bad.len() {
        0 => Ok(Read { variables: found, warnings }),
        count => Err(Failure::new(Kind::Appspec, format!("{file} has {count} bad lines"))
            .evidence(bad)
            .next("write `NAME=value`, one on a line")),
    }
}

/// What the lines above gave a variable: the hook environment goes before it, as in Compose.
fn earlier(found: &[EnvVar], name: &str) -> Option<String> {
    let last = found.iter().rev().find(|var| var.name == name)?;
    last.value.as_ref().map(|value| value.reveal().to_owned())
}

/// `NAME=value`, or `NAME: value`, which Compose takes too.
fn halves(line: &str, raw: bool) -> Option<(&str, &str)> {
    let at = if raw { line.find('=') } else { line.find(['=', ':']) };
    at.map(|at| (&line[..at], &line[at + 1..]))
}

/// The next entry and what follows it: one line, or more where a quote goes on.
fn entry(text: &str, raw: bool) -> (&str, &str) {
    let line_end = text.find('\n').unwrap_or(text.len());
    let line = &text[..line_end];
    let value = halves(line, raw).map(|(_, value)| value.trim_start()).unwrap_or_default();
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

/// Where the quote ends; `\` keeps the one behind it from ending it, and another `\` from doing so.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            letter if letter == quote => return Some(at),
            _ => {}
        }
    }
    None
}

type Variable = (String, String);

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One entry; `None` for a comment, a blank line, and a name alone that the hook environment lacks.
fn one(entry: &str, raw: bool, lookup: Lookup<'_>, unset: &mut Vec<String>) -> Result<Option<Variable>, String> {
    let entry = entry.trim_end_matches('\r');
    let line = entry.trim_start();
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let exported = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    let line = exported.map_or(line, str::trim_start);
    let (name, value) = halves(line, raw).map_or((line, None), |(name, value)| (name, Some(value)));
    let name = name.trim();
    if name.is_empty() || name.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return Err("no variable's name before `=`".into());
    }
    let value = match value {
        None => lookup(name),
        Some(value) if raw => Some(value.to_owned()),
        Some(value) => Some(unquoted(value, lookup, unset).map_err(|why| format!("{name}: {why}"))?),
    };
    match value {
        Some(value) if value.contains('\0') => Err(format!("{name}: a value cannot hold a zero byte")),
        value => Ok(value.map(|value| (name.to_owned(), value))),
    }
}

fn unquoted(value: &str, lookup: Lookup<'_>, unset: &mut Vec<String>) -> Result<String, String> {
    let value = value.trim();
    match value.chars().next() {
        Some('\'') => Ok(quoted(value, '\'')?.replace("\\'", "'")),
        Some('"') => expanded(&escapes(quoted(value, '"')?), lookup, unset),
        _ => {
            let end = value.find(" #").unwrap_or(value.len());
            expanded(value[..end].trim_end(), lookup, unset)
        }
    }
}

/// What stands between the quotes; behind them only a comment may follow.
fn quoted(value: &str, quote: char) -> Result<&str, String> {
    let end = closing(&value[1..], quote).ok_or_else(|| format!("a {quote} is not closed"))?;
    let after = value[end + 2..].trim_start();
    match after.is_empty() || after.starts_with('#') {
        true => Ok(&value[1..=end]),
        false => Err(format!("something follows the closing {quote}")),
    }
}

/// The parser's own words may quote the value, which may be a secret.
fn expanded(text: &str, lookup: Lookup<'_>, unset: &mut Vec<String>) -> Result<String, String> {
    expand(text, lookup, unset).map_err(|why| match why.contains(" is required: ") {
        true => why,
        false => "a `$` begins no variable that can be read; write `$$` for a dollar sign".into(),
    })
}

/// The escapes that Compose knows; a `\` before anything else is one. `\0101` is octal.
fn escapes(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let octal = rest.strip_prefix('0').and_then(|digits| digits.get(..3));
        let octal = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        let (written, length) = match (rest.bytes().next(), octal) {
            (_, Some(code)) => (char::from(code).to_string(), 4),
            (Some(b'a'), _) => ("\u{7}".into(), 1),
            (Some(b'b'), _) => ("\u{8}".into(), 1),
            (Some(b'f'), _) => ("\u{c}".into(), 1),
            (Some(b'n'), _) => ("\n".into(), 1),
            (Some(b'r'), _) => ("\r".into(), 1),
            (Some(b't'), _) => ("\t".into(), 1),
            (Some(b'v'), _) => ("\u{b}".into(), 1),
            (Some(b'$'), _) => ("$$".into(), 1),
            (Some(letter @ (b'"' | b'\\')), _) => (char::from(letter).into(), 1),
            _ => ("\\".into(), 0),
        };
        out.push_str(&written);
        rest = &rest[length..];
    }
    out + rest
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
        let all = read("web.env", text, false, &lookup).unwrap().variables;
        all.into_iter().map(|var| (var.name, var.value.map(|value| value.reveal().to_owned()))).collect()
    }

    #[test]
    fn every_bad_line_is_named_and_no_value_is_shown() {
        let text = "=hunter2\nOK=1\nA B=hunter2\nC='hunter2\n";
        let failure = read("web.env", text, false, &lookup).unwrap_err();
        assert_eq!(failure.message, "web.env has 3 bad lines");
        assert_eq!(failure.evidence[0], "web.env:1: no variable's name before `=`");
        assert_eq!(failure.evidence[2], "web.env:4: C: a ' is not closed");
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
    fn no_value_of_a_file_is_shown_whatever_its_name() {
        let all = read("f", "DB_PASSWORD=x\nPLAIN=y", false, &lookup).unwrap().variables;
        assert!(all.iter().all(|var| var.hidden && var.is_hidden()), "{all:?}");
    }

    #[test]
    fn a_dollar_sign_that_takes_a_part_of_a_value_away_is_said_once_without_that_part() {
        let text = "A=pa$word$word\nB=\"pa$hunter2\"\nC='pa$word'\nD=pa$$word ${X:-}\nE=5$\n";
        let warnings = read("web.env", text, false, &lookup).unwrap().warnings;
        let said = "a `$` begins a variable that is not set: an empty string is used; write `$$` for a dollar sign";
        assert_eq!(warnings, [format!("web.env:1: A: {said}"), format!("web.env:2: B: {said}")]);
        assert_eq!(read("web.env", text, true, &lookup).unwrap().warnings, [""; 0]);
    }

    #[test]
    fn no_part_of_a_value_stands_in_an_error() {
        for text in ["DB_PASSWORD=hun${ter2 x}", "P=\"hunter2\" hunter2", "P='hunter2", "P=hunter2${1}", "P=hunter2\0"]
        {
            let failure = read("f", text, false, &lookup).unwrap_err();
            assert!(!format!("{failure:?}").contains("ter2"), "{failure:?}");
        }
    }

    #[test]
    fn text_behind_a_closing_quote_is_refused_and_a_comment_is_not() {
        assert!(read("f", "A=\"x\"y", false, &lookup).is_err());
        assert_eq!(
            read_all("A=\"x\" # y\nB=x # y\nC= # y\nD=#y"),
            [("A", "x"), ("B", "x"), ("C", "# y"), ("D", "#y")].map(|(name, value)| (name.into(), Some(value.into())))
        );
    }

    #[test]
    fn a_name_alone_that_the_hook_lacks_leaves_the_images_variable_alone() {
        assert_eq!(read_all("NOWHERE\nA=1"), [("A".into(), Some("1".into()))]);
    }

    #[test]
    fn a_value_may_name_a_variable_of_an_earlier_line_but_the_hooks_goes_before_it() {
        let all = read_all("A=1\nB=${A}2\nHOSTED=no\nC=$HOSTED");
        assert_eq!(all[1], ("B".into(), Some("12".into())));
        assert_eq!(all[3], ("C".into(), Some("yes".into())));
    }

    #[test]
    fn composes_colon_and_escaped_quotes_are_read() {
        let wanted = [("A", "b:c=d"), ("B", "Let's"), ("C", r#"{"a": 1}"#), ("D", r"C:\x")];
        let wanted: Vec<_> = wanted.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).into();
        assert_eq!(read_all("A: b:c=d\nB='Let\\'s'\nC=\"{\\\"a\\\": 1}\"\nD='C:\\x'"), wanted);
    }

    #[test]
    fn in_double_quotes_the_escapes_that_compose_knows_are_read_and_any_other_backslash_stays() {
        let text = r#"A="a\q\d\\x|\t|\0123|\'|\"|\$X|\x41"
B='C:\dir\\'
C="C:\dir\\"
D=a\nb
E="\\$HOSTED""#;
        let wanted = [
            ("A", "a\\q\\d\\x|\t|S|\\'|\"|$X|\\x41"),
            ("B", "C:\\dir\\\\"),
            ("C", "C:\\dir\\"),
            ("D", "a\\nb"),
            ("E", "\\yes"),
        ];
        assert_eq!(read_all(text), wanted.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))));
    }

    #[test]
    fn raw_values_are_taken_as_they_are() {
        let all = read("f", "A='$x' # y\nB:C=1", true, &lookup).unwrap().variables;
        let all: Vec<_> = all.iter().map(|var| (var.name.as_str(), var.value.as_ref().unwrap().reveal())).collect();
        assert_eq!(all, [("A", "'$x' # y"), ("B:C", "1")]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A-C= \"'#$\\\\{}\r\né]{0,80}") {
            let _ = read("f", &text, false, &lookup);
        }
    }
}
