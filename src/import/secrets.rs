//! What looks like a secret is not written: of variables the names alone, for an `env_file:`; anything else is named.

use serde_yaml::{Mapping, Value};

use crate::config::lint::is_written_out;
use crate::import::values::mapping;
use crate::import::{Imported, NotCarried};
use crate::values::secret::{masked, masked_value, masked_words};

const SHOW: &str = "hand it over in a file, or write it with `--show-values`";

/// Takes the secrets out, and the variables that are `hidden` whatever they look like. Returns the names of the variables,
/// which `path` on the host then holds.
pub(super) fn take_out(imported: &mut Imported, path: &str, hidden: &[String]) -> Vec<String> {
    let secrets = variables(imported, hidden);
    if !secrets.is_empty() {
        let file = mapping([("path", path.into()), ("format", "raw".into())]);
        let mut files = imported.get("env_file").and_then(Value::as_sequence).cloned().unwrap_or_default();
        files.push(file);
        set(imported, "env_file", Value::Sequence(files));
    }
    for key in ["command", "entrypoint"] {
        let words: Vec<String> = imported.get(key).map(texts).unwrap_or_default();
        if masked_words(&words) != words {
            name(imported, key, &format!("{key} {}", masked_words(&words).join(" ")));
        }
    }
    entries(imported, "labels", |entries| Some(entries));
    entries(imported, "logging", |logging| logging.get_mut("options")?.as_mapping_mut());
    let check = imported.get("healthcheck").and_then(|check| check.get("test")).cloned();
    let words = check.as_ref().map(texts).unwrap_or_default();
    if words.iter().any(|word| masked(word) != *word) {
        name(imported, "healthcheck", &format!("healthcheck {}", masked_words(&words).join(" ")));
    }
    secrets
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Sequence(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        other => other.as_str().map(str::to_owned).into_iter().collect(),
    }
}

fn variables(imported: &mut Imported, hidden: &[String]) -> Vec<String> {
    let mut secrets = Vec::new();
    let Some((_, Value::Mapping(all))) = imported.options.iter_mut().find(|(key, _)| key == "environment") else {
        return secrets;
    };
    all.retain(|name, value| {
        let (Some(name), Some(value)) = (name.as_str(), value.as_str()) else { return true };
        let is_secret = is_written_out(name, &value.replace('$', "_")) || hidden.iter().any(|known| known == name);
        secrets.extend(is_secret.then(|| name.to_owned()));
        !is_secret
    });
    imported.options.retain(|(_, value)| value.as_mapping().is_none_or(|all| !all.is_empty()));
    secrets
}

/// Entries of a mapping that look like secrets.
fn entries(imported: &mut Imported, key: &str, inside: impl Fn(&mut Mapping) -> Option<&mut Mapping>) {
    let Some((_, value)) = imported.options.iter_mut().find(|(name, _)| name == key) else { return };
    let Some(entries) = value.as_mapping_mut().and_then(inside) else { return };
    let mut found = Vec::new();
    entries.retain(|name, value| {
        let (Some(name), Some(value)) = (name.as_str(), value.as_str()) else { return true };
        let shown = masked_value(name, value);
        found.extend((shown != value).then(|| format!("{key} {name}={shown}")));
        shown == value
    });
    imported.not_carried.extend(found.into_iter().map(secret));
}

fn name(imported: &mut Imported, key: &str, shown: &str) {
    imported.options.retain(|(name, _)| name != key);
    imported.not_carried.push(secret(shown.to_owned()));
}

fn secret(option: String) -> NotCarried {
    NotCarried { option, reason: "it holds what looks like a secret".into(), instead: SHOW.into() }
}

fn set(imported: &mut Imported, key: &str, value: Value) {
    match imported.options.iter_mut().find(|(name, _)| name == key) {
        Some((_, place)) => *place = value,
        None => imported.options.push((key.to_owned(), value)),
    }
}
