//! What is asked of an application, and what it has answered so far.

use std::fmt;
use std::time::{Duration, Instant};

use crate::config::probe::of_service;
use crate::config::{GrpcProbe, HttpProbe, Probe};
use crate::engine::Engine;
use crate::health::check::HealthCheck;
use crate::health::{grpc, http, probe};
use crate::values::text::seconds;

/// From then on an answer that has not come makes those before it doubtful.
const OVERDUE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Http(HttpProbe),
    Tcp(String),
    Grpc(GrpcProbe),
    /// The HEALTHCHECK of a container, by exec.
    Command {
        container: String,
        command: Vec<String>,
        limit: Duration,
    },
}

impl Ask {
    /// What `probe` asks from this host; a path is asked of `published`. `None` where it asks nothing, or nobody.
    pub(crate) fn of(probe: &Probe, published: impl FnOnce() -> Option<String>) -> Option<Self> {
        match probe {
            Probe::Auto => None,
            Probe::Http(request) if request.path().is_some() => {
                let published = published()?;
                Some(Self::Http(request.at(&published, &published)))
            }
            Probe::Http(request) => Some(Self::Http(request.clone())),
            Probe::Grpc(asked) => Some(Self::Grpc(asked.clone())),
            Probe::Tcp(port) if port.starts_with(':') => Some(Self::Tcp(format!("127.0.0.1{port}"))),
            Probe::Tcp(address) => Some(Self::Tcp(address.clone())),
        }
    }

    /// Asks once: the answer in one clause. The error is why it is not good.
    pub(crate) async fn put(&self, engine: &Engine) -> Result<String, String> {
        match self {
            Self::Http(request) => http::ask(request).await,
            Self::Grpc(asked) => grpc::ask(asked).await,
            Self::Tcp(address) => probe::tcp(address).await,
            Self::Command { container, command, limit } => probe::command(engine, container, command, *limit).await,
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(request) => write!(f, "{} {}", request.method(), request.address),
            Self::Grpc(asked) => write!(f, "gRPC health{} at {}", of_service(&asked.service), asked.address),
            Self::Tcp(address) => write!(f, "TCP {address}"),
            Self::Command { command, .. } => write!(f, "HEALTHCHECK `{}`", command.join(" ")),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Question {
    /// What stands before it in a report: `service db: `.
    pub(crate) of: String,
    pub(crate) ask: Ask,
    /// When it was asked last.
    asked_at: Option<Instant>,
    is_under_way: bool,
    asked: u32,
    first: Instant,
    last: Option<Last>,
    /// The last good answer, and how long it took.
    said: Option<(String, Duration)>,
}

/// The last answer, with those before it that were the same.
#[derive(Debug)]
struct Last {
    answer: Result<(), String>,
    times: u32,
    since: Instant,
}

impl Question {
    pub(crate) fn new(of: String, ask: Ask) -> Self {
        Self { of, ask, asked_at: None, is_under_way: false, asked: 0, first: Instant::now(), last: None, said: None }
    }

    /// Whether it was not asked for `pause`, and nobody waits for an answer.
    pub(crate) fn is_due(&self, pause: Duration) -> bool {
        !self.is_under_way && self.asked_at.is_none_or(|at| at.elapsed() >= pause)
    }

    pub(crate) fn asks(&mut self) -> Ask {
        let now = Instant::now();
        if self.asked_at.is_none() {
            self.first = now;
        }
        (self.asked_at, self.is_under_way) = (Some(now), true);
        self.ask.clone()
    }

    pub(crate) fn answered(&mut self, answer: Result<String, String>) {
        let took = self.asked_at.map(|at| at.elapsed()).unwrap_or_default();
        let answer = answer.map(|said| self.said = Some((said, took)));
        let since = if answer.is_ok() { Instant::now() } else { self.asked_at.unwrap_or_else(Instant::now) };
        (self.asked, self.is_under_way) = (self.asked + 1, false);
        match &mut self.last {
            Some(last) if last.answer == answer => last.times += 1,
            last => *last = Some(Last { answer, times: 1, since }),
        }
    }

    /// What was asked, and the last good answer: `GET http://127.0.0.1:80/: 200 OK: ready, in 3 ms`.
    pub(crate) fn said(&self) -> Option<String> {
        let (said, took) = self.said.as_ref()?;
        Some(format!("{}{}: {said}, in {} ms", self.of, self.ask, took.as_millis()))
    }

    pub(crate) fn is_good(&self, successes: u32) -> bool {
        self.last.as_ref().is_some_and(|last| last.answer.is_ok() && last.times >= successes)
    }

    /// Whether these go back long enough too, and the next one is not overdue.
    pub(crate) fn is_stable(&self, wanted: &HealthCheck) -> bool {
        self.is_good(wanted.successes)
            && self.last.as_ref().is_some_and(|last| last.since.elapsed() >= wanted.stable_for)
            && self.overdue().is_none()
    }

    /// How long the answer is waited for, where that is long.
    fn overdue(&self) -> Option<Duration> {
        self.asked_at.filter(|_| self.is_under_way).map(|at| at.elapsed()).filter(|waited| *waited > OVERDUE)
    }

    pub(crate) fn is_bad(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.answer.is_err())
    }

    /// What was asked, and what was answered in the end: `GET http://127.0.0.1:80/: good 3 times, asked 5 times in 2 s`.
    pub(crate) fn summary(&self) -> String {
        let times = |times: u32| if times == 1 { "once".into() } else { format!("{times} times") };
        let answer = match self.last.as_ref().map(|last| (&last.answer, last.times)) {
            None => "no answer".to_owned(),
            Some((Ok(()), good)) => format!("good {}", times(good)),
            Some((Err(why), bad)) => format!("{why} ({})", times(bad)),
        };
        format!("{}{}: {answer}, asked {} in {}", self.of, self.ask, times(self.asked), seconds(self.first.elapsed()))
    }

    /// What was asked, the last answer, how often and since when:
    /// `GET http://127.0.0.1:80/: cannot connect: Connection refused (41 times in 20 s)`.
    pub(crate) fn describe(&self, wanted: &HealthCheck) -> String {
        let Some(last) = &self.last else {
            return format!("{}: no answer within {}", self.ask, seconds(self.first.elapsed()));
        };
        let times = |times: u32| if times == 1 { "once".into() } else { format!("{times} times") };
        let (row, all) = (last.since.elapsed(), self.first.elapsed());
        let more = if self.asked > last.times {
            format!(", asked {} in {}", times(self.asked), seconds(all))
        } else {
            String::new()
        };
        match (&last.answer, self.overdue()) {
            (Ok(()), Some(waited)) => {
                format!("{}: no answer for {} (good {} before)", self.ask, seconds(waited), times(last.times))
            }
            (Err(why), _) => format!("{}: {why} ({} in {}{more})", self.ask, times(last.times), seconds(row)),
            (Ok(()), None) => format!(
                "{}: good answers, but not {} (good {} in {}{more})",
                self.ask,
                wanted_row(wanted),
                times(last.times),
                seconds(row)
            ),
        }
    }
}

fn wanted_row(wanted: &HealthCheck) -> String {
    match (wanted.successes, wanted.stable_for) {
        (successes, Duration::ZERO) => format!("{successes} in a row"),
        (0 | 1, stable) => format!("for {stable:?}"),
        (successes, stable) => format!("{successes} in a row and for {stable:?}"),
    }
}
