//! The official part of the file, as both agents read it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::config::appspec::{AppSpec, AppSpecText, FilesPart, PermissionsPart};
use crate::config::problem::{Problems, nearest};
use crate::config::validate::agent::is_ours;
use crate::config::validate::{is_date, join};
use crate::config::yaml::{Node, Place, Value};
use crate::values::types::{LifecycleEvent, Refused};

/// CodeDeploy's default for a hook.
const DEFAULT_TIMEOUT: i64 = 3600;

/// The keys of a hook's entry that the agents read.
const HOOK_KEYS: [&str; 4] = ["location", "timeout", "runas", "sudo"];

/// The service's limit for all scripts of one event, in seconds.
const EVENT_LIMIT: i64 = 3600;

/// Checks it; the result is the time that our own hook of each event has.
pub(crate) fn check(file: &AppSpecText, root: &Node, problems: &mut Problems) -> BTreeMap<LifecycleEvent, Duration> {
    let before = problems.errors();
    version(root, problems);
    os(root, problems);
    outside(root, "", problems);
    modes(root, problems);
    let timeouts = hooks(root, file.bundle_root(), problems);
    if problems.errors() == before {
        as_the_agent_reads_it::<AppSpec>(file, problems);
    } else {
        // Its reader stops at the first error: what was found above must not hide what is wrong elsewhere.
        as_the_agent_reads_it::<FilesPart>(file, problems);
        as_the_agent_reads_it::<PermissionsPart>(file, problems);
    }
    timeouts
}

/// What is left for the v2 agent's own reader to refuse: its words, at its place.
fn as_the_agent_reads_it<T: DeserializeOwned>(file: &AppSpecText, problems: &mut Problems) {
    if let Err(error) = serde_yaml::from_str::<T>(&file.text) {
        let place =
            error.location().map_or(Place { line: 1, column: 1 }, |at| Place { line: at.line(), column: at.column() });
        problems.error(place, "", format!("the agent refuses the file: {error}"), None);
    }
}

fn version(root: &Node, problems: &mut Problems) {
    let help = || "write `version: 0.0`".to_owned();
    match root.get("version") {
        None => problems.error(root.place, "version", "`version` is missing", help()),
        Some((_, value)) => {
            let plain = matches!(&value.value, Value::Scalar { plain: true, .. });
            if !plain || value.as_f64() != Some(0.0) {
                problems.error(
                    value.place,
                    "version",
                    format!("the version must be the number 0.0, not {}", quoted(value)),
                    help(),
                );
            }
        }
    }
}

fn quoted(value: &Node) -> String {
    match &value.value {
        Value::Scalar { text, plain: false } => format!("the text \"{text}\""),
        _ => value.describe(),
    }
}

fn os(root: &Node, problems: &mut Problems) {
    let help = || "write `os: linux`".to_owned();
    match root.get("os") {
        None => problems.error(root.place, "os", "`os` is missing", help()),
        Some((_, value)) if value.as_text() == Some("windows") => {
            problems.error(value.place, "os", "balehook deploys on Linux hosts only", help());
        }
        Some((_, value)) if value.as_text() != Some("linux") => {
            problems.error(value.place, "os", format!("the os must be linux, not {}", value.describe()), help());
        }
        Some(_) => {}
    }
}

/// Aliases and dates outside our section: fatal for the v1 agent alone.
fn outside(node: &Node, path: &str, problems: &mut Problems) {
    match &node.value {
        Value::Alias => problems.warning(
            node.place,
            path,
            "the v1 agent refuses a file with an alias (`*name`)",
            "write the value out".to_owned(),
        ),
        Value::Scalar { text, plain: true } if is_date(text) => {
            problems.warning(
                node.place,
                path,
                format!("the v1 agent refuses a file with an unquoted date: {text}"),
                format!("quote it: \"{text}\""),
            );
        }
        Value::Scalar { .. } => {}
        Value::Sequence(items) => {
            items.iter().enumerate().for_each(|(n, item)| outside(item, &format!("{path}[{n}]"), problems));
        }
        Value::Mapping(entries) => {
            let is_ours = |key: &Node| path.is_empty() && key.as_text() == Some(crate::config::validate::SECTION);
            for (key, value) in entries.iter().filter(|(key, _)| !is_ours(key)) {
                outside(key, path, problems);
                outside(value, &join(path, key.as_text().unwrap_or_default()), problems);
            }
        }
    }
}

/// Source: the Ruby agent reads an unquoted `0644` as an octal number and prints it in decimal.
fn modes(root: &Node, problems: &mut Problems) {
    let permissions = root.get("permissions").and_then(|(_, list)| list.as_sequence()).unwrap_or_default();
    for (index, entry) in permissions.iter().enumerate() {
        let Some((_, mode)) = entry.get("mode") else { continue };
        let Value::Scalar { text, plain: true } = &mode.value else { continue };
        let octal = text
            .strip_prefix('0')
            .filter(|digits| !digits.is_empty())
            .and_then(|digits| u32::from_str_radix(digits, 8).ok());
        if let Some(value) = octal {
            let path = format!("permissions[{index}].mode");
            let decimal = value.to_string();
            let is_mode = decimal.len() <= 4 && decimal.bytes().all(|digit| digit < b'8');
            let then = if is_mode { format!("the mode becomes 0{value}") } else { "the deployment fails".to_owned() };
            let message = format!("the v1 agent reads an unquoted {text} as the number {value}: {then}");
            problems.warning(
                mode.place,
                &path,
                message,
                format!("quote it: \"{text}\", or write {}", text.trim_start_matches('0')),
            );
        }
    }
}

fn hooks(root: &Node, bundle: &Path, problems: &mut Problems) -> BTreeMap<LifecycleEvent, Duration> {
    let mut timeouts = BTreeMap::new();
    let Some((_, hooks)) = root.get("hooks").filter(|(_, hooks)| !hooks.is_null()) else {
        problems.warning(
            root.place,
            "hooks",
            "no hooks: nothing is ever run",
            "copy appspec/container/appspec.yml".to_owned(),
        );
        return timeouts;
    };
    let Some(entries) = hooks.as_mapping() else {
        problems.error(hooks.place, "hooks", format!("a mapping is expected, not {}", hooks.describe()), None);
        return timeouts;
    };
    for (key, list) in entries {
        let name = key.as_text().unwrap_or_default();
        let path = format!("hooks.{name}");
        let event = match name.parse::<LifecycleEvent>() {
            Ok(event) => event,
            Err(Refused(why)) => {
                problems.error(
                    key.place,
                    &path,
                    format!("`{name}` {why}"),
                    "a hook under another name never runs".to_owned(),
                );
                continue;
            }
        };
        if let Some(timeout) = event_hooks(list, &path, bundle, problems) {
            timeouts.insert(event, timeout);
        }
    }
    if !timeouts.contains_key(&LifecycleEvent::ApplicationStart) {
        problems.warning(
            hooks.place,
            "hooks",
            "no hook for ApplicationStart: nothing is ever started",
            "add `ApplicationStart: [{location: hooks/balehook, timeout: 300}]`".to_owned(),
        );
    }
    timeouts
}

/// The entries of one event; the result is the time of our own entry, else the shortest.
fn event_hooks(list: &Node, path: &str, bundle: &Path, problems: &mut Problems) -> Option<Duration> {
    if list.is_null() {
        return None;
    }
    let Some(entries) = list.as_sequence() else {
        let message = format!("a list is expected, not {}: both agents refuse the file", list.describe());
        problems.error(list.place, path, message, "write `- location: hooks/balehook`".to_owned());
        return None;
    };
    let mut sum = 0i64;
    let mut times: Vec<(bool, i64)> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let path = format!("{path}[{index}]");
        slips(entry, &path, problems);
        let is_ours = location(entry, &path, bundle, problems);
        let timeout = timeout(entry, &path, problems);
        sum = sum.saturating_add(timeout);
        times.push((is_ours, timeout));
    }
    together(list, path, entries, sum, problems);
    let any_ours = times.iter().any(|(is_ours, _)| *is_ours);
    let shortest = times.iter().filter(|(is_ours, _)| *is_ours || !any_ours).map(|(_, timeout)| *timeout).min()?;
    u64::try_from(shortest).ok().map(Duration::from_secs)
}

/// CodeDeploy ends an event after an hour; an entry without a timeout has that hour to itself.
fn together(list: &Node, path: &str, entries: &[Node], sum: i64, problems: &mut Problems) {
    let unsaid = entries.iter().filter(|entry| entry.get("timeout").is_none()).count();
    let said = sum.saturating_sub(DEFAULT_TIMEOUT.saturating_mul(i64::try_from(unsaid).unwrap_or(i64::MAX)));
    if said > EVENT_LIMIT {
        let message = format!("the timeouts of this event add up to {said} s; CodeDeploy allows {EVENT_LIMIT} s");
        problems.error(list.place, path, message, "lower them".to_owned());
    } else if said > 0 && unsaid > 0 {
        let message = format!(
            "an entry without `timeout` has {DEFAULT_TIMEOUT} s, with the others {sum} s; CodeDeploy ends the event \
             after {EVENT_LIMIT} s"
        );
        problems.warning(list.place, path, message, "write a `timeout:` for each".to_owned());
    }
}

/// Keys that were probably meant to be known ones: the agents ignore them.
fn slips(entry: &Node, path: &str, problems: &mut Problems) {
    for (key, _) in entry.as_mapping().unwrap_or_default() {
        let name = key.as_text().unwrap_or_default();
        if let Some(near) = nearest(name, &HOOK_KEYS).filter(|_| !HOOK_KEYS.contains(&name)) {
            let message = format!("`{name}` is ignored by the agents");
            problems.warning(key.place, &join(path, name), message, format!("did you mean `{near}`?"));
        }
    }
}

/// Whether the entry is ours, by its name.
fn location(entry: &Node, path: &str, bundle: &Path, problems: &mut Problems) -> bool {
    let Some((_, value)) = entry.get("location") else {
        problems.error(entry.place, path, "`location` is missing", "write `location: hooks/balehook`".to_owned());
        return false;
    };
    let sudo_path = format!("{path}.sudo");
    let path = format!("{path}.location");
    let Some(text) = value.as_text().map(str::trim) else {
        problems.error(value.place, &path, format!("a path in the bundle is expected, not {}", value.describe()), None);
        return false;
    };
    if !bundle.join(text.trim_start_matches('/')).is_file() {
        problems.error(
            value.place,
            &path,
            format!("`{text}` is not in the bundle"),
            "the path is relative to appspec.yml".to_owned(),
        );
    }
    let is_ours = is_ours(text);
    let sudo = entry.get("sudo").filter(|(_, sudo)| sudo.as_bool() == Some(true));
    if let Some((_, sudo)) = sudo.filter(|_| is_ours) {
        problems.error(
            sudo.place,
            &sudo_path,
            "`sudo: true` drops CodeDeploy's variables, LIFECYCLE_EVENT too",
            "use `runas: root`".to_owned(),
        );
    }
    is_ours
}

fn timeout(entry: &Node, path: &str, problems: &mut Problems) -> i64 {
    let Some((_, value)) = entry.get("timeout") else { return DEFAULT_TIMEOUT };
    let path = format!("{path}.timeout");
    let plain = matches!(&value.value, Value::Scalar { plain: true, .. });
    match value.as_i64().filter(|_| plain) {
        Some(seconds) if seconds > 0 => seconds,
        _ => {
            let message = format!("a whole number of seconds above 0 is expected, not {}", quoted(value));
            problems.error(value.place, &path, message, "write `timeout: 300`".to_owned());
            DEFAULT_TIMEOUT
        }
    }
}
