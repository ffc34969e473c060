//! The modules of `src` know only what is below them, the modes do not know one another, and what one module is for no
//! other does.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// From the top down. A module may name itself and what comes after it.
const ORDER: [&str; 15] = [
    "app", "ui", "import", "modes", "deploy", "tasks", "health", "ports", "images", "notify", "config", "engine",
    "fetch", "aws", "process",
];

/// Plain definitions and values: all may use them, they use nothing but each other.
const PLAIN: [&str; 8] = ["cli", "files", "folder", "inputs", "poll", "waits", "values", "error"];

const MODES: [&str; 3] = ["container", "compose", "swarm"];

/// Every Rust file below `src`: its path from there, and its text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_tests(&path) {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.push((name, program(&fs::read_to_string(path).unwrap())));
            }
        }
    }
    files.sort();
    files
}

fn is_tests(path: &Path) -> bool {
    path.file_stem().unwrap().to_str().unwrap().ends_with("tests")
}

/// A file without its unit tests, which may look at a text of `ui` or a request of `modes`.
fn program(text: &str) -> String {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
}

/// What a text names of this crate: the words after `crate::`, at most `depth` of them.
fn named(text: &str, depth: usize) -> Vec<Vec<&str>> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let paths = text.match_indices("crate::").map(|(at, prefix)| &text[at + prefix.len()..]);
    let words = paths.map(|path| path.split("::").take(depth).map(|part| part.split(|c| !is_word(c)).next().unwrap()));
    words.map(|words| words.take_while(|word| !word.is_empty()).collect()).collect()
}

/// The module of a file: `modes/swarm/task.rs` is of `modes`, `error.rs` of `error`.
fn module(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Whether `from` may name `to`.
fn is_downward(from: &str, to: &str) -> bool {
    let place = |name: &str| ORDER.iter().position(|module| *module == name);
    match (place(from), place(to)) {
        (Some(from), Some(to)) => from <= to,
        (Some(_), None) => PLAIN.contains(&to),
        (None, _) => from == to || PLAIN.contains(&from) && PLAIN.contains(&to),
    }
}

#[test]
fn every_module_has_its_place_in_the_order() {
    let lib = sources().into_iter().find(|(file, _)| file == "lib.rs").unwrap().1;
    let modules = lib.lines().filter_map(|line| line.split_once("mod ")?.1.split_once(';'));
    let mut modules: Vec<String> = modules.map(|(name, _)| name.to_owned()).collect();
    modules.sort();
    let mut known: Vec<&str> = ORDER.iter().chain(&PLAIN).copied().collect();
    known.sort_unstable();
    assert_eq!(modules, known);
}

#[test]
fn no_module_names_one_that_is_above_it() {
    let mut upward = Vec::new();
    for (file, text) in sources().iter().filter(|(file, _)| !["main.rs", "lib.rs"].contains(&file.as_str())) {
        let names = named(text, 1);
        let above = names.iter().flatten().filter(|name| !is_downward(module(file), name));
        upward.extend(above.map(|name| format!("{file} names {name}")));
    }
    assert_eq!(upward, Vec::<String>::new());
    assert!(!is_downward("engine", "modes") && !is_downward("values", "config") && is_downward("app", "engine"));
}

#[test]
fn no_mode_names_another_one() {
    let mut sideways = Vec::new();
    for (file, text) in sources() {
        let Some(mode) = MODES.iter().find(|mode| file.starts_with(&format!("modes/{mode}/"))) else { continue };
        for path in named(&text, 2) {
            if path[0] == "modes" && path.get(1).is_some_and(|name| MODES.contains(name) && name != mode) {
                sideways.push(format!("{file} names {}", path.join("::")));
            }
        }
    }
    assert_eq!(sideways, Vec::<String>::new());
}

#[test]
fn only_the_commands_print_for_a_person() {
    let files = sources().into_iter().filter(|(file, _)| !["app", "ui", "lib"].contains(&module(file)));
    let users: Vec<String> = files.filter(|(_, text)| text.contains("crate::ui")).map(|(file, _)| file).collect();
    assert_eq!(users, Vec::<String>::new());
}

/// The lines that hold one of `words`, outside the module that may have them.
fn outside(owner: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in sources().iter().filter(|(file, _)| module(file) != owner) {
        let lines = text.lines().filter(|line| words.iter().any(|word| line.contains(word)));
        found.extend(lines.map(|line| format!("{file}: {}", line.trim())));
    }
    found
}

/// Whether a module holds each of `words`: a rule about words that nobody writes any more would forbid nothing.
fn holds(owner: &str, words: &[&str]) -> bool {
    let of_owner: Vec<String> =
        sources().into_iter().filter(|(file, _)| module(file) == owner).map(|(_, text)| text).collect();
    words.iter().all(|word| of_owner.iter().any(|text| text.contains(word)))
}

#[test]
fn only_the_process_module_starts_a_process() {
    assert_eq!(outside("process", &["process::Command", "Command::new("]), Vec::<String>::new());
    assert!(holds("process", &["process::Command", "Command::new("]));
}

#[test]
fn only_the_poll_module_sleeps() {
    assert_eq!(outside("poll", &["sleep(", "time::interval("]), Vec::<String>::new());
    assert!(holds("poll", &["sleep("]));
}

/// What an operation does, is and renders stands in these files; a new operation must not fall through any of them.
#[test]
fn no_match_over_operations_has_an_arm_for_the_rest() {
    let of_operations = |file: &str| file.ends_with("operation.rs") || file.ends_with("perform.rs");
    let mut seen = 0;
    for (file, text) in sources().iter().filter(|(file, _)| of_operations(file)) {
        let blocks = text.match_indices("match ").map(|(at, word)| &text[at + word.len()..]);
        for block in blocks.filter(|block| is_of_operations(block)) {
            seen += 1;
            let rest = own_arms(block).into_iter().find(|arm| arm.starts_with("_ ") || arm.starts_with("(_, "));
            assert_eq!(rest, None, "{file}");
        }
    }
    assert!(seen > 12, "only {seen} matches over operations were found");
}

fn is_of_operations(block: &str) -> bool {
    ["self {", "(self, moment) {", "operation {", "&operation {"].iter().any(|head| block.starts_with(head))
}

/// The arms of the match that `block` begins with, from its brace to the one that closes it: the lines indented once.
fn own_arms(block: &str) -> Vec<&str> {
    let lines = block.lines().skip(1);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let depth = block.lines().nth(1).map_or(0, indent);
    let body = lines.take_while(|line| line.is_empty() || indent(line) >= depth);
    body.filter(|line| indent(line) == depth).map(str::trim).collect()
}

#[test]
fn each_folder_begins_with_what_it_is() {
    for (file, text) in sources().iter().filter(|(file, _)| file.ends_with("/mod.rs")) {
        let head = text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join(" ");
        assert!(head.len() > 40, "{file}: {head:?}");
    }
}
