//! A proxy on the engine's socket that forwards, and refuses, holds or cuts the requests that a test names.
//!
//! A request is named by a pattern with `*` of its method, its path without the API's version, and its query:
//! `POST /containers/*/rename?name=web`. Every request gets a connection of its own to the engine.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::world::{wait_until, world};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It never reaches the engine: this status and message are the answer.
    Refuse(u16, &'static str),
    /// It never reaches the engine, and there is no answer until [`EngineProxy::release`].
    Hold,
    /// The engine does it, but its answer does not come before [`EngineProxy::release`].
    HoldAnswer,
    /// As [`Fault::Hold`], and from here on every request of anybody.
    Stop,
    /// The connection is closed without an answer.
    Cut,
}

/// Which of the requests that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All.
    Every,
    /// The one of this number, counted from 1.
    Only(usize),
    /// That one and all later ones.
    From(usize),
}

struct Rule {
    pattern: String,
    which: Which,
    fault: Fault,
    matched: usize,
    struck: usize,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    seen: Vec<String>,
    stopped: bool,
    /// Counts the releases: who is held waits for the next one.
    released: usize,
}

/// What a watcher makes of a request, after it held it for as long as it liked.
pub enum Verdict {
    /// It goes to the engine.
    Forward,
    /// It goes to the engine; this is called when the answer begins, and says whether the answer is passed on.
    Answer(Box<dyn FnOnce() -> bool + Send>),
    /// The connection is closed without an answer.
    Cut,
}

type Watcher = dyn Fn(&str) -> Verdict + Send + Sync;

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    watcher: Box<Watcher>,
}

/// The proxy. It goes with the test process.
pub struct EngineProxy {
    socket: PathBuf,
    shared: Arc<Shared>,
}

impl EngineProxy {
    /// A proxy in front of an engine (`unix://…`) that forwards everything as yet.
    pub fn start(engine: &str) -> Self {
        Self::watched(engine, |_| Verdict::Forward)
    }

    /// The same; every request without a fault is shown to `watcher` first.
    pub fn watched(engine: &str, watcher: impl Fn(&str) -> Verdict + Send + Sync + 'static) -> Self {
        let engine = PathBuf::from(engine.strip_prefix("unix://").unwrap());
        let socket = world().folder().join(format!("{}.sock", world().name("proxy")));
        let listener = UnixListener::bind(&socket).unwrap();
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), watcher: Box::new(watcher) });
        let proxy = Self { socket, shared: shared.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (shared, engine) = (shared.clone(), engine.clone());
                std::thread::spawn(move || serve(client, &engine, &shared));
            }
        });
        proxy
    }

    /// Its `DOCKER_HOST`.
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// From now on these requests have this fault; of several rules that match the first one counts.
    pub fn on(&self, pattern: &str, which: Which, fault: Fault) -> &Self {
        let rule = Rule { pattern: pattern.to_owned(), which, fault, matched: 0, struck: 0 };
        self.shared.state.lock().unwrap().rules.push(rule);
        self
    }

    /// Forgets the rules, and lets go what is held: the requests themselves, and the answers.
    pub fn release(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.rules.clear();
        state.stopped = false;
        state.released += 1;
        self.shared.changed.notify_all();
    }

    /// How many requests had a fault.
    pub fn struck(&self) -> usize {
        self.shared.state.lock().unwrap().rules.iter().map(|rule| rule.struck).sum()
    }

    /// Waits until a request has a fault; half a minute at most.
    #[track_caller]
    pub fn wait_for_fault(&self) {
        wait_until(Duration::from_secs(30), || self.struck() > 0, || format!("no fault in {:#?}", self.seen()));
    }

    /// Waits until a request was seen that matches; half a minute at most.
    #[track_caller]
    pub fn wait_for(&self, pattern: &str) {
        let is_seen = || self.seen().iter().any(|request| matches(pattern, request));
        wait_until(Duration::from_secs(30), is_seen, || format!("no {pattern} in {:#?}", self.seen()));
    }

    /// Every request so far, in the order in which they came: `POST /containers/create?name=web`.
    pub fn seen(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().seen.clone()
    }
}

impl Shared {
    /// Writes a request down; its fault, and the releases before it.
    fn fault(&self, request: &str) -> (Option<Fault>, usize) {
        let mut state = self.state.lock().unwrap();
        state.seen.push(request.to_owned());
        let mut fault = state.stopped.then_some(Fault::Hold);
        for rule in state.rules.iter_mut().filter(|rule| matches(&rule.pattern, request)) {
            rule.matched += 1;
            let strikes = match rule.which {
                Which::Every => true,
                Which::Only(number) => rule.matched == number,
                Which::From(number) => rule.matched >= number,
            };
            if strikes && fault.is_none() {
                rule.struck += 1;
                fault = Some(rule.fault);
            }
        }
        state.stopped |= fault == Some(Fault::Stop);
        (fault, state.released)
    }

    fn wait_for_release(&self, before: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.released == before).unwrap());
    }
}

/// One connection, which has one request: its answer says `Connection: close`.
fn serve(mut client: UnixStream, engine: &Path, shared: &Shared) -> Option<()> {
    let (head, mut rest) = read_head(&mut client)?;
    let request = name(&head);
    let (fault, before) = shared.fault(&request);
    match fault {
        None => match (shared.watcher)(&request) {
            Verdict::Forward => relay(client, engine, &head, &rest, || true),
            Verdict::Answer(answers) => relay(client, engine, &head, &rest, answers),
            Verdict::Cut => None,
        },
        Some(Fault::Cut) => None,
        Some(Fault::Refuse(status, message)) => {
            // Who is answered while it still writes takes that for a broken connection.
            read_body(&mut client, &head, &rest)?;
            let body = serde_json::json!({ "message": message }).to_string();
            let head = format!("HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\nConnection: close");
            write!(client, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()
        }
        Some(Fault::HoldAnswer) => relay(client, engine, &head, &rest, || {
            shared.wait_for_release(before);
            true
        }),
        Some(Fault::Hold | Fault::Stop) => {
            shared.wait_for_release(before);
            // Who went away meanwhile asks for nothing any more.
            rest.extend(waiting_bytes(&mut client)?);
            relay(client, engine, &head, &rest, || true)
        }
    }
}

/// What a client has sent by now; `None` when it is gone.
fn waiting_bytes(client: &mut UnixStream) -> Option<Vec<u8>> {
    let mut buffer = [0; 16 * 1024];
    client.set_nonblocking(true).ok()?;
    let found = client.read(&mut buffer);
    client.set_nonblocking(false).ok()?;
    match found {
        Ok(0) => None,
        Ok(count) => Some(buffer[..count].to_vec()),
        Err(error) => (error.kind() == std::io::ErrorKind::WouldBlock).then(Vec::new),
    }
}

/// The head of a request with its empty line, and what of the body came with it.
fn read_head(client: &mut UnixStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Some((String::from_utf8(bytes).ok()?, rest));
        }
        match client.read(&mut buffer).ok()? {
            0 => return None,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Reads what is to come of a request's body, whose length its head says.
fn read_body(client: &mut UnixStream, head: &str, rest: &[u8]) -> Option<()> {
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    let missing = usize::saturating_sub(length, rest.len());
    client.read_exact(&mut vec![0; missing]).ok()
}

/// `POST /containers/web/start`, of a request's head.
fn name(head: &str) -> String {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // Clients that know the version ask for `/v1.41/containers/json`.
    let is_version =
        |first: &str| first.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let path = match path.trim_start_matches('/').split_once('/') {
        Some((first, rest)) if is_version(first) => format!("/{rest}"),
        _ => path.to_owned(),
    };
    format!("{method} {path}")
}

/// Forwards a request and its answer, which is passed on after `answers`, unless that says no.
fn relay(mut client: UnixStream, engine: &Path, head: &str, rest: &[u8], answers: impl FnOnce() -> bool) -> Option<()> {
    let mut server = UnixStream::connect(engine).ok()?;
    let is_upgrade = head.lines().any(|line| line.to_lowercase().starts_with("upgrade:"));
    let lines = head.trim_end().split("\r\n");
    let is_kept = |line: &&str| is_upgrade || !line.to_lowercase().starts_with("connection:");
    let mut forwarded: String = lines.filter(is_kept).map(|line| format!("{line}\r\n")).collect();
    if !is_upgrade {
        forwarded.push_str("Connection: close\r\n");
    }
    server.write_all(format!("{forwarded}\r\n").as_bytes()).ok()?;
    server.write_all(rest).ok()?;
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let mut first = [0; 16 * 1024];
    let count = server.read(&mut first).ok()?;
    if answers() {
        client.write_all(&first[..count]).ok()?;
        let _ = std::io::copy(&mut server, &mut client);
    }
    let _ = client.shutdown(Shutdown::Both);
    Some(())
}

/// Whether a text is as a pattern says, whose `*` stand for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| matches(after, &rest[at..]))
        }),
    }
}

#[test]
fn patterns_match_the_whole_request_and_the_apis_version_is_no_part_of_it() {
    let request = name("POST /v1.41/containers/0a/rename?name=web HTTP/1.1\r\nHost: docker\r\n\r\n");
    assert_eq!(request, "POST /containers/0a/rename?name=web");
    assert_eq!(name("GET /version HTTP/1.1\r\n\r\n"), "GET /version");
    assert_eq!(name("GET /volumes/x HTTP/1.1\r\n\r\n"), "GET /volumes/x");
    assert!(matches("POST /containers/*/rename?name=web", &request) && matches("*", &request));
    assert!(!matches("POST /containers/*/rename", &request) && !matches("GET *", &request));
}
