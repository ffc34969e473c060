//! `balehook import` of hook scripts of public repositories: what became of each line, and a file that `check` accepts.
//! The scripts' values are changed, and their comments are not taken over.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{balehook, files};

/// Each folder is a bundle, or the scripts of one.
fn bundles() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.is_dir());
    all.sort();
    all
}

/// A copy of the bundle, and what is given to `import` for it.
fn copy(bundle: &Path) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let done = Command::new("cp").arg("-r").arg(bundle.join(".")).arg(folder.path()).status().unwrap();
    assert!(done.success());
    let has = |name: &str| folder.path().join(name).exists();
    let given = if !has("appspec.yml") && has("scripts") { "scripts" } else { "." };
    (folder, given.to_owned())
}

/// What is printed of a bundle, and the file that is written.
fn imported(bundle: &Path) -> String {
    let (folder, given) = copy(bundle);
    let before = files(folder.path());
    let (code, said) = balehook(folder.path(), &["import", &given]);
    let written = |name: &str| std::fs::read_to_string(folder.path().join(name)).ok();
    let path = ["appspec.balehook.yml", "appspec.yml"]
        .into_iter()
        .find(|name| written(name).is_some() && before.iter().all(|(known, _)| known != name));
    let after = files(folder.path());
    assert!(before.iter().all(|file| after.contains(file)), "a file was changed: {said}");
    let name = bundle.file_name().unwrap().to_str().unwrap();
    let Some(path) = path else {
        assert_ne!(code, 0, "{name}: {said}");
        assert_eq!(before, after);
        return format!("=== {name}\n{said}");
    };
    assert_eq!(code, 0, "{name}: {said}");
    let (code, problems) = balehook(folder.path(), &["check", path]);
    assert_eq!(code, 0, "{name}: {problems}");
    let text = written(path).unwrap();
    let (head, rest) = text.split_once("hooks:\n").unwrap();
    let section = rest.split_once("x-balehook:\n").unwrap().1;
    format!("=== {name}\n{said}---\n{head}x-balehook:\n{section}")
}

#[test]
fn each_line_of_real_hook_scripts_is_carried_or_named_as_its_golden_file_says_and_check_accepts_what_is_written() {
    let scripts = bundles().iter().flat_map(|bundle| files(bundle)).filter(|(name, _)| name.ends_with(".sh")).count();
    assert!(scripts >= 15, "{scripts}");
    let printed: String = bundles().iter().map(|bundle| imported(bundle) + "\n").collect();
    assert!(!printed.contains("abc123"), "a secret is shown");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/imported-scripts.txt");
    if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(printed == golden, "make golden\n{printed}");
}

#[test]
fn a_variable_that_a_person_gives_is_put_where_the_scripts_use_it() {
    let (folder, _) = copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/get-login"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_balehook"));
    command.args(["import", "--output", "-", "scripts"]).env_clear().current_dir(folder.path());
    let output = command.env("ECR_REPOSITORY", "registry.example.com/web:1.4.2").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("    image: registry.example.com/web:1.4.2\n") && !text.contains("not known"), "{text}");
}

#[test]
fn the_file_is_printed_on_request_and_written_elsewhere_with_the_hook() {
    let (folder, _) = copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/by-group"));
    let before = files(folder.path());
    let (code, said) = balehook(folder.path(), &["import", "--output", "-", "scripts/start.sh", "scripts/validate.sh"]);
    assert!(code == 0 && said.contains("order-service:${DEPLOYMENT_GROUP_NAME:-none}-latest"), "{said}");
    assert_eq!(files(folder.path()), before);
    let (code, said) = balehook(folder.path(), &["import", "--output", "new", "appspec.yml"]);
    assert_eq!(code, 0, "{said}");
    let names: Vec<String> = files(&folder.path().join("new")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["appspec.yml", "hooks/balehook"]);
    assert_eq!(balehook(&folder.path().join("new"), &["check", "."]).0, 0);
    let (code, said) = balehook(folder.path(), &["import", "--output", "new", "appspec.yml"]);
    assert!(code == 64 && said.contains("new has already: appspec.yml; nothing was written"), "{said}");
}
