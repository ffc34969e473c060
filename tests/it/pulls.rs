//! Pulls that break off for a moment: the registry is asked again.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use crate::room::SmallDisk;
use crate::support::images::web;
use crate::support::world;
use crate::support::world::{command_in, get, inside};

/// What happens to a request.
#[derive(Clone, Copy)]
enum Fault {
    Answer(&'static str),
    Break,
    /// `docker image prune` runs in the middle of the answer.
    Prune,
}

/// Requests whose path has this part, so many of them.
type Faults = Arc<Mutex<Vec<(&'static str, usize, Fault)>>>;

/// An engine of its own with a registry beside it, which is reached through a port that knows faults.
struct Pulls {
    disk: Arc<SmallDisk>,
    registry: Child,
    faults: Faults,
    /// `127.0.0.1:PORT/name:1`
    image: String,
    digest: String,
    name: String,
}

const REGISTRY: u16 = 5999;
const PORT: u16 = 5998;

impl Pulls {
    fn new(stem: &str) -> Self {
        let (disk, name) = (Arc::new(SmallDisk::start()), world().name(stem));
        let yml = disk.folder().join("registry.yml");
        let root = disk.folder().join("registry");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:{REGISTRY}\"}}\n",
            root.display()
        );
        std::fs::write(&yml, text).unwrap();
        let mut registry = command_in(disk.pid(), "docker-registry");
        let registry = registry.arg("serve").arg(&yml).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pid = disk.pid();
        world().wait_for("the registry", || inside(pid, || get(REGISTRY, "/v2/")).is_some());
        let faults = Faults::default();
        serve(&disk, faults.clone());
        let image = format!("127.0.0.1:{PORT}/{name}:1");
        let archive = disk.folder().join("push.tar");
        let pushed = format!("127.0.0.1:{REGISTRY}/{name}:1");
        web(&pushed, "one").padding(3_000_000).write(&archive);
        disk.docker(&["load", "--input", archive.to_str().unwrap()]).unwrap();
        let said = disk.docker(&["push", &pushed]).unwrap();
        let digest = said.split("digest: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        disk.docker(&["rmi", "--force", &pushed]).unwrap();
        Self { disk, registry, faults, image, digest, name }
    }

    fn fails(&self, part: &'static str, times: usize, fault: Fault) {
        self.faults.lock().unwrap().push((part, times, fault));
    }

    /// Whether every fault has struck.
    fn all_struck(&self) -> bool {
        self.faults.lock().unwrap().iter().all(|(_, left, _)| *left == 0)
    }
}

impl Drop for Pulls {
    fn drop(&mut self) {
        let _ = self.registry.kill();
        let _ = self.registry.wait();
    }
}

/// Passes requests on to the registry, each on a connection of its own.
fn serve(disk: &Arc<SmallDisk>, faults: Faults) {
    let (pid, disk) = (disk.pid(), Arc::downgrade(disk));
    let listener = inside(pid, || TcpListener::bind(("127.0.0.1", PORT)).unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let (faults, disk) = (faults.clone(), disk.clone());
            std::thread::spawn(move || {
                let Some(request) = head(&mut client) else { return };
                let fault = faults.lock().unwrap().iter_mut().find_map(|(part, left, fault)| {
                    let strikes = request.lines().next()?.contains(*part) && *left > 0;
                    *left -= usize::from(strikes);
                    strikes.then_some(*fault)
                });
                match fault {
                    Some(Fault::Break) => return,
                    Some(Fault::Answer(status)) => {
                        let _ = write!(client, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                        return;
                    }
                    Some(Fault::Prune) | None => {}
                }
                let mut server = inside(pid, || TcpStream::connect(("127.0.0.1", REGISTRY)).unwrap());
                let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
                let _ = server.write_all(request.as_bytes());
                if matches!(fault, Some(Fault::Prune)) {
                    let _ = std::io::copy(&mut Read::by_ref(&mut server).take(1_000_000), &mut client);
                    disk.upgrade().unwrap().docker(&["image", "prune", "--force"]).unwrap();
                }
                let _ = std::io::copy(&mut server, &mut client);
            });
        }
    });
}

/// A request without a body. The engine tries TLS first: the connection is closed then.
fn head(client: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if client.read(&mut byte).ok()? == 0 || (bytes.is_empty() && byte[0] == 0x16) {
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            return None;
        }
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).ok()
}

#[test]
fn a_registry_that_answers_429_or_503_or_breaks_off_for_a_moment_is_asked_again() {
    let pulls = Pulls::new("again");
    let by_digest = format!("127.0.0.1:{PORT}/{}@{}", pulls.name, pulls.digest);
    for fault in [Fault::Answer("429 Too Many Requests"), Fault::Answer("503 Service Unavailable"), Fault::Break] {
        pulls.fails("/manifests/1", 1, fault);
        pulls.fails("/manifests/sha256:", 1, fault);
        let bundle = pulls.disk.bundle_of(&pulls.name, &pulls.image);

        bundle.hook("AfterInstall").exits(0);

        assert!(pulls.all_struck());
        assert!(pulls.disk.docker(&["image", "inspect", &by_digest]).is_some());
        let ids = pulls.disk.docker(&["images", "--quiet"]).unwrap();
        ids.lines().for_each(|id| drop(pulls.disk.docker(&["rmi", "--force", id])));
    }

    pulls.fails("/manifests/1", 99, Fault::Answer("503 Service Unavailable"));
    let bundle = pulls.disk.bundle_of(&pulls.name, &pulls.image);
    bundle.hook("AfterInstall").exits(6).says(&format!("cannot get {}", pulls.image)).says("503");
}

#[test]
fn a_pull_whose_content_is_pruned_meanwhile_is_begun_again() {
    let pulls = Pulls::new("leased");
    pulls.fails("/blobs/", 3, Fault::Prune);
    let bundle = pulls.disk.bundle_of(&pulls.name, &pulls.image);

    bundle.hook("ApplicationStart").exits(0);

    assert!(pulls.all_struck());
    let image = pulls.disk.docker(&["inspect", "--format", "{{.Config.Image}}", &pulls.name]).unwrap();
    assert_eq!(image.trim(), format!("127.0.0.1:{PORT}/{}@{}", pulls.name, pulls.digest));
    pulls.disk.docker(&["rm", "--force", &pulls.name]).unwrap();
}
