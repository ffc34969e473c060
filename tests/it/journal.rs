//! The lines of a program that systemd connected to its journal, in a real journald of the test's own.

use std::process::Command;

use crate::support::bundle::{BINARY, appspec};
use crate::support::world::repository;

/// A journald with folders of its own, and the program as a service of systemd would be connected to it. What is behind
/// it is printed as JSON.
const SCRIPT: &str = r#"set -eu
mount -t tmpfs none /run
mount -t tmpfs none /var/log
mkdir -p /run/systemd/journal /run/log/journal
/lib/systemd/systemd-journald >/dev/null 2>&1 &
journald=$!
trap 'kill $journald' EXIT
until [ -S /run/systemd/journal/socket ]; do sleep 0.1; done
# systemd names the stream that standard error is connected to.
systemd-cat sh -c 'JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2); export JOURNAL_STREAM; exec "$@"' sh "$@" || true
journalctl --sync
journalctl --output=json --no-pager SYSLOG_IDENTIFIER=balehook BALEHOOK_NAME=web
"#;

#[test]
fn lines_go_to_the_journal_with_what_they_are_about_and_what_ended_with_its_message_id() {
    let bundle = tempfile::tempdir().unwrap();
    let text = appspec("web", "image: registry.test/web:1\nrestart: always", "");
    std::fs::write(bundle.path().join("appspec.yml"), text).unwrap();
    std::fs::create_dir(bundle.path().join("hooks")).unwrap();
    std::fs::copy(repository().join("hooks/balehook"), bundle.path().join("hooks/balehook")).unwrap();
    let mut unshare = Command::new("unshare");
    // What the policy of a host refuses needs no engine.
    let policy = bundle.path().join("policy.yml");
    std::fs::write(&policy, "registries: [other.test]\n").unwrap();
    unshare.args(["--mount", "--propagation=private", "sh", "-c", SCRIPT, "sh", BINARY, "run", "ValidateService"]);
    unshare.arg("--appspec").arg(bundle.path()).arg("--policy").arg(policy).env("DEPLOYMENT_ID", "d-1");

    let output = unshare.output().unwrap();

    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let entries: Vec<serde_json::Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = entries.last().unwrap_or_else(|| panic!("nothing is there: {printed}"));
    let fields = ["BALEHOOK_EVENT", "BALEHOOK_DEPLOYMENT", "PRIORITY", "MESSAGE_ID", "_TRANSPORT"];
    let wanted = ["ValidateService", "d-1", "3", "b81e27d94c6a4c3f8f5570a9d2e36b18", "journal"];
    assert_eq!(fields.map(|field| last[field].as_str().unwrap_or_default()), wanted, "{printed}");
    let message = last["MESSAGE"].as_str().unwrap();
    assert!(message.starts_with("balehook: error: ") && message.ends_with(" (exit code 15)"), "{printed}");
}
