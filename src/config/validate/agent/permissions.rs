//! `permissions:`: what the agents read, and nothing set twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::field::Field;
use crate::config::rules::{AGENT_REFUSES, PERMISSIONS};
use crate::config::validate::agent::installed::Installed;
use crate::config::validate::agent::{entries, lexical};
use crate::config::yaml::Value;

/// One entry, as the agents' installers take it.
struct Permission<'a> {
    object: PathBuf,
    pattern: &'a str,
    except: Vec<&'a str>,
    files: bool,
    folders: bool,
}

pub(crate) fn check(root: &Field<'_>, installed: &Installed) {
    let mut set: BTreeMap<PathBuf, String> = BTreeMap::new();
    for entry in entries(root, "permissions") {
        mode(&entry);
        context(&entry);
        let Some((object, permission)) = read(&entry) else { continue };
        let targets = permission.targets(installed);
        let has_files = targets.iter().any(|target| installed.copies.contains_key(*target));
        let is_file = installed.copies.contains_key(&permission.object);
        of_files(&entry, &permission, is_file);
        acls(&entry, permission.files && (is_file || has_files), permission.files);
        twice(&object, installed, &targets, &set);
        for target in targets {
            set.entry(target.to_owned()).or_insert_with(|| entry.path.clone());
        }
    }
}

fn read<'a>(entry: &Field<'a>) -> Option<(Field<'a>, Permission<'a>)> {
    let field = entry.get("object")?;
    let text = field.node.as_text()?.trim();
    if text.is_empty() {
        return field.refuse("the object is empty: the agents refuse the file", "write `object: /opt/app`");
    }
    if !text.starts_with('/') {
        let message = format!("`{text}` is no absolute path: nothing gets these permissions");
        field.warning(PERMISSIONS, message, "name what `files` installs, from `/`");
    }
    let kinds = kinds(entry);
    let is = |kind: &str| kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind));
    let permission = Permission {
        object: lexical(Path::new(text))?,
        pattern: entry.text_of("pattern").unwrap_or("**"),
        except: texts(entry, "except"),
        files: is("file"),
        folders: is("directory"),
    };
    Some((field, permission))
}

fn texts<'a>(entry: &Field<'a>, key: &str) -> Vec<&'a str> {
    entry.get(key).iter().flat_map(Field::each).filter_map(|item| item.node.as_text()).collect()
}

fn kinds<'a>(entry: &Field<'a>) -> Option<Vec<&'a str>> {
    let list = entry.get("type").filter(|list| list.node.as_sequence().is_some())?;
    for item in list.each() {
        if let Some(text) = item.node.as_text().filter(|text| !["file", "directory"].contains(text)) {
            item.broken(
                AGENT_REFUSES,
                format!("the agents refuse `{text}`: it is `file` or `directory`"),
                "write `type: [file]`",
            );
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

fn mode(entry: &Field<'_>) {
    let Some(field) = entry.given("mode") else { return };
    let help = "write one to four digits from 0 to 7: `mode: 755`";
    let Value::Scalar { text, .. } = &field.node.value else {
        return field.broken(AGENT_REFUSES, format!("expected a mode, not {}", field.node.describe()), help);
    };
    if let Some(letter) = text.chars().find(|letter| !('0'..='7').contains(letter)) {
        field.broken(AGENT_REFUSES, format!("the agents refuse mode `{text}` for its `{letter}`"), help);
    } else if text.len() > 4 {
        field.broken(AGENT_REFUSES, format!("the agents refuse mode `{text}`: it has {} digits", text.len()), help);
    }
}

fn context(entry: &Field<'_>) {
    if let Some(field) = entry.given("context").filter(|context| context.given("type").is_none()) {
        let help = "write `context: {type: httpd_sys_content_t}`";
        field.broken(AGENT_REFUSES, "the agents refuse a context without a `type`", help);
    }
}

/// `pattern` and `except` choose among the files below a folder.
fn of_files(entry: &Field<'_>, permission: &Permission<'_>, is_file: bool) {
    let pattern = entry.key("pattern").filter(|_| permission.pattern != "**");
    let except = entry.key("except").filter(|_| !permission.except.is_empty());
    for (name, key) in [("pattern", pattern), ("except", except)] {
        let Some(key) = key.filter(|_| permission.files) else { continue };
        let object = permission.object.display();
        match is_file {
            true => key.broken(
                AGENT_REFUSES,
                format!("{object} is a file: both agents refuse a `{name}` for it"),
                "leave it out",
            ),
            false => key.warning(
                PERMISSIONS,
                format!("agent 2.0 refuses the file: a `{name}` only with `type: [directory]`"),
                "or set these files' permissions in a hook",
            ),
        }
    }
}

/// Source: setfacl's entries as both agents read them; what one of them alone refuses is a warning.
fn acls(entry: &Field<'_>, has_files: bool, may_have_files: bool) {
    for field in entry.get("acls").iter().flat_map(Field::each) {
        let Some(text) = field.node.as_text() else { continue };
        let for_folders = "give it a `type: [directory]`";
        match acl(text) {
            Acl::Refused(why) => field.broken(
                AGENT_REFUSES,
                format!("the agents refuse `{text}`: {why}"),
                "write `user:NAME:rwx`, `group:NAME:r-x`, `mask::r` or `default:user:NAME:rwx`",
            ),
            Acl::Default if has_files => {
                field.broken(AGENT_REFUSES, format!("`{text}` is for folders, and files are among these"), for_folders);
            }
            Acl::Default if may_have_files => {
                field.warning(PERMISSIONS, format!("agent 2.0 refuses `{text}` without a type"), for_folders);
            }
            Acl::OneAgent(agent) => {
                field.warning(PERMISSIONS, format!("{agent} refuses `{text}`"), "use `mode` for it")
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
        return if parts.len() == 2 { Acl::OneAgent("the v2 agent") } else { Acl::Refused("it needs three parts") };
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

fn twice(field: &Field<'_>, installed: &Installed, targets: &[&Path], set: &BTreeMap<PathBuf, String>) {
    let again = |is_file: bool| {
        let mut found = targets.iter().filter(|target| installed.copies.contains_key(**target) == is_file);
        found.find_map(|target| Some((target.display(), set.get(*target)?)))
    };
    let help = "give each its own `type`, or objects that do not lie in one another";
    if let Some((target, first)) = again(true) {
        field.broken(
            AGENT_REFUSES,
            format!("Install fails: permissions of {target} are set twice, first by {first}"),
            help,
        );
    } else if let Some((target, first)) = again(false) {
        field.warning(PERMISSIONS, format!("Install fails where {target} is not there yet: {first} sets it too"), help);
    }
}
