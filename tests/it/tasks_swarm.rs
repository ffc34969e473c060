//! Tasks around the deployment of a swarm's service.

use nix::sys::signal::Signal;

use crate::support::cluster::{Cluster, alone, appspec};
use crate::support::images::web;
use crate::support::{Bundle, Image, world};
use crate::swarm::several::{at_once, availability, deploy, exit_codes, revisions, three};

const SERVICE: &str = "image: {archive: image.tar}\nstop_grace_period: 1s\n";
const QUICK: &str = "deploy: {update_config: {monitor: 1s}, rollback_config: {monitor: 1s}}";

/// A task in a container whose script is one line of busybox's shell.
fn inside(name: &str, script: &str, more: &str) -> String {
    let script = script.replace('$', "$$");
    format!("  - {{name: {name}, command: [/bin/sh, -c, '{script}']{more}}}\n")
}

/// A service of the one-node swarm whose first release runs.
struct Served {
    bundle: Bundle,
    name: String,
    spec: String,
    tasks: Vec<String>,
}

impl Served {
    fn new(stem: &str) -> Self {
        let name = world().name(stem);
        let bundle = alone().bundle(1, "");
        let mut served = Self { bundle, name, spec: String::new(), tasks: Vec::new() };
        served.next("d-TEST00001", "").hook("ApplicationStart").exits(0);
        (served.spec, served.tasks) = (served.label(), served.running());
        served
    }

    /// Another release, with tasks around it.
    fn next(&mut self, id: &str, tasks: &str) -> &Bundle {
        let service = format!("{SERVICE}environment: {{RELEASE: {id}}}\n{QUICK}");
        self.bundle.appspec(&appspec(&self.name, &service, &format!("health: {{timeout: 30s}}\n{tasks}")));
        web(&format!("{}:1", self.name), "one").write_into(&self.bundle.path());
        self.bundle.deployment(id)
    }

    fn label(&self) -> String {
        alone().service(1, &self.name, "{{index .Spec.Labels \"balehook.spec\"}}")
    }

    /// The service's containers.
    fn running(&self) -> Vec<String> {
        let filter = format!("label=com.docker.swarm.service.name={}", self.name);
        let said = alone().docker(1, &["ps", "--no-trunc", "--quiet", "--filter", &filter]);
        said.lines().map(str::to_owned).collect()
    }

    /// The very container of the first release.
    #[track_caller]
    fn was_not_touched(&self) {
        assert_eq!((self.label(), self.running()), (self.spec.clone(), self.tasks.clone()));
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.bundle.state().join(&self.name).join("balehook.log")).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = alone().docker_may_fail(1, &["service", "rm", &self.name]);
    }
}

/// What services of tasks of this name have to run, and their containers.
fn still_runs(cluster: &Cluster, node: usize, task: &str) -> String {
    let name = format!("name=balehook-task-{task}");
    let services = cluster.docker(node, &["service", "ls", "--format", "{{.Replicas}}", "--filter", &name]);
    let services: Vec<&str> = services.lines().filter(|replicas| *replicas != "0/0").collect();
    services.join("\n") + "\n" + &cluster.docker(node, &["ps", "--all", "--quiet", "--filter", &name])
}

#[track_caller]
fn leaves_nothing_that_runs(task: &str) {
    alone().wait_for("the task's end", || still_runs(alone(), 1, task).trim().is_empty());
}

#[test]
fn tasks_have_the_services_variables_networks_secrets_and_volumes_and_run_once_in_order() {
    let (cluster, name) = (alone(), world().name("surroundings"));
    let port = world().port();
    let swarm = |release: &str| {
        format!(
            "{SERVICE}environment: {{GREETING: hello, DB_PASSWORD: hunter2, RELEASE: {release}}}\nvolumes: [\"{name}:/data\"]\n\
             networks: {{{name}: {{attachable: true, aliases: [db-{name}]}}}}\nports: [{{target: 80, published: {port}, mode: host}}]\n\
             secrets: [{{source: {name}, file: page, target: token}}]\nhealthcheck: {{test: [CMD, /bin/busybox, \"true\"], interval: 500ms}}\n\
             deploy: {{endpoint_mode: dnsrr, update_config: {{monitor: 1s}}, rollback_config: {{monitor: 1s}}}}"
        )
    };
    let migrate = "echo $GREETING $EXTRA ${#DB_PASSWORD} `/bin/busybox cat /run/secrets/token` >> /data/migrated; \
                   /bin/busybox wget -q -O - http://db-$NAME/ || echo nobody serves";
    let smoke = "/bin/busybox cat /data/migrated; /bin/busybox wget -q -O - http://db-$NAME/";
    // A virtual address needs IPVS, which not every kernel has: `dnsrr` names the tasks themselves.
    let named = format!(", environment: {{EXTRA: more, NAME: {name}}}");
    let tasks = format!(
        "before:\n{}after:\n{}  - {{name: note, run: \"scripts/note.sh 'a b'\"}}\n",
        inside("migrate", migrate, &named),
        inside("smoke", smoke, &format!("{named}, required: true"))
    );
    let mut bundle = cluster.bundle(1, &appspec(&name, &swarm("one"), &tasks));
    std::fs::create_dir(bundle.path().join("scripts")).unwrap();
    std::fs::write(bundle.path().join("page"), "sesame").unwrap();
    std::fs::write(bundle.path().join("scripts/note.sh"), "#!/bin/sh\n{ pwd; echo $DEPLOYMENT_ID \"$1\"; } > trace\n")
        .unwrap();
    web(&format!("{name}:1"), "served").write_into(&bundle.path());
    bundle.hook("AfterInstall").exits(0);
    bundle.hook("ApplicationStart").exits(0);
    let log = || std::fs::read_to_string(bundle.state().join(&name).join("balehook.log")).unwrap();
    let said = log();
    assert!(said.contains("nobody serves"), "the first one runs before the service is there:\n{said}");
    assert!(said.contains("hello more 7 sesame") && said.contains("served") && !said.contains("hunter2"), "{said}");
    let trace = std::fs::read_to_string(bundle.path().join("trace")).unwrap();
    assert_eq!(trace, format!("{}\nd-TEST00001 a b\n", bundle.path().display()));

    let again = bundle.deployment("d-TEST00002").hook("ApplicationStart");
    again.exits(0).says("unchanged");
    assert!(!again.stdout.contains("] task "), "an unchanged release runs no task:\n{}", again.stdout);
    bundle.run(&["plan", "--detailed-exitcode"]).exits(0);

    bundle.appspec(&appspec(&name, &swarm("two"), &tasks));
    bundle.hook("ApplicationStart").exits(0).says("docker service rm balehook-task-");
    let container =
        cluster.docker(1, &["ps", "--quiet", "--filter", &format!("label=com.docker.swarm.service.name={name}")]);
    let migrated = cluster.docker(1, &["exec", &container, "/bin/busybox", "cat", "/data/migrated"]);
    assert_eq!(migrated, "hello more 7 sesame\nhello more 7 sesame", "once in each deployment");
    leaves_nothing_that_runs("migrate");
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn a_before_that_fails_ends_the_deployment_and_no_task_of_the_service_was_touched() {
    let mut served = Served::new("before");
    // The engine carries the two streams side by side: only what comes later is later.
    let script = "for n in $(/bin/busybox seq 1 30); do echo line $n; done; sleep 1; echo no such table >&2; exit 3";
    let tasks = format!("before:\n{}", inside("failing", script, ""));

    let outcome = served.next("d-TEST00002", &tasks).hook("ApplicationStart");

    outcome.exits(14).says("task failing ended with exit code 3").says("| no such table").says("was not touched");
    served.was_not_touched();
    leaves_nothing_that_runs("failing");
    let log = served.log();
    assert!(log.contains(": line 1 ") && log.contains("no such table"), "all of its output is in the log:\n{log}");
    // The same deployment once more runs it once more.
    let fine = format!("before:\n{}", inside("failing", "echo fine", ""));
    served.next("d-TEST00002", &fine).hook("ApplicationStart").exits(0);
    assert!(served.log().contains(": fine ") && served.label() != served.spec);
}

#[test]
fn a_command_on_the_host_and_a_container_that_cannot_start_are_reported_with_their_own_words() {
    let mut served = Served::new("cannot");
    for (task, said) in [
        (
            "  - {name: check, run: [sh, -c, \"echo disk is full >&2; exit 7\"]}",
            ["task check ended with exit code 7", "| disk is full"],
        ),
        ("  - {name: gone, command: [/bin/gone]}", ["task gone failed on node-1: ", "/bin/gone"]),
    ] {
        let outcome = served.next("d-TEST00002", &format!("before:\n{task}")).hook("ApplicationStart");
        outcome.exits(14).says(said[0]).says(said[1]).says("was not touched");
        served.was_not_touched();
    }
    leaves_nothing_that_runs("gone");
}

#[test]
fn a_required_after_that_fails_rolls_the_service_back_and_another_one_is_said() {
    let mut served = Served::new("after");
    let required = format!("after:\n{}", inside("smoke", "echo the page is empty; exit 1", ", required: true"));

    let outcome = served.next("d-TEST00002", &required).hook("ApplicationStart");

    outcome.exits(14).says("task smoke ended with exit code 1").says("| the page is empty").says("is back after");
    assert_eq!(served.label(), served.spec, "rolled back");

    let optional = format!("after:\n{}", inside("tell", "echo nobody listens; exit 1", ""));
    let outcome = served.next("d-TEST00003", &optional).hook("ApplicationStart");
    outcome.exits(0).says("warning: task tell: ").says("ended with exit code 1").says("| nobody listens");
    assert_ne!(served.label(), served.spec);
}

#[test]
fn a_task_that_takes_too_long_is_ended_at_its_own_timeout() {
    let mut served = Served::new("slow");
    let slow = format!("before:\n{}", inside("slow", "echo waiting for a lock; sleep 1000", ", timeout: 2s"));

    let outcome = served.next("d-TEST00002", &slow).hook("ApplicationStart");

    outcome.exits(14).says("task slow was not done within 2s and was killed").says("| waiting for a lock");
    served.was_not_touched();
    leaves_nothing_that_runs("slow");
}

#[test]
fn sigterm_and_the_deadline_end_a_task_and_leave_neither_container_nor_process_behind() {
    let mut served = Served::new("term");
    let container = inside("wait", "echo it waits; sleep 1000", "");
    let command = "  - {name: wait, run: [sh, -c, \"echo $$$$ > pid; exec sleep 1000\"]}\n".to_owned();
    for (task, signal, code) in [(&container, true, Some(12)), (&command, true, Some(12)), (&container, false, Some(9))]
    {
        let pid = served.bundle.path().join("pid");
        served.next("d-TEST00002", &format!("before:\n{task}"));
        if !signal {
            let text = std::fs::read_to_string(served.bundle.path().join("appspec.yml")).unwrap();
            served.bundle.appspec(&text.replace("timeout: 60}", "timeout: 10}"));
        }
        let mut running = served.bundle.start("ApplicationStart");
        running.wait_until_said("task wait");
        let is_command = task.contains("run:");
        alone().wait_for("the task", || {
            if is_command { pid.exists() } else { still_runs(alone(), 1, "wait").trim().lines().count() > 1 }
        });
        if signal {
            running.signal(Signal::SIGTERM);
        }
        let outcome = running.wait();
        assert_eq!(outcome.code, code, "{task}: {}", outcome.stdout);
        served.was_not_touched();
        leaves_nothing_that_runs("wait");
        if let Ok(text) = std::fs::read_to_string(&pid) {
            let stat = || std::fs::read_to_string(format!("/proc/{}/stat", text.trim())).unwrap_or_default();
            alone().wait_for("the command's end", || !stat().contains(") S "));
            std::fs::remove_file(&pid).unwrap();
        }
    }
}

#[test]
fn what_a_task_of_a_killed_deployment_runs_is_removed_by_the_next_one_and_the_task_run_again() {
    let mut served = Served::new("killed");
    let slow = format!("before:\n{}", inside("interrupted", "sleep 1000", ""));
    let mut running = served.next("d-TEST00002", &slow).start("ApplicationStart");
    running.wait_until_said("task interrupted");
    alone().wait_for("the task", || still_runs(alone(), 1, "interrupted").trim().lines().count() > 1);
    running.signal(Signal::SIGKILL);
    running.wait();

    let again = format!("before:\n{}", inside("interrupted", "echo again", ""));
    let outcome = served.next("d-TEST00003", &again).hook("ApplicationStart");

    outcome.exits(0).says("docker service rm balehook-task-interrupted-");
    assert!(served.log().contains(": again "));
    leaves_nothing_that_runs("interrupted");
}

/// Adds tasks to a bundle's `appspec.yml`.
fn around<'a>(bundle: &'a mut Bundle, tasks: &str) -> &'a mut Bundle {
    let text = std::fs::read_to_string(bundle.path().join("appspec.yml")).unwrap();
    let indented: String = tasks.lines().map(|line| format!("  {line}\n")).collect();
    bundle.appspec(&format!("{text}{indented}"));
    bundle
}

/// A deployment to three nodes whose `before` is a container of an image of its own, which does what `script` says.
fn with_tool(cluster: &Cluster, name: &str, id: &str, script: &str) -> Vec<Bundle> {
    let service = format!(
        "environment: {{GREETING: hello, RELEASE: {id}}}\nworking_dir: /www\nuser: \"65534\"\nvolumes: [\"{name}:/shared\"]\n\
         command: [/bin/busybox, httpd, -f, -p, \"8080\", -h, /www]\n\
         deploy: {{replicas: 3, update_config: {{monitor: 2s, parallelism: 0}}, rollback_config: {{monitor: 1s}}}}"
    );
    let mut bundles = revisions(cluster, name, &service, &web(&format!("{name}:1"), "one"));
    for bundle in &mut bundles {
        let tool = Image::new(&format!("{name}-tool:1")).file("etc/tool", "tool").script(script);
        tool.write(&bundle.path().join("tool.tar"));
        around(bundle, "before:\n  - {name: tool, image: {archive: tool.tar}, environment: {EXTRA: more}}")
            .deployment(id);
    }
    bundles
}

/// What all of them have in their logs.
fn logged(bundles: &[Bundle], name: &str) -> String {
    let log = |bundle: &Bundle| std::fs::read_to_string(bundle.state().join(name).join("balehook.log")).unwrap();
    bundles.iter().map(log).collect()
}

/// What the tool says of where it runs: the service's variables and volumes, its own image's program, folder and user.
const WHERE: &str = "echo `/bin/busybox cat /etc/tool` $GREETING $EXTRA `/bin/busybox pwd` `/bin/busybox id -u` \
     `/bin/busybox test -d /shared && echo shared`";
const THERE: &str = ": tool hello more / 0 shared ";

#[test]
fn a_task_with_an_image_of_its_own_runs_that_images_program_once_in_the_services_surroundings() {
    let (cluster, name) = (three(3), world().name("own"));
    let kept = |node| cluster.docker(node, &["images", "--quiet", "--filter", &format!("label=test={name}-tool:1")]);
    let outcomes = |bundles: &[Bundle]| (deploy(bundles), logged(bundles, &name));

    let bundles = with_tool(&cluster, &name, "d-1", WHERE);
    let (ended, log) = outcomes(&bundles);
    assert_eq!(exit_codes(&ended), [Some(0); 3], "{ended:#?}");
    assert_eq!(log.matches(THERE).count(), 1, "{log}");
    assert!((1..=3).all(|node| !kept(node).is_empty()), "every manager might have had to run it");

    let spec = "{{index .Spec.Labels \"balehook.spec\"}}";
    let good = cluster.service(1, &name, spec);
    let (ended, _) = outcomes(&with_tool(&cluster, &name, "d-2", "echo no such table; exit 3"));
    assert_eq!(exit_codes(&ended), [Some(14); 3], "{ended:#?}");
    ended.iter().for_each(|outcome| {
        outcome.says("task tool ended with exit code 3").says("| no such table").says("was not touched");
    });
    assert_eq!(cluster.service(1, &name, spec), good);
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn a_drained_manager_has_its_tasks_run_where_the_services_may_with_whichever_image() {
    let (cluster, name) = (three(3), world().name("away"));
    availability(&cluster, 2, "drain");
    let bundles = with_tool(&cluster, &name, "d-1", WHERE);
    at_once(&bundles, "AfterInstall").iter().for_each(|outcome| {
        outcome.exits(0);
    });
    bundles[1].hook("ApplicationStart").exits(0).says("3 of 3 tasks run");
    assert_eq!(logged(&bundles[1..2], &name).matches(THERE).count(), 1, "{}", logged(&bundles[1..2], &name));

    let spec = "{{index .Spec.Labels \"balehook.spec\"}}";
    let good = cluster.service(2, &name, spec);
    let mut failing = with_tool(&cluster, &name, "d-2", WHERE);
    for bundle in &mut failing {
        let text = std::fs::read_to_string(bundle.path().join("appspec.yml")).unwrap();
        bundle.appspec(
            &text.replace("  before:\n", &format!("  before:\n  {}", inside("check", "echo full; exit 3", ""))),
        );
    }
    let outcomes = deploy(&failing);
    assert_eq!(exit_codes(&outcomes), [Some(14); 3], "{outcomes:#?}");
    for outcome in &outcomes {
        outcome.says("task check ended with exit code 3 on node-").says("| full").says("was not touched");
        assert!(!outcome.stdout.contains("exit code 3 on node-2"), "{}", outcome.stdout);
    }
    assert_eq!(cluster.service(2, &name, spec), good);
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn three_managers_at_once_run_each_task_once_and_come_to_the_same_end() {
    let (cluster, name) = (three(3), world().name("once"));
    let folder = tempfile::tempdir_in(world().folder()).unwrap();
    let trace = folder.path().join("trace");
    let deployment = |version: &str, image: &Image, tasks: &str| {
        let quick =
            "deploy: {replicas: 3, update_config: {monitor: 2s, parallelism: 0}, rollback_config: {monitor: 1s}}";
        let mut bundles = revisions(&cluster, &name, quick, image);
        for bundle in &mut bundles {
            around(bundle, tasks).deployment(version);
        }
        bundles
    };
    let image = web(&format!("{name}:1"), "one");
    // Commands run on the hosts, which share a folder: one line for each run.
    let note = |task: &str, then: &str| {
        format!("  - {{name: {task}, run: [sh, -c, \"echo {task} >> {}; sleep 1; {then}\"]}}\n", trace.display())
    };
    let traced = || {
        let text = std::fs::read_to_string(&trace).unwrap_or_default();
        let _ = std::fs::remove_file(&trace);
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let tasks = format!(
        "before:\n{}{}after:\n{}",
        inside("migrate", "sleep 1; echo migrated", ""),
        note("first", "true"),
        note("last", "true")
    );
    let outcomes = deploy(&deployment("d-1", &image, &tasks));
    assert_eq!(exit_codes(&outcomes), [Some(0); 3], "{outcomes:#?}");
    assert_eq!(traced(), ["first", "last"], "{outcomes:#?}");
    let joined =
        |task: &str| outcomes.iter().filter(|outcome| outcome.stdout.contains(&format!("task {task}: node-"))).count();
    assert_eq!((joined("migrate"), joined("first"), joined("last")), (2, 2, 2), "{outcomes:#?}");

    let spec = "{{index .Spec.Labels \"balehook.spec\"}}";
    let good = cluster.service(1, &name, spec);
    let newer = web(&format!("{name}:2"), "two");
    let broken = format!("before:\n{}", note("check", "echo no such table >&2; exit 3"));
    let bundles = deployment("d-2", &newer, &broken);
    let outcomes = deploy(&bundles);
    assert_eq!(exit_codes(&outcomes), [Some(14); 3], "{outcomes:#?}");
    for outcome in &outcomes {
        outcome.says("task check ended with exit code 3").says("| no such table").says("was not touched");
    }
    // Nor does one that comes later run it again, but on the node that did.
    let late: Vec<_> = bundles.iter().zip(&outcomes).filter(|(_, outcome)| outcome.stdout.contains("ran it")).collect();
    assert_eq!(late.len(), 2, "{outcomes:#?}");
    late[0].0.hook("ApplicationStart").exits(14).says("task check ended with exit code 3");
    assert_eq!((traced(), cluster.service(1, &name, spec)), (vec!["check".to_owned()], good.clone()));

    let smoke = format!("after:\n{}", note("smoke", "exit 1").replace("]}", "], required: true}"));
    let outcomes = deploy(&deployment("d-3", &newer, &smoke));
    assert_eq!(exit_codes(&outcomes), [Some(14); 3], "{outcomes:#?}");
    assert_eq!((traced(), cluster.service(1, &name, spec)), (vec!["smoke".to_owned()], good));

    let unchanged = deployment("d-4", &image, &tasks);
    at_once(&unchanged, "ApplicationStart").iter().for_each(|outcome| {
        assert!(!outcome.exits(0).stdout.contains("] task "), "{}", outcome.stdout);
    });
    assert_eq!(traced(), [""; 0]);
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn a_manager_runs_the_tasks_and_a_worker_says_that_it_runs_none() {
    let (cluster, name) = (three(1), world().name("workers"));
    let global = "deploy: {mode: global, update_config: {monitor: 2s, parallelism: 0}, rollback_config: {monitor: 1s}}";
    let mut bundles = revisions(&cluster, &name, global, &web(&format!("{name}:1"), "one"));
    for bundle in &mut bundles {
        around(bundle, &format!("before:\n{}", inside("migrate", "echo migrated", "")));
    }
    let outcomes = deploy(&bundles);
    assert_eq!(exit_codes(&outcomes), [Some(0); 3], "{outcomes:#?}");
    let ran = |outcome: &crate::support::Outcome| outcome.stdout.contains("task migrate: run service");
    assert_eq!(outcomes.iter().map(ran).collect::<Vec<_>>(), [true, false, false], "{outcomes:#?}");
    bundles[1].run(&["plan"]).exits(0).says("`before` and `after` are run by a manager");
    cluster.docker(1, &["service", "rm", &name]);
}

#[test]
fn a_manager_that_resumes_after_its_hook_was_killed_ends_its_task_and_the_others_come_to_that_end() {
    let (cluster, name) = (three(3), world().name("dies"));
    let bundles = with_tool(&cluster, &name, "d-1", "echo it waits; sleep 1000");
    at_once(&bundles, "AfterInstall").iter().for_each(|outcome| {
        outcome.exits(0);
    });
    let first = bundles[0].start("ApplicationStart");
    cluster.wait_for("the task", || still_runs(&cluster, 1, "tool").trim().lines().count() > 1);
    let mut others = [bundles[1].start("ApplicationStart"), bundles[2].start("ApplicationStart")];
    for running in &mut others {
        running.wait_until_said("task tool");
    }
    first.signal(Signal::SIGKILL);
    first.wait();
    assert!(still_runs(&cluster, 1, "tool").contains("1/1"), "nobody has ended it yet");

    bundles[0].resume().exits(0);

    for outcome in others.map(crate::support::bundle::Running::wait) {
        outcome.exits(14).says("task tool was ended before its end").says("(node-1 ran it)").says("there was none");
    }
    cluster.wait_for("the task's end", || still_runs(&cluster, 1, "tool").trim().is_empty());
    let again = with_tool(&cluster, &name, "d-1", WHERE);
    again[0].hook("ApplicationStart").exits(0).says("docker service rm balehook-task-tool-");
    assert_eq!(logged(&again[..1], &name).matches(THERE).count(), 1);
    cluster.docker(1, &["service", "rm", &name]);
}
