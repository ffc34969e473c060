//! Who stopped a container: the engine's API does not say it, its own record on the disk does.

use std::path::Path;

use bollard::models::RestartPolicyNameEnum;
use jiff::Timestamp;
use serde_json::Value;

use crate::engine::Engine;

/// Whether somebody stopped the container (`docker stop`, `docker kill`), and the engine leaves it so when it starts
/// itself. An engine that ends, one that is killed, and a host that loses its power, stop nothing in that sense. False where
/// the record cannot be read.
///
/// Source: moby, container/container.go, `HasBeenManuallyStopped`; daemon/daemon.go, `restore`.
pub(crate) async fn by_hand(engine: &Engine, id: &str) -> bool {
    is_by_hand(engine, id).await.unwrap_or(false)
}

async fn is_by_hand(engine: &Engine, id: &str) -> Option<bool> {
    if !engine.address.starts_with("unix://") {
        return None;
    }
    let container = engine.inspect(id).await.ok()??;
    let policy = container.host_config?.restart_policy.and_then(|policy| policy.name);
    let root = engine.info().await.ok()?.docker_root_dir?;
    let root = Path::new(&root);
    let record = root.join("containers").join(id).join("config.v2.json");
    let record: Value = serde_json::from_slice(&std::fs::read(record).ok()?).ok()?;
    if !record["HasBeenManuallyStopped"].as_bool()? || policy == Some(RestartPolicyNameEnum::ALWAYS) {
        return Some(false);
    }
    let ended = container.state.and_then(|state| state.finished_at?.parse().ok());
    Some(!is_start(engine, root, ended).await)
}

/// Whether that was while the engine started. The containers of an engine that was killed live on; the next one stops them
/// as it starts, and marks them as stopped by hand (seen with 20.10 and 28.5). Its folder for temporary files is made anew
/// before that, its default network after it, and only then it answers anybody.
async fn is_start(engine: &Engine, root: &Path, at: Option<Timestamp>) -> bool {
    let began = std::fs::metadata(root.join("tmp")).and_then(|folder| folder.created());
    let began = began.ok().and_then(|began| Timestamp::try_from(began).ok());
    let bridge = engine.network("bridge").await.ok().flatten();
    let ready = bridge.and_then(|bridge| bridge.created?.parse::<Timestamp>().ok());
    matches!((began, at, ready), (Some(began), Some(at), Some(ready)) if began <= at && at <= ready)
}
