//! Services of a swarm of one node.

use std::time::Duration;

use crate::race::losing_on;
use crate::support::cluster::{Cluster, alone, appspec};
use crate::support::images::web;
use crate::support::prober::{Prober, Seen, keep_alive_server};
use crate::support::world::repository;
use crate::support::{Answers, Bundle, Image, world};

pub mod several;
mod token;

const ARCHIVE: &str = "image: {archive: image.tar}\nstop_grace_period: 1s\n";
/// A short watch, so that the tests are quick.
const QUICK: &str = "deploy: {update_config: {monitor: 1s}, rollback_config: {monitor: 1s}}";

/// A bundle for the swarm of one node.
fn bundle(name: &str, swarm: &str) -> Bundle {
    alone().bundle(1, &appspec(name, swarm, "health: {timeout: 30s}"))
}

/// The version that every write to a service moves on.
fn version(name: &str) -> String {
    alone().service(1, name, "{{.Version.Index}}")
}

fn image_id(name: &str) -> String {
    alone().service(1, name, "{{.Spec.TaskTemplate.ContainerSpec.Image}}")
}

#[test]
fn a_host_in_no_swarm_is_told_the_command_and_init_makes_a_swarm_of_it() {
    let cluster = Cluster::start(1);
    let name = world().name("outside");
    let bundle = cluster.bundle(1, &appspec(&name, &format!("{ARCHIVE}{QUICK}"), ""));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    for event in ["BeforeInstall", "ApplicationStart"] {
        bundle
            .hook(event)
            .exits(5)
            .says("this host is in no swarm")
            .says("next: docker swarm init")
            .says("nothing was touched");
    }
    bundle.hook("ApplicationStop").exits(0);
    bundle.run(&["plan"]).exits(5).prints("would fail: this host is in no swarm").prints("create service");

    // A deployment that is stopped when it has made the swarm ends its task there.
    let waiting = "before:\n  - {name: wait, command: [/bin/busybox, sleep, \"1000\"]}";
    bundle.appspec(&appspec(&name, &format!("{ARCHIVE}init: true\n{QUICK}"), waiting));
    let mut running = bundle.start("ApplicationStart");
    running.wait_until_said("task wait");
    let tasks = || cluster.docker_may_fail(1, &["ps", "--quiet"]).unwrap_or_default();
    cluster.wait_for("the task", || !tasks().is_empty());
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait().exits(12);
    // The lock of the task is left, and runs nothing.
    let replicas = || cluster.docker(1, &["service", "ls", "--format", "{{.Replicas}}"]);
    cluster.wait_for("the task's end", || replicas() == "0/0" && tasks().is_empty());
    cluster.docker(1, &["swarm", "leave", "--force"]);

    bundle.appspec(&appspec(&name, &format!("{ARCHIVE}init: true\n{QUICK}"), ""));
    bundle.hook("ApplicationStart").exits(0).says("docker swarm init").says("1 of 1 task run");
    bundle.hook("ApplicationStart").exits(0).says("unchanged");
}

#[test]
fn an_image_that_is_lost_before_the_service_is_created_is_brought_in_once_more() {
    let (cluster, name) = (alone(), world().name("slost"));
    let tasks = "before:\n  - {name: lose, run: lose}";
    let bundle = cluster.bundle(1, &appspec(&name, &format!("{ARCHIVE}{QUICK}"), tasks));
    let tag = format!("{name}:1");
    let (_, config) = web(&tag, "one").write_into(&bundle.path());
    bundle.program("lose", &losing_on(&cluster.docker_host(1), &cluster.exec(1), &tag, &config));
    bundle.hook("AfterInstall").exits(0);

    bundle.hook("ApplicationStart").exits(0).says("1 of 1 task run");

    let log = std::fs::read_to_string(bundle.state().join(&name).join("balehook.log")).unwrap();
    assert_eq!(log.matches("the image is imported again").count(), 1, "{log}");
    bundle.hook("ApplicationStart").exits(0).says("unchanged");
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn the_ready_made_revision_is_deployed_twice_and_a_broken_one_is_rolled_back() {
    let cluster = alone();
    let text = std::fs::read_to_string(repository().join("appspec/swarm/appspec.yml")).unwrap();
    let mut bundle = cluster.bundle(1, &text);
    std::fs::create_dir(bundle.path().join("conf")).unwrap();
    let motd = bundle.path().join("conf/motd");
    std::fs::copy(repository().join("appspec/swarm/conf/motd"), &motd).unwrap();
    let deploy = |bundle: &Bundle| {
        ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"].map(|event| bundle.hook(event))
    };
    web("ready:1", "one").write_into(&bundle.path());
    deploy(&bundle).iter().for_each(|outcome| {
        outcome.exits(0);
    });
    assert_eq!(cluster.tasks(1, "web").len(), 2);

    let (_, id) = web("ready:2", "two").write_into(&bundle.path());
    std::fs::write(&motd, "changed").unwrap();
    bundle.deployment("d-TEST00002");
    let done = deploy(&bundle);
    done.iter().for_each(|outcome| {
        outcome.exits(0);
    });
    done[2].says("docker config create motd-").says("2 of 2 tasks run");
    let labels = "{{index .Spec.Labels \"balehook.deployment\"}} {{index .Spec.Labels \"balehook.digest\"}}";
    assert_eq!(cluster.service(1, "web", labels), format!("d-TEST00002 {id}"));
    let running = image_id("web");
    assert_eq!(cluster.tasks(1, "web"), [format!("{running} Running"), format!("{running} Running")]);

    let broken = Image::new("ready:3").script("echo cannot reach the database; exit 3");
    broken.write_into(&bundle.path());
    let failed = bundle.deployment("d-TEST00003").hook("ApplicationStart");
    failed.exits(8).says("non-zero exit (3)").says("cannot reach the database").says("old service: web");
    assert_eq!(image_id("web"), running, "the release before is in force");
    cluster.wait_for_tasks(1, "web", &running, 2);
    bundle.hook("ApplicationStop").exits(0).says("nothing to do");
    cluster.docker(1, &["service", "rm", "web"]);
}

#[test]
fn an_unchanged_release_writes_nothing_and_what_was_set_by_hand_is_said_and_overwritten() {
    let (cluster, name) = (alone(), world().name("drift"));
    let everything = format!(
        "{ARCHIVE}environment: {{A: b, DB_PASSWORD: hunter2}}\ntmpfs: [\"/run:size=1m,mode=1777\"]\nvolumes: [\"{name}:/data:ro\"]\n\
         healthcheck: {{test: [CMD, /bin/busybox, \"true\"], interval: 1s, start_period: 2s}}\nulimits: {{nofile: 1024}}\n\
         cap_add: [net_admin]\nextra_hosts: [\"a=10.0.0.1\"]\ndns: [10.0.0.2]\nsysctls: {{net.ipv4.ip_forward: 1}}\n\
         labels: {{a: b}}\nhostname: h\nuser: \"0\"\nread_only: true\nstop_signal: SIGTERM\nnetworks: {{{name}: {{attachable: true, aliases: [www]}}}}\n\
         configs: [{{source: {name}, file: page, mode: \"0440\"}}]\nsecrets: [{{source: {name}, file: page}}]\ninit_process: true\n\
         logging: {{driver: json-file, options: {{max-size: 1m}}}}\nports: [{{target: 80, mode: host}}]\n\
         deploy: {{labels: {{team: shop}}, endpoint_mode: dnsrr, restart_policy: {{condition: on-failure, delay: 1s, max_attempts: 3, window: 10s}}, \
         placement: {{constraints: [node.role==manager], preferences: [{{spread: node.labels.zone}}], max_replicas_per_node: 2}}, \
         resources: {{limits: {{cpus: \"0.5\", memory: 64M, pids: 50}}, reservations: {{memory: 8M, cpus: \"0.01\"}}}}, \
         update_config: {{monitor: 1s, max_failure_ratio: 0.5, parallelism: 0, delay: 1s}}}}"
    );
    let mut bundle = bundle(&name, &everything);
    std::fs::write(bundle.path().join("page"), "one").unwrap();
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let before = version(&name);

    let shown = format!("{name}: 1 of 1 tasks run\n  release    {name}:1 (sha256:");
    bundle.status(&[]).exits(0).prints(&shown).prints("  deployment d-TEST00001\n");
    bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0).says("unchanged");
    bundle.run(&["plan", "--detailed-exitcode"]).exits(0).says("nothing to change");
    assert_eq!(version(&name), before, "nothing was written");

    cluster.docker(1, &["service", "update", "--detach", "--limit-memory", "32M", "--env-add", "BY_HAND=1", &name]);
    let plan = bundle.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(2), "{}", plan.stdout);
    for line in [
        "note: deploy.resources.limits.memory 32M: set by hand, is overwritten",
        "note: environment.BY_HAND 1: set by hand, is overwritten",
        "~ deploy.resources.limits.memory 32M → 64M",
        "- environment BY_HAND 1",
    ] {
        assert!(plan.has_line(line), "{line}:\n{}", plan.stdout);
    }
    assert!(!plan.stdout.contains("hunter2"), "{}", plan.stdout);
    bundle.hook("ApplicationStart").exits(0).says("update service");
    let limit =
        "{{.Spec.TaskTemplate.Resources.Limits.MemoryBytes}} {{.Spec.TaskTemplate.ContainerSpec.Healthcheck.Test}}";
    assert_eq!(cluster.service(1, &name, limit), "67108864 [CMD /bin/busybox true]");
    bundle.hook("ApplicationStart").exits(0).says("unchanged");

    // A changed file is another config and another secret; those of the release before the last go.
    for content in ["two", "three"] {
        std::fs::write(bundle.path().join("page"), content).unwrap();
        bundle.hook("ApplicationStart").exits(0);
    }
    let configs = cluster.docker(1, &["config", "ls", "--format", "{{.Name}}", "--filter", &format!("name={name}")]);
    assert_eq!(configs.lines().count(), 2, "{configs}");
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn a_broken_release_exits_with_8_where_docker_service_update_exits_with_0_and_both_roll_back() {
    let (cluster, name) = (alone(), world().name("broken"));
    let mut bundle = bundle(&name, &format!("{ARCHIVE}{QUICK}"));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let good = image_id(&name);
    bundle.deployment("d-TEST00002");
    Image::new(&format!("{name}:2")).script("echo no database >&2; exit 3").write_into(&bundle.path());
    bundle.hook("AfterInstall").exits(0);

    let ours = bundle.hook("ApplicationStart");
    ours.exits(8)
        .says("task 1 on ")
        .says("non-zero exit (3)")
        .says("| no database")
        .says(&format!("old service: {name}"));
    assert_eq!(image_id(&name), good);
    cluster.wait_for_tasks(1, &name, &good, 1);

    let id = cluster.docker(1, &["images", "--no-trunc", "--quiet", "--filter", &format!("label=test={name}:2")]);
    let theirs = cluster.docker_may_fail(1, &["service", "update", "--image", &id, &name]);
    assert!(theirs.is_ok_and(|said| said.contains("rollback")), "docker calls that a success");
    assert_eq!(image_id(&name), good);
    cluster.wait_for_tasks(1, &name, &good, 1);

    // The release before again, while the swarm may still be at its rollback: that is what it went back to.
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    let again = bundle.deployment("d-TEST00003").hook("ApplicationStart");
    again.exits(0).says("1 of 1 task run");
    let writes = ["docker service", "update service"].iter().any(|step| again.stdout.contains(step));
    assert!(!writes, "nothing is written:\n{}", again.stdout);
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn a_first_release_that_is_broken_is_taken_down_and_said_so() {
    let (cluster, name) = (alone(), world().name("first"));
    let bundle = bundle(&name, &format!("{ARCHIVE}{QUICK}"));
    Image::new(&format!("{name}:1")).script("exit 4").write_into(&bundle.path());
    let failed = bundle.hook("ApplicationStart");
    failed
        .exits(8)
        .says("non-zero exit (4)")
        .says(&format!("old service: there was none, so nothing serves as {name}"));
    assert!(cluster.docker_may_fail(1, &["service", "inspect", &name]).is_err(), "it is removed");
}

#[test]
fn a_task_that_no_node_takes_is_a_failed_deployment_and_the_old_task_runs_on() {
    let (cluster, name) = (alone(), world().name("nowhere"));
    let bundle = bundle(&name, &format!("{ARCHIVE}{QUICK}"));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let old = cluster.docker(1, &["service", "ps", "--quiet", &name]);
    let with = |deploy: &str| appspec(&name, &format!("{ARCHIVE}environment: {{A: b}}\ndeploy: {deploy}"), "");

    // Whenever a node reports something, a swarm ends the tasks that do not meet the constraints in force, old ones too.
    bundle.appspec(&with("{placement: {constraints: [node.labels.disk==none]}}"));
    for event in ["BeforeInstall", "ApplicationStart"] {
        bundle
            .hook(event)
            .exits(7)
            .says("no node of the swarm meets `node.labels.disk==none`")
            .says("--label-add disk=none");
    }
    bundle.appspec(&with("{resources: {reservations: {memory: 900G}}, update_config: {monitor: 1s}}"));
    let mut running = bundle.start("ApplicationStart");
    running.wait_until_said("wait for");
    cluster.docker(1, &["node", "update", "--label-add", "reports=something", "node-1"]);
    let failed = running.wait();
    failed.exits(8).says("no node takes a task: no suitable node").says(&format!("old service: {name}"));
    let running = ["--filter", "desired-state=running"];
    assert_eq!(cluster.docker(1, &[&["service", "ps", "--quiet"][..], &running, &[&name]].concat()), old);
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn a_port_of_the_host_is_waited_for_while_the_task_that_has_it_takes_its_time_to_stop() {
    let (cluster, name, port) = (alone(), world().name("slowly"), world().port());
    let swarm = |version: &str| {
        let ports = format!("ports: [{{target: 80, published: {port}, mode: host}}]\nenvironment: {{A: {version}}}");
        format!("image: {{archive: image.tar}}\nstop_grace_period: 9s\n{ports}\n{QUICK}")
    };
    let mut bundle = bundle(&name, &swarm("one"));
    // A shell as process 1 has no ear for SIGTERM.
    Image::new(&format!("{name}:1")).script("while :; do busybox sleep 1; done").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);

    bundle.deployment("d-TEST00002").appspec(&appspec(&name, &swarm("two"), ""));
    bundle.hook("ApplicationStart").exits(0).says("1 of 1 task run");
    let environment = "{{json .Spec.TaskTemplate.ContainerSpec.Env}}";
    assert_eq!(cluster.service(1, &name, environment), "[\"A=two\"]");
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn sigterm_and_the_deadline_roll_the_service_back_and_say_so() {
    let (cluster, name) = (alone(), world().name("term"));
    // Never healthy, and never failing either.
    let check = |test: &str| {
        format!("{ARCHIVE}healthcheck: {{test: [CMD, /bin/busybox, \"{test}\"], interval: 1s, retries: 100}}\n{QUICK}")
    };
    let bundle = bundle(&name, &check("true"));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let spec = "{{index .Spec.Labels \"balehook.spec\"}}";
    let good = cluster.service(1, &name, spec);
    bundle.appspec(&appspec(&name, &check("false"), "health: {timeout: 30s}"));

    let mut running = bundle.start("ApplicationStart");
    running.wait_until_said("wait for");
    cluster.wait_for("the update", || cluster.service(1, &name, spec) != good);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait().exits(12).says("SIGTERM was received").says(&format!("old service: {name}"));
    assert_eq!(cluster.service(1, &name, spec), good, "rolled back");

    let short = appspec(&name, &check("false"), "").replace("timeout: 60", "timeout: 8");
    bundle.appspec(&short);
    bundle
        .hook("ApplicationStart")
        .exits(9)
        .says("the time for ApplicationStart was up")
        .says(": starting: its HEALTHCHECK has not passed yet")
        .says(&format!("old service: {name}"));
    assert_eq!(cluster.service(1, &name, spec), good, "rolled back");
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn health_is_asked_from_outside_too_and_a_service_that_does_not_answer_is_rolled_back() {
    let (cluster, name, port) = (alone(), world().name("outer"), world().port());
    let ports = format!("{ARCHIVE}ports: [{{target: 80, published: {port}, mode: host}}]\n{QUICK}");
    let mut bundle = cluster.bundle(1, &appspec(&name, &ports, "health: {http: /healthz, timeout: 20s}"));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0).says("/healthz");
    bundle.hook("ValidateService").exits(0);
    let good = image_id(&name);

    // It runs, and says nothing on port 80.
    bundle.deployment("d-TEST00002");
    Image::new(&format!("{name}:2")).script("while :; do busybox sleep 1; done").write_into(&bundle.path());
    bundle.appspec(&appspec(&name, &ports, "health: {http: /healthz, timeout: 3s}"));
    let failed = bundle.hook("ApplicationStart");
    failed.exits(8).says("was not healthy within 3s").says(&format!("old service: {name}"));
    assert_eq!(image_id(&name), good);
    bundle.hook("ValidateService").exits(8).says("not the wanted");
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn good_answers_from_outside_must_come_in_a_row() {
    let (cluster, name) = (alone(), world().name("row"));
    let answers = Answers::flapping(cluster.listen(1), 2);
    let health = format!("health: {{http: \"{}\", timeout: 20s, successes: 3}}", answers.url());
    let bundle = cluster.bundle(1, &appspec(&name, &format!("{ARCHIVE}{QUICK}"), &health));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());

    bundle.hook("ApplicationStart").exits(0).says("3 times in a row");

    assert_eq!(answers.asked(), 4 + 3);
    cluster.docker(1, &["service", "rm", &name]);
}

/// Deploys a second release while a prober asks; what it saw. The engine gives a task's address out when its HEALTHCHECK
/// has passed; without one, as soon as its program was started.
fn updated(order: &str, keep_alive: bool) -> Seen {
    let (cluster, name) = (alone(), world().name("probed"));
    let network = format!("{name}-net");
    let swarm = |version: &str| {
        format!(
            "image: {{archive: image.tar}}\nstop_grace_period: 3s\nenvironment: {{VERSION: \"{version}\"}}\n\
             healthcheck: {{test: [CMD, /bin/busybox, wget, -q, -O, /dev/null, \"http://127.0.0.1/\"], interval: 300ms}}\n\
             networks: {{{network}: {{attachable: true}}}}\ndeploy: {{replicas: 1, endpoint_mode: dnsrr, update_config: {{monitor: 2s, order: {order}}}}}"
        )
    };
    let bundle = bundle(&name, &swarm("one"));
    let server = keep_alive_server(&bundle.path());
    Image::new(&format!("{name}:1")).file("server", server).command(&["/server"]).write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let asker = format!("{name}-asker");
    let id = image_id(&name);
    let sleep = ["run", "--detach", "--name", &asker, "--network", &network, &id, "/bin/busybox", "sleep", "600"];
    cluster.docker(1, &sleep);
    let prober = Prober::start(cluster.network_of(1, &asker), &name, keep_alive);
    std::thread::sleep(Duration::from_secs(3));
    bundle.appspec(&appspec(&name, &swarm("two"), ""));
    bundle.hook("ApplicationStart").exits(0);
    std::thread::sleep(Duration::from_secs(3));
    let seen = prober.stop();
    cluster.docker(1, &["rm", "--force", &asker]);
    cluster.docker(1, &["service", "rm", &name]);
    seen
}

#[test]
fn an_update_of_one_task_fails_no_request_and_stop_first_measured_beside_it_does() {
    let (fresh, kept, stopped) = std::thread::scope(|scope| {
        let kept = scope.spawn(|| updated("start-first", true));
        let stopped = scope.spawn(|| updated("stop-first", false));
        (updated("start-first", false), kept.join().unwrap(), stopped.join().unwrap())
    });
    let line = |what: &str, seen: &Seen| {
        println!(
            "{what}: {} of {} requests failed, longest gap {} ms",
            seen.failed.len(),
            seen.asked,
            seen.gap.as_millis()
        );
    };
    line("start-first, a new connection each time", &fresh);
    line("start-first, one connection kept open", &kept);
    line("stop-first, a new connection each time", &stopped);
    for seen in [&fresh, &kept] {
        assert!(seen.asked >= 1000, "too few to say anything: {seen:?}");
        assert!(seen.failed.is_empty(), "{seen:?}");
        assert_eq!(seen.answers, Some(("one".to_owned(), "two".to_owned())), "{seen:?}");
    }
    assert!(fresh.asked + kept.asked >= 2000, "{} and {}", fresh.asked, kept.asked);
    assert!(!stopped.failed.is_empty(), "stop-first would serve as well: {stopped:?}");
}
