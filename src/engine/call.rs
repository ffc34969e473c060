//! How long a call to the engine may take, and why one failed.

use std::time::Duration;

use bollard::errors::Error;
use futures_util::{Stream, StreamExt as _};

use crate::engine::Engine;
use crate::engine::dial::{SAME_FILES, is_of_dialling, why_unusable};
use crate::error::{Failure, Kind, chain};
use crate::tls;
use crate::values::text::seconds;

/// How long the engine may take to answer a call, by what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Something is read.
    Question,
    /// Something is changed.
    Change,
    /// A container is stopped: the engine itself gives it so long.
    Stop(Duration),
    /// Something is asked of the swarm: its managers wait up to 20 s for a leader before they answer.
    /// Source: moby, daemon/cluster, `swarmRequestTimeout`.
    Swarm,
    /// The engine asks a registry.
    Registry,
    /// The caller knows.
    Within(Duration),
}

/// How long a load or a pull may go on without a byte or an answer.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

/// What to do about an engine that is not there.
const RUNNING: &str = "is it running (systemctl status docker), and may this user open the socket?";

/// The same on another host.
const LISTENING: &str =
    "is it running there, does it listen at that address (dockerd --host), and does a firewall let this host in?";

/// What an engine with TLS answers to a client without. Source: Go, net/http.
const SPEAKS_TLS: &str = "HTTP request to an HTTPS server";

impl Limit {
    const fn time(self) -> Duration {
        match self {
            Self::Question => Duration::from_secs(10),
            Self::Swarm | Self::Registry => Duration::from_secs(30),
            Self::Change => Duration::from_secs(60),
            Self::Stop(grace) => grace.saturating_add(Duration::from_secs(10)),
            Self::Within(time) => time,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallError {
    /// The HTTP status of its answer; `None` where there was none, or where the error came later, in the answer's body.
    pub(crate) status: Option<u16>,
    /// The engine's own words, or why there are none, in one line.
    pub(crate) message: String,
    reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Refused,
    /// Its answer is not what the API promises.
    Unreadable,
    /// With what to do.
    Unreachable(&'static str),
    /// The connection broke: what it did is not known. With what to do.
    Broken(&'static str),
    Silent(Duration),
}

impl CallError {
    pub(super) fn of(address: &str, error: &Error) -> Self {
        let new = |status, message: String, reason| Self { status, message, reason };
        let unreachable = |why: String, next| {
            new(None, format!("the engine at {address} cannot be reached: {why}"), Reason::Unreachable(next))
        };
        let running = if address.starts_with("unix://") { RUNNING } else { LISTENING };
        match error {
            Error::DockerResponseServerError { message, .. } if message.contains(SPEAKS_TLS) => unreachable(
                "it speaks TLS".to_owned(),
                "set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the folder of ca.pem, cert.pem and key.pem",
            ),
            Error::DockerResponseServerError { status_code, message } => Self::refused(Some(*status_code), message),
            Error::DockerStreamError { error } | Error::DockerContainerWaitError { error, .. } => {
                Self::refused(None, error)
            }
            Error::JsonDataError { .. } | Error::JsonSerdeError { .. } => new(None, chain(error), Reason::Unreadable),
            error if let Some(why) = why_unusable(error) => unreachable(why.to_string(), why.next),
            error if is_of_dialling(error) => unreachable(chain(error), running),
            other if let Some(why) = tls::refusal(other) => unreachable(why, SAME_FILES),
            other => {
                let message = format!("the connection to the engine at {address} broke: {}", chain(other));
                new(None, message, Reason::Broken(running))
            }
        }
    }

    pub(crate) fn refused(status: Option<u16>, words: &str) -> Self {
        Self { status, message: one_line(words), reason: Reason::Refused }
    }

    pub(super) fn unreadable(why: &dyn std::error::Error) -> Self {
        Self { status: None, message: chain(why), reason: Reason::Unreadable }
    }

    /// The engine was asked for `call`, and said nothing for so long.
    pub(super) fn silent(address: &str, call: &str, limit: Duration) -> Self {
        let message = format!("the engine at {address} has not answered `{call}` for {}", seconds(limit));
        Self { status: None, message, reason: Reason::Silent(limit) }
    }

    /// Whether the engine itself says no; otherwise it is not known what it did.
    pub(crate) fn is_refusal(&self) -> bool {
        self.reason == Reason::Refused
    }

    pub(crate) fn is_silence(&self) -> bool {
        matches!(self.reason, Reason::Silent(_))
    }

    /// How long an answer was waited for that did not come.
    pub(crate) const fn waited(&self) -> Duration {
        match self.reason {
            Reason::Silent(limit) => limit,
            Reason::Refused | Reason::Unreadable | Reason::Unreachable(_) | Reason::Broken(_) => Duration::ZERO,
        }
    }

    pub(crate) fn is_unreadable(&self) -> bool {
        self.reason == Reason::Unreadable
    }

    /// As a failure to do `what`: of `kind` where the engine says no, of the engine otherwise.
    pub(crate) fn failure_of(&self, kind: Kind, what: &str) -> Failure {
        let message = &self.message;
        match self.reason {
            Reason::Refused => Failure::new(kind, format!("cannot {what}: {message}")),
            Reason::Unreadable => {
                Failure::new(Kind::Engine, format!("cannot {what}: its answer is not understood: {message}"))
            }
            Reason::Broken(next) => Failure::new(Kind::Engine, format!("cannot {what}: {message}")).next(next),
            Reason::Unreachable(next) => Failure::new(Kind::Engine, message).next(next),
            Reason::Silent(_) => Failure::new(Kind::Engine, message)
                .next("does it answer `docker ps`? its own log: journalctl --unit docker; systemctl restart docker"),
        }
    }
}

impl Engine {
    /// Waits for the answer to `call` (as docker's command line has it: `docker start web`), no longer than its limit.
    pub(super) async fn answer<T>(
        &self,
        limit: Limit,
        call: &str,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, CallError> {
        self.within(limit.time(), call, answer).await?.map_err(|error| CallError::of(&self.address, &error))
    }

    /// Waits for anything of `call`, no longer than `limit`; it can be named while it is waited for.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        call: &str,
        answer: impl Future<Output = T>,
    ) -> Result<T, CallError> {
        let silent = |waited| CallError::silent(&self.address, call, waited);
        let absence = &self.dial.absence;
        let answer = async {
            let mut answer = std::pin::pin!(answer);
            loop {
                match tokio::time::timeout(limit, &mut answer).await {
                    // The time that it is away is not its time to answer.
                    Err(_) if absence.is_on() => {}
                    ended => break ended,
                }
            }
        };
        self.waits.on(|waited| silent(waited).message, answer).await.map_err(|_| silent(limit))
    }

    /// The items of a stream, each no later than `idle` after the one before; the last one is the error that ended it.
    pub(super) fn items<T, S>(
        &self,
        idle: Duration,
        call: String,
        stream: S,
    ) -> impl Stream<Item = Result<T, CallError>> + use<T, S>
    where
        S: Stream<Item = Result<T, Error>>,
    {
        let state = Some((self.clone(), call, Box::pin(stream)));
        futures_util::stream::unfold(state, move |state| async move {
            let (engine, call, mut stream) = state?;
            let next = async { stream.next().await.transpose() };
            match engine.answer(Limit::Within(idle), &call, next).await {
                Ok(item) => Some((Ok(item?), Some((engine, call, stream)))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
