//! What is asked and never answers: it is named with the time that it was waited for, the old release serves, and the
//! hook has ended before the agent kills it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::compose::{Project, TWO};
use crate::failing_undo::Service;
use crate::handover::{Handed, shared};
use crate::support::bundle::{Running, appspec};
use crate::support::engine_proxy::{EngineProxy, Fault, Which};
use crate::support::images::web;
use crate::support::served::service;
use crate::support::world::{ECR, OTHER_PASSWORD, base64, wait_until};
use crate::support::{Bundle, Outcome, Served, world};

/// The hooks' `timeout:`, in seconds, where the deadline is to strike: after 10 s.
const SHORT: u32 = 12;
/// The same where a call's own limit may come first: after 20 s.
const LONG: u32 = 24;
const HEALTH: &str = "health: {http: /healthz, timeout: 5s}";

/// After its SIGTERM, which comes when the hook's time is up, the agent gives it so long.
const KILL: Duration = Duration::from_secs(5);

/// Ends under an agent by itself, before that kills it.
#[track_caller]
fn ends_in_time(running: Running, seconds: u32) -> Outcome {
    let limit = Duration::from_secs(seconds.into());
    let outcome = running.wait_as_agent(limit);
    assert!(outcome.took < limit + KILL && outcome.code.is_some(), "{:?}\n{}", outcome.took, outcome.stdout);
    outcome
}

/// The console says in one line that all of `words` did not answer, and for how many seconds.
#[track_caller]
fn names(outcome: &Outcome, words: &[&str], seconds: RangeInclusive<u64>) {
    let console = outcome.console();
    let is_named = |line: &str| words.iter().all(|word| line.contains(word));
    let is_found =
        console.lines().filter(|line| is_named(line)).any(|line| waited(line).any(|time| seconds.contains(&time)));
    assert!(is_found, "{words:?} are not named with {seconds:?} seconds:\n{}", outcome.stdout);
}

/// The whole seconds of each `for 9 s`, or `for 9.3 s`, in a line.
fn waited(line: &str) -> impl Iterator<Item = u64> {
    line.split(" for ").skip(1).filter_map(|rest| {
        let (digits, unit) = rest.split_at(rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?);
        let mut unit = unit.trim_start().chars();
        let is_seconds = unit.next() == Some('s') && !unit.next().is_some_and(char::is_alphanumeric);
        digits.split('.').next()?.parse().ok().filter(|_| is_seconds)
    })
}

/// A port of the world's that takes connections and never says a word.
fn silent() -> u16 {
    let port = world().port();
    let listener = world().inside(|| TcpListener::bind(("127.0.0.1", port)).unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for client in listener.incoming() {
            open.push(client);
        }
    });
    port
}

/// A port of the world's before which every packet is dropped.
fn unreachable() -> u16 {
    let port = world().port().to_string();
    let rule = ["-I", "INPUT", "-i", "lo", "-p", "tcp", "--dport", &port, "-j", "DROP"];
    assert!(world().command("iptables").args(rule).status().unwrap().success());
    port.parse().unwrap()
}

impl Served {
    /// The next release has another image source.
    fn image(&self, source: &str) {
        self.bundle.appspec(&appspec(&self.name, &service(source, self.port), HEALTH));
    }

    /// The next release's image is in the engine: with containerd's store a container is created and removed to see so.
    fn imported(stem: &str) -> Self {
        let served = Self::with_next(stem, HEALTH);
        served.bundle.hook("AfterInstall").exits(0);
        served
    }

    fn engine(&mut self) -> EngineProxy {
        let engine = EngineProxy::start(&world().docker_host());
        self.bundle.env("DOCKER_HOST", &engine.docker_host());
        engine
    }

    /// Its archive is asked for in S3.
    fn archive_in_s3(&self) -> String {
        let uri = format!("s3://releases/{}.tar", self.name);
        self.image(&format!("{{archive: \"{uri}\"}}"));
        uri
    }

    #[track_caller]
    fn starts(&self, timeout: u32) -> Outcome {
        self.bundle.timeout(timeout);
        ends_in_time(self.bundle.start("ApplicationStart"), timeout)
    }
}

#[test]
fn an_engine_that_accepts_and_never_answers_is_named_after_ten_seconds_and_only_application_stop_succeeds() {
    let engine = EngineProxy::start(&world().docker_host());
    engine.on("*", Which::Every, Fault::Hold);
    let host = engine.docker_host();
    let events = [
        ("BeforeInstall", 5),
        ("AfterInstall", 5),
        ("ApplicationStart", 5),
        ("ValidateService", 5),
        ("ApplicationStop", 0),
    ];
    std::thread::scope(|scope| {
        for (event, code) in events {
            let host = &host;
            scope.spawn(move || {
                let mut bundle = Bundle::container(&world().name("mute"), &service("web:1", 80), HEALTH);
                bundle.env("DOCKER_HOST", host).timeout(LONG);
                let outcome = ends_in_time(bundle.start(event), LONG);
                outcome.exits(code);
                names(&outcome, &[&format!("the engine at {host}"), "has not answered"], 9..=11);
            });
        }
    });
}

/// Each call of a replacement: the request, the docker command that the console names, and for how long it is waited.
const CALLS: [(&str, &str, RangeInclusive<u64>); 4] = [
    ("POST /containers/create*", "docker create", 8..=20),
    // The grace period of 1 s and 10 s more.
    ("POST /containers/*/stop*", "docker stop", 10..=12),
    ("POST /containers/*/rename*", "docker rename", 8..=20),
    ("POST /containers/*/start", "docker start", 8..=20),
];

#[test]
fn one_call_of_a_replacement_that_hangs_is_named_and_the_old_container_serves_before_the_hooks_time_is_up() {
    let held = CALLS.into_iter().chain([("POST /images/load*", "load", 8..=20)]).map(|call| (call, Fault::Hold));
    // The engine has done it, and nobody learns that.
    let done = CALLS.into_iter().map(|call| (call, Fault::HoldAnswer));
    std::thread::scope(|scope| {
        for ((request, command, waited), fault) in held.chain(done) {
            // One after the other, so that they are not all undone at the same moment.
            let mut served =
                if command == "load" { Served::with_next("stuck", HEALTH) } else { Served::imported("stuck") };
            scope.spawn(move || {
                let engine = served.engine();
                engine.on(request, Which::Only(1), fault);

                let outcome = served.starts(LONG);

                outcome.exits(if command == "docker stop" { 5 } else { 9 });
                names(&outcome, &[&engine.docker_host(), "has not answered", command], waited);
                // What was held comes to nothing.
                engine.release();
                served.serves_old();
            });
        }
    });
}

#[test]
fn an_engine_that_does_not_say_whether_the_new_container_runs_is_named_and_the_old_one_serves() {
    let mut served = Served::imported("blind");
    let engine = served.engine();
    served.bundle.timeout(LONG);
    let running = served.bundle.start("ApplicationStart");
    engine.wait_for("POST /containers/*/start");
    engine.on("GET /containers/*/json", Which::Only(1), Fault::Hold);

    let outcome = ends_in_time(running, LONG);

    assert!(matches!(outcome.code, Some(5 | 8)), "{:?}\n{}", outcome.code, outcome.stdout);
    names(&outcome, &[&engine.docker_host(), "has not answered"], 4..=11);
    engine.release();
    served.serves_old();
}

#[test]
fn a_manager_that_does_not_answer_an_update_is_named_and_the_service_is_as_before() {
    let service = Service::serving("shang");
    service.engine.on("POST /services/*/update?*", Which::Only(1), Fault::Hold);
    service.bundle.timeout(SHORT);

    let outcome = ends_in_time(service.bundle.start("ApplicationStart"), SHORT);

    outcome.exits(9);
    names(&outcome, &[&service.engine.docker_host(), "has not answered", "docker service update"], 4..=10);
    service.engine.release();
    service.is_rolled_back();
}

#[test]
fn an_engine_that_stops_answering_in_the_middle_is_said_with_exit_code_13_and_resume_puts_the_old_one_back() {
    std::thread::scope(|scope| {
        for (request, command, waited) in CALLS {
            let mut served = Served::imported("dies");
            scope.spawn(move || {
                let engine = served.engine();
                engine.on(request, Which::Only(1), Fault::Stop);

                let outcome = served.starts(LONG);

                outcome.exits(13);
                names(&outcome, &[&engine.docker_host(), "has not answered", command], waited);
                assert!(served.bundle.has_journal(&served.name), "{command}: something is left to undo");
                engine.release();
                served.bundle.resume().exits(0);
                served.serves_old();
            });
        }
    });
}

#[test]
fn a_connection_that_the_engine_closes_without_an_answer_is_said_and_undone_at_once() {
    for (request, command, _) in CALLS {
        let mut served = Served::imported("cut");
        let engine = served.engine();
        engine.on(request, Which::Only(1), Fault::Cut);
        let outcome = served.bundle.hook("ApplicationStart");
        outcome.exits(5).says(&command.replace("docker", "cannot"));
        assert!(outcome.took < Duration::from_secs(10), "{command}: {:?}", outcome.took);
        served.serves_old();
    }
}

#[test]
fn a_hook_that_is_told_to_end_while_the_engine_hangs_ends_before_the_agent_kills_it() {
    let mut served = Served::imported("term");
    let engine = served.engine();
    engine.on("POST /containers/*/start", Which::Only(1), Fault::Stop);
    served.bundle.timeout(60);
    let running = served.bundle.start("ApplicationStart");
    engine.wait_for_fault();
    let began = std::time::Instant::now();
    running.signal(Signal::SIGTERM);

    let outcome = running.wait_as_agent(Duration::from_secs(40));

    let took = began.elapsed();
    assert!(took < KILL, "the agent kills it by then: {took:?}\n{}", outcome.stdout);
    outcome.exits(13).says("SIGTERM was received");
    assert!(served.bundle.has_journal(&served.name));

    // So does `resume`, and begins no other name.
    let other = served.bundle.state().join("zz-other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("lock"), "").unwrap();
    let asked = engine.seen().len();
    let running = served.bundle.start_bare(&["resume"]);
    wait_until(KILL, || engine.seen().len() > asked, || "resume asks nothing".to_owned());
    running.signal(Signal::SIGTERM);
    let outcome = running.wait_as_agent(Duration::from_secs(40));
    outcome.exits(12).says("SIGTERM was received before anything was changed").says("run `balehook resume` again");
    outcome.says("not looked at any more: zz-other");
    assert!(served.bundle.has_journal(&served.name));
    engine.release();
    served.bundle.resume().exits(0);
    served.serves_old();
}

#[test]
fn rules_that_cannot_be_written_for_a_hanging_iptables_are_named_and_the_ports_lead_to_the_old_container() {
    let _shared = shared();
    let mut web = Handed::new("hnat", "");
    web.release("old");
    let old = world().running(&web.name);
    web.image("new", 0);
    web.bundle.timeout(SHORT);
    let hanging = web.bundle.program("iptables-restore", "#!/bin/sh\nsleep 61\n");

    let outcome = ends_in_time(web.bundle.deployment("d-9").start("ApplicationStart"), SHORT);

    // Whether it was undone can only be known by who looks at the rules.
    assert!(matches!(outcome.code, Some(9 | 13)), "{:?}\n{}", outcome.code, outcome.stdout);
    assert_eq!(outcome.code == Some(13), web.bundle.has_journal(&web.name), "{}", outcome.stdout);
    names(&outcome, &["iptables-restore"], 3..=10);
    assert_eq!(web.answer().as_deref(), Ok("old"));
    std::fs::remove_file(hanging).unwrap();
    web.bundle.resume().exits(0);
    assert_eq!((world().containers(&web.name), world().running(&web.name)), (web.name.clone(), old));
    assert_eq!(web.answer().as_deref(), Ok("old"));
}

/// No sleep of so many seconds runs anywhere, as soon as the kernel has ended what was killed; nobody else takes just as
/// many, and by itself each lasts longer than it is waited for here.
#[track_caller]
fn no_process_is_left(seconds: &str) {
    let wanted = format!("sleep\0{seconds}\0");
    let is_over = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        !lines.any(|line| line == wanted.as_bytes())
    };
    wait_until(Duration::from_secs(5), is_over, || format!("sleep {seconds} still runs"));
}

/// A script that is deaf to SIGTERM, and whose child holds its output open. Left behind, it ends by itself in a minute.
fn hanging(seconds: &str) -> String {
    format!("#!/bin/sh\ntrap '' TERM\nsleep {seconds} &\nsleep {seconds}\n")
}

/// Puts a script in the way of the project's Compose: it hangs at a command, and is Compose for all others.
fn compose_hangs_at(project: &Project, command: &str, which: usize, seconds: &str) -> std::path::PathBuf {
    let plugins = project.bundle.path().join("../../../docker-config/cli-plugins");
    let real = std::fs::read_link(plugins.join("docker-compose")).unwrap();
    let count = project.bundle.path().join("../count");
    let script = format!(
        "#!/bin/sh\nfor word in \"$@\"; do [ \"$word\" = {command} ] && echo >> '{count}'; done\n\
         if [ -e '{count}' ] && [ $(wc -l < '{count}') -ge {which} ]; then\n{}fi\nexec '{}' \"$@\"\n",
        hanging(seconds).trim_start_matches("#!/bin/sh\n"),
        real.display(),
        count = count.display()
    );
    let path = project.bundle.program("hanging-compose", &script);
    std::fs::remove_file(plugins.join("docker-compose")).unwrap();
    std::os::unix::fs::symlink(path, plugins.join("docker-compose")).unwrap();
    count
}

#[test]
fn a_compose_that_hangs_at_up_is_named_ended_with_its_children_and_the_project_is_back_after_resume() {
    let mut project = Project::serving("chup");
    project.file("compose.yml", &TWO.replace("LEVEL: info", "LEVEL: debug"));
    let before = (project.running("web"), project.running("db"));
    compose_hangs_at(&project, "up", 1, "61.017");
    project.bundle.timeout(SHORT);

    let outcome = ends_in_time(project.bundle.start("ApplicationStart"), SHORT);

    outcome.exits(13);
    names(&outcome, &["compose", " up"], 3..=10);
    no_process_is_left("61.017");
    assert!(project.bundle.has_journal(&project.name));
    project.compose("2.40");
    project.bundle.resume().exits(0);
    assert_eq!((project.running("web"), project.running("db")), before, "nothing had changed");
    assert_eq!(project.page().as_deref(), Some("one"));
    assert!(!project.bundle.has_journal(&project.name));
    project.bundle.deployment("d-TEST00003").timeout(60);
    project.start().exits(0);
}

#[test]
fn a_compose_that_hangs_before_anything_is_touched_is_named_and_the_project_serves() {
    std::thread::scope(|scope| {
        for (command, seconds) in [("version", "61.018"), ("config", "61.019")] {
            scope.spawn(move || {
                let project = Project::serving("chlook");
                project.file("compose.yml", &TWO.replace("LEVEL: info", "LEVEL: debug"));
                let before = (project.running("web"), project.running("db"));
                compose_hangs_at(&project, command, 1, seconds);
                project.bundle.timeout(SHORT);
                let outcome = ends_in_time(project.bundle.start("ApplicationStart"), SHORT);
                assert_ne!(outcome.code, Some(0), "{command}: {}", outcome.stdout);
                outcome.says("nothing was touched");
                names(&outcome, &["compose", command], 3..=10);
                no_process_is_left(seconds);
                assert_eq!((project.running("web"), project.running("db")), before, "{command}");
                assert_eq!(project.page().as_deref(), Some("one"), "{command}");
            });
        }
    });
}

/// A port that passes everything on to the second registry, until so many bytes came back on one connection.
fn registry_that_stalls_after(bytes: usize) -> u16 {
    let port = world().port();
    let listener = world().inside(|| TcpListener::bind(("127.0.0.1", port)).unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut client = client;
            let mut server = world().inside(|| TcpStream::connect(("127.0.0.1", 5443)).unwrap());
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            std::thread::spawn(move || {
                let (mut passed, mut buffer) = (0, [0; 16 * 1024]);
                while let Ok(count @ 1..) = server.read(&mut buffer) {
                    let count = count.min(bytes - passed);
                    passed += count;
                    if client.write_all(&buffer[..count]).is_err() || passed == bytes {
                        break;
                    }
                }
                // It stays open as long as the test runs.
                if passed == bytes {
                    std::thread::sleep(Duration::from_secs(600));
                }
            });
        }
    });
    port
}

#[test]
fn a_registry_that_stops_in_the_middle_of_a_layer_is_named_and_no_part_of_the_image_is_left() {
    let served = Served::with_next("hpull", HEALTH);
    let scratch = tempfile::tempdir_in(world().folder()).unwrap();
    let (local, target) = (format!("push-{}:1", served.name), format!("{}:1", served.name));
    let (archive, _) = web(&local, "new").padding(6_000_000).write_into(scratch.path());
    world().docker(&["load", "--input", archive.to_str().unwrap()]);
    world().push("registry.test:5443", &local, &target);
    world().docker(&["rmi", "--force", &local]);
    // The engine takes a registry on the loopback without asking for its certificate.
    let registry = format!("127.0.0.1:{}", registry_that_stalls_after(2_000_000));
    let auth = base64(&format!("team:{OTHER_PASSWORD}"));
    served.bundle.docker_config(&format!(r#"{{"auths":{{"{registry}":{{"auth":"{auth}"}}}}}}"#));
    served.image(&format!("{registry}/{target}"));

    let outcome = served.starts(SHORT);

    outcome.exits(9);
    names(&outcome, &[&registry], 3..=10);
    let images = world().docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert!(!images.contains(&registry), "{images}");
    served.serves_old();
}

/// Makes the next release ask a server that never answers; the words that name it.
type Asks = fn(&mut Served) -> Vec<String>;

const OUTSIDE: [Asks; 6] = [
    |served| {
        served.image("registry.test:5443/helper:1");
        served.bundle.program("docker-credential-slow", &hanging("61.020"));
        served.bundle.docker_config(r#"{"credHelpers":{"registry.test:5443":"slow"}}"#);
        vec!["docker-credential-slow".into()]
    },
    |served| {
        let registry = format!("127.0.0.1:{}", silent());
        served.image(&format!("{registry}/{}:1", served.name));
        vec![format!("registry {registry} has not answered")]
    },
    |served| {
        served.bundle.env("AWS_ENDPOINT_URL_S3", &format!("http://127.0.0.1:{}", silent()));
        vec!["S3".into(), served.archive_in_s3()]
    },
    |served| {
        served.bundle.env("AWS_ENDPOINT_URL_S3", &format!("http://127.0.0.1:{}", unreachable()));
        vec!["S3".into(), served.archive_in_s3()]
    },
    |served| {
        served.image(&format!("{ECR}/{}:1", served.name));
        served.bundle.env("AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{}", silent()));
        vec!["ECR".into(), ECR.into()]
    },
    |served| {
        let silent = format!("http://127.0.0.1:{}", silent());
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_EC2_METADATA_DISABLED"] {
            served.bundle.env(name, "");
        }
        served.bundle.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &silent);
        served.archive_in_s3();
        vec!["instance metadata".into()]
    },
];

#[test]
fn a_helper_a_registry_s3_ecr_and_the_metadata_service_that_never_answer_are_named_and_the_old_container_serves() {
    std::thread::scope(|scope| {
        for asks in OUTSIDE {
            scope.spawn(move || {
                let mut served = Served::with_next("outside", HEALTH);
                let words = asks(&mut served);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                served.bundle.timeout(SHORT);

                let outcome = ends_in_time(served.bundle.start("AfterInstall"), SHORT);

                assert!(matches!(outcome.code, Some(6 | 9)), "{words:?}: {:?}\n{}", outcome.code, outcome.stdout);
                outcome.says("nothing was touched");
                names(&outcome, &words, 1..=10);
                served.serves_old();
            });
        }
    });
    no_process_is_left("61.020");
}
