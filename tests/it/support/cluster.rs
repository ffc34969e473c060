//! Engines on one bridge that make a swarm, and bundles that are deployed to them. They end with the test process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::bundle::Bundle;
use super::world::{command_in, inside, keeper, wait_until, world};

/// Several engines.
pub struct Cluster {
    folder: PathBuf,
    keeper: Child,
    count: usize,
}

/// The one-node swarm that tests share.
pub fn alone() -> &'static Cluster {
    static ALONE: OnceLock<Cluster> = OnceLock::new();
    ALONE.get_or_init(|| {
        let cluster = Cluster::start(1);
        cluster.docker(1, &["swarm", "init", "--advertise-addr", "198.51.100.1"]);
        cluster
    })
}

impl Cluster {
    /// Starts so many engines, in no swarm.
    pub fn start(count: usize) -> Self {
        Self::with("nft", count)
    }

    /// One engine that writes its rules with the legacy variant of iptables, where the host's own is the other.
    pub fn legacy() -> Self {
        Self::with("legacy", 1)
    }

    fn with(iptables: &str, count: usize) -> Self {
        let (folder, cgroup) = world().room("cluster");
        let keeper = keeper("cluster.sh", &folder, &[&cgroup, &count.to_string(), iptables]);
        let cluster = Self { folder, keeper, count };
        for node in 1..=count {
            cluster.wait_for("an engine", || cluster.docker_may_fail(node, &["version"]).is_ok());
        }
        cluster
    }

    /// Starts engines that make one swarm: the first `managers` of them manage it.
    pub fn swarm(managers: usize, workers: usize) -> Self {
        let cluster = Self::start(managers + workers);
        cluster.docker(1, &["swarm", "init", "--advertise-addr", "198.51.100.1"]);
        for node in 2..=managers + workers {
            let role = if node <= managers { "manager" } else { "worker" };
            let token = cluster.docker(1, &["swarm", "join-token", "--quiet", role]);
            let address = format!("198.51.100.{node}");
            cluster
                .docker(node, &["swarm", "join", "--advertise-addr", &address, "--token", &token, "198.51.100.1:2377"]);
        }
        let all = (managers + workers).to_string();
        cluster.wait_for("all nodes", || {
            let ready = cluster.docker_may_fail(1, &["node", "ls", "--format", "{{.Status}}"]).unwrap_or_default();
            ready.lines().filter(|line| *line == "Ready").count().to_string() == all
        });
        cluster
    }

    /// How many engines there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// `DOCKER_HOST` of a node, counted from 1.
    pub fn docker_host(&self, node: usize) -> String {
        format!("unix://{}/{node}/docker.sock", self.folder.display())
    }

    /// The docker CLI on a node.
    #[track_caller]
    pub fn docker(&self, node: usize, args: &[&str]) -> String {
        self.docker_may_fail(node, args).unwrap_or_else(|said| panic!("docker {args:?} on node {node}: {said}"))
    }

    /// The same where it may fail; then what it said.
    pub fn docker_may_fail(&self, node: usize, args: &[&str]) -> Result<String, String> {
        let output = Command::new("/usr/bin/docker")
            .args(args)
            .env("DOCKER_HOST", self.docker_host(node))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Waits until `ready`; a minute at most.
    #[track_caller]
    pub fn wait_for(&self, what: &str, ready: impl Fn() -> bool) {
        let log = || std::fs::read_to_string(self.folder.join("log.txt")).unwrap_or_default();
        wait_until(Duration::from_secs(60), ready, || format!("{what} did not come up: {}", log()));
    }

    /// A bundle whose hooks run on a node.
    pub fn bundle(&self, node: usize, appspec: &str) -> Bundle {
        let mut bundle = Bundle::new(appspec);
        bundle.env("DOCKER_HOST", &self.docker_host(node));
        self.enter(node, &mut bundle);
        bundle
    }

    /// Where the engine of a node keeps its state.
    pub fn exec(&self, node: usize) -> PathBuf {
        self.folder.join(format!("{node}/exec"))
    }

    /// A bundle's hooks run on a node from here on.
    pub fn enter(&self, node: usize, bundle: &mut Bundle) {
        bundle.inside(self.inner(node));
    }

    /// The process whose namespaces are a node's, as seen from outside.
    fn inner(&self, node: usize) -> u32 {
        let keeper = children(self.keeper.id());
        let bash = *keeper.first().unwrap();
        // The inner number counts in the cluster's own process namespace: found again by the engine's command line.
        let wanted = format!("{}/{node}/docker.sock", self.folder.display());
        let found = descendants(bash).into_iter().find(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with("dockerd\0") && line.contains(&wanted)
        });
        found.unwrap_or_else(|| panic!("no engine of node {node} runs"))
    }

    /// A listener on a free port of a node's loopback.
    pub fn listen(&self, node: usize) -> std::net::TcpListener {
        inside(self.inner(node), || std::net::TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// What a client on the bridge gets from a node's port.
    pub fn get(&self, node: usize, port: u16) -> Result<String, String> {
        let bridge = *children(self.keeper.id()).first().unwrap();
        let url = format!("http://198.51.100.{node}:{port}/");
        let output = command_in(bridge, "curl").args(["-sS", "--max-time", "5", &url]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// What a program such as `iptables-save` prints on a node.
    pub fn saved(&self, node: usize, program: &str) -> Vec<u8> {
        command_in(self.inner(node), program).output().unwrap().stdout
    }

    /// Kills a node's engine with its containers, as when the host loses its power.
    pub fn kill(&self, node: usize) {
        let engine = self.inner(node);
        let _ =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(engine.try_into().unwrap()), nix::sys::signal::SIGKILL);
    }

    /// Kills a node's engine alone, and starts another one, which finds what the first one left.
    pub fn crash_engine(&self, node: usize) {
        std::fs::write(self.folder.join(node.to_string()).join("crash"), "").unwrap();
        self.kill(node);
        let has_begun = || !self.folder.join(node.to_string()).join("crash").exists();
        wait_until(Duration::from_secs(30), has_begun, || format!("the engine of node {node} does not end"));
        self.wait_for("the engine", || self.docker_may_fail(node, &["version"]).is_ok());
    }

    /// Restarts a node's engine as systemd does: it is asked to end, and ends its containers first. Returns when it has
    /// ended, with everything on the node.
    pub fn restart_engine(&self, node: usize) {
        let engine = self.inner(node);
        self.restart(node);
        let _ =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(engine.try_into().unwrap()), nix::sys::signal::SIGTERM);
        let is_gone = || !Path::new("/proc").join(engine.to_string()).exists();
        wait_until(Duration::from_secs(30), is_gone, || format!("the engine of node {node} does not end"));
    }

    /// The process that starts a node's engine, again when that ended: its namespaces stay.
    pub fn init(&self, node: usize) -> u32 {
        let wanted = format!("bash\0-c\0engine {node}\0");
        let found = descendants(self.keeper.id())
            .into_iter()
            .find(|pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == wanted));
        found.unwrap_or_else(|| panic!("node {node} is not there"))
    }

    /// Starts a killed node again.
    pub fn restart(&self, node: usize) {
        std::fs::write(self.folder.join(node.to_string()).join("start"), "").unwrap();
    }

    /// Takes a node's cable out of the bridge, or puts it back.
    pub fn cable(&self, node: usize, state: &str) {
        let bridge = *children(self.keeper.id()).first().unwrap();
        let status = command_in(bridge, "ip").args(["link", "set", &format!("engine{node}"), state]).status().unwrap();
        assert!(status.success());
    }

    /// A namespace file of a process of a node's engine: of a container, by its `State.Pid`.
    pub fn network_of(&self, node: usize, container: &str) -> PathBuf {
        let pid = self.docker(node, &["inspect", "--format", "{{.State.Pid}}", container]);
        Path::new("/proc").join(self.inner(node).to_string()).join("root/proc").join(pid).join("ns/net")
    }

    /// What a service runs: `image state` of each task that should run, sorted.
    pub fn tasks(&self, node: usize, service: &str) -> Vec<String> {
        let format = "{{.Image}} {{.CurrentState}}";
        let filter = ["--filter", "desired-state=running"];
        let said = self
            .docker(node, &[&["service", "ps", "--no-trunc", "--format", format][..], &filter, &[service]].concat());
        let mut tasks: Vec<String> =
            said.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
        tasks.sort_unstable();
        tasks
    }

    /// Waits until a service runs so many tasks of an image and no others. The swarm itself may wait for a leader, and
    /// for a minute for the end of a task that it replaces. Source: swarmkit, orchestrator/restart.
    #[track_caller]
    pub fn wait_for_tasks(&self, node: usize, service: &str, image: &str, count: usize) {
        let are_there = || self.tasks(node, service) == vec![format!("{image} Running"); count];
        let said = || format!("{count} tasks of {image} do not run:\n{}", self.described(node, service));
        wait_until(Duration::from_secs(180), are_there, said);
    }

    /// What a swarm says of a service, and the last words of its engines.
    fn described(&self, node: usize, service: &str) -> String {
        let tasks = "{{.ID}} {{.Name}} {{.Node}} {{.Image}} {{.DesiredState}} {{.CurrentState}} {{.Error}}";
        let asked = [
            &["service", "ps", "--no-trunc", "--format", tasks, service][..],
            &["service", "inspect", "--format", "{{json .}}", service],
            &["node", "ls"],
        ];
        let said = asked.map(|question| self.docker_may_fail(node, question).unwrap_or_else(|error| error));
        let logs = (1..=self.count).map(|node| {
            let log = std::fs::read_to_string(self.folder.join(format!("{node}/log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("level=info")).collect();
            format!("node {node}:\n{}", lines[lines.len().saturating_sub(10)..].join("\n"))
        });
        said.into_iter().chain(logs).collect::<Vec<_>>().join("\n")
    }

    /// A field of a service.
    #[track_caller]
    pub fn service(&self, node: usize, service: &str, template: &str) -> String {
        self.docker(node, &["service", "inspect", "--format", template, service])
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn descendants(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while at < all.len() {
        all.extend(children(all[at]));
        at += 1;
    }
    all
}

/// An `appspec.yml` for swarm mode.
pub fn appspec(name: &str, swarm: &str, rest: &str) -> String {
    super::bundle::appspec(name, swarm, rest).replace("\n  container:\n", "\n  swarm:\n")
}
