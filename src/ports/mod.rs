//! Switching host ports in the kernel: the rules are written as a whole from what the engine has on record.
//!
//! The record is the engine's own: the labels, names and addresses of its containers. So any event of any name, and
//! `resume`, write the same rules, and nothing but the engine can be lost.

pub(crate) mod conflict;
pub mod facts;
pub(crate) mod observe;
pub mod operation;
pub(crate) mod rules;
pub(crate) mod tables;
pub(crate) mod taken;

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;

use bollard::models::{ContainerSummary, Ipam, IpamConfig, NetworkCreateRequest};

use crate::engine;
use crate::engine::{Engine, label};
use crate::error::{Failure, Kind};
use crate::folder::Folder;
use crate::poll;
use crate::ports::facts::NetworkFacts;
use crate::ports::operation::{NETWORK, gateway, ip_range};
use crate::ports::rules::{Family, Route};
use crate::ports::tables::Iptables;
use crate::values::forward::SwitchedPorts;
use crate::values::labels::LABEL_NAME;
use crate::values::names::old_name;
use crate::values::types::Name;

/// The lock of the rules, in the state directory; it is there once a port was switched.
const LOCK: &str = ".ports.lock";

/// How long another writer of the rules may take.
const LOCK_LIMIT: Duration = Duration::from_secs(20);

/// Whether the kernel was ever given rules here.
pub(crate) fn were_switched(state_dir: &Path) -> bool {
    state_dir.join(LOCK).exists()
}

/// The lock of the rules, in the state directory.
pub(crate) fn lock_file(state_dir: &Path) -> PathBuf {
    state_dir.join(LOCK)
}

/// Whether rules of ours are in the kernel's tables. `were_switched`: the tables must be readable, to know it.
pub(crate) async fn has_rules(engine: &Engine, were_switched: bool) -> Result<bool, Failure> {
    match removal(engine).await {
        Ok((_, texts)) => Ok(!texts.is_empty()),
        Err((why, next)) if were_switched => Err(Failure::new(Kind::Container, why).next(next)),
        Err(_) => Ok(false),
    }
}

/// Removes every rule of ours: no port is switched any more.
/// Errors: [`Kind::Container`] with what iptables said; the rules are as they were then.
pub(crate) async fn remove_rules(engine: &Engine, state_dir: &Path) -> Result<(), Failure> {
    let _lock = if were_switched(state_dir) { Some(lock(state_dir).await?) } else { None };
    let found = removal(engine).await;
    let (iptables, texts) = found.map_err(|(why, next)| Failure::new(Kind::Container, why).next(next))?;
    for (family, text) in texts {
        iptables.restore(family, &text).await?;
    }
    match has_rules(engine, true).await? {
        false => Ok(()),
        true => Err(Failure::new(Kind::Container, "the rules are still in the kernel's tables".to_owned())
            .next("does another program write the tables? iptables-save shows them")),
    }
}

/// What takes our rules out of the tables, for each family that has any.
async fn removal(engine: &Engine) -> Result<(Iptables, Vec<(Family, String)>), (String, String)> {
    let iptables = tables::find(&engine.waits).await?;
    let network = observe::unknown();
    let mut texts = Vec::new();
    for family in [Family::V6, Family::V4] {
        // A host without IPv6 has no tables of it.
        let Ok(tables) = iptables.tables(family).await else { continue };
        texts.push((family, tables.transaction(family, &network, &[])));
    }
    texts.retain(|(_, text)| !text.is_empty());
    Ok((iptables, texts))
}

/// Leads the ports of `name` to a container, or closes them. The rules of every other name are written as the engine
/// has them on record.
/// Errors: [`Kind::Container`] with what iptables said; the rules are as they were then.
pub(crate) async fn switch(
    engine: &Engine,
    state_dir: &Path,
    network: &NetworkFacts,
    name: &str,
    to: Option<&SwitchedPorts>,
) -> Result<(), Failure> {
    let _lock = lock(state_dir).await?;
    let mut routes = recorded(&engine.list().await?);
    routes.retain(|route| route.name != name);
    routes.extend(to.map(|to| Route { name: name.to_owned(), to: to.clone() }));
    routes.sort_by(|a, b| a.name.cmp(&b.name));
    let iptables = match tables::find(&engine.waits).await {
        Ok(iptables) => iptables,
        // Without tables there is nothing of ours in them.
        Err(_) if routes.is_empty() => return Ok(()),
        Err((why, next)) => return Err(Failure::new(Kind::Container, why).next(next)),
    };
    if !routes.is_empty() {
        answer_loopback(&network.bridge)?;
    }
    for family in [Family::V6, Family::V4] {
        let has_family = family == Family::V4 || network.subnet6.is_some();
        let tables = match iptables.tables(family).await {
            Ok(tables) => tables,
            Err(said) if has_family => return Err(unreadable(said)),
            // A host without IPv6 has no tables of it.
            Err(_) => continue,
        };
        let text = tables.transaction(family, network, if has_family { &routes } else { &[] });
        if !text.is_empty() {
            iptables.restore(family, &text).await?;
        }
    }
    match routes.iter().find(|route| route.name == name) {
        Some(route) => took(&iptables, network, route).await,
        None => Ok(()),
    }
}

/// A program that says that it has written rules need not have: the kernel is asked.
async fn took(iptables: &Iptables, network: &NetworkFacts, route: &Route) -> Result<(), Failure> {
    let why = match iptables.tables(Family::V4).await {
        Ok(tables) if tables.switch_to(Family::V4, network, route) => return Ok(()),
        Ok(_) => {
            "iptables-restore says that it has written the rules, and they are not in the kernel's tables".to_owned()
        }
        Err(why) => format!("the rules were written and cannot be read: {}", why.unwrap_or_default()),
    };
    Err(Failure::new(Kind::Container, why).next("does another program write the tables? iptables-save shows them"))
}

/// `said`: what iptables said; `None` where there is no such program.
fn unreadable(said: Option<String>) -> Failure {
    let why = said.unwrap_or_else(|| "iptables-save is missing".into());
    Failure::new(Kind::Container, format!("the kernel's tables cannot be read: {why}"))
        .next("run `iptables-save` as root")
}

/// One writer at a time, from reading the record to writing the rules: until the file is dropped.
async fn lock(state_dir: &Path) -> Result<File, Failure> {
    let path = state_dir.join(LOCK);
    let failed = |why: String| Failure::new(Kind::State, format!("cannot lock {}: {why}", path.display()));
    let opened =
        Folder::open(state_dir).and_then(|folder| folder.file(OsStr::new(LOCK), OFlag::O_WRONLY | OFlag::O_CREAT));
    let file = opened.map_err(|error| failed(error.to_string()))?;
    let locked = poll::until(LOCK_LIMIT, Duration::from_millis(10), async || match file.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(error.to_string())),
    });
    locked.await?.ok_or_else(|| failed(format!("another deployment has held it for {LOCK_LIMIT:?}")))?;
    Ok(file)
}

/// The kernel drops answers to 127.0.0.1 that come from outside, unless this interface is said to have some.
fn answer_loopback(bridge: &str) -> Result<(), Failure> {
    let path = observe::route_localnet(bridge);
    if observe::answers_loopback(bridge) {
        return Ok(());
    }
    std::fs::write(&path, "1\n").map_err(|error| {
        Failure::new(Kind::Container, format!("cannot write {}: {error}", path.display()))
            .next("does the network's interface exist? docker network inspect balehook")
    })
}

/// Where the ports of every name lead, by the engine's record: to the container that bears the name, or to the one
/// that is set aside while two change names.
pub(crate) fn recorded(all: &[ContainerSummary]) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for wanted in [|name: &Name| name.to_string(), |name: &Name| old_name(name)] {
        for container in all {
            let Some(name) = label(container, LABEL_NAME).and_then(|name| name.parse::<Name>().ok()) else {
                continue;
            };
            let is_known = all.iter().any(|other| engine::name_of(other) == name.as_str())
                && engine::name_of(container) != name.as_str();
            let Some(to) = SwitchedPorts::from_labels(|key| label(container, key)) else { continue };
            if engine::name_of(container) == wanted(&name) && !is_known {
                routes.push(Route { name: name.to_string(), to });
            }
        }
    }
    routes
}

/// Creates a container with an address on our network that no other name's container has. The engine itself checks that
/// when it is started: two names that deploy at once may have found the same address free.
/// Errors: [`Kind::Container`], overtaken: another name has it by now. Then none is created. Else those of `create`.
pub(crate) async fn create_alone(
    engine: &Engine,
    state_dir: &Path,
    at: &str,
    name: &Name,
    create: impl Future<Output = Result<String, Failure>>,
) -> Result<String, Failure> {
    let _lock = lock(state_dir).await?;
    let all = engine.list().await?;
    if let Some((theirs, _)) = others(&all, name.as_str()).find(|(_, switched)| switched.addresses() == at) {
        let message = format!("{theirs} took the address {at} on network {NETWORK} in this moment");
        return Err(Failure::new(Kind::Container, message).next("deploy again").overtaken());
    }
    create.await
}

/// The other names whose ports are switched, and where each of their containers is, running or not.
fn others(all: &[ContainerSummary], name: &str) -> impl Iterator<Item = (String, SwitchedPorts)> {
    let others = all.iter().filter(move |other| label(other, LABEL_NAME).as_deref() != Some(name));
    others.filter_map(|other| {
        let theirs = label(other, LABEL_NAME).unwrap_or_else(|| engine::name_of(other));
        Some((theirs, SwitchedPorts::from_labels(|key| label(other, key))?))
    })
}

/// Creates our network; one that is there already with the same subnet is as good.
pub(crate) async fn create_network(engine: &Engine, state_dir: &Path, wanted: &NetworkFacts) -> Result<(), Failure> {
    // Of two names at once one finds what the other has created: while that is being done, its subnet is only taken.
    let _alone = lock(state_dir).await?;
    let (address, prefix) = wanted.subnet;
    let v4 = IpamConfig {
        subnet: Some(format!("{address}/{prefix}")),
        ip_range: Some(ip_range(wanted)),
        gateway: Some(gateway(wanted).to_string()),
        ..IpamConfig::default()
    };
    let v6 = wanted
        .subnet6
        .map(|(address, prefix)| IpamConfig { subnet: Some(format!("{address}/{prefix}")), ..IpamConfig::default() });
    let request = NetworkCreateRequest {
        name: NETWORK.to_owned(),
        driver: Some("bridge".into()),
        enable_ipv6: wanted.subnet6.map(|_| true),
        ipam: Some(Ipam { config: Some([v4].into_iter().chain(v6).collect()), ..Ipam::default() }),
        options: Some([("com.docker.network.bridge.name".to_owned(), wanted.bridge.clone())].into()),
        ..NetworkCreateRequest::default()
    };
    let Err(error) = engine.create_network(request).await else { return Ok(()) };
    match observe::network(engine).await? {
        Some((Ok(found), _)) if found.subnet == wanted.subnet => Ok(()),
        _ if !error.is_refusal() => Err(error.failure_of(Kind::Engine, "create a network")),
        _ => Err(error
            .failure_of(Kind::Container, &format!("create network {NETWORK}"))
            .next("name a free subnet in BALEHOOK_SUBNET, or create the network yourself")),
    }
}
