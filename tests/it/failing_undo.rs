//! Undoing and recovering where the engine refuses what they need: the console says so, the exit code is 13, the journal
//! stays, and the next event or `resume` finishes it.

use nix::sys::signal::Signal;

use crate::compose::{Project, TWO};
use crate::handover::{Handed, shared};
use crate::support::cluster::{self, alone};
use crate::support::engine_proxy::{EngineProxy, Fault, Which};
use crate::support::images::web;
use crate::support::{Bundle, Image, Outcome, world};

/// What the engine says when it refuses.
const WHY: &str = "refused by the test";
const NO: Fault = Fault::Refuse(500, WHY);
/// What a release that ends at once writes to its log.
const LAST_WORDS: &str = "no database";

/// An image that ends at once.
fn broken(tag: &str) -> Image {
    Image::new(tag).script(&format!("echo {LAST_WORDS}; exit 3"))
}

/// Runs, and never answers.
fn deaf(tag: &str) -> Image {
    Image::new(tag).script("while :; do busybox sleep 1; done")
}

/// A container that serves "old". What is deployed next goes through a proxy.
struct Served {
    bundle: Bundle,
    engine: EngineProxy,
    name: String,
    port: u16,
    id: String,
}

impl Served {
    fn new(stem: &str, next: impl Fn(&str) -> Image) -> Self {
        Self::of(stem, |tag| web(tag, "old"), next)
    }

    fn of(stem: &str, old: impl Fn(&str) -> Image, next: impl Fn(&str) -> Image) -> Self {
        let (world, name, port) = (world(), world().name(stem), world().port());
        let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
        let mut bundle = Bundle::container(&name, &service, "health: {http: /healthz, timeout: 20s}");
        old(&format!("{name}:1")).write_into(&bundle.path());
        bundle.hook("ApplicationStart").exits(0);
        let engine = EngineProxy::start(&world.docker_host());
        bundle.env("DOCKER_HOST", &engine.docker_host()).deployment("d-TEST00002");
        next(&format!("{name}:2")).write_into(&bundle.path());
        let id = world.inspect(&name, "{{.Id}}");
        Self { bundle, engine, name, port, id }
    }

    /// Killed when the new container was started and is not yet healthy.
    fn killed(stem: &str) -> Self {
        let served = Self::new(stem, deaf);
        let running = served.bundle.start("ApplicationStart");
        served.engine.wait_for("POST /containers/*/start");
        running.signal(Signal::SIGKILL);
        assert_eq!(running.wait().code, None);
        served
    }

    /// Exactly one container is left, it is the old one, and it serves.
    #[track_caller]
    fn serves_old(&self) {
        assert_eq!(world().containers(&self.name), self.name);
        assert_eq!(world().running(&self.name), self.id);
        self.answers("old");
        assert!(!self.bundle.has_journal(&self.name), "nothing is left to undo");
    }

    #[track_caller]
    fn answers(&self, version: &str) {
        world().wait_for(version, || world().get(self.port, "/").as_deref() == Some(version));
    }
}

/// The failure's cause stands before the first step that undoes and in the last line, and what could not be undone is
/// said with the engine's words.
#[track_caller]
fn says_what_failed_and_what_could_not_be_undone(outcome: &Outcome, cause: &str) {
    outcome.exits(13).says(WHY).says("could NOT be put back");
    let console = outcome.console();
    assert!(console.lines().last().unwrap().contains(cause), "{cause:?} is not in the last line:\n{console}");
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let undo = lines.iter().position(|line| line.starts_with("[undo] ")).unwrap();
    let is_failure = |line: &str| !line.starts_with('[') || line.contains("] failed: ");
    let is_said = lines[..undo].iter().any(|line| is_failure(line) && line.contains(cause));
    assert!(is_said, "{cause:?} is not said before the undo begins:\n{}", outcome.stdout);
    assert!(!outcome.stdout.contains("is back after"), "{}", outcome.stdout);
}

/// `resume` with an engine that does all it is asked for; a second one finds nothing to do.
#[track_caller]
fn resumes(bundle: &Bundle, engine: &EngineProxy) {
    engine.release();
    bundle.resume().exits(0);
    let before = engine.seen().len();
    bundle.resume().exits(0);
    let changes: Vec<_> =
        engine.seen().split_off(before).into_iter().filter(|seen| !seen.starts_with("GET ")).collect();
    assert_eq!(changes, Vec::<String>::new(), "the first one left nothing");
}

#[test]
fn an_old_container_whose_name_or_start_the_engine_refuses_is_said_to_be_down_and_put_back_by_the_next_event() {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let served = Served::new("noname", broken);
            // The first one gives the name to the new container.
            served.engine.on(&format!("POST /containers/*/rename?name={}", served.name), Which::From(2), NO);
            let outcome = served.bundle.hook("ApplicationStart");
            says_what_failed_and_what_could_not_be_undone(&outcome, "code 3");
            outcome.says(LAST_WORDS).says(&served.id[..12]);
            assert!(served.bundle.has_journal(&served.name));
            resumes(&served.bundle, &served.engine);
            served.serves_old();
        });
        scope.spawn(|| {
            let mut served = Served::new("nostart", broken);
            served.engine.on(&format!("POST /containers/{}/start", served.id), Which::Every, NO);
            let outcome = served.bundle.hook("ApplicationStart");
            says_what_failed_and_what_could_not_be_undone(&outcome, "code 3");
            outcome.says(LAST_WORDS).says(&served.id[..12]);
            assert!(served.bundle.has_journal(&served.name));
            assert_eq!(world().running(&served.name), "", "nothing serves");
            served.engine.release();
            served.bundle.deployment("d-TEST00003").hook("BeforeInstall").exits(0);
            served.serves_old();
        });
    });
}

/// Serves "old" when it is started for the first time; `again` is what it does every other time.
fn once(tag: &str, again: &str) -> Image {
    let serve = "touch /started; exec /bin/busybox httpd -f -p 80 -h /www";
    web(tag, "old").script(&format!("[ -e /started ] && {{ {again}; }}; {serve}"))
}

#[test]
fn an_old_container_that_ends_when_it_is_started_again_is_not_called_back_and_its_log_says_why() {
    let served = Served::of("noreturn", |tag| once(tag, "echo its key is gone; exit 4"), broken);
    let name = &served.name;
    let outcome = served.bundle.hook("ApplicationStart");
    outcome
        .exits(13)
        .says("its key is gone")
        .says("could NOT be put back; it does not run")
        .says(&format!("{name} exited with code 4"));
    assert!(!outcome.stdout.contains("is back after"), "{}", outcome.stdout);
    assert_eq!(world().running(name), "", "nothing serves");
    assert!(served.bundle.has_journal(name));
    served.bundle.resume().exits(13).says("exited with code 4").says("its key is gone");
}

#[test]
fn an_old_container_that_boots_longer_than_there_is_time_runs_again_and_is_not_called_back() {
    let served = Served::of("slowback", |tag| once(tag, "/bin/busybox sleep 6"), deaf);
    let mut running = served.bundle.start("ApplicationStart");
    running.wait_until_said("check health of");
    running.signal(Signal::SIGTERM);
    let outcome = running.wait();
    outcome.exits(12).says("runs again after").says("there was no time to see it healthy");
    outcome.says(&format!("{} is not healthy yet", served.name));
    assert!(!outcome.stdout.contains("is back after"), "{}", outcome.stdout);
    served.serves_old();
}

#[test]
fn a_new_container_that_the_engine_does_not_remove_is_said_and_removed_by_the_next_deployment() {
    let mut served = Served::new("noremove", broken);
    // With containerd's store importing creates and removes a container.
    served.bundle.hook("AfterInstall").exits(0);
    served.engine.on("DELETE /containers/*", Which::Every, NO);

    let outcome = served.bundle.hook("ApplicationStart");

    outcome.exits(13).says(WHY).says(&format!("{}.balehook-new", served.name));
    outcome.says("is back after").says("could NOT be undone");
    assert!(served.bundle.has_journal(&served.name));
    assert_eq!(world().running(&served.name), served.id, "the old one serves all the same");
    served.engine.release();
    web(&format!("{}:3", served.name), "new").write_into(&served.bundle.path());
    served.bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(0);
    assert_eq!(world().containers(&served.name), served.name);
    served.answers("new");
    assert!(!served.bundle.has_journal(&served.name));
}

#[test]
fn a_first_container_that_cannot_be_removed_is_said_and_removed_by_the_next_event() {
    let (world, name) = (world(), world().name("nofirst"));
    let mut bundle = Bundle::container(&name, "image: {archive: image.tar}", "health: {timeout: 3s}");
    broken(&format!("{name}:1")).write_into(&bundle.path());
    let engine = EngineProxy::start(&world.docker_host());
    bundle.hook("AfterInstall").exits(0);
    engine.on("DELETE /containers/*", Which::Every, NO);

    let outcome = bundle.env("DOCKER_HOST", &engine.docker_host()).hook("ApplicationStart");

    outcome.exits(13).says(WHY).says(LAST_WORDS).says("could NOT be undone");
    assert!(bundle.has_journal(&name));
    assert_ne!(world.containers(&name), "");
    engine.release();
    bundle.deployment("d-TEST00002").hook("BeforeInstall").exits(0);
    assert_eq!(world.containers(&name), "");
    assert!(!bundle.has_journal(&name));
}

#[test]
fn a_name_that_cannot_be_given_back_is_said_while_the_ports_still_lead_to_the_old_container() {
    let _shared = shared();
    let mut web = Handed::new("sfname", "");
    web.release("old");
    let old = world().running(&web.name);
    web.image("new", 0);
    let engine = EngineProxy::start(&world().docker_host());
    engine.on(&format!("POST /containers/*/rename?name={}", web.name), Which::Every, NO);
    web.bundle.env("DOCKER_HOST", &engine.docker_host());

    let outcome = web.bundle.deployment("d-9").hook("ApplicationStart");

    says_what_failed_and_what_could_not_be_undone(&outcome, WHY);
    assert!(web.bundle.has_journal(&web.name));
    assert_eq!(web.answer().as_deref(), Ok("old"));
    resumes(&web.bundle, &engine);
    assert_eq!((world().containers(&web.name), world().running(&web.name)), (web.name.clone(), old));
    assert_eq!(web.answer().as_deref(), Ok("old"));
    assert!(!web.bundle.has_journal(&web.name));
}

#[test]
fn ports_that_cannot_be_switched_back_are_said_and_lead_to_the_old_container_after_resume() {
    let _shared = shared();
    let mut web = Handed::new("sfports", "");
    web.release("old");
    let old = world().running(&web.name);
    web.image("new", 0);
    // It writes the rules that lead to the new container, and fails; from then on it writes none.
    let script = "#!/bin/sh\n[ -e \"$0.done\" ] || /usr/sbin/iptables-restore \"$@\"\ntouch \"$0.done\"\n";
    let restore = web.bundle.program("iptables-restore", &format!("{script}echo {WHY} >&2\nexit 4\n"));

    let outcome = web.bundle.deployment("d-9").hook("ApplicationStart");

    says_what_failed_and_what_could_not_be_undone(&outcome, WHY);
    assert!(web.bundle.has_journal(&web.name));
    std::fs::remove_file(restore).unwrap();
    web.bundle.resume().exits(0);
    assert_eq!((world().containers(&web.name), world().running(&web.name)), (web.name.clone(), old));
    assert_eq!(web.answer().as_deref(), Ok("old"));
    assert!(!web.bundle.has_journal(&web.name));
}

#[test]
fn rules_that_did_not_take_fail_the_deployment_while_the_old_container_serves() {
    let _shared = shared();
    let mut web = Handed::new("sflie", "");
    web.release("old");
    let old = world().running(&web.name);
    web.image("new", 0);
    web.bundle.program("iptables-restore", "#!/bin/sh\ncat > /dev/null\n");

    let outcome = web.bundle.deployment("d-9").hook("ApplicationStart");

    outcome.exits(7).says("they are not in the kernel's tables");
    assert_eq!((world().running(&web.name), web.answer().as_deref()), (old, Ok("old")));
}

/// The project's `web` ends at once.
fn broken_project() -> String {
    let command = format!("  web:\n    command: [/bin/busybox, sh, -c, \"echo {LAST_WORDS}; exit 3\"]\n");
    TWO.replace("  web:\n", &command)
}

#[test]
fn a_project_that_compose_cannot_bring_back_is_said_and_brought_back_by_resume() {
    let mut project = Project::serving("cnoup");
    let db = project.running("db");
    project.file("compose.yml", &broken_project());
    let engine = EngineProxy::start(&world().docker_host());
    // The first one makes the new release's container.
    engine.on("POST /containers/create*", Which::From(2), NO);
    project.bundle.env("DOCKER_HOST", &engine.docker_host());

    let outcome = project.start();

    says_what_failed_and_what_could_not_be_undone(&outcome, "code 3");
    outcome.says(LAST_WORDS);
    assert!(project.bundle.has_journal(&project.name));
    assert_eq!(project.page(), None);
    resumes(&project.bundle, &engine);
    assert_eq!(project.page().as_deref(), Some("one"));
    assert_eq!(project.running("db"), db, "what did not change was never touched");
    assert_eq!(project.all().lines().count(), 2, "{}", project.all());
    assert!(!project.bundle.has_journal(&project.name));
}

#[test]
fn a_first_project_that_cannot_be_taken_down_is_said_and_taken_down_by_the_next_event() {
    let mut project = Project::two("cnodown");
    project.file("compose.yml", &broken_project());
    let engine = EngineProxy::start(&world().docker_host());
    project.bundle.hook("AfterInstall").exits(0);
    engine.on("DELETE /containers/*", Which::Every, NO);

    let outcome = project.bundle.env("DOCKER_HOST", &engine.docker_host()).hook("ApplicationStart");

    outcome.exits(13).says(WHY).says("service web").says(LAST_WORDS).says("could NOT be undone");
    assert!(!outcome.stdout.contains("nothing serves"), "{}", outcome.stdout);
    assert!(project.bundle.has_journal(&project.name));
    assert_ne!(project.all(), "");
    resumes(&project.bundle, &engine);
    assert_eq!(project.all(), "");
    assert!(!project.bundle.has_journal(&project.name));
}

/// A service with a host port that serves, and a proxy on its manager.
pub struct Service {
    pub bundle: Bundle,
    pub engine: EngineProxy,
    name: String,
    good: String,
}

const QUICK: &str = "deploy: {update_config: {monitor: 1s}, rollback_config: {monitor: 1s}}";

impl Service {
    fn new(stem: &str) -> Self {
        let (cluster, name, port) = (alone(), world().name(stem), world().port());
        let engine = EngineProxy::start(&cluster.docker_host(1));
        let ports = format!("ports: [{{target: 80, published: {port}, mode: host}}]");
        let service = format!("image: {{archive: image.tar}}\nstop_grace_period: 1s\n{ports}\n{QUICK}");
        let text = cluster::appspec(&name, &service, "health: {http: /healthz, timeout: 5s}");
        let mut bundle = cluster.bundle(1, &text);
        bundle.env("DOCKER_HOST", &engine.docker_host());
        Self { bundle, engine, name, good: String::new() }
    }

    /// One that serves, and the next release of which runs and never answers: it is ours to roll it back.
    pub fn serving(stem: &str) -> Self {
        let mut service = Self::new(stem);
        web(&format!("{}:1", service.name), "one").write_into(&service.bundle.path());
        service.bundle.hook("ApplicationStart").exits(0);
        service.good = service.image();
        deaf(&format!("{}:2", service.name)).write_into(&service.bundle.path());
        service.bundle.deployment("d-TEST00002");
        service
    }

    fn image(&self) -> String {
        alone().service(1, &self.name, "{{.Spec.TaskTemplate.ContainerSpec.Image}}")
    }

    fn is_there(&self) -> bool {
        alone().docker_may_fail(1, &["service", "inspect", &self.name]).is_ok()
    }

    #[track_caller]
    pub fn is_rolled_back(&self) {
        assert_eq!(self.image(), self.good);
        alone().wait_for_tasks(1, &self.name, &self.good, 1);
        assert!(!self.bundle.has_journal(&self.name), "nothing is left to undo");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = alone().docker_may_fail(1, &["service", "rm", &self.name]);
    }
}

#[test]
fn a_service_that_cannot_be_rolled_back_is_said_and_rolled_back_by_resume() {
    let service = Service::serving("snoback");
    service.engine.on("POST /services/*/update?*", Which::From(2), NO);

    let outcome = service.bundle.hook("ApplicationStart");

    says_what_failed_and_what_could_not_be_undone(&outcome, "within 5s");
    assert!(service.bundle.has_journal(&service.name));
    assert_ne!(service.image(), service.good);
    resumes(&service.bundle, &service.engine);
    service.is_rolled_back();
}

#[test]
fn a_first_service_that_cannot_be_removed_is_said_and_removed_by_resume() {
    let service = Service::new("snofirst");
    broken(&format!("{}:1", service.name)).write_into(&service.bundle.path());
    service.engine.on("DELETE /services/*", Which::Every, NO);

    let outcome = service.bundle.hook("ApplicationStart");

    outcome.exits(13).says(WHY).says("non-zero exit (3)").says("could NOT be undone");
    assert!(service.bundle.has_journal(&service.name));
    assert!(service.is_there());
    resumes(&service.bundle, &service.engine);
    assert!(!service.is_there());
    assert!(!service.bundle.has_journal(&service.name));
}

/// `resume` and events that are to recover first say that they could not, and why.
#[track_caller]
fn recovery_fails(bundle: &Bundle, name: &str, events: &[&str]) {
    let resumed = std::iter::once_with(|| bundle.resume());
    for outcome in resumed.chain(events.iter().map(|event| bundle.hook(event))) {
        outcome.exits(13);
        let console = outcome.console();
        assert!(console.lines().last().unwrap().contains(WHY), "{console}");
        assert!(!console.contains("there was none"), "{console}");
        assert!(bundle.has_journal(name), "{console}");
    }
}

#[test]
fn a_recovery_that_cannot_rename_or_start_the_old_container_fails_each_event_until_the_engine_does_it() {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let served = Served::killed("rename");
            served.engine.on(&format!("POST /containers/*/rename?name={}", served.name), Which::Every, NO);
            recovery_fails(&served.bundle, &served.name, &["BeforeInstall", "ApplicationStart"]);
            resumes(&served.bundle, &served.engine);
            served.serves_old();
        });
        scope.spawn(|| {
            let mut served = Served::killed("restart");
            served.engine.on(&format!("POST /containers/{}/start", served.id), Which::Every, NO);
            recovery_fails(&served.bundle, &served.name, &["BeforeInstall", "ApplicationStart"]);
            served.engine.release();
            served.bundle.deployment("d-TEST00003").hook("BeforeInstall").exits(0);
            served.serves_old();
        });
        scope.spawn(|| {
            let served = Served::killed("rstop");
            served.engine.on(&format!("POST /containers/{}/start", served.id), Which::Every, NO);
            served.bundle.hook("ApplicationStop").exits(0);
            served.engine.release();
            served.bundle.hook("ApplicationStop").exits(0);
            assert_eq!(world().containers(&served.name), "");
        });
    });
}

#[test]
fn a_recovery_that_is_killed_at_any_of_its_calls_is_finished_by_the_next_and_never_stops_the_old_container_again() {
    let calls = ["*balehook-new", "*?name=NAME", "POST /containers/OLD/start", "DELETE *"];
    // Before the engine did it, and after.
    let faults = [Fault::Hold, Fault::HoldAnswer];
    std::thread::scope(|scope| {
        for (call, fault) in calls.into_iter().flat_map(|call| faults.map(|fault| (call, fault))) {
            let served = Served::killed("again");
            scope.spawn(move || {
                let call = call.replace("NAME", &served.name).replace("OLD", &served.id);
                served.engine.on(&call, Which::Only(1), fault);
                let running = served.bundle.start_bare(&["resume"]);
                served.engine.wait_for_fault();
                // The engine has done by now what it was asked for.
                std::thread::sleep(std::time::Duration::from_secs(1));
                running.signal(Signal::SIGKILL);
                running.wait();
                let started = || world().inspect(&served.id, "{{.State.Running}} {{.State.StartedAt}}");
                let before = started();

                resumes(&served.bundle, &served.engine);

                served.serves_old();
                if before.starts_with("true") {
                    assert_eq!(started(), before, "{call} {fault:?}: it ran already");
                }
            });
        }
    });
}

#[test]
fn a_recovery_of_a_start_first_release_that_cannot_give_the_name_back_leaves_the_ports_where_they_serve() {
    let _shared = shared();
    let mut web = Handed::new("sfrec", "");
    web.release("old");
    let old = world().running(&web.name);
    web.image("new", 0);
    let engine = EngineProxy::start(&world().docker_host());
    let rename = format!("POST /containers/*/rename?name={}", web.name);
    engine.on(&rename, Which::Every, Fault::Hold);
    web.bundle.env("DOCKER_HOST", &engine.docker_host());
    let running = web.bundle.deployment("d-9").start("ApplicationStart");
    engine.wait_for_fault();
    running.signal(Signal::SIGKILL);
    running.wait();
    engine.release();
    engine.on(&rename, Which::Every, NO);

    recovery_fails(&web.bundle, &web.name, &["BeforeInstall", "ApplicationStart"]);
    assert_eq!(web.answer().as_deref(), Ok("old"));
    resumes(&web.bundle, &engine);

    assert_eq!((world().containers(&web.name), world().running(&web.name)), (web.name.clone(), old));
    assert_eq!(web.answer().as_deref(), Ok("old"));
    assert!(!web.bundle.has_journal(&web.name));
}

#[test]
fn a_recovery_whose_compose_up_fails_fails_each_event_until_it_succeeds() {
    let mut project = Project::serving("crec");
    project.file("compose.yml", &TWO.replace("/healthz", "/none").replace("LEVEL: info", "LEVEL: debug"));
    let engine = EngineProxy::start(&world().docker_host());
    project.bundle.env("DOCKER_HOST", &engine.docker_host());
    let running = project.bundle.start("ApplicationStart");
    engine.wait_for("POST /containers/*/start");
    running.signal(Signal::SIGKILL);
    running.wait();
    engine.on("POST /containers/create*", Which::Every, NO);

    recovery_fails(&project.bundle, &project.name, &[]);
    // A deployment goes on with the new release; what fails then is its own undo.
    project.start().exits(13).says(WHY);
    assert!(project.bundle.has_journal(&project.name));
    resumes(&project.bundle, &engine);

    assert_eq!(project.page().as_deref(), Some("one"));
    assert_eq!(project.all().lines().count(), 2, "{}", project.all());
    assert!(!project.bundle.has_journal(&project.name));
}

#[test]
fn a_recovery_that_cannot_roll_a_service_back_fails_until_the_swarm_does_it() {
    let service = Service::serving("srec");
    let running = service.bundle.start("ApplicationStart");
    alone().wait_for("the update", || service.image() != service.good);
    running.signal(Signal::SIGKILL);
    running.wait();
    service.engine.on("POST /services/*/update?*", Which::Every, NO);

    recovery_fails(&service.bundle, &service.name, &[]);
    resumes(&service.bundle, &service.engine);

    service.is_rolled_back();
}
