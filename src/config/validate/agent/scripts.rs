//! The scripts that the hooks name: whether the kernel can start them, as whom, and what they do that is ours now.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::config::field::Field;
use crate::config::rules::{DOCKER_IN_HOOK, HOOK_LINE_ENDS, HOOK_NAME, HOOK_START, HOOK_USER};
use crate::config::validate::SECTION;
use crate::config::validate::agent::hooks;

/// So much of a script is read, in bytes.
const READ: u64 = 256 * 1024;

/// Commands of docker that a deployment of ours gives itself: without a group, and of each group.
const OURS_NOW: &[(&str, &str)] = &[
    ("", "run create start stop restart kill rm rmi rename pull load login"),
    ("container", "run create start stop restart kill rm prune"),
    ("image", "pull load rm prune"),
    ("system", "prune"),
    ("service", "create update rm"),
    ("stack", "deploy"),
    ("compose", "up down start stop restart pull rm create"),
];

/// Whether a hook's script is ours, by its name.
pub(crate) fn is_ours(location: &str) -> bool {
    location.trim().rsplit('/').next().is_some_and(|name| name.contains("balehook"))
}

pub(crate) fn check(root: &Field<'_>, bundle: &Path) {
    let name = root.get(SECTION).and_then(|section| section.text_of("name")).unwrap_or("NAME");
    let mut first_user: Option<&str> = None;
    for (_, entry) in hooks(root) {
        let Some(field) = entry.get("location") else { continue };
        let Some(location) = field.node.as_text().map(str::trim).filter(|text| !text.is_empty()) else { continue };
        shell_words(&field, location);
        let script = beginning(&bundle.join(location.trim_start_matches('/')));
        if let Some(script) = &script {
            first_line(&field, location, script);
        }
        if is_ours(location) {
            let user = runas(&entry, name);
            other_user(&entry, first_user.get_or_insert(user), user);
        } else if let Some(script) = script.filter(|_| root.get(SECTION).is_some()) {
            ours_now(&field, location, &script);
        }
    }
}

pub(crate) fn beginning(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let is_file = path.metadata().ok()?.is_file();
    let file = is_file.then(|| File::open(path).ok())??;
    file.take(READ).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Source: the v1 agent gives the path to a shell, and to `su -c`.
fn shell_words(field: &Field<'_>, location: &str) {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+=:@%,^~".contains(letter);
    if let Some(letter) = location.chars().find(|letter| !is_plain(*letter)) {
        let message = format!("the v1 agent gives `{location}` to a shell, which takes `{letter}` for its own");
        field.warning(HOOK_NAME, message, "name it with letters, digits, `.`, `_` and `-`");
    }
}

/// What the kernel reads of a script.
fn first_line(field: &Field<'_>, location: &str, script: &[u8]) {
    let line = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.starts_with(b"#!") && line.ends_with(b"\r") {
        let shown = String::from_utf8_lossy(&line[..line.len() - 1]).into_owned();
        let message = format!("`{location}` begins with `{shown}\\r`: there is no program of that name");
        return field.broken(
            HOOK_LINE_ENDS,
            message,
            "save it with LF line ends; in git: `* text eol=lf` in .gitattributes",
        );
    }
    let why = match script {
        [] => "is empty",
        [0xef, 0xbb, 0xbf, b'#', b'!', ..] => "begins with a byte-order mark before its `#!`",
        [b'#', b'!', ..] | [0x7f, b'E', b'L', b'F', ..] => return,
        _ => "has no `#!` line",
    };
    field.warning(HOOK_START, format!("`{location}` {why}: the v2 agent cannot start it"), "begin it with `#!/bin/sh`");
}

/// Who runs our hook; anybody but root needs what only root can give.
fn runas<'a>(entry: &Field<'a>, name: &str) -> &'a str {
    let Some(field) = entry.get("runas") else { return "root" };
    let Some(user) = field.node.as_text().map(str::trim).filter(|user| !user.is_empty()) else { return "root" };
    if user != "root" {
        field.warning(
            HOOK_USER,
            format!("{user} can neither write balehook's state nor ask the engine, unless root allowed both"),
            format!(
                "leave `runas` out, or as root on each host: `{}`, and `usermod -aG docker {user}`",
                state_command(user, name)
            ),
        );
    }
    user
}

/// The one command that gives a user the state folder of a name.
fn state_command(user: &str, name: &str) -> String {
    format!("install -d -o {user} -m 700 /var/lib/balehook/{name}")
}

/// What one user wrote, another cannot read.
fn other_user(entry: &Field<'_>, first: &str, user: &str) {
    if first != user {
        entry.get("runas").unwrap_or_else(|| entry.lacking("runas")).warning(
            HOOK_USER,
            format!("this hook of balehook runs as {user}, an earlier one as {first}: state is for one user"),
            "write the same `runas` for each",
        );
    }
}

/// A script that still starts, stops or fetches what `x-balehook` now does.
fn ours_now(field: &Field<'_>, location: &str, script: &[u8]) {
    let text = String::from_utf8_lossy(script);
    let found = text.lines().enumerate().find_map(|(index, line)| Some((index + 1, command(line)?)));
    if let Some((line, command)) = found {
        field.warning(
            DOCKER_IN_HOOK,
            format!("`{location}` still runs `{command}` (its line {line}), which balehook does now"),
            "take it out of the script, or the script out of `hooks`, unless it is for another container",
        );
    }
}

/// Words that stand before the program's name in a command.
const BEFORE: &[&str] = &["!", "do", "else", "env", "exec", "if", "nohup", "sudo", "then", "time", "while", "xargs"];

/// The first command of docker in a line of a shell that is one of ours.
fn command(line: &str) -> Option<String> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    line.split([';', '|', '&', '(', ')', '`']).find_map(|part| {
        let is_before = |word: &&str| BEFORE.contains(word) || word.starts_with('-') || word.contains('=');
        let mut words = part.split_whitespace().skip_while(is_before);
        let program = words.next()?;
        let mut rest: Vec<&str> = words.collect();
        match program.rsplit('/').next() {
            Some("docker") => {}
            Some("docker-compose") => rest.insert(0, "compose"),
            _ => return None,
        }
        // One that removes itself is a task of the script's own.
        let is_task = rest.contains(&"--rm");
        rest.retain(|word| !word.starts_with('-'));
        OURS_NOW.iter().filter(|_| !is_task).find_map(|(group, verbs)| in_group(&rest, group, verbs))
    })
}

/// The command, where the words are one of the group: `docker compose -f x.yml up`, with values of options before the verb.
fn in_group(words: &[&str], group: &str, verbs: &str) -> Option<String> {
    let (first, rest) = words.split_first()?;
    let is_verb = |word: &&&str| verbs.split(' ').any(|verb| verb == **word);
    match group {
        "" => Some(first).filter(is_verb).map(|verb| format!("docker {verb}")),
        _ if *first != group => None,
        _ => rest.iter().take(4).find(is_verb).map(|verb| format!("docker {group} {verb}")),
    }
}
