//! The official part of the file, as both agents read it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::config::appspec::AppSpecText;
use crate::config::field::Field;
use crate::config::problem::nearest;
use crate::config::rules::{
    AGENT_REFUSES, EVENT_TIME, IGNORED_KEY, MISSING_KEY, NO_APPLICATION_START, NOT_IN_BUNDLE, OCTAL_MODE,
};
use crate::config::validate::agent::{entries, is_ours};
use crate::config::validate::{SECTION, as_agent, portable};
use crate::config::yaml::{Node, Value};
use crate::values::types::{LifecycleEvent, Refused};

/// CodeDeploy's default for a hook.
const DEFAULT_TIMEOUT: i64 = 3600;

/// The keys of a hook's entry that the agents read.
const HOOK_KEYS: [&str; 4] = ["location", "timeout", "runas", "sudo"];

/// The service's limit for all scripts of one event, in seconds.
const EVENT_LIMIT: i64 = 3600;

/// Checks it; the result is the time that our own hook of each event has.
pub(crate) fn check(file: &AppSpecText, root: &Field<'_>) -> BTreeMap<LifecycleEvent, Duration> {
    let problems = root.problems;
    let before = problems.errors();
    version(root);
    os(root);
    portable(root, false);
    modes(root);
    let timeouts = hooks(root, file.bundle_root());
    match problems.errors() == before {
        true => as_agent::whole(file, problems),
        false => as_agent::lists(file, problems),
    }
    timeouts
}

fn version(root: &Field<'_>) {
    let help = "write `version: 0.0`";
    let Some(field) = root.get("version") else {
        return missing(root, "version", help);
    };
    let plain = matches!(&field.node.value, Value::Scalar { plain: true, .. });
    if !plain || field.node.as_f64() != Some(0.0) {
        field.broken(AGENT_REFUSES, format!("the version must be the number 0.0, not {}", quoted(field.node)), help);
    }
}

fn missing(root: &Field<'_>, key: &str, help: &str) {
    root.lacking(key).broken(MISSING_KEY, format!("`{key}` is missing"), help);
}

fn quoted(value: &Node) -> String {
    match &value.value {
        Value::Scalar { text, plain: false } => format!("the text \"{text}\""),
        _ => value.describe(),
    }
}

fn os(root: &Field<'_>) {
    let help = "write `os: linux`";
    let Some(field) = root.get("os") else { return missing(root, "os", help) };
    match field.node.as_text() {
        Some("linux") => {}
        Some("windows") => field.broken(AGENT_REFUSES, "balehook deploys on Linux hosts only", help),
        _ => field.broken(AGENT_REFUSES, format!("the os must be linux, not {}", field.node.describe()), help),
    }
}

/// Source: the Ruby agent reads an unquoted `0644` as an octal number and prints it in decimal.
fn modes(root: &Field<'_>) {
    for field in entries(root, "permissions").filter_map(|entry| entry.get("mode")) {
        let Value::Scalar { text, plain: true } = &field.node.value else { continue };
        let digits = text.strip_prefix('0').filter(|digits| !digits.is_empty());
        let Some(value) = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok()) else { continue };
        let decimal = value.to_string();
        let is_mode = decimal.len() <= 4 && decimal.bytes().all(|digit| digit < b'8');
        let then = if is_mode { format!("the mode becomes 0{value}") } else { "the deployment fails".to_owned() };
        field.warning(
            OCTAL_MODE,
            format!("the v1 agent reads an unquoted {text} as the number {value}: {then}"),
            format!("quote it: \"{text}\", or write {}", text.trim_start_matches('0')),
        );
    }
}

fn hooks(root: &Field<'_>, bundle: &Path) -> BTreeMap<LifecycleEvent, Duration> {
    // Without our section the file may start its application by any script, or start nothing.
    let is_ours = root.get(SECTION).is_some();
    let Some(hooks) = root.given("hooks") else {
        if is_ours {
            no_hooks(root);
        }
        return BTreeMap::new();
    };
    let mut timeouts = BTreeMap::new();
    let Some(events) = hooks.node.as_mapping() else {
        hooks.broken(AGENT_REFUSES, format!("expected a mapping, not {}", hooks.node.describe()), "");
        return timeouts;
    };
    for (key, list) in events {
        let name = key.as_text().unwrap_or_default();
        match name.parse::<LifecycleEvent>() {
            Ok(event) => timeouts.extend(event_hooks(&hooks.inner(list, name), bundle).map(|time| (event, time))),
            Err(Refused(why)) => {
                hooks.inner(key, name).broken(
                    IGNORED_KEY,
                    format!("`{name}` {why}"),
                    "a hook under another name never runs",
                );
            }
        }
    }
    if is_ours && !timeouts.contains_key(&LifecycleEvent::ApplicationStart) {
        hooks.warning(
            NO_APPLICATION_START,
            "no hook for ApplicationStart: nothing is ever started",
            "add `ApplicationStart: [{location: hooks/balehook, timeout: 300}]`",
        );
    }
    timeouts
}

fn no_hooks(root: &Field<'_>) {
    root.lacking("hooks").warning(
        NO_APPLICATION_START,
        "no hooks: nothing is ever run",
        "copy appspec/container/appspec.yml",
    );
}

/// The entries of one event; the result is the time of our own entry, else the shortest.
fn event_hooks(list: &Field<'_>, bundle: &Path) -> Option<Duration> {
    if list.node.is_null() {
        return None;
    }
    if list.node.as_sequence().is_none() {
        let message = format!("expected a list, not {}: both agents refuse the file", list.node.describe());
        return list.refuse(message, "write `- location: hooks/balehook`");
    }
    let read = |entry: Field<'_>| {
        slips(&entry);
        (location(&entry, bundle), timeout(&entry))
    };
    let times: Vec<(bool, i64)> = list.each().map(read).collect();
    together(list, &times);
    let any_ours = times.iter().any(|(is_ours, _)| *is_ours);
    let shortest = times.iter().filter(|(is_ours, _)| *is_ours || !any_ours).map(|(_, timeout)| *timeout).min()?;
    u64::try_from(shortest).ok().map(Duration::from_secs)
}

/// CodeDeploy ends an event after an hour; an entry without a timeout has that hour to itself.
fn together(list: &Field<'_>, times: &[(bool, i64)]) {
    let sum = times.iter().fold(0i64, |sum, (_, timeout)| sum.saturating_add(*timeout));
    let unsaid = list.each().filter(|entry| entry.get("timeout").is_none()).count();
    let said = sum.saturating_sub(DEFAULT_TIMEOUT.saturating_mul(i64::try_from(unsaid).unwrap_or(i64::MAX)));
    if said > EVENT_LIMIT {
        let message = format!("the timeouts of this event add up to {said} s; CodeDeploy allows {EVENT_LIMIT} s");
        list.broken(AGENT_REFUSES, message, "lower them");
    } else if said > 0 && unsaid > 0 {
        let message = format!(
            "an entry without `timeout` has {DEFAULT_TIMEOUT} s, with the others {sum} s; CodeDeploy ends the event \
             after {EVENT_LIMIT} s"
        );
        list.warning(EVENT_TIME, message, "write a `timeout:` for each");
    }
}

/// Keys that were probably meant to be known ones: the agents ignore them.
fn slips(entry: &Field<'_>) {
    for (key, _) in entry.node.as_mapping().unwrap_or_default() {
        let name = key.as_text().unwrap_or_default();
        if let Some(near) = nearest(name, &HOOK_KEYS).filter(|_| !HOOK_KEYS.contains(&name)) {
            entry.inner(key, name).warning(
                IGNORED_KEY,
                format!("`{name}` is ignored by the agents"),
                format!("did you mean `{near}`?"),
            );
        }
    }
}

/// Whether the entry is ours, by its name.
fn location(entry: &Field<'_>, bundle: &Path) -> bool {
    let Some(field) = entry.get("location") else {
        entry.broken(MISSING_KEY, "`location` is missing", "write `location: hooks/balehook`");
        return false;
    };
    let Some(text) = field.node.as_text().map(str::trim) else {
        field.broken(AGENT_REFUSES, format!("expected a path in the bundle, not {}", field.node.describe()), "");
        return false;
    };
    if !bundle.join(text.trim_start_matches('/')).is_file() {
        field.broken(NOT_IN_BUNDLE, format!("`{text}` is not in the bundle"), "the path is relative to appspec.yml");
    }
    let sudo = entry.get("sudo").filter(|sudo| sudo.node.as_bool() == Some(true));
    if let Some(sudo) = sudo.filter(|_| is_ours(text)) {
        sudo.broken(
            AGENT_REFUSES,
            "`sudo: true` drops CodeDeploy's variables, LIFECYCLE_EVENT too",
            "use `runas: root`",
        );
    }
    is_ours(text)
}

fn timeout(entry: &Field<'_>) -> i64 {
    let Some(field) = entry.get("timeout") else { return DEFAULT_TIMEOUT };
    let plain = matches!(&field.node.value, Value::Scalar { plain: true, .. });
    match field.node.as_i64().filter(|_| plain) {
        Some(seconds) if seconds > 0 => seconds,
        _ => {
            let message = format!("expected a whole number of seconds above 0, not {}", quoted(field.node));
            field.broken(AGENT_REFUSES, message, "write `timeout: 300`");
            DEFAULT_TIMEOUT
        }
    }
}
