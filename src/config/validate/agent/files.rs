//! `files:`: sources that are in the bundle, destinations that the agents take.

use std::path::Path;

use crate::config::problem::Problems;
use crate::config::validate::agent::installed::Installed;
use crate::config::validate::agent::{entries, lexical, writers};
use crate::config::yaml::Node;

/// Keys that people write into an entry and no agent reads there.
const IGNORED: [(&str, &str); 2] = [
    ("overwrite", "write `file_exists_behavior: OVERWRITE` at the top of the file"),
    ("file_exists_behavior", "write it at the top of the file: it is for all entries"),
];

/// Checks every entry; the result is what Install would put on a host that has none of it.
pub(crate) fn check(root: &Node, bundle: &Path, problems: &mut Problems) -> Installed {
    let mut installed = Installed::default();
    // A source may be written by a script that runs before Install.
    let is_written = writers(root, &["BeforeInstall"]);
    for (path, entry) in entries(root, "files") {
        ignored(entry, &path, problems);
        let destination = destination(entry, &path, problems);
        let source = source(entry, &path, bundle, is_written, problems);
        let (Some((at, destination)), Some(source)) = (destination, source) else { continue };
        becomes_a_folder(at, destination, source, &path, bundle, problems);
        if let Err(why) = installed.add(bundle, Path::new(source), Path::new(destination)) {
            let help = "leave one of them out: with OVERWRITE and RETAIN too both agents refuse it".to_owned();
            problems.error(at.place, &format!("{path}.destination"), format!("Install fails: {why}"), help);
        }
    }
    installed
}

fn ignored(entry: &Node, path: &str, problems: &mut Problems) {
    for (name, help) in IGNORED {
        if let Some((key, _)) = entry.get(name) {
            let message = format!("the agents ignore `{name}` in an entry of `files`");
            problems.warning(key.place, &format!("{path}.{name}"), message, help.to_owned());
        }
    }
}

fn destination<'a>(entry: &'a Node, path: &str, problems: &mut Problems) -> Option<(&'a Node, &'a str)> {
    let (_, node) = entry.get("destination")?;
    let text = node.as_text()?;
    let path = format!("{path}.destination");
    if !text.starts_with('/') {
        let message = match text {
            "" => "the destination is empty: the agents refuse the file".to_owned(),
            _ => format!("`{text}` is no absolute path: it would mean another folder each time the agent starts"),
        };
        problems.error(node.place, &path, message, "write it from `/`: `destination: /opt/app`".to_owned());
        return None;
    }
    if text.contains('$') {
        let message = format!("`{text}` is taken as it stands: the agents fill in no variables here");
        problems.warning(node.place, &path, message, "write the path out, or copy the files from a hook".to_owned());
    }
    Some((node, text))
}

/// Its path relative to the bundle.
fn source<'a>(
    entry: &'a Node,
    path: &str,
    bundle: &Path,
    is_written: bool,
    problems: &mut Problems,
) -> Option<&'a str> {
    let (_, node) = entry.get("source")?;
    let text = node.as_text()?;
    let path = format!("{path}.source");
    if text.is_empty() {
        let help = "write `source: /` for the whole bundle".to_owned();
        problems.error(node.place, &path, "the source is empty: the v2 agent refuses the file", help);
        return None;
    }
    let inside = text.trim_start_matches('/');
    if lexical(Path::new(inside)).is_none() {
        let message = format!("`{text}` lies outside the bundle: on the host nothing of yours is there");
        problems.error(node.place, &path, message, "the path is relative to appspec.yml".to_owned());
        return None;
    }
    if bundle.join(inside).symlink_metadata().is_ok() {
        return Some(inside);
    }
    let message = format!("`{text}` is not in the bundle");
    match (text.contains(['*', '?', '[']), is_written) {
        (true, _) => {
            let help = "name a file or a folder: the agents know no patterns here".to_owned();
            problems.error(node.place, &path, format!("{message}: Install fails"), help);
        }
        (false, false) => {
            let help = "the path is relative to appspec.yml".to_owned();
            problems.error(node.place, &path, format!("{message}: Install fails"), help);
        }
        (false, true) => {
            let help = "a script of BeforeInstall must write it, or Install fails".to_owned();
            problems.warning(node.place, &path, message, help);
        }
    }
    None
}

/// `source: a.conf` with `destination: /etc/a.conf` makes `/etc/a.conf/a.conf`.
fn becomes_a_folder(at: &Node, destination: &str, source: &str, path: &str, bundle: &Path, problems: &mut Problems) {
    let name = Path::new(source).file_name();
    let is_same = name.is_some() && name == Path::new(destination).file_name();
    if is_same && !bundle.join(source).is_dir() {
        let name = name.unwrap_or_default().display();
        let message = format!("a destination is a folder: the file becomes {destination}/{name}");
        let folder = Path::new(destination).parent().unwrap_or(Path::new("/")).display();
        problems.warning(at.place, &format!("{path}.destination"), message, format!("write `destination: {folder}`"));
    }
}
