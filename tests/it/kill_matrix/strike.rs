//! A hook that is watched while it runs its plan, and struck at one point of it.
//!
//! Which action is under way is read from the hook's own console before each of its requests to the engine is let
//! through: what it printed before it asked is read by then. Nothing here knows what an action does.

use std::fmt;
use std::io::Read as _;
use std::process::ChildStdout;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::support::Outcome;
use crate::support::bundle::Running;
use crate::support::engine_proxy::{EngineProxy, Verdict};

/// A request that takes longer is struck while the engine is at it; others when the engine has done what was asked.
const UNDER_WAY: Duration = Duration::from_millis(150);
/// How long after the deadline, or a signal, the hook is let go on.
const MOMENT: Duration = Duration::from_millis(200);

/// Where in an action it is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before its first request reaches the engine; where it makes none, when its line is printed.
    Start,
    /// The engine was asked for its change of this number, counted from 1, and the answer does not come.
    Change(usize),
    /// It makes no change through the engine, and takes its time: so long after its line was printed.
    After(Duration),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Change(number) => write!(f, "change {number}"),
            Self::After(_) => f.write_str("halfway"),
        }
    }
}

/// One point of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The action's number, counted from 1.
    pub action: usize,
    /// Where in it.
    pub place: Place,
    /// Whether the action asks the engine for anything.
    pub asks: bool,
}

/// What happens at that point.
#[derive(Clone)]
pub enum Blow {
    /// The process group is killed.
    Kill,
    /// SIGTERM, as the agent sends it.
    Term,
    /// The hook's time is up: it goes on at this instant.
    Until(Instant),
    /// Something beside the hook, which waits meanwhile. The answer that it waits for is lost.
    Beside(Arc<dyn Fn() + Send + Sync>),
}

/// What was seen of one action.
#[derive(Debug, Clone)]
pub struct Trace {
    /// As it was printed.
    pub title: String,
    /// When its line was printed, since the hook was started.
    pub began: Duration,
    /// How long it took.
    pub took: Duration,
    /// Requests to the engine, and those of them that change something.
    pub requests: usize,
    pub changes: usize,
}

/// Where the hook is, by what it printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Before,
    Action(usize),
    Undo,
}

struct Console {
    stdout: ChildStdout,
    text: Vec<u8>,
    read: usize,
    at: At,
    traces: Vec<Trace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Striking,
    Struck,
}

struct Watch {
    point: Option<Point>,
    blow: Blow,
    began: Instant,
    hook: OnceLock<(Pid, Mutex<Console>)>,
    phase: Mutex<Phase>,
    changed: Condvar,
    /// When it got its signal.
    struck_at: OnceLock<Instant>,
}

/// A watched hook.
pub struct Hook {
    running: Running,
    watch: Arc<Watch>,
    listener: std::thread::JoinHandle<()>,
    _proxy: EngineProxy,
}

/// How it went.
pub struct Seen {
    /// How the hook ended.
    pub outcome: Outcome,
    /// Whether it was struck.
    pub struck: bool,
    /// How long after its signal it ended.
    pub after: Option<Duration>,
    /// Its actions.
    pub traces: Vec<Trace>,
}

impl Hook {
    /// Starts a hook whose engine is `engine`, and which is struck at the point. `start` is given its `DOCKER_HOST`.
    pub fn start(engine: &str, point: Option<Point>, blow: Blow, start: impl FnOnce(&str) -> Running) -> Self {
        let (phase, changed) = (Mutex::new(Phase::Waiting), Condvar::new());
        let watch = Watch {
            point,
            blow,
            began: Instant::now(),
            hook: OnceLock::new(),
            phase,
            changed,
            struck_at: OnceLock::new(),
        };
        let watch = Arc::new(watch);
        let watched = watch.clone();
        let proxy = EngineProxy::watched(engine, move |request| watched.clone().asked(request));
        let mut running = start(&proxy.docker_host());
        let stdout = running.take_stdout();
        nonblocking(&stdout);
        let console = Console { stdout, text: Vec::new(), read: 0, at: At::Before, traces: Vec::new() };
        assert!(watch.hook.set((running.pid(), Mutex::new(console))).is_ok());
        let watched = watch.clone();
        let listener = std::thread::spawn(move || watched.listen());
        Self { running, watch, listener, _proxy: proxy }
    }

    /// Waits for its end.
    pub fn wait(self) -> Seen {
        let mut outcome = self.running.wait();
        let after = self.watch.struck_at.get().map(Instant::elapsed);
        self.listener.join().unwrap();
        let mut console = self.watch.console();
        console.drain(self.watch.began);
        outcome.stdout = String::from_utf8_lossy(&console.text).into_owned();
        let phase = self.watch.phase.lock().unwrap();
        let phase = self.watch.changed.wait_while(phase, |phase| *phase == Phase::Striking).unwrap();
        let struck = *phase == Phase::Struck;
        Seen { outcome, struck, after, traces: console.traces.clone() }
    }
}

fn nonblocking(stdout: &ChildStdout) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(stdout, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
}

impl Console {
    /// Reads what was printed by now; `false` at its end.
    fn drain(&mut self, began: Instant) -> bool {
        let mut buffer = [0; 16 * 1024];
        let is_open = loop {
            match self.stdout.read(&mut buffer) {
                Ok(0) => break false,
                Ok(count) => self.text.extend_from_slice(&buffer[..count]),
                Err(error) => break error.kind() == std::io::ErrorKind::WouldBlock,
            }
        };
        while let Some(length) = self.text[self.read..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.text[self.read..self.read + length]).into_owned();
            self.read += length + 1;
            self.line(&line, began.elapsed());
        }
        is_open
    }

    fn line(&mut self, line: &str, now: Duration) {
        if let Some((number, title)) = action(line) {
            self.end(now);
            self.at = At::Action(number);
            let (title, took) = (title.to_owned(), Duration::ZERO);
            self.traces.push(Trace { title, began: now, took, requests: 0, changes: 0 });
        } else if line.starts_with("[undo] ") {
            self.end(now);
            self.at = At::Undo;
        }
    }

    fn end(&mut self, now: Duration) {
        if let (At::Action(_), Some(last)) = (self.at, self.traces.last_mut()) {
            last.took = now - last.began;
        }
    }
}

/// `[3/8] docker create web`.
fn action(line: &str) -> Option<(usize, &str)> {
    let (number, title) = line.strip_prefix('[')?.split_once("] ")?;
    let (number, _) = number.split_once('/')?;
    Some((number.parse().ok()?, title))
}

impl Watch {
    fn console(&self) -> MutexGuard<'_, Console> {
        self.hook.wait().1.lock().unwrap()
    }

    /// A request is about to be forwarded.
    fn asked(self: Arc<Self>, request: &str) -> Verdict {
        let is_change = !request.starts_with("GET ") && !request.starts_with("HEAD ");
        let trace = {
            let mut console = self.console();
            console.drain(self.began);
            let At::Action(action) = console.at else { return Verdict::Forward };
            let trace = console.traces.last_mut().unwrap();
            trace.requests += 1;
            trace.changes += usize::from(is_change);
            (action, trace.requests, trace.changes)
        };
        let (action, requests, changes) = trace;
        match self.point {
            Some(Point { action: wanted, place: Place::Start, .. }) if wanted == action && requests == 1 => {
                if self.strike() { Verdict::Forward } else { Verdict::Cut }
            }
            Some(Point { action: wanted, place: Place::Change(number), .. })
                if is_change && wanted == action && number == changes =>
            {
                let (later, answered) = (self.clone(), self);
                std::thread::spawn(move || {
                    std::thread::sleep(UNDER_WAY);
                    later.strike();
                });
                Verdict::Answer(Box::new(move || answered.strike()))
            }
            _ => Verdict::Forward,
        }
    }

    /// Reads the console to its end.
    fn listen(&self) {
        while self.console().drain(self.began) {
            self.strike_without_request();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn strike_without_request(&self) {
        let Some(point) = self.point else { return };
        let after = match point.place {
            Place::Start if !point.asks => Duration::ZERO,
            Place::After(after) => after,
            Place::Start | Place::Change(_) => return,
        };
        let is_there = {
            let console = self.console();
            let began = console.traces.last().map(|trace| trace.began);
            console.at == At::Action(point.action) && began.is_some_and(|began| self.began.elapsed() >= began + after)
        };
        if is_there && *self.phase.lock().unwrap() == Phase::Waiting {
            let (pid, _) = self.hook.wait();
            if matches!(self.blow, Blow::Until(_) | Blow::Beside(_)) {
                let _ = killpg(*pid, Signal::SIGSTOP);
            }
            self.strike();
            let _ = killpg(*pid, Signal::SIGCONT);
        }
    }

    /// Strikes, once; returns when it is done. Whether the hook is to get the answer that it waits for.
    fn strike(&self) -> bool {
        let mut phase = self.phase.lock().unwrap();
        if *phase == Phase::Waiting {
            *phase = Phase::Striking;
            drop(phase);
            self.deliver();
            phase = self.phase.lock().unwrap();
            *phase = Phase::Struck;
            self.changed.notify_all();
        }
        drop(self.changed.wait_while(phase, |phase| *phase != Phase::Struck).unwrap());
        matches!(self.blow, Blow::Term | Blow::Until(_))
    }

    fn deliver(&self) {
        let (pid, _) = self.hook.wait();
        match &self.blow {
            Blow::Kill => {
                let _ = killpg(*pid, Signal::SIGKILL);
            }
            Blow::Term => {
                let _ = killpg(*pid, Signal::SIGTERM);
                let _ = self.struck_at.set(Instant::now());
                std::thread::sleep(MOMENT);
            }
            Blow::Until(instant) => std::thread::sleep(instant.saturating_duration_since(Instant::now()) + MOMENT),
            Blow::Beside(act) => act(),
        }
    }
}
