//! Values as they are written, and as they may be printed.

use serde_yaml::{Mapping, Value};

use crate::import::accept::Refusal;
use crate::import::line::UNKNOWN;
use crate::values::secret::{HIDDEN, is_secret_name, masked};

/// Keys whose values are numbers.
const NUMBERS: [&str; 9] = [
    "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares", "cpus", "mem_swappiness",
    "oom_score_adj", "pids_limit",
];

/// Why a value that only a shell knows is not carried.
pub(super) fn unknown(value: &str) -> Option<Refusal> {
    let after = value.split_once(UNKNOWN)?.1;
    let end =
        |text: &str| text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len());
    let bare = after.trim_start_matches('{');
    let name = &bare[..end(bare)];
    Some(match name.is_empty() || after.starts_with('(') {
        true => ("only the shell knows this value".into(), "write the value in its place".into()),
        false => (format!("the variable {name} is not known here"), format!("give it: `{name}=… balehook import …`")),
    })
}

/// An option as it may be printed.
pub(super) fn shown(text: &str) -> String {
    let secret_option = text.split_once(' ').filter(|(name, _)| name.starts_with("--") && is_secret_name(name));
    secret_option.map_or_else(|| masked(text), |(name, _)| format!("{name} {HIDDEN}"))
}

pub(super) fn secret<'t>(name: &str, text: &'t str) -> &'t str {
    if is_secret_name(name) && !text.is_empty() { HIDDEN } else { text }
}

pub(super) fn number_or_text(key: &str, text: &str) -> Value {
    let is_number = NUMBERS.contains(&key);
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(number), _) if is_number && number.to_string() == text => number.into(),
        (_, Ok(number)) if is_number && number.to_string() == text => number.into(),
        _ => text.into(),
    }
}

pub(super) fn texts(words: &[String]) -> Value {
    words.iter().map(|word| Value::from(word.as_str())).collect::<Vec<_>>().into()
}

pub(super) fn mapping<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Mapping(Mapping::from_iter(entries.map(|(key, value)| (key.into(), value))))
}
