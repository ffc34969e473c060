//! A client beside the world: another network namespace, joined to the world's by a pair of interfaces.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::world::world;

/// The world's address as the client sees it.
pub const HOST: &str = "203.0.113.1";
/// The client's address.
pub const CLIENT: &str = "203.0.113.2";
/// The world's address over IPv6.
pub const HOST6: &str = "fd00:113::1";
/// The client's over IPv6.
pub const CLIENT6: &str = "fd00:113::2";

/// After so long without an answer a request has failed.
const LIMIT: Duration = Duration::from_secs(10);

struct Outside {
    _keeper: Child,
    pid: u32,
}

fn outside() -> &'static Outside {
    static OUTSIDE: OnceLock<Outside> = OnceLock::new();
    OUTSIDE.get_or_init(|| {
        let mut keeper = Command::new("unshare");
        let keeper = keeper.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pid = keeper.id();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let namespace = format!("/proc/{pid}/ns/net");
        world().wait_for("a namespace", || std::fs::read_link(&namespace).is_ok_and(|other| other != own));
        let (net, peer) = (format!("--net={namespace}"), pid.to_string());
        let ip = |command: &mut Command, line: &str| {
            let output = command.args(line.split(' ')).output().unwrap();
            assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
        };
        for line in [
            &format!("link add client0 type veth peer name eth0 netns {peer}"),
            "address add 203.0.113.1/24 dev client0",
            "address add fd00:113::1/64 dev client0 nodad",
            "link set client0 up",
        ] {
            ip(&mut world().command("ip"), line);
        }
        for line in [
            "link set lo up",
            "address add 203.0.113.2/24 dev eth0",
            "address add fd00:113::2/64 dev eth0 nodad",
            "link set eth0 up",
        ] {
            ip(Command::new("nsenter").args([&net, "--", "ip"]), line);
        }
        Outside { _keeper: keeper, pid }
    })
}

/// Runs `work` on a thread of the client's network.
pub fn from_outside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let namespace = std::fs::File::open(format!("/proc/{}/ns/net", outside().pid)).unwrap();
    std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            nix::sched::setns(namespace.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        entered.join().unwrap()
    })
}

/// A connection that stays open.
pub struct Connection(TcpStream);

impl Connection {
    /// Opens one.
    pub fn open(address: &str, port: u16) -> Result<Self, String> {
        let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
        let stream = TcpStream::connect_timeout(&address, LIMIT).map_err(|error| format!("connect: {error}"))?;
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Ok(Self(stream))
    }

    /// The answer's body.
    pub fn get(&mut self, path: &str) -> Result<String, String> {
        write!(self.0, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").map_err(|error| format!("write: {error}"))?;
        let mut text = String::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    return Ok(body.trim().to_owned());
                }
            }
            match self.0.read(&mut buffer) {
                Ok(0) => return Err("closed".into()),
                Ok(count) => text.push_str(&String::from_utf8_lossy(&buffer[..count])),
                Err(error) => return Err(format!("read: {error}")),
            }
        }
    }
}

/// One request on a connection of its own.
pub fn get(address: &str, port: u16, path: &str) -> Result<String, String> {
    Connection::open(address, port)?.get(path)
}

/// One datagram, from a port of the client's choice; the answer.
pub fn ask_udp(socket: &UdpSocket, address: &str, port: u16) -> Option<String> {
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.send_to(b"?", (address, port)).ok()?;
    let mut buffer = [0; 64];
    let count = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// What a prober saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests that were answered.
    pub answered: usize,
    /// What went wrong, and when.
    pub failed: Vec<String>,
    /// The answers in the order in which they first came.
    pub versions: Vec<String>,
    /// The longest time from one answer to the next.
    pub gap: Duration,
}

/// One request to a port, again and again, from where it is to be answered.
#[derive(Clone, Copy)]
pub struct Question {
    /// From the client's network, or from the world's own.
    from_outside: bool,
    is_udp: bool,
    address: &'static str,
    port: u16,
}

impl Question {
    /// Over TCP, from outside.
    pub const fn tcp(address: &'static str, port: u16) -> Self {
        Self { from_outside: true, is_udp: false, address, port }
    }

    /// Over UDP, from outside.
    pub const fn udp(address: &'static str, port: u16) -> Self {
        Self { is_udp: true, ..Self::tcp(address, port) }
    }

    /// The same from the host itself.
    pub const fn on_the_host(self) -> Self {
        Self { from_outside: false, ..self }
    }

    fn ask(&self) -> Result<String, String> {
        match self.is_udp {
            false => get(self.address, self.port, "/"),
            // A new port of the client's each time, as a new connection has one.
            true => {
                let socket = UdpSocket::bind("0.0.0.0:0").map_err(|error| error.to_string())?;
                ask_udp(&socket, self.address, self.port).ok_or_else(|| "no answer over UDP".into())
            }
        }
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}/{}", self.address, self.port, if self.is_udp { "udp" } else { "tcp" })
    }
}

/// An answer, and when it came.
type Answer = (Result<String, String>, Duration);

/// Asks `port` in an open loop, a new connection every 10 ms whatever became of the others, while `work` runs.
pub fn probing<T>(port: u16, work: impl FnOnce() -> T) -> (T, Seen) {
    probing_at(HOST, port, work)
}

/// The same by an address of the world's.
pub fn probing_at<T>(address: &'static str, port: u16, work: impl FnOnce() -> T) -> (T, Seen) {
    let (done, answers) = asking(&[Question::tcp(address, port); 4], work);
    (done, seen(answers.into_iter().flatten().collect()))
}

/// The same of several ports by turns; what was seen of each.
pub fn probing_each<T>(questions: &[Question], work: impl FnOnce() -> T) -> (T, Vec<Seen>) {
    let (done, answers) = asking(questions, work);
    (done, answers.into_iter().map(seen).collect())
}

fn asking<T>(questions: &[Question], work: impl FnOnce() -> T) -> (T, Vec<Vec<Answer>>) {
    const PERIOD: Duration = Duration::from_millis(10);
    outside();
    let turn = PERIOD * u32::try_from(questions.len()).unwrap();
    let going = AtomicBool::new(true);
    let began = Instant::now();
    let one = |question: &Question, mut due: Instant| {
        let mut all = Vec::new();
        while going.load(Ordering::Relaxed) {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            all.push((question.ask(), began.elapsed()));
            due += turn;
        }
        all
    };
    let one = &one;
    std::thread::scope(|scope| {
        let threads = (0..).zip(questions).map(|(number, question)| {
            let work = move || one(question, began + PERIOD * number);
            scope.spawn(move || if question.from_outside { from_outside(work) } else { world().inside(work) })
        });
        let threads: Vec<_> = threads.collect();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        going.store(false, Ordering::Relaxed);
        let all = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        match done {
            Ok(done) => (done, all),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn seen(mut all: Vec<Answer>) -> Seen {
    all.sort_by_key(|(_, at)| *at);
    let mut seen = Seen::default();
    let mut last = all.first().map(|(_, at)| *at).unwrap_or_default();
    for (answer, at) in all {
        match answer {
            Ok(version) => {
                seen.answered += 1;
                seen.gap = seen.gap.max(at - last);
                last = at;
                if !seen.versions.contains(&version) {
                    seen.versions.push(version);
                }
            }
            Err(why) => seen.failed.push(format!("{at:?}: {why}")),
        }
    }
    seen
}
