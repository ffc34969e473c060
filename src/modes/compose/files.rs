//! Compose files as they stand: for a plan where there is no Compose that resolves them, and before it is asked.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use crate::config::compose::Compose;
use crate::config::interpolate::expand;
use crate::inputs;
use crate::modes::compose::variables::SEARCHED;

/// The files merged, with the hook's variables filled in, in the form of `compose config`: nothing is extended, included or
/// made absolute.
pub(crate) fn as_it_stands(compose: &Compose, bundle: &Path, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut all = Value::Object(Map::new());
    for file in &compose.files {
        let text = text(&compose.directory.join(file), bundle);
        let filled = expand(&text, lookup, &mut Vec::new()).unwrap_or(text);
        merge(&mut all, serde_yaml::from_str(&filled).unwrap_or_default());
    }
    if let Some(services) = all["services"].as_object_mut() {
        services.retain(|_, service| is_active(service, &compose.profiles));
    }
    all.to_string()
}

fn is_active(service: &Value, profiles: &[String]) -> bool {
    let mut named = service["profiles"].as_array().into_iter().flatten().filter_map(Value::as_str).peekable();
    named.peek().is_none() || named.any(|name| profiles.iter().any(|active| active == name))
}

/// Mappings are merged, anything else is replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (_, Value::Null) => {}
        (into, from) => *into = from,
    }
}

/// In place of an image that the section names, where no container is made of it.
pub(crate) const STAND_IN: &str = "balehook/stand-in";

/// Images for services that have none in the files, because the section says where theirs come from: Compose refuses a
/// service without one.
pub(crate) fn stand_in(compose: &Compose, bundle: &Path) -> std::io::Result<Option<tempfile::NamedTempFile>> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for file in &compose.files {
        let text = text(&compose.directory.join(file), bundle);
        let parsed: serde_json::Value = serde_yaml::from_str(&text).unwrap_or_default();
        names.extend(parsed["services"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
    }
    let services: serde_json::Map<String, serde_json::Value> = names
        .into_iter()
        .filter(|name| compose.images.contains_key(name))
        .map(|name| (name, serde_json::json!({ "image": STAND_IN })))
        .collect();
    if services.is_empty() {
        return Ok(None);
    }
    let text = serde_json::json!({ "services": services });
    let mut file = tempfile::Builder::new().prefix("balehook-").suffix(".yml").tempfile()?;
    std::io::Write::write_all(&mut file, text.to_string().as_bytes())?;
    Ok(Some(file))
}

/// A small file of the bundle; nothing where it cannot be read: Compose says why.
pub(crate) fn text(path: &Path, bundle: &Path) -> String {
    let read = inputs::read(path, Some(bundle), SEARCHED);
    read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
