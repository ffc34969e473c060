//! What an agent refuses or does otherwise than meant, in the file and in the bundle around it. Only `check` looks: an
//! agent reads the file before it runs any hook, so that no event of ours sees such a file.
//!
//! Source: both agents' own readers and installers (aws/aws-codedeploy-agent: 1.x in Ruby, 2.x in Rust); the AppSpec reference.

mod bundle;
mod files;
mod installed;
mod permissions;
mod scripts;
#[cfg(test)]
mod tests;

use std::path::{Component, Path, PathBuf};

use crate::config::appspec::AppSpecText;
use crate::config::problem::Problems;
pub(crate) use crate::config::validate::agent::scripts::is_ours;
use crate::config::yaml::Node;

/// What the agents take for `file_exists_behavior`.
const BEHAVIORS: [&str; 3] = ["DISALLOW", "OVERWRITE", "RETAIN"];

/// Adds what an agent would refuse. `root` is the file's tree with the variables of our section filled in.
pub(crate) fn check(file: &AppSpecText, root: &Node, problems: &mut Problems) {
    let bundle = file.bundle_root();
    behavior(root, problems);
    let installed = files::check(root, bundle, problems);
    permissions::check(root, &installed, problems);
    scripts::check(root, bundle, problems);
    bundle::check(file, root, problems);
}

fn behavior(root: &Node, problems: &mut Problems) {
    let Some((_, value)) = root.get("file_exists_behavior") else { return };
    let Some(text) = value.as_text().filter(|text| !BEHAVIORS.contains(text)) else { return };
    let meant = BEHAVIORS.into_iter().find(|known| known.eq_ignore_ascii_case(text));
    let help = format!("write `file_exists_behavior: {}`", meant.unwrap_or("DISALLOW, OVERWRITE or RETAIN"));
    let message = format!("the agents refuse `{text}`: it is one of DISALLOW, OVERWRITE and RETAIN, in capitals");
    problems.error(value.place, "file_exists_behavior", message, help);
}

/// The entries of a list at the top of the file, each with its path.
pub(crate) fn entries<'a>(root: &'a Node, key: &'a str) -> impl Iterator<Item = (String, &'a Node)> {
    let list = root.get(key).and_then(|(_, list)| list.as_sequence()).unwrap_or_default();
    list.iter().enumerate().map(move |(index, entry)| (format!("{key}[{index}]"), entry))
}

/// The entries of every event, each with its path and its event's name.
pub(crate) fn hooks(root: &Node) -> impl Iterator<Item = (&str, String, &Node)> {
    let events = root.get("hooks").and_then(|(_, hooks)| hooks.as_mapping()).unwrap_or_default();
    events.iter().flat_map(|(key, list)| {
        let event = key.as_text().unwrap_or_default();
        let list = list.as_sequence().unwrap_or_default().iter().enumerate();
        list.map(move |(index, entry)| (event, format!("hooks.{event}[{index}]"), entry))
    })
}

/// The scripts of others that run before our ApplicationStart: they may write what the bundle lacks.
fn writers(root: &Node, events: &[&str]) -> bool {
    let all = hooks(root).filter(|(event, _, _)| events.contains(event));
    all.filter_map(|(_, _, entry)| entry.get("location")?.1.as_text()).any(|location| !is_ours(location))
}

/// The path without `.` and `..`, by its text alone; `None` where `..` leaves what it starts from.
pub(crate) fn lexical(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir if clean.as_os_str().is_empty() => return None,
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::Normal(_) => clean.push(part),
        }
    }
    Some(clean)
}
