//! English that is read once: short sentences, the field's words.

use crate::book::{Page, pages};

/// Words in a sentence, at most.
const LONGEST: usize = 35;

/// Words of our own, and what to write instead. Source: the table of words of the project's design.
const WORDS: [(&str, &str); 14] = [
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
    ("somebody else made", "not managed by balehook"),
    ("whoever", "the person who"),
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

#[test]
fn no_word_is_ours_where_the_field_has_one() {
    let mut wrong = Vec::new();
    for page in pages() {
        for (number, line) in page.prose() {
            // What stands in code is a name.
            let line = line.split('`').step_by(2).collect::<String>().to_lowercase();
            let ours = WORDS.iter().filter(|(ours, _)| line.contains(ours));
            wrong.extend(ours.map(|(ours, theirs)| format!("{}:{number}: {ours}: write `{theirs}`", page.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
