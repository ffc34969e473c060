//! How the problems of whole files are printed, for people and for programs.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;

use super::sarif::sarif;
use super::{github, json, render, render_all, render_within};
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
    let file = checked.file.path.display().to_string();
    let printed = github(&[(checked.file, checked.problems)]);
    let lines: Vec<&str> = printed.lines().collect();
    let [line] = lines[..] else { panic!("{printed}") };
    let (place, text) = line.split_once("::`my%250Aweb` must start with a letter").unwrap_or_else(|| panic!("{line}"));
    assert!(
        place.starts_with(&format!("::error file={file},line=")) && place.ends_with(",col=9,title=invalid-value"),
        "{place}"
    );
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
        let all = [(checked.file, checked.problems)];
        let forms = [json(&all).to_string(), github(&all), sarif(&all, Path::new("/")).to_string()];
        for form in [rendered(&text), render_all(&all), format!("{:?}", all[0].1)].into_iter().chain(forms) {
            assert!(all[0].1.has_errors() && !form.contains("ter2"), "{lines}:\n{form}");
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
    assert!(short.contains("error[invalid-value]: ") && short.len() < 1000, "{short}");
}

#[test]
fn a_program_gets_every_field_of_a_problem() {
    let checked = check(&GOOD.replace("name: web", "name: web\n  helth: {}"));
    let file = checked.file.path.clone();
    let json = json(&[(checked.file, checked.problems)]);
    let wanted = serde_json::json!({
        "file": file, "line": 9, "column": 3, "severity": "error", "rule": "unknown-key", "path": "x-balehook.helth",
        "message": "unknown key `helth`", "help": "did you mean `health`?",
    });
    assert_eq!((&json["format"], &json["problems"][0]), (&2.into(), &wanted));
}

#[test]
fn files_of_a_project_are_named_from_the_bundle_and_counted_together() {
    let one = check(&GOOD.replace("name: web", "name: web\n  helth: {}"));
    let path = one.file.bundle_root().join("app/compose.yml");
    let other = crate::config::appspec::AppSpecText { path, text: "a: b\n".into(), had_mark: false };
    let problems = crate::config::problem::Problems::new();
    problems.warning(crate::config::rules::PRIVILEGED, crate::config::yaml::Place { line: 1, column: 4 }, "a", "w", "");
    let printed = render_all(&[(one.file, one.problems), (other, problems)]);
    assert!(printed.starts_with("appspec.yml:9:3: error[unknown-key]: unknown key `helth`"), "{printed}");
    let last = "app/compose.yml:1:4: warning[privileged]: w (a)\n    a: b\n       ^\n1 error, 1 warning\n";
    assert!(printed.ends_with(last), "{printed}");
}

#[test]
fn sarif_names_the_rule_the_place_and_the_file_from_the_folder_it_is_asked_in() {
    let checked = check(&GOOD.replace("name: web", "name: web\n  helth: {}"));
    let folder = checked.file.bundle_root().to_owned();
    let all = [(checked.file, checked.problems)];
    let inside = sarif(&all, &folder);
    let run = &inside["runs"][0];
    let result = &run["results"][0];
    let place = serde_json::json!([{"physicalLocation": {
        "artifactLocation": {"uri": "appspec.yml"}, "region": {"startLine": 9, "startColumn": 3},
    }}]);
    assert_eq!((&inside["version"], &result["locations"]), (&serde_json::json!("2.1.0"), &place));
    assert_eq!((&result["ruleId"], &result["level"]), (&"unknown-key".into(), &"error".into()));
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][index]["id"], "unknown-key");
    let outside = sarif(&all, Path::new("/nowhere"));
    let uri = outside["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].clone();
    assert_eq!(uri, format!("file://{}/appspec.yml", folder.display()));
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
