//! `stop`, `start` and `restart` of what runs, and what `resume`, `doctor` and the next deployment make of it.

use crate::compose::Project;
use crate::support::cluster::{alone, appspec};
use crate::support::images::web;
use crate::support::{Served, world};

#[test]
fn a_container_that_was_stopped_stays_so_until_it_is_started_or_deployed_again() {
    let served = Served::with_next("byhand", "");
    let (bundle, name) = (&served.bundle, served.name.as_str());
    let state = || world().inspect(name, "{{.State.Status}}");

    bundle.run_bare(&["stop", name, "--dry-run"]).exits(0).prints("docker stop --time 1");
    assert_eq!(state(), "running");
    bundle.run_bare(&["stop", name]).exits(0).says(&format!("{name}: stopped"));
    assert_eq!(state(), "exited");
    bundle.run_bare(&["stop", name]).exits(0).says("unchanged");
    bundle.status(&[]).exits(0).prints(&format!("{name}: stopped by hand: `balehook start {name}`\n"));
    bundle.resume().exits(0).says(&format!("{name} was stopped by hand and stays so: balehook start {name}"));
    assert_eq!(state(), "exited");
    bundle.run_bare(&["doctor", "--format", "json"]).exits(0).prints(&format!("balehook start {name}"));

    bundle.run_bare(&["start", name]).exits(0).says(&format!("{name}: runs"));
    served.serves_old();
    let started = || world().inspect(name, "{{.State.StartedAt}}");
    let before = started();
    bundle.run_bare(&["restart", name]).exits(0).says(&format!("{name}: runs"));
    assert_ne!(started(), before);
    served.serves_old();

    bundle.run_bare(&["stop", name]).exits(0);
    bundle.hook("ApplicationStart").exits(0).says("resume starts it");
    served.serves("new");
    bundle.resume().exits(0).says("nothing to recover");
    bundle.run_bare(&["start", "nobody"]).exits(11);
}

#[test]
fn a_project_and_a_service_are_stopped_and_started_as_a_whole() {
    let project = Project::serving("handproject");
    let running = || world().running(&project.name).split_whitespace().count();
    assert_eq!(running(), 2);
    project.bundle.run_bare(&["stop", &project.name]).exits(0).says("stopped");
    project.bundle.resume().exits(0).says("stays so");
    assert_eq!(running(), 0);
    project.bundle.run_bare(&["start", &project.name]).exits(0).says("runs");
    assert_eq!(running(), 2);
    project.bundle.run_bare(&["restart", &project.name]).exits(0).says("runs");
    assert_eq!(running(), 2);

    let name = world().name("handservice");
    let options =
        "image: {archive: image.tar}\nstop_grace_period: 1s\ndeploy: {replicas: 2, update_config: {monitor: 1s}}";
    let bundle = alone().bundle(1, &appspec(&name, options, "health: {timeout: 30s}"));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let tasks = || alone().tasks(1, &name).len();
    let replicas = || alone().service(1, &name, "{{.Spec.Mode.Replicated.Replicas}}");
    bundle.run_bare(&["stop", &name]).exits(0).says(&format!("{name}: stop"));
    assert_eq!(replicas(), "0");
    bundle.resume().exits(0);
    assert_eq!(replicas(), "0");
    bundle.run_bare(&["start", &name]).exits(0).says("2 of 2 tasks run");
    assert_eq!((replicas(), tasks()), ("2".to_owned(), 2));
    bundle.run_bare(&["restart", &name]).exits(0).says("2 of 2 tasks run");
    bundle.run_bare(&["stop", &name]).exits(0);
    bundle.hook("ApplicationStart").exits(0).says("2 of 2 tasks run");
    alone().docker(1, &["service", "rm", &name]);
}

#[test]
fn prune_takes_what_no_release_needs_and_says_what_is_not_ours_and_the_service_goes_on() {
    let served = Served::over("prune", "", "");
    let (bundle, name) = (&served.bundle, served.name.as_str());
    let tags = || world().docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", &format!("balehook/{name}")]);
    let kept = tags();
    web(&format!("{name}:9"), "stray").write_into(&bundle.path());
    world().docker(&["load", "--input", bundle.path().join("image.tar").to_str().unwrap()]);
    let stray = format!("balehook/{name}:0123456789abcdef");
    world().docker(&["tag", &format!("{name}:9"), &stray]);
    let dangling = world().docker(&["commit", name]);

    let dry = bundle.run_bare(&["prune", name, "--dry-run", "--unmanaged"]);
    dry.exits(0).prints(&format!("docker rmi {stray}")).prints(&format!("docker rmi {}", &dangling[..19]));
    assert!(tags().contains(&stray), "nothing was done");
    bundle.run_bare(&["prune", name]).exits(0).says("1 references were taken off images");
    assert_eq!(tags(), kept);
    world().docker(&["rmi", &dangling]);
    bundle.run_bare(&["prune", name]).exits(0).says("nothing to prune");
    served.serves("old");
}
