//! Engines of another host, as a developer's machine asks them: over TLS and over ssh, by variables and by docker's contexts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::compose::Project;
use crate::support::world::repository;
use crate::support::{Bundle, Outcome, Served, world};

/// The engine of the world under a name that is no loopback address.
const FAR: &str = "tcp://registry.test:2376";
/// The same engine where it may be this host's.
const NEAR: &str = "tcp://127.0.0.1:2376";

/// By the world's authority: a client that has expired. By another one: a client; and a server that has expired.
const CERTIFICATES: &str = "
world=$1
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout other.key -out other.pem
for name in old stranger; do openssl req -newkey rsa:2048 -nodes -subj /CN=$name -keyout $name.key -out $name.csr; done
echo 'subjectAltName = IP:127.0.0.1' >names
openssl x509 -req -in stranger.csr -CA other.pem -CAkey other.key -CAcreateserial -days 2 -extfile names -out stranger.pem
printf '%s\\n' '[ca]' default_ca=its '[its]' database=index serial=serial new_certs_dir=. default_md=sha256 \\
    default_startdate=20200101000000Z default_enddate=20210203000000Z policy=names '[names]' commonName=supplied >its
touch index; echo 01 >serial
openssl ca -batch -notext -config its -cert $world/ca.pem -keyfile $world/ca-key.pem -extfile names -in old.csr -out old.pem
folder() { mkdir $1; cp $2 $1/ca.pem; [ -z \"$3\" ] || { cp $3 $1/cert.pem; cp $4 $1/key.pem; }; }
folder good $world/ca.pem $world/cert.pem $world/key.pem
folder wrong-authority other.pem $world/cert.pem $world/key.pem
folder no-client $world/ca.pem ''
folder stranger-client $world/ca.pem stranger.pem stranger.key
folder old-client $world/ca.pem old.pem old.key
";

fn bash(script: &str, folder: &Path, argument: &Path) {
    let made = Command::new("bash").args(["-euc", script, "bash"]).arg(argument).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(world().folder()).unwrap();
    bash(CERTIFICATES, folder.path(), &world().folder().join("ca"));
    folder
}

/// From here on commands run as on another machine: with a state of its own, and the world's names.
fn on_a_dev_box(bundle: &mut Bundle) {
    let state = bundle.path().join("../dev-box-state");
    bundle.inside(world().pid()).env("BALEHOOK_STATE_DIR", state.to_str().unwrap()).env("DOCKER_HOST", "");
}

/// What is printed in one line.
fn words(outcome: &Outcome) -> String {
    outcome.stdout.split_whitespace().chain(outcome.stderr.split_whitespace()).collect::<Vec<_>>().join(" ")
}

/// A process that ends with this.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_engine_of_another_host_is_looked_at_over_tls_and_never_deployed_to() {
    let mut served = Served::with_next("far", "");
    let (files, name) = (certificates(), served.name.clone());
    let path = |name: &str| files.path().join(name).display().to_string();
    let bundle = &mut served.bundle;
    on_a_dev_box(bundle);
    bundle.env("DOCKER_HOST", FAR).env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", &path("good"));

    let plan = bundle.run(&["plan"]);
    let elsewhere = "on another host: its releases, rules of switched ports and files are not seen from here";
    plan.exits(0).prints(&format!("engine: {FAR}, {elsewhere}")).prints(&format!("create container {name}"));
    let status = bundle.run_bare(&["status", &name]);
    status.exits(0).prints(&format!("{name}: running"));
    assert!(status.stderr.contains(&format!("engine: {FAR}, {elsewhere}")), "{}", status.stderr);
    bundle.run_bare(&["logs", &name]).exits(0);
    let doctor = bundle.run_bare(&["doctor", "--format", "json"]);
    assert!(doctor.stdout.contains(&format!("at {FAR}\"")), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("their rules are of the engine's host"), "{}", doctor.stdout);
    let refused = format!("the engine at {FAR} is on another host");
    bundle.hook("ApplicationStart").exits(5).says(&refused);
    bundle.hook("ApplicationStop").exits(0).says(&refused);
    let run = bundle.run(&["run", "ApplicationStart"]);
    run.exits(5).says("from here `plan`, `status`, `logs`, `doctor` and `import` ask that engine");

    let mut asked = |host: &str, folder: &str| {
        bundle.env("DOCKER_HOST", host).env("DOCKER_CERT_PATH", &path(folder));
        let status = bundle.run_bare(&["status"]);
        status.exits(5);
        words(&status)
    };
    let port = world().port();
    let mut impostor = world().command("openssl");
    impostor.args([
        "s_server",
        "-quiet",
        "-accept",
        &port.to_string(),
        "-cert",
        &path("old.pem"),
        "-key",
        &path("old.key"),
    ]);
    let _impostor = Server(impostor.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    world().wait_for_port(port);
    for (host, folder, wanted) in [
        ("tcp://192.0.2.1:2376", "good", "TLS: the certificate is not for 192.0.2.1, but for "),
        (FAR, "wrong-authority", "TLS: the certificate is of an unknown issuer: no authority in ca.pem has signed it"),
        (FAR, "no-client", "TLS: the server demands a certificate of the client that it accepts"),
        (FAR, "stranger-client", "TLS: the server demands a certificate of the client that it accepts"),
        (FAR, "old-client", "TLS: the server says that the client's certificate has expired"),
        (&format!("tcp://127.0.0.1:{port}"), "good", "TLS: the certificate has expired: it was valid until 2021-02-03"),
        ("tcp://127.0.0.1:8333", "good", "what it answers is no TLS: does it speak plain HTTP there?"),
        ("tcp://127.0.0.1:1", "good", "cannot be reached: Connection refused"),
        (FAR, "nowhere", "/nowhere/ca.pem is not there"),
    ] {
        let said = asked(host, folder);
        assert!(said.contains(wanted), "{host} {folder}: {said}");
    }
    bundle.env("DOCKER_TLS_VERIFY", "").env("DOCKER_HOST", FAR);
    let plain = bundle.run_bare(&["status"]);
    plain.exits(5);
    assert!(words(&plain).contains(&format!("the engine at {FAR} cannot be reached: it speaks TLS")), "{plain:?}");
    served.serves_old();
}

/// Docker's own CLI on the dev box.
fn docker(config: &Path, args: &[&str]) {
    let ran =
        Command::new("/usr/bin/docker").args(args).env("DOCKER_CONFIG", config).env_remove("DOCKER_HOST").output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn a_context_that_docker_made_leads_plans_and_compose_to_its_engine() {
    let mut project = Project::two("context");
    let (files, name) = (certificates(), project.name.clone());
    let bundle = &mut project.bundle;
    on_a_dev_box(bundle);
    let config = bundle.path().join("../../../docker-config");
    let good = files.path().join("good").display().to_string();
    for (context, host) in [("prod", FAR), ("here", NEAR)] {
        let endpoint = format!("host={host},ca={good}/ca.pem,cert={good}/cert.pem,key={good}/key.pem");
        docker(&config, &["context", "create", context, "--docker", &endpoint]);
    }
    docker(&config, &["context", "use", "prod"]);

    let said = format!("engine: {FAR} (docker's context `prod`, which currentContext of ");
    let plan = bundle.run(&["plan"]);
    plan.exits(0).prints(&said);
    bundle.run(&["run", "ApplicationStart"]).exits(5).says("is on another host");
    bundle.env("DOCKER_CONTEXT", "here");
    let doctor = words(&bundle.run_bare(&["doctor"]));
    let named = format!("at {NEAR} (docker's context `here`, which DOCKER_CONTEXT names); hooks and the boot unit ask");
    assert!(doctor.contains(&named), "{doctor}");
    assert_eq!(world().running(&name), "");
    // Compose is told the same: what it starts runs on that engine.
    bundle.run(&["run", "ApplicationStart"]).exits(0);
    assert_eq!(world().running(&name).split_whitespace().count(), 2);
    bundle.run(&["run", "ApplicationStop"]).exits(0);
    bundle.env("DOCKER_CONTEXT", "gone");
    bundle.run(&["plan"]).prints("docker's context `gone`, which DOCKER_CONTEXT names, cannot be used");
}

/// An ssh server on the world's loopback.
struct Sshd {
    folder: PathBuf,
    port: u16,
    _server: Server,
}

impl Sshd {
    fn start() -> Self {
        let (folder, _) = world().room("sshd");
        let (port, script) = (world().port(), repository().join("tests/it/support/sshd.sh"));
        let log = File::create(folder.join("log")).unwrap();
        let mut command = Self::inside("bash");
        command.arg(script).arg(&folder).arg(port.to_string()).arg(world().folder().join("docker.sock"));
        let server = command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        world().wait_for_port(port);
        Self { folder, port, _server: Server(server) }
    }

    /// A program in the world's network and with its mounts.
    fn inside(program: &str) -> Command {
        let (pid, mut command) = (world().pid(), Command::new("nsenter"));
        command
            .args([format!("--net=/proc/{pid}/ns/net"), format!("--mount=/proc/{pid}/ns/mnt")])
            .arg("--")
            .arg(program);
        command
    }

    fn host(&self, path: &str) -> String {
        format!("ssh://root@127.0.0.1:{}{path}", self.port)
    }

    /// Writes a file of the client's `~/.ssh`.
    fn client(&self, file: &str, text: &str) {
        let write = format!("umask 077; printf '%s\\n' \"$1\" >/root/.ssh/{file}");
        assert!(Self::inside("sh").args(["-ec", &write, "sh", text]).status().unwrap().success());
    }

    fn logins(&self) -> usize {
        fs::read_to_string(self.folder.join("log")).unwrap().matches("Accepted publickey").count()
    }
}

#[test]
fn an_engine_of_another_host_is_looked_at_by_ssh_with_one_login_for_one_question_after_the_other() {
    let mut served = Served::with_next("ssh", "");
    let (sshd, name) = (Sshd::start(), served.name.clone());
    let bundle = &mut served.bundle;
    on_a_dev_box(bundle);
    bundle.env("DOCKER_HOST", &sshd.host(""));
    let fails = |bundle: &Bundle, wanted: &str| {
        let status = bundle.run_bare(&["status"]);
        status.exits(5);
        assert!(words(&status).contains(wanted), "{wanted}: {status:?}");
    };
    fails(bundle, &format!("the engine at {} cannot be reached: ssh: Host key verification failed.", sshd.host("")));
    let key = fs::read_to_string(sshd.folder.join("host.pub")).unwrap();
    sshd.client("known_hosts", &format!("[127.0.0.1]:{} {}", sshd.port, key.trim()));
    fails(bundle, "cannot be reached: ssh: root@127.0.0.1: Permission denied (publickey).");
    sshd.client("config", &format!("IdentityFile {}/user", sshd.folder.display()));

    let status = bundle.run_bare(&["status", &name]);
    status.exits(0).prints(&format!("{name}: running"));
    assert_eq!(sshd.logins(), 1);
    let plan = bundle.run(&["plan"]);
    plan.exits(0).prints(&format!("engine: {}, on another host", sshd.host("")));
    plan.prints(&format!("create container {name}"));
    bundle.run(&["run", "ApplicationStart"]).exits(5).says("is on another host");

    bundle.env("DOCKER_HOST", &sshd.host("/nowhere/docker.sock"));
    fails(bundle, "/nowhere/docker.sock: connect: no such file or directory");
    bundle.env("DOCKER_HOST", "ssh://root@127.0.0.1:1");
    fails(bundle, "ssh: ssh: connect to host 127.0.0.1 port 1: Connection refused");
    served.serves_old();
}
