//! Commands of a host beside docker: registries' tokens, S3, health loops, packages, and what only prints or steers.

use crate::import::line::UNKNOWN;
use crate::import::script::commands::Pipeline;
use crate::import::script::reading::State;
use crate::import::script::{Verdict, carried, not_needed, not_understood, to_do};

/// Why a word such as `fi` is not needed.
pub(super) const STEERS: &str = "it steers the script";

/// Words that stand alone between the parts of `if`, `for` and `case`.
pub(super) const CLOSES: [&str; 9] = ["fi", "done", "esac", "else", "then", "do", "{", "}", ";;"];

const TOKEN: &str = "balehook gets the registry's token itself, and writes it nowhere";

/// What one of these is worth; `None`: it is none of them.
pub(super) fn verdict(state: &mut State<'_>, stages: &[Vec<String>], pipeline: &Pipeline) -> Option<Verdict> {
    let words: Vec<&str> = stages.first()?.iter().map(String::as_str).collect();
    let whole = words.join(" ");
    if whole.contains("aws ecr get-login") || whole.contains("aws ecr get-authorization-token") {
        return Some(not_needed(TOKEN));
    }
    let name = words.first()?.rsplit('/').next()?;
    let verdict = match (name, words.get(1..)?) {
        (
            "fi" | "done" | "esac" | "else" | "then" | "do" | "}" | "{" | "if" | "for" | "while" | "case" | "until",
            _,
        )
        | ("true" | ":" | "exit" | "return" | "[" | "[[" | "test" | "break" | "continue" | "trap" | "shift", _)
        | ("elif" | "let" | "set" | "shopt" | "in" | "wait", _) => not_needed(STEERS),
        ("echo" | "printf" | "date" | "whoami" | "pwd" | "ls" | "tee" | "logger" | "tput", _) => {
            return Some(prints(pipeline));
        }
        ("cat" | "grep" | "jq" | "awk" | "ps" | "pgrep" | "which" | "type" | "hostname" | "id" | "df" | "free", _)
            if pipeline.into.iter().all(|file| is_log(file)) =>
        {
            not_needed("it only looks")
        }
        ("command", _) | ("-v", _) => not_needed("it only looks"),
        ("sleep", _) => not_needed("the health check asks until it is answered, from the first moment"),
        ("rm", arguments) => {
            let files = arguments.iter().filter(|word| !word.starts_with('-'));
            Verdict::Remove(files.map(|file| (*file).to_owned()).collect())
        }
        ("curl" | "wget", arguments) => return web(state, arguments, pipeline),
        ("aws", ["s3", "cp", rest @ ..]) => return copy(rest),
        ("aws", ["sts", ..] | ["configure", ..]) => not_needed("balehook uses the instance's role"),
        ("source" | ".", [file, ..]) if file.ends_with(".bashrc") || file.ends_with("profile") => {
            not_needed("a hook of balehook needs no shell")
        }
        ("source" | ".", [file, ..]) if state.source(file) => not_needed("its variables are put where they are used"),
        ("systemctl" | "service" | "yum" | "apt" | "apt-get" | "dnf" | "amazon-linux-extras" | "snap", arguments) => {
            return packages(name, arguments);
        }
        ("usermod" | "gpasswd" | "groupadd" | "newgrp", arguments) if arguments.contains(&"docker") => {
            not_needed("hooks run as root")
        }
        _ => return None,
    };
    Some(verdict)
}

/// What is only printed; a file that is no log may be needed.
fn prints(pipeline: &Pipeline) -> Verdict {
    let file = pipeline.into.iter().find(|file| !is_log(file));
    match file {
        None if pipeline.stages.len() == 1 => not_needed("balehook says itself what it does"),
        None if pipeline.stages.iter().skip(1).all(|words| words.first().is_some_and(|word| word == "tee")) => {
            not_needed("balehook says itself what it does")
        }
        None => not_understood("keep it in a script of its own, as another entry of the hook"),
        Some(_) => {
            not_understood("it writes a file: put the file into the bundle, or keep this as another entry of the hook")
        }
    }
}

fn is_log(file: &str) -> bool {
    file.starts_with("/dev/") || file.ends_with(".log") || file.starts_with("/var/log/")
}

/// An address of this host is a health check.
fn web(state: &mut State<'_>, words: &[&str], pipeline: &Pipeline) -> Option<Verdict> {
    let all = words.join(" ");
    if all.contains("docker-compose") || all.contains("docker/compose") || all.contains("get.docker.com") {
        return Some(not_needed("Docker and Compose belong to the host: install them when it is made"));
    }
    let local = ["localhost", "127.0.0.1", "0.0.0.0"];
    let address = words.iter().find_map(|word| {
        let bare = word.strip_prefix("http://").or_else(|| word.strip_prefix("https://")).unwrap_or(word);
        let host = bare.split(['/', ':', '?']).next()?;
        local.contains(&host).then_some((*word, bare))
    });
    let Some((word, bare)) = address else {
        let is_kept = pipeline.into.iter().any(|file| !is_log(file));
        return (!is_kept).then(|| not_understood("it asks another host: `health.http` asks this host alone"));
    };
    if word.contains(UNKNOWN) {
        return Some(to_do("a health check of which the address is not known: write `health: {http: …}`"));
    }
    if word.starts_with("https://") {
        return Some(to_do("a health check by https, which is not supported: write `health: {tcp: …}`"));
    }
    let (_, rest) = bare.split_at(bare.find([':', '/', '?']).unwrap_or(bare.len()));
    let slash = if rest.contains('/') { "" } else { "/" };
    let address = format!("http://127.0.0.1{rest}{slash}");
    if state.found.health.as_ref().is_some_and(|first| *first != address) {
        return Some(to_do("a second address: `health.http` asks the first one"));
    }
    state.found.health = Some(address);
    Some(carried("health.http"))
}

fn copy(words: &[&str]) -> Option<Verdict> {
    let plain: Vec<&&str> = words.iter().filter(|word| !word.starts_with("--")).collect();
    match plain.as_slice() {
        [from, to, ..] if from.starts_with("s3://") => Some(Verdict::Copy((**from).to_owned(), (**to).to_owned())),
        _ => None,
    }
}

/// What makes a host; of other services nothing is known.
fn packages(name: &str, words: &[&str]) -> Option<Verdict> {
    let is_docker = |word: &&&str| word.starts_with("docker") || word.starts_with("containerd");
    let refreshes = words.iter().any(|word| ["update", "upgrade", "-y", "-q", "-qq"].contains(word))
        && words.iter().all(|word| ["update", "upgrade", "-y", "-q", "-qq"].contains(word));
    let only_docker = words
        .iter()
        .filter(|word| !word.starts_with('-'))
        .skip(usize::from(name != "service"))
        .all(|word| is_docker(&word));
    match words.iter().find(is_docker) {
        Some(_) if name == "systemctl" || name == "service" => {
            Some(not_needed("BeforeInstall fails where the engine does not run: enable it once, when the host is made"))
        }
        Some(_) if only_docker => Some(not_needed("Docker belongs to the host: install it when it is made")),
        Some(_) => Some(to_do("Docker belongs to the host: install this when it is made")),
        None if refreshes => Some(not_needed("a deployment does not update the host")),
        None => None,
    }
}
