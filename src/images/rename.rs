//! The documents of an archive that name its images, with tags of ours in the place of its own: what was written into
//! an archive never becomes a tag of this host.
//!
//! Only what is known of them is written anew: engines read keys in any case, and may read keys that we do not.

use serde_json::{Map, Value, json};

/// A document that names images, by what it is called at the archive's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    /// Of `docker save`.
    Manifest,
    /// Of an OCI layout.
    Index,
    /// Of engines before 1.10, which those up to 24 still read where there is no other.
    Repositories,
}

/// A tag of ours that the engine is given, and what the archive calls that image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renamed {
    pub(crate) tag: String,
    pub(crate) references: Vec<String>,
}

impl Document {
    pub(crate) fn called(name: &str) -> Option<Self> {
        [Self::Manifest, Self::Index, Self::Repositories].into_iter().find(|document| document.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest.json",
            Self::Index => "index.json",
            Self::Repositories => "repositories",
        }
    }

    /// Its content with tags that are `prefix` and a number, beginning after those in `renamed`, which get more.
    pub(crate) fn rename(
        self,
        content: &[u8],
        prefix: &str,
        renamed: &mut Vec<Renamed>,
    ) -> serde_json::Result<Vec<u8>> {
        let mut next = |references: Vec<String>| {
            let tag = format!("{prefix}{}", renamed.len() + 1);
            renamed.push(Renamed { tag: tag.clone(), references });
            tag
        };
        let read = match self {
            Self::Manifest => serde_json::from_slice::<Vec<Map<String, Value>>>(content)?
                .into_iter()
                .map(|image| saved(&image, &mut next))
                .collect::<Vec<_>>()
                .into(),
            Self::Index => layout(&serde_json::from_slice(content)?, &mut next),
            Self::Repositories => json!({}),
        };
        serde_json::to_vec(&read)
    }
}

fn saved(image: &Map<String, Value>, next: &mut impl FnMut(Vec<String>) -> String) -> Value {
    let mut new = some(image, &["Config", "Layers", "Parent", "LayerSources"]);
    let names = image.get("RepoTags").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<String> = names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    new.insert("RepoTags".into(), if names.is_empty() { Value::Null } else { json!([next(names)]) });
    new.into()
}

fn layout(index: &Map<String, Value>, next: &mut impl FnMut(Vec<String>) -> String) -> Value {
    let mut new = some(index, &["schemaVersion", "mediaType"]);
    let manifests = index.get("manifests").and_then(Value::as_array).into_iter().flatten();
    let manifests = manifests.filter_map(Value::as_object).map(|descriptor| described(descriptor, next));
    new.insert("manifests".into(), manifests.collect::<Vec<_>>().into());
    new.into()
}

fn described(descriptor: &Map<String, Value>, next: &mut impl FnMut(Vec<String>) -> String) -> Value {
    let mut new = some(descriptor, &["mediaType", "digest", "size", "platform", "artifactType"]);
    let said = descriptor.get("annotations").and_then(Value::as_object);
    let name = ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
        .iter()
        .find_map(|key| said.and_then(|said| said.get(*key)).and_then(Value::as_str));
    if let Some(name) = name {
        let tag = next(vec![name.to_owned()]);
        let short = tag.rsplit(':').next();
        let named = json!({
            "io.containerd.image.name": format!("docker.io/{tag}"), "org.opencontainers.image.ref.name": short,
        });
        new.insert("annotations".into(), named);
    }
    new.into()
}

fn some(from: &Map<String, Value>, keys: &[&str]) -> Map<String, Value> {
    keys.iter().filter_map(|key| Some(((*key).to_owned(), from.get(*key)?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn renamed(document: Document, content: &Value) -> (Value, Vec<Renamed>) {
        let mut renamed = vec![Renamed { tag: "balehook/web:part-1".into(), references: vec![] }];
        let new = document.rename(content.to_string().as_bytes(), "balehook/web:part-", &mut renamed).unwrap();
        (serde_json::from_slice(&new).unwrap(), renamed.split_off(1))
    }

    fn ours(number: usize, references: &[&str]) -> Renamed {
        let references = references.iter().map(|name| (*name).to_owned()).collect();
        Renamed { tag: format!("balehook/web:part-{number}"), references }
    }

    #[test]
    fn what_docker_save_calls_its_images_is_replaced_also_where_a_key_is_written_otherwise() {
        let saved = json!([
            {"Config": "a.json", "RepoTags": ["web:1", "nginx:latest"], "Layers": ["a"], "repotags": ["nginx:latest"]},
            {"Config": "b.json", "RepoTags": null, "Layers": [], "RepoTag\u{17f}": ["nginx:latest"]},
        ]);
        let wanted = json!([
            {"Config": "a.json", "RepoTags": ["balehook/web:part-2"], "Layers": ["a"]},
            {"Config": "b.json", "RepoTags": null, "Layers": []},
        ]);
        assert_eq!(renamed(Document::Manifest, &saved), (wanted, vec![ours(2, &["web:1", "nginx:latest"])]));
    }

    #[test]
    fn what_an_oci_layout_calls_its_images_is_replaced() {
        let name = |key: &str, name: &str| json!({"digest": "d", "annotations": {key: name, "more": "x"}});
        let index = json!({"schemaVersion": 2, "Manifests": [], "manifests": [
            name("io.containerd.image.name", "docker.io/balehook/other:0123456789ab"),
            name("org.opencontainers.image.ref.name", "1"),
            {"digest": "d", "Annotations": {"io.containerd.image.name": "docker.io/library/nginx:latest"}},
        ]});
        let named = |number: usize| {
            json!({"digest": "d", "annotations": {
                "io.containerd.image.name": format!("docker.io/balehook/web:part-{number}"),
                "org.opencontainers.image.ref.name": format!("part-{number}"),
            }})
        };
        let wanted = json!({"schemaVersion": 2, "manifests": [named(2), named(3), {"digest": "d"}]});
        let both = vec![ours(2, &["docker.io/balehook/other:0123456789ab"]), ours(3, &["1"])];
        assert_eq!(renamed(Document::Index, &index), (wanted, both));
        assert_eq!(renamed(Document::Repositories, &json!({"nginx": {"latest": "x"}})), (json!({}), vec![]));
    }
}
