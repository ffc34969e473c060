//! The command line on a machine without an engine.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::process::{Command, Output};

use balehook::error::Kind;

const APPSPEC: &str = include_str!("../appspec/container/appspec.yml");

fn balehook(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_balehook"));
    command.args(args).env_clear().env("DOCKER_HOST", "unix:///nowhere/docker.sock").current_dir("/").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A bundle with this file and the shim.
fn bundle(appspec: &str) -> tempfile::TempDir {
    let bundle = tempfile::tempdir().unwrap();
    std::fs::create_dir(bundle.path().join("hooks")).unwrap();
    std::fs::write(bundle.path().join("hooks/balehook"), include_str!("../hooks/balehook")).unwrap();
    std::fs::write(bundle.path().join("appspec.yml"), appspec).unwrap();
    bundle
}

#[test]
fn a_wrong_command_line_has_an_exit_code_of_its_own() {
    for args in [&["deploy"][..], &["run"], &["run", "Install"], &["plan", "--format", "xml"]] {
        let output = balehook(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(text(&output.stderr).contains("error:"), "{args:?}");
    }
}

#[test]
fn without_an_event_it_says_that_no_agent_started_it_and_how_to_run_by_hand() {
    let output = balehook(&[]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stdout).contains("balehook run ApplicationStart --appspec PATH"));
}

#[test]
fn the_help_and_the_readme_list_every_exit_code_with_its_meaning() {
    let help = text(&balehook(&["--help"]).stdout);
    let readme = include_str!("../README.md");
    for kind in Kind::ALL {
        let (code, meaning) = (kind.exit_code(), kind.meaning());
        assert!(help.contains(&format!("{code:>2}  {meaning}")), "{meaning} is not in\n{help}");
        let row = readme.lines().find(|line| line.starts_with(&format!("| {code} |")));
        let row = row.unwrap_or_default().replace('`', "");
        assert!(row.contains(meaning), "the README says {row:?} of {code}, not {meaning:?}");
    }
}

#[test]
fn the_readme_names_every_option_of_a_container() {
    let readme = include_str!("../README.md");
    let missing: Vec<_> = balehook::config::service::KEYS
        .iter()
        .filter(|key| !["image", "deploy", "update_config"].contains(key) && !readme.contains(&format!("`{key}`")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_revision_that_users_copy_lacks_its_image_alone_and_its_shim_is_ours() {
    let bundle = bundle(APPSPEC);
    let output = balehook(&["check", "--appspec", bundle.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("`image.tar` is not in the bundle"), "{}", text(&output.stdout));
    std::fs::write(bundle.path().join("image.tar"), "").unwrap();
    let output = balehook(&["check", "--appspec", bundle.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).ends_with("appspec.yml: no problems\n"), "{}", text(&output.stdout));
    for mode in ["container", "compose", "swarm"] {
        let copied = format!("{}/appspec/{mode}/hooks/balehook", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(std::fs::read_to_string(copied).unwrap(), include_str!("../hooks/balehook"), "{mode}");
    }
}

#[test]
fn the_problems_of_a_file_are_data_on_request() {
    let bundle = bundle("version: 0.0\nos: linux\nx-balehook: {nam: web}\n");
    let output = balehook(&["check", "--format", "json", "--appspec", bundle.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = all.as_array().unwrap().iter().find(|problem| problem["path"] == "x-balehook.nam").unwrap();
    assert_eq!(
        (first["line"].as_u64(), first["column"].as_u64(), first["severity"].as_str()),
        (Some(3), Some(14), Some("error"))
    );
    assert_eq!(first["help"], "did you mean `name`?");
}

#[test]
fn a_plan_that_cannot_be_made_is_data_on_request_too() {
    let bundle = bundle(APPSPEC);
    let output = balehook(&["plan", "--format", "json", "--appspec", bundle.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(6));
    let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((error["error"]["kind"].as_str(), error["error"]["exit_code"].as_u64()), (Some("image"), Some(6)));
}

#[test]
fn a_missing_file_is_named() {
    let output = balehook(&["check", "--appspec", "/nowhere/appspec.yml"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("cannot read /nowhere/appspec.yml"));
}

#[test]
fn completions_and_the_manual_are_made_from_the_one_definition() {
    assert!(text(&balehook(&["completions", "bash"]).stdout).contains("ApplicationStart"));
    assert!(text(&balehook(&["man"]).stdout).contains(".TH balehook"));
}

#[test]
fn log_lines_are_json_on_request() {
    let (bundle, state) = (bundle(APPSPEC), tempfile::tempdir().unwrap());
    let (path, state) = (bundle.path().to_str().unwrap(), state.path().to_str().unwrap());
    let output =
        balehook(&["run", "ApplicationStart", "--appspec", path, "--state-dir", state, "-v", "--log-format", "json"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stdout));
    let lines = text(&output.stderr);
    assert!(!lines.is_empty());
    for line in lines.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}
