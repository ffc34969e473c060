//! Who is told of deployments that reach an engine.

use std::path::Path;

use serde_json::Value;

use crate::support::{Image, Served};

/// A section's `notify` with a command that keeps what it is told in a file.
pub fn notify(file: &Path) -> String {
    let keep = format!("cat >> '{0}'; echo >> '{0}'", file.display());
    format!("notify:\n  - {{on: [success, failure, rollback], command: [/bin/sh, -c, {keep:?}]}}\n")
}

/// What it was told: the result, the event, the deployment and the exit code of each.
pub fn told(file: &Path) -> Vec<(String, String, String, u64)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let documents =
        text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of = |document: &Value, key: &str| document[key].as_str().unwrap_or_default().to_owned();
    let each = documents.map(|document| {
        let code = document["exit_code"].as_u64().unwrap();
        (of(&document, "result"), of(&document, "event"), of(&document, "deployment"), code)
    });
    each.collect()
}

#[test]
fn a_success_a_failure_and_a_rollback_are_told_with_what_the_release_said_last() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("told");
    let mut served = Served::with_next("news", &(notify(&file) + "health: {http: /healthz, timeout: 3s}"));
    served.bundle.hook("BeforeInstall").exits(0);
    served.bundle.hook("ApplicationStart").exits(0);
    Image::new(&served.tag(3)).script("echo cannot find the database; exit 3").write_into(&served.bundle.path());
    served.bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(8);
    served.serves("new");
    served.bundle.run_bare(&["rollback", &served.name]).exits(0);
    served.serves("old");

    let row = |result: &str, event: &str, deployment: &str, code: u64| {
        (result.to_owned(), event.to_owned(), deployment.to_owned(), code)
    };
    let wanted = [
        row("success", "ApplicationStart", "d-TEST00001", 0),
        row("success", "ApplicationStart", "d-TEST00002", 0),
        row("failure", "ApplicationStart", "d-TEST00003", 8),
        row("rollback", "rollback", "d-TEST00001", 0),
    ];
    assert_eq!(told(&file), wanted);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("cannot find the database"), "{text}");
}
