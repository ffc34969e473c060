//! Containers and images are pruned (by cron, by another group's hook) while a deployment is under way.

use nix::sys::signal::Signal;

use crate::compose::Project;
use crate::support::images::web;
use crate::support::world::{OTHER, OTHER_PASSWORD, base64};
use crate::support::{Bundle, Image, bundle, world};

/// Pushes an image, which the engine has no longer then; returns its reference.
fn push(name: &str, version: &str, image: impl Fn(&str) -> Image) -> String {
    let scratch = tempfile::tempdir_in(world().folder()).unwrap();
    let local = format!("{name}:{version}");
    let (archive, _) = image(&local).write_into(scratch.path());
    world().docker(&["load", "--input", archive.to_str().unwrap()]);
    world().push(OTHER, &local, &format!("team/{name}:{version}"));
    world().docker(&["rmi", "--force", &local]);
    format!("{OTHER}/team/{name}:{version}")
}

/// `docker system prune --all`, of this test's objects alone.
fn prune(name: &str, version: &str) {
    let (of_name, of_image) = (format!("label=balehook.name={name}"), format!("label=test={name}:{version}"));
    // An engine refuses a second one while another test's is under way.
    world().wait_for("prune", || {
        world().docker_may_fail(&["container", "prune", "--force", "--filter", &of_name]).is_ok()
    });
    // `docker image prune` of the containerd store disturbs pulls of other tests ("lease does not exist").
    let images = world().docker(&["images", "--quiet", "--no-trunc", "--filter", &of_image]);
    for image in images.lines().collect::<std::collections::BTreeSet<_>>() {
        world().docker(&["rmi", "--force", image]);
    }
}

fn log_in(bundle: &Bundle) {
    let auth = base64(&format!("team:{OTHER_PASSWORD}"));
    bundle.docker_config(&format!("{{\"auths\": {{\"{OTHER}\": {{\"auth\": \"{auth}\"}}}}}}"));
}

#[test]
fn a_stopped_container_and_its_image_that_are_pruned_come_back_from_what_is_saved_of_them() {
    let (world, name) = (world(), world().name("pruned"));
    let port = world.port();
    let old = push(&name, "1", |tag| web(tag, "one").volume("/data"));
    let new = push(&name, "2", |tag| Image::new(tag).script("sleep 1000"));
    let of = |image: &str| {
        let container = format!("image: {image}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
        bundle::appspec(&name, &container, "health: {http: /healthz, timeout: 4s}")
    };
    let mut it = Bundle::new(&of(&old));
    log_in(&it);
    it.hook("ApplicationStart").exits(0);
    world.docker(&["exec", &name, "/bin/busybox", "touch", "/data/kept"]);
    let is_back = || {
        let kept = world.docker_may_fail(&["exec", &name, "/bin/busybox", "test", "-e", "/data/kept"]);
        kept.is_ok() && world.containers(&name) == name && world.get(port, "/").as_deref() == Some("one")
    };

    it.appspec(&of(&new));
    let mut running = it.deployment("d-2").start("ApplicationStart");
    running.wait_until_said("] check health");
    prune(&name, "1");
    running.wait().exits(8).says("was created anew");
    assert!(is_back());

    let mut running = it.deployment("d-3").start("ApplicationStart");
    running.wait_until_said("] check health");
    running.signal(Signal::SIGKILL);
    running.wait();
    prune(&name, "1");
    it.resume().exits(0).prints("create container").says("brought back");
    assert!(is_back());
    it.resume().exits(0).says("nothing to recover");
    it.appspec(&of(&old));
    let id = world.inspect(&name, "{{.Id}}");
    it.deployment("d-4").hook("ApplicationStart").exits(0);
    assert_eq!(world.inspect(&name, "{{.Id}}"), id, "it is the same release");
}

#[test]
fn images_of_the_previous_project_that_are_pruned_are_pulled_again_when_it_comes_back() {
    let mut project = Project::new("cpruned", "services: {}", "");
    let text = std::fs::read_to_string(project.bundle.path().join("appspec.yml")).unwrap();
    project.bundle.appspec(&text.replace("health: {timeout: 20s}", "health: {timeout: 4s}"));
    log_in(&project.bundle);
    let deploy = |project: &mut Project, version: &str, page: &str| {
        let image = push(&project.name, version, |tag| web(tag, version));
        let check = format!("[CMD, /bin/busybox, wget, -q, -O, /dev/null, \"http://127.0.0.1/{page}\"]");
        let web = format!("image: \"{image}\", ports: [\"127.0.0.1:PORT:80\"], healthcheck: {{test: {check}}}");
        project.file("compose.yml", &format!("services: {{web: {{{web}, stop_grace_period: 0s}}}}"));
        project.bundle.deployment(version).start("ApplicationStart")
    };
    deploy(&mut project, "1", "healthz").wait().exits(0);

    let mut running = deploy(&mut project, "2", "none");
    running.wait_until_said("] check health");
    prune(&project.name, "1");

    running.wait().exits(8);
    assert_eq!(project.page().as_deref(), Some("1"));
}
