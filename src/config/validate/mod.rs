//! From the file's text to the validated deployment: every problem at once, each with its place.

pub(crate) mod agent;
mod as_agent;
pub(crate) mod compose;
mod definitions;
#[cfg(test)]
mod edge_tests;
mod health;
pub(crate) mod official;
mod pending;
mod platform;
mod probe;
#[cfg(test)]
mod probe_tests;
pub(crate) mod section;
#[cfg(test)]
pub(crate) mod tests;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::config::Deployment;
use crate::config::appspec::AppSpecText;
use crate::config::field::Field;
use crate::config::hook_env::HookEnv;
use crate::config::interpolate::{Lookup, interpolate};
use crate::config::places::Places;
use crate::config::problem::{Problems, nearest};
use crate::config::rules::{
    BYTE_ORDER_MARK, DUPLICATE_KEY, FILE_NAME, IGNORED_KEY, MISSING_KEY, NOT_PORTABLE, YAML_SYNTAX, allow,
};
use crate::config::secrets::{self, Definitions};
use crate::config::service::ParseContext;
use crate::config::variables::{self, Variables};
use crate::config::yaml::{MAX_DEPTH, Node, Place, Value};
use crate::values::types::LifecycleEvent;

pub(crate) const SECTION: &str = "x-balehook";

/// The keys that the agents read.
const OFFICIAL: [&str; 6] = ["version", "os", "hooks", "files", "permissions", "file_exists_behavior"];

/// Reads the whole file. The deployment is `None` where anything forbids one.
pub fn validate(file: &AppSpecText, env: &HookEnv) -> (Option<Deployment>, Problems) {
    let problems = Problems::new();
    let deployment = read(file, env, &problems).and_then(|(_, deployment)| deployment);
    allow::apply(&file.text, &problems);
    (deployment.filter(|_| !problems.has_errors()), problems)
}

/// Reads the whole file and looks at the bundle around it: also what an agent refuses before it runs any hook of ours.
pub(crate) fn check(file: &AppSpecText, env: &HookEnv) -> (Option<Deployment>, Problems) {
    let problems = Problems::new();
    let deployment = read(file, env, &problems).and_then(|(root, deployment)| {
        agent::check(file, &whole(&root, &problems));
        deployment
    });
    (deployment, problems)
}

/// The file's tree, with our section's variables filled in, and the deployment.
fn read(file: &AppSpecText, env: &HookEnv, problems: &Problems) -> Option<(Node, Option<Deployment>)> {
    let root = parse(file, problems, "begin with `version: 0.0`");
    if root.as_ref().is_some_and(|root| platform::is_other(&whole(root, problems))) {
        return None;
    }
    portable_file(file, problems);
    let mut root = root?;
    let field = whole(&root, problems);
    duplicates(&field);
    let timeouts = official::check(file, &field);
    unknown_top_level(&field);
    let deployment = ours(file, &mut root, env, timeouts, problems);
    Some((root, deployment))
}

pub(crate) fn whole<'a>(node: &'a Node, problems: &'a Problems) -> Field<'a> {
    Field { node, path: String::new(), problems }
}

fn portable_file(file: &AppSpecText, problems: &Problems) {
    let start = Place { line: 1, column: 1 };
    if file.had_mark {
        let message = "the file begins with a byte-order mark: the v1 agent then sees only `version`";
        problems.warning(BYTE_ORDER_MARK, start, "", message, "save it without one");
    }
    if file.file_name() == "appspec.yaml" {
        let message = "the v1 agent runs no hooks of an `appspec.yaml`";
        problems.warning(FILE_NAME, start, "", message, "name it appspec.yml");
    }
}

/// The document's tree; a depth bomb is refused before any recursive reader sees it.
pub(crate) fn parse(file: &AppSpecText, problems: &Problems, help: &str) -> Option<Node> {
    if let Some(place) = too_deep(&file.text) {
        problems.broken(YAML_SYNTAX, place, "", format!("nested deeper than {MAX_DEPTH} levels"), "");
        return None;
    }
    match Node::parse(&file.text) {
        Ok(root) if root.as_mapping().is_some() => Some(root),
        Ok(root) => {
            let message = format!("the file must be a mapping, not {}", root.describe());
            problems.broken(YAML_SYNTAX, root.place, "", message, help);
            None
        }
        Err(error) => {
            match tab(&file.text, error.place.line) {
                Some(place) => {
                    let message = format!("a tab: YAML indents with spaces alone ({})", error.message);
                    problems.broken(YAML_SYNTAX, place, "", message, "write spaces in its place");
                }
                None => problems.broken(YAML_SYNTAX, error.place, "", error.message, ""),
            }
            None
        }
    }
}

/// A tab among the blanks before a text, in the line of a mistake or beside it.
fn tab(text: &str, line: usize) -> Option<Place> {
    let near = [line, line + 1, line.saturating_sub(1)];
    near.into_iter().find_map(|line| {
        let content = text.lines().nth(line.checked_sub(1)?)?;
        let blanks = content.chars().take_while(|letter| letter.is_whitespace());
        let before = blanks.take_while(|letter| *letter != '\t').count();
        content.chars().nth(before).filter(|letter| *letter == '\t').map(|_| Place { line, column: before + 1 })
    })
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

pub(crate) fn duplicates(field: &Field<'_>) {
    field.each().for_each(|item| duplicates(&item));
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    for (key, value) in field.node.as_mapping().unwrap_or_default() {
        let name = key.as_text().unwrap_or_default();
        if let Some(first) = key.as_text().and_then(|name| seen.insert(name, key.place)) {
            let message = format!("`{name}` stands here a second time (first at {first}): the last one wins silently");
            field.inner(key, name).broken(DUPLICATE_KEY, message, "keep one of them");
        }
        duplicates(&field.inner(value, name));
    }
}

/// Both agents ignore what they do not know, so that a slip of the pen is never noticed.
fn unknown_top_level(root: &Field<'_>) {
    for (key, _) in root.node.as_mapping().unwrap_or_default() {
        let name = key.as_text().unwrap_or_default();
        if OFFICIAL.contains(&name) || name == SECTION {
            continue;
        }
        if ["container", "compose", "swarm", "health"].contains(&name) {
            let help = format!("it belongs under `{SECTION}:`");
            root.inner(key, name).warning(IGNORED_KEY, format!("`{name}` is ignored by everybody"), help);
            continue;
        }
        if name.parse::<LifecycleEvent>().is_ok() {
            root.inner(key, name).warning(
                IGNORED_KEY,
                format!("`{name}` is ignored by everybody: nothing of it runs"),
                "it belongs under `hooks:`, two blanks deeper",
            );
            continue;
        }
        let ours = name.to_lowercase().replace(['_', '-'], "").contains("balehook");
        let near = if ours { Some(SECTION) } else { nearest(name, &OFFICIAL).or_else(|| nearest(name, &[SECTION])) };
        if let Some(near) = near {
            root.inner(key, name).warning(
                IGNORED_KEY,
                format!("`{name}` is ignored by everybody"),
                format!("did you mean `{near}`?"),
            );
        }
    }
}

fn ours(
    file: &AppSpecText,
    root: &mut Node,
    env: &HookEnv,
    timeouts: BTreeMap<LifecycleEvent, Duration>,
    problems: &Problems,
) -> Option<Deployment> {
    let pending = pending::read(&whole(root, problems), file.bundle_root());
    let place = root.place;
    let Value::Mapping(entries) = &mut root.value else { return None };
    let Some((_, section)) = entries.iter_mut().find(|(key, _)| key.as_text() == Some(SECTION)) else {
        let help = format!("write `{SECTION}: {{name: web, container: {{image: …}}}}`");
        problems.broken(MISSING_KEY, place, "", format!("`{SECTION}` is missing"), help);
        return None;
    };
    portable(&Field { node: section, path: SECTION.to_owned(), problems }, true);
    let hook = |name: &str| env.lookup(name).map(str::to_owned);
    let variables = variables(section, file.bundle_root(), &hook, problems);
    let lookup = |name: &str| hook(name).or_else(|| variables::value(&variables, name));
    interpolate(section, SECTION, &lookup, problems);
    let none = Definitions::new();
    let around = ParseContext { bundle_root: file.bundle_root(), lookup: &lookup, pending: &pending, secrets: &none };
    let field = Field { node: section, path: SECTION.to_owned(), problems };
    let secrets = secrets::definitions(&field, &around);
    let deployment = section::read(&field, &ParseContext { secrets: &secrets, ..around }, timeouts)?;
    Some(Deployment { places: Places::of(&file.file_name(), section), variables, ..deployment })
}

/// What the files of `variables` hold; their names may have variables of the hook alone.
fn variables(section: &Node, bundle_root: &Path, hook: Lookup<'_>, problems: &Problems) -> Variables {
    let Some((_, list)) = section.get("variables").filter(|(_, list)| !list.is_null()) else { return Variables::new() };
    let (mut list, path) = (list.clone(), format!("{SECTION}.variables"));
    // What is wrong in a name is said when the section's variables are filled in.
    interpolate(&mut list, &path, hook, &Problems::new());
    variables::read(&Field { node: &list, path, problems }, bundle_root, hook)
}

/// Aliases and unquoted dates are fatal for the v1 agent, wherever they stand: in our section an error, a warning
/// elsewhere.
fn portable(field: &Field<'_>, ours: bool) {
    match &field.node.value {
        Value::Alias if ours => field.broken(
            NOT_PORTABLE,
            "an alias (`*name`) is not allowed in this section",
            "write the value out: the v1 agent refuses the whole file",
        ),
        Value::Alias => {
            field.warning(NOT_PORTABLE, "the v1 agent refuses a file with an alias (`*name`)", "write the value out")
        }
        Value::Scalar { text, plain: true } if is_date(text) => {
            let help = format!("quote it: \"{text}\"");
            match ours {
                true => field.broken(
                    NOT_PORTABLE,
                    format!("`{text}` is a date for the v1 agent, which refuses the whole file"),
                    help,
                ),
                false => field.warning(
                    NOT_PORTABLE,
                    format!("the v1 agent refuses a file with an unquoted date: {text}"),
                    help,
                ),
            }
        }
        Value::Scalar { .. } => {}
        Value::Sequence(_) => field.each().for_each(|item| portable(&item, ours)),
        Value::Mapping(entries) => {
            let is_section = |key: &Node| field.path.is_empty() && key.as_text() == Some(SECTION);
            for (key, value) in entries.iter().filter(|(key, _)| !is_section(key)) {
                let at = Field { node: key, ..field.clone() };
                portable(&at, ours);
                if ours && key.as_text().is_none() && key.value != Value::Alias {
                    at.error(format!("a key must be a text, not {}", key.describe()), "write `name: value`");
                }
                portable(&field.inner(value, key.as_text().unwrap_or_default()), ours);
            }
        }
    }
}

/// What YAML 1.1 takes for a date (`2020-01-01`, `2020-1-1`) or for a time that begins with one.
fn is_date(text: &str) -> bool {
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
