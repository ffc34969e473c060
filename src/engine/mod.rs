//! The engine: one client of its API, with a limit for every call. bollard's calls and models on top; plain JSON where
//! its types lose fields.
//!
//! It knows neither modes nor plans. Nothing outside this folder calls bollard.

pub(crate) mod absence;
pub(crate) mod api;
mod bounded;
pub(crate) mod call;
mod containers;
pub(crate) mod creation;
mod dial;
pub mod endpoint;
mod exec;
pub mod facts;
pub(crate) mod images;
pub(crate) mod load;
pub(crate) mod logs;
mod networks;
mod registry;
pub mod request;
mod ssh;
mod starting;
pub(crate) mod stopped;
pub(crate) mod summary;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use bollard::Docker;
use bollard::models::SystemInfo;
use tokio::time::Instant;

use crate::engine::call::{CallError, Limit};
use crate::engine::dial::Dial;
use crate::engine::endpoint::Endpoint;
use crate::engine::facts::EngineFacts;
pub(crate) use crate::engine::images::{Layers, StoreFacts, layers_are};
pub(crate) use crate::engine::summary::{describe, is_labelled, is_of_a_task, label, name_of, task_containers};
use crate::error::{Failure, Kind};
use crate::waits::Waits;

/// How soon an engine that is well answers a ping.
const ALIVE: Duration = Duration::from_millis(500);

/// bollard's own limit stands back behind ours: it covers a whole upload.
const NO_LIMIT_SECONDS: u64 = u32::MAX as u64;

/// A client of an engine. Nothing is sent before the first call.
#[derive(Debug, Clone)]
pub struct Engine {
    /// As `unix:///var/run/docker.sock`.
    pub(crate) address: String,
    pub(crate) endpoint: Endpoint,
    docker: Docker,
    dial: Dial,
    /// What is waited for, for who gives it up.
    pub(crate) waits: Waits,
}

impl Engine {
    /// A client of the engine at `DOCKER_HOST` (`unix://…`, `tcp://…` or `http://…`).
    ///
    /// # Errors
    /// [`Kind::Engine`]: it is another address.
    pub fn connect(host: Option<&str>) -> Result<Self, Failure> {
        Self::at(Endpoint::plain(host)?)
    }

    /// A client of an engine.
    ///
    /// # Errors
    /// [`Kind::Engine`]: its address is none.
    pub fn at(endpoint: Endpoint) -> Result<Self, Failure> {
        let dial = Dial::new(&endpoint.way);
        let (transport, base) = (dial.clone(), dial.base());
        let docker = Docker::connect_with_custom_transport(
            move |request| transport.clone().send(request),
            Some(base),
            NO_LIMIT_SECONDS,
            bollard::API_DEFAULT_VERSION,
        );
        let address = endpoint.address.clone();
        let docker = docker
            .map_err(|error| Failure::new(Kind::Engine, format!("cannot ask an engine at {address}: {error}")))?;
        Ok(Self { address, endpoint, docker, dial, waits: Waits::default() })
    }

    /// The same; what it waits for is known to `waits`.
    #[must_use]
    pub(crate) fn with_waits(self, waits: &Waits) -> Self {
        Self { waits: waits.clone(), ..self }
    }

    /// The same; an engine that is starting or is restarted is waited for so long.
    #[must_use]
    pub(crate) fn patient(self, patience: Duration) -> Self {
        self.dial.absence.may_last(patience);
        self
    }

    /// How often the engine was away so far: what ran then may have been started again since.
    pub(crate) fn absences(&self) -> u32 {
        self.dial.absence.times()
    }

    /// Who the engine is: the first question to it. One that accepts it while it is starting is asked again.
    pub(crate) async fn hello(&self) -> Result<EngineFacts, Failure> {
        let (began, patience) = (Instant::now(), self.dial.absence.patience());
        let version = loop {
            let version = self.answer(Limit::Question, "docker version", self.docker.version()).await;
            let is_silent = version.as_ref().is_err_and(CallError::is_silence);
            if !(is_silent && began.elapsed() < patience && self.dial.is_starting().await) {
                break version;
            }
        };
        let version = version.map_err(|error| error.failure_of(Kind::Engine, "ask the engine for its version"))?;
        Ok(EngineFacts {
            version: version.version.unwrap_or_default(),
            api: version.api_version.as_deref().and_then(parse_api).unwrap_or((1, 41)),
            architecture: version.arch.unwrap_or_default(),
        })
    }

    /// Whether it answers at once, whatever is left of its time: who is to be blamed for a silence?
    pub(crate) async fn is_alive(&self) -> bool {
        tokio::time::timeout(ALIVE, self.docker.ping()).await.is_ok_and(|answer| answer.is_ok())
    }

    pub(crate) async fn info(&self) -> Result<SystemInfo, CallError> {
        self.answer(Limit::Question, "docker info", self.docker.info()).await
    }
}

fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
