//! Namespaces with an engine, registries, an S3 server and the ECR API, shared by the tests of this process.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::calls::{Call, Calls, Service, record};

/// The registry under ECR's real name.
pub const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
/// The password that the ECR API hands out.
pub const ECR_PASSWORD: &str = "123456789012-auth-token";
/// A second registry.
pub const OTHER: &str = "registry.test:5443";
/// Its user's password: its base64 has `+` and `/`.
pub const OTHER_PASSWORD: &str = "p~?>~?>~?>ÿÿ";
/// The S3 server, for programs under test: what they ask is written down.
pub const S3: &str = "http://127.0.0.1:8333";
/// The same for the tests themselves.
const OWN_S3: &str = "http://127.0.0.1:8334";

/// The world of this test process.
pub struct World {
    folder: PathBuf,
    _keeper: Child,
    pid: u32,
    calls: Arc<Calls>,
    names: Mutex<BTreeSet<String>>,
}

/// The world; started by the test that asks first.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::start)
}

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn tools() -> PathBuf {
    repository().join("target/tools")
}

/// Runs a script of this folder in network, mount and process namespaces of its own, which end when its standard input
/// does. It is given a folder, where its output goes to `log.txt`, and the tools first.
pub fn keeper(script: &str, folder: &Path, more: &[impl AsRef<std::ffi::OsStr>]) -> Child {
    let log = std::fs::File::create(folder.join("log.txt")).unwrap();
    Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "bash"])
        .arg(repository().join("tests/it/support").join(script))
        .args([folder, &tools()])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Removes control groups of ours, in one hierarchy or in each controller's, whose processes are gone; whether that is so.
pub fn remove_control_groups(name: &str) -> bool {
    fn remove(group: &Path) {
        for inner in std::fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
            remove(&inner.path());
        }
        let _ = std::fs::remove_dir(group);
    }
    let root = Path::new("/sys/fs/cgroup");
    let controllers = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let groups: Vec<PathBuf> = controllers.chain([root.to_owned()]).map(|folder| folder.join(name)).collect();
    groups.iter().filter(|group| group.is_dir()).for_each(|group| remove(group));
    !groups.iter().any(|group| group.is_dir())
}

/// Worlds whose process is gone are swept by the next one.
fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("world-").and_then(|pid| pid.parse::<u32>().ok());
        // The last of its processes may still be dying: then it is swept by the one after this.
        let is_gone = pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        if is_gone && remove_control_groups(&format!("balehook-tests-{name}")) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl World {
    fn start() -> Self {
        assert!(tools().join("venv/bin/weed").exists(), "the test servers are missing: run `make setup`");
        let parent = std::env::temp_dir().join("balehook-tests");
        std::fs::create_dir_all(&parent).unwrap();
        sweep(&parent);
        let folder = parent.join(format!("world-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut keeper = keeper("world.sh", &folder, &[""; 0]);
        let pid = inner_pid(&mut keeper);
        let world = Self { folder, _keeper: keeper, pid, calls: Arc::default(), names: Mutex::default() };
        world.record(Service::S3, 8333, 8334);
        world.record(Service::EcrApi, 5000, 5001);
        world.wait_for("the engine", || world.docker_may_fail(&["version"]).is_ok());
        world
    }

    /// What is asked of `port` is asked of `server`, as soon as that is there, and written down.
    fn record(&self, service: Service, port: u16, server: u16) {
        let (pid, calls) = (self.pid, self.calls.clone());
        std::thread::spawn(move || {
            inside(pid, || {
                let connect = || TcpStream::connect(("127.0.0.1", server));
                while connect().is_err() {
                    std::thread::sleep(Duration::from_millis(50));
                }
                let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
                record(service, &listener, || connect().unwrap(), &calls);
            });
        });
    }

    fn registry_log(&self) -> PathBuf {
        self.folder.join("log/registry-ecr")
    }

    /// The calls of AWS by a bundle and for its image so far.
    pub fn calls_of(&self, bundle: &str, name: &str) -> Vec<Arc<Call>> {
        self.calls.so_far(&self.registry_log(), |call| call.is_of_bundle(bundle) || call.is_of_repository(name))
    }

    /// The same, and those that no test can answer for; they are not given again.
    pub fn take_calls(&self, bundle: &str, name: &str) -> Vec<Arc<Call>> {
        let names = self.names.lock().unwrap().clone();
        let is_wanted =
            |call: &Call| call.is_of_bundle(bundle) || call.is_of_repository(name) || call.is_of_nobody(&names);
        self.calls.take(&self.registry_log(), is_wanted)
    }

    /// Waits until `ready`; a minute at most.
    pub fn wait_for(&self, what: &str, ready: impl Fn() -> bool) {
        let log = || std::fs::read_to_string(self.folder.join("log.txt")).unwrap_or_default();
        wait_until(Duration::from_secs(60), ready, || format!("{what} did not come up: {}", log()));
    }

    /// A program inside the world's network.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        command_in(self.pid, program)
    }

    /// The first process of the world, in whose namespaces the engine and its containers are.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// `DOCKER_HOST` of the world's engine.
    pub fn docker_host(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.display())
    }

    /// A folder for scratch files, on the engine's disk.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The docker CLI on the world's engine.
    pub fn docker(&self, args: &[&str]) -> String {
        self.docker_may_fail(args).unwrap_or_else(|said| panic!("docker {args:?}: {said}"))
    }

    /// The same where it may fail; then what it said.
    pub fn docker_may_fail(&self, args: &[&str]) -> Result<String, String> {
        loop {
            match self.docker_once(args) {
                // The containerd store lists images while another test removes one.
                Err(said) if args[0] == "images" && said.contains("content digest") => {}
                outcome => return outcome,
            }
        }
    }

    fn docker_once(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("/usr/bin/docker")
            .args(args)
            .env("DOCKER_HOST", self.docker_host())
            .env("DOCKER_CONFIG", self.folder.join("docker-config"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Which engine the world has.
    pub fn engine(&self) -> String {
        std::env::var("BALEHOOK_ENGINE").unwrap_or_else(|_| "20.10".into())
    }

    /// Whether it keeps images in containerd: there an image's ID is not its config's digest.
    pub fn has_containerd_store(&self) -> bool {
        self.engine().ends_with("-containerd")
    }

    /// The digest of the config of a container's image, as the engine would save it.
    pub fn config_digest(&self, container: &str) -> String {
        let image = self.inspect(container, "{{.Image}}");
        let scratch = tempfile::tempdir_in(&self.folder).unwrap();
        let path = scratch.path().join("saved.tar");
        self.docker(&["save", "--output", path.to_str().unwrap(), &image]);
        let mut tar = tar::Archive::new(std::fs::File::open(path).unwrap());
        let mut entries = tar.entries().unwrap().map(Result::unwrap);
        let manifest = entries.find(|entry| entry.path().unwrap() == Path::new("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_reader(manifest).unwrap();
        let config = manifest[0]["Config"].as_str().unwrap();
        let hex = config.trim_start_matches("blobs/sha256/").trim_end_matches(".json");
        format!("sha256:{hex}")
    }

    /// Runs `work` on a thread inside the world's network.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(self.pid, work)
    }

    /// The first line that `http://127.0.0.1:port/path` answers with, where it answers 200.
    pub fn get(&self, port: u16, path: &str) -> Option<String> {
        self.inside(|| get(port, path))
    }

    /// A folder for what a test starts beside the world, and the name of its control group: below the world's, which the
    /// next test process sweeps.
    pub fn room(&self, stem: &str) -> (PathBuf, String) {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let name = format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = self.folder.join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        let world = self.folder.file_name().unwrap().to_str().unwrap();
        (folder, format!("balehook-tests-{world}/{name}"))
    }

    /// A host port that no other test has.
    pub fn port(&self) -> u16 {
        self.ports(1)
    }

    /// The first of so many host ports in a row that no other test has.
    pub fn ports(&self, count: u16) -> u16 {
        static NEXT: AtomicU16 = AtomicU16::new(20_000);
        NEXT.fetch_add(count, Ordering::Relaxed)
    }

    /// A name that no other test has.
    pub fn name(&self, stem: &str) -> String {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let name = format!("{stem}{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.names.lock().unwrap().insert(name.clone());
        name
    }

    /// Waits until something listens on a port of the world.
    pub fn wait_for_port(&self, port: u16) {
        self.wait_for(&format!("port {port}"), || self.inside(|| TcpStream::connect(("127.0.0.1", port)).is_ok()));
    }

    /// The running containers of a name, by their IDs, separated by spaces.
    pub fn running(&self, name: &str) -> String {
        let filter = format!("label=balehook.name={name}");
        self.docker(&["ps", "--quiet", "--no-trunc", "--filter", &filter]).replace('\n', " ")
    }

    /// Ends a container's program behind the engine's back, as when it crashes.
    pub fn crash(&self, container: &str) {
        let pid = self.inspect(container, "{{.State.Pid}}");
        let namespace = format!("--pid=/proc/{}/ns/pid", self.pid);
        let killed = Command::new("nsenter").args([&namespace, "--", "kill", "-KILL", &pid]).status().unwrap();
        assert!(killed.success());
        self.docker(&["wait", container]);
    }

    /// All containers of a name, by their names, separated by spaces.
    pub fn containers(&self, name: &str) -> String {
        let filter = format!("label=balehook.name={name}");
        self.docker(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"]).replace('\n', " ")
    }

    /// `docker inspect` with a template.
    pub fn inspect(&self, container: &str, template: &str) -> String {
        self.docker(&["inspect", "--format", template, container])
    }

    /// A signed request to the S3 server: whether it went well, the headers of the answer, and what curl said.
    fn s3(&self, args: &[&str]) -> (bool, String, String) {
        let signed =
            ["--silent", "--show-error", "--fail", "--retry", "3", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user"];
        let mut command = self.command("curl");
        let output = command
            .args(signed)
            .arg("AKIATESTS:tests-secret")
            .args(["--dump-header", "-"])
            .args(args)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    fn bucket(&self, bucket: &str) {
        self.wait_for_port(8333);
        let url = format!("{OWN_S3}/{bucket}");
        self.wait_for("the S3 server", || self.s3(&["-X", "PUT", &url]).0 || self.s3(&["-I", &url]).0);
    }

    /// Puts an object into the S3 server; returns its URI.
    pub fn put(&self, bucket: &str, key: &str, body: &Path) -> String {
        self.put_version(bucket, key, body);
        format!("s3://{bucket}/{key}")
    }

    /// The same; returns the object's version, where the bucket keeps versions.
    pub fn put_version(&self, bucket: &str, key: &str, body: &Path) -> String {
        self.bucket(bucket);
        let url = format!("{OWN_S3}/{bucket}/{}", encoded(key));
        let (done, headers, said) = self.s3(&["--upload-file", body.to_str().unwrap(), &url]);
        assert!(done, "cannot upload: {said}");
        let version =
            headers.lines().find_map(|line| line.to_lowercase().strip_prefix("x-amz-version-id:").map(|_| line));
        version.and_then(|line| line.split_once(':')).map(|(_, id)| id.trim().to_owned()).unwrap_or_default()
    }

    /// Makes a bucket keep every version of its objects.
    pub fn enable_versions(&self, bucket: &str) {
        self.bucket(bucket);
        // curl 7.88 signs a query without a value wrongly: moto brings an SDK that does not.
        let script = "import boto3, sys; boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1', \
            aws_access_key_id='AKIATESTS', aws_secret_access_key='tests-secret').put_bucket_versioning(\
            Bucket=sys.argv[2], VersioningConfiguration={'Status': 'Enabled'})";
        let mut command = self.command(tools().join("venv/bin/python"));
        let output = command.args(["-c", script, OWN_S3, bucket]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The environment of a deployment that reads from the S3 server and asks the ECR API.
    pub fn aws(&self) -> Vec<(String, String)> {
        let pairs = [
            ("AWS_ENDPOINT_URL_S3", S3),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:5000"),
            ("AWS_ACCESS_KEY_ID", "AKIATESTS"),
            ("AWS_SECRET_ACCESS_KEY", "tests-secret"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// Runs what pushes to a repository of the ECR registry: what the registry is asked for it meanwhile is the pipeline's.
    pub fn pushing<T>(&self, repository: &str, push: impl FnOnce() -> T) -> T {
        self.calls.push(&self.registry_log(), repository, push)
    }

    /// Pushes an image of the engine to a registry of the world; returns the digest.
    pub fn push(&self, registry: &str, image: &str, target: &str) -> String {
        let (user, password) = if registry == ECR { ("AWS", ECR_PASSWORD) } else { ("team", OTHER_PASSWORD) };
        self.wait_for_port(if registry == ECR { 443 } else { 5443 });
        // The CLI would ask the registry itself, from outside the world: the engine gets the header from a file instead.
        let config = self.folder.join("docker-config");
        std::fs::create_dir_all(&config).unwrap();
        let auth = |user: &str, password: &str| base64(&format!("{user}:{password}"));
        let auths = format!(
            r#"{{"auths":{{"{ECR}":{{"auth":"{}"}},"{OTHER}":{{"auth":"{}"}}}}}}"#,
            auth("AWS", ECR_PASSWORD),
            auth("team", OTHER_PASSWORD)
        );
        let _ = (user, password);
        std::fs::write(config.join("config.json"), auths).unwrap();
        let reference = format!("{registry}/{target}");
        self.docker(&["tag", image, &reference]);
        let repository = target.split(':').next().unwrap_or(target);
        let said = self.pushing(repository, || self.docker(&["push", &reference]));
        self.docker(&["rmi", &reference]);
        let digest = said.split("digest: ").nth(1).and_then(|rest| rest.split_whitespace().next());
        digest.unwrap_or_else(|| panic!("no digest in {said}")).to_owned()
    }
}

/// Waits until `ready`; panics with what is `said` when the time is up.
#[track_caller]
pub fn wait_until(limit: Duration, ready: impl Fn() -> bool, said: impl Fn() -> String) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < limit, "{}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A program in the network of a process.
pub fn command_in(process: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{process}/ns/net")).arg("--").arg(program);
    command
}

/// Runs `work` on a thread in the network of a process.
pub fn inside<T: Send>(process: u32, work: impl FnOnce() -> T + Send) -> T {
    let namespace = std::fs::File::open(format!("/proc/{process}/ns/net")).unwrap();
    std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            nix::sched::setns(namespace.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        entered.join().unwrap()
    })
}

/// A key in a URL.
fn encoded(key: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    key.chars()
        .map(|letter| if plain(letter) { letter.to_string() } else { format!("%{:02X}", letter as u32) })
        .collect()
}

/// Standard base64.
pub fn base64(text: &str) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(text)
}

/// GET from this thread's network.
pub fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200 ").then(|| body.lines().next().unwrap_or_default().to_owned())
}

/// The process that `unshare` made: its namespaces are the world's.
pub fn inner_pid(keeper: &mut Child) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", keeper.id());
    let began = Instant::now();
    loop {
        let found = std::fs::read_to_string(&children).unwrap_or_default();
        if let Some(pid) = found.split_whitespace().next().and_then(|pid| pid.parse().ok()) {
            return pid;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "unshare started nothing: {:?}", keeper.try_wait());
        std::thread::sleep(Duration::from_millis(10));
    }
}
