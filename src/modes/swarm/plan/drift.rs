//! Whether a service is as wanted: the digest of a request, and what was changed by hand.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::modes::options::of_service;
use crate::modes::release::Release;
use crate::modes::swarm::facts::SwarmFacts;
use crate::modes::swarm::operation::ServiceRequest;
use crate::modes::swarm::plan::service_spec::is_nothing;
use crate::values::labels::LABEL_SPEC;
use crate::values::options::{OptionChange, SetOption, changes, differences};
use crate::values::pin::ImagePin;
use crate::values::types::{ContentDigest, EnvVar, Secret};

/// What the engine fills in or counts itself, and what differs from node to node.
const PASSED_OVER: &[&str] = &[
    "TaskTemplate.ForceUpdate",
    "TaskTemplate.Runtime",
    "TaskTemplate.ContainerSpec.Isolation",
    "TaskTemplate.ContainerSpec.Image",
    "TaskTemplate.ContainerSpec.Env",
];

/// The digest of a request, the same on every manager. The number of replicas counts only where the file sets it.
pub(crate) fn digest(image: &ImagePin, spec: &Value, environment: &[EnvVar], says_replicas: bool) -> String {
    let mut leaves = canonical(spec, &BTreeMap::new());
    if !says_replicas {
        leaves.remove("Mode.Replicated.Replicas");
    }
    let text = format!("{}\n{leaves:?}\n{:?}", image.identity(), compared(environment));
    ContentDigest::of(text.as_bytes()).to_string()
}

/// Whether the file sets the number of replicas, by the digest of the request.
pub(crate) fn says_replicas(request: &ServiceRequest) -> bool {
    digest(&request.image, &request.spec, &request.environment, true) == request.digest
}

/// Whether a service is exactly what the request wants: nothing is sent then.
pub(crate) fn is_same(request: &ServiceRequest, seen: &SwarmFacts) -> bool {
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

/// Options of the request that the service has otherwise, or not at all, and options that it has by others' hands.
pub(crate) fn changed_options(request: &ServiceRequest, seen: &SwarmFacts, releases: &[Release]) -> Vec<OptionChange> {
    let live = live_options(request, seen).unwrap_or_default();
    let mut changed = changes(&live, &request.options());
    if let Some(image) = changed.iter_mut().find(|change| change.name == "image") {
        let is_it = |release: &&Release| {
            image.was.as_deref() == Some(&release.observed.image_id) || image.was == Some(release.image.argument())
        };
        let saved = releases.iter().find(is_it).map(|release| release.image.describe());
        (image.was, image.becomes) = (saved.or(image.was.take()), Some(request.image.describe()));
    }
    changed
}

fn live_options(request: &ServiceRequest, seen: &SwarmFacts) -> Option<Vec<SetOption>> {
    let live = with_names(seen.service.as_ref()?.spec.reveal(), &names(seen));
    let environment = live_environment(&live, request);
    let image = live["TaskTemplate"]["ContainerSpec"]["Image"].as_str().unwrap_or_default();
    let image = if seen.image_id.as_deref() == Some(image) { &request.image.argument() } else { image };
    Some(of_service(&given("", &live), image, &environment, request.registry.as_deref()))
}

/// Values that are overwritten, and that the release whose label the service bears did not set. Of a release that is not
/// known here nothing is said.
pub(crate) fn by_hand(request: &ServiceRequest, seen: &SwarmFacts, releases: &[Release]) -> Vec<SetOption> {
    let Some(live) = live_options(request, seen) else { return Vec::new() };
    let label = seen.service.as_ref().and_then(|service| service.spec.label(LABEL_SPEC));
    let saved = match releases.iter().find(|release| label == Some(&release.spec)) {
        _ if label == Some(&request.digest) => Some(request.options()),
        Some(release) => saved_options(release),
        None => None,
    };
    let Some(saved) = saved else { return Vec::new() };
    let wanted = request.options();
    let overwritten = differences(&live, &wanted).into_iter().filter_map(|(was, _)| was);
    overwritten.filter(|set| !saved.contains(set)).cloned().collect()
}

/// The image as the service had it, which may be an ID.
fn saved_options(release: &Release) -> Option<Vec<SetOption>> {
    let mut options = release.part.swarm.as_ref()?.options();
    options.push(SetOption { name: "image".into(), value: release.observed.image_id.clone(), hidden: None });
    Some(options)
}

/// The service's variables; those that the request has from a file are hidden as there.
fn live_environment(live: &Value, request: &ServiceRequest) -> Vec<EnvVar> {
    let is_hidden = |name: &str| request.environment.iter().any(|var| var.name == name && var.hidden);
    let texts = live["TaskTemplate"]["ContainerSpec"]["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let vars = texts.map(|text| {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        EnvVar { name: name.to_owned(), value: value.map(Secret::new), hidden: is_hidden(name) }
    });
    vars.collect()
}

/// A copy without what the engine takes for "not given", or fills in itself.
fn given(path: &str, value: &Value) -> Value {
    let Value::Object(entries) = value else { return value.clone() };
    let members = entries.iter().map(|(name, value)| (name, join(path, name), value));
    let kept = members.filter(|(_, path, value)| !PASSED_OVER.contains(&path.as_str()) && is_given(path, value));
    kept.map(|(name, path, value)| (name.clone(), if name == "Labels" { value.clone() } else { given(&path, value) }))
        .collect()
}

/// Zero tasks at once, no task and an empty `Global` mean something.
fn is_given(path: &str, value: &Value) -> bool {
    path == "Mode" || path == "Mode.Global" || is_counted(path) || !is_nothing(value)
}

fn is_counted(path: &str) -> bool {
    path.ends_with(".Parallelism") || path.ends_with(".Replicas")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn names(seen: &SwarmFacts) -> BTreeMap<String, String> {
    seen.networks.iter().map(|(name, id)| (id.clone(), name.clone())).collect()
}

fn texts(environment: &[EnvVar]) -> Vec<String> {
    environment.iter().map(variable).collect()
}

/// The same; of a value that is fetched its digest.
fn compared(environment: &[EnvVar]) -> Vec<String> {
    let text = |var: &EnvVar| match (&var.value, var.source()) {
        (Some(value), Some(_)) => format!("{}={}", var.name, value.compared()),
        _ => variable(var),
    };
    environment.iter().map(text).collect()
}

/// A variable as the engine is given it.
pub(crate) fn variable(var: &EnvVar) -> String {
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
                collect(&join(path, name), value, leaves);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| collect(&format!("{path}[{at}]"), item, leaves));
        }
        _ if path == "EndpointSpec.Mode" && value == "vip" => {}
        _ if is_counted(path) || !is_nothing(value) => {
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
