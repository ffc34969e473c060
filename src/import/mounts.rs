//! Values with a syntax of their own: ports, volumes, mounts, limits and graphics processors.

use std::path::{Component, Path, PathBuf};

use serde_yaml::{Mapping, Value};

use crate::import::accept::Refusal;
use crate::import::values::mapping;

/// A path of the host. A relative one is of `folder`.
pub(super) fn absolute(path: &str, folder: Option<&Path>) -> Result<String, Refusal> {
    if path.starts_with('/') {
        return Ok(path.to_owned());
    }
    let Some(folder) = folder else {
        return Err((
            "the path is relative, and a bundle's folder is removed some deployments later".into(),
            "write the absolute path of the host".into(),
        ));
    };
    let mut whole = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(whole.pop()),
            part => whole.push(part),
        }
    }
    Ok(whole.display().to_string())
}

/// `80`, `8080:80/tcp`, or `published=8080,target=80`.
pub(super) fn port(text: &str) -> Result<Value, Refusal> {
    if text.contains('=') {
        let known = |key: &str| matches!(key, "published" | "target" | "protocol" | "mode");
        let parts = fields(text).into_iter().map(|field| {
            let (key, value) = field.split_once('=').unwrap_or((&field, ""));
            (Value::from(if known(key) { key } else { "?" }), Value::from(value))
        });
        return Ok(Value::Mapping(parts.collect()));
    }
    let text = text.to_lowercase();
    // Any free port.
    Ok(Value::from(text.strip_prefix("0:").unwrap_or(&text).replace(":0:", "::")))
}

/// `/path`, `source:/path` or `source:/path:ro`.
pub(super) fn volume(text: &str, folder: Option<&Path>) -> Result<Value, Refusal> {
    let Some((source, rest)) = text.split_once(':') else { return Ok(text.into()) };
    match source.starts_with(['.', '~']) {
        true => Ok(format!("{}:{rest}", absolute(source, folder)?).into()),
        false => Ok(text.into()),
    }
}

/// What a mount of the long syntax says, and where it stands in Compose's.
const MOUNT: [(&str, &[&str]); 16] = [
    ("type", &["type"]),
    ("source", &["source"]),
    ("src", &["source"]),
    ("target", &["target"]),
    ("destination", &["target"]),
    ("dst", &["target"]),
    ("readonly", &["read_only"]),
    ("ro", &["read_only"]),
    ("consistency", &["consistency"]),
    ("bind-propagation", &["bind", "propagation"]),
    ("relabel", &["bind", "selinux"]),
    ("volume-nocopy", &["volume", "nocopy"]),
    ("volume-subpath", &["volume", "subpath"]),
    ("volume-label", &["volume", "labels"]),
    ("tmpfs-size", &["tmpfs", "size"]),
    ("tmpfs-mode", &["tmpfs", "mode"]),
];

/// `type=bind,source=/a,target=/b,readonly`.
pub(super) fn mount(text: &str, folder: Option<&Path>) -> Result<Value, Refusal> {
    let mut mount = Mapping::from_iter([(Value::from("type"), Value::from("volume"))]);
    for field in fields(text) {
        let (key, value) = field.split_once('=').unwrap_or((&field, "true"));
        let Some((_, path)) = MOUNT.iter().find(|(name, _)| *name == key) else {
            return Err((format!("`{key}` of a mount has no key in `volumes:`"), by_volume(key).into()));
        };
        put(&mut mount, path, key, value);
    }
    if mount.get("type").and_then(Value::as_str) == Some("bind") {
        if let Some(source) = mount.get("source").and_then(Value::as_str) {
            let source = absolute(source, folder)?;
            mount.insert("source".into(), source.into());
        }
        // Docker creates no folder for a mount.
        put(&mut mount, &["bind", "create_host_path"], "", "false");
    }
    Ok(Value::Mapping(mount))
}

fn by_volume(key: &str) -> &'static str {
    match key.starts_with("volume-") {
        true => "create the volume on the host with `docker volume create`, and name it in `volumes:`",
        false => "leave it out, or mount the folder in `volumes:`",
    }
}

fn put(mount: &mut Mapping, path: &[&str], key: &str, value: &str) {
    let value = match (path, value) {
        (["read_only"] | [_, "nocopy" | "create_host_path"], "1" | "true") => true.into(),
        (["read_only"] | [_, "nocopy" | "create_host_path"], "0" | "false") => false.into(),
        ([_, "selinux"], "shared") => "z".into(),
        ([_, "selinux"], "private") => "Z".into(),
        (_, value) => Value::from(value),
    };
    match path {
        [name] => drop(mount.insert((*name).into(), value)),
        [group, name] => {
            let inner = mount.entry((*group).into()).or_insert_with(|| Value::Mapping(Mapping::new()));
            let Some(inner) = inner.as_mapping_mut() else { return };
            match (key, value.as_str().map(|text| text.split_once('=').unwrap_or((text, "")))) {
                ("volume-label", Some((label, text))) => {
                    let labels = inner.entry((*name).into()).or_insert_with(|| Value::Mapping(Mapping::new()));
                    labels.as_mapping_mut().into_iter().for_each(|all| drop(all.insert(label.into(), text.into())));
                }
                _ => drop(inner.insert((*name).into(), value)),
            }
        }
        _ => {}
    }
}

/// `all`, `2`, or `"device=0,1",capabilities=utility`.
pub(super) fn gpus(text: &str) -> Value {
    if text == "all" {
        return text.into();
    }
    let mut request = Mapping::new();
    for field in fields(text) {
        let list = |value: &str| value.split(',').map(Value::from).collect::<Vec<_>>().into();
        match field.split_once('=') {
            None => drop(request.insert("count".into(), count(&field))),
            Some(("device", ids)) => drop(request.insert("device_ids".into(), list(ids))),
            Some(("capabilities", names)) => drop(request.insert("capabilities".into(), list(names))),
            Some(("count", number)) => drop(request.insert("count".into(), count(number))),
            Some((key, value)) => drop(request.insert(key.into(), value.into())),
        }
    }
    vec![Value::Mapping(request)].into()
}

fn count(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
}

/// `1024` or `1024:2048`.
pub(super) fn ulimit(text: &str) -> Value {
    match text.split_once(':') {
        Some((soft, hard)) => mapping([("soft", count(soft)), ("hard", count(hard))]),
        None => count(text),
    }
}

/// Fields between commas; one with a comma stands in quotes.
fn fields(text: &str) -> Vec<String> {
    let (mut all, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
    for letter in text.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => all.push(std::mem::take(&mut field)),
            letter => field.push(letter),
        }
    }
    all.push(field);
    all.into_iter().filter(|field| !field.is_empty()).collect()
}
