//! S3 transfers that break: a proxy in front of the real server cuts, stalls and replaces.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::support::images::web;
use crate::support::{Bundle, world};

/// A proxy on a port of the world: each of the first `cuts` answers is cut after `after` bytes.
struct Proxy {
    port: u16,
    requests: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
}

impl Proxy {
    fn start(cuts: usize, after: u64) -> Self {
        Self::start_with(cuts, after, || ())
    }

    /// The same; `on_cut` runs before a connection is cut.
    fn start_with(cuts: usize, after: u64, on_cut: impl Fn() + Send + Sync + 'static) -> Self {
        let on_cut = Arc::new(on_cut);
        let world = world();
        let port = world.port();
        let listener = world.inside(|| TcpListener::bind(("127.0.0.1", port)).unwrap());
        let proxy = Self { port, requests: Arc::default(), sent: Arc::default() };
        let (requests, sent) = (proxy.requests.clone(), proxy.sent.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let cut = requests.fetch_add(1, Ordering::SeqCst) < cuts;
                let (sent, on_cut) = (sent.clone(), on_cut.clone());
                std::thread::spawn(move || relay(client, cut.then_some(after), &sent, &*on_cut));
            }
        });
        proxy
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// One connection, one request each way: `Connection: close` is what the cut stands for.
fn relay(client: TcpStream, limit: Option<u64>, sent: &AtomicU64, on_cut: &dyn Fn()) {
    let server = world().inside(|| TcpStream::connect(("127.0.0.1", 8333)));
    let Ok(server) = server else { return };
    let (mut upstream, mut from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut upstream);
    });
    let (mut client, mut server) = (client, server);
    let mut left = limit.unwrap_or(u64::MAX);
    let mut buffer = [0; 16 * 1024];
    while left > 0 {
        let Ok(count @ 1..) = server.read(&mut buffer) else { break };
        let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        if client.write_all(&buffer[..count]).is_err() {
            break;
        }
        left -= count as u64;
        sent.fetch_add(count as u64, Ordering::SeqCst);
    }
    if left == 0 {
        on_cut();
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = server.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_connection_that_is_cut_again_and_again_goes_on_at_the_byte_where_it_broke() {
    let (world, name, port) = (world(), world().name("cut"), world().port());
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let (archive, id) = web(&format!("{name}:1"), "whole").padding(8_000_000).write_into(scratch.path());
    let size = std::fs::metadata(&archive).unwrap().len();
    let uri = world.put("releases", &format!("{name}.tar"), &archive);
    let proxy = Proxy::start(8, 1_500_000);
    let service = format!("image: {{archive: \"{uri}\"}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    let mut bundle = Bundle::container(&name, &service, "health: {http: /healthz, timeout: 20s}");
    bundle.env("AWS_ENDPOINT_URL_S3", &proxy.url());

    bundle.hook("ApplicationStart").exits(0);

    assert_eq!(world.config_digest(&name), id, "not one byte was mixed up");
    assert_eq!(world.get(port, "/").as_deref(), Some("whole"));
    let sent = proxy.sent.load(Ordering::SeqCst);
    assert!(
        sent < size + size / 4 + 500_000,
        "{sent} bytes for an archive of {size}: what was there was not sent twice"
    );
}

#[test]
fn a_server_that_always_breaks_off_is_given_up_with_the_byte_and_the_old_container_is_untouched() {
    let (world, name, port) = (world(), world().name("never"), world().port());
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let (archive, _) = web(&format!("{name}:1"), "one").write_into(scratch.path());
    let uri = world.put("releases", &format!("{name}.tar"), &archive);
    let service = format!("image: {{archive: \"{uri}\"}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    let mut bundle = Bundle::container(&name, &service, "health: {http: /healthz, timeout: 20s}");
    bundle.hook("ApplicationStart").exits(0);
    let old = world.inspect(&name, "{{.Id}}");

    let (archive, _) = web(&format!("{name}:2"), "two").write_into(scratch.path());
    world.put("releases", &format!("{name}.tar"), &archive);
    // Every answer ends within its headers.
    let proxy = Proxy::start(usize::MAX, 40);
    bundle.env("AWS_ENDPOINT_URL_S3", &proxy.url()).deployment("d-TEST00002");

    let outcome = bundle.hook("ApplicationStart");

    outcome.exits(6).says("S3 cannot be reached for s3://releases/");
    assert_eq!(world.running(&name), old);
}

#[test]
fn an_object_that_is_replaced_while_it_is_read_is_never_mixed_with_the_new_one() {
    let (world, name, port) = (world(), world().name("replaced"), world().port());
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let (archive, _) = web(&format!("{name}:1"), "one").padding(9_000_000).write_into(scratch.path());
    let key = format!("{name}.tar");
    let uri = world.put("releases", &key, &archive);
    let (other, _) = web(&format!("{name}:2"), "two").padding(9_000_001).write_into(scratch.path());
    let proxy = Proxy::start_with(1, 700_000, move || drop(world.put("releases", &key, &other)));
    let service = format!("image: {{archive: \"{uri}\"}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    let mut bundle = Bundle::container(&name, &service, "health: {http: /healthz, timeout: 20s}");
    bundle.env("AWS_ENDPOINT_URL_S3", &proxy.url());

    let outcome = bundle.hook("ApplicationStart");

    outcome.exits(6).says("was replaced while it was read");
    assert_eq!(world.containers(&name), "");
    assert_eq!(world.docker(&["images", "--quiet", &name]), "", "no half image is left");
    drop(scratch);
}

#[test]
fn a_version_of_an_object_is_read_though_a_newer_one_is_there() {
    let (world, name, port) = (world(), world().name("versioned"), world().port());
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    world.enable_versions("versions");
    let (archive, id) = web(&format!("{name}:1"), "first").write_into(scratch.path());
    let version = world.put_version("versions", &name, &archive);
    let (archive, _) = web(&format!("{name}:2"), "second").write_into(scratch.path());
    world.put_version("versions", &name, &archive);
    let service = format!(
        "image: {{archive: \"s3://versions/{name}?versionId={version}\"}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s"
    );
    let bundle = Bundle::container(&name, &service, "health: {http: /healthz, timeout: 20s}");

    bundle.hook("ApplicationStart").exits(0);

    assert_eq!(world.config_digest(&name), id);
    assert_eq!(world.get(port, "/").as_deref(), Some("first"));
}
