//! From the file's text to the validated deployment: every problem at once, each with its place.

mod agent;
pub(crate) mod compose;
#[cfg(test)]
mod edge_tests;
mod health;
pub(crate) mod official;
mod pending;
pub(crate) mod section;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Deployment;
use crate::config::appspec::AppSpecText;
use crate::config::hook_env::HookEnv;
use crate::config::interpolate::interpolate;
use crate::config::problem::{Problems, nearest};
use crate::config::service::ParseContext;
use crate::config::yaml::{MAX_DEPTH, Node, Place, Value};
use crate::values::types::LifecycleEvent;

/// Our section's key.
pub(crate) const SECTION: &str = "x-balehook";

/// The keys that the agents read.
const OFFICIAL: [&str; 6] = ["version", "os", "hooks", "files", "permissions", "file_exists_behavior"];

/// Characters of a key that a path shows.
const LONGEST_KEY: usize = 64;

/// Reads the whole file. The deployment is `None` where anything forbids one.
pub fn validate(file: &AppSpecText, env: &HookEnv) -> (Option<Deployment>, Problems) {
    let mut problems = Problems::new();
    let deployment = read(file, env, &mut problems).and_then(|(_, deployment)| deployment);
    (deployment.filter(|_| !problems.has_errors()), problems)
}

/// Reads the whole file and looks at the bundle around it: also what an agent refuses before it runs any hook of ours.
pub(crate) fn check(file: &AppSpecText, env: &HookEnv) -> Problems {
    let mut problems = Problems::new();
    if let Some((root, _)) = read(file, env, &mut problems) {
        agent::check(file, &root, &mut problems);
    }
    problems
}

/// The file's tree, with our section's variables filled in, and the deployment.
fn read(file: &AppSpecText, env: &HookEnv, problems: &mut Problems) -> Option<(Node, Option<Deployment>)> {
    portable_file(file, problems);
    let mut root = parse(file, problems)?;
    duplicates(&root, "", problems);
    let timeouts = official::check(file, &root, problems);
    unknown_top_level(&root, problems);
    let deployment = ours(file, &mut root, env, timeouts, problems);
    Some((root, deployment))
}

fn portable_file(file: &AppSpecText, problems: &mut Problems) {
    let start = Place { line: 1, column: 1 };
    if file.had_mark {
        let message = "the file begins with a byte-order mark: the v1 agent then sees only `version`";
        problems.warning(start, "", message, "save it without one".to_owned());
    }
    if file.file_name() == "appspec.yaml" {
        let message = "the v1 agent runs no hooks of an `appspec.yaml`";
        problems.warning(start, "", message, "name it appspec.yml".to_owned());
    }
}

/// The document's tree; a depth bomb is refused before any recursive reader sees it.
fn parse(file: &AppSpecText, problems: &mut Problems) -> Option<Node> {
    if let Some(place) = too_deep(&file.text) {
        problems.error(place, "", format!("nested deeper than {MAX_DEPTH} levels"), None);
        return None;
    }
    match Node::parse(&file.text) {
        Ok(root) if root.as_mapping().is_some() => Some(root),
        Ok(root) => {
            let message = format!("the file must be a mapping, not {}", root.describe());
            problems.error(root.place, "", message, "begin with `version: 0.0`".to_owned());
            None
        }
        Err(error) => {
            problems.error(error.place, "", error.message, None);
            None
        }
    }
}

/// The place of the first bracket that is one too many. Brackets in texts count too: nobody writes 64 of them open.
fn too_deep(text: &str) -> Option<Place> {
    let mut open = 0usize;
    for (line, content) in text.lines().enumerate() {
        for (column, letter) in content.chars().enumerate() {
            match letter {
                '[' | '{' => open += 1,
                ']' | '}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > MAX_DEPTH * 4 {
                return Some(Place { line: line + 1, column: column + 1 });
            }
        }
    }
    None
}

fn duplicates(node: &Node, path: &str, problems: &mut Problems) {
    match &node.value {
        Value::Sequence(items) => {
            items.iter().enumerate().for_each(|(index, item)| duplicates(item, &format!("{path}[{index}]"), problems));
        }
        Value::Mapping(entries) => {
            let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
            for (key, value) in entries {
                let name = key.as_text().unwrap_or_default();
                let path = join(path, name);
                let first = key.as_text().and_then(|name| seen.insert(name, key.place));
                if let Some(first) = first {
                    let message =
                        format!("`{name}` stands here a second time (first at {first}): the last one wins silently");
                    problems.error(key.place, &path, message, "keep one of them".to_owned());
                }
                duplicates(value, &path, problems);
            }
        }
        Value::Scalar { .. } | Value::Alias => {}
    }
}

/// The path of an inner key; of a key as long as a page its beginning.
pub(crate) fn join(path: &str, name: &str) -> String {
    let name = name.char_indices().nth(LONGEST_KEY).map_or(name, |(end, _)| &name[..end]);
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Both agents ignore what they do not know, so that a slip of the pen is never noticed.
fn unknown_top_level(root: &Node, problems: &mut Problems) {
    for (key, _) in root.as_mapping().unwrap_or_default() {
        let name = key.as_text().unwrap_or_default();
        if OFFICIAL.contains(&name) || name == SECTION {
            continue;
        }
        let ours = name.to_lowercase().replace(['_', '-'], "").contains("balehook");
        let near = if ours { Some(SECTION) } else { nearest(name, &OFFICIAL).or_else(|| nearest(name, &[SECTION])) };
        if let Some(near) = near {
            let message = format!("`{name}` is ignored by everybody");
            problems.warning(key.place, name, message, format!("did you mean `{near}`?"));
        }
    }
}

fn ours(
    file: &AppSpecText,
    root: &mut Node,
    env: &HookEnv,
    timeouts: BTreeMap<LifecycleEvent, Duration>,
    problems: &mut Problems,
) -> Option<Deployment> {
    let place = root.place;
    let pending = pending::read(root, file.bundle_root());
    let Value::Mapping(entries) = &mut root.value else { return None };
    let Some((_, section)) = entries.iter_mut().find(|(key, _)| key.as_text() == Some(SECTION)) else {
        problems.error(
            place,
            "",
            format!("`{SECTION}` is missing"),
            format!("write `{SECTION}: {{name: web, container: {{image: …}}}}`"),
        );
        return None;
    };
    portable(section, SECTION, problems);
    let lookup = |name: &str| env.lookup(name).map(str::to_owned);
    interpolate(section, SECTION, &lookup, problems);
    let around = ParseContext { bundle_root: file.bundle_root(), lookup: &lookup, pending: &pending };
    section::read(section, &around, timeouts, problems)
}

/// Aliases and unquoted dates are fatal for the v1 agent, wherever they stand.
fn portable(node: &Node, path: &str, problems: &mut Problems) {
    match &node.value {
        Value::Alias => problems.error(
            node.place,
            path,
            "an alias (`*name`) is not allowed in this section",
            "write the value out: the v1 agent refuses the whole file".to_owned(),
        ),
        Value::Scalar { text, plain: true } if is_date(text) => {
            problems.error(
                node.place,
                path,
                format!("`{text}` is a date for the v1 agent, which refuses the whole file"),
                format!("quote it: \"{text}\""),
            );
        }
        Value::Scalar { .. } => {}
        Value::Sequence(items) => {
            items.iter().enumerate().for_each(|(n, item)| portable(item, &format!("{path}[{n}]"), problems))
        }
        Value::Mapping(entries) => entries.iter().for_each(|(key, value)| {
            portable(key, path, problems);
            if key.as_text().is_none() && key.value != Value::Alias {
                let message = format!("a key must be a text, not {}", key.describe());
                problems.error(key.place, path, message, "write `name: value`".to_owned());
            }
            portable(value, &join(path, key.as_text().unwrap_or_default()), problems);
        }),
    }
}

/// What YAML 1.1 takes for a date (`2020-01-01`, `2020-1-1`) or for a time that begins with one.
pub(crate) fn is_date(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(text[at + 1..].trim_start())),
        None => (text, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let up_to = |part: &str, most: u8| part.len() <= 2 && digits(part) && part.parse().is_ok_and(|n: u8| n <= most);
    let mut parts = date.splitn(3, '-');
    let mut part = || parts.next().unwrap_or_default();
    let (year, month, day) = (part(), part(), part());
    let is_date = year.len() == 4 && digits(year) && up_to(month, 12) && up_to(day, 31);
    let is_time = |time: &str| {
        let mut parts = time.splitn(3, ':');
        let mut part = || parts.next().unwrap_or_default();
        let (hour, minute, second) = (part(), part(), part());
        up_to(hour, 24) && minute.len() == 2 && up_to(minute, 59) && second.starts_with(|c: char| c.is_ascii_digit())
    };
    is_date && time.is_none_or(is_time)
}
