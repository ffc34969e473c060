//! Every command, in each mode, on a host that has them all; `make test-engines` runs it on four engines.

use crate::side_by_side::{EVENTS, Host, MODES};
use crate::support::{Bundle, Outcome};

/// A deployment with two releases, of which the second one serves.
struct Deployed {
    name: String,
    image: String,
    bundle: Bundle,
}

impl Deployed {
    fn on(host: &Host, mode: &str) -> Self {
        let deploy = |id, page| {
            let bundle = host.revision(mode, id, page);
            EVENTS.map(|event| bundle.hook(event)).iter().for_each(|outcome| {
                outcome.exits(0);
            });
            bundle
        };
        deploy("d-1", "one");
        let bundle = deploy("d-2", "two");
        Self { name: host.name(mode), image: host.image(), bundle }
    }

    /// The command with the name.
    fn run(&self, command: &str, more: &[&str]) -> Outcome {
        let outcome = self.bundle.run_bare(&[&[command, self.name.as_str()], more].concat());
        outcome.exits(0);
        outcome
    }

    /// The command's JSON document about the name.
    fn json(&self, command: &str, more: &[&str]) -> serde_json::Value {
        let outcome = self.run(command, &[more, &["--format", "json"]].concat());
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{command}: {error}: {}", outcome.stdout))
    }
}

#[test]
fn every_command_knows_a_container_a_project_and_a_service_of_a_swarm() {
    let host = Host::new(2);
    for mode in MODES {
        let deployed = Deployed::on(&host, mode);
        reads(&deployed);
        stops_and_starts(&host, mode, &deployed);
        goes_back(&deployed);
    }
}

/// What changes nothing.
fn reads(deployed: &Deployed) {
    let (name, bundle) = (deployed.name.as_str(), &deployed.bundle);
    bundle.run(&["check"]).exits(0);
    bundle.run(&["plan", "--detailed-exitcode"]).exits(0);
    bundle.run(&["plan", "--format", "markdown"]).exits(0).prints(name);
    bundle.run_bare(&["doctor", "--format", "json"]);
    deployed.run("status", &["--exit-code"]).prints(&format!("{}:two", deployed.image)).prints("d-2");
    assert!(deployed.json("status", &[]).to_string().contains("d-2"));
    let history = deployed.run("history", &[]);
    assert_eq!(
        history.stdout.lines().filter(|line| line.contains("ApplicationStart")).count(),
        0,
        "{}",
        history.stdout
    );
    history.prints("d-1").prints("d-2");
    deployed.run("history", &["--deployment", "d-1"]).prints("ApplicationStart: succeeded");
    assert!(deployed.json("history", &["--deployment", "d-2"]).to_string().contains("ApplicationStart"));
    let page = deployed.run("history", &["--deployment", "d-2", "--html", "-"]);
    assert!(page.stdout.starts_with("<!DOCTYPE html>") && page.stdout.contains("d-2"), "{}", page.stdout);
    deployed.run("logs", &["--tail", "1"]);
    deployed.run("prune", &["--dry-run"]);
    deployed.run("resume", &["--dry-run"]).prints("nothing to change");
}

fn stops_and_starts(host: &Host, mode: &str, deployed: &Deployed) {
    let before = host.containers(mode);
    deployed.run("stop", &["--dry-run"]);
    assert_eq!(host.containers(mode), before);
    deployed.run("stop", &[]);
    deployed.run("status", &[]).prints(&format!("balehook start {}", deployed.name));
    deployed.run("start", &[]);
    deployed.run("restart", &[]);
    assert_ne!(host.containers(mode), before);
    deployed.run("status", &["--exit-code"]);
}

fn goes_back(deployed: &Deployed) {
    deployed.run("pin", &["d-1"]);
    deployed.run("status", &[]).prints("pinned");
    deployed.run("rollback", &["--dry-run"]).prints("d-1");
    deployed.run("rollback", &["--to", "d-1"]);
    deployed.run("status", &["--exit-code"]).prints(&format!("{}:one", deployed.image)).prints("d-1");
    deployed.run("unpin", &["d-1"]);
    deployed.run("history", &[]).prints("rollback");
}
