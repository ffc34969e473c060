//! What was changed by hand since a release was deployed, and how that is taken back.

use crate::engine::Engine;
use crate::modes::changeable::NETWORKS;
use crate::modes::release::Release;
use crate::modes::{compose, container, swarm};
use crate::values::options::{ChangeKind, OptionChange};
use crate::values::types::Name;

/// How what runs differs from its release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Drift {
    /// From what was deployed to what is now.
    pub(crate) changes: Vec<OptionChange>,
    /// What to do, and what the next deployment does.
    pub(crate) back: Vec<String>,
}

/// The name of a change: another tool made the container.
pub(crate) const CONTAINER: &str = "container";

/// The name of a change: the kernel's rules of a port.
pub(crate) const RULES: &str = "port rules";

/// The name of a change: how many containers a service has.
pub(crate) const SCALE: &str = "scale";

/// What differs from the release that was deployed last; `None` where that cannot be known: nothing runs, an older balehook
/// saved it, or another manager of the swarm deployed since.
pub(crate) async fn drift(engine: &Engine, name: &Name, releases: &[Release]) -> Option<Drift> {
    let release = releases.first()?;
    let part = &release.part;
    if let Some(kept) = &part.container {
        let changes = container::drift::changes(engine, name, release, kept).await?;
        return Some(Drift { back: back_of_container(name, &changes), changes });
    }
    if part.compose.is_some() {
        let changes = compose::drift::changes(engine, name, release).await?;
        return Some(Drift { back: back_of_project(&changes), changes });
    }
    let changes = swarm::drift::changes(engine, name, releases).await?;
    let back = match changes.is_empty() {
        true => Vec::new(),
        false => vec!["deploy again: the service is updated to what its revision says".to_owned()],
    };
    Some(Drift { changes, back })
}

impl Drift {
    /// The kernel's rules do not lead `ports` to the container.
    pub(crate) fn rules_are_gone(&mut self, ports: &[String]) {
        self.changes.push(OptionChange {
            kind: ChangeKind::Change,
            service: None,
            name: RULES.to_owned(),
            was: Some(ports.join(" ")),
            becomes: Some("not in place".to_owned()),
            is_sensitive: false,
        });
        self.back.push("`balehook resume --ports` writes the rules again".to_owned());
    }

    /// Whether what bears the name is not the container that was deployed.
    pub(crate) fn is_unmanaged(&self) -> bool {
        self.changes.iter().any(|change| change.name == CONTAINER && change.service.is_none())
    }
}

fn back_of_container(name: &Name, changes: &[OptionChange]) -> Vec<String> {
    if changes.iter().any(|change| change.name == CONTAINER) {
        return vec!["deploy again: this container is replaced".to_owned()];
    }
    let networks = changes.iter().filter_map(|change| {
        let network = change.name.strip_prefix(NETWORKS)?;
        let verb = if change.kind == ChangeKind::Add { "disconnect" } else { "connect" };
        Some(format!("`docker network {verb} {network} {name}` takes it back at once"))
    });
    let mut back: Vec<String> = networks.collect();
    if changes.iter().any(|change| !change.name.starts_with(NETWORKS)) {
        back.push("`docker update` takes it back at once".to_owned());
    }
    if !changes.is_empty() {
        back.push("a deployment that changes anything creates the container anew, without this".to_owned());
    }
    back
}

fn back_of_project(changes: &[OptionChange]) -> Vec<String> {
    let is_new = |change: &OptionChange| matches!(change.name.as_str(), CONTAINER | SCALE);
    let mut back = Vec::new();
    if changes.iter().any(is_new) {
        back.push("deploy again: Compose brings its services back".to_owned());
    }
    if changes.iter().any(|change| !is_new(change)) {
        back.push("`docker update` and `docker network` take it back at once".to_owned());
        back.push("a deployment that changes a service creates its containers anew, without this".to_owned());
    }
    back
}
