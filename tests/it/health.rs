//! Health checks over HTTPS and gRPC, of real servers: `openssl s_server` in a container, and grpcio.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::bundle::appspec;
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

/// A gRPC server in the world; it ends with this.
struct Grpc(Child);

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
    let mut command = world.command(repository().join("target/tools/venv/bin/python3"));
    command.arg(repository().join("tests/it/support/grpc_server.py")).arg(certificates.path());
    command.args([plain, secure, other].map(|port| port.to_string())).stdin(Stdio::null());
    let _server = Grpc(command.spawn().unwrap());

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
