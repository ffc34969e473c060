//! Tasks before and after a deployment, and several deployments on one host.

use nix::sys::signal::Signal;

use crate::support::bundle::appspec;
use crate::support::images::web;
use crate::support::{Bundle, Image, Outcome, Served, served, world};

const HEALTH: &str = "health: {http: /healthz, timeout: 20s}";

impl Served {
    /// The same deployment with tasks.
    fn with(&self, tasks: &str) -> &Self {
        self.bundle.appspec(&appspec(&self.name, &service(self.port), &format!("{HEALTH}\n{tasks}")));
        self
    }

    fn start(&self) -> Outcome {
        self.bundle.hook("ApplicationStart")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.bundle.state().join(&self.name).join("balehook.log")).unwrap()
    }

    fn script(&self, name: &str, text: &str) -> &Self {
        let folder = self.bundle.path().join("scripts");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        self
    }
}

fn service(port: u16) -> String {
    served::service("{archive: image.tar}", port)
}

/// A task in a container whose script is one line of busybox's shell.
fn inside(name: &str, script: &str, more: &str) -> String {
    let script = script.replace('$', "$$");
    format!("  - {{name: {name}, command: [/bin/sh, -c, '{script}']{more}}}\n")
}

#[test]
fn a_before_that_fails_ends_the_deployment_and_the_old_container_never_stopped() {
    let served = Served::with_next("before", HEALTH);
    // The engine carries the two streams side by side: only what comes later is later.
    let script = "for n in $(/bin/busybox seq 1 30); do echo line $n; done; sleep 1; echo no such table >&2; exit 3";
    let task = inside("migrate", script, "");
    let started = world().inspect(&served.name, "{{.State.StartedAt}}");

    let outcome = served.with(&format!("before:\n{task}")).start();

    outcome.exits(14).says("task migrate ended with exit code 3").says("| no such table").says("was not touched");
    served.serves_old();
    assert_eq!(world().inspect(&served.name, "{{.State.StartedAt}}"), started);
    let log = served.log();
    assert!(log.contains(": line 1 ") && log.contains("no such table"), "all of its output is in the log:\n{log}");
}

#[test]
fn a_command_on_the_host_that_fails_before_ends_the_deployment_too() {
    let served = Served::with_next("hostfails", HEALTH);
    served.script("check.sh", "echo disk is full >&2; exit 7");

    let outcome = served.with("before:\n  - {name: check, run: scripts/check.sh}").start();

    outcome.exits(14).says("task check ended with exit code 7").says("| disk is full").says("was not touched");
    served.serves_old();
}

#[test]
fn a_required_after_that_fails_puts_the_old_container_back_and_its_words_come_last() {
    let served = Served::with_next("required", HEALTH);
    let smoke = inside("smoke", "echo the front page is empty; exit 1", ", required: true");

    let outcome = served.with(&format!("after:\n{smoke}")).start();

    outcome.exits(14).says("task smoke ended with exit code 1").says("| the front page is empty").says("is back after");
    served.serves_old();
    let releases = std::fs::read_dir(served.bundle.state().join(&served.name).join("releases")).unwrap().count();
    assert_eq!(releases, 1, "what was undone is not on record");
}

#[test]
fn an_after_that_is_not_required_is_said_and_the_new_container_stays() {
    let served = Served::with_next("optional", HEALTH);
    let tell = inside("tell", "echo nobody listens; exit 1", "");

    let outcome = served.with(&format!("after:\n{tell}")).start();

    outcome.exits(0).says("warning: task tell: ").says("ended with exit code 1").says("| nobody listens");
    served.serves("new");
}

#[test]
fn a_task_that_takes_too_long_is_killed_at_its_own_timeout() {
    let served = Served::with_next("slow", HEALTH);
    let slow = inside("slow", "echo waiting for a lock; sleep 1000", ", timeout: 4s");

    let outcome = served.with(&format!("before:\n{slow}")).start();

    outcome.exits(14).says("task slow was not done within 4s and was killed").says("| waiting for a lock");
    served.serves_old();
}

#[test]
fn a_task_that_cannot_start_is_reported_with_the_engines_words() {
    let served = Served::with_next("cannot", HEALTH);

    let outcome = served.with("before:\n  - {name: gone, command: [/bin/gone]}").start();

    outcome.exits(14).says("task gone: cannot start").says("/bin/gone");
    served.serves_old();
}

#[test]
fn sigterm_during_a_task_ends_it_and_leaves_the_old_container_serving() {
    let served = Served::with_next("term", HEALTH);
    served.script("wait.sh", "echo $$ > pid; sleep 1000");
    let container = inside("wait", "sleep 1000", "");
    for (list, task) in [
        ("before", container.as_str()),
        ("before", "  - {name: wait, run: scripts/wait.sh}"),
        ("after", "  - {name: wait, run: scripts/wait.sh, required: true}"),
        ("after", &inside("wait", "sleep 1000", ", required: true")),
    ] {
        served.with(&format!("{list}:\n{task}"));
        let mut running = served.bundle.start("ApplicationStart");
        running.wait_until_said("task wait");
        if task.contains("run:") {
            world().wait_for("the script", || served.bundle.path().join("pid").exists());
        }
        running.signal(Signal::SIGTERM);
        let outcome = running.wait();
        assert_eq!(outcome.code, Some(12), "{task}: {}", outcome.stdout);
        served.serves_old();
        if let Ok(pid) = std::fs::read_to_string(served.bundle.path().join("pid")) {
            let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            world().wait_for("the script's end", || !stat().contains(") S "));
            std::fs::remove_file(served.bundle.path().join("pid")).unwrap();
        }
    }
}

#[test]
fn a_task_of_a_killed_deployment_is_removed_by_whatever_event_comes_next_and_run_again() {
    let mut served = Served::with_next("killed", HEALTH);
    let world = world();
    let left = format!("{}.balehook-task-migrate", served.name);
    let name = served.name.clone();
    let is_left = || world.containers(&name).contains(&left);
    for (version, event) in [(3, "ApplicationStart"), (4, "BeforeInstall"), (5, "resume")] {
        served.bundle.deployment(&format!("d-{version}"));
        served.with(&format!("before:\n{}", inside("migrate", "sleep 1000", "")));
        let mut running = served.bundle.start("ApplicationStart");
        running.wait_until_said("task migrate");
        world.wait_for("the task", || world.running(&served.name).split(' ').count() == 2);
        running.signal(Signal::SIGKILL);
        running.wait();
        assert!(is_left());

        served.with(&format!("before:\n{}", inside("migrate", "echo again", "")));
        match event {
            "resume" => served.bundle.resume().exits(0).says(&left),
            event => served.bundle.hook(event).exits(0).says(&format!("docker rm --force --volumes {left}")),
        };

        assert!(!is_left(), "{event}");
        if event == "ApplicationStart" {
            served.serves("new");
            assert!(served.log().contains("again"));
            web(&served.tag(version), "newer").write_into(&served.bundle.path());
        }
    }
    served.bundle.hook("ApplicationStop").exits(0);
    assert!(world.containers(&served.name).is_empty());
}

#[test]
fn tasks_have_the_services_volumes_variables_and_networks_but_not_its_ports_labels_and_names() {
    let (world, name) = (world(), world().name("shared"));
    let port = world.port();
    world.docker(&["network", "create", &name]);
    let service = format!(
        "{}\nvolumes: [\"{name}:/data\"]\nenvironment: {{GREETING: hello, DB_PASSWORD: hunter2}}\nrestart: always\n\
         labels: {{route: web}}\nnetworks: {{{name}: {{aliases: [db-{name}]}}}}",
        self::service(port)
    );
    let migrate = "echo $GREETING $EXTRA ${#DB_PASSWORD} > /data/migrated; \
                   /bin/busybox wget -q -O /data/seen http://db-\"$NAME\":80/ || echo nobody > /data/seen; \
                   until /bin/busybox grep -q nobody /data/seen || [ -e /data/looked ]; do /bin/busybox sleep 0.1; done";
    let tasks = format!(
        "before:\n{}after:\n{}",
        inside("migrate", migrate, &format!(", environment: {{EXTRA: more, NAME: {name}}}")),
        inside(
            "smoke",
            "/bin/busybox cat /data/migrated; /bin/busybox wget -q -O - http://db-\"$N\":80/",
            &format!(", required: true, environment: {{N: {name}}}")
        )
    );
    let mut bundle = Bundle::container(&name, &service, &format!("{HEALTH}\n{tasks}"));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let read = |file: &str| world.docker(&["exec", &name, "/bin/busybox", "cat", file]);
    assert_eq!((read("/data/migrated"), read("/data/seen")), ("hello more 7".into(), "nobody".into()));

    web(&format!("{name}:2"), "two").write_into(&bundle.path());
    let mut running = bundle.deployment("d-TEST00002").start("ApplicationStart");
    running.wait_until_said("task migrate");
    let task = format!("{name}.balehook-task-migrate");
    world.wait_for("the task", || world.containers(&name).contains(&task));
    let seen = world.inspect(
        &task,
        "{{.HostConfig.PortBindings}} {{.HostConfig.RestartPolicy.Name}} {{index .Config.Labels \"route\"}} {{index .Config.Labels \"balehook.task\"}} {{.Config.Healthcheck.Test}}",
    );
    world.docker(&["exec", &name, "/bin/busybox", "touch", "/data/looked"]);
    running.wait().exits(0);

    assert!(seen.starts_with("map[] ") && seen.ends_with("  migrate [NONE]"), "{seen}");
    assert!(!seen.contains("always"), "{seen}");
    assert_eq!(read("/data/seen"), "one", "only the container that served had the alias");
    let log = std::fs::read_to_string(bundle.state().join(&name).join("balehook.log")).unwrap();
    assert!(log.contains("hello more 7") && log.contains("two") && !log.contains("hunter2"), "{log}");
    assert_eq!(world.containers(&name), name);
    let again = bundle.deployment("d-TEST00003").hook("ApplicationStart");
    again.exits(0).says("unchanged");
    assert!(!again.stdout.contains("task "), "an unchanged release runs no task:\n{}", again.stdout);
    drop(bundle);
    world.docker(&["network", "rm", &name]);
    world.docker(&["volume", "rm", &name]);
}

#[test]
fn a_command_of_the_bundle_runs_with_the_hooks_environment_from_the_bundles_root_and_cannot_wait_for_input() {
    let served = Served::with_next("host", HEALTH);
    served.script("note.sh", "cat > /dev/null; { pwd; echo $LIFECYCLE_EVENT $DEPLOYMENT_ID $EXTRA \"$1\"; } > trace");
    served
        .with("after:\n  - {name: note, run: \"scripts/note.sh 'a b'\", environment: {EXTRA: more}}")
        .start()
        .exits(0);

    let trace = std::fs::read_to_string(served.bundle.path().join("trace")).unwrap();
    let root = served.bundle.path();
    assert_eq!(trace, format!("{}\nApplicationStart d-TEST00002 more a b\n", root.display()));
    served.serves("new");
}

#[test]
fn a_task_may_have_an_image_of_its_own_that_is_brought_in_early_and_pruned_with_the_next_one() {
    let served = Served::with_next("tool", HEALTH);
    let world = world();
    let (folder, stem) = (served.bundle.path(), served.name.clone());
    let tool = |version: &str| {
        let tag = format!("tool-{stem}:{version}");
        Image::new(&tag).script(&format!("echo tool {version} > /data/{version}")).write(&folder.join("tool.tar"));
        tag
    };
    let kept = |reference: &str| {
        !world.docker(&["images", "--quiet", "--filter", &format!("label=test={reference}")]).is_empty()
    };
    let rest = format!("{HEALTH}\nbefore:\n  - {{name: tool, image: {{archive: tool.tar}}}}");
    let service = format!(
        "{}\nvolumes: [\"{}:/data\"]\nworking_dir: /www\ncommand: [/bin/busybox, httpd, -f, -h, /www]",
        service(served.port),
        served.name
    );
    served.bundle.appspec(&appspec(&served.name, &service, &rest));
    let first = tool("one");

    served.bundle.hook("AfterInstall").exits(0).says("tool.tar");
    let started = served.start();
    started.exits(0);
    assert!(!started.stdout.contains(" load "), "{}", started.stdout);
    assert_eq!(world.docker(&["exec", &served.name, "/bin/busybox", "cat", "/data/one"]), "tool one");
    assert!(kept(&first));

    let mut served = served;
    served.bundle.deployment("d-TEST00003");
    let second = tool("two");
    web(&served.tag(3), "newer").write_into(&served.bundle.path());
    served.start().exits(0);
    assert!(kept(&second) && !kept(&first));
    served.serves("newer");
    drop(served.bundle);
    world.docker(&["volume", "rm", &served.name]);
}

#[test]
fn two_names_deployed_at_once_do_not_wait_for_and_never_touch_each_other() {
    let (one, two) = (Served::with_next("left", HEALTH), Served::with_next("right", HEALTH));
    let slow = inside("slow", "until test -e /go; do sleep 0.1; done", "");
    one.with(&format!("before:\n{slow}"));
    let mut first = one.bundle.start("ApplicationStart");
    first.wait_until_said("task slow");

    let second = two.start();

    second.exits(0);
    assert!(!second.stdout.contains("waiting:"), "{}", second.stdout);
    one.still_serves_in_the_meantime();
    world().docker(&["exec", &format!("{}.balehook-task-slow", one.name), "/bin/busybox", "touch", "/go"]);
    first.wait().exits(0);
    one.serves("new");
    two.serves("new");
}

impl Served {
    /// The old container still runs, beside whatever the deployment under way has made.
    fn still_serves_in_the_meantime(&self) {
        assert!(world().running(&self.name).contains(&self.id));
        assert_eq!(world().get(self.port, "/").as_deref(), Some("old"));
    }
}

#[test]
fn stop_prune_and_resume_of_one_name_leave_another_with_the_same_image_alone() {
    let (world, stem) = (world(), world().name("twin"));
    let deploy = |name: &str, version: &str| {
        let port = world.port();
        let bundle = Bundle::container(name, &service(port), &format!("{HEALTH}\nkeep: 1"));
        web(&format!("{stem}:{version}"), version).write_into(&bundle.path());
        bundle.hook("ApplicationStart").exits(0);
        (bundle, port)
    };
    // One name is the beginning of the other.
    let (short, long) = (stem.clone(), format!("{stem}.more"));
    let ((mut one, _), (two, port)) = (deploy(&short, "one"), deploy(&long, "one"));
    let before = world.inspect(&long, "{{.Id}} {{.State.StartedAt}}");

    web(&format!("{stem}:two"), "two").write_into(&one.path());
    one.deployment("d-TEST00002").hook("ApplicationStart").exits(0);
    one.hook("BeforeInstall").exits(0);
    one.hook("ApplicationStop").exits(0);
    one.resume().exits(0);

    assert!(world.containers(&short).is_empty());
    assert_eq!(world.inspect(&long, "{{.Id}} {{.State.StartedAt}}"), before);
    assert_eq!(world.get(port, "/").as_deref(), Some("one"));
    let image = world.inspect(&long, "{{.Image}}");
    assert!(world.docker_may_fail(&["inspect", &image]).is_ok(), "its image is kept");
    two.hook("ApplicationStart").exits(0).says("unchanged");
    assert_eq!(world.docker(&["images", "--format", "{{.Tag}}", &format!("balehook/{long}")]).lines().count(), 1);
}

#[test]
fn the_deadline_of_the_hook_ends_a_task_and_the_old_container_serves() {
    let served = Served::with_next("late", HEALTH);
    served.with(&format!("before:\n{}", inside("slow", "sleep 1000", ", timeout: 50s")));
    let text = std::fs::read_to_string(served.bundle.path().join("appspec.yml")).unwrap();
    served.bundle.appspec(&text.replace("timeout: 60}", "timeout: 15}"));

    let outcome = served.start();

    outcome.exits(9).says("the time for ApplicationStart was up after 15s").says("was not touched");
    served.serves_old();
}
