//! Where AWS credentials and regions come from. The instance metadata service is a fake: it cannot be had here.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::support::images::web;
use crate::support::{Bundle, world};

/// An archive in S3 and the bundle that deploys it, without any credentials in its environment.
struct Stored {
    bundle: Bundle,
    name: String,
    port: u16,
}

fn stored(stem: &str) -> Stored {
    let (world, name, port) = (world(), world().name(stem), world().port());
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let (archive, _) = web(&format!("{name}:1"), "one").write_into(scratch.path());
    let uri = world.put("releases", &format!("{name}.tar"), &archive);
    let service = format!("image: {{archive: \"{uri}\"}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    let mut bundle = Bundle::container(&name, &service, "health: {http: /healthz, timeout: 20s}");
    bundle.env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
    Stored { bundle, name, port }
}

impl Stored {
    fn deploys(&self) {
        self.bundle.hook("ApplicationStart").exits(0);
        assert_eq!(world().get(self.port, "/").as_deref(), Some("one"), "{}", self.name);
    }
}

const KEYS: &str = r#""AccessKeyId": "AKIATESTS", "SecretAccessKey": "tests-secret", "Token": "", "Expiration": "2099-01-01T00:00:00Z""#;

/// A small HTTP server inside the world: `answer` is given the request line and the headers.
fn server(answer: impl Fn(&str, &str) -> Option<String> + Send + 'static) -> u16 {
    let world = world();
    let port = world.port();
    let listener = world.inside(|| TcpListener::bind(("127.0.0.1", port)).unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            serve(client, &answer);
        }
    });
    port
}

fn serve(mut client: TcpStream, answer: &impl Fn(&str, &str) -> Option<String>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut head = String::new();
    while reader.read_line(&mut head).is_ok_and(|count| count > 2) {}
    let (line, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
    match answer(line, headers) {
        Some(answer) => drop(client.write_all(answer.as_bytes())),
        None => relay(client, &head),
    }
}

/// Hands a request on to the S3 server, and the whole answer back.
fn relay(mut client: TcpStream, head: &str) {
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let mut answer = Vec::new();
    world().inside(|| {
        let mut server = TcpStream::connect(("127.0.0.1", 8333)).unwrap();
        server.write_all(head.as_bytes()).unwrap();
        server.read_to_end(&mut answer).unwrap();
    });
    let _ = client.write_all(&answer);
}

fn ok(body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

#[test]
fn the_instance_role_gives_credentials_and_region_through_the_metadata_service_with_a_token() {
    let mut stored = stored("imds");
    let port = server(|line, headers| {
        let has_token = headers.to_lowercase().contains("x-aws-ec2-metadata-token: tok");
        match line.split(' ').collect::<Vec<_>>()[..2] {
            ["PUT", "/latest/api/token"] => Some(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nx-aws-ec2-metadata-token-ttl-seconds: 600\r\nContent-Length: 3\r\n\r\ntok"
                    .into(),
            ),
            ["GET", "/latest/meta-data/placement/region"] if has_token => ok("eu-west-1"),
            ["GET", path] if has_token && path.ends_with("/web-role") => ok(&format!("{{\"Code\": \"Success\", {KEYS}}}")),
            ["GET", path] if has_token && path.contains("security-credentials") => ok("web-role"),
            _ => Some("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".into()),
        }
    });
    stored
        .bundle
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://127.0.0.1:{port}"))
        .env("AWS_EC2_METADATA_DISABLED", "")
        .env("AWS_REGION", "");

    stored.deploys();
}

#[test]
fn a_container_gives_its_credentials_by_an_address() {
    let mut stored = stored("container");
    let port = server(|_, _| ok(&format!("{{{KEYS}}}")));
    stored.bundle.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("http://127.0.0.1:{port}/credentials"));

    stored.deploys();
}

#[test]
fn a_named_profile_gives_credentials_and_region() {
    let mut stored = stored("profile");
    let file = stored.bundle.path().join("credentials");
    std::fs::write(
        &file,
        "[deploy]\naws_access_key_id = AKIATESTS\naws_secret_access_key = tests-secret\nregion = eu-west-1\n",
    )
    .unwrap();
    stored
        .bundle
        .env("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())
        .env("AWS_PROFILE", "deploy")
        .env("AWS_REGION", "");

    stored.deploys();
}

#[test]
fn a_bucket_in_another_region_is_followed() {
    let mut stored = stored("region");
    let port = server(|_, headers| {
        let asked_here = headers.contains("/eu-central-1/s3/");
        (!asked_here).then(|| {
            "HTTP/1.1 301 Moved Permanently\r\nConnection: close\r\nx-amz-bucket-region: eu-central-1\r\nContent-Length: 0\r\n\r\n".into()
        })
    });
    stored
        .bundle
        .env("AWS_ENDPOINT_URL_S3", &format!("http://127.0.0.1:{port}"))
        .env("AWS_ACCESS_KEY_ID", "AKIATESTS")
        .env("AWS_SECRET_ACCESS_KEY", "tests-secret");

    stored.deploys();
}
