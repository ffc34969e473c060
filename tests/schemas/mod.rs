//! Every JSON document that a test sees is held against its schema in `packaging/schemas`: strict, so that a field that
//! came or went fails.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// The commands with a schema.
pub(crate) const COMMANDS: [&str; 5] = ["plan", "status", "history", "doctor", "check"];

/// Reads `{schemas: {command: schema}, documents: [[command, document]]}`, and prints of each document that is refused its
/// number, its command, a place and why.
const VALIDATE: &str = "
import json, sys
import jsonschema
given = json.load(sys.stdin)
for schema in given['schemas'].values():
    jsonschema.Draft7Validator.check_schema(schema)
validators = {name: jsonschema.Draft7Validator(schema) for name, schema in given['schemas'].items()}
for number, (command, document) in enumerate(given['documents']):
    error = jsonschema.exceptions.best_match(validators[command].iter_errors(document))
    if error:
        print(number, command, '/'.join(map(str, error.absolute_path)) or '/', error.message[:300])
";

fn schema(command: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/schemas");
    serde_json::from_str(&std::fs::read_to_string(folder.join(format!("{command}.schema.json"))).unwrap()).unwrap()
}

/// The documents that their schemas refuse, a line each that begins with its number; each with the command that prints it.
pub(crate) fn refused(documents: &[(&str, Value)]) -> Vec<String> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/venv/bin/python");
    assert!(python.exists(), "`make setup` installs Python's jsonschema");
    let schemas: serde_json::Map<String, Value> =
        COMMANDS.iter().map(|command| ((*command).to_owned(), schema(command))).collect();
    let input = json!({ "schemas": schemas, "documents": documents }).to_string();
    let mut command = Command::new(python);
    let mut running = command.args(["-c", VALIDATE]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "the validator failed");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Holds what the program printed against its schema, where these arguments ask for JSON.
#[track_caller]
pub(crate) fn assert_valid(args: &[&str], stdout: &[u8]) {
    let Some(command) = args.first().filter(|command| COMMANDS.contains(command)) else { return };
    if args.windows(2).any(|pair| pair == ["--format", "json"]) {
        let document = serde_json::from_slice(stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"));
        assert_eq!(refused(&[(command, document)]), Vec::<String>::new(), "{args:?}");
    }
}
