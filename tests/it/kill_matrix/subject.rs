//! What is deployed in the kill matrix: one name, in one mode, on a host of its own.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::bundle::{self, Running};
use crate::support::cluster::Cluster;
use crate::support::images::{server, web};
use crate::support::world::{command_in, repository, wait_until};
use crate::support::{Bundle, Image, Outcome, world};

/// How releases are put in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    StopFirst,
    StartFirst,
    Compose,
    Swarm,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StopFirst => "container, stop-first",
            Self::StartFirst => "container, start-first",
            Self::Compose => "compose",
            Self::Swarm => "swarm",
        })
    }
}

/// One engine that can be restarted without disturbing anybody.
pub struct Host {
    pub cluster: Arc<Cluster>,
    pub mode: Mode,
}

/// Every kind of task: in a container and on the host, before and after, required and not. Those of the release that is
/// struck take their time.
fn tasks(mode: Mode, version: &str) -> String {
    let service = if mode == Mode::Compose { "service: web, " } else { "" };
    let sleep = if version == "two" { "sleep 0.4" } else { "sleep 0" };
    let inside = format!("{service}command: [/bin/sh, -c, \"{sleep}\"], timeout: 30s");
    let outside = format!("run: \"{sleep}\", timeout: 30s");
    format!(
        "before:\n  - {{name: migrate, {inside}}}\n  - {{name: dump, {outside}}}\n\
         after:\n  - {{name: smoke, {inside}, required: true}}\n  - {{name: tell, {outside}}}"
    )
}

const TWO_SERVICES: &str = "services:
  web:
    ports: [\"PORT:80\"]
    healthcheck: {test: [CMD, /bin/busybox, wget, -q, -O, /dev/null, \"http://127.0.0.1/healthz\"], interval: 10s}
    environment: {RELEASE: VERSION}
    restart: unless-stopped
    stop_grace_period: 1s
  db:
    command: [/bin/busybox, sh, -c, \"while :; do sleep 0.1; done\"]
    environment: {RELEASE: VERSION}
    volumes: [\"store:/store\"]
    restart: unless-stopped
    stop_grace_period: 1s
volumes: {store: {}}
";

/// The section below the mode's own key.
fn section(mode: Mode, name: &str, port: u16, version: &str) -> String {
    let service =
        format!("image: {{archive: image.tar}}\nenvironment: {{RELEASE: {version}}}\nstop_grace_period: 1s\n");
    match mode {
        Mode::StopFirst => format!("{service}ports: [\"{port}:80\"]\nrestart: unless-stopped"),
        Mode::StartFirst => format!(
            "{service}ports: [\"{port}:80\"]\nrestart: unless-stopped\nupdate_config: {{order: start-first, drain: 1s}}"
        ),
        Mode::Compose => "files: [app/compose.yml]\nimages: {web: {archive: image.tar}, db: {archive: db.tar}}".into(),
        Mode::Swarm => format!(
            "{service}ports: [{{target: 80, published: {port}, mode: host}}]\n\
             networks: {{{name}: {{attachable: true}}}}\nconfigs: [{{source: {name}, file: page}}]\n\
             deploy: {{endpoint_mode: dnsrr, update_config: {{monitor: 1s}}, rollback_config: {{monitor: 1s}}}}"
        ),
    }
}

impl Host {
    pub fn start(mode: Mode) -> Self {
        let cluster = Cluster::start(1);
        if mode == Mode::Swarm {
            cluster.docker(1, &["swarm", "init", "--advertise-addr", "198.51.100.1"]);
        }
        Self { cluster: Arc::new(cluster), mode }
    }

    pub fn docker_host(&self) -> String {
        self.cluster.docker_host(1)
    }

    /// The docker CLI, whose output is lines.
    pub fn lines(&self, args: &[&str]) -> Vec<String> {
        let said = self.cluster.docker_may_fail(1, args).unwrap_or_else(|error| format!("docker {args:?}: {error}"));
        said.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
    }

    pub fn wait_for_engine(&self) {
        self.cluster.wait_for("the engine", || self.cluster.docker_may_fail(1, &["version"]).is_ok());
    }

    /// A swarm removes the containers of tasks that have ended some seconds later; their image is free from then on.
    pub fn wait_until_ended_tasks_are_gone(&self) {
        if self.mode == Mode::Swarm {
            let are_gone = || self.lines(&["ps", "--all", "--quiet", "--filter", "status=exited"]).is_empty();
            wait_until(Duration::from_secs(60), are_gone, || "containers of ended tasks stay".into());
        }
    }

    /// Whatever a release left goes: the next one finds an empty engine.
    pub fn clean(&self) {
        self.wait_for_engine();
        let is_empty = || {
            if self.mode == Mode::Swarm {
                self.remove(&["service", "rm"], &["service", "ls", "--quiet"]);
                self.remove(&["config", "rm"], &["config", "ls", "--quiet"]);
            }
            self.remove(&["rm", "--force", "--volumes"], &["ps", "--all", "--quiet"]);
            self.lines(&["ps", "--all", "--quiet"]).is_empty()
        };
        wait_until(Duration::from_secs(60), is_empty, || "containers stay".into());
        let networks = ["network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"];
        for network in self.lines(&networks).iter().filter(|name| !super::snapshot::is_engines(name)) {
            let _ = self.cluster.docker_may_fail(1, &["network", "rm", network]);
        }
        self.remove(&["volume", "rm", "--force"], &["volume", "ls", "--quiet"]);
        self.remove(&["rmi", "--force"], &["images", "--quiet", "--no-trunc"]);
    }

    fn remove(&self, remove: &[&str], list: &[&str]) {
        let mut all = self.lines(list);
        all.sort_unstable();
        all.dedup();
        if !all.is_empty() {
            let args: Vec<&str> = remove.iter().copied().chain(all.iter().map(String::as_str)).collect();
            let _ = self.cluster.docker_may_fail(1, &args);
        }
    }
}

/// A name with its bundle.
pub struct Subject<'a> {
    host: &'a Host,
    bundle: Bundle,
    pub name: String,
    pub port: u16,
}

impl<'a> Subject<'a> {
    pub fn new(host: &'a Host) -> Self {
        let (name, port) = (world().name("km"), world().port());
        let mut bundle = Bundle::new("");
        bundle.inside(host.cluster.init(1));
        bundle.env("DOCKER_HOST", &host.docker_host());
        if host.mode == Mode::Compose {
            let plugins = bundle.path().join("../../../docker-config/cli-plugins");
            bundle.docker_config("{}");
            std::fs::create_dir_all(&plugins).unwrap();
            let program = "target/tools/compose-2.40/usr/libexec/docker/cli-plugins/docker-compose";
            std::os::unix::fs::symlink(repository().join(program), plugins.join("docker-compose")).unwrap();
        }
        Self { host, bundle, name, port }
    }

    /// From here on the bundle is this release, a deployment of its own; ApplicationStart may take so many seconds.
    pub fn release(&mut self, version: &str, timeout: u64) {
        let tasks = tasks(self.host.mode, version);
        let rest = format!("health: {{http: \"{}\", timeout: 20s}}\nkeep: 1\n{}", self.health(), tasks);
        let key = match self.host.mode {
            Mode::StopFirst | Mode::StartFirst => "container",
            Mode::Compose => "compose",
            Mode::Swarm => "swarm",
        };
        let section = section(self.host.mode, &self.name, self.port, version);
        let text = bundle::appspec(&self.name, &section, &rest).replace("\n  container:\n", &format!("\n  {key}:\n"));
        let start = "ApplicationStart: [{location: hooks/balehook, timeout: ";
        self.bundle.appspec(&text.replace(&format!("{start}60"), &format!("{start}{timeout}")));
        self.bundle.deployment(&format!("d-{version}"));
        let (path, tag) = (self.bundle.path(), format!("{}:{version}", self.name));
        let image = match self.host.mode {
            Mode::StartFirst => server(&tag, version, 0, &["tcp:80"]),
            Mode::StopFirst | Mode::Compose | Mode::Swarm => web(&tag, version),
        };
        image.write_into(&path);
        match self.host.mode {
            Mode::StopFirst | Mode::StartFirst => {}
            Mode::Compose => {
                Image::new(&format!("{}-db:1", self.name)).write(&path.join("db.tar"));
                std::fs::create_dir_all(path.join("app")).unwrap();
                let text = TWO_SERVICES.replace("PORT", &self.port.to_string()).replace("VERSION", version);
                std::fs::write(path.join("app/compose.yml"), text).unwrap();
            }
            Mode::Swarm => std::fs::write(path.join("page"), version).unwrap(),
        }
    }

    fn health(&self) -> String {
        match self.host.mode {
            Mode::StopFirst | Mode::StartFirst => "/healthz".into(),
            Mode::Compose | Mode::Swarm => format!("http://127.0.0.1:{}/healthz", self.port),
        }
    }

    /// The titles of a plan's actions, from the program itself.
    pub fn plan(&self) -> Result<Vec<String>, String> {
        let outcome = self.bundle.run(&["plan", "--format", "json"]);
        let plan: serde_json::Value = serde_json::from_str(&outcome.stdout)
            .map_err(|error| format!("no plan ({error}): {}{}", outcome.stdout, outcome.stderr))?;
        let steps = plan["steps"].as_array().ok_or("a plan without steps")?;
        Ok(steps.iter().map(|step| step["run"].as_str().unwrap_or_default().to_owned()).collect())
    }

    pub fn hook(&self, event: &str) -> Outcome {
        self.bundle.hook(event)
    }

    pub fn resume(&self) -> Outcome {
        self.bundle.resume()
    }

    /// Starts ApplicationStart with another `DOCKER_HOST`.
    pub fn start_by(&mut self, docker_host: &str) -> Running {
        self.bundle.env("DOCKER_HOST", docker_host);
        let running = self.bundle.start("ApplicationStart");
        self.bundle.env("DOCKER_HOST", &self.host.docker_host());
        running
    }

    /// The deployment's folder in the state directory.
    pub fn state(&self) -> std::path::PathBuf {
        self.bundle.state().join(&self.name)
    }

    /// Whether a release is on record.
    pub fn is_recorded(&self, version: &str) -> bool {
        let id = format!("\"d-{version}\"");
        let files = std::fs::read_dir(self.state().join("releases")).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).any(|text| text.contains(&id))
    }

    /// The deployment's folder is lost.
    pub fn lose_state(&self) {
        for entry in std::fs::read_dir(self.state()).into_iter().flatten().flatten() {
            let path = entry.path();
            let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        }
    }

    /// What answers now.
    pub fn page(&self) -> Option<String> {
        let url = format!("http://127.0.0.1:{}/", self.port);
        let output =
            command_in(self.host.cluster.init(1), "curl").args(["-sSf", "--max-time", "2", &url]).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Waits until this answers, or nothing does.
    pub fn serves(&self, wanted: Option<&str>) -> Result<(), String> {
        // A swarm that restarts a task waits a minute for one that never got a node (swarmkit, `defaultOldTaskTimeout`).
        let limit = Duration::from_secs(if self.host.mode == Mode::Swarm { 75 } else { 8 });
        let began = Instant::now();
        loop {
            let page = self.page();
            if page.as_deref() == wanted {
                return Ok(());
            }
            if began.elapsed() > limit {
                let name = |page: Option<&str>| page.unwrap_or("nothing").to_owned();
                let tasks = match self.host.mode {
                    Mode::Swarm => self.host.lines(&["service", "ps", "--no-trunc", &self.name]).join("\n      "),
                    Mode::StopFirst | Mode::StartFirst | Mode::Compose => String::new(),
                };
                return Err(format!("{} serves, not {}\n      {tasks}", name(page.as_deref()), name(wanted)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Every file of the state but the history, by its path: `resume` has a record of its own there.
    pub fn state_files(&self) -> Vec<String> {
        fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.path().is_dir() {
                    true => walk(&entry.path(), root, found),
                    false => found.push(entry.path().strip_prefix(root).unwrap().display().to_string()),
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.state(), &self.state(), &mut found);
        found.retain(|path| !path.starts_with("deployments/"));
        found
    }
}
