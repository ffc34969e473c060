//! A machine that boots this Debian's systemd, with the engine, firewalld, ufw and our units, and that can lose its power.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::bundle::{BINARY, Outcome, Running, appspec};
use super::images::server;
use super::outside::get;
use super::world::{inner_pid, keeper, remove_control_groups, repository, tools, world};

/// The machine's address as the client sees it.
pub const MACHINE: &str = "198.51.100.1";
/// The port of the deployment `web`.
pub const PORT: u16 = 8080;

/// One machine. It ends with the test.
pub struct Machine {
    folder: PathBuf,
    group: String,
    keeper: Child,
    pid: u32,
}

impl Machine {
    /// A machine on which the packages are installed and the units enabled, and which was booted.
    pub fn boot() -> Self {
        assert!(tools().join("firewalls/usr/sbin/firewalld").exists(), "the firewalls are missing: run `make setup`");
        let (folder, group) = world().room("machine");
        let mut keeper = keeper("machine.sh", &folder, &[Path::new(&group), Path::new(BINARY), repository()]);
        let pid = inner_pid(&mut keeper);
        let mut machine = Self { folder, group, keeper, pid };
        machine.power_on();
        machine
    }

    /// Every process is gone at once; the disk stays.
    pub fn lose_power(&mut self) {
        self.press("off", "is-off");
    }

    /// Boots, and waits until systemd says that everything was started.
    #[track_caller]
    pub fn power_on(&mut self) {
        self.press("on", "is-on");
        self.wait_for("systemd", || self.said(&["systemctl", "is-system-running", "--wait"]) == "running");
    }

    fn press(&mut self, button: &str, done: &str) {
        // Where it ended already, its log says why.
        let _ = writeln!(self.keeper.stdin.as_mut().unwrap(), "{button}");
        self.wait_for(done, || self.folder.join(done).exists());
    }

    /// Waits until `ready`; half a minute at most.
    #[track_caller]
    pub fn wait_for(&self, what: &str, ready: impl Fn() -> bool) {
        let began = Instant::now();
        while !ready() {
            let is_there = Path::new("/proc").join(self.pid.to_string()).exists();
            assert!(is_there && began.elapsed() < Duration::from_secs(30), "{what} did not come\n{}", self.state());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What a person would look at first.
    fn state(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log.txt")).unwrap_or_default();
        let journal = self.said(&["journalctl", "--boot", "--no-pager", "--output=short-precise", "--lines=80"]);
        let failed = self.said(&["systemctl", "--failed", "--no-legend"]);
        format!("--- log\n{log}\n--- failed units\n{failed}\n--- journal\n{journal}")
    }

    /// A program on the machine.
    pub fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let inner = std::fs::read_to_string(self.folder.join("is-on")).unwrap_or_default();
        let mut command = Command::new("nsenter");
        command.args([format!("--target={}", self.pid), "--mount".into(), "--pid".into()]);
        command.args(["nsenter".into(), format!("--target={}", inner.trim()), "--all".into(), "--".to_owned()]);
        command.args(["env", "--ignore-environment", "--chdir=/", "PATH=/usr/sbin:/usr/bin"]).args(args);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a program that must succeed; its output.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let args: Vec<&str> = line.split(' ').collect();
        let output = self.command(&args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let said = text(&output.stdout);
        assert!(output.status.success(), "{line}: {said}{}\n{}", text(&output.stderr), self.state());
        said
    }

    /// What a program prints, whether it succeeds or not.
    pub fn said(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A file of the machine.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.join("disk").join(path.trim_start_matches('/'))
    }

    /// Boots with the legacy variant of iptables.
    pub fn choose_legacy_iptables(&mut self) {
        for program in
            ["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"]
        {
            let link = self.file("/etc/alternatives").join(program);
            std::fs::remove_file(&link).unwrap();
            let (stem, verb) =
                program.split_once('-').map_or((program, String::new()), |(stem, verb)| (stem, format!("-{verb}")));
            std::os::unix::fs::symlink(format!("/usr/sbin/{stem}-legacy{verb}"), link).unwrap();
        }
        self.lose_power();
        self.power_on();
    }

    /// The hook ApplicationStart of a release of `web`, whose port the kernel switches.
    pub fn start_release(&self, version: &str) -> Running {
        let bundle = self.file("/srv/web");
        std::fs::create_dir_all(&bundle).unwrap();
        // The engine itself starts nothing after a boot: what runs then was brought back by us.
        let service = format!(
            "image: {{archive: image.tar}}\nports: [\"{PORT}:80\"]\nrestart: \"no\"\nstop_grace_period: 1s\n\
             update_config: {{order: start-first, drain: 1s}}"
        );
        let text = appspec("web", &service, "health: {http: /healthz, timeout: 20s}");
        std::fs::write(bundle.join("appspec.yml"), text).unwrap();
        server(&format!("web:{version}"), version, 0, &["tcp:80"]).write_into(&bundle);
        self.start_hook("/srv/web", version)
    }

    /// The hook ApplicationStart of the bundle in a folder of the machine.
    pub fn start_hook(&self, bundle: &str, version: &str) -> Running {
        let hooks = self.file(bundle).join("hooks");
        std::fs::create_dir_all(&hooks).unwrap();
        std::fs::copy(repository().join("hooks/balehook"), hooks.join("balehook")).unwrap();
        let (deployment, hook) = (format!("DEPLOYMENT_ID=d-{version}"), format!("{bundle}/hooks/balehook"));
        let variables = ["LIFECYCLE_EVENT=ApplicationStart", "APPLICATION_NAME=web", "DEPLOYMENT_GROUP_NAME=prod"];
        let args = [&variables[..], &[&deployment, &hook]].concat();
        Running::start(self.command(&args))
    }

    /// Compose, as a plugin of root's own.
    pub fn install_compose(&self) {
        let plugins = self.file("/root/.docker/cli-plugins");
        std::fs::create_dir_all(&plugins).unwrap();
        let program = "target/tools/compose-2.40/usr/libexec/docker/cli-plugins/docker-compose";
        std::fs::copy(repository().join(program), plugins.join("docker-compose")).unwrap();
    }

    /// The same to its end.
    #[track_caller]
    pub fn release(&self, version: &str) -> Outcome {
        let outcome = self.start_release(version).wait();
        outcome.exits(0);
        outcome
    }

    /// What a client in another network gets from the port.
    pub fn answer(&self) -> Result<String, String> {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.pid)).unwrap();
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                nix::sched::setns(namespace.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                get(MACHINE, PORT, "/")
            });
            entered.join().unwrap()
        })
    }

    /// The rules of ours, without counters.
    pub fn rules(&self) -> Vec<String> {
        let saved = self.run("iptables-save");
        saved.lines().filter(|line| line.contains("BALEHOOK")).map(str::to_owned).collect()
    }

    /// All containers of the machine: name and state.
    pub fn containers(&self) -> String {
        self.said(&["docker", "ps", "--all", "--format", "{{.Names}} {{.State}}"])
    }

    /// What our units wrote since this boot.
    pub fn journal(&self, unit: &str) -> String {
        self.said(&["journalctl", "--boot", "--no-pager", "--output=cat", "--unit", unit])
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its shell reads no more, and ends; the kernel ends all the others before it says so.
        drop(self.keeper.stdin.take());
        let began = Instant::now();
        while matches!(self.keeper.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        remove_control_groups(&self.group);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
