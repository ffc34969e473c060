//! Whether a service is as wanted: the digest of a request, and what was changed by hand.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::modes;
use crate::modes::swarm::facts::SwarmFacts;
use crate::modes::swarm::operation::ServiceRequest;
use crate::modes::swarm::plan::line;
use crate::modes::swarm::plan::service_spec::is_nothing;
use crate::values::labels::LABEL_SPEC;
use crate::values::pin::ImagePin;
use crate::values::types::EnvVar;

/// What the engine fills in or counts itself, and what differs from node to node.
const PASSED_OVER: &[&str] = &[
    "TaskTemplate.ForceUpdate",
    "TaskTemplate.Runtime",
    "TaskTemplate.ContainerSpec.Isolation",
    "TaskTemplate.ContainerSpec.Image",
    "TaskTemplate.ContainerSpec.Env",
];

/// The digest of a request, the same on every manager. The number of replicas counts only where the file sets it.
pub fn digest(image: &ImagePin, spec: &Value, environment: &[EnvVar], says_replicas: bool) -> String {
    let mut leaves = canonical(spec, &BTreeMap::new());
    if !says_replicas {
        leaves.remove("Mode.Replicated.Replicas");
    }
    let text = format!("{}\n{leaves:?}\n{:?}", image.identity(), texts(environment));
    modes::facts::spec_digest(&text).to_string()
}

/// Whether a service is exactly what the request wants: nothing is sent then.
pub fn is_same(request: &ServiceRequest, seen: &SwarmFacts) -> bool {
    let Some(service) = &seen.service else { return false };
    let live = service.spec.reveal();
    let task = &live["TaskTemplate"]["ContainerSpec"];
    let wanted_image = match &request.image {
        ImagePin::Registry { .. } => Some(request.image.argument()),
        ImagePin::Content { .. } | ImagePin::Unread { .. } | ImagePin::Unknown { .. } => seen.image_id.clone(),
    };
    let env: Vec<String> =
        task["Env"].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect();
    service.spec.label(LABEL_SPEC) == Some(&request.digest)
        && wanted_image.is_none_or(|image| task["Image"] == *image)
        && env == texts(&request.environment)
        && canonical(live, &names(seen)) == canonical(&request.spec, &BTreeMap::new())
}

/// Options of the service as it is that the request does not have.
pub fn dropped(request: &ServiceRequest, seen: &SwarmFacts) -> Vec<Vec<String>> {
    let Some(service) = &seen.service else { return Vec::new() };
    let hidden = |name: &str| request.environment.iter().any(|var| var.name == name && var.hidden);
    let named = with_names(service.spec.reveal(), &names(seen));
    let wanted = request.options();
    let is_ours = |option: &[String]| option.get(1).is_some_and(|value| value.starts_with("balehook."));
    let mut dropped = line::live_options(&named, &hidden);
    dropped.retain(|option| !wanted.contains(option) && !is_ours(option));
    dropped
}

/// Options of the request that the service does not have.
pub fn added(request: &ServiceRequest, seen: &SwarmFacts) -> Vec<Vec<String>> {
    let Some(service) = &seen.service else { return Vec::new() };
    let hidden = |name: &str| request.environment.iter().any(|var| var.name == name && var.hidden);
    let live = line::live_options(&with_names(service.spec.reveal(), &names(seen)), &hidden);
    let is_ours = |option: &[String]| option.get(1).is_some_and(|value| value.starts_with("balehook."));
    let mut added = request.options();
    added.retain(|option| !live.contains(option) && !is_ours(option) && option[0] != "--with-registry-auth");
    added
}

fn names(seen: &SwarmFacts) -> BTreeMap<String, String> {
    seen.networks.iter().map(|(name, id)| (id.clone(), name.clone())).collect()
}

fn texts(environment: &[EnvVar]) -> Vec<String> {
    environment.iter().map(variable).collect()
}

/// A variable as the engine is given it.
pub fn variable(var: &EnvVar) -> String {
    match &var.value {
        Some(value) => format!("{}={}", var.name, value.reveal()),
        None => var.name.clone(),
    }
}

/// The same spec with networks by their names.
fn with_names(spec: &Value, names: &BTreeMap<String, String>) -> Value {
    let mut spec = spec.clone();
    for network in spec["TaskTemplate"]["Networks"].as_array_mut().into_iter().flatten() {
        if let Some(name) = network["Target"].as_str().and_then(|id| names.get(id)) {
            network["Target"] = name.clone().into();
        }
    }
    spec
}

/// Every value with its path, without what the engine takes for "not given".
fn canonical(spec: &Value, names: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    collect("", &with_names(spec, names), &mut leaves);
    leaves
}

fn collect(path: &str, value: &Value, leaves: &mut BTreeMap<String, String>) {
    if PASSED_OVER.contains(&path) || path.starts_with("Labels.balehook.") {
        return;
    }
    match value {
        Value::Object(entries) => {
            if path == "Mode.Global" {
                leaves.insert(path.to_owned(), "{}".to_owned());
            }
            for (name, value) in entries.iter().filter(|(name, _)| !matches!(name.as_str(), "SecretID" | "ConfigID")) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(&path, value, leaves);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| collect(&format!("{path}[{at}]"), item, leaves));
        }
        _ if path == "EndpointSpec.Mode" && value == "vip" => {}
        _ if path.ends_with(".Parallelism") || path.ends_with(".Replicas") || !is_nothing(value) => {
            leaves.insert(path.to_owned(), number(value));
        }
        _ => {}
    }
}

/// `0.5` and `0.50`, and `1` and `1.0`, are the same.
fn number(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.as_i64().is_none() => number.to_string(),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_engine_fills_in_is_no_difference_and_a_value_by_hand_is() {
        let sent = json!({ "Mode": { "Global": {} }, "EndpointSpec": { "Mode": "vip" },
            "TaskTemplate": { "Networks": [{ "Target": "front" }] }, "UpdateConfig": { "Parallelism": 0 } });
        let mut live = json!({ "Mode": { "Global": {} }, "Labels": { "balehook.deployment": "d-1" },
            "EndpointSpec": { "Mode": "vip", "Ports": [] }, "UpdateConfig": { "Parallelism": 0, "MaxFailureRatio": 0 },
            "TaskTemplate": { "Networks": [{ "Target": "abc" }], "ForceUpdate": 3, "Runtime": "container",
                "ContainerSpec": { "Isolation": "default", "DNSConfig": {}, "Init": false } } });
        let names = BTreeMap::from([("abc".to_owned(), "front".to_owned())]);
        assert_eq!(canonical(&live, &names), canonical(&sent, &names));
        for (pointer, value) in [
            ("/TaskTemplate/ContainerSpec/Hostname", json!("by-hand")),
            ("/UpdateConfig/Parallelism", json!(1)),
            ("/TaskTemplate/Networks/0/Target", json!("other")),
            ("/Labels/by.hand", json!("yes")),
        ] {
            let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
            let before = live.clone();
            if let Some(parent) = live.pointer_mut(parent) {
                match parent.as_array_mut() {
                    Some(items) => items[0]["Target"] = value,
                    None => parent[key] = value,
                }
            }
            assert_ne!(canonical(&live, &names), canonical(&sent, &names), "{pointer}");
            live = before;
        }
    }

    #[test]
    fn a_global_service_is_not_a_replicated_one_of_none() {
        let global = json!({ "Mode": { "Global": {} } });
        assert_ne!(canonical(&global, &BTreeMap::new()), canonical(&json!({}), &BTreeMap::new()));
    }
}
