//! What `doctor` says of a host with a real engine, the ECR API and an S3 server.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::bundle::appspec;
use crate::support::served::service;
use crate::support::{Bundle, Served, world};

/// The checks of one run: `check: level`, for those that do not depend on the machine that the tests run on.
fn checks(report: &str) -> Vec<String> {
    let report: Value = serde_json::from_str(report).unwrap();
    // And what other tests leave on this engine.
    let of_the_machine =
        ["CodeDeploy agent", "IMDS", "disk", "units", "live-restore", "container logs", "policy", "leftovers"];
    let rows = report["checks"].as_array().unwrap().iter();
    let rows = rows.map(|row| (row["check"].as_str().unwrap(), row["level"].as_str().unwrap()));
    rows.filter(|(check, _)| !of_the_machine.contains(check))
        .map(|(check, level)| format!("{check}: {level}"))
        .collect()
}

fn found(report: &str, check: &str) -> String {
    let report: Value = serde_json::from_str(report).unwrap();
    let rows = report["checks"].as_array().unwrap();
    rows.iter().find(|row| row["check"] == check).unwrap()["found"].as_str().unwrap().to_owned()
}

#[test]
fn a_host_that_is_well_is_said_to_be_so_and_a_deployment_that_was_killed_there_is_a_problem_until_resume() {
    let served = Served::with_next("doctor", "health: {http: /healthz, timeout: 30s}");
    let options = service("{archive: image.tar}", served.port);
    served.bundle.appspec(&appspec(&served.name, &options, "health: {http: \"http://127.0.0.1:9/\", timeout: 30s}"));
    let well = [
        "engine: ok", "Compose: ok", "credential helper: ok", "AWS credentials: ok", "ECR: ok", "clock: ok",
        "state: ok", "switched ports: ok",
    ];

    world().wait_for_port(8333); // the S3 server, whose clock it reads
    let report = served.bundle.run_bare(&["doctor", "--format", "json"]);

    report.exits(0);
    assert_eq!(checks(&report.stdout), well);
    assert_eq!(found(&report.stdout, "AWS credentials"), "from variables of the environment");
    assert_eq!(found(&report.stdout, "ECR"), "ecr:GetAuthorizationToken is allowed in eu-west-1");
    assert!(found(&report.stdout, "container logs").starts_with(&served.name), "{}", report.stdout);

    let mut running = served.bundle.start("ApplicationStart");
    running.wait_until_said("check health");
    let meanwhile = served.bundle.run_bare(&["doctor"]);
    meanwhile.exits(0).prints("ApplicationStart,");
    running.signal(Signal::SIGKILL);
    running.wait();

    let left = served.bundle.run_bare(&["doctor"]);
    left.exits(11);
    let words = left.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("ApplicationStart of deployment d-TEST00002 was killed"), "{}", left.stdout);
    assert!(words.contains(&format!("balehook resume {}", served.name)), "{}", left.stdout);
    assert!(
        left.stdout.lines().all(|line| line.chars().count() <= 80 || !line.trim().contains(' ')),
        "{}",
        left.stdout
    );
    served.bundle.resume().exits(0);
    let again = served.bundle.run_bare(&["doctor", "--format", "json"]);
    assert_eq!((again.code, checks(&again.stdout)), (Some(0), well.map(str::to_owned).to_vec()));
    served.serves_old();
}

#[test]
fn an_engine_that_is_away_is_a_problem_and_all_else_is_looked_at_all_the_same() {
    let mut bundle = Bundle::container("away", "image: web:1", "");
    bundle.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    bundle.docker_config(r#"{"credHelpers": {"registry.test:5443": "nowhere"}}"#);

    world().wait_for_port(8333);
    let report = bundle.run_bare(&["doctor", "--format", "json"]);

    report.exits(5);
    let expected = [
        "engine: problem", "Compose: ok", "credential helper: problem", "AWS credentials: ok", "ECR: ok", "clock: ok",
        "state: ok",
    ];
    assert_eq!(checks(&report.stdout), expected);
    assert!(found(&report.stdout, "engine").contains("/nowhere/docker.sock cannot be reached"), "{}", report.stdout);
}
