//! A script as commands: lines that go on are one, pipelines are split at their bars, and what only steers is set apart.

use crate::import::line::{Line, split};

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A line as the shell sees it: where it begins, and its text with all that it goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logical {
    pub(super) number: usize,
    pub(super) text: String,
    /// It has a text of several lines (`<<EOF`), which is left out.
    pub(super) has_document: bool,
}

/// A command with what its output goes through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pipeline {
    /// As it was written.
    pub(super) text: String,
    /// The words of each program.
    pub(super) stages: Vec<Vec<String>>,
    /// Files that are written.
    pub(super) into: Vec<String>,
    /// A file that is read.
    pub(super) from: Option<String>,
    /// `if`, `for`, `while`, `case` open one, `fi`, `done`, `esac` close one.
    pub(super) opens: i32,
}

const OPENS: [&str; 5] = ["if", "for", "while", "until", "case"];
const CLOSES: [&str; 3] = ["fi", "done", "esac"];
const BEFORE_A_COMMAND: [&str; 11] = ["if", "elif", "while", "until", "then", "else", "do", "!", "{", "}", "time"];

/// The lines of a script; comments and blank ones are left out.
pub(super) fn lines(text: &str) -> Vec<Logical> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        if first.trim().is_empty() || first.trim_start().starts_with('#') {
            continue;
        }
        let mut logical = Logical { number: index + 1, text: first.to_owned(), has_document: false };
        while goes_on(&logical.text) {
            let Some((_, next)) = lines.next() else { break };
            logical.text.push('\n');
            logical.text.push_str(next);
        }
        if let Some(end) = document(&logical.text) {
            logical.has_document = true;
            let _ = lines.by_ref().find(|(_, line)| line.trim() == end);
        }
        found.push(logical);
    }
    found
}

/// A backslash, a bar or an open quote at the end.
fn goes_on(text: &str) -> bool {
    let end = text.trim_end();
    text.ends_with('\\') || end.ends_with('|') || end.ends_with("&&") || is_open(text)
}

/// Whether a quote or a bracket of a variable is open.
fn is_open(text: &str) -> bool {
    let mut rest = text.to_owned();
    while !rest.is_empty() {
        match split(&rest, &|_| None) {
            Err(_) => return true,
            Ok(line) => rest = line.rest.trim_start_matches(['\n', ';', '&', '|', '<', '>', '(', ')', ' ']).to_owned(),
        }
    }
    false
}

/// The word that ends a text of several lines.
fn document(text: &str) -> Option<String> {
    let (_, after) = text.split_once("<<").filter(|(_, after)| !after.starts_with('<'))?;
    let word = after.trim_start_matches('-').split_whitespace().next()?;
    Some(word.trim_matches(['"', '\'', '\\']).to_owned())
}

/// The commands of a line. `None`: it cannot be read.
pub(super) fn pipelines(text: &str, lookup: Lookup<'_>) -> Option<Vec<Pipeline>> {
    let mut found = Vec::new();
    let mut rest = text.trim().to_owned();
    while !rest.is_empty() {
        let (pipeline, after) = pipeline(&rest, lookup)?;
        found.push(pipeline);
        rest = after;
    }
    Some(found)
}

/// The first command, and what stands behind its operator.
fn pipeline(text: &str, lookup: Lookup<'_>) -> Option<(Pipeline, String)> {
    let (opens, bare) = without_keywords(text);
    let mut found = Pipeline { opens, ..Pipeline::default() };
    let mut rest = match condition(bare) {
        Some(after) => {
            found.stages.push(vec!["[[".to_owned()]);
            after.trim_start().to_owned()
        }
        None => first_stage(bare, lookup, &mut found)?,
    };
    loop {
        let before = rest.len();
        rest = match rest.as_str() {
            "" => break,
            text if text.starts_with("||") || text.starts_with("&&") || text.starts_with(";;") => {
                return Some(ended(found, text_of(bare, &rest), text[2..].trim()));
            }
            text if text.starts_with("&>") => redirected(text.trim_start_matches(['&', '>']), lookup, &mut found)?,
            text if text.starts_with('|') => {
                let line = split(text.trim_start_matches(['|', '&']), lookup).ok()?;
                found.stages.push(line.words);
                line.rest
            }
            text if text.starts_with('>') => redirected(text.trim_start_matches('>'), lookup, &mut found)?,
            text if text.starts_with('<') => read_from(text.trim_start_matches('<'), lookup, &mut found)?,
            text => return Some(ended(found, text_of(bare, &rest), text[1..].trim())),
        };
        if rest.len() >= before {
            return None;
        }
    }
    let text = bare.to_owned();
    Some(ended(found, text, ""))
}

fn first_stage(text: &str, lookup: Lookup<'_>, found: &mut Pipeline) -> Option<String> {
    let Line { words, rest } = split(text, lookup).ok()?;
    // `name() {`: a function.
    if let Some(after) = rest.strip_prefix("()") {
        found.stages.push(vec!["function".to_owned(), words.first()?.clone()]);
        return Some(after.trim_start().trim_start_matches('{').trim_start().to_owned())
            .map(|rest| if rest.is_empty() { rest } else { format!(";{rest}") });
    }
    found.opens += i32::from(words.first().is_some_and(|word| OPENS.contains(&word.as_str())));
    found.opens -= i32::from(words.first().is_some_and(|word| CLOSES.contains(&word.as_str())));
    found.stages.push(words);
    Some(rest)
}

fn ended(mut found: Pipeline, text: String, rest: &str) -> (Pipeline, String) {
    found.text = text;
    (found, rest.to_owned())
}

/// What stands before `rest`.
fn text_of(whole: &str, rest: &str) -> String {
    whole.strip_suffix(rest).unwrap_or(whole).trim().to_owned()
}

/// `> FILE`, `>> FILE`, `2>&1`; arguments may follow.
fn redirected(text: &str, lookup: Lookup<'_>, found: &mut Pipeline) -> Option<String> {
    if let Some(after) = text.strip_prefix('&') {
        return Some(
            after.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '-').trim_start().to_owned(),
        );
    }
    let line = split(text, lookup).ok()?;
    let mut words = line.words.into_iter();
    found.into.push(words.next()?);
    found.stages.last_mut()?.extend(words);
    Some(line.rest)
}

fn read_from(text: &str, lookup: Lookup<'_>, found: &mut Pipeline) -> Option<String> {
    let line = split(text.trim_start_matches('-'), lookup).ok()?;
    let mut words = line.words.into_iter();
    found.from = Some(words.next()?);
    found.stages.last_mut()?.extend(words);
    Some(line.rest)
}

/// The text behind words such as `if` and `then`, and how many of them open a part.
fn without_keywords(text: &str) -> (i32, &str) {
    let (mut rest, mut opens) = (text.trim_start(), 0);
    while let Some(word) = rest.split_whitespace().next().filter(|word| BEFORE_A_COMMAND.contains(word)) {
        if rest.len() == word.len() {
            break;
        }
        opens += i32::from(OPENS.contains(&word));
        rest = rest[word.len()..].trim_start();
    }
    (opens, rest)
}

/// Behind `[[ … ]]` or `(( … ))`.
fn condition(text: &str) -> Option<&str> {
    let end = [("[[", "]]"), ("((", "))")].iter().find(|(begin, _)| text.starts_with(begin))?.1;
    text.find(end).map(|at| &text[at + end.len()..])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let shown = |pipeline: &Pipeline| {
            let stages: Vec<String> = pipeline.stages.iter().map(|words| words.join(" ")).collect();
            let into: String = pipeline.into.iter().map(|file| format!(" into {file}")).collect();
            let from: String = pipeline.from.iter().map(|file| format!(" from {file}")).collect();
            format!("{}{into}{from}", stages.join(" | "))
        };
        pipelines(text, &|_| None).unwrap().iter().map(shown).collect()
    }

    #[test]
    fn a_line_is_split_at_its_operators_and_files_stand_apart() {
        assert_eq!(read("a b 2>/dev/null || true"), ["a b into /dev/null", "true"]);
        assert_eq!(read("a | b -c >> x.log 2>&1; d < y && e"), ["a | b -c into x.log", "d from y", "e"]);
        assert_eq!(read("if ! [[ -z $x && -n $y ]]; then a; fi"), ["[[", "a", "fi"]);
        assert_eq!(read("log() { echo \"$1\"; }"), ["function log", "echo \u{e000}1", "}"]);
        assert_eq!(read("for i in {1..5}; do sleep 1; done"), ["for i in {1..5}", "sleep 1", "done"]);
    }

    #[test]
    fn lines_that_go_on_are_one_and_documents_and_comments_are_left_out() {
        let text = "#!/bin/sh\n# x\na \\\n  b\ncat <<EOF > f\n docker run x\nEOF\n\nc 'd\ne'\nf |\n g\n";
        let found: Vec<(usize, String)> = lines(text).into_iter().map(|line| (line.number, line.text)).collect();
        let wanted = [(3, "a \\\n  b"), (5, "cat <<EOF > f"), (9, "c 'd\ne'"), (11, "f |\n g")];
        assert_eq!(found, wanted.map(|(number, text)| (number, text.to_owned())));
    }
}
