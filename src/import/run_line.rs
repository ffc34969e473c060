//! The words of a `docker run` line: which option each one is, and its value.

use std::path::Path;

use crate::import::Imported;
use crate::import::flags::{self, Flag};
use crate::import::line::as_written;
use crate::import::reading::Reading;

/// Options of `docker` itself that have a value.
const BEFORE_THE_COMMAND: [&str; 9] =
    ["-H", "-c", "-l", "--host", "--context", "--config", "--log-level", "--tlscacert", "--tlscert"];

/// Programs that know these options.
const PROGRAMS: [&str; 4] = ["docker", "podman", "nerdctl", "finch"];

/// Reads the words of a `docker run`, `docker create` or `podman run` line, from `docker` on. An image is missing where it
/// is no such line. Relative paths are not carried.
pub fn run_line(words: &[String]) -> Imported {
    run_line_in(words, None)
}

/// The same; relative paths are of `folder`.
pub fn run_line_in(words: &[String], folder: Option<&Path>) -> Imported {
    let mut reading = Reading::new(folder);
    let Some(mut rest) = arguments(words) else { return reading.finish() };
    while let Some((word, after)) = rest.split_first() {
        rest = match word.as_str() {
            "--" => {
                positional(after, &mut reading);
                break;
            }
            word if word.starts_with("--") => long(&word[2..], after, &mut reading),
            word if word.starts_with('-') && word.len() > 1 => short(&word[1..], after, &mut reading),
            _ => {
                positional(rest, &mut reading);
                break;
            }
        };
    }
    reading.finish()
}

/// Whether the words are a line that [`run_line`] reads: `sudo docker container run …`.
pub fn is_run_line(words: &[String]) -> bool {
    arguments(words).is_some()
}

/// What follows `run` or `create`.
fn arguments(words: &[String]) -> Option<&[String]> {
    let program = words.iter().position(|word| {
        let name = word.rsplit('/').next().unwrap_or_default();
        PROGRAMS.contains(&name)
    })?;
    let is_prefix = |word: &String| {
        word.contains('=')
            || word.starts_with('-')
            || matches!(word.as_str(), "sudo" | "exec" | "env" | "time" | "nohup")
    };
    if !words[..program].iter().all(is_prefix) {
        return None;
    }
    let mut rest = &words[program + 1..];
    loop {
        let (word, after) = rest.split_first()?;
        rest = match word.as_str() {
            "run" | "create" => return Some(after),
            "container" => after,
            word if BEFORE_THE_COMMAND.contains(&word) => after.get(1..)?,
            word if word.starts_with('-') => after,
            _ => return None,
        };
    }
}

/// The image, and what the container runs.
fn positional(words: &[String], reading: &mut Reading<'_>) {
    if let Some((image, command)) = words.split_first() {
        reading.image(image);
        reading.command(command);
    }
}

/// `--name=value`, `--name value` or `--switch`.
fn long<'a>(text: &str, after: &'a [String], reading: &mut Reading<'_>) -> &'a [String] {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    match flags::find(name).filter(|_| name.len() > 1) {
        Some(flag) => option(flag, &format!("--{name}"), value, after, reading),
        None => {
            let written = as_written(&format!("--{name}"));
            reading.not_carried(
                &written,
                "it is not known",
                "look it up, and write the key of `container:` that does the same",
            );
            after
        }
    }
}

/// `-p 80:80`, `-p80:80` or `-itd`.
fn short<'a>(text: &str, after: &'a [String], reading: &mut Reading<'_>) -> &'a [String] {
    let Some(letter) = text.chars().next() else { return after };
    let (name, rest) = text.split_at(letter.len_utf8());
    match flags::find(name) {
        Some(flag) if flag.has_value => {
            let value = (!rest.is_empty()).then(|| rest.strip_prefix('=').unwrap_or(rest));
            option(flag, &format!("-{name}"), value, after, reading)
        }
        Some(flag) => {
            let value = rest.strip_prefix('=');
            option(flag, &format!("-{name}"), value, &[], reading);
            if value.is_some() { after } else { short(rest, after, reading) }
        }
        None => {
            reading.not_carried(
                &as_written(&format!("-{name}")),
                "it is not known",
                "look it up, and write the key of `container:` that does the same",
            );
            short(rest, after, reading)
        }
    }
}

fn option<'a>(
    flag: &Flag,
    written: &str,
    value: Option<&str>,
    after: &'a [String],
    reading: &mut Reading<'_>,
) -> &'a [String] {
    match (flag.has_value, value) {
        (false, value) => {
            reading.switch(flag, written, !matches!(value, Some("false" | "0" | "f" | "F" | "FALSE" | "False")));
            after
        }
        (true, Some(value)) => {
            reading.option(flag, written, value);
            after
        }
        (true, None) => match after.split_first() {
            Some((value, after)) => {
                reading.option(flag, written, value);
                after
            }
            None => {
                reading.not_carried(written, "its value is missing", "");
                after
            }
        },
    }
}
