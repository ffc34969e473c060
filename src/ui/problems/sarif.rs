//! Problems as SARIF, which code scanners of forges and editors read.
//!
//! Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.

use std::path::Path;

use serde_json::{Value, json};

use crate::config::problem::Problem;
use crate::config::rules::{self, Rule};
use crate::ui::problems::{Checked, each, word};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// One run with every rule and every problem; files are named from `folder` where they lie below it.
pub(crate) fn sarif(all: &[Checked], folder: &Path) -> Value {
    let rules = rules::all();
    let results: Vec<Value> =
        each(all).map(|(file, problem)| result(&problem, &uri(&file.path, folder), &rules)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "balehook",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(rule).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(rule: &Rule) -> Value {
    json!({
        "id": rule.name,
        "shortDescription": {"text": rule.means},
        "fullDescription": {"text": format!("{} {}", rule.means, rule.matters)},
        "help": {"text": rule.remedy},
    })
}

fn result(problem: &Problem, uri: &str, rules: &[Rule]) -> Value {
    let help = problem.help.as_ref().map(|help| format!("\n{help}")).unwrap_or_default();
    json!({
        "ruleId": problem.rule.name,
        "ruleIndex": rules.iter().position(|rule| *rule == problem.rule),
        "level": word(problem.severity),
        "message": {"text": format!("{}{help}", problem.message)},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri},
            "region": {"startLine": problem.place.line.max(1), "startColumn": problem.place.column.max(1)},
        }}],
    })
}

/// A relative reference, or a `file:` URI.
fn uri(path: &Path, folder: &Path) -> String {
    let (scheme, path) = match path.strip_prefix(folder) {
        Ok(below) => ("", below),
        Err(_) => ("file://", path),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    let each = bytes.map(|byte| if is_plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") });
    format!("{scheme}{}", each.collect::<String>())
}
