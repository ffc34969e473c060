//! Other containers that live in a namespace of one that is replaced: they lose it, and a restart cannot give them the new one's.

use std::fs;
use std::path::Path;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use serde_json::Value;

use crate::engine;
use crate::engine::facts::ContainerFacts;

/// What may be shared, by the engine's own record of a container. Volumes of `--volumes-from` are mounted by their names, and stay.
/// Source: moby, api/types/container, `HostConfig`.
const NAMESPACES: [(&str, &str); 3] =
    [("NetworkMode", "network"), ("PidMode", "pid namespace"), ("IpcMode", "ipc namespace")];

/// One container, and what it has of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharing {
    /// As `container sidecar (0123456789ab)`.
    pub who: String,
    /// The ID of the one whose namespaces it uses.
    pub of: String,
    /// As `network`.
    pub what: Vec<&'static str>,
}

/// Who of `all` uses what of `ours`. An engine of this host has it on the disk; its list has networks alone.
pub(crate) fn sharing(all: &[ContainerSummary], ours: &[ContainerFacts]) -> Vec<Sharing> {
    let root = ours.iter().find_map(|container| container.folder.as_deref()?.parent());
    let is_other = |one: &&ContainerSummary| {
        one.state == Some(ContainerSummaryStateEnum::RUNNING)
            && !ours.iter().any(|container| Some(container.id.as_str()) == one.id.as_deref())
    };
    let mut found = Vec::new();
    for other in all.iter().filter(is_other) {
        let record = root.and_then(|root| record(root, other.id.as_deref()?)).unwrap_or_else(|| {
            let mode = other.host_config.as_ref().and_then(|host| host.network_mode.clone());
            serde_json::json!({ "NetworkMode": mode })
        });
        for container in ours {
            let is_shared = |key: &str| record[key].as_str().and_then(|mode| mode.strip_prefix("container:"));
            let is_its = |key: &str| is_shared(key).is_some_and(|of| of == container.id || of == container.name);
            let what: Vec<_> = NAMESPACES.iter().filter(|(key, _)| is_its(key)).map(|(_, what)| *what).collect();
            if !what.is_empty() {
                found.push(Sharing { who: engine::describe(other), of: container.id.clone(), what });
            }
        }
    }
    found
}

fn record(root: &Path, id: &str) -> Option<Value> {
    serde_json::from_slice(&fs::read(root.join(id).join("hostconfig.json")).ok()?).ok()
}

/// What a person must do once `container` is replaced or removed.
pub(crate) fn notes<'a>(sharing: &'a [Sharing], container: &'a ContainerFacts) -> impl Iterator<Item = String> + 'a {
    sharing.iter().filter(|sharing| sharing.of == container.id).map(|sharing| {
        let (who, what, name) = (&sharing.who, sharing.what.join(" and "), &container.name);
        format!("{who} uses the {what} of {name} and loses it: create it anew afterwards, `docker restart` looks for the old {name}")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn other(id: &str, mode: &str) -> ContainerSummary {
        let host = serde_json::json!({ "NetworkMode": mode });
        let all = serde_json::json!({ "Id": id, "Names": [format!("/{id}")], "State": "running", "HostConfig": host });
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn who_shares_a_namespace_is_read_from_the_engines_folder_and_otherwise_from_its_list() {
        let folder = tempfile::tempdir().unwrap();
        let all = [other("one", "container:web1"), other("two", "bridge"), other("web1", "bridge")];
        let web =
            |folder| ContainerFacts { id: "web1".into(), name: "web".into(), folder, ..ContainerFacts::default() };
        let said = |folder| {
            let web = web(folder);
            notes(&sharing(&all, std::slice::from_ref(&web)), &web).collect::<Vec<_>>()
        };
        let rest = "of web and loses it: create it anew afterwards, `docker restart` looks for the old web";
        assert_eq!(said(None), [format!("container one (one) uses the network {rest}")]);

        fs::create_dir(folder.path().join("two")).unwrap();
        let record = r#"{"NetworkMode": "bridge", "PidMode": "container:web1", "IpcMode": "container:web1"}"#;
        fs::write(folder.path().join("two/hostconfig.json"), record).unwrap();
        let kept = Some(folder.path().join("web1"));
        let both = format!("container two (two) uses the pid namespace and ipc namespace {rest}");
        assert_eq!(said(kept), [format!("container one (one) uses the network {rest}"), both]);
    }
}
