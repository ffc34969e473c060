//! Files of public repositories, with other names: what `check` finds is what is wrong in them.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use crate::config::hook_env::HookEnv;
use crate::config::problem::{Problem, Problems, Severity};
use crate::config::{appspec, lint, validate};

const SH: &str = "#!/bin/sh\necho ok\n";

/// `### …` begins a file. `@ name` is its name, else appspec.yml; `+ name "content"` stands beside it, without content a
/// script. `> …` is what is found in it, and `+> …` what is found once it has our section and our hook. `make golden` writes the
/// findings anew.
const TABLE: &str = "tests/appspecs/real.txt";

const SECTION: &str = "\nx-balehook:\n  name: web\n  container: {image: 'host.test/web:1.4.2', restart: always, logging: \
                       {driver: local}}\n  health: {http: 'http://127.0.0.1/'}\n";

fn found(folder: &Path, file: &Path, text: &str) -> Vec<String> {
    std::fs::write(file, text).unwrap();
    let text = match appspec::read(folder) {
        Ok(text) => text,
        Err(error) => return vec![error.to_string().replace(&folder.display().to_string(), "the bundle")],
    };
    let (deployment, problems): (_, Problems) = validate::check(&text, &HookEnv::default());
    lint::appspec(&text, deployment.as_ref(), &problems);
    problems.sorted().into_iter().map(line).collect()
}

fn line(problem: Problem) -> String {
    let severity = if problem.severity == Severity::Error { "error" } else { "warning" };
    let Problem { place, rule, path, message, help, .. } = problem;
    let (at, help) = (format!(" ({path})"), help.map(|help| format!("; help: {help}")).unwrap_or_default());
    format!("{place} {severity}[{}]: {message}{}{help}", rule.name, if path.is_empty() { "" } else { &at })
}

/// The file with our hook in the place of the first script of ApplicationStart.
fn ours(text: &str) -> String {
    let mut is_start = false;
    let lines = text.lines().map(|line| {
        let at = line.find("- location:").filter(|_| is_start);
        is_start = at.is_none() && (is_start || line.trim() == "ApplicationStart:");
        match at {
            Some(at) => format!("{}- location: hooks/balehook\n", &line[..at]),
            None => format!("{line}\n"),
        }
    });
    lines.collect()
}

/// The case as the table has it, with what is found in it.
fn checked(case: &str) -> String {
    let bundle = tempfile::tempdir().unwrap();
    let given = case.lines().filter(|line| !line.starts_with("> ") && !line.starts_with("+> "));
    let given: Vec<&str> = given.collect();
    let marked = |mark: &'static str| given.iter().filter_map(move |line| line.strip_prefix(mark));
    for beside in marked("+ ").chain(["hooks/balehook"]) {
        let (name, content) = match beside.find(" \"") {
            Some(at) => (&beside[..at], serde_json::from_str(&beside[at..]).unwrap()),
            None => (beside, SH.to_owned()),
        };
        let path = bundle.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let file = bundle.path().join(marked("@ ").next().unwrap_or("appspec.yml"));
    let lines = given.iter().skip(1).filter(|line| !line.starts_with("+ ") && !line.starts_with("@ "));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let alone = found(bundle.path(), &file, &text);
    let is_for_hosts = alone.iter().any(|line| line.contains("error[missing-key]: `x-balehook` is missing"));
    let with = if is_for_hosts { found(bundle.path(), &file, &(ours(&text) + SECTION)) } else { Vec::new() };
    let findings = alone.iter().map(|line| format!("> {line}\n")).chain(with.iter().map(|line| format!("+> {line}\n")));
    format!("### {}\n{}\n", given.join("\n").trim_end(), findings.collect::<String>())
}

#[test]
fn what_is_found_in_files_of_public_repositories_is_what_is_wrong_in_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE);
    let table = std::fs::read_to_string(&path).unwrap();
    let cases: Vec<&str> = table.split("### ").skip(1).collect();
    assert!(cases.len() > 40, "{}", cases.len());
    let found: Vec<String> = cases.iter().map(|case| checked(case)).collect();
    if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
        return std::fs::write(&path, found.concat()).unwrap();
    }
    let other = cases.iter().zip(&found).filter(|(case, found)| format!("### {case}") != **found);
    let other: Vec<&String> = other.map(|(_, found)| found).collect();
    assert!(other.is_empty(), "{other:#?}");
}
