//! Deployments that fail: the old container serves again, the exit code is honest, the console says why.

use crate::support::images::web;
use crate::support::{Answers, Bundle, Image, Served, world};

const HEALTH: &str = "health: {http: /healthz, timeout: 3s}";

impl Served {
    /// Deploys what stands in the bundle now; it must fail with this exit code.
    fn fails(&mut self, code: i32) -> crate::support::Outcome {
        let outcome = self.bundle.deployment("d-TEST00002").hook("ApplicationStart");
        outcome.exits(code);
        let console = outcome.console();
        assert!(console.lines().last().unwrap().starts_with("balehook: error: "), "{console}");
        assert!(outcome.stdout.is_ascii() || !outcome.stdout.contains('\u{1b}'), "no control sequences");
        self.serves_old();
        outcome
    }
}

#[test]
fn an_image_that_exits_at_once_is_rolled_back_with_its_log_and_exit_code() {
    let mut served = Served::over("exits", "", HEALTH);
    let script = "echo starting; echo cannot find the database >&2; exit 3";
    Image::new(&served.tag(2)).script(script).write_into(&served.bundle.path());

    let outcome = served.fails(8);

    outcome
        .says("exited with code 3")
        .says("| cannot find the database")
        .says("is back after")
        .says("next: its last log lines are above");
}

#[test]
fn an_image_that_is_never_healthy_is_rolled_back_with_the_last_answer() {
    let mut served = Served::over("sick", "", HEALTH);
    let command = ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"];
    Image::new(&served.tag(2)).file("www/index.html", "new\n").command(&command).write_into(&served.bundle.path());

    let outcome = served.fails(8);
    outcome.says("was not healthy within 3s").says("404").says("next: it wrote no log; raise health.timeout");
}

#[test]
fn an_image_whose_healthcheck_command_fails_is_rolled_back_with_what_the_command_said() {
    let mut served = Served::over("check", "", "health: {timeout: 3s}");
    let check = ["CMD-SHELL", "echo disk is full; exit 1"];
    web(&served.tag(2), "new").healthcheck(&check).write_into(&served.bundle.path());

    served.fails(8).says("HEALTHCHECK").says("disk is full");
}

#[test]
fn a_healthcheck_must_pass_too_where_http_answers_unless_it_is_turned_off() {
    let mut served = Served::over("both", "", HEALTH);
    let check = ["CMD-SHELL", "echo disk is full; exit 1"];
    web(&served.tag(2), "new").healthcheck(&check).write_into(&served.bundle.path());

    let outcome = served.fails(8);
    outcome.says(
        "was not healthy within 3s: HEALTHCHECK `/bin/sh -c echo disk is full; exit 1`: exit code 1 disk is full (",
    );
    outcome.says(" times in ");
    assert!(!outcome.stdout.contains("/healthz: "), "what answers is not named: {}", outcome.stdout);

    let service = format!(
        "image: {{archive: image.tar}}\nports: [\"127.0.0.1:{}:80\"]\nhealthcheck: {{disable: true}}",
        served.port
    );
    served.bundle.appspec(&crate::support::bundle::appspec(&served.name, &service, HEALTH));
    let outcome = served.bundle.deployment("d-TEST00003").hook("ApplicationStart");
    outcome.exits(0);
    assert!(!outcome.stdout.contains("HEALTHCHECK"), "{}", outcome.stdout);
    assert_eq!(world().get(served.port, "/").as_deref(), Some("new"));
}

#[test]
fn good_answers_in_a_row_are_counted_and_a_bad_one_begins_the_count_anew() {
    let (world, name) = (world(), world().name("row"));
    let listener = world.inside(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let answers = Answers::flapping(listener, 2);
    let health = format!("health: {{http: \"{}\", timeout: 20s, successes: 3}}", answers.url());
    let bundle = Bundle::container(&name, "image: {archive: image.tar}\nstop_grace_period: 1s", &health);
    web(&format!("{name}:1"), "new").write_into(&bundle.path());

    bundle.hook("ApplicationStart").exits(0).says("3 times in a row");

    assert_eq!(answers.asked(), 4 + 3);
}

#[test]
fn an_image_that_never_listens_is_rolled_back() {
    let mut served = Served::over("deaf", "", HEALTH);
    Image::new(&served.tag(2)).script("echo up; sleep 1000").write_into(&served.bundle.path());

    served.fails(8).says("was not healthy within 3s").says("| up");
}

#[test]
fn an_image_that_crashes_and_is_restarted_by_the_engine_is_rolled_back_at_once() {
    let mut served = Served::over("crash", "\nrestart: always", "health: {timeout: 45s}");
    Image::new(&served.tag(2)).script("sleep 0.2; exit 4").write_into(&served.bundle.path());

    let outcome = served.fails(8);

    outcome.says(" exited ");
    assert!(outcome.took.as_secs() < 40, "it did not wait for the timeout: {:?}", outcome.took);
}

#[test]
fn a_missing_command_is_rolled_back_with_the_engines_words() {
    let mut served = Served::over("nothing", "", HEALTH);
    Image::new(&served.tag(2)).command(&["/bin/nothing"]).write_into(&served.bundle.path());

    served.fails(7).says("cannot start").says("/bin/nothing");
}

#[test]
fn an_image_for_another_processor_is_refused_before_anything_is_touched() {
    let mut served = Served::over("arm", "", HEALTH);
    web(&served.tag(2), "new").architecture("arm64").write_into(&served.bundle.path());

    served.fails(6).says("is built for arm64, this host is amd64").says("nothing was touched");
}

#[test]
fn a_bad_mount_leaves_the_old_container_serving() {
    let mut served = Served::over("mount", "", HEALTH);
    let port = served.port;
    let service = format!(
        "image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s\nvolumes: [{{type: bind, source: /does/not/exist, target: /x, bind: {{create_host_path: false}}}}]"
    );
    served.bundle.appspec(&crate::support::bundle::appspec(&served.name, &service, HEALTH));

    let outcome = served.fails(7);

    outcome.says("/does/not/exist").says("was not touched");
    assert!(!outcome.stdout.contains("docker stop"), "it fails before the old one stops:\n{}", outcome.stdout);
}

#[test]
fn a_host_port_taken_by_another_container_is_found_before_anything_is_touched() {
    let world = world();
    let mut served = Served::over("port", "", HEALTH);
    let taken = world.port();
    let other = Bundle::container(
        &world.name("owner"),
        &format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{taken}:80\"]\nstop_grace_period: 1s"),
        HEALTH,
    );
    web(&format!("{}x:1", served.name), "x").write_into(&other.path());
    other.hook("ApplicationStart").exits(0);

    let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{taken}:80\"]");
    served.bundle.appspec(&crate::support::bundle::appspec(&served.name, &service, HEALTH));

    served.fails(7).says(&format!("host port 127.0.0.1:{taken}/tcp is taken by container owner"));
}

#[test]
fn a_host_port_taken_by_a_process_is_found_with_the_processs_name() {
    let world = world();
    let mut served = Served::over("process", "", HEALTH);
    let taken = world.port();
    let listener = world.inside(|| std::net::TcpListener::bind(("127.0.0.1", taken)).unwrap());
    let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{taken}:80\"]");
    served.bundle.appspec(&crate::support::bundle::appspec(&served.name, &service, HEALTH));

    let outcome = served.fails(7);

    drop(listener);
    outcome.says("is taken by a process: ").says(&format!("(pid {})", std::process::id()));
}

#[test]
fn a_port_that_a_proxy_of_a_killed_engine_still_holds_is_named_with_what_to_restart() {
    let world = world();
    let mut served = Served::over("orphan", "", HEALTH);
    let taken = world.port();
    let proxy = world.folder().join("docker-proxy");
    std::fs::copy("/bin/busybox", &proxy).unwrap();
    let script = format!("exec -a httpd '{}' -f -p 127.0.0.1:{taken} -h /", proxy.display());
    let mut orphan = world.command("bash").args(["-c", &script]).spawn().unwrap();
    world.wait_for_port(taken);
    let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{taken}:80\"]");
    served.bundle.appspec(&crate::support::bundle::appspec(&served.name, &service, HEALTH));

    let outcome = served.fails(7);

    orphan.kill().unwrap();
    orphan.wait().unwrap();
    outcome.says(&format!("127.0.0.1:{taken}/tcp is taken by a process: docker-proxy (pid "));
    outcome.says("an engine that was killed left it; restart docker");
}

#[test]
fn an_application_that_ignores_sigterm_is_stopped_within_its_grace_period() {
    let (world, name) = (world(), world().name("deafen"));
    let port = world.port();
    let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 2s");
    let mut bundle = Bundle::container(&name, &service, HEALTH);
    // Process 1 has no default action for SIGTERM: busybox's httpd ignores it.
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    web(&format!("{name}:2"), "two").write_into(&bundle.path());

    let outcome = bundle.deployment("d-TEST00002").hook("ApplicationStart");

    outcome.exits(0).says("docker stop --time 2");
    assert!((2..10).contains(&outcome.took.as_secs()), "{:?}", outcome.took);
    assert_eq!(world.get(port, "/").as_deref(), Some("two"));
}

#[test]
fn a_first_deployment_that_fails_leaves_nothing_and_says_that_nothing_serves() {
    let (world, name) = (world(), world().name("virgin"));
    let bundle = Bundle::container(&name, "image: {archive: image.tar}", "health: {timeout: 3s}");
    Image::new(&format!("{name}:1")).script("exit 9").write_into(&bundle.path());

    bundle.hook("ApplicationStart").exits(8).says("nothing serves as").says("exited with code 9");

    assert!(world.containers(&name).is_empty());
}

#[test]
fn validate_service_fails_where_another_image_runs_than_the_wanted_one() {
    let mut served = Served::over("other", "", HEALTH);
    let (_, id) = web(&served.tag(2), "new").write_into(&served.bundle.path());

    let outcome = served.bundle.deployment("d-TEST00002").hook("ValidateService");

    outcome.exits(8).says("not the wanted").says(&id[7..19]);
    served.serves_old();
}

#[test]
fn a_missing_network_is_refused_with_the_command_that_makes_it() {
    let mut served = Served::over("net", "", HEALTH);
    let service = "image: {archive: image.tar}\nnetworks: [nowhere]";
    served.bundle.appspec(&crate::support::bundle::appspec(&served.name, service, "health: {timeout: 3s}"));

    served.fails(7).says("network nowhere does not exist").says("docker network create nowhere");
    let plan = served.bundle.run(&["plan"]);
    plan.exits(7).prints("would fail: appspec.yml:").prints(": network nowhere does not exist; next: create it once");
    plan.prints("docker start");
}

#[test]
fn an_engine_without_a_socket_is_said_and_only_application_stop_goes_on() {
    let name = world().name("noengine");
    let mut bundle = Bundle::container(&name, "image: {archive: image.tar}", "");
    bundle.env("DOCKER_HOST", "unix:///nowhere/docker.sock");

    for event in ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"] {
        bundle.hook(event).exits(5).says("the engine at unix:///nowhere/docker.sock cannot be reached");
    }
    bundle.hook("ApplicationStop").exits(0).says("cannot be reached").says("exit code 0");
}

#[test]
fn an_engine_that_is_starting_is_waited_for() {
    let (world, name) = (world(), world().name("late"));
    let mut bundle = Bundle::container(&name, "image: {archive: image.tar}", "");
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    let socket = bundle.path().join("late.sock");
    bundle.env("DOCKER_HOST", &format!("unix://{}", socket.display()));
    let running = bundle.start("AfterInstall");
    std::thread::sleep(std::time::Duration::from_secs(1));
    std::os::unix::fs::symlink(world.folder().join("docker.sock"), &socket).unwrap();
    running.wait().exits(0).says("] load ");
}

#[test]
fn a_state_directory_that_cannot_be_written_is_said_before_anything_is_touched() {
    let mut served = Served::over("state", "", HEALTH);
    web(&served.tag(2), "new").write_into(&served.bundle.path());
    // A file where the folder should be: root can write anywhere else.
    std::fs::write(served.bundle.path().join("file"), "").unwrap();
    let path = served.bundle.path().join("file");
    served.bundle.env("BALEHOOK_STATE_DIR", path.to_str().unwrap());

    served.fails(11).says("cannot write").says("BALEHOOK_STATE_DIR");
}

#[test]
fn a_wrong_file_is_refused_with_every_problem_and_its_place_and_application_stop_still_succeeds() {
    let name = world().name("wrong");
    let bundle = Bundle::container(&name, "image: Web:1\nprots: [\"80:80\"]\nports: [\"99999:80\"]", "helth: {}");

    let outcome = bundle.hook("ApplicationStart");
    outcome
        .exits(3)
        .says("unknown key `prots`")
        .says("did you mean `ports`?")
        .says("write `web`")
        .says("99999")
        .says("`health`");
    assert!(outcome.stdout.contains("appspec.yml:"), "{}", outcome.stdout);
    for event in ["ApplicationStop", "BeforeBlockTraffic", "AfterBlockTraffic"] {
        bundle.hook(event).exits(0).says("does not fail the deployment for that");
    }
}

#[test]
fn a_hook_whose_variables_sudo_dropped_is_told_what_to_write_instead() {
    let name = world().name("sudo");
    let mut bundle = Bundle::container(&name, "image: {archive: image.tar}", "");
    bundle.env("SUDO_USER", "root");

    let outcome = bundle.hook("");

    outcome.exits(4).says("`sudo: true` on the hook drops all of CodeDeploy's variables").says("runas: root");
}
