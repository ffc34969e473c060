//! The options of a request, as names and values that a person reads: the plan prints them, and two requests are
//! compared by them.
//!
//! Everything is taken from the request itself, so that nothing the engine is given is missing: what `names.rs` does not
//! know is printed by the API's name.

mod hide;
mod names;
#[cfg(test)]
mod tests;
mod values;

use serde_json::{Map, Value};

use crate::engine::request::ContainerSpec;
use crate::modes::options::names::{Form, form};
use crate::values::labels::LABEL_FILES;
use crate::values::mounted::from_label;
use crate::values::options::{Hidden, SetOption};
use crate::values::secret_file::{SecretFile, SecretSet};
use crate::values::types::{EnvVar, Secret};
use crate::values::volume::AnonymousVolume;

pub(crate) use crate::modes::options::values::bytes;

/// The options of a container, by name.
pub(crate) fn of_container(spec: &ContainerSpec) -> Vec<SetOption> {
    let mut body = serde_json::to_value(&spec.options.body).unwrap_or_default();
    let endpoints = &mut body["NetworkingConfig"]["EndpointsConfig"];
    for (network, endpoint) in &spec.options.extra_networks {
        endpoints[network] = serde_json::to_value(endpoint).unwrap_or_default();
    }
    leave_out_repetitions(&mut body);
    let files = body["Labels"].as_object_mut().and_then(|labels| labels.remove(LABEL_FILES));
    let files = from_label(files.as_ref().and_then(Value::as_str).map(str::to_owned));
    let mut options = vec![option("image", &spec.image.argument())];
    options.extend(files.iter().map(|file| option(&format!("content of {}", file.path), file.digest.short())));
    options.extend(spec.options.platform.iter().map(|platform| option("platform", platform)));
    options.extend(collected("container", &body));
    options.extend(spec.secrets.iter().flat_map(|set| set.files.iter().map(|file| secret(set, file))));
    let carried = spec.if_declared.iter().map(AnonymousVolume::bind);
    options.extend(carried.map(|bind| option("volumes", &format!("{bind} (if the image has a VOLUME there)"))));
    sorted(options, &spec.environment)
}

/// The options of a service: of its spec without image and environment, which are apart, and of the registry whose
/// credentials go with it.
pub(crate) fn of_service(spec: &Value, image: &str, environment: &[EnvVar], registry: Option<&str>) -> Vec<SetOption> {
    let mut options = vec![option("image", image)];
    options.extend(registry.map(|registry| option("with_registry_auth", registry)));
    options.extend(collected("service", &without(spec, "Name")));
    sorted(options, environment)
}

/// All options of a request, what looks like a secret hidden: the same request is read once more without it.
fn collected(path: &str, request: &Value) -> Vec<SetOption> {
    let (mut options, mut masked) = (Vec::new(), Vec::new());
    collect(path, "", request, &mut options);
    collect(path, "", &hide::masked("", request), &mut masked);
    let each = options.into_iter().zip(masked);
    each.map(|(option, masked)| match option.value == masked.value {
        true => option,
        false => hidden(option.name, masked.value, Secret::new(option.value), false),
    })
    .collect()
}

fn hidden(name: String, value: String, whole: Secret, from_file: bool) -> SetOption {
    SetOption { name, value, hidden: Some(Hidden { value: whole, from_file }) }
}

/// A secret that is a file: of its value only whether it is another one.
fn secret(set: &SecretSet, file: &SecretFile) -> SetOption {
    let owner = |id: Option<u32>| id.map_or_else(|| set.user.clone().unwrap_or_default(), |id| id.to_string());
    let value = format!("{} of {} (mode {:04o})", file.target, file.source, file.mode);
    let whole = format!("{value} {} {}:{}", file.digest, owner(file.uid), owner(file.gid));
    hidden(format!("secrets.{}", file.name), value, Secret::new(whole), true)
}

fn option(name: &str, value: &str) -> SetOption {
    SetOption { name: name.to_owned(), value: value.to_owned(), hidden: None }
}

fn sorted(mut options: Vec<SetOption>, environment: &[EnvVar]) -> Vec<SetOption> {
    options.extend(environment.iter().map(variable));
    options.sort_by(|one, other| one.name.cmp(&other.name));
    options
}

fn variable(var: &EnvVar) -> SetOption {
    let name = format!("environment.{}", var.name);
    match (&var.value, var.shown()) {
        (Some(value), Some(shown)) if var.hidden || shown != value.reveal() => {
            hidden(name, values::text(&shown), value.clone(), var.hidden)
        }
        (Some(value), _) => option(&name, &values::text(value.reveal())),
        (None, _) => option(&name, "not set"),
    }
}

/// A published port is exposed as well, and the first network is the network mode: each is printed once.
fn leave_out_repetitions(body: &mut Value) {
    let published = body["HostConfig"]["PortBindings"].clone();
    if let Some(exposed) = body["ExposedPorts"].as_object_mut() {
        exposed.retain(|port, _| published[port].is_null());
    }
    let endpoints = &body["NetworkingConfig"]["EndpointsConfig"];
    if body["HostConfig"]["NetworkMode"].as_str().is_some_and(|mode| endpoints[mode].is_object()) {
        body["HostConfig"]["NetworkMode"] = Value::Null;
    }
}

/// The options at `path` of a request and below it.
fn collect(path: &str, name: &str, value: &Value, options: &mut Vec<SetOption>) {
    let mut push = |value: String| options.push(option(name, &value));
    match (form(path), value) {
        (_, Value::Null) => {}
        (Form::Text(text), value) => push(text(value)),
        (Form::Texts(texts), value) => texts(value).into_iter().for_each(push),
        (Form::Each(text), Value::Array(items)) => items.iter().map(text).for_each(push),
        (Form::By(key), Value::Array(items)) => {
            let each = items.iter().map(|item| (values::plain(&item[key]), without(item, key)));
            collect_keys(path, name, each, options);
        }
        (Form::Keys, Value::Object(entries)) => {
            collect_keys(path, name, entries.iter().map(|(key, value)| (key.clone(), value.clone())), options);
        }
        (_, Value::Object(entries)) => collect_members(path, name, entries, options),
        (_, Value::Array(items)) if items.is_empty() => push("[]".to_owned()),
        (_, Value::Array(items)) => items.iter().map(|item| inline(path, item)).for_each(push),
        (_, scalar) => push(values::text(&values::plain(scalar))),
    }
}

fn collect_members(path: &str, name: &str, entries: &Map<String, Value>, options: &mut Vec<SetOption>) {
    if !name.is_empty() && entries.values().all(Value::is_null) {
        options.push(option(name, "{}"));
    }
    for (key, value) in entries {
        let path = format!("{path}.{key}");
        collect(&path, &names::member(&path, name, key), value, options);
    }
}

/// Keys of the user's own choice: none of them is taken for a name of the API.
fn collect_keys(path: &str, name: &str, entries: impl Iterator<Item = (String, Value)>, options: &mut Vec<SetOption>) {
    entries.for_each(|(key, value)| collect(&format!("{path}.*"), &names::below(name, &key), &value, options));
}

/// An item of a list as one value: `type=volume,source=data,target=/data`.
fn inline(path: &str, item: &Value) -> String {
    if !item.is_object() {
        return values::text(&values::plain(item));
    }
    let mut members = Vec::new();
    collect(&format!("{path}.*"), "", item, &mut members);
    members.iter().map(|SetOption { name, value, .. }| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

fn without(value: &Value, key: &str) -> Value {
    let mut value = value.clone();
    value.as_object_mut().and_then(|entries| entries.remove(key));
    value
}
