//! A request without what looks like a secret.

use serde_json::Value;

use crate::values::secret::{masked_value, masked_words};

/// Members whose keys and values are the user's own.
const OWN: [&str; 5] = ["Labels", "Config", "Options", "Annotations", "DriverOpts"];

/// Members that are commands.
const COMMANDS: [&str; 5] = ["Cmd", "Entrypoint", "Args", "Command", "Test"];

/// The value of the member `key` with `***` in place of what looks like a secret; nothing is added or left out.
pub(super) fn masked(key: &str, value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let is_own = OWN.contains(&key);
            let each = entries.iter().map(|(name, value)| match value {
                Value::String(text) if is_own && !name.starts_with("balehook.") => {
                    (name.clone(), masked_value(name, text).into())
                }
                _ => (name.clone(), masked(name, value)),
            });
            Value::Object(each.collect())
        }
        Value::Array(items) if COMMANDS.contains(&key) => {
            let words: Vec<String> = items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            masked_words(&words).into()
        }
        Value::Array(items) => items.iter().map(|item| masked("", item)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
