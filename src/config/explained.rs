//! A key of `x-balehook`, as `explain` tells of it: what the schema has, which editors show.

use serde_json::{Map, Value};

use crate::config::schema::section;

/// Where a key is looked for that is named without those above it.
const ABOVE: [&str; 7] =
    ["", "container.", "container.image.", "container.environment.", "health.", "swarm.", "compose."];

/// One key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// With those above it: `health.grpc`.
    pub(crate) path: String,
    /// Empty where the schema has none.
    pub(crate) meaning: String,
    /// The keys below it, each with its meaning.
    pub(crate) below: Vec<(String, String)>,
}

/// The key of that name, with or without those above it.
pub(crate) fn find(name: &str) -> Option<Key> {
    let name = name.strip_prefix("x-balehook.").unwrap_or(name);
    let (section, mut paths) = (section(), ABOVE.iter().map(|above| format!("{above}{name}")));
    paths.find_map(|path| {
        let node =
            path.split('.').try_fold(&section, |node, key| keys(node).into_iter().find_map(|keys| keys.get(key)))?;
        let below = keys(node).into_iter().flatten().map(|(key, node)| (key.clone(), meaning(node))).collect();
        Some(Key { meaning: meaning(node), path, below })
    })
}

/// The mappings that a value may be, or that its items or its own names may be.
fn keys(node: &Value) -> Vec<&Map<String, Value>> {
    let forms = ["oneOf", "anyOf"].into_iter().filter_map(|form| node[form].as_array()).flatten();
    let inner = ["items", "additionalProperties"].into_iter().map(|key| &node[key]).filter(|node| node.is_object());
    let own = node["properties"].as_object();
    own.into_iter().chain(forms.chain(inner).flat_map(keys)).collect()
}

fn meaning(node: &Value) -> String {
    node["description"].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_is_found_with_and_without_those_above_it_and_what_it_means_is_known_of_each_below() {
        for (name, path, below) in [
            ("health.http", "health.http", "ca"),
            ("x-balehook.health", "health", "grpc"),
            ("grpc", "health.grpc", "service"),
            ("secrets", "secrets", "environment"),
            ("environment", "container.environment", "ssm"),
            ("verify", "container.image.verify", "cosign"),
            ("notify", "notify", "webhook"),
        ] {
            let key = find(name).unwrap();
            assert_eq!(key.path, path);
            assert!(key.below.iter().any(|(found, meaning)| found == below && meaning.len() > 10), "{key:?}");
        }
        assert_eq!(find("ssm").unwrap().path, "container.environment.ssm");
        assert_eq!(find("container.secrets").unwrap().below, []);
        assert_eq!((find("nothing"), find("health.nothing"), find("")), (None, None, None));
    }
}
