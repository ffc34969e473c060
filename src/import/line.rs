//! One line of a shell as words: quotes, backslashes and variables as a POSIX shell reads them.

use std::iter::Peekable;
use std::str::Chars;

use crate::values::types::Refused;

/// Stands in a word for the `$` of a variable or a command of which the value is not known. Every other `$` is one.
pub const UNKNOWN: char = '\u{E000}';

/// The words of a line's first command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The command and its arguments.
    pub words: Vec<String>,
    /// What follows the command: `|| true`, `> /dev/null`.
    pub rest: String,
}

/// A text as a person wrote it: `$NAME` for a variable that is not known.
pub fn as_written(text: &str) -> String {
    text.replace(UNKNOWN, "$")
}

/// Splits a line, which may be continued by a backslash at its end. `lookup` knows the shell's variables.
///
/// # Errors
/// A quote or a bracket that is not closed.
pub fn split(line: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Line, Refused> {
    let text = line.replace("\r\n", "\n");
    let mut shell = Shell { letters: text.trim().chars().peekable(), lookup, words: Vec::new(), word: None };
    shell.read()?;
    let rest: String = shell.letters.collect();
    Ok(Line { words: shell.words, rest: rest.trim().to_owned() })
}

struct Shell<'a> {
    letters: Peekable<Chars<'a>>,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    words: Vec<String>,
    word: Option<String>,
}

impl Shell<'_> {
    fn read(&mut self) -> Result<(), Refused> {
        while let Some(letter) = self.letters.next_if(|letter| !is_operator(*letter)) {
            match letter {
                ' ' | '\t' => self.words.extend(self.word.take()),
                '#' if self.word.is_none() => while self.letters.next_if(|letter| *letter != '\n').is_some() {},
                '\\' => self.escaped(),
                '\'' => self.single_quoted()?,
                '"' => self.double_quoted()?,
                '$' | '`' => {
                    let value = self.value(letter)?;
                    self.unquoted(&value);
                }
                '~' if self.word.is_none() && self.letters.peek().is_none_or(|next| " /:".contains(*next)) => {
                    let home = (self.lookup)("HOME").unwrap_or_else(|| format!("{UNKNOWN}HOME"));
                    self.push(&home);
                }
                letter => self.word.get_or_insert_default().push(letter),
            }
        }
        self.leave_descriptor();
        self.words.extend(self.word.take());
        Ok(())
    }

    fn push(&mut self, text: &str) {
        self.word.get_or_insert_default().push_str(text);
    }

    /// A value outside quotes is split at its blanks; one that is not known is none.
    fn unquoted(&mut self, value: &str) {
        if value.starts_with(UNKNOWN) {
            return self.push(value);
        }
        for (index, part) in value.split([' ', '\t', '\n']).enumerate() {
            if index > 0 {
                self.words.extend(self.word.take());
            }
            if !part.is_empty() {
                self.push(part);
            }
        }
    }

    /// A line that goes on, or a letter that is taken as it is.
    fn escaped(&mut self) {
        match self.letters.next() {
            Some('\n') | None => {}
            Some(letter) => self.word.get_or_insert_default().push(letter),
        }
    }

    fn single_quoted(&mut self) -> Result<(), Refused> {
        let quoted = self.until('\'')?;
        self.push(&quoted);
        Ok(())
    }

    fn until(&mut self, end: char) -> Result<String, Refused> {
        let mut text = String::new();
        loop {
            match self.letters.next() {
                Some(letter) if letter == end => return Ok(text),
                Some(letter) => text.push(letter),
                None => return Err(Refused(format!("has a {end} that is not closed"))),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<(), Refused> {
        self.push("");
        loop {
            match self.letters.next().ok_or_else(|| Refused("has a \" that is not closed".into()))? {
                '"' => return Ok(()),
                '\\' => match self.letters.next() {
                    Some('\n') | None => {}
                    Some(letter @ ('"' | '\\' | '$' | '`')) => self.push(&letter.to_string()),
                    Some(letter) => self.push(&format!("\\{letter}")),
                },
                letter @ ('$' | '`') => {
                    let value = self.value(letter)?;
                    self.push(&value);
                }
                letter => self.push(&letter.to_string()),
            }
        }
    }

    /// What stands for a variable or a command; the value where it is known.
    fn value(&mut self, begin: char) -> Result<String, Refused> {
        if begin == '`' {
            let command = self.until('`')?;
            return Ok(self.command(&command));
        }
        match self.letters.peek() {
            Some('{') => {
                self.letters.next();
                let inside = self.until('}')?;
                Ok(self.braced(&inside))
            }
            Some('(') => {
                self.letters.next();
                let command = self.bracketed()?;
                Ok(self.command(&command))
            }
            Some(letter) if letter.is_ascii_alphabetic() || *letter == '_' => {
                let mut name = String::new();
                while let Some(letter) = self.letters.next_if(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
                {
                    name.push(letter);
                }
                Ok((self.lookup)(&name).unwrap_or_else(|| format!("{UNKNOWN}{name}")))
            }
            Some(letter) if letter.is_ascii_digit() || "@*#?!$".contains(*letter) => {
                let letter = self.letters.next().unwrap_or_default();
                Ok(format!("{UNKNOWN}{letter}"))
            }
            _ => Ok("$".to_owned()),
        }
    }

    /// A command in brackets, which may hold others.
    fn bracketed(&mut self) -> Result<String, Refused> {
        let (mut text, mut depth) = (String::new(), 1);
        for letter in self.letters.by_ref() {
            depth += i32::from(letter == '(') - i32::from(letter == ')');
            if depth == 0 {
                return Ok(text);
            }
            text.push(letter);
        }
        Err(Refused("has a $( that is not closed".into()))
    }

    fn command(&self, command: &str) -> String {
        let folder = matches!(command.trim(), "pwd" | "pwd -P").then(|| (self.lookup)("PWD")).flatten();
        folder.unwrap_or_else(|| format!("{UNKNOWN}({command})"))
    }

    /// `NAME`, `NAME:-default`, `NAME:?message`.
    fn braced(&self, inside: &str) -> String {
        let end = inside.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(inside.len());
        let (name, how) = inside.split_at(end);
        let value = (self.lookup)(name);
        let given = value.clone().filter(|value| !value.is_empty());
        let default =
            |from: &str| from.contains('$').then(|| format!("{UNKNOWN}{{{inside}}}")).unwrap_or(from.to_owned());
        let found = match how.get(..2).unwrap_or(how) {
            ":-" | ":=" => given.or_else(|| Some(default(&how[2..]))),
            ":?" => given,
            ":+" => Some(given.map(|_| default(&how[2..])).unwrap_or_default()),
            "" => value,
            _ => match how.split_at(1) {
                ("-" | "=", text) => value.or_else(|| Some(default(text))),
                ("?", _) => value,
                ("+", text) => Some(value.map(|_| default(text)).unwrap_or_default()),
                _ => None,
            },
        };
        found.unwrap_or_else(|| format!("{UNKNOWN}{{{inside}}}"))
    }

    /// `2` of `2>&1` is no argument.
    fn leave_descriptor(&mut self) {
        let is_redirection = self.letters.peek().is_some_and(|letter| matches!(letter, '>' | '<'));
        if is_redirection && self.word.as_ref().is_some_and(|word| matches!(word.as_str(), "1" | "2")) {
            self.word = None;
        }
    }
}

/// What ends a command.
fn is_operator(letter: char) -> bool {
    matches!(letter, '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let lookup = |name: &str| match name {
            "TAG" => Some("1.4.2".to_owned()),
            "HOME" => Some("/home/ann".to_owned()),
            "PWD" => Some("/srv/my web".to_owned()),
            "OPTS" => Some("-p 80:80  -d".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        split(line, &lookup).unwrap().words.iter().map(|word| word.replace(UNKNOWN, "?")).collect()
    }

    #[test]
    fn quotes_backslashes_and_continued_lines_are_read_as_a_shell_reads_them() {
        assert_eq!(
            words("docker run \\\n  -e A='a \"b\" $x' \\\r\n\t-e B=\"c \\\" \\$d\" e\\ f ''"),
            ["docker", "run", "-e", "A=a \"b\" $x", "-e", "B=c \" $d", "e f", ""]
        );
        assert_eq!(words("a 'b'\"c\"d # comment"), ["a", "bcd"]);
    }

    #[test]
    fn a_variable_that_is_known_is_replaced_and_one_that_is_not_is_marked() {
        assert_eq!(
            words("web:$TAG \"$PWD/x:/x\" ~/y $OPTS 'w:$TAG'"),
            ["web:1.4.2", "/srv/my web/x:/x", "/home/ann/y", "-p", "80:80", "-d", "w:$TAG"]
        );
        assert_eq!(
            words("\"$(pwd)\":/a $NO ${NO} $(cat a | b) `id -u`:1 a$ $1"),
            ["/srv/my web:/a", "?NO", "?{NO}", "?(cat a | b)", "?(id -u):1", "a$", "?1"]
        );
    }

    #[test]
    fn a_default_of_a_variable_is_taken_as_the_shell_takes_it() {
        assert_eq!(
            words("${TAG:-x} ${NO:-x} ${NO-y} a${EMPTY-y} ${EMPTY:-z} a${NO:+b} ${TAG:+b} ${TAG%.*} ${NO:?m}"),
            ["1.4.2", "x", "y", "a", "z", "a", "b", "?{TAG%.*}", "?{NO:?m}"]
        );
    }

    #[test]
    fn what_follows_the_command_is_apart() {
        let line = split("docker run web serve 2>/dev/null || true", &|_| None).unwrap();
        assert_eq!(line.words, ["docker", "run", "web", "serve"]);
        assert_eq!(line.rest, ">/dev/null || true");
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        for line in ["a 'b", "a \"b", "a $(b", "a ${b", "a `b"] {
            assert!(split(line, &|_| None).is_err(), "{line}");
        }
    }
}
