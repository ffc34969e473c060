//! S3 transfers that break: a proxy in front of the real server cuts, stalls and replaces.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::images::web;
use crate::support::{Bundle, world};

/// What is wrong with a connection.
#[derive(Clone, Copy)]
pub enum Fault {
    /// It is cut after so many bytes.
    Cut(u64),
    /// Nothing more comes after so many bytes.
    Stall(u64),
    /// Every 16 kB take 20 ms.
    Slow,
    /// `503 Slow Down`.
    Busy,
    /// Each answer says that it is of another range.
    WrongRange,
    /// One bit is turned over after so many bytes.
    Flip(u64),
}

/// A proxy on a port of the world: the first `count` connections have a fault.
pub struct Proxy {
    port: u16,
    requests: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
}

impl Proxy {
    pub fn start(count: usize, fault: Fault) -> Self {
        Self::start_with(count, fault, || ())
    }

    /// The same; `on_cut` runs before a connection is cut.
    fn start_with(count: usize, fault: Fault, on_cut: impl Fn() + Send + Sync + 'static) -> Self {
        let on_cut = Arc::new(on_cut);
        let world = world();
        let port = world.port();
        let listener = world.inside(|| TcpListener::bind(("127.0.0.1", port)).unwrap());
        let proxy = Self { port, requests: Arc::default(), sent: Arc::default() };
        let (requests, sent) = (proxy.requests.clone(), proxy.sent.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let faulty = requests.fetch_add(1, Ordering::SeqCst) < count;
                let (sent, on_cut) = (sent.clone(), on_cut.clone());
                std::thread::spawn(move || relay(client, faulty.then_some(fault), &sent, &*on_cut));
            }
        });
        proxy
    }

    /// Bytes that it passed on to the client.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// One connection.
fn relay(mut client: TcpStream, fault: Option<Fault>, sent: &AtomicU64, on_cut: &dyn Fn()) {
    if matches!(fault, Some(Fault::Busy)) {
        let mut request = [0; 16 * 1024];
        let _ = client.read(&mut request);
        let _ = client.write_all(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    }
    let server = world().inside(|| TcpStream::connect(("127.0.0.1", 8333)));
    let Ok(mut server) = server else { return };
    let (mut upstream, mut from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut upstream);
    });
    let mut passed = 0;
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = server.read(&mut buffer) {
        let mut count = count;
        match fault {
            Some(Fault::Cut(after) | Fault::Stall(after)) => {
                count = count.min(usize::try_from(after - passed).unwrap_or(usize::MAX));
            }
            Some(Fault::Slow) => std::thread::sleep(std::time::Duration::from_millis(20)),
            Some(Fault::WrongRange) => shift_range(&mut buffer[..count]),
            Some(Fault::Flip(after)) if (passed..passed + count as u64).contains(&after) => {
                buffer[usize::try_from(after - passed).unwrap()] ^= 1;
            }
            _ => {}
        }
        if client.write_all(&buffer[..count]).is_err() {
            break;
        }
        passed += count as u64;
        sent.fetch_add(count as u64, Ordering::SeqCst);
        match fault {
            Some(Fault::Cut(after)) if passed == after => {
                on_cut();
                break;
            }
            Some(Fault::Stall(after)) if passed == after => {
                std::thread::sleep(std::time::Duration::from_secs(60));
                break;
            }
            _ => {}
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = server.shutdown(std::net::Shutdown::Both);
}

/// `Content-Range: bytes 1…` becomes `bytes 2…`.
fn shift_range(bytes: &mut [u8]) {
    let name = b"content-range: bytes ";
    let found = bytes.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name));
    if let Some(digit) = found.and_then(|at| bytes.get_mut(at + name.len())) {
        *digit = b'0' + (*digit - b'0' + 1) % 10;
    }
}

/// A name that serves a first release from S3, and the URI of an archive of the second, which has 20 MB more.
fn second_release(stem: &str) -> (Bundle, String, u16, String) {
    let (world, name, port) = (world(), world().name(stem), world().port());
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let (archive, _) = web(&format!("{name}:1"), "one").write_into(scratch.path());
    let uri = world.put("releases", &format!("{name}.tar"), &archive);
    let service = format!("image: {{archive: \"{uri}\"}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    let mut bundle = Bundle::container(&name, &service, "health: {http: /healthz, timeout: 20s}");
    bundle.hook("ApplicationStart").exits(0);
    let padding = 20_000_000 + u64::from(port);
    let (archive, id) = web(&format!("{name}:2"), "two").padding(padding).write_into(scratch.path());
    world.put("releases", &format!("{name}.tar"), &archive);
    bundle.deployment("d-TEST00002");
    (bundle, name, port, id)
}

#[test]
fn a_connection_that_is_cut_again_and_again_goes_on_at_the_byte_where_it_broke() {
    let (world, name, port) = (world(), world().name("cut"), world().port());
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let (archive, id) = web(&format!("{name}:1"), "whole").padding(8_000_000).write_into(scratch.path());
    let size = std::fs::metadata(&archive).unwrap().len();
    let uri = world.put("releases", &format!("{name}.tar"), &archive);
    let proxy = Proxy::start(8, Fault::Cut(1_500_000));
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
    let proxy = Proxy::start(usize::MAX, Fault::Cut(40));
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
    let proxy = Proxy::start_with(1, Fault::Cut(700_000), move || drop(world.put("releases", &key, &other)));
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

#[test]
fn busy_stalled_slow_and_cut_connections_delay_a_deployment_and_nothing_else() {
    let faults = [
        ("busy", 6, Fault::Busy),
        ("stall", 2, Fault::Stall(900_000)),
        ("slow", 2, Fault::Slow),
        ("tenth", 10, Fault::Cut(2_000_000)),
    ];
    for (stem, count, fault) in faults {
        let (mut bundle, name, port, id) = second_release(stem);
        let proxy = Proxy::start(count, fault);
        bundle.env("AWS_ENDPOINT_URL_S3", &proxy.url());

        bundle.hook("ApplicationStart").exits(0);

        assert_eq!(world().get(port, "/").as_deref(), Some("two"), "{stem}");
        assert_eq!(world().config_digest(&name), id, "{stem}: not one byte was mixed up");
    }
}

#[test]
fn answers_of_another_range_and_bytes_that_changed_on_the_way_are_refused_and_the_old_container_stays() {
    let cases =
        [("range", Fault::WrongRange, "was asked for `bytes "), ("flip", Fault::Flip(700_000), "it is damaged")];
    for (stem, fault, said) in cases {
        let (mut bundle, name, port, _) = second_release(stem);
        let old = world().running(&name);
        let proxy = Proxy::start(usize::MAX, fault);
        bundle.env("AWS_ENDPOINT_URL_S3", &proxy.url());

        bundle.hook("ApplicationStart").exits(6).says(said);

        assert_eq!(world().running(&name), old, "{stem}");
        assert_eq!(world().get(port, "/").as_deref(), Some("one"), "{stem}");
        let images = world().docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let half = |tag: &&str| **tag == format!("{name}:2") || tag.starts_with(&format!("balehook/{name}:part-"));
        assert_eq!(images.lines().find(half), None, "{stem}");
    }
}

/// A proxy that cuts connections where they are at certain bytes of the object, once at each.
pub struct Cuts {
    port: u16,
    left: Arc<Mutex<Vec<u64>>>,
}

impl Cuts {
    fn start(at: Vec<u64>) -> Self {
        let port = world().port();
        let listener = world().inside(|| TcpListener::bind(("127.0.0.1", port)).unwrap());
        let cuts = Self { port, left: Arc::new(Mutex::new(at)) };
        let left = cuts.left.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let left = left.clone();
                std::thread::spawn(move || relay_until_cut(client, &left));
            }
        });
        cuts
    }
}

/// One connection: answers say themselves where in the object they begin.
fn relay_until_cut(mut client: TcpStream, left: &Mutex<Vec<u64>>) {
    let server = world().inside(|| TcpStream::connect(("127.0.0.1", 8333)));
    let Ok(mut server) = server else { return };
    let (mut upstream, mut from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut upstream);
    });
    let mut at = 0;
    let mut buffer = [0; 16 * 1024];
    while let Ok(mut count @ 1..) = server.read(&mut buffer) {
        let mut head = 0;
        if buffer.starts_with(b"HTTP/1.1 ") {
            let text = String::from_utf8_lossy(&buffer[..count]).to_lowercase();
            head = text.find("\r\n\r\n").map_or(count, |end| end + 4);
            let range =
                text[..head.min(text.len())].split_once("content-range: bytes ").map(|(_, rest)| rest.to_owned());
            at = range.and_then(|range| range.split('-').next()?.parse().ok()).unwrap_or(u64::MAX / 2);
        }
        let body = (count - head) as u64;
        let found = {
            let mut left = left.lock().unwrap();
            let found = left.iter().position(|cut| (at..at + body).contains(cut));
            found.map(|found| left.remove(found))
        };
        if let Some(cut) = found {
            count = head + usize::try_from(cut - at).unwrap();
        }
        if client.write_all(&buffer[..count]).is_err() || found.is_some() {
            break;
        }
        at += body;
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = server.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_transfer_that_is_cut_at_every_tenth_of_the_object_is_gone_on_with_at_each() {
    let (mut bundle, name, port, id) = second_release("tenths");
    // The archive has 22 MB: its first two layers and their end.
    let cuts = Cuts::start((1..10).map(|tenth| tenth * 2_200_000).collect());
    bundle.env("AWS_ENDPOINT_URL_S3", &format!("http://127.0.0.1:{}", cuts.port));

    bundle.hook("ApplicationStart").exits(0);

    assert_eq!(*cuts.left.lock().unwrap(), Vec::<u64>::new(), "it was cut nine times");
    assert_eq!(world().get(port, "/").as_deref(), Some("two"));
    assert_eq!(world().config_digest(&name), id, "not one byte was mixed up");
}

/// The old container runs as before, and no image of the second release is there, whole or in part.
fn untouched(name: &str, old: &str, port: u16) {
    assert_eq!(world().running(name), old);
    assert_eq!(world().get(port, "/").as_deref(), Some("one"));
    let images = world().docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let half = |tag: &&str| **tag == format!("{name}:2") || tag.starts_with(&format!("balehook/{name}:part-"));
    assert_eq!(images.lines().find(half), None, "{name}");
}

#[test]
fn a_server_that_stays_busy_is_given_up_and_the_old_container_is_untouched() {
    let (mut bundle, name, port, _) = second_release("overload");
    let old = world().running(&name);
    let proxy = Proxy::start(usize::MAX, Fault::Busy);
    bundle.env("AWS_ENDPOINT_URL_S3", &proxy.url());

    bundle.hook("ApplicationStart").exits(6).says("S3 throttles requests for ").says("deploy to fewer hosts at once");

    untouched(&name, &old, port);
}

#[test]
fn a_transfer_that_does_not_end_is_given_up_when_the_hooks_time_is_up() {
    let (mut bundle, name, port, _) = second_release("forever");
    let old = world().running(&name);
    let text = std::fs::read_to_string(bundle.path().join("appspec.yml")).unwrap();
    bundle.appspec(&text.replace("timeout: 60}", "timeout: 12}"));
    let proxy = Proxy::start(usize::MAX, Fault::Stall(900_000));
    bundle.env("AWS_ENDPOINT_URL_S3", &proxy.url());

    bundle.hook("ApplicationStart").exits(9);

    untouched(&name, &old, port);
}

#[test]
fn an_object_that_is_replaced_midway_leaves_the_old_container_and_no_mixture() {
    let (mut bundle, name, port, _) = second_release("midway");
    let old = world().running(&name);
    let scratch = tempfile::tempdir_in(world().folder()).unwrap();
    let (other, _) = web(&format!("{name}:2"), "three").padding(20_000_000).write_into(scratch.path());
    let key = format!("{name}.tar");
    let proxy =
        Proxy::start_with(usize::MAX, Fault::Cut(5_000_000), move || drop(world().put("releases", &key, &other)));
    bundle.env("AWS_ENDPOINT_URL_S3", &proxy.url());

    bundle.hook("ApplicationStart").exits(6).says("was replaced while it was read");

    untouched(&name, &old, port);
    drop(scratch);
}
