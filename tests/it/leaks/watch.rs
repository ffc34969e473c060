//! What others on a host see while a deployment runs: the processes, and the engine's events.

use std::collections::HashMap;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::planted::{Found, Planted};
use crate::support::bundle::BINARY;

/// Looks at all processes, and at journals of events under way, until it is stopped.
pub struct Watch {
    going: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Found>,
}

impl Watch {
    pub fn start(planted: Planted, state: PathBuf) -> Self {
        let going = Arc::new(AtomicBool::new(true));
        let goes = going.clone();
        let thread = std::thread::spawn(move || {
            let (mut found, mut looks) = (Found::new(), HashMap::new());
            while goes.load(Ordering::Relaxed) {
                processes(&planted, &mut looks, &mut found);
                for file in ["journal.json", "begun"].map(|name| state.join(name)) {
                    planted.look("journal under way", &std::fs::read(file).unwrap_or_default(), &mut found);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            found
        });
        Self { going, thread }
    }

    pub fn stop(self) -> Found {
        self.going.store(false, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A process is looked at so often: by then it has become what it is started for.
const LOOKS: u32 = 25;

/// Every argument list; the environment of what balehook has started.
fn processes(planted: &Planted, looks: &mut HashMap<u32, u32>, found: &mut Found) {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let looked = looks.entry(pid).or_default();
        *looked += 1;
        if *looked > LOOKS {
            continue;
        }
        let file = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let name = String::from_utf8_lossy(&file("comm")).trim().to_owned();
        planted.look(&format!("arguments of {name}"), &file("cmdline"), found);
        if is_child_of_ours(pid) {
            planted.look("environment of a child", &file("environ"), found);
        }
    }
}

/// Whether balehook is above a process. What the agent gave balehook itself is not its own doing.
fn is_child_of_ours(pid: u32) -> bool {
    let parent = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse::<u32>().ok()
    };
    let is_ours = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(BINARY));
    std::iter::successors(parent(pid), |pid| parent(*pid)).take_while(|pid| *pid > 1).any(|pid| is_ours(&pid))
        && !is_ours(&pid)
}

/// `docker events` of an engine, from now on.
pub struct Events(Child, PathBuf);

impl Events {
    pub fn of(docker_host: &str, folder: &Path) -> Self {
        let path = folder.join("events");
        let file = std::fs::File::create(&path).unwrap();
        let mut docker = Command::new("/usr/bin/docker");
        docker.args(["events", "--format", "{{json .}}"]).env("DOCKER_HOST", docker_host).stdin(Stdio::null());
        Self(docker.stdout(file).spawn().unwrap(), path)
    }

    pub fn stop(mut self) -> String {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        std::fs::read_to_string(&self.1).unwrap()
    }
}

/// A journal that keeps what it is sent, and the program as systemd would start it, connected to it.
pub struct Journal {
    folder: PathBuf,
    entries: Arc<Mutex<Vec<u8>>>,
}

impl Journal {
    pub fn start(folder: &Path) -> Self {
        let (folder, entries) = (folder.join("journal"), Arc::<Mutex<Vec<u8>>>::default());
        std::fs::create_dir(&folder).unwrap();
        let socket = UnixDatagram::bind(folder.join("socket")).unwrap();
        let kept = entries.clone();
        std::thread::spawn(move || {
            let mut entry = vec![0; 256 * 1024];
            while let Ok(length) = socket.recv(&mut entry) {
                kept.lock().unwrap().extend_from_slice(&entry[..length]);
            }
        });
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = --version ] && exec '{BINARY}' --version\n\
             exec unshare --mount --propagation=private sh -c '\n\
             mount -t tmpfs none /run && mkdir -p /run/systemd/journal && mount --bind \"$0\" /run/systemd/journal || exit 70\n\
             exec >\"$0/stream\" 2>&1\n\
             JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) exec \"$@\"' '{}' '{BINARY}' \"$@\"\n",
            folder.display()
        );
        let program = folder.join("balehook");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self { folder, entries }
    }

    /// For `BALEHOOK_BIN`.
    pub fn program(&self) -> String {
        self.folder.join("balehook").to_str().unwrap().to_owned()
    }

    /// What it was sent, and what was printed beside it.
    pub fn entries(&self) -> Vec<u8> {
        let printed = std::fs::read(self.folder.join("stream")).unwrap_or_default();
        [self.entries.lock().unwrap().as_slice(), &printed].concat()
    }
}
