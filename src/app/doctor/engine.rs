//! The engine: which one, and how it is set up.

use std::collections::BTreeMap;
use std::path::Path;

use bollard::models::{ContainerSummary, SystemInfo};

use crate::app::Context;
use crate::app::doctor::{LIMIT, apart, within};
use crate::engine::facts::EngineFacts;
use crate::engine::{self, Engine, label};
use crate::error::{Failure, Kind};
use crate::inputs;
use crate::ui::doctor::Row;
use crate::values::labels::LABEL_NAME;

/// The engine's own settings, where nobody named another file.
const DAEMON_JSON: &str = "/etc/docker/daemon.json";

/// The oldest engine that the tests run on.
const OLDEST: (u32, u32) = (1, 41);

/// The logging drivers that write without an end on this host where no limit is set.
const UNBOUNDED: &str = "json-file";

/// Of so many containers the log settings are looked at.
const MOST: usize = 32;

#[derive(Debug)]
pub(super) struct EngineSeen {
    pub(super) engine: Option<Engine>,
    /// As a person reads it: with docker's context, and what hooks ask instead.
    address: String,
    pub(super) is_local: bool,
    pub(super) hello: Result<EngineFacts, Failure>,
    pub(super) info: Result<SystemInfo, String>,
    pub(super) containers: Result<Vec<ContainerSummary>, String>,
    /// The log driver of each container of ours, and whether a size bounds it.
    pub(super) logs: BTreeMap<String, (String, bool)>,
    /// Whether the engine's own settings bound the size of a log.
    pub(super) has_limit: bool,
}

pub(super) async fn observe(context: &Context) -> EngineSeen {
    let daemon = within(apart(|| inputs::read(Path::new(DAEMON_JSON), None, 1 << 20).ok()));
    let engine = match context.engine() {
        Ok(engine) => engine,
        Err(failure) => return unreachable(String::new(), failure),
    };
    let silent = || format!("it has not answered for {} s", LIMIT.as_secs());
    let (hello, info, all, daemon) =
        tokio::join!(within(engine.hello()), within(engine.info()), within(containers(&engine)), daemon);
    let no_answer = || Failure::new(Kind::Engine, format!("the engine at {} has not answered for 4 s", engine.address));
    let (containers, logs) = all.unwrap_or_else(|| (Err(silent()), BTreeMap::new()));
    EngineSeen {
        address: described(context, &engine),
        is_local: engine.address.starts_with("unix://"),
        hello: hello.unwrap_or_else(|| Err(no_answer())),
        info: info.map_or_else(|| Err(silent()), |info| info.map_err(|error| error.message)),
        containers,
        logs,
        has_limit: daemon.flatten().flatten().is_some_and(|text| bounds_logs(&text)),
        engine: Some(engine),
    }
}

/// Hooks and the boot unit know no contexts.
fn described(context: &Context, engine: &Engine) -> String {
    match &engine.endpoint.context {
        Some(_) => format!("{}; hooks and the boot unit ask {}", engine.endpoint, context.hooks_ask()),
        None => engine.endpoint.to_string(),
    }
}

fn unreachable(address: String, failure: Failure) -> EngineSeen {
    let why = failure.message.clone();
    EngineSeen {
        engine: None,
        address,
        is_local: false,
        hello: Err(failure),
        info: Err(why.clone()),
        containers: Err(why),
        logs: BTreeMap::new(),
        has_limit: false,
    }
}

type Logs = BTreeMap<String, (String, bool)>;

async fn containers(engine: &Engine) -> (Result<Vec<ContainerSummary>, String>, Logs) {
    let all = match engine.list().await {
        Ok(all) => all,
        Err(failure) => return (Err(failure.message), Logs::new()),
    };
    let mut logs = Logs::new();
    for container in all.iter().filter(|container| label(container, LABEL_NAME).is_some()).take(MOST) {
        let found = engine.inspect(container.id.as_deref().unwrap_or_default()).await.ok().flatten();
        let Some(log) = found.and_then(|found| found.host_config?.log_config) else { continue };
        let is_bounded = log.config.is_some_and(|options| options.contains_key("max-size"));
        logs.insert(engine::name_of(container), (log.typ.unwrap_or_default(), is_bounded));
    }
    (Ok(all), logs)
}

fn bounds_logs(daemon: &[u8]) -> bool {
    let settings = serde_json::from_slice::<serde_json::Value>(daemon).unwrap_or_default();
    settings["log-opts"].get("max-size").is_some()
}

pub(super) fn rows(seen: &EngineSeen) -> Vec<Row> {
    let mut rows = vec![reached(seen)];
    match &seen.info {
        Ok(info) if seen.hello.is_ok() => {
            rows.push(live_restore(info));
            rows.push(logs(seen, info));
        }
        Err(why) if seen.hello.is_ok() => rows.push(Row::not_known("engine", format!("docker info: {why}"))),
        Ok(_) | Err(_) => {}
    }
    rows
}

fn reached(seen: &EngineSeen) -> Row {
    let facts = match &seen.hello {
        Ok(facts) => facts,
        Err(failure) => {
            let remedy = failure.next.clone().unwrap_or_else(|| "systemctl status docker".into());
            return Row::problem(Kind::Engine, "engine", &failure.message, remedy);
        }
    };
    let (major, minor) = facts.api;
    let store = seen.info.as_ref().ok().map(|info| format!(", {}", store(info))).unwrap_or_default();
    let found = format!("Docker {} (API {major}.{minor}){store}, at {}", facts.version, seen.address);
    match facts.api < OLDEST {
        true => Row::problem(Kind::Engine, "engine", found, "install Docker 20.10 or newer"),
        false => Row::ok("engine", found),
    }
}

fn store(info: &SystemInfo) -> String {
    let is_containerd =
        info.driver_status.iter().flatten().flatten().any(|word| word.contains("containerd.snapshotter"));
    let driver = info.driver.as_deref().unwrap_or("an unknown store");
    let rootless = info.security_options.iter().flatten().any(|option| option.contains("name=rootless"));
    format!("{driver}{}{}", if is_containerd { " in containerd" } else { "" }, if rootless { ", rootless" } else { "" })
}

fn live_restore(info: &SystemInfo) -> Row {
    let in_swarm = info.swarm.as_ref().is_some_and(|swarm| swarm.node_id.as_deref().is_some_and(|id| !id.is_empty()));
    match info.live_restore_enabled == Some(true) {
        true => Row::ok("live-restore", "on: containers outlive a restart of the engine"),
        false if in_swarm => Row::ok("live-restore", "off, as a swarm needs it"),
        false => Row::warning(
            "live-restore",
            "off: a restart or an update of the engine stops every container",
            format!("set \"live-restore\": true in {DAEMON_JSON}; systemctl reload docker"),
        ),
    }
}

fn logs(seen: &EngineSeen, info: &SystemInfo) -> Row {
    let driver = info.logging_driver.as_deref().unwrap_or_default();
    let unbounded = |(kind, is_bounded): &(String, bool)| kind == UNBOUNDED && !is_bounded;
    let names: Vec<&str> = seen.logs.iter().filter(|(_, log)| unbounded(log)).map(|(name, _)| name.as_str()).collect();
    let remedy = format!(
        "set `logging:` in appspec.yml, or \"log-opts\": {{\"max-size\": \"10m\", \"max-file\": \"3\"}} in {DAEMON_JSON}; \
         containers that are created after a restart of the engine have it"
    );
    match () {
        () if !names.is_empty() => {
            let found = format!("{} write json-file logs without a limit: they fill the disk", names.join(", "));
            Row::warning("container logs", found, remedy)
        }
        () if driver == UNBOUNDED && !seen.has_limit && seen.logs.is_empty() => {
            let found = "json-file is the default, and no limit was found: logs may fill the disk";
            Row::warning("container logs", found, remedy)
        }
        () => {
            Row::ok("container logs", format!("{driver} is the default; no deployed container writes without a limit"))
        }
    }
}

/// An engine with these containers, of which nothing else is known.
#[cfg(test)]
pub(super) fn with_containers(all: Vec<ContainerSummary>) -> EngineSeen {
    EngineSeen { containers: Ok(all), ..unreachable(String::new(), Failure::new(Kind::Engine, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::doctor::text;

    fn seen(info: SystemInfo, logs: &[(&str, &str, bool)]) -> EngineSeen {
        let logs = logs.iter().map(|(name, kind, is_bounded)| ((*name).to_owned(), ((*kind).to_owned(), *is_bounded)));
        EngineSeen {
            hello: Ok(EngineFacts { version: "28.5.2".into(), api: (1, 51), architecture: "amd64".into() }),
            info: Ok(info),
            containers: Ok(Vec::new()),
            logs: logs.collect(),
            is_local: true,
            ..unreachable("unix:///run/docker.sock".into(), Failure::new(Kind::Engine, ""))
        }
    }

    fn info(live_restore: bool) -> SystemInfo {
        SystemInfo {
            driver: Some("overlayfs".into()),
            driver_status: Some(vec![vec!["driver-type".into(), "io.containerd.snapshotter.v1".into()]]),
            live_restore_enabled: Some(live_restore),
            logging_driver: Some("json-file".into()),
            ..SystemInfo::default()
        }
    }

    #[test]
    fn an_engine_is_shown_with_its_store_and_what_will_hurt_later() {
        let rows = rows(&seen(info(false), &[("web", "json-file", false), ("worker", "json-file", true)]));
        assert_eq!(
            text(&rows),
            "\
ok         engine: Docker 28.5.2 (API 1.51), overlayfs in containerd, at
           unix:///run/docker.sock
warning    live-restore: off: a restart or an update of the engine stops every
           container
           next: set \"live-restore\": true in /etc/docker/daemon.json; systemctl
           reload docker
warning    container logs: web write json-file logs without a limit: they fill
           the disk
           next: set `logging:` in appspec.yml, or \"log-opts\": {\"max-size\":
           \"10m\", \"max-file\": \"3\"} in /etc/docker/daemon.json; containers that
           are created after a restart of the engine have it
1 ok, 2 warnings
"
        );
        let levels: Vec<_> =
            super::rows(&seen(info(true), &[("web", "journald", false)])).into_iter().map(|row| row.level).collect();
        assert_eq!(levels, [crate::ui::doctor::Level::Ok; 3]);
        assert!(bounds_logs(br#"{"log-opts": {"max-size": "10m"}}"#) && !bounds_logs(b"{}") && !bounds_logs(b"x"));
    }

    #[test]
    fn an_engine_that_is_away_is_one_problem_with_its_remedy() {
        let failure =
            Failure::new(Kind::Engine, "the engine at unix:///x cannot be reached: No such file").next("start it");
        let rows = rows(&unreachable("unix:///x".into(), failure));
        let problem =
            Row::problem(Kind::Engine, "engine", "the engine at unix:///x cannot be reached: No such file", "start it");
        assert_eq!(rows, [problem]);
        let old = EngineSeen {
            hello: Ok(EngineFacts { version: "19.03".into(), api: (1, 40), architecture: String::new() }),
            ..seen(info(true), &[])
        };
        assert_eq!(reached(&old).kind, Some(Kind::Engine));
    }
}
