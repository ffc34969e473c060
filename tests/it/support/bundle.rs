//! A bundle on disk, and its hooks run as the agent runs them.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::schemas;

use super::calls::Call;
use super::world::{World, repository, world};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_balehook");

/// One revision, unpacked as the agent unpacks it.
pub struct Bundle {
    root: tempfile::TempDir,
    state: PathBuf,
    deployment: String,
    env: Vec<(String, String)>,
    host: Option<u32>,
    processes: bool,
    id: String,
    refused: BTreeSet<String>,
}

/// How a hook ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// What the console shows of a failed hook: whole lines from the end while their sum is below 2048.
    pub fn console(&self) -> String {
        let mut kept: Vec<&str> = Vec::new();
        let mut sum = 0;
        for line in self.stdout.lines().rev() {
            sum += line.len() + 30;
            if sum >= 2048 {
                break;
            }
            kept.push(line);
        }
        kept.reverse();
        kept.join("\n")
    }

    /// Asserts that what was asked for as JSON is as its schema says.
    #[track_caller]
    fn valid(self, args: &[&str]) -> Self {
        schemas::assert_valid(args, self.stdout.as_bytes());
        self
    }

    /// Asserts the exit code, showing everything otherwise.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that the console says something.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.console().contains(text), "{text:?} is not said:\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that a person at a terminal reads it: more than the console keeps.
    #[track_caller]
    pub fn prints(&self, text: &str) -> &Self {
        assert!(self.stdout.contains(text), "{text:?} is not printed:\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Whether a line is this text but for how wide its columns are.
    pub fn has_line(&self, text: &str) -> bool {
        self.stdout.lines().any(|line| line.split_whitespace().eq(text.split_whitespace()))
    }
}

impl Bundle {
    /// A bundle with the shim and this `appspec.yml`, in a state folder of its own.
    pub fn new(appspec: &str) -> Self {
        let root = tempfile::Builder::new().prefix("deploy ment-").tempdir_in(world().folder()).unwrap();
        let state = root.path().join("state");
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let id = format!("bundle-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (deployment, env) = ("d-TEST00001".into(), world().aws());
        let bundle = Self { root, state, deployment, env, host: None, processes: false, id, refused: BTreeSet::new() };
        std::fs::create_dir_all(bundle.path().join("hooks")).unwrap();
        std::fs::copy(repository().join("hooks/balehook"), bundle.path().join("hooks/balehook")).unwrap();
        bundle.appspec(appspec);
        bundle
    }

    /// A bundle for container mode: `name`, the lines of `container:` and the rest of the section.
    pub fn container(name: &str, container: &str, rest: &str) -> Self {
        Self::new(&appspec(name, container, rest))
    }

    /// The folder with `appspec.yml`.
    pub fn path(&self) -> PathBuf {
        self.root.path().join("group/d-1/deployment-archive")
    }

    /// The state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Whether something is on record that was begun and neither finished nor undone.
    pub fn has_journal(&self, name: &str) -> bool {
        self.state.join(name).join("journal.json").exists()
    }

    /// Every hook has this `timeout:`, in seconds.
    pub fn timeout(&self, seconds: u32) -> &Self {
        let text = std::fs::read_to_string(self.path().join("appspec.yml")).unwrap();
        self.appspec(&text.replace("timeout: 60}", &format!("timeout: {seconds}}}")));
        self
    }

    /// Replaces `appspec.yml`.
    pub fn appspec(&self, text: &str) {
        std::fs::write(self.path().join("appspec.yml"), text).unwrap();
    }

    /// Another deployment from here on.
    pub fn deployment(&mut self, id: &str) -> &mut Self {
        self.deployment = id.to_owned();
        self
    }

    /// Hooks run in the network and with the mounts of a process.
    pub fn inside(&mut self, pid: u32) -> &mut Self {
        self.host = Some(pid);
        self
    }

    /// And see its processes: without them `/proc/self` is nothing there, and `iptables-legacy-save` finds no table.
    pub fn with_processes(&mut self) -> &mut Self {
        self.processes = true;
        self
    }

    /// One more variable, or another value of one; the empty text removes it.
    pub fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks for what the policy of an instance does not allow, on purpose: an action and its resource.
    pub fn is_refused(&mut self, need: &str) -> &mut Self {
        self.refused.insert(need.to_owned());
        self
    }

    /// The calls of AWS that it has led to.
    pub fn calls(&self, name: &str) -> Vec<Arc<Call>> {
        world().calls_of(&self.id, name)
    }

    /// Every call of AWS that it made is one that the policy of an instance allows, but for those made on purpose.
    fn answer_for_calls(&self, name: &str) {
        let calls = world().take_calls(&self.id, name);
        let refused: BTreeSet<String> = calls.iter().flat_map(|call| call.refused(name)).collect();
        let is_over = std::thread::panicking();
        assert!(
            is_over || refused == self.refused,
            "packaging/iam allows no {refused:#?}, not allowed on purpose: {:#?}",
            self.refused
        );
    }

    /// An executable beside the binary on the hook's PATH.
    pub fn program(&self, name: &str, script: &str) -> PathBuf {
        let folder = self.root.path().join("programs");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Runs the hook of an event to its end.
    pub fn hook(&self, event: &str) -> Outcome {
        self.start(event).wait()
    }

    /// Starts the hook of an event, as the agent does: the absolute path, no arguments, no HOME, `/` as folder.
    pub fn start(&self, event: &str) -> Running {
        let mut command = self.command(world(), self.path().join("hooks/balehook").as_os_str());
        command.env("LIFECYCLE_EVENT", event);
        Running::start(command)
    }

    /// Runs the hook of an event; its peak memory in kB beside the outcome, without the pages of the program's own file: a
    /// build for development has seven times as many of them.
    pub fn hook_with_peak_memory(&self, event: &str) -> (Outcome, u64) {
        let mut running = self.start(event);
        let status = format!("/proc/{}/status", running.child.id());
        let mut peak = 0;
        let stdout = running.child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || std::io::read_to_string(stdout).unwrap());
        while running.child.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
            let now = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
            peak = peak.max(now);
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut outcome = running.wait();
        outcome.stdout = reader.join().unwrap();
        (outcome, peak)
    }

    /// Runs the binary by hand, with the bundle's environment.
    pub fn run(&self, args: &[&str]) -> Outcome {
        let mut command = self.command(world(), std::ffi::OsStr::new(BINARY));
        command.args(args).arg("--appspec").arg(self.path());
        Running::start(command).wait().valid(args)
    }

    /// The binary by hand on a terminal of its own, not yet started.
    pub fn on_terminal(&self, args: &[&str]) -> Command {
        let mut command = self.command(world(), std::ffi::OsStr::new("setsid"));
        command.args(["--ctty", "--wait", BINARY]).args(args).env("TERM", "xterm-256color");
        command
    }

    /// `balehook status`.
    pub fn status(&self, args: &[&str]) -> Outcome {
        let mut command = self.command(world(), std::ffi::OsStr::new(BINARY));
        command.arg("status").args(args);
        Running::start(command).wait().valid(&[&["status"], args].concat())
    }

    /// `balehook resume`.
    pub fn resume(&self) -> Outcome {
        self.run_bare(&["resume"])
    }

    /// Runs the binary by hand with a command that takes no bundle.
    pub fn run_bare(&self, args: &[&str]) -> Outcome {
        self.start_bare(args).wait().valid(args)
    }

    /// Starts the binary by hand with a command that takes no bundle.
    pub fn start_bare(&self, args: &[&str]) -> Running {
        let mut command = self.command(world(), std::ffi::OsStr::new(BINARY));
        command.args(args);
        Running::start(command)
    }

    fn command(&self, world: &World, program: &std::ffi::OsStr) -> Command {
        let mut command = match self.host {
            Some(pid) => {
                let mut command = Command::new("nsenter");
                command.args([format!("--net=/proc/{pid}/ns/net"), format!("--mount=/proc/{pid}/ns/mnt")]);
                command.args(self.processes.then(|| format!("--pid=/proc/{pid}/ns/pid")));
                command.arg("--").arg(program);
                command
            }
            None => world.command(program),
        };
        let path = format!(
            "{}:{}:/usr/sbin:/usr/bin:/sbin:/bin",
            self.root.path().join("programs").display(),
            repository().join("target/tools/bin").display()
        );
        command
            .env_clear()
            .env("PATH", path)
            .env("BALEHOOK_BIN", BINARY)
            .env("BALEHOOK_STATE_DIR", &self.state)
            .env("DOCKER_HOST", world.docker_host())
            .env("DOCKER_CONFIG", self.root.path().join("docker-config"))
            .env("AWS_SDK_UA_APP_ID", &self.id)
            .env("DEPLOYMENT_ID", &self.deployment)
            .env("APPLICATION_NAME", "My App")
            .env("DEPLOYMENT_GROUP_NAME", "prod")
            .env("DEPLOYMENT_GROUP_ID", "11111111-2222-3333-4444-555555555555")
            .env("BUNDLE_BUCKET", "revisions")
            .env("BUNDLE_KEY", "web.zip")
            .current_dir("/");
        for (name, value) in &self.env {
            match value.as_str() {
                "" => command.env_remove(name),
                value => command.env(name, value),
            };
        }
        command
    }

    /// Writes docker's `config.json` for the hook.
    pub fn docker_config(&self, json: &str) {
        let folder = self.root.path().join("docker-config");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), json).unwrap();
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let text = std::fs::read_to_string(self.path().join("appspec.yml")).unwrap_or_default();
        let name = text.lines().find_map(|line| line.strip_prefix("  name: ")).unwrap_or_default().to_owned();
        for container in world().containers(&name).split_whitespace() {
            let _ = world().docker_may_fail(&["rm", "--force", "--volumes", container]);
        }
        // The engine has few address ranges for networks: those of a Compose project go.
        let _ = world().docker_may_fail(&["network", "rm", &format!("{name}_default")]);
        // The containerd store answers slower with every image that it has.
        let (kept, plain) = (format!("reference=balehook/{name}"), format!("reference={name}"));
        let format = "{{.Repository}}:{{.Tag}}";
        let list = ["images", "--filter", &kept, "--filter", &plain, "--format", format];
        let tags = world().docker_may_fail(&list).unwrap_or_default();
        let tags = tags.lines().filter(|tag| !tag.contains("<none>"));
        let remove: Vec<&str> = ["rmi", "--force"].into_iter().chain(tags).collect();
        if remove.len() > 2 {
            let _ = world().docker_may_fail(&remove);
        }
        self.answer_for_calls(&name);
    }
}

/// A running hook.
pub struct Running {
    child: Child,
    began: Instant,
}

impl Running {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        Self { child: command.spawn().unwrap(), began: Instant::now() }
    }

    /// The process.
    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Sends a signal to the whole process group, as the agent does.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::killpg(self.pid(), signal).unwrap();
    }

    /// Its standard output, to be read in another way than by the methods below.
    pub fn take_stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// Waits until a line with `text` is printed; returns the time since the start.
    pub fn wait_until_said(&mut self, text: &str) -> Vec<String> {
        use std::io::BufRead as _;
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut seen = Vec::new();
        for line in std::io::BufReader::with_capacity(1, stdout).lines() {
            let line = line.unwrap();
            let found = line.contains(text);
            seen.push(line);
            if found {
                return seen;
            }
        }
        panic!("{text:?} was never said: {seen:#?}");
    }

    /// Waits for its end as an agent does: SIGTERM when the time of its `timeout:` is up, SIGKILL 5 s later.
    pub fn wait_as_agent(mut self, timeout: Duration) -> Outcome {
        use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
        for (signal, due) in [(SIGTERM, timeout), (SIGKILL, timeout + Duration::from_secs(5))] {
            while self.child.try_wait().unwrap().is_none() && self.began.elapsed() < due {
                std::thread::sleep(Duration::from_millis(20));
            }
            if self.child.try_wait().unwrap().is_none() {
                self.signal(signal);
            }
        }
        self.wait()
    }

    /// Closes its standard output at once, and waits for its end.
    pub fn without_reader(mut self) -> Option<i32> {
        drop(self.child.stdout.take());
        drop(self.child.stderr.take());
        self.child.wait().unwrap().code()
    }

    /// Waits for its end.
    pub fn wait(self) -> Outcome {
        let began = self.began;
        let output = self.child.wait_with_output().unwrap();
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
            took: began.elapsed(),
        }
    }
}

/// An `appspec.yml` for container mode.
pub fn appspec(name: &str, container: &str, rest: &str) -> String {
    let indented: String = container.lines().map(|line| format!("    {line}\n")).collect();
    let rest: String = rest.lines().map(|line| format!("  {line}\n")).collect();
    let hooks: String = ["ApplicationStop", "BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"]
        .map(|event| format!("  {event}: [{{location: hooks/balehook, timeout: 60}}]\n"))
        .concat();
    format!("version: 0.0\nos: linux\nhooks:\n{hooks}x-balehook:\n  name: {name}\n  container:\n{indented}{rest}")
}
