//! Whole files with the bundle around them: what `check` finds in each, with its place, or that it finds nothing.
#![allow(clippy::unwrap_used)]

use crate::config::appspec;
use crate::config::hook_env::HookEnv;
use crate::config::problem::Severity;
use crate::config::validate;

/// Stands behind the text of a case that has no `hooks:` of its own, or no section.
const HOOKS: &str = "hooks: {ApplicationStart: [{location: hooks/balehook, timeout: 300}]}\n";
const SECTION: &str = "x-balehook: {name: web, container: {image: 'host.test/web:1'}}\n";
const SH: &str = "#!/bin/sh\necho ok\n";

/// One file of a table in `tests/appspecs`.
struct Case<'a> {
    /// `### …`: the line that it begins with.
    title: &'a str,
    /// The lines behind it, which follow `os: linux`: they begin in line 3.
    text: String,
    /// `+ name "content"`: files beside it. Without content a script, and a folder where the name ends in `/`.
    files: Vec<(&'a str, String)>,
    /// `> line:column severity path: message`: what is found, as far as it is unambiguous.
    wanted: Vec<&'a str>,
}

/// The cases of a table. Files that stand before the first case are beside each.
fn cases(table: &str) -> Vec<Case<'_>> {
    let (shared, cases) = table.split_at(table.find("### ").unwrap());
    let each = cases.split("### ").skip(1).map(|case| {
        let (title, lines) = case.split_once('\n').unwrap();
        let lines = || lines.lines().filter(|line| !line.is_empty());
        let marked = |mark: &'static str| lines().filter_map(move |line| line.strip_prefix(mark));
        let text = lines().filter(|line| !line.starts_with("+ ") && !line.starts_with("> "));
        let files = shared.lines().filter_map(|line| line.strip_prefix("+ ")).chain(marked("+ ")).map(file);
        Case {
            title,
            text: text.map(|line| format!("{line}\n")).collect(),
            files: files.collect(),
            wanted: marked("> ").collect(),
        }
    });
    each.collect()
}

fn file(line: &str) -> (&str, String) {
    match line.find(" \"") {
        Some(at) => (&line[..at], serde_json::from_str(&line[at..]).unwrap()),
        None => (line, SH.to_owned()),
    }
}

fn found(case: &Case<'_>) -> Vec<String> {
    let bundle = tempfile::tempdir().unwrap();
    for (name, content) in &[vec![("hooks/balehook", SH.to_owned())], case.files.clone()].concat() {
        let path = bundle.path().join(name);
        if name.ends_with('/') {
            std::fs::create_dir_all(path).unwrap();
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let text = &case.text;
    let hooks = if text.contains("hooks:") { "" } else { HOOKS };
    let section = if text.contains("x-balehook:") { "" } else { SECTION };
    let whole = format!("version: 0.0\nos: linux\n{text}{hooks}{section}");
    std::fs::write(bundle.path().join("appspec.yml"), whole).unwrap();
    let file = appspec::read(bundle.path()).unwrap();
    let (_, problems) = validate::check(&file, &HookEnv::default());
    let each = problems.sorted().into_iter().map(|problem| {
        let severity = if problem.severity == Severity::Error { "error" } else { "warning" };
        format!("{} {severity} {}: {}", problem.place, problem.path, problem.message)
    });
    each.collect()
}

#[track_caller]
fn assert_all(table: &str, count: usize) {
    let mut wrong = String::new();
    let cases = cases(table);
    assert_eq!(cases.len(), count, "cases of the table");
    for case in &cases {
        let (found, Case { title, text, wanted, .. }) = (found(case), case);
        let begins = |(found, wanted): (&String, &&str)| found.starts_with(*wanted);
        if found.len() != wanted.len() || !found.iter().zip(wanted).all(begins) {
            wrong.push_str(&format!("{title}:\n{text}found  {found:#?}\nwanted {wanted:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_copied_is_checked_as_the_agents_install_it() {
    assert_all(include_str!("../../../../tests/appspecs/files.txt"), 28);
}

#[test]
fn permissions_are_checked_as_the_agents_set_them() {
    assert_all(include_str!("../../../../tests/appspecs/permissions.txt"), 29);
}

#[test]
fn scripts_are_looked_at_as_the_kernel_starts_them() {
    assert_all(include_str!("../../../../tests/appspecs/scripts.txt"), 23);
}

#[test]
fn files_that_our_section_names_are_looked_for() {
    assert_all(include_str!("../../../../tests/appspecs/section.txt"), 27);
}

/// Shapes of files that people publish, with a hook of ours in the place of the script that starts the application.
#[test]
fn files_as_people_have_them_raise_no_false_alarm() {
    assert_all(include_str!("../../../../tests/appspecs/published.txt"), 8);
}
