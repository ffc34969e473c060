//! `rollback`: a kept release serves again, from what the host has alone.

use crate::compose::Project;
use crate::handover::{Handed, shared};
use crate::support::cluster::{alone, appspec};
use crate::support::images::web;
use crate::support::{Served, world};

#[test]
fn a_kept_release_serves_again_without_its_bundle_and_one_whose_image_is_gone_leaves_what_serves() {
    let served = Served::with_next("backward", "health: {http: /healthz, timeout: 20s}");
    let (bundle, name) = (&served.bundle, served.name.as_str());
    bundle.hook("ApplicationStart").exits(0);
    served.serves("new");
    // Nothing of a revision is needed.
    std::fs::remove_dir_all(bundle.path()).unwrap();

    let dry = bundle.run_bare(&["rollback", name, "--dry-run"]);
    dry.exits(0).prints("back to ").prints("d-TEST00001").prints("~ image");
    served.serves("new");
    bundle.run_bare(&["rollback", name]).exits(0).says(&format!("{name}: runs"));
    served.serves("old");
    assert_eq!(world().inspect(name, "{{index .Config.Labels \"balehook.deployment\"}}"), "d-TEST00001");
    bundle.run_bare(&["status", name, "--exit-code"]).exits(0).prints(&format!("  release    {name}:1 (sha256:"));
    let serves = bundle.run_bare(&["rollback", name, "--to", "d-TEST00001"]);
    serves.exits(11);
    assert!(serves.stderr.contains("is what serves"), "{}", serves.stderr);

    bundle.run_bare(&["rollback", name, "--to", "2"]).exits(0);
    served.serves("new");
    let unknown = bundle.run_bare(&["rollback", name, "--to", "1.9.9"]);
    unknown.exits(11);
    assert!(unknown.stderr.contains("no release 1.9.9") && unknown.stderr.contains("kept are: "), "{}", unknown.stderr);

    for tag in world().docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).lines() {
        let is_first = tag == format!("{name}:1") || tag.starts_with(&format!("balehook/{name}:"));
        let _ = is_first.then(|| world().docker_may_fail(&["rmi", tag]));
    }
    let gone = bundle.run_bare(&["rollback", name]);
    gone.exits(6);
    assert!(gone.stderr.contains("is not in the engine any more"), "{}", gone.stderr);
    served.serves("new");
}

#[test]
fn a_release_whose_ports_are_switched_comes_back_beside_the_one_that_serves() {
    let _shared = shared();
    let mut web = Handed::new("backquiet", "");
    web.release("v1");
    web.release("v1").says("unchanged");
    web.release("v2");
    let address = |web: &Handed| world().inspect(&web.name, "{{index .Config.Labels \"balehook.address\"}}");
    let before = address(&web);

    web.bundle.run_bare(&["rollback", &web.name]).exits(0).says("runs");

    assert_eq!(web.answer().as_deref(), Ok("v1"));
    assert_ne!(address(&web), before, "each has an address of its own");
    assert_eq!(world().containers(&web.name), web.name, "exactly one container is left");
    web.bundle.resume().exits(0).says("nothing to recover");
}

#[test]
fn a_project_and_a_service_of_a_swarm_come_back_as_a_whole() {
    let project = Project::serving("backproject");
    let page = || project.page().unwrap_or_default();
    assert_eq!(page(), "one");
    project.image("image.tar", &web(&format!("{}:2", project.name), "two"));
    project.start().exits(0);
    assert_eq!(page(), "two");
    let before = project.running("db");
    project.bundle.run_bare(&["rollback", &project.name]).exits(0).says("runs");
    assert_eq!((page().as_str(), project.running("db")), ("one", before), "what is the same goes on");
    project.bundle.run_bare(&["rollback", &project.name, "--to", "d-TEST00002"]).exits(0);
    assert_eq!(page(), "two");

    let name = world().name("backservice");
    let options = "image: {archive: image.tar}\nstop_grace_period: 1s\ndeploy: {update_config: {monitor: 1s}}";
    let mut bundle = alone().bundle(1, &appspec(&name, options, "health: {timeout: 30s}"));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let label = || alone().service(1, &name, "{{index .Spec.Labels \"balehook.deployment\"}}");
    web(&format!("{name}:2"), "two").write_into(&bundle.path());
    bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0);
    assert_eq!(label(), "d-TEST00002");
    bundle.run_bare(&["rollback", &name]).exits(0).says("1 of 1 task run");
    assert_eq!(label(), "d-TEST00001");
    alone().docker(1, &["service", "rm", &name]);
}
