//! Files of the bundle that our own section names: archives, env files, files of secrets and configs.

use std::path::Path;

use crate::config::ArchiveLocation;
use crate::config::appspec::AppSpecText;
use crate::config::problem::Problems;
use crate::config::service::location;
use crate::config::validate::agent::writers;
use crate::config::validate::{SECTION, join};
use crate::config::yaml::{Node, Value};

/// A path as the file has it, before variables are filled in: on another machine they have other values.
struct Named<'a> {
    node: &'a Node,
    path: String,
    help: &'static str,
}

const ARCHIVE: &str = "make it with `docker save --output …` before the bundle is made";
const ENV_FILE: &str = "put it into the bundle, or mark it `required: false`";
const FILE: &str = "put it into the bundle";
/// `compose:` has looked for its own files itself, but for those that a script may write.
const OF_COMPOSE: &str = "";

/// Looks for each in the bundle. Paths of the host are the host's business: `check` runs elsewhere.
pub(crate) fn check(file: &AppSpecText, root: &Node, problems: &mut Problems) {
    let Ok(written) = Node::parse(&file.text) else { return };
    let Some((_, section)) = written.get(SECTION) else { return };
    let is_written = writers(root, &["BeforeInstall", "AfterInstall", "ApplicationStart"]);
    let mut all = Vec::new();
    named(section, SECTION, &mut all);
    for Named { node, path, help } in all {
        let Some(text) = node.as_text().filter(|text| !text.contains('$') && !text.starts_with('/')) else { continue };
        let bundle = file.bundle_root();
        let Ok(ArchiveLocation::File(found)) = location(text, bundle) else { continue };
        if found.exists() || (help == OF_COMPOSE && !is_written) {
            continue;
        }
        match is_written {
            true => {
                let help = "one of the scripts in `hooks` must write it before balehook needs it".to_owned();
                problems.warning(node.place, &path, missing(text, bundle), help);
            }
            false => problems.error(node.place, &path, missing(text, bundle), help.to_owned()),
        }
    }
}

fn missing(text: &str, bundle: &Path) -> String {
    let near = bundle.join(text).parent().is_some_and(Path::is_dir);
    let folder = Path::new(text).parent().filter(|_| !near).map(|folder| folder.display().to_string());
    match folder {
        Some(folder) => format!("`{text}` is not in the bundle, which has no folder `{folder}`"),
        None => format!("`{text}` is not in the bundle"),
    }
}

/// Every path that the modes and the tasks name.
fn named<'a>(section: &'a Node, path: &str, all: &mut Vec<Named<'a>>) {
    for (key, node) in section.as_mapping().unwrap_or_default() {
        let key = key.as_text().unwrap_or_default();
        let path = join(path, key);
        match key {
            "container" | "swarm" => service(node, &path, all),
            "compose" => {
                for key in ["files", "env_file"] {
                    if let Some((_, node)) = node.get(key) {
                        paths(node, &format!("{path}.{key}"), OF_COMPOSE, all);
                    }
                }
                for (name, node) in node.get("images").and_then(|(_, node)| node.as_mapping()).unwrap_or_default() {
                    image(node, &format!("{path}.images.{}", name.as_text().unwrap_or_default()), all);
                }
            }
            "before" | "after" => {
                for (index, task) in node.as_sequence().unwrap_or_default().iter().enumerate() {
                    service(task, &format!("{path}[{index}]"), all);
                }
            }
            _ => {}
        }
    }
}

fn service<'a>(service: &'a Node, path: &str, all: &mut Vec<Named<'a>>) {
    let get = |key: &str| service.get(key).map(|(_, node)| node);
    if let Some(node) = get("image") {
        image(node, &format!("{path}.image"), all);
    }
    if let Some(node) = get("env_file") {
        paths(node, &format!("{path}.env_file"), ENV_FILE, all);
    }
    for key in ["secrets", "configs"] {
        for (index, item) in get(key).and_then(Node::as_sequence).unwrap_or_default().iter().enumerate() {
            if let Some((_, node)) = item.get("file") {
                all.push(Named { node, path: format!("{path}.{key}[{index}].file"), help: FILE });
            }
        }
    }
}

fn image<'a>(node: &'a Node, path: &str, all: &mut Vec<Named<'a>>) {
    if let Some((_, node)) = node.get("archive") {
        all.push(Named { node, path: format!("{path}.archive"), help: ARCHIVE });
    }
}

/// A path, a list of them, or mappings with a `path`.
fn paths<'a>(node: &'a Node, path: &str, help: &'static str, all: &mut Vec<Named<'a>>) {
    match &node.value {
        Value::Sequence(items) => {
            items.iter().enumerate().for_each(|(index, item)| paths(item, &format!("{path}[{index}]"), help, all));
        }
        Value::Mapping(_) => {
            let is_required = node.get("required").is_none_or(|(_, required)| required.as_bool() != Some(false));
            if let Some((_, node)) = node.get("path").filter(|_| is_required) {
                all.push(Named { node, path: format!("{path}.path"), help });
            }
        }
        Value::Scalar { .. } => all.push(Named { node, path: path.to_owned(), help }),
        Value::Alias => {}
    }
}
