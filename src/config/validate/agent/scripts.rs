//! The scripts that the hooks name: whether the kernel can start them, as whom, and what they do that is ours now.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::config::problem::Problems;
use crate::config::validate::SECTION;
use crate::config::validate::agent::hooks;
use crate::config::yaml::Node;

/// So much of a script is read, in bytes.
const READ: u64 = 256 * 1024;

/// Commands of docker that a deployment of ours gives itself.
const OURS_NOW: &[&[&str]] = &[
    &["run"],
    &["create"],
    &["start"],
    &["stop"],
    &["restart"],
    &["kill"],
    &["rm"],
    &["rmi"],
    &["rename"],
    &["pull"],
    &["load"],
    &["login"],
    &["container", "run"],
    &["container", "create"],
    &["container", "start"],
    &["container", "stop"],
    &["container", "restart"],
    &["container", "kill"],
    &["container", "rm"],
    &["container", "prune"],
    &["image", "pull"],
    &["image", "load"],
    &["image", "rm"],
    &["image", "prune"],
    &["system", "prune"],
    &["service", "create"],
    &["service", "update"],
    &["service", "rm"],
    &["stack", "deploy"],
    &["compose", "up"],
    &["compose", "down"],
    &["compose", "start"],
    &["compose", "stop"],
    &["compose", "restart"],
    &["compose", "pull"],
    &["compose", "rm"],
    &["compose", "create"],
];

/// Whether a hook's script is ours, by its name.
pub(crate) fn is_ours(location: &str) -> bool {
    location.trim().rsplit('/').next().is_some_and(|name| name.contains("balehook"))
}

pub(crate) fn check(root: &Node, bundle: &Path, problems: &mut Problems) {
    let name = root.get(SECTION).and_then(|(_, section)| section.get("name")?.1.as_text()).unwrap_or("NAME");
    let mut first_user: Option<&str> = None;
    for (_, path, entry) in hooks(root) {
        let Some((_, node)) = entry.get("location") else { continue };
        let Some(location) = node.as_text().map(str::trim).filter(|location| !location.is_empty()) else { continue };
        let at = format!("{path}.location");
        shell_words(node, location, &at, problems);
        let script = beginning(&bundle.join(location.trim_start_matches('/')));
        if let Some(script) = &script {
            first_line(node, location, script, &at, problems);
        }
        if is_ours(location) {
            let user = runas(entry, &path, name, problems);
            other_user(entry, &path, first_user.get_or_insert(user), user, problems);
        } else if let Some(script) = script {
            ours_now(node, location, &script, &at, problems);
        }
    }
}

fn beginning(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let is_file = path.metadata().ok()?.is_file();
    let file = is_file.then(|| File::open(path).ok())??;
    file.take(READ).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Source: the v1 agent gives the path to a shell, and to `su -c`.
fn shell_words(node: &Node, location: &str, path: &str, problems: &mut Problems) {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+=:@%,^~".contains(letter);
    if let Some(letter) = location.chars().find(|letter| !is_plain(*letter)) {
        let message = format!("the v1 agent gives `{location}` to a shell, which takes `{letter}` for its own");
        problems.warning(node.place, path, message, "name it with letters, digits, `.`, `_` and `-`".to_owned());
    }
}

/// What the kernel reads of a script.
fn first_line(node: &Node, location: &str, script: &[u8], path: &str, problems: &mut Problems) {
    let line = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.starts_with(b"#!") && line.ends_with(b"\r") {
        let shown = String::from_utf8_lossy(&line[..line.len() - 1]).into_owned();
        let message = format!("`{location}` begins with `{shown}\\r`: there is no program of that name");
        let help = "save it with LF line ends; in git: `* text eol=lf` in .gitattributes".to_owned();
        problems.error(node.place, path, message, help);
        return;
    }
    let why = match script {
        [] => "is empty",
        [0xef, 0xbb, 0xbf, b'#', b'!', ..] => "begins with a byte-order mark before its `#!`",
        [b'#', b'!', ..] | [0x7f, b'E', b'L', b'F', ..] => return,
        _ => "has no `#!` line",
    };
    let message = format!("`{location}` {why}: the v2 agent cannot start it");
    problems.warning(node.place, path, message, "begin it with `#!/bin/sh`".to_owned());
}

/// Who runs our hook; anybody but root needs what only root can give.
fn runas<'a>(entry: &'a Node, path: &str, name: &str, problems: &mut Problems) -> &'a str {
    let Some((_, node)) = entry.get("runas") else { return "root" };
    let Some(user) = node.as_text().map(str::trim).filter(|user| !user.is_empty()) else { return "root" };
    if user != "root" {
        let message = format!("{user} can neither write balehook's state nor ask the engine, unless root allowed both");
        let help = format!(
            "leave `runas` out, or as root on each host: `{}`, and `usermod -aG docker {user}`",
            state_command(user, name)
        );
        problems.warning(node.place, &format!("{path}.runas"), message, help);
    }
    user
}

/// The one command that gives a user the state folder of a name.
fn state_command(user: &str, name: &str) -> String {
    format!("install -d -o {user} -m 700 /var/lib/balehook/{name}")
}

/// What one user wrote, another cannot read.
fn other_user(entry: &Node, path: &str, first: &str, user: &str, problems: &mut Problems) {
    if first == user {
        return;
    }
    let place = entry.get("runas").map_or(entry.place, |(_, node)| node.place);
    let message = format!("this hook of balehook runs as {user}, an earlier one as {first}: state is for one user");
    problems.warning(place, &format!("{path}.runas"), message, "write the same `runas` for each".to_owned());
}

/// A script that still starts, stops or fetches what `x-balehook` now does.
fn ours_now(node: &Node, location: &str, script: &[u8], path: &str, problems: &mut Problems) {
    let text = String::from_utf8_lossy(script);
    let found = text.lines().enumerate().find_map(|(index, line)| Some((index + 1, command(line)?)));
    if let Some((line, command)) = found {
        let message = format!("`{location}` still runs `{command}` (its line {line}), which balehook does now");
        let help = "take it out of the script, or the script out of `hooks`, unless it is for another container";
        problems.warning(node.place, path, message, help.to_owned());
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
        let verbs: Vec<&str> = rest.into_iter().filter(|word| !word.starts_with('-')).collect();
        OURS_NOW.iter().find(|ours| !is_task && begins(&verbs, ours)).map(|ours| format!("docker {}", ours.join(" ")))
    })
}

/// Whether the words are a command, with values of options before its last word: `docker compose -f x.yml up`.
fn begins(words: &[&str], command: &[&str]) -> bool {
    match command {
        [verb] => words.first() == Some(verb),
        [group, verb] => words.first() == Some(group) && words.iter().skip(1).take(4).any(|word| word == verb),
        _ => false,
    }
}
