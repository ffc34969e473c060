//! Health checks over HTTPS and gRPC, of real servers: `openssl s_server` in a container, and grpcio.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::compose::Project;
use crate::handover::{Handed, shared};
use crate::support::bundle::appspec;
use crate::support::cluster;
use crate::support::world::repository;
use crate::support::{Bundle, Image, world};

/// Two authorities, and a certificate by the first one for shop.test.
const CERTIFICATES: &str = "
for name in ca other; do
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$name -keyout $name.key -out $name.pem
done
openssl req -newkey rsa:2048 -nodes -subj /CN=shop -keyout key.pem -out shop.csr
echo 'subjectAltName = DNS:shop.test' >names
openssl x509 -req -in shop.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem
";

fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(world().folder()).unwrap();
    let made = Command::new("bash").args(["-ec", CERTIFICATES]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

/// A web server with TLS on port 443: the host's own openssl, with the libraries that it needs.
fn https(tag: &str, certificates: &Path) -> Image {
    let libraries = Command::new("ldd").arg("/usr/bin/openssl").output().unwrap().stdout;
    let libraries = String::from_utf8(libraries).unwrap();
    let command = ["/usr/bin/openssl", "s_server", "-accept", "443", "-cert", "/cert.pem", "-key", "/key.pem", "-WWW"];
    let mut image = Image::new(tag).file("healthz", "all is well\n").command(&command);
    let paths = libraries.split_whitespace().filter(|word| word.starts_with('/')).chain(["/usr/bin/openssl"]);
    for path in paths {
        image = image.file(path.trim_start_matches('/'), std::fs::read(path).unwrap());
    }
    for name in ["cert.pem", "key.pem"] {
        image = image.file(name, std::fs::read(certificates.join(name)).unwrap());
    }
    image
}

#[test]
fn a_container_is_healthy_by_https_with_its_authority_or_insecure_and_by_no_other_one() {
    let (world, name, port) = (world(), world().name("https"), world().port());
    let certificates = certificates();
    let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:443\"]\nstop_grace_period: 1s");
    let health = |trust: &str| {
        format!(
            "health: {{http: {{path: /healthz, scheme: https, host: shop.test, body: is well, {trust}}}, timeout: 4s}}"
        )
    };
    let mut bundle = Bundle::container(&name, &service, &health("ca: ca.pem"));
    for file in ["ca.pem", "other.pem"] {
        std::fs::copy(certificates.path().join(file), bundle.path().join(file)).unwrap();
    }
    https(&format!("{name}:1"), certificates.path()).write_into(&bundle.path());

    bundle
        .hook("ApplicationStart")
        .exits(0)
        .says("GET /healthz (https) answers 2xx or 3xx with `is well` in it, as shop.test, certificate by ca.pem");
    bundle.hook("ValidateService").exits(0);
    let first = world.running(&name);

    https(&format!("{name}:2"), certificates.path()).write_into(&bundle.path());
    bundle.appspec(&appspec(&name, &service, &health("ca: other.pem")));
    bundle.deployment("d-TEST00002");
    let failed = bundle.hook("ApplicationStart");
    failed.exits(8).says("TLS: the certificate is of an unknown issuer: name its authority by `ca`");
    assert_eq!(world.running(&name), first, "the old one is back, and nothing else runs");
    // It is asked as its own release says, by a file that the new bundle need not have.
    std::fs::remove_file(bundle.path().join("ca.pem")).unwrap();
    let status = bundle.run_bare(&["status", &name]);
    assert!(status.exits(0).stdout.contains("200 OK: all is well"), "{}", status.stdout);

    bundle.appspec(&appspec(&name, &service, &health("insecure: true")));
    bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(0).says("with any certificate (insecure)");
    assert_ne!(world.running(&name), first);
}

/// What is asked of `/healthz` behind a port, as shop.test; `trust` says whose certificate is good.
fn asked(trust: &str) -> String {
    format!("health: {{http: {{path: /healthz, scheme: https, host: shop.test, body: is well, {trust}}}, timeout: 8s}}")
}

#[test]
fn a_container_that_starts_first_is_asked_over_https_before_the_ports_lead_to_it() {
    let _shared = shared();
    let (mut web, certificates) = (Handed::new("shttps", ""), certificates());
    let service = format!(
        "image: {{archive: image.tar}}\nports: [\"{}:443\"]\nstop_grace_period: 1s\n\
         update_config: {{order: start-first, drain: 0s}}",
        web.port
    );
    for (deployment, file, code) in [("d-1", "ca.pem", 0), ("d-2", "ca.pem", 0), ("d-3", "other.pem", 8)] {
        let serving = world().running(&web.name);
        std::fs::copy(certificates.path().join(file), web.bundle.path().join(file)).unwrap();
        https(&format!("{}:{deployment}", web.name), certificates.path()).write_into(&web.bundle.path());
        web.bundle.appspec(&appspec(&web.name, &service, &asked(&format!("ca: {file}"))));
        let outcome = web.bundle.deployment(deployment).hook("ApplicationStart");
        outcome.exits(code);
        assert_eq!(world().running(&web.name) == serving, code != 0, "{deployment}: {}", outcome.stdout);
        if code != 0 {
            outcome.says("TLS: the certificate is of an unknown issuer: name its authority by `ca`");
        }
    }
}

#[test]
fn a_project_is_healthy_by_https_and_by_grpc_and_what_is_not_puts_the_old_one_back() {
    const WEB: &str = "services: {web: {ports: [\"127.0.0.1:PORT:443\"], stop_grace_period: 1s}}\n";
    let mut project = Project::new("chttps", WEB, "images: {web: {archive: image.tar}}");
    let certificates = certificates();
    let text = std::fs::read_to_string(project.bundle.path().join("appspec.yml")).unwrap();
    let appspec = |health: &str| text.replace("health: {timeout: 20s}", health);
    for file in ["ca.pem", "other.pem"] {
        std::fs::copy(certificates.path().join(file), project.bundle.path().join(file)).unwrap();
    }
    project.image("image.tar", &https(&format!("{}:1", project.name), certificates.path()));
    project.bundle.appspec(&appspec(&asked("ca: ca.pem")));
    project.start().exits(0).says("certificate by ca.pem");
    project.bundle.hook("ValidateService").exits(0);

    let ports = [world().port(), world().port(), world().port()];
    let _server = Grpc::start(certificates.path(), ports);
    for (grpc, code) in [("service: shop.Cart", 0), ("service: shop.Sick", 8)] {
        project.bundle.appspec(&appspec(&format!("health: {{grpc: {{port: {}, {grpc}}}, timeout: 2s}}", ports[0])));
        project.bundle.hook("ValidateService").exits(code);
    }

    project.image("image.tar", &https(&format!("{}:2", project.name), certificates.path()));
    project.bundle.appspec(&appspec(&asked("ca: other.pem")));
    let failed = project.bundle.deployment("d-TEST00002").hook("ApplicationStart");
    failed.exits(8).says("TLS: the certificate is of an unknown issuer");
    let status = project.bundle.run_bare(&["status", &project.name]);
    assert!(status.exits(0).stdout.contains("200 OK: all is well"), "the old one serves: {}", status.stdout);
}

#[test]
fn a_service_of_a_swarm_is_healthy_by_https_at_its_published_port() {
    let (cluster, name, port) = (cluster::alone(), world().name("whttps"), world().port());
    let certificates = certificates();
    let service = format!(
        "image: {{archive: image.tar}}\nports: [{{target: 443, published: {port}, mode: host}}]\nstop_grace_period: 1s\n\
         deploy: {{update_config: {{monitor: 1s}}, rollback_config: {{monitor: 1s}}}}"
    );
    let bundle = cluster.bundle(1, &cluster::appspec(&name, &service, &asked("ca: ca.pem")));
    for file in ["ca.pem", "other.pem"] {
        std::fs::copy(certificates.path().join(file), bundle.path().join(file)).unwrap();
    }
    https(&format!("{name}:1"), certificates.path()).write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0).says("certificate by ca.pem");
    bundle.appspec(&cluster::appspec(&name, &service, &asked("ca: other.pem")));
    bundle.hook("ValidateService").exits(8).says("TLS: the certificate is of an unknown issuer");
    cluster.docker(1, &["service", "rm", &name]);
}

/// A gRPC server in the world; it ends with this.
struct Grpc(Child);

impl Grpc {
    /// `ports`: without TLS, with it, and one without a health service.
    fn start(certificates: &Path, ports: [u16; 3]) -> Self {
        let mut command = world().command(repository().join("target/tools/venv/bin/python3"));
        command.arg(repository().join("tests/it/support/grpc_server.py")).arg(certificates);
        let server = Self(command.args(ports.map(|port| port.to_string())).stdin(Stdio::null()).spawn().unwrap());
        world().wait_for_port(ports[0]);
        server
    }
}

impl Drop for Grpc {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_grpc_server_is_healthy_when_it_says_serving_and_each_other_answer_is_named() {
    let (world, name) = (world(), world().name("grpc"));
    let certificates = certificates();
    let [plain, secure, other] = [world.port(), world.port(), world.port()];
    let _server = Grpc::start(certificates.path(), [plain, secure, other]);

    let service = "image: {archive: image.tar}\nstop_grace_period: 1s";
    let section = |grpc: &str, timeout: &str| appspec(&name, service, &format!("health: {{grpc: {grpc}, {timeout}}}"));
    let bundle = Bundle::new(&section(&plain.to_string(), "timeout: 30s"));
    std::fs::copy(certificates.path().join("ca.pem"), bundle.path().join("ca.pem")).unwrap();
    Image::new(&format!("{name}:1")).script("sleep 1000").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0).says(&format!("gRPC health at 127.0.0.1:{plain} is SERVING"));

    let by_ca = format!("{{port: {secure}, service: shop.Cart, host: shop.test, ca: ca.pem}}");
    for good in [format!("{{port: {plain}, service: shop.Cart}}"), by_ca, format!("{{port: {secure}, insecure: true}}")]
    {
        bundle.appspec(&section(&good, "timeout: 5s"));
        bundle.hook("ValidateService").exits(0);
    }
    for (bad, wanted) in [
        (format!("{{port: {plain}, service: shop.Sick}}"), "it answered NOT_SERVING"),
        (format!("{{port: {plain}, service: shop.Nobody}}"), "knows no service `shop.Nobody` (NOT_FOUND)"),
        (other.to_string(), "the server has no health service grpc.health.v1.Health (UNIMPLEMENTED"),
        (format!("{{port: {secure}, tls: true}}"), "TLS: the certificate is of an unknown issuer"),
        (format!("{{port: {secure}, ca: ca.pem}}"), "TLS: the certificate is not for 127.0.0.1, but for shop.test"),
        (secure.to_string(), "it does not speak HTTP/2 as gRPC does"),
    ] {
        bundle.appspec(&section(&bad, "timeout: 1s"));
        bundle.hook("ValidateService").exits(8).says(wanted);
    }
}
