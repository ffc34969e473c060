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
use crate::config::field::Field;
use crate::config::rules::AGENT_REFUSES;
pub(crate) use crate::config::validate::agent::scripts::{beginning, is_ours};

/// What the agents take for `file_exists_behavior`.
pub(crate) const BEHAVIORS: [&str; 3] = ["DISALLOW", "OVERWRITE", "RETAIN"];

/// Adds what an agent would refuse. `root` is the file's tree with the variables of our section filled in.
pub(crate) fn check(file: &AppSpecText, root: &Field<'_>) {
    let bundle = file.bundle_root();
    behavior(root);
    let installed = files::check(root, bundle);
    permissions::check(root, &installed);
    scripts::check(root, bundle);
    bundle::check(file, root);
}

fn behavior(root: &Field<'_>) {
    let Some(field) = root.get("file_exists_behavior") else { return };
    let Some(text) = field.node.as_text().filter(|text| !BEHAVIORS.contains(text)) else { return };
    let meant = BEHAVIORS.into_iter().find(|known| known.eq_ignore_ascii_case(text));
    field.broken(
        AGENT_REFUSES,
        format!("the agents refuse `{text}`: it is one of DISALLOW, OVERWRITE and RETAIN, in capitals"),
        format!("write `file_exists_behavior: {}`", meant.unwrap_or("DISALLOW, OVERWRITE or RETAIN")),
    );
}

/// The entries of a list at the top of the file.
pub(crate) fn entries<'a>(root: &Field<'a>, key: &str) -> impl Iterator<Item = Field<'a>> {
    root.get(key).into_iter().flat_map(|list| list.each().collect::<Vec<_>>())
}

/// The entries of every event, each with its event's name.
pub(crate) fn hooks<'a>(root: &Field<'a>) -> impl Iterator<Item = (String, Field<'a>)> {
    let events = root.get("hooks").filter(|hooks| hooks.node.as_mapping().is_some());
    let events = events.map(|hooks| hooks.entries(|event, list| Some((event.to_owned(), list.clone()))));
    events.into_iter().flatten().flat_map(|(event, list)| {
        let entries: Vec<Field<'a>> = list.each().collect();
        entries.into_iter().map(move |entry| (event.clone(), entry))
    })
}

/// Whether scripts of others run in these events: they may write what the bundle lacks.
fn writers(root: &Field<'_>, events: &[&str]) -> bool {
    let mut all = hooks(root).filter(|(event, _)| events.contains(&event.as_str()));
    all.any(|(_, entry)| entry.text_of("location").is_some_and(|location| !is_ours(location)))
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
