//! Who stopped a container: the engine's API does not say it, its own record on the disk does.

use std::path::Path;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, RestartPolicyNameEnum};
use jiff::Timestamp;
use serde_json::Value;

use crate::engine::Engine;
use crate::engine::facts::ContainerFacts;
use crate::poll;
use crate::values::text::seconds;

/// How often a container that is being stopped is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// A container whose stop an engine has begun is waited for so much longer than it may take, and no longer than
/// [`LONGEST`].
const MARGIN: Duration = Duration::from_secs(2);

/// The longest that a container which is being stopped is waited for.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether the container was stopped by hand (`docker stop`, `docker kill`), and the engine leaves it so when it starts
/// itself. An engine that ends, one that is killed, and a host that loses its power, stop nothing in that sense. False where
/// the record cannot be read.
///
/// Source: moby, container/container.go, `HasBeenManuallyStopped`; daemon/daemon.go, `restore`.
pub(crate) async fn by_hand(engine: &Engine, container: &ContainerFacts) -> bool {
    is_by_hand(engine, container).await.unwrap_or(false)
}

async fn is_by_hand(engine: &Engine, container: &ContainerFacts) -> Option<bool> {
    let (mark, folder) = (mark(engine, container)?, container.folder.as_deref()?);
    let container = engine.inspect(&container.id).await.ok()??;
    let policy = container.host_config?.restart_policy.and_then(|policy| policy.name);
    if !mark.is_set || policy == Some(RestartPolicyNameEnum::ALWAYS) {
        return Some(false);
    }
    let ended = container.state.and_then(|state| state.finished_at?.parse().ok());
    Some(!is_start(engine, folder.parent()?.parent()?, ended).await)
}

/// Waits for the end of those of `containers` that run and that an engine has begun to stop: it goes on doing so when the
/// client that asked is gone. A signal by hand (`docker kill --signal HUP`) leaves the same mark, and no end comes: a mark
/// that is older than a stop can be is not waited for. Whether any was waited for.
pub(crate) async fn wait_for_stops(engine: &Engine, containers: &[ContainerFacts]) -> bool {
    let mut is_any = false;
    for (container, limit) in stopping(engine, containers) {
        is_any = true;
        let words = |waited| format!("{} has been stopping for {}", container.name, seconds(waited));
        let runs = async || engine.inspect(&container.id).await.ok().flatten().is_some_and(|found| is_running(&found));
        engine.waits.on(words, poll::while_open(limit, INTERVAL, |runs| *runs, runs)).await;
    }
    is_any
}

/// Those of `containers` that run and that an engine is stopping, each with how long that can still take.
pub(super) fn stopping<'a>(
    engine: &Engine,
    containers: &'a [ContainerFacts],
) -> impl Iterator<Item = (&'a ContainerFacts, Duration)> {
    containers.iter().filter(|container| container.is_running()).filter_map(|container| {
        let mark = mark(engine, container).filter(|mark| mark.is_set)?;
        let limit = (container.stop_grace + MARGIN).min(LONGEST).saturating_sub(mark.age);
        (!limit.is_zero()).then_some((container, limit))
    })
}

pub(crate) fn is_running(container: &ContainerInspectResponse) -> bool {
    container.state.as_ref().and_then(|state| state.running).unwrap_or_default()
}

/// What an engine's own record says of a container.
struct Mark {
    /// It is being stopped or was stopped, or was sent a signal: the engine writes that down before it sends the signal, and
    /// takes it back when the container is started.
    is_set: bool,
    /// How long ago the record was written.
    age: Duration,
}

fn mark(engine: &Engine, container: &ContainerFacts) -> Option<Mark> {
    if !engine.address.starts_with("unix://") {
        return None;
    }
    let path = container.folder.as_ref()?.join("config.v2.json");
    let age = std::fs::metadata(&path).ok()?.modified().ok()?.elapsed().unwrap_or_default();
    let record: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some(Mark { is_set: record["HasBeenManuallyStopped"].as_bool()?, age })
}

/// Whether that was while the engine started. The containers of an engine that was killed live on; the next one stops them
/// as it starts, and marks them as stopped by hand (seen with 20.10 and 28.5). Its folder for temporary files is made anew
/// before that, its default network after it, and only then it answers.
async fn is_start(engine: &Engine, root: &Path, at: Option<Timestamp>) -> bool {
    let began = std::fs::metadata(root.join("tmp")).and_then(|folder| folder.created());
    let began = began.ok().and_then(|began| Timestamp::try_from(began).ok());
    let bridge = engine.network("bridge").await.ok().flatten();
    let ready = bridge.and_then(|bridge| bridge.created?.parse::<Timestamp>().ok());
    matches!((began, at, ready), (Some(began), Some(at), Some(ready)) if began <= at && at <= ready)
}
