//! `files:`: sources that are in the bundle, destinations that the agents take.

use std::path::Path;

use crate::config::field::Field;
use crate::config::rules::{AGENT_REFUSES, DESTINATION, IGNORED_KEY, NOT_IN_BUNDLE};
use crate::config::validate::agent::installed::Installed;
use crate::config::validate::agent::{entries, lexical, writers};

/// Keys that people write into an entry and no agent reads there.
const IGNORED: [(&str, &str); 2] = [
    ("overwrite", "write `file_exists_behavior: OVERWRITE` at the top of the file"),
    ("file_exists_behavior", "write it at the top of the file: it is for all entries"),
];

/// Checks every entry; the result is what Install would put on a host that has none of it.
pub(crate) fn check(root: &Field<'_>, bundle: &Path) -> Installed {
    let mut installed = Installed::default();
    // A source may be written by a script that runs before Install.
    let is_written = writers(root, &["BeforeInstall"]);
    for entry in entries(root, "files") {
        ignored(&entry);
        let destination = destination(&entry);
        let source = source(&entry, bundle, is_written);
        let (Some((field, destination)), Some(source)) = (destination, source) else { continue };
        becomes_a_folder(&field, destination, source, bundle);
        if let Err(why) = installed.add(bundle, Path::new(source), Path::new(destination)) {
            let help = "leave one of them out: with OVERWRITE and RETAIN too both agents refuse it";
            field.broken(AGENT_REFUSES, format!("Install fails: {why}"), help);
        }
    }
    installed
}

fn ignored(entry: &Field<'_>) {
    for (name, help) in IGNORED {
        if let Some(key) = entry.key(name) {
            key.warning(IGNORED_KEY, format!("the agents ignore `{name}` in an entry of `files`"), help);
        }
    }
}

fn destination<'a>(entry: &Field<'a>) -> Option<(Field<'a>, &'a str)> {
    let field = entry.get("destination")?;
    let text = field.node.as_text()?;
    if !text.starts_with('/') {
        let message = match text {
            "" => "the destination is empty: the agents refuse the file".to_owned(),
            _ => format!("`{text}` is no absolute path: it would mean another folder each time the agent starts"),
        };
        return field.refuse(message, "write it from `/`: `destination: /opt/app`");
    }
    if text.contains('$') {
        let message = format!("`{text}` is taken as it stands: the agents fill in no variables here");
        field.warning(DESTINATION, message, "write the path out, or copy the files from a hook");
    }
    Some((field, text))
}

/// Its path relative to the bundle.
fn source<'a>(entry: &Field<'a>, bundle: &Path, is_written: bool) -> Option<&'a str> {
    let field = entry.get("source")?;
    let text = field.node.as_text()?;
    if text.is_empty() {
        return field
            .refuse("the source is empty: the v2 agent refuses the file", "write `source: /` for the whole bundle");
    }
    let inside = text.trim_start_matches('/');
    if lexical(Path::new(inside)).is_none() {
        let message = format!("`{text}` lies outside the bundle: on the host nothing of yours is there");
        return field.refuse(message, "the path is relative to appspec.yml");
    }
    if bundle.join(inside).symlink_metadata().is_ok() {
        return Some(inside);
    }
    let fails = format!("`{text}` is not in the bundle: Install fails");
    match (text.contains(['*', '?', '[']), is_written) {
        (true, _) => field.broken(NOT_IN_BUNDLE, fails, "name a file or a folder: the agents know no patterns here"),
        (false, false) => field.broken(NOT_IN_BUNDLE, fails, "the path is relative to appspec.yml"),
        (false, true) => {
            let help = "a script of BeforeInstall must write it, or Install fails";
            field.warning(NOT_IN_BUNDLE, format!("`{text}` is not in the bundle"), help);
        }
    }
    None
}

/// `source: a.conf` with `destination: /etc/a.conf` makes `/etc/a.conf/a.conf`.
fn becomes_a_folder(field: &Field<'_>, destination: &str, source: &str, bundle: &Path) {
    let name = Path::new(source).file_name();
    let is_same = name.is_some() && name == Path::new(destination).file_name();
    if is_same && !bundle.join(source).is_dir() {
        let name = name.unwrap_or_default().display();
        let message = format!("a destination is a folder: the file becomes {destination}/{name}");
        let folder = Path::new(destination).parent().unwrap_or(Path::new("/")).display();
        field.warning(DESTINATION, message, format!("write `destination: {folder}`"));
    }
}
