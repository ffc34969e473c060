//! Deployments that succeed.

use crate::support::bundle::appspec;
use crate::support::images::web;
use crate::support::{Bundle, world};
use std::os::unix::fs::PermissionsExt as _;

fn service(port: u16) -> String {
    format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s")
}

const HEALTH: &str = "health: {http: /healthz, timeout: 20s}";

#[test]
fn a_first_deployment_brings_the_image_in_at_after_install_and_serves_at_application_start() {
    let (world, name) = (world(), world().name("first"));
    let port = world.port();
    let bundle = Bundle::container(&name, &service(port), HEALTH);
    let (_, id) = web(&format!("{name}:1"), "one").write_into(&bundle.path());

    bundle.hook("ApplicationStop").exits(0).says("nothing to do");
    bundle.hook("BeforeInstall").exits(0).says("nothing to do");
    bundle.hook("AfterInstall").exits(0).says("] load ");
    assert!(world.containers(&name).is_empty(), "AfterInstall starts nothing");
    let started = bundle.hook("ApplicationStart");
    started.exits(0).says(&format!("127.0.0.1:{port}->80/tcp"));
    assert!(!started.stdout.contains(" load "), "the image is there already:\n{}", started.stdout);
    bundle.hook("ValidateService").exits(0);

    assert_eq!(world.get(port, "/").as_deref(), Some("one"));
    assert_eq!(world.containers(&name), name);
    let labels = "{{index .Config.Labels \"balehook.name\"}} {{index .Config.Labels \"balehook.deployment\"}} {{index .Config.Labels \"balehook.revision\"}} {{index .Config.Labels \"balehook.digest\"}}";
    assert_eq!(world.inspect(&name, labels), format!("{name} d-TEST00001 s3://revisions/web.zip {id}"));
    assert_eq!(world.config_digest(&name), id);
}

#[test]
fn a_redeployment_replaces_the_container_and_keeps_the_old_image_for_a_rollback() {
    let (world, name) = (world(), world().name("again"));
    let port = world.port();
    let mut bundle = Bundle::container(&name, &service(port), HEALTH);
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let old = world.inspect(&name, "{{.Id}}");

    web(&format!("{name}:2"), "two").write_into(&bundle.path());
    bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0).says(", down ");

    assert_eq!(world.get(port, "/").as_deref(), Some("two"));
    assert_eq!(world.containers(&name), name, "nothing is left beside it");
    assert_ne!(world.inspect(&name, "{{.Id}}"), old);
    let kept = world.docker(&["images", "--format", "{{.Tag}}", &format!("balehook/{name}")]);
    assert_eq!(kept.lines().count(), 2, "both images are kept:\n{kept}");
}

#[test]
fn the_same_deployment_again_restarts_nothing_and_loads_nothing() {
    let (world, name) = (world(), world().name("same"));
    let port = world.port();
    let mut bundle = Bundle::container(&name, &service(port), HEALTH);
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let before = world.inspect(&name, "{{.Id}} {{.State.StartedAt}}");

    bundle.hook("ApplicationStart").exits(0).says("unchanged");
    let again = bundle.deployment("d-TEST00002").hook("ApplicationStart");
    again.exits(0).says("unchanged");

    assert!(!again.stdout.contains(" load "), "{}", again.stdout);
    assert_eq!(world.inspect(&name, "{{.Id}} {{.State.StartedAt}}"), before);
    bundle.run(&["plan", "--detailed-exitcode"]).exits(0).says("nothing to change");
}

#[test]
fn a_stopped_container_of_the_same_release_is_started_again() {
    let (world, name) = (world(), world().name("stopped"));
    let port = world.port();
    let bundle = Bundle::container(&name, &service(port), HEALTH);
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let id = world.inspect(&name, "{{.Id}}");
    world.docker(&["stop", "--time", "0", &name]);

    bundle.hook("ApplicationStart").exits(0).says("docker start");

    assert_eq!(world.inspect(&name, "{{.Id}}"), id);
    assert_eq!(world.get(port, "/").as_deref(), Some("one"));
}

#[test]
fn of_a_container_that_was_started_by_hand_the_plan_says_what_changes_and_nothing_that_nobody_has_chosen() {
    let (world, name, port) = (world(), world().name("byhand"), world().port());
    let bundle = Bundle::container(&name, &service(port), HEALTH);
    let tag = format!("{name}:1");
    let (archive, _) = web(&tag, "one").write_into(&bundle.path());
    world.docker(&["load", "--input", archive.to_str().unwrap()]);
    let publish = format!("127.0.0.1:{port}:80");
    let chosen = ["--env", "FEATURE_X=on", "--label", "team=shop", "--memory", "64m", "--stop-timeout", "1"];
    let run = [&["run", "--detach", "--name", &name, "--publish", &publish], &chosen[..], &[&tag]].concat();
    world.docker(&run);

    let plan = bundle.run(&["plan"]);
    let lines = plan.exits(0).stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut lines = lines.skip_while(|line| !line.starts_with("changes, compared with "));
    let heading = lines.next().unwrap();
    assert!(heading.ends_with(", which is not managed by balehook:"), "{heading}");
    // With the containerd store the ID of an image is another digest than that of its config.
    let changes =
        lines.take_while(|line| line.starts_with(['+', '~', '-']) && !line.contains(". ")).collect::<Vec<_>>();
    let changes: Vec<&String> = changes.iter().filter(|line| !line.starts_with("~ image ")).collect();
    assert_eq!(changes, ["- environment FEATURE_X (sensitive, removed)", "- labels team shop", "- mem_limit 64M"]);

    bundle.hook("ApplicationStart").exits(0);
    assert_eq!(world.inspect(&name, "{{.HostConfig.Memory}}"), "0");
    assert_eq!(world.get(port, "/").as_deref(), Some("one"));
}

#[test]
fn a_changed_option_alone_is_a_new_container_and_the_plan_marks_it() {
    let (world, name) = (world(), world().name("option"));
    let port = world.port();
    let bundle = Bundle::container(&name, &service(port), HEALTH);
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);

    let more = format!("{}\nenvironment: {{COLOUR: blue, DB_PASSWORD: hunter2}}", service(port));
    bundle.appspec(&crate::support::bundle::appspec(&name, &more, HEALTH));
    let plan = bundle.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(2), "{}", plan.stderr);
    assert!(plan.has_line("changes, compared with release d-TEST00001:"), "{}", plan.stdout);
    assert!(plan.has_line("+ environment COLOUR blue"), "{}", plan.stdout);
    assert!(plan.has_line("+ environment DB_PASSWORD (sensitive, added)"), "{}", plan.stdout);
    assert!(!plan.stdout.contains("hunter2") && !plan.stdout.contains(" load "), "{}", plan.stdout);

    bundle.hook("ApplicationStart").exits(0);
    let env = world.inspect(&name, "{{.Config.Env}}");
    assert!(env.contains("COLOUR=blue") && env.contains("DB_PASSWORD=hunter2"), "{env}");
    // What brings the release back is for its owner alone, and the only place.
    let state = bundle.state().join(&name);
    let mode = std::fs::metadata(state.join("releases/000002.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let log = std::fs::read_to_string(state.join("balehook.log")).unwrap();
    assert!(!log.contains("hunter2"), "the log holds a secret:\n{log}");
}

#[test]
fn a_release_that_changes_only_a_mounted_file_is_another_one_and_what_the_container_wrote_is_no_change() {
    let (world, name) = (world(), world().name("file"));
    let file = world.folder().join(format!("{name}.conf"));
    // As the agent installs it: another file under the same path.
    let install = |content: &str| {
        std::fs::write(file.with_extension("new"), content).unwrap();
        std::fs::rename(file.with_extension("new"), &file).unwrap();
    };
    let port = world.port();
    let service = format!("{}\nvolumes: [\"{}:/conf/app.conf\"]", service(port), file.display());
    let mut bundle = Bundle::container(&name, &service, HEALTH);
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    install("one");
    bundle.inside(world.pid()).with_processes().hook("ApplicationStart").exits(0);
    let (id, has) = (
        || world.inspect(&name, "{{.Id}}"),
        || world.docker(&["exec", &name, "/bin/busybox", "cat", "/conf/app.conf"]),
    );
    let first = id();

    world.docker(&["exec", &name, "/bin/busybox", "sh", "-c", "echo more >> /conf/app.conf"]);
    bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0).says("unchanged");
    install("one");
    bundle.hook("ApplicationStart").exits(0).says("unchanged");
    assert_eq!(id(), first);

    install("two");
    let plan = bundle.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(2), "{}", plan.stderr);
    plan.prints(&format!("{} is another file than {name} has", file.display()));
    assert!(plan.stdout.contains(&format!("content of {}", file.display())), "{}", plan.stdout);
    bundle.hook("ApplicationStart").exits(0);
    assert_eq!(has(), "two");

    // A failed deployment starts the old container again, with the file that is there by then.
    install("three");
    bundle.appspec(&crate::support::bundle::appspec(
        &name,
        &format!("{service}\ncommand: [\"/bin/busybox\", \"false\"]"),
        HEALTH,
    ));
    bundle.hook("ApplicationStart").exits(8);
    assert_eq!(has(), "three");
    install("two");
    bundle.appspec(&crate::support::bundle::appspec(&name, &service, HEALTH));
    bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(0);
    assert_eq!(has(), "two");
}

#[test]
fn application_stop_removes_what_it_finds_and_cannot_fail_a_second_time() {
    let (world, name) = (world(), world().name("stop"));
    let port = world.port();
    let bundle = Bundle::container(&name, &service(port), HEALTH);
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);

    bundle.hook("ApplicationStop").exits(0);
    assert!(world.containers(&name).is_empty());
    bundle.hook("ApplicationStop").exits(0).says("nothing to do");
}

#[test]
fn an_unmanaged_container_with_the_configured_name_is_replaced_and_the_plan_says_so() {
    let (world, name) = (world(), world().name("stranger"));
    let port = world.port();
    let bundle = Bundle::container(&name, &service(port), HEALTH);
    let (archive, _) = web(&format!("{name}:1"), "one").write_into(&bundle.path());
    world.docker(&["load", "--input", archive.to_str().unwrap()]);
    world.docker(&["run", "--detach", "--volume", "/kept", "--name", &name, &format!("{name}:1")]);
    let volume = world.inspect(&name, "{{(index .Mounts 0).Name}}");

    let plan = bundle.run(&["plan"]);
    plan.exits(0).prints("bears the name").prints(&format!("docker rm --force {name}.balehook-old"));
    bundle.hook("ApplicationStart").exits(0);

    assert_eq!(world.inspect(&name, "{{index .Config.Labels \"balehook.name\"}}"), name);
    assert_eq!(
        world.docker(&["volume", "ls", "--quiet", "--filter", &format!("name={volume}")]),
        volume,
        "its data stays"
    );
    assert_eq!(world.get(port, "/").as_deref(), Some("one"));
}

#[test]
fn an_ephemeral_host_port_is_printed_and_recorded() {
    let (world, name) = (world(), world().name("any"));
    let bundle = Bundle::container(
        &name,
        "image: {archive: image.tar}\nports: [\"127.0.0.1::80\"]\nstop_grace_period: 1s",
        HEALTH,
    );
    web(&format!("{name}:1"), "one").write_into(&bundle.path());

    let outcome = bundle.hook("ApplicationStart");
    outcome.exits(0);

    let port = world.docker(&["port", &name, "80/tcp"]);
    outcome.says(&format!("{port}->80/tcp"));
    let record = std::fs::read_to_string(bundle.state().join(&name).join("releases/000001.json")).unwrap();
    assert!(record.contains(&format!("{port}->80/tcp")), "{record}");
}

#[test]
fn only_as_many_releases_as_keep_says_have_their_images_left() {
    let (world, name) = (world(), world().name("keep"));
    let port = world.port();
    let mut bundle = Bundle::container(&name, &service(port), &format!("{HEALTH}\nkeep: 2"));
    for version in ["1", "2", "3", "4"] {
        web(&format!("{name}:{version}"), version).write_into(&bundle.path());
        let named = format!("archive: image.tar, reference: \"{name}:{version}\"");
        let service = service(port).replace("archive: image.tar", &named);
        bundle.appspec(&appspec(&name, &service, &format!("{HEALTH}\nkeep: 2")));
        bundle.deployment(&format!("d-{version}")).hook("ApplicationStart").exits(0);
    }
    let of = |repository: &str| {
        world.docker(&["images", "--format", "{{.Tag}}", repository]).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of(&format!("balehook/{name}")).len(), 2);
    let mut left = of(&name);
    left.sort_unstable();
    assert_eq!(left, ["3", "4"]);
}

#[test]
fn health_by_the_images_own_healthcheck_is_asked_at_once_and_not_at_the_engines_interval() {
    let (world, name) = (world(), world().name("own"));
    let bundle =
        Bundle::container(&name, "image: {archive: image.tar}\nstop_grace_period: 1s", "health: {timeout: 20s}");
    web(&format!("{name}:1"), "one")
        .healthcheck(&["CMD", "/bin/busybox", "wget", "-q", "-O", "-", "http://127.0.0.1/healthz"])
        .write_into(&bundle.path());

    bundle.hook("ApplicationStart").exits(0);

    // The engine itself asks after 30 s for the first time.
    assert_eq!(world.inspect(&name, "{{.State.Health.Status}}"), "starting");
}

#[test]
fn an_event_without_work_says_so_in_one_line_and_never_asks_the_engine() {
    let name = world().name("idle");
    let mut bundle = Bundle::container(&name, "image: {archive: image.tar}", "");
    bundle.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    for event in ["BeforeBlockTraffic", "AfterBlockTraffic", "BeforeAllowTraffic", "AfterAllowTraffic"] {
        bundle.hook(event).exits(0).says(&format!("{event}: nothing to do"));
    }
}

#[test]
fn a_dry_run_without_engine_and_aws_prints_the_plan_with_what_it_assumed() {
    let name = world().name("dry");
    let mut bundle = Bundle::container(
        &name,
        "image: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:1\nports: [\"80:80\"]",
        HEALTH,
    );
    bundle.env("DOCKER_HOST", "unix:///nowhere/docker.sock");

    let plan = bundle.run(&["plan"]);
    plan.exits(0).prints("assumed: no engine was asked").prints("docker pull");
    assert!(plan.has_line("ports 80:80"), "{}", plan.stdout);
    assert!(!bundle.state().exists(), "a dry run writes nothing");

    let json = bundle.run(&["plan", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&json.exits(0).stdout).unwrap();
    assert_eq!(value["has_changes"], true);
    for (index, step) in value["steps"].as_array().unwrap().iter().enumerate() {
        let run = step["run"].as_str().unwrap();
        assert!(plan.stdout.contains(&format!("{}. {run}", index + 1)), "{run} is not in\n{}", plan.stdout);
    }
}

#[test]
fn a_plan_beside_an_archive_that_is_not_built_yet_is_whole_and_invents_no_digest() {
    let name = world().name("unbuilt");
    let bundle = Bundle::container(&name, "image: {archive: image.tar}\nports: [\"80:80\"]", HEALTH);
    let plan = bundle.run(&["plan"]);
    let why = format!(": cannot read the archive {}", bundle.path().join("image.tar").display());
    plan.exits(6).prints("would fail: appspec.yml:").prints(&why);
    plan.prints("docker start").prints("(not resolved)");
    assert!(plan.has_line("labels.balehook.digest (not resolved)"), "{}", plan.stdout);
    assert!(!plan.stdout.contains("sha256:"), "{}", plan.stdout);
    let json: serde_json::Value = serde_json::from_str(&bundle.run(&["plan", "--format", "json"]).stdout).unwrap();
    assert_eq!(json["would_fail"][0]["exit_code"], 6);
}

#[test]
fn without_any_check_a_new_container_must_run_for_three_seconds_and_one_that_already_does_need_not() {
    let name = world().name("settle");
    let bundle = Bundle::container(&name, "image: {archive: image.tar}\nstop_grace_period: 1s", "");
    web(&format!("{name}:1"), "one").write_into(&bundle.path());

    assert!(bundle.hook("ApplicationStart").exits(0).took.as_secs() >= 3);
    // It would need 3 s of this one second otherwise.
    bundle.appspec(&crate::support::bundle::appspec(
        &name,
        "image: {archive: image.tar}\nstop_grace_period: 1s",
        "health: {timeout: 1s}",
    ));
    bundle.hook("ValidateService").exits(0);
}
