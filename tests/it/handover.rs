//! `order: start-first`: the kernel hands the ports over. Asked from another network namespace while it happens.

use std::net::UdpSocket;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use nix::sys::signal::Signal;
use sha2::Digest as _;

use crate::support::bundle::appspec;
use crate::support::cluster::Cluster;
use crate::support::images::server;
use crate::support::outside::{
    CLIENT, CLIENT6, Connection, HOST, HOST6, Question, ask_udp, from_outside, get, probing, probing_at, probing_each,
};
use crate::support::{Bundle, Outcome, world};

/// The chain is everybody's: a test that looks at it when nothing is deployed is alone.
static CHAIN: RwLock<()> = RwLock::new(());

pub fn shared() -> RwLockReadGuard<'static, ()> {
    CHAIN.read().unwrap_or_else(PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    CHAIN.write().unwrap_or_else(PoisonError::into_inner)
}

pub const HEALTH: &str = "health: {http: /healthz, timeout: 20s}";

/// A name whose ports the kernel switches, with its bundle.
pub struct Handed {
    pub bundle: Bundle,
    pub name: String,
    pub port: u16,
    deployments: u32,
}

impl Handed {
    /// `more`: further lines of `container:`.
    pub fn new(stem: &str, more: &str) -> Self {
        Self::named(world().name(stem), more)
    }

    fn named(name: String, more: &str) -> Self {
        let port = world().port();
        let bundle = Bundle::container(&name, &service(port, "start-first, drain: 1s", more), HEALTH);
        // One host has one state directory, and one lock for the rules in it.
        std::fs::create_dir_all(bundle.state()).unwrap();
        let lock = world().folder().join("ports.lock");
        std::fs::OpenOptions::new().append(true).create(true).open(&lock).unwrap();
        std::fs::hard_link(lock, bundle.state().join(".ports.lock")).unwrap();
        Self { bundle, name, port, deployments: 0 }
    }

    fn order(&self, order: &str, more: &str) {
        self.bundle.appspec(&appspec(&self.name, &service(self.port, order, more), HEALTH));
    }

    pub fn image(&self, version: &str, boot: u32) {
        server(&format!("{}:{version}", self.name), version, boot, &["tcp:80"]).write_into(&self.bundle.path());
    }

    fn deploy(&mut self) -> Outcome {
        self.deployments += 1;
        let id = format!("d-{}", self.deployments);
        self.bundle.deployment(&id).hook("ApplicationStart")
    }

    pub fn release(&mut self, version: &str) -> Outcome {
        self.image(version, 0);
        let outcome = self.deploy();
        outcome.exits(0);
        outcome
    }

    /// What answers from outside.
    pub fn answer(&self) -> Result<String, String> {
        from_outside(|| get(HOST, self.port, "/"))
    }
}

pub fn service(port: u16, order: &str, more: &str) -> String {
    format!(
        "image: {{archive: image.tar}}\nports: [\"{port}:80\"]\nstop_grace_period: 1s\nupdate_config: {{order: {order}}}\n{more}"
    )
}

/// Every rule in the world, without counters.
fn tables() -> String {
    let output = world().command("iptables-save").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| line.starts_with("-A") || line.starts_with('*')).collect::<Vec<_>>().join("\n")
}

fn iptables(line: &str) {
    let output = world().command("iptables").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "iptables {line}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn over_several_deployments_and_a_broken_release_between_no_request_fails() {
    let _shared = shared();
    let mut web = Handed::new("quiet", "");
    web.release("v0").says("80/tcp");

    let ((), seen) = probing(web.port, || {
        for deployment in 1..=5 {
            web.release(&format!("v{deployment}"));
            if deployment == 3 {
                // Never answers: the port is not touched.
                web.image("broken", 1000);
                web.bundle.appspec(&appspec(
                    &web.name,
                    &service(web.port, "start-first", ""),
                    "health: {http: /healthz, timeout: 2s}",
                ));
                web.deploy().exits(8).says("was not touched");
                web.order("start-first, drain: 1s", "");
            }
        }
    });

    assert!(seen.failed.is_empty(), "{} of {}: {:#?}", seen.failed.len(), seen.answered, seen.failed);
    assert_eq!(seen.versions, ["v0", "v1", "v2", "v3", "v4", "v5"], "{seen:?}");
    assert_eq!(world().containers(&web.name), web.name, "nothing is left beside it");
}

#[test]
fn an_application_that_is_slow_to_boot_boots_outside_the_service() {
    let _shared = shared();
    let mut web = Handed::new("slow", "");
    web.release("old");
    web.image("new", 5);

    let (outcome, seen) = probing(web.port, || web.deploy());

    outcome.exits(0);
    assert!(seen.failed.is_empty(), "{:#?}", seen.failed);
    assert_eq!(seen.versions, ["old", "new"]);
}

#[test]
fn open_connections_and_a_slow_request_stay_with_the_old_container_while_new_ones_reach_the_new_one() {
    let _shared = shared();
    let mut web = Handed::new("drain", "");
    web.order("start-first, drain: 5s", "");
    web.release("old");
    web.image("new", 0);
    let mut running = web.bundle.deployment("d-9").start("ApplicationStart");
    running.wait_until_said("check health");
    let mut kept = from_outside(|| Connection::open(HOST, web.port)).unwrap();
    assert_eq!(kept.get("/").as_deref(), Ok("old"));
    let mut slow = from_outside(|| Connection::open(HOST, web.port)).unwrap();
    let slow = std::thread::spawn(move || slow.get("/slow"));

    running.wait_until_said("drain ");

    assert_eq!(web.answer().as_deref(), Ok("new"));
    assert_eq!(slow.join().unwrap().as_deref(), Ok("old"), "the request in flight is answered");
    assert_eq!(kept.get("/").as_deref(), Ok("old"), "the connection is not cut");
    running.wait().exits(0);
    assert!(kept.get("/").is_err(), "after the drain the old container is gone");
    assert_eq!(world().containers(&web.name), web.name);
}

#[test]
fn the_port_answers_wherever_a_published_one_would_and_sees_who_asks() {
    let _shared = shared();
    let mut web = Handed::new("where", "");
    web.release("v1");
    let port = web.port;

    assert_eq!(from_outside(|| get(HOST, port, "/peer")).as_deref(), Ok(CLIENT), "the client's own address");
    for address in ["127.0.0.1", HOST, "192.0.2.1"] {
        assert_eq!(world().inside(|| get(address, port, "/")).as_deref(), Ok("v1"), "from the host by {address}");
    }
    let image = world().inspect(&web.name, "{{.Image}}");
    let asked = format!("{HOST}:{port}");
    for network in ["bridge", "balehook"] {
        let said = world().docker(&["run", "--rm", "--network", network, &image, "/bin/server", "get", &asked]);
        assert_eq!(said, "v1", "from a container on network {network}");
    }
}

#[test]
fn over_ipv6_it_is_as_over_ipv4() {
    let _alone = alone();
    // The others' network has none; it is created anew, and by the next test once more.
    let forget = || world().docker_may_fail(&["network", "rm", "balehook"]);
    forget().ok();
    let mut web = Handed::new("six", "");
    web.bundle.env("BALEHOOK_SUBNET", "10.20.30.0/24,fd00:20:30::/64");
    web.release("v0");
    let port = web.port;

    let ((), seen) = probing_at(HOST6, port, || (1..=3).for_each(|n| drop(web.release(&format!("v{n}")))));

    assert!(seen.failed.is_empty(), "{:#?}", seen.failed);
    assert_eq!(seen.versions.last().map(String::as_str), Some("v3"));
    assert_eq!(from_outside(|| get(HOST6, port, "/peer")).as_deref(), Ok(CLIENT6), "the client's own address");
    assert_eq!(web.answer().as_deref(), Ok("v3"), "over IPv4 too");
    assert_eq!(world().inside(|| get(HOST6, port, "/")).as_deref(), Ok("v3"), "from the host by {HOST6}");
    let (image, asked) = (world().inspect(&web.name, "{{.Image}}"), format!("[{HOST6}]:{port}"));
    let said = world().docker(&["run", "--rm", "--network", "balehook", &image, "/bin/server", "get", &asked]);
    assert_eq!(said, "v3", "from a container of the same network");

    let flushed = world().command("ip6tables").args(["-t", "nat", "-F", "BALEHOOK"]).status().unwrap();
    assert!(flushed.success() && from_outside(|| get(HOST6, port, "/")).is_err());
    web.bundle.resume().exits(0).says("the rules are written again");
    assert_eq!(from_outside(|| get(HOST6, port, "/")).as_deref(), Ok("v3"));
    web.bundle.hook("ApplicationStop").exits(0);
    let left = world().command("ip6tables-save").output().unwrap();
    assert!(!String::from_utf8_lossy(&left.stdout).contains("BALEHOOK"));
    forget().unwrap();
}

#[test]
fn an_engine_with_the_legacy_variant_is_found_where_the_hosts_own_is_nft() {
    let cluster = Cluster::legacy();
    let (name, port) = (world().name("legacy"), 8080);
    let mut bundle = cluster.bundle(1, &appspec(&name, &service(port, "start-first, drain: 0s", ""), HEALTH));
    bundle.with_processes();
    for (n, version) in ["v1", "v2"].into_iter().enumerate() {
        server(&format!("{name}:{version}"), version, 0, &["tcp:80"]).write_into(&bundle.path());
        bundle.deployment(&format!("d-{n}")).hook("ApplicationStart").exits(0).says("] switch ");
        assert_eq!(cluster.get(1, port).as_deref(), Ok(version));
    }
    let has_ours = |program| String::from_utf8_lossy(&cluster.saved(1, program)).contains("BALEHOOK");
    assert!(has_ours("iptables-legacy-save") && !has_ours("iptables-nft-save"));
    bundle.hook("ApplicationStop").exits(0).says("close the ports");
    assert!(!has_ours("iptables-legacy-save") && cluster.get(1, port).is_err());
}

#[test]
fn a_container_of_our_network_cannot_reach_what_listens_on_the_hosts_loopback() {
    let _alone = alone();
    let mut web = Handed::new("loopback", "cap_add: [NET_ADMIN]\nsysctls: {net.ipv4.conf.all.route_localnet: \"1\"}");
    web.release("v1");
    let port = world().port();
    let listener = world().inside(|| std::net::TcpListener::bind(("127.0.0.1", port))).unwrap();
    let gateway = world().inspect(&web.name, "{{(index .NetworkSettings.Networks \"balehook\").Gateway}}");
    // As a container with NET_RAW could: 127.0.0.1 is no address of its own any more, but leads to the host.
    let route = format!(
        "cd /bin; ./busybox ip address flush dev lo; ./busybox ip route add 127.0.0.1 via {gateway}; \
         ./busybox ip route show"
    );
    let routes = world().docker(&["exec", &web.name, "/bin/sh", "-c", &route]);
    assert!(routes.contains("127.0.0.1 via"), "{routes}");
    let reach = || {
        let script = format!("echo | /bin/busybox timeout 3 /bin/busybox nc 127.0.0.1 {port}");
        let asked = world().docker_may_fail(&["exec", &web.name, "/bin/sh", "-c", &script]);
        listener.set_nonblocking(true).unwrap();
        (listener.accept().is_ok(), asked)
    };

    let (reached, asked) = reach();
    assert!(!reached, "{asked:?}");

    // The proof that it is our rule which stops it.
    let rule = tables().lines().find(|line| line.contains("-A BALEHOOK -d 127.0.0.0/8")).unwrap().replace("-A ", "-D ");
    iptables(&rule);
    let (reached, asked) = reach();
    assert!(reached, "{asked:?}");
    web.bundle.hook("ApplicationStop").exits(0);
}

#[test]
fn eight_ports_of_each_of_two_names_are_switched_at_once_and_never_disturb_each_other() {
    let _shared = shared();
    let mut names = ["left", "right"].map(|stem| (Handed::new(stem, ""), world().ports(8)));
    std::thread::scope(|scope| {
        for (web, first) in &mut names {
            scope.spawn(move || deployed_several_times(web, *first));
        }
    });
}

/// TCP, UDP and a range, on every address, on one, and on the host's loopback: from `first` on.
fn deployed_several_times(web: &mut Handed, first: u16) {
    let port = |number: u16| first + number;
    let spec = format!(
        "image: {{archive: image.tar}}\n\
         ports: [\"{}:80\", \"{HOST}:{}:81\", \"127.0.0.1:{}:82\", \"{}-{}:8000-8001\", \"{}:53/udp\", \"{HOST}:{}:54/udp\", \"127.0.0.1:{}:55/udp\"]\n\
         stop_grace_period: 1s\nupdate_config: {{order: start-first, drain: 0s}}",
        port(0),
        port(1),
        port(2),
        port(3),
        port(4),
        port(5),
        port(6),
        port(7)
    );
    web.bundle.appspec(&appspec(&web.name, &spec, HEALTH));
    let versions = [0, 1, 2, 3].map(|number| format!("{}-v{number}", web.name));
    let mut release = |version: &String| {
        let listens = ["tcp:80", "tcp:81", "tcp:82", "tcp:8000", "tcp:8001", "udp:53", "udp:54", "udp:55"];
        server(&format!("{}:{version}", web.name), version, 0, &listens).write_into(&web.bundle.path());
        web.deploy().exits(0);
    };
    release(&versions[0]);
    let questions = [
        Question::tcp(HOST, port(0)),
        Question::tcp(HOST, port(1)),
        Question::tcp("127.0.0.1", port(2)).on_the_host(),
        Question::tcp(HOST, port(3)),
        Question::tcp(HOST, port(4)),
        Question::udp(HOST, port(5)),
        Question::udp(HOST, port(6)),
        Question::udp("127.0.0.1", port(7)).on_the_host(),
    ];

    let ((), seen) = probing_each(&questions, || versions[1..].iter().for_each(&mut release));

    for (question, seen) in questions.iter().zip(seen) {
        assert!(seen.failed.is_empty(), "{question}: {:#?}", seen.failed);
        assert_eq!(seen.versions, versions, "{question}: each release in its turn, and nobody else's");
    }
    assert!(from_outside(|| get(HOST, port(2), "/")).is_err(), "bound to 127.0.0.1 alone");
    assert!(world().inside(|| get("127.0.0.1", port(1), "/")).is_err(), "bound to {HOST} alone");
}

/// Two names whose first addresses are the same, as long as nobody has them: which ones, the hash of a name says.
fn names_with_one_address() -> [String; 2] {
    let mut known = std::collections::BTreeMap::new();
    loop {
        let name = world().name("meet");
        let digest = sha2::Sha256::digest(&name);
        // Of a /24 the last eighth is the engine's.
        let pair = u32::from_be_bytes(digest[..4].try_into().unwrap()) % ((256 - 32 - 2) / 2);
        if let Some(other) = known.insert(pair, name.clone()) {
            return [other, name];
        }
    }
}

#[test]
fn a_name_whose_address_another_one_takes_before_it_is_used_gets_another_one() {
    let _shared = shared();
    let [mut late, mut early] = names_with_one_address().map(|name| Handed::named(name, ""));
    late.image("late", 0);
    early.image("early", 0);
    early.bundle.hook("AfterInstall").exits(0);

    let mut held = late.bundle.deployment("d-1").start("ApplicationStart");
    held.wait_until_said("] load ");
    held.signal(Signal::SIGSTOP);
    early.deploy().exits(0);
    held.signal(Signal::SIGCONT);
    let outcome = held.wait();
    let taken = format!("{} took the address 198.18.", early.name);
    outcome.exits(0).says(&taken).says("in this moment: planned anew");
    assert_eq!(late.answer().as_deref(), Ok("late"));
    assert_eq!(early.answer().as_deref(), Ok("early"));
    let again = late.deploy();
    again.exits(0).says("unchanged");
}

#[test]
fn a_udp_client_that_never_stops_asking_reaches_the_new_container_once_the_old_one_is_gone() {
    let _shared = shared();
    let mut web = Handed::new("udp", "");
    let spec = |web: &Handed| {
        format!(
            "image: {{archive: image.tar}}\nports: [\"{0}:80\", \"{0}:53/udp\"]\nstop_grace_period: 1s\nupdate_config: {{order: start-first, drain: 0s}}",
            web.port
        )
    };
    web.bundle.appspec(&appspec(&web.name, &spec(&web), HEALTH));
    let image = |web: &Handed, version: &str| {
        server(&format!("{}:{version}", web.name), version, 0, &["tcp:80", "udp:53"]).write_into(&web.bundle.path());
    };
    image(&web, "old");
    web.deploy().exits(0);
    let socket = from_outside(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    assert_eq!(ask_udp(&socket, HOST, web.port).as_deref(), Some("old"));

    image(&web, "new");
    web.deploy().exits(0);

    let answers: Vec<_> = (0..3).map(|_| ask_udp(&socket, HOST, web.port)).collect();
    assert!(answers.contains(&Some("new".into())), "{answers:?}");
}

#[test]
fn sigterm_at_every_step_leaves_exactly_one_release_behind_the_port() {
    let _shared = shared();
    for step in
        ["] load ", "create container", "docker start", "check health", "docker rename", "] switch ", "save release"]
    {
        let mut web = Handed::new("term", "");
        web.release("old");
        web.image("new", 0);
        let (outcome, seen) = probing(web.port, || {
            let mut running = web.bundle.deployment("d-9").start("ApplicationStart");
            running.wait_until_said(step);
            running.signal(Signal::SIGTERM);
            running.wait()
        });
        assert!(matches!(outcome.code, Some(12 | 0)), "{step}: {}", outcome.stdout);
        assert!(seen.failed.is_empty(), "{step}: {:#?}", seen.failed);
        let serving = if outcome.code == Some(0) { "new" } else { "old" };
        assert_eq!(web.answer().as_deref(), Ok(serving), "{step}: {}", outcome.stdout);
        web.bundle.resume().exits(0);
        assert_eq!(world().containers(&web.name), web.name, "{step}: nothing is left");
        assert_eq!(web.answer().as_deref(), Ok(serving), "{step}");
    }
}

#[test]
fn sigkill_at_every_step_leaves_exactly_one_release_behind_the_port_and_the_next_event_or_resume_tidies_up() {
    let _shared = shared();
    for (turn, step) in [
        "create container", "docker start", "check health", "docker rename", "-new", "] switch ", "save release",
        "drain ", "docker stop",
    ]
    .into_iter()
    .enumerate()
    {
        let mut web = Handed::new("kill", "");
        web.release("old");
        web.image("new", 0);
        let ((), seen) = probing(web.port, || {
            let mut running = web.bundle.deployment("d-9").start("ApplicationStart");
            running.wait_until_said(step);
            running.signal(Signal::SIGKILL);
            running.wait();
            std::thread::sleep(Duration::from_millis(300));
            if turn % 2 == 0 {
                web.bundle.resume().exits(0);
            } else {
                web.bundle.deployment("d-10").hook("BeforeInstall").exits(0);
            }
        });
        assert!(seen.failed.is_empty(), "{step}: {:#?}", seen.failed);
        assert_eq!(world().containers(&web.name), web.name, "{step}: nothing is left");
        let serving = web.answer().unwrap();
        assert!(serving == "old" || serving == "new", "{step}: {serving}");
        web.bundle.resume().exits(0).says("nothing to recover");
        web.release("next");
        assert_eq!(web.answer().as_deref(), Ok("next"), "{step}");
    }
}

#[test]
fn a_first_release_that_is_killed_or_fails_leaves_no_port_open() {
    let _shared = shared();
    let mut web = Handed::new("newborn", "");
    web.image("v1", 0);
    let mut running = web.bundle.deployment("d-killed").start("ApplicationStart");
    running.wait_until_said("] switch ");
    running.signal(Signal::SIGKILL);
    running.wait();
    web.bundle.resume().exits(0);
    if world().containers(&web.name).is_empty() {
        assert!(web.answer().is_err());
        assert!(!tables().contains(&web.name), "{}", tables());
    } else {
        assert_eq!(web.answer().as_deref(), Ok("v1"), "it was on record before the kill");
    }
    web.bundle.hook("ApplicationStop").exits(0);
    web.image("v2", 1000);
    web.bundle.appspec(&appspec(
        &web.name,
        &service(web.port, "start-first", ""),
        "health: {http: /healthz, timeout: 2s}",
    ));
    web.deploy().exits(8);
    assert!(web.answer().is_err() && !tables().contains(&web.name));
}

#[test]
fn rules_of_a_container_that_was_removed_go_with_resume_with_a_stop_and_with_a_release_that_publishes_again() {
    let _shared = shared();
    let mut web = Handed::new("stale", "");
    for closes in ["resume", "ApplicationStop", "ApplicationStart"] {
        web.order("start-first, drain: 0s", "");
        web.release("v1");
        world().docker(&["rm", "--force", &web.name]);
        assert!(tables().contains(&web.name), "{closes}: nobody told us");
        match closes {
            "resume" => {
                web.bundle.resume().exits(0).says("lead to a container that is gone");
            }
            "ApplicationStop" => {
                web.bundle.hook("ApplicationStop").exits(0);
            }
            _ => {
                web.order("stop-first", "");
                web.release("v2");
            }
        }
        assert!(!tables().contains(&web.name), "{closes}: {}", tables());
    }
    assert_eq!(web.answer().as_deref(), Ok("v2"), "it was unreachable: No route to host");
}

#[test]
fn only_what_is_ours_is_written_and_with_the_last_release_it_is_gone() {
    let _alone = alone();
    let mut web = Handed::new("tables", "");
    let others = [
        "-t nat -A PREROUTING -p tcp --dport 9 -j DNAT --to-destination 192.0.2.9:9",
        "-t nat -A POSTROUTING -s 192.0.2.9 -j MASQUERADE",
        "-I DOCKER-USER -s 192.0.2.99 -j DROP",
        "-A INPUT -s 192.0.2.98 -j DROP",
        "-t mangle -A PREROUTING -s 192.0.2.97 -j MARK --set-mark 7",
    ];
    others.iter().for_each(|line| iptables(line));
    let is_ours = |line: &&str| line.contains("BALEHOOK");
    // What the engine does for its own network and containers comes and goes with them.
    let without = |text: &str| -> Vec<String> {
        let engines =
            |line: &str| ["198.18.", "balehook0", "172.", "br-", "-i lo"].iter().any(|address| line.contains(address));
        // Other tests' networks and rules come and go, and the engine writes its jumps anew then, in another order.
        let mut lines: Vec<_> =
            text.lines().filter(|line| !is_ours(line) && !engines(line)).map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let before = without(&tables());

    web.release("v1");
    let during = tables();
    assert!(during.contains("-A BALEHOOK -p tcp -m tcp"), "{during}");
    assert_eq!(without(&during), before);
    let user: Vec<&str> = during.lines().filter(|line| line.starts_with("-A DOCKER-USER")).collect();
    assert!(user[0].contains("192.0.2.99"), "the user's own rules come first: {user:?}");
    web.release("v2");
    assert_eq!(without(&tables()), before);

    web.bundle.hook("ApplicationStop").exits(0).says("close the ports");
    assert_eq!(without(&tables()), before);
    assert!(!tables().contains("BALEHOOK"), "{}", tables());
    web.bundle.hook("ApplicationStop").exits(0).says("nothing to do");
    for line in others {
        iptables(&line.replace("-A ", "-D ").replace("-I ", "-D "));
    }
}

#[test]
fn rules_that_were_flushed_are_put_right_by_resume_and_by_any_event() {
    let _alone = alone();
    let mut web = Handed::new("flushed", "");
    web.release("v1");
    let shown = format!("{}->80/tcp at ", web.port);
    web.bundle.status(&[]).exits(0).says(&shown).says("(switched by the kernel)").says("deployment d-1");
    for flush in [
        "-t nat -F BALEHOOK",
        "-t nat -D PREROUTING -m addrtype --dst-type LOCAL -j BALEHOOK",
        "-F BALEHOOK",
        "-F DOCKER-USER",
    ] {
        iptables(flush);
        web.bundle.resume().exits(0).says("the rules are written again");
        assert_eq!(web.answer().as_deref(), Ok("v1"), "{flush}");
        web.bundle.resume().exits(0).says("nothing to recover");
    }
    iptables("-t nat -F BALEHOOK");
    assert!(web.answer().is_err());
    web.bundle.status(&[]).exits(0).says("NOT switched");
    let json = web.bundle.status(&["--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.exits(0).stdout).unwrap();
    let containers = json["containers"].as_array().unwrap();
    let own = containers.iter().find(|entry| entry["name"] == web.name.as_str()).unwrap();
    assert_eq!((&own["ports"]["by"], &own["ports"]["open"]), (&"kernel".into(), &false.into()));
    web.bundle.hook("ApplicationStart").exits(0).says("] switch ");
    assert_eq!(web.answer().as_deref(), Ok("v1"));
    iptables("-t nat -F BALEHOOK");
    web.bundle.hook("ValidateService").exits(8).says("127.0.0.1");
    web.bundle.hook("ApplicationStop").exits(0);
}

#[test]
fn from_the_swap_to_the_handover_no_request_fails_and_back_again_only_in_the_swaps_gap() {
    let _shared = shared();
    let mut web = Handed::new("crossing", "");
    web.order("stop-first", "");
    web.release("swapped");
    web.order("start-first, drain: 1s", "");

    let (outcome, seen) = probing(web.port, || web.release("handed"));
    assert!(seen.failed.is_empty(), "{:#?}", seen.failed);
    assert_eq!(seen.versions, ["swapped", "handed"]);
    assert!(outcome.stdout.contains("docker rename"), "{}", outcome.stdout);

    web.order("stop-first", "");
    web.bundle.run(&["plan"]).exits(0).prints("close the ports").prints("is down from `docker stop`");
    web.release("back");
    assert_eq!(web.answer().as_deref(), Ok("back"));
    assert!(!tables().contains(&format!("--comment {} ", web.name)));
    assert_eq!(world().docker(&["port", &web.name, "80/tcp"]).lines().next(), Some(&*format!("0.0.0.0:{}", web.port)));

    // A swap that fails gives the ports back to the container before it.
    web.order("start-first, drain: 0s", "");
    web.release("again");
    web.image("broken", 1000);
    web.bundle.appspec(&appspec(
        &web.name,
        &service(web.port, "stop-first", ""),
        "health: {http: /healthz, timeout: 2s}",
    ));
    web.deploy().exits(8).says("is back after");
    world().wait_for("the old release", || web.answer().as_deref() == Ok("again"));
}

#[test]
fn a_port_that_another_process_has_is_refused_by_the_plan_with_its_name() {
    let _shared = shared();
    let mut web = Handed::new("taken", "");
    let listener = world().inside(|| std::net::TcpListener::bind(("0.0.0.0", web.port))).unwrap();
    web.image("v1", 0);
    web.deploy().exits(7).says("is taken by a process");
    drop(listener);
    web.deploy().exits(0);

    let mut other = Handed::new("rival", "");
    other.port = web.port;
    for order in ["start-first", "stop-first"] {
        other.order(order, "");
        other.image("v1", 0);
        other.deploy().exits(7).says(&format!("is taken by container {}", web.name));
    }
    assert_eq!(web.answer().as_deref(), Ok("v1"));
}

#[test]
fn without_the_engines_chain_the_plan_says_why_and_refuses() {
    let _alone = alone();
    let mut web = Handed::new("refused", "");
    web.image("v1", 0);
    let none = "#!/bin/sh\nexec /bin/true\n";
    for name in ["iptables-save", "iptables-nft-save", "iptables-legacy-save"] {
        web.bundle.program(name, none);
    }
    web.deploy().exits(7).says("DOCKER-USER").says("stop-first");
    assert!(world().containers(&web.name).is_empty());
}

#[test]
fn a_container_on_networks_of_the_user_is_reached_through_ours() {
    let _shared = shared();
    let mut web = Handed::new("joined", "networks: [zone]");
    world().docker_may_fail(&["network", "create", "zone"]).ok();
    web.release("v1");
    assert_eq!(web.answer().as_deref(), Ok("v1"));
    assert!(world().inspect(&web.name, "{{json .NetworkSettings.Networks}}").contains("\"zone\""));

    world().docker_may_fail(&["network", "create", "alpha"]).ok();
    web.order("start-first, drain: 0s", "networks: [alpha]");
    web.image("v2", 0);
    let outcome = web.deploy();
    if world().engine() == "20.10" || world().engine() == "26.1" {
        outcome.exits(7).says("default route to network alpha");
    } else {
        outcome.exits(0);
        assert_eq!(web.answer().as_deref(), Ok("v2"));
    }
}
