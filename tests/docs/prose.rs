//! English that is read once: short sentences, the field's words.

use crate::book::{Page, pages};
use crate::repository;

/// Words in a sentence, at most.
const LONGEST: usize = 35;

/// Words of our own, and what to write instead. Source: the table of words of the project's design.
const WORDS: [(&str, &str); 22] = [
    ("bring the image in", "import the image"),
    ("brings the image in", "imports the image"),
    ("brought in", "imported"),
    ("handed over", "switched"),
    ("hands over", "switches"),
    ("handover", "switch of ports"),
    ("keeper", "retention tag"),
    ("laid out", "checked out"),
    ("lay out", "check out"),
    ("swap the container", "replace the container"),
    ("proven", "healthy"),
    ("stranger", "not managed by balehook"),
    ("somebody", "a person, a process, or the passive"),
    ("whoever", "the person who"),
    ("whatever", "everything that, or the thing's name"),
    ("could not be had", "could not be imported"),
    ("of ours", "of balehook"),
    ("of theirs", "their"),
    ("is said", "the message says, or is printed"),
    ("is asked of", "who asks whom"),
    ("is believed", "is not checked"),
    ("keep images alike", "use the same image store"),
];

/// Sentences of a page, each with its line. A table's cells, list items and headings end a sentence.
fn sentences(page: &Page) -> Vec<(usize, String)> {
    let mut sentences = Vec::new();
    let mut open = (0, String::new());
    let mut end = |open: &mut (usize, String)| {
        let (line, text) = std::mem::take(open);
        if !text.trim().is_empty() {
            sentences.push((line, text));
        }
    };
    for (number, line) in page.prose() {
        let text = line.trim();
        let begins =
            text.is_empty() || text.starts_with(['#', '|', '-', '*']) || text.split(". ").next().is_some_and(is_number);
        if begins {
            end(&mut open);
        }
        for cell in text.trim_start_matches(['#', '-', '*', ' ']).split(" | ") {
            for part in cell.split_inclusive(". ").flat_map(|part| part.split_inclusive(": ")) {
                if open.1.is_empty() {
                    open.0 = number;
                }
                open.1 += part;
                open.1.push(' ');
                let is_end = [".", "?", "!", ":"].iter().any(|mark| part.trim_end().ends_with(mark));
                if is_end {
                    end(&mut open);
                }
            }
            if text.starts_with('|') {
                end(&mut open);
            }
        }
    }
    end(&mut open);
    sentences
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[test]
fn no_sentence_is_longer_than_one_can_keep_in_mind() {
    let long = |page: &Page| -> Vec<String> {
        let counted = sentences(page).into_iter().map(|(line, text)| (line, text.split_whitespace().count(), text));
        let long = counted.filter(|(_, words, _)| *words > LONGEST);
        long.map(|(line, words, text)| format!("{}:{line}: {words} words: {text}", page.name)).collect()
    };
    let long: Vec<String> = pages().iter().flat_map(long).collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Why a sentence must be read twice.
fn riddle(sentence: &str) -> Option<&'static str> {
    let plain: String = sentence.split('`').step_by(2).collect::<Vec<_>>().join("x").to_lowercase();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let is = |at: usize, word: &str| words.get(at) == Some(&word);
    let chain = (0..words.len()).any(|at| {
        let mut ends = Vec::new();
        ends.extend((at..words.len().min(at + 7)).filter(|at| is(*at, "of")));
        ends.len() > 2
    });
    if sentence.trim_start().starts_with("Of ") && !plain.trim_start().starts_with("of course") {
        Some("it begins with its object: say who does what")
    } else if chain {
        Some("`of` three times in seven words")
    } else {
        let clauses = words.iter().filter(|word| ["that", "which", "whose", "where"].contains(*word)).count();
        (clauses > 3).then_some("more than three clauses: make two sentences")
    }
}

/// What the program prints: the texts of its source, without tests and comments, with their files.
fn messages() -> Vec<(String, String)> {
    let mut folders = vec![repository().join("src")];
    let mut messages = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.strip_prefix(repository()).unwrap().display().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if !name.contains("tests") {
                let text = std::fs::read_to_string(path).unwrap();
                let own = text.split("#[cfg(test)]\nmod").next().unwrap_or_default();
                messages.extend(literals(own).into_iter().map(|literal| (name.clone(), literal)));
            }
        }
    }
    messages
}

/// String literals of several words. Help texts are comments of `///` in `cli.rs`, and literals in the page of commands.
fn literals(source: &str) -> Vec<String> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let code = code.replace("'\"'", "").replace("'\\\"'", "").replace("\\\\", "").replace("\\\"", "");
    let literals = code.split('"').skip(1).step_by(2).map(|literal| {
        let lines = literal.split("\\\n").map(str::trim_start);
        lines.collect::<String>()
    });
    literals.filter(|literal| literal.split_whitespace().count() > 3).collect()
}

/// The changes that no version has yet.
fn unreleased() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(repository().join("CHANGELOG.md")).unwrap();
    let own = text.split("\n## [").nth(1).unwrap_or_default().replace("\n  ", " ");
    own.lines().flat_map(|line| line.split_inclusive(". ")).map(|text| ("CHANGELOG.md".into(), text.into())).collect()
}

/// Everything that is read by a person: pages, help, messages, changes; each with its place.
fn all() -> Vec<(String, String)> {
    let of_page = |page: &Page| -> Vec<(String, String)> {
        let sentences = sentences(page).into_iter();
        sentences.map(|(line, text)| (format!("{}:{line}", page.name), text)).collect()
    };
    let mut all: Vec<(String, String)> = pages().iter().flat_map(of_page).collect();
    let help = pages().into_iter().find(|page| page.name.ends_with("/commands.md")).unwrap();
    let lines = help.blocks().flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>());
    all.extend(lines.map(|line| ("--help".to_owned(), line)));
    all.extend(messages());
    all.extend(unreleased());
    all
}

#[test]
fn no_sentence_has_to_be_read_twice() {
    let wrong = all().into_iter().filter_map(|(place, text)| Some(format!("{place}: {}: {text}", riddle(&text)?)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_riddle_is_recognised_and_plain_sentences_are_not() {
    for (sentence, is_one) in [
        ("Of an archive only the layers travel that the engine lacks.", true),
        ("It is the end of the name of the file of it.", true),
        ("The name that a file that a hook that runs, which is late, gives has.", true),
        ("The engine fetches the layers that it lacks.", false),
        ("A list of files, one of each kind.", false),
    ] {
        assert_eq!(riddle(sentence).is_some(), is_one, "{sentence}");
    }
}

#[test]
fn no_word_is_ours_where_the_field_has_one() {
    let mut wrong = Vec::new();
    for (place, text) in all() {
        // What stands in code is a name.
        let text = text.split('`').step_by(2).collect::<String>().to_lowercase();
        let ours = WORDS.iter().filter(|(ours, _)| text.contains(ours));
        wrong.extend(ours.map(|(ours, theirs)| format!("{place}: {ours}: write {theirs}: {text}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
