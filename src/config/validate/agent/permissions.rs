//! `permissions:`: what the agents read, and nothing set twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::problem::Problems;
use crate::config::validate::agent::installed::Installed;
use crate::config::validate::agent::{entries, lexical};
use crate::config::yaml::{Node, Value};

/// One entry, as the agents' installers take it.
struct Permission<'a> {
    object: PathBuf,
    pattern: &'a str,
    except: Vec<&'a str>,
    files: bool,
    folders: bool,
}

pub(crate) fn check(root: &Node, installed: &Installed, problems: &mut Problems) {
    let mut set: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (path, entry) in entries(root, "permissions") {
        mode(entry, &path, problems);
        context(entry, &path, problems);
        let Some((node, permission)) = read(entry, &path, problems) else { continue };
        let targets = permission.targets(installed);
        let has_files = targets.iter().any(|target| installed.copies.contains_key(*target));
        let is_file = installed.copies.contains_key(&permission.object);
        of_files(entry, &path, &permission, is_file, problems);
        acls(entry, &path, permission.files && (is_file || has_files), permission.files, problems);
        twice(node, &path, installed, &targets, &set, problems);
        for target in targets {
            set.entry(target.to_owned()).or_insert_with(|| path.clone());
        }
    }
}

fn read<'a>(entry: &'a Node, path: &str, problems: &mut Problems) -> Option<(&'a Node, Permission<'a>)> {
    let (_, node) = entry.get("object")?;
    let text = node.as_text()?.trim();
    let object_path = format!("{path}.object");
    if text.is_empty() {
        let help = "write `object: /opt/app`".to_owned();
        problems.error(node.place, &object_path, "the object is empty: the agents refuse the file", help);
        return None;
    }
    if !text.starts_with('/') {
        let message = format!("`{text}` is no absolute path: nothing gets these permissions");
        problems.warning(node.place, &object_path, message, "name what `files` installs, from `/`".to_owned());
    }
    let kinds = kinds(entry, path, problems);
    let is = |kind: &str| kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind));
    let permission = Permission {
        object: lexical(Path::new(text))?,
        pattern: entry.get("pattern").and_then(|(_, node)| node.as_text()).unwrap_or("**"),
        except: texts(entry, "except"),
        files: is("file"),
        folders: is("directory"),
    };
    Some((node, permission))
}

fn texts<'a>(entry: &'a Node, key: &str) -> Vec<&'a str> {
    let list = entry.get(key).and_then(|(_, list)| list.as_sequence()).unwrap_or_default();
    list.iter().filter_map(Node::as_text).collect()
}

fn kinds<'a>(entry: &'a Node, path: &str, problems: &mut Problems) -> Option<Vec<&'a str>> {
    let list = entry.get("type")?.1.as_sequence()?;
    for (index, node) in list.iter().enumerate() {
        if let Some(text) = node.as_text().filter(|text| !["file", "directory"].contains(text)) {
            let message = format!("the agents refuse `{text}`: it is `file` or `directory`");
            problems.error(node.place, &format!("{path}.type[{index}]"), message, "write `type: [file]`".to_owned());
        }
    }
    Some(texts(entry, "type"))
}

impl Permission<'_> {
    /// What it is set on: the object itself where that is a file, else what is below it.
    fn targets<'i>(&self, installed: &'i Installed) -> Vec<&'i Path> {
        if let Some((file, _)) = installed.copies.get_key_value(&self.object) {
            return Some(file.as_path()).filter(|_| self.files).into_iter().collect();
        }
        let files = installed.copies.keys().filter(|_| self.files);
        let folders = installed.folders.iter().filter(|_| self.folders);
        files.chain(folders).map(PathBuf::as_path).filter(|target| self.matches(target)).collect()
    }

    fn matches(&self, target: &Path) -> bool {
        let Ok(inside) = target.strip_prefix(&self.object) else { return false };
        let Some(name) = inside.to_str().filter(|name| !name.is_empty()) else { return false };
        let is_named = |pattern: &str| !name.contains('/') && glob(pattern, name);
        (self.pattern == "**" || is_named(self.pattern)) && !self.except.iter().any(|pattern| is_named(pattern))
    }
}

/// Whether a name fits a pattern whose only wildcard is `*`.
fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

fn mode(entry: &Node, path: &str, problems: &mut Problems) {
    let Some((_, node)) = entry.get("mode").filter(|(_, node)| !node.is_null()) else { return };
    let path = format!("{path}.mode");
    let help = "write one to four digits from 0 to 7: `mode: 755`".to_owned();
    let Value::Scalar { text, .. } = &node.value else {
        problems.error(node.place, &path, format!("a mode is expected, not {}", node.describe()), help);
        return;
    };
    if let Some(letter) = text.chars().find(|letter| !('0'..='7').contains(letter)) {
        problems.error(node.place, &path, format!("the agents refuse mode `{text}` for its `{letter}`"), help);
    } else if text.len() > 4 {
        let message = format!("the agents refuse mode `{text}`: it has {} digits", text.len());
        problems.error(node.place, &path, message, help);
    }
}

fn context(entry: &Node, path: &str, problems: &mut Problems) {
    let Some((_, node)) = entry.get("context").filter(|(_, node)| !node.is_null()) else { return };
    if node.get("type").is_none_or(|(_, kind)| kind.is_null()) {
        let help = "write `context: {type: httpd_sys_content_t}`".to_owned();
        problems.error(node.place, &format!("{path}.context"), "the agents refuse a context without a `type`", help);
    }
}

/// `pattern` and `except` choose among the files below a folder.
fn of_files(entry: &Node, path: &str, permission: &Permission<'_>, is_file: bool, problems: &mut Problems) {
    let pattern = entry.get("pattern").filter(|_| permission.pattern != "**");
    let except = entry.get("except").filter(|_| !permission.except.is_empty());
    for (key, node) in [("pattern", pattern), ("except", except)] {
        let Some((at, _)) = node.filter(|_| permission.files) else { continue };
        let path = format!("{path}.{key}");
        let object = permission.object.display();
        if is_file {
            let message = format!("{object} is a file: both agents refuse a `{key}` for it");
            problems.error(at.place, &path, message, "leave it out".to_owned());
        } else {
            let message = format!("agent 2.0 refuses the file: a `{key}` only with `type: [directory]`");
            problems.warning(at.place, &path, message, "or set these files' permissions in a hook".to_owned());
        }
    }
}

/// Source: setfacl's entries as both agents read them; what one of them alone refuses is a warning.
fn acls(entry: &Node, path: &str, has_files: bool, may_have_files: bool, problems: &mut Problems) {
    let list = entry.get("acls").and_then(|(_, list)| list.as_sequence()).unwrap_or_default();
    for (index, node) in list.iter().enumerate() {
        let Some(text) = node.as_text() else { continue };
        let path = format!("{path}.acls[{index}]");
        match acl(text) {
            Acl::Refused(why) => {
                let help = "write `user:NAME:rwx`, `group:NAME:r-x`, `mask::r` or `default:user:NAME:rwx`".to_owned();
                problems.error(node.place, &path, format!("the agents refuse `{text}`: {why}"), help);
            }
            Acl::Default if has_files => {
                let help = "give it a `type: [directory]`".to_owned();
                problems.error(node.place, &path, format!("`{text}` is for folders, and files are among these"), help);
            }
            Acl::Default if may_have_files => {
                let help = "give it a `type: [directory]`".to_owned();
                problems.warning(node.place, &path, format!("agent 2.0 refuses `{text}` without a type"), help);
            }
            Acl::OneAgent(message) => {
                problems.warning(
                    node.place,
                    &path,
                    format!("{message} refuses `{text}`"),
                    "use `mode` for it".to_owned(),
                );
            }
            Acl::Good | Acl::Default => {}
        }
    }
}

enum Acl {
    Good,
    Default,
    OneAgent(&'static str),
    Refused(&'static str),
}

fn acl(text: &str) -> Acl {
    let mut parts: Vec<&str> = text.split(':').collect();
    let is_default = matches!(parts.first(), Some(&"d" | &"default"));
    if is_default {
        parts.remove(0);
    }
    let [kind, name, rights] = *parts.as_slice() else {
        return if parts.len() == 2 { Acl::OneAgent("the v2 agent") } else { Acl::Refused("it has not three parts") };
    };
    let is_digit = rights.len() == 1 && ("0"..="7").contains(&rights);
    if !is_digit && !rights.chars().all(|letter| matches!(letter, 'r' | 'w' | 'x' | '-')) {
        return Acl::Refused("the rights are `rwx-` or one digit");
    }
    match kind {
        "u" | "user" | "g" | "group" if name.is_empty() && !is_default => {
            Acl::Refused("`mode` sets the owner's rights")
        }
        "m" | "mask" | "o" | "other" if !name.is_empty() => Acl::Refused("a mask and others have no name"),
        "o" | "other" if !is_default => Acl::OneAgent("the v1 agent"),
        "u" | "user" | "g" | "group" | "m" | "mask" | "o" | "other" if is_default => Acl::Default,
        "u" | "user" | "g" | "group" | "m" | "mask" => Acl::Good,
        _ => Acl::Refused("it begins with user, group, mask or other"),
    }
}

fn twice(
    node: &Node,
    path: &str,
    installed: &Installed,
    targets: &[&Path],
    set: &BTreeMap<PathBuf, String>,
    problems: &mut Problems,
) {
    let again = |is_file: bool| {
        let mut found = targets.iter().filter(|target| installed.copies.contains_key(**target) == is_file);
        found.find_map(|target| Some((*target, set.get(*target)?)))
    };
    let path = format!("{path}.object");
    let help = "give each its own `type`, or objects that do not lie in one another".to_owned();
    if let Some((target, first)) = again(true) {
        let message = format!("Install fails: permissions of {} are set twice, first by {first}", target.display());
        problems.error(node.place, &path, message, help);
    } else if let Some((target, first)) = again(false) {
        let message = format!("Install fails where {} is not there yet: {first} sets it too", target.display());
        problems.warning(node.place, &path, message, help);
    }
}
