//! How the problems of whole files are printed, for people and for programs.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{github, json, render, render_within};
use crate::config::validate::tests::{GOOD, check};

fn rendered(text: &str) -> String {
    let checked = check(text);
    render(&checked.file, &checked.problems)
}

#[test]
fn many_problems_read_as_their_golden_file() {
    let text = include_str!("../../../tests/golden/wrong-appspec.yml");
    let printed = rendered(text);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wrong-appspec.txt");
    if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    assert_eq!(printed, std::fs::read_to_string(path).unwrap_or_default());
}

#[test]
fn each_problem_is_an_annotation_on_its_line_whatever_letters_are_in_it() {
    let checked = check(&GOOD.replace("name: web", "name: \"my%0Aweb\""));
    let file = checked.file.path.display();
    let printed = github(&checked.file, &checked.problems);
    let lines: Vec<&str> = printed.lines().collect();
    let [line] = lines[..] else { panic!("{printed}") };
    let (place, text) = line.split_once("::`my%250Aweb` must start with a letter").unwrap_or_else(|| panic!("{line}"));
    assert!(place.starts_with(&format!("::error file={file},line=")) && place.ends_with(",col=9"), "{place}");
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn a_list_of_problems_can_be_kept_short() {
    let checked = check(include_str!("../../../tests/golden/wrong-appspec.yml"));
    let short = render_within(&checked.file, &checked.problems, 600);
    assert!(short.len() <= 700 && short.contains(" more\n"), "{short}");
}

#[test]
fn a_secret_beside_a_mistake_stands_in_no_message_and_no_excerpt() {
    let image = "image: host.test/web:1";
    for lines in [
        "image: Web:1\n    environment: {DB_PASSWORD: hunter2, A: [x]}",
        "environment: {DB_PASSWORD: hunter2}\n    image: Web:1",
        "image: Web:1\n    environment: {DB_PASSWORD: hunter2",
        "image: host.test/web:1\n    environment: {DB_PASSWORD: \"hun${1}ter2\"}",
        "image: host.test/web:1\n    environment: [DB_PASSWORD=hun${ter2]",
        "image: host.test/web:1\n    environment: {DB_PASSWORD: [hunter2]}",
        "image: host.test/web:1\n    environment:\n      PRIVATE_KEY: |\n        hunter2\n\t\thunter2",
        "image: host.test/web:1\n    environment: {DB_PASSWORD: hunter2, DB_PASSWORD: hunter2}",
        "image: host.test/web:1\n    logging: {options: {splunk-token: hunter2}, drivr: x}",
    ] {
        let text = GOOD.replace(image, lines);
        let checked = check(&text);
        let json = json(&checked.file, &checked.problems).to_string();
        let annotations = github(&checked.file, &checked.problems);
        for form in [rendered(&text), json, annotations, format!("{:?}", checked.problems)] {
            assert!(checked.problems.has_errors() && !form.contains("ter2"), "{lines}:\n{form}");
        }
    }
}

#[test]
fn of_a_file_full_of_mistakes_the_first_hundred_are_printed_and_the_rest_counted() {
    let many: String = (0..3_000).map(|number| format!("    key{number}: 1\n")).collect();
    let text = format!("{GOOD}{many}    k{}: 1\n", "k".repeat(900));
    let printed = rendered(&text);
    assert!(printed.ends_with("and 2901 more\n3001 errors\n"), "{}", &printed[printed.len() - 100..]);
    assert!(printed.len() < 100_000, "{} bytes", printed.len());
}

#[test]
fn the_first_problem_is_said_even_where_there_is_no_room() {
    let checked = check(&GOOD.replace("host.test/web:1", &"X".repeat(5000)));
    let short = render_within(&checked.file, &checked.problems, 10);
    assert!(short.contains("error: ") && short.len() < 1000, "{short}");
}

#[test]
fn a_program_gets_every_field_of_a_problem() {
    let checked = check(&GOOD.replace("name: web", "name: web\n  helth: {}"));
    let json = json(&checked.file, &checked.problems);
    let wanted = serde_json::json!({
        "file": checked.file.path, "line": 9, "column": 3, "severity": "error", "path": "x-balehook.helth",
        "message": "unknown key `helth`", "help": "did you mean `health`?",
    });
    assert_eq!(json[0], wanted);
}

proptest! {
    #[test]
    fn no_control_character_of_the_file_reaches_the_console(text in "[\\x00-\\x1f\u{202e}\u{7f}a-c: ]{0,60}", line in 0usize..10) {
        let mut lines: Vec<&str> = GOOD.lines().collect();
        lines[line] = &text;
        let printed = rendered(&lines.join("\n"));
        let bad = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
        prop_assert!(!printed.contains(bad), "{:?}", printed);
    }
}
