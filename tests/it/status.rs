//! What `status` says of what was changed by hand since a deployment, in each mode, and what monitoring is told.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::compose::Project;
use crate::support::cluster::{alone, appspec};
use crate::support::images::web;
use crate::support::{Bundle, Served, world};

/// What `status --format json` says of the one name: each change as `op option was becomes`.
fn drift(bundle: &Bundle, name: &str) -> Vec<String> {
    let status: Value = serde_json::from_str(&bundle.status(&[name, "--format", "json"]).exits(0).stdout).unwrap();
    let changes = status["names"][0]["drift"]["changes"].as_array().unwrap_or_else(|| panic!("{status:#}")).clone();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let one = |it: &Value| ["service", "op", "option", "was", "becomes"].map(|key| text(&it[key])).join(" ");
    changes.iter().map(one).collect()
}

#[test]
fn a_container_that_was_changed_by_hand_is_said_option_by_option_with_the_way_back_and_monitoring_is_told() {
    let options = "\nmem_limit: 64m\nrestart: unless-stopped\nenvironment: {LEVEL: info}";
    let served = Served::over("drift", options, "health: {http: /}");
    let (bundle, name) = (&served.bundle, served.name.as_str());
    let network = world().name("driftnet");
    bundle.status(&[]).exits(0).prints("/: 200 OK: old, in ").prints(&format!("{name}: healthy\n"));
    assert_eq!(drift(bundle, name), [""; 0]);

    world().docker(&["network", "create", &network]);
    world().docker(&["network", "connect", &network, name]);
    world().docker(&["update", "--memory", "96m", "--memory-swap", "192m", "--restart", "always", name]);
    let network_row = format!("- add networks.{network} - ");
    let rows = ["- change mem_limit 64M 96M", &network_row, "- change restart unless-stopped always"];
    assert_eq!(drift(bundle, name), rows);
    bundle
        .status(&["--exit-code"])
        .exits(0)
        .prints(&format!("{name}: healthy, changed by hand\n"))
        .prints("             ~ mem_limit ")
        .prints(&format!("  next       `docker network disconnect {network} {name}` takes it back at once\n"))
        .prints("  next       a deployment that changes anything creates the container anew, without this\n");

    let file = bundle.path().join("balehook.prom");
    bundle.status(&[&format!("--prometheus={}", file.display())]).exits(0);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    let text = std::fs::read_to_string(&file).unwrap();
    for (metric, value) in [("up", 1), ("healthy", 1), ("drift", 3), ("deployments_total", 1), ("leftovers", 0)] {
        let line = format!("\nbalehook_{metric}{{name=\"{name}\"}} {value}\n");
        assert!(text.contains(&line), "{line}\n{text}");
    }
    let line: Value = serde_json::from_str(&bundle.status(&[name, "--emf"]).exits(0).stdout).unwrap();
    assert_eq!(
        (&line["Name"], &line["Drift"], &line["LastDeploymentSuccess"]),
        (&json!(name), &json!(3.0), &json!(1.0))
    );

    world().docker(&["network", "disconnect", &network, name]);
    world().docker(&["network", "rm", &network]);
    world().docker(&["update", "--memory", "64m", "--memory-swap", "128m", "--restart", "unless-stopped", name]);
    assert_eq!(drift(bundle, name), [""; 0], "all of it was taken back");

    let image = world().inspect(name, "{{.Image}}");
    world().docker(&["rm", "--force", name]);
    world().docker(&["run", "--detach", "--name", name, "--env", "LEVEL=debug", &image]);
    bundle
        .status(&["--exit-code"])
        .exits(8)
        .prints(&format!("{name}: NOT the container that was deployed, changed by hand\n"))
        .prints("created by another tool")
        .prints("  next       deploy again: this container is replaced\n");
    let rows = drift(bundle, name);
    for row in ["- change environment info -", "- change mem_limit 64M 0", "- change restart unless-stopped no"] {
        assert!(rows.iter().any(|found| found == row), "{row}: {rows:#?}");
    }
    assert!(!rows.iter().any(|row| row.contains(" image ")), "it is the same image: {rows:#?}");
    bundle.hook("ApplicationStart").exits(0);
    served.serves("old");
    assert_eq!(drift(bundle, name), [""; 0]);
}

#[test]
fn a_project_is_compared_by_service_and_a_service_of_a_swarm_with_its_release_and_its_tasks_are_shown() {
    let project = Project::serving("driftproject");
    let (bundle, name) = (&project.bundle, project.name.as_str());
    assert_eq!(drift(bundle, name), [""; 0]);
    world().docker(&["update", "--restart", "on-failure:3", &format!("{name}-web-1")]);
    world().docker(&["rm", "--force", &format!("{name}-db-1")]);
    assert_eq!(drift(bundle, name), ["db change scale 1 0", "web change restart no on-failure:3"]);
    bundle
        .status(&[])
        .exits(0)
        .prints("    web:\n")
        .prints("  next       deploy again: Compose brings its services back\n");
    bundle.hook("ApplicationStart").exits(0);
    assert_eq!(drift(bundle, name), ["web change restart no on-failure:3"], "what deploying again left is still said");

    let name = world().name("driftservice");
    let options = "image: {archive: image.tar}\nstop_grace_period: 1s\ndeploy: {update_config: {monitor: 1s}}";
    let bundle = alone().bundle(1, &appspec(&name, options, "health: {timeout: 30s}"));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    bundle.status(&[&name]).exits(0).prints("  task       1 on ").prints(": running since ");
    assert_eq!(drift(&bundle, &name), [""; 0]);
    let set = ["--env-add", "LEVEL=debug", "--limit-memory", "64M", "--replicas", "2", "--quiet"];
    alone().docker(1, &[&["service", "update"][..], &set, &[&name]].concat());
    assert_eq!(
        drift(&bundle, &name),
        ["- add deploy.resources.limits.memory - 64M", "- add environment - debug"],
        "nothing is said of the tasks: the revision leaves their number to others"
    );
    bundle
        .status(&[&name])
        .exits(0)
        .prints("  next       deploy again: the service is updated to what its revision says\n");
    bundle.hook("ApplicationStart").exits(0);
    assert_eq!(drift(&bundle, &name), [""; 0]);
    alone().docker(1, &["service", "rm", &name]);
}
