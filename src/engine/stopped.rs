//! Who stopped a container: the engine's API does not say it, its own record on the disk does.

use std::path::Path;

use bollard::models::RestartPolicyNameEnum;
use serde_json::Value;

use crate::engine::Engine;

/// Whether somebody stopped the container (`docker stop`, `docker kill`), and the engine leaves it so when it starts
/// itself. An engine that ends, and a host that loses its power, stop nothing in that sense. False where the record
/// cannot be read.
///
/// Source: moby, container/container.go, `HasBeenManuallyStopped`; daemon/daemon.go, `restore`.
pub(crate) async fn by_hand(engine: &Engine, id: &str) -> bool {
    is_by_hand(engine, id).await.unwrap_or(false)
}

async fn is_by_hand(engine: &Engine, id: &str) -> Option<bool> {
    if !engine.address.starts_with("unix://") {
        return None;
    }
    let policy = engine.inspect(id).await.ok()??.host_config?.restart_policy.and_then(|policy| policy.name);
    let root = engine.info().await.ok()?.docker_root_dir?;
    let record = Path::new(&root).join("containers").join(id).join("config.v2.json");
    let record: Value = serde_json::from_slice(&std::fs::read(record).ok()?).ok()?;
    Some(record["HasBeenManuallyStopped"].as_bool()? && policy != Some(RestartPolicyNameEnum::ALWAYS))
}
