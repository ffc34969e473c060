//! The JSON schema that editors get: it is the program's own, and takes every example.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::book::pages;
use crate::options::rows;
use crate::{repository, revision, section};

/// Reads `{schema, files: [[name, file]]}`, and prints what the schema refuses, a line each.
const VALIDATE: &str = "
import json, sys
import jsonschema
given = json.load(sys.stdin)
jsonschema.Draft7Validator.check_schema(given['schema'])
validator = jsonschema.Draft7Validator(given['schema'])
for name, file in given['files']:
    for error in validator.iter_errors(file):
        print(name, '/'.join(map(str, error.absolute_path)) or '/', error.message[:200])
";

fn schema() -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_balehook")).arg("schema").env_clear().output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What the schema refuses of these files.
fn refused(files: &[(String, String)]) -> Vec<String> {
    let python = repository().join("target/tools/venv/bin/python");
    assert!(python.exists(), "`make setup` installs Python's jsonschema");
    let files = files.iter().map(|(name, text)| json!([name, serde_yaml::from_str::<Value>(text).unwrap()]));
    let input = json!({"schema": schema(), "files": files.collect::<Vec<_>>()});
    let mut command = Command::new(python);
    let mut running = command.args(["-c", VALIDATE]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Every revision of the book and of `appspec`, and one of each option.
fn examples() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for page in pages() {
        for block in page.blocks() {
            let text = match block.mark.as_str() {
                "yaml,revision" => block.text.clone(),
                "yaml,section" => revision(&block.text),
                "yaml,container" => revision(&section(&block.text)),
                _ => continue,
            };
            all.push((format!("{}:{}", page.name, block.line), text));
        }
    }
    for mode in ["container", "compose", "swarm"] {
        let path = repository().join("appspec").join(mode).join("appspec.yml");
        all.push((path.display().to_string(), std::fs::read_to_string(path).unwrap()));
    }
    for row in rows() {
        let section = section(&format!("{}: {}", row.key, row.example));
        all.push((format!("container {}", row.key), revision(&section)));
        if row.swarm {
            all.push((format!("swarm {}", row.key), revision(&section.replace("container:", "swarm:"))));
        }
    }
    all
}

#[test]
fn the_schema_for_editors_takes_every_example() {
    let all = examples();
    assert!(all.len() > 100, "{}", all.len());
    assert_eq!(refused(&all), Vec::<String>::new());
}

#[test]
fn the_schema_for_editors_refuses_what_check_refuses() {
    let good = revision(&section("ports: [\"80:80\"]"));
    for (from, to, path) in [
        ("ports:", "prots:", "x-balehook/container"),
        ("  name: web\n", "", "x-balehook"),
        ("  container:", "  swarm: {image: a}\n  container:", "x-balehook"),
        ("ApplicationStart:", "AplicationStart:", "hooks"),
        ("timeout: 300", "timeout: soon", "hooks/ApplicationStart/0/timeout"),
        ("os: linux", "os: windows", "os"),
        ("ports: [\"80:80\"]", "healthcheck: {tests: x}", "x-balehook/container/healthcheck"),
        ("ports: [\"80:80\"]", "init: [true]", "x-balehook/container/init"),
    ] {
        let wrong = good.replacen(from, to, 1);
        assert!(wrong != good && crate::refused(&wrong).is_some(), "{wrong}");
        let found = refused(&[("file".to_owned(), wrong)]);
        assert!(found.iter().any(|line| line.starts_with(&format!("file {path} "))), "{to}: {found:?}");
    }
}

/// `make golden` writes the file anew.
#[test]
fn the_schema_in_the_repository_is_the_programs_own() {
    let path = repository().join("packaging/appspec.schema.json");
    let text = format!("{:#}\n", schema());
    if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let is_same = std::fs::read_to_string(path).unwrap_or_default() == text;
    assert!(is_same, "packaging/appspec.schema.json is not what `balehook schema` prints: make golden");
}
