//! Deployments that are stopped, killed, late, or not alone.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::kill_matrix::subject::{Host, Mode, Subject};
use crate::support::bundle::appspec;
use crate::support::cluster::Cluster;
use crate::support::images::web;
use crate::support::{Bundle, Image, world};

const HEALTH: &str = "health: {http: /healthz, timeout: 20s}";

/// A deployment that serves "old"; the bundle's next image is `next`.
fn served(stem: &str, next: impl Fn(&str) -> Image) -> (Bundle, String, u16, String) {
    let (world, name) = (world(), world().name(stem));
    let port = world.port();
    let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 3s");
    let mut bundle = Bundle::container(&name, &service, HEALTH);
    web(&format!("{name}:1"), "old").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let id = world.inspect(&name, "{{.Id}}");
    next(&format!("{name}:2")).write_into(&bundle.path());
    bundle.deployment("d-TEST00002");
    (bundle, name, port, id)
}

fn healthy(tag: &str) -> Image {
    web(tag, "new")
}

/// Serves, but is never healthy.
fn unhealthy(tag: &str) -> Image {
    Image::new(tag).script("sleep 1000")
}

#[test]
fn sigterm_at_every_step_leaves_exactly_one_serving_container() {
    let steps =
        ["] load ", "docker tag", "create container", "docker stop", ".balehook-old", "docker start", "check health"];
    for step in steps {
        let (bundle, name, port, id) = served("term", unhealthy);
        let mut running = bundle.start("ApplicationStart");
        running.wait_until_said(step);
        running.signal(Signal::SIGTERM);
        let outcome = running.wait();

        assert_eq!(outcome.code, Some(12), "{step}: {}", outcome.stdout);
        assert!(outcome.stdout.contains("SIGTERM was received"), "{step}: {}", outcome.stdout);
        assert_eq!(world().running(&name), id, "{step}: the old one runs, and nothing else");
        assert_eq!(world().containers(&name), name, "{step}: nothing is left");
        world().wait_for("the old container", || world().get(port, "/").as_deref() == Some("old"));
    }
}

#[test]
fn a_killed_deployment_is_undone_by_the_next_event_whatever_step_it_was_at() {
    for step in ["create container", "docker stop", ".balehook-old", "docker start", "check health"] {
        let (bundle, name, port, _) = served("kill", unhealthy);
        let mut running = bundle.start("ApplicationStart");
        running.wait_until_said(step);
        running.signal(Signal::SIGKILL);
        assert_eq!(running.wait().code, None);

        healthy(&format!("{name}:3")).write_into(&bundle.path());
        let mut bundle = bundle;
        bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(0);

        assert_eq!(world().containers(&name), name, "{step}: nothing is left");
        assert_eq!(world().get(port, "/").as_deref(), Some("new"), "{step}");
    }
}

#[test]
fn resume_puts_the_old_container_back_after_a_kill() {
    for step in ["docker stop", ".balehook-old", "docker start", "check health"] {
        let (bundle, name, port, id) = served("resume", unhealthy);
        let mut running = bundle.start("ApplicationStart");
        running.wait_until_said(step);
        running.signal(Signal::SIGKILL);
        running.wait();
        // What the engine was asked to do last may still be under way.
        std::thread::sleep(Duration::from_millis(3500));

        bundle.resume().exits(0);

        assert_eq!(world().running(&name), id, "{step}: the old one runs, and nothing else");
        assert_eq!(world().containers(&name), name, "{step}: nothing is left");
        world().wait_for("the old container", || world().get(port, "/").as_deref() == Some("old"));
        bundle.resume().exits(0).says("nothing to recover");
    }
}

#[test]
fn resume_starts_what_was_deployed_and_does_not_run() {
    let (bundle, name, port, id) = served("boot", healthy);
    world().crash(&name);

    bundle.resume().exits(0).says("docker start");

    assert_eq!(world().running(&name), id);
    world().wait_for("the container", || world().get(port, "/").as_deref() == Some("old"));
}

#[test]
fn resume_leaves_what_was_stopped_by_hand_unless_the_engine_itself_would_start_it() {
    let (mut bundle, name, port, id) = served("byhand", healthy);
    for stop in ["stop", "kill"] {
        world().docker(&[stop, &name]);
        bundle.resume().exits(0).says(&format!("{name} was stopped by hand and stays so: docker start {name}"));
        assert_eq!(world().running(&name), "", "{stop}");
        world().docker(&["start", &name]);
        assert_eq!(world().running(&name), id);
    }
    let text = std::fs::read_to_string(bundle.path().join("appspec.yml")).unwrap();
    bundle.appspec(&text.replace("    stop_grace_period: 3s", "    stop_grace_period: 1s\n    restart: always"));
    bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(0);
    world().docker(&["stop", &name]);
    bundle.resume().exits(0).says("docker start");
    world().wait_for("the container", || world().get(port, "/").as_deref() == Some("new"));
}

#[test]
fn after_a_power_loss_resume_starts_what_the_engine_does_not_and_leaves_what_was_stopped_by_hand() {
    let cluster = Cluster::start(1);
    let deployed = |stem: &str, restart: &str| {
        let name = world().name(stem);
        let service = format!("image: {{archive: image.tar}}\nstop_grace_period: 1s\nrestart: {restart}");
        let bundle = cluster.bundle(1, &appspec(&name, &service, "health: {timeout: 20s}"));
        web(&format!("{name}:1"), "one").write_into(&bundle.path());
        bundle.hook("ApplicationStart").exits(0);
        (bundle, name)
    };
    let all = [("plain", "\"no\""), ("always", "always"), ("unless", "unless-stopped"), ("off", "unless-stopped")];
    let mut all = all.map(|(stem, restart)| deployed(stem, restart));
    let running = || {
        let mut names: Vec<String> =
            cluster.docker(1, &["ps", "--format", "{{.Names}}"]).lines().map(str::to_owned).collect();
        names.sort_unstable();
        names
    };
    let names = all.each_ref().map(|(_, name)| name.clone());
    let [plain, always, unless, off] = &names;
    cluster.docker(1, &["stop", always]);
    cluster.docker(1, &["stop", off]);

    cluster.kill(1);
    cluster.restart(1);
    cluster.wait_for("the engine", || cluster.docker_may_fail(1, &["version"]).is_ok());
    cluster.wait_for("what the engine starts itself", || running() == [always.clone(), unless.clone()]);
    for (bundle, name) in &mut all {
        // The namespaces are those of the new engine.
        cluster.enter(1, bundle);
        let resumed = bundle.resume();
        let said = [
            (plain, "docker start plain"),
            (always, "nothing to recover"),
            (unless, "nothing to recover"),
            (off, "was stopped by hand"),
        ];
        resumed.exits(0).says(said.iter().find(|(known, _)| *known == name).unwrap().1);
    }
    assert_eq!(running(), [always.clone(), plain.clone(), unless.clone()]);
}

/// A deployment that serves "one" and takes 6 s to stop: a server that is process 1 ignores SIGTERM.
fn slow_to_stop(stem: &str) -> (Bundle, String, u16) {
    let (name, port) = (world().name(stem), world().port());
    let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 6s");
    let mut bundle = Bundle::container(&name, &service, HEALTH);
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    bundle.deployment("d-TEST00002");
    (bundle, name, port)
}

/// It answers, and goes on doing so when whatever the engine was asked to stop has ended.
fn serves_on(port: u16, page: &str) {
    assert_eq!(world().get(port, "/").as_deref(), Some(page));
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(world().get(port, "/").as_deref(), Some(page), "it was stopped afterwards");
}

#[test]
fn a_container_that_is_still_being_stopped_when_application_start_comes_is_not_taken_for_one_that_serves() {
    let (bundle, name, port) = slow_to_stop("stopping");
    let short = std::fs::read_to_string(bundle.path().join("appspec.yml")).unwrap();
    bundle.appspec(&short.replace(
        "ApplicationStop: [{location: hooks/balehook, timeout: 60}]",
        "ApplicationStop: [{location: hooks/balehook, timeout: 3}]",
    ));
    bundle.hook("ApplicationStop").exits(0);
    assert_eq!(world().inspect(&name, "{{.State.Running}}"), "true", "the stop goes on");

    bundle.hook("ApplicationStart").exits(0);

    serves_on(port, "one");
}

#[test]
fn a_container_whose_stop_outlives_a_killed_hook_serves_when_resume_or_the_next_event_has_ended() {
    for then in ["resume", "BeforeInstall"] {
        let (bundle, name, port) = slow_to_stop("outlives");
        web(&format!("{name}:2"), "two").write_into(&bundle.path());
        let mut running = bundle.start("ApplicationStart");
        running.wait_until_said("docker stop");
        std::thread::sleep(Duration::from_millis(500));
        running.signal(Signal::SIGKILL);
        running.wait();

        if then == "resume" { bundle.resume() } else { bundle.hook(then) }.exits(0);

        serves_on(port, "one");
    }
}

#[test]
fn a_signal_that_was_sent_long_ago_is_no_stop() {
    let (bundle, name, port) = slow_to_stop("signal");
    world().docker(&["kill", "--signal", "HUP", &name]);
    std::thread::sleep(Duration::from_secs(9));

    let outcome = bundle.hook("ApplicationStart");

    outcome.exits(0).says("unchanged");
    assert!(outcome.took < Duration::from_secs(5), "{:?}", outcome.took);
    assert_eq!(world().get(port, "/").as_deref(), Some("one"));
}

#[test]
fn what_an_engine_stops_because_the_one_before_was_killed_is_started_by_resume_and_what_was_stopped_by_hand_is_not() {
    let container = Host::start(Mode::StopFirst);
    let compose = Host { cluster: container.cluster.clone(), mode: Mode::Compose };
    let [mut web, mut off, mut project] = [&container, &container, &compose].map(Subject::new);
    for subject in [&mut web, &mut off, &mut project] {
        subject.release("one", 60);
        subject.hook("ApplicationStart").exits(0);
    }
    container.cluster.docker(1, &["stop", &off.name]);

    container.cluster.crash_engine(1);

    assert_eq!(container.lines(&["ps", "--quiet"]), [""; 0], "the engine starts none of them");
    web.resume().exits(0).says("brought back");
    off.resume().exits(0).says("was stopped by hand and stays so");
    project.resume().exits(0).says("brought back");
    for (subject, page) in [(&web, Some("one")), (&off, None), (&project, Some("one"))] {
        subject.serves(page).unwrap();
    }
}

#[test]
fn a_deployment_killed_at_its_first_release_leaves_nothing_for_the_next_one() {
    let (world, name) = (world(), world().name("newborn"));
    let port = world.port();
    let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    let bundle = Bundle::container(&name, &service, HEALTH);
    unhealthy(&format!("{name}:1")).write_into(&bundle.path());
    let mut running = bundle.start("ApplicationStart");
    running.wait_until_said("check health");
    running.signal(Signal::SIGKILL);
    running.wait();

    bundle.resume().exits(0).says("was interrupted: what it had begun is undone first");

    assert!(world.containers(&name).is_empty());
}

#[test]
fn the_deadline_is_the_hooks_own_timeout_less_what_undoing_needs() {
    let (bundle, name, port, id) = served("late", unhealthy);
    let text = std::fs::read_to_string(bundle.path().join("appspec.yml")).unwrap();
    bundle.appspec(&text.replace("timeout: 60}", "timeout: 15}"));

    let outcome = bundle.hook("ApplicationStart");

    outcome
        .exits(9)
        .says("the time for ApplicationStart was up after 15s")
        .says(" is not healthy yet: GET http://127.0.0.1:")
        .says(" times in ")
        .says("is back after")
        .says("raise the `timeout:`");
    assert!(outcome.took < Duration::from_secs(15), "{:?}", outcome.took);
    assert_eq!(world().running(&name), id);
    world().wait_for("the old container", || world().get(port, "/").as_deref() == Some("old"));
}

#[test]
fn a_second_deployment_waits_for_the_first_and_says_for_whom() {
    let (bundle, name, port, _) = served("two", healthy);
    let mut first = bundle.start("ApplicationStart");
    first.wait_until_said("docker stop");

    let second = bundle.hook("ApplicationStart");
    second.exits(0);
    assert!(second.stdout.contains("waiting: deployment d-TEST00002 (ApplicationStart, pid "), "{}", second.stdout);
    first.wait().exits(0);

    assert_eq!(world().containers(&name), name);
    assert_eq!(world().get(port, "/").as_deref(), Some("new"));
}

#[test]
fn a_deployment_that_waits_too_long_gives_up_before_its_deadline_and_touches_nothing() {
    let (bundle, name, _, id) = served("wait", unhealthy);
    let folder = bundle.state().join(&name);
    let lock = std::fs::File::options().write(true).open(folder.join("lock")).unwrap();
    std::fs::write(folder.join("lock"), r#"{"pid":1,"deployment":"d-OTHER","event":"AfterInstall"}"#).unwrap();
    lock.lock().unwrap();
    let text = std::fs::read_to_string(bundle.path().join("appspec.yml")).unwrap();
    bundle.appspec(&text.replace("timeout: 60}", "timeout: 4}"));

    let outcome = bundle.hook("ApplicationStart");

    outcome.exits(10).says("deployment d-OTHER (AfterInstall, pid 1) still holds").says("nothing was touched");
    assert!(outcome.took < Duration::from_secs(4), "{:?}", outcome.took);
    assert_eq!(world().running(&name), id);
}

#[test]
fn a_console_that_goes_away_does_not_stop_a_deployment() {
    let (bundle, name, port, _) = served("pipe", healthy);

    let code = bundle.start("ApplicationStart").without_reader();

    assert_eq!(code, Some(0));
    assert_eq!(world().get(port, "/").as_deref(), Some("new"));
    let log = std::fs::read_to_string(bundle.state().join(&name).join("balehook.log")).unwrap();
    assert!(log.contains("docker start"), "our own log has it all:\n{log}");
}

#[test]
fn the_next_deployments_preflight_already_puts_the_old_container_back() {
    let (mut bundle, name, port, id) = served("early", unhealthy);
    let mut running = bundle.start("ApplicationStart");
    running.wait_until_said("check health");
    running.signal(Signal::SIGKILL);
    running.wait();

    bundle.deployment("d-TEST00003").hook("BeforeInstall").exits(0).says("docker start");

    assert_eq!(world().running(&name), id);
    assert_eq!(world().containers(&name), name);
    world().wait_for("the old container", || world().get(port, "/").as_deref() == Some("old"));
}

#[test]
fn a_container_that_was_renamed_is_still_the_one_that_is_replaced() {
    let (mut bundle, name, port, id) = served("renamed", healthy);
    let other = format!("{name}-other");
    world().docker(&["rename", &name, &other]);

    bundle.hook("ApplicationStart").exits(0).says(&format!("docker rename {other} {name}"));

    assert_eq!(world().get(port, "/").as_deref(), Some("new"));
    assert_ne!(world().inspect(&name, "{{.Id}}"), id);
    assert_eq!(world().containers(&name), name, "nothing is left of it");

    world().docker(&["rename", &name, &other]);
    bundle.deployment("d-TEST00003").hook("ApplicationStop").exits(0);
    assert!(world().containers(&name).is_empty());
}
