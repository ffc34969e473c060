//! Commands of docker and Compose.

use crate::import::line::{UNKNOWN, as_written};
use crate::import::script::commands::Pipeline;
use crate::import::script::reading::State;
use crate::import::script::{Verdict, carried, compose, not_needed, not_understood, service, to_do};
use crate::import::{Imported, run_line_in};

const TOKEN: &str = "balehook gets the registry's token itself, and writes it nowhere";
const KEEP: &str = "images of older releases are removed: `keep:` says how many stay";
const LOOKS: &str = "it only looks";

/// What a command of docker is worth; `None`: it is none.
pub(super) fn verdict(state: &mut State<'_>, stages: &[Vec<String>], pipeline: &Pipeline) -> Option<Verdict> {
    let at = stages.iter().position(|words| words.first().is_some_and(|word| is_docker(word)))?;
    let words: Vec<&str> = stages[at].iter().map(String::as_str).collect();
    let before: Vec<&str> = stages[..at].iter().flatten().map(String::as_str).collect();
    let name = words[0].rsplit('/').next()?;
    if name == "docker-compose" {
        return Some(compose::verdict(state, &words[1..]));
    }
    let rest = without_global(&words[1..]);
    Some(match rest {
        ["compose", rest @ ..] => compose::verdict(state, rest),
        ["login", rest @ ..] => login(rest, &before),
        ["pull", rest @ ..] | ["image", "pull", rest @ ..] => pull(rest),
        ["run" | "create", ..] | ["container", "run" | "create", ..] => run(state, &stages[at]),
        ["stop" | "rm" | "kill", rest @ ..] | ["container", "stop" | "rm" | "kill", rest @ ..] => {
            Verdict::Stop(names(rest))
        }
        ["start" | "restart" | "rename" | "update", ..] => {
            not_needed("ApplicationStart replaces and starts the container")
        }
        ["rmi", ..] | ["image" | "images", "prune" | "rm", ..] | ["container" | "builder" | "buildx", "prune", ..] => {
            not_needed(KEEP)
        }
        ["system", "prune", rest @ ..] if !rest.contains(&"--volumes") => not_needed(KEEP),
        ["ps" | "images" | "logs" | "inspect" | "info" | "version" | "--version" | "stats" | "port" | "top", ..]
        | ["image" | "container" | "volume" | "network", "ls" | "inspect", ..]
        | ["service" | "stack", "ls" | "ps" | "logs" | "inspect" | "services", ..] => not_needed(LOOKS),
        ["load", rest @ ..] | ["image", "load", rest @ ..] => load(state, rest, &before, pipeline),
        ["build" | "buildx", ..] | ["image", "build", ..] => {
            to_do("nothing is built on the host: build and push in the pipeline, and name the image")
        }
        ["tag", ..] | ["image", "tag", ..] => not_needed("a release names its image by digest"),
        ["push", ..] => to_do("a deployment pushes nothing: push in the pipeline"),
        ["service", "create", rest @ ..] => service::create(state, rest),
        ["service", "update", rest @ ..] => service::update(state, rest),
        ["stack", "deploy", ..] => to_do(
            "a stack has several services, and a revision deploys one: write a revision with `swarm:` for each, or deploy its file with `compose:`",
        ),
        ["swarm", "init", ..] => to_do("write `swarm: {init: true}`, or make the swarm once by hand"),
        ["network" | "volume" | "secret" | "config", "create", ..] => {
            to_do("make it once, when the host is made; `networks:` and `volumes:` name it")
        }
        _ => return None,
    })
}

fn is_docker(word: &str) -> bool {
    ["docker", "podman", "docker-compose"].contains(&word.rsplit('/').next().unwrap_or_default())
}

fn without_global<'w>(words: &'w [&'w str]) -> &'w [&'w str] {
    match words {
        ["-H" | "--host" | "-c" | "--context" | "--config", _, rest @ ..] => rest,
        words => words,
    }
}

fn login(words: &[&str], before: &[&str]) -> Verdict {
    let all = [before, words].concat().join(" ");
    let is_ecr = all.contains("ecr get-login") || all.contains(".amazonaws.com") || all.contains(" AWS");
    match is_ecr {
        true => not_needed(TOKEN),
        false => to_do("log in once on each host, as root: balehook takes the credentials of docker's `config.json`"),
    }
}

/// The words that are no options.
fn names(words: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "-t" | "--time" | "-s" | "--signal" => _ = words.next(),
            word if word.starts_with('-') => {}
            word => names.push(word.to_owned()),
        }
    }
    names
}

fn pull(words: &[&str]) -> Verdict {
    let image = words.iter().rev().find(|word| !word.starts_with('-'));
    image.map_or_else(|| not_understood("it names no image"), |image| Verdict::Pull((*image).to_owned()))
}

/// `load -i FILE`, `load < FILE`, `aws s3 cp s3://… - | docker load`, `gunzip -c FILE | docker load`.
fn load(state: &State<'_>, words: &[&str], before: &[&str], pipeline: &Pipeline) -> Verdict {
    let named = words.iter().find_map(|word| word.strip_prefix("--input=").map(str::to_owned));
    let after = words.iter().position(|word| *word == "-i" || *word == "--input").and_then(|at| words.get(at + 1));
    let sent = before.iter().find(|word| word.starts_with("s3://")).or_else(|| match before {
        ["cat" | "gunzip" | "zcat" | "gzip" | "zstd" | "xz", rest @ ..] => {
            rest.iter().find(|word| !word.starts_with('-'))
        }
        _ => None,
    });
    let file = named.or_else(|| after.map(|file| (*file).to_owned())).or_else(|| pipeline.from.clone());
    let file = file.or_else(|| sent.map(|file| (*file).to_owned()));
    match file {
        None => not_understood("which archive is loaded is not known"),
        Some(file) => Verdict::Load(match &state.folder {
            Some(folder) if !file.starts_with('/') && !file.contains("://") => format!("{folder}/{file}"),
            _ => file,
        }),
    }
}

fn run(state: &mut State<'_>, words: &[String]) -> Verdict {
    let folder = state.folder.clone();
    let mut found = run_line_in(words, folder.as_deref().map(std::path::Path::new));
    image_of(&mut found, words);
    let Some(image) = found.image.clone() else { return not_understood("its image cannot be read") };
    let short =
        |letter| words.iter().any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letter));
    let is_once =
        words.iter().any(|word| word == "--rm") && !short('d') && !words.iter().any(|word| word == "--detach");
    if is_once {
        return to_do(format!("a task: write `before: [{{name: …, image: {image}, command: …}}]`"));
    }
    if state.found.container.as_ref().is_some_and(|first| *first != found) {
        return to_do(
            "a second container: a revision deploys one; put them into a Compose file, or make a second revision",
        );
    }
    // A deployment runs it so anyway.
    found.not_carried.retain(|item| item.option != "-d" && item.option != "--detach");
    let keys = keys(&found);
    state.found.container = Some(found);
    carried(keys)
}

/// An image of which a variable is not known: the variable's name stands in its place.
pub(super) fn image_of(found: &mut Imported, words: &[String]) {
    let at = found
        .not_carried
        .iter()
        .position(|item| words.iter().any(|word| word.contains(UNKNOWN) && as_written(word) == item.option));
    let (None, Some(at)) = (&found.image, at) else { return };
    let written = found.not_carried.remove(at).option;
    let image = in_its_place(&written);
    found
        .remarks
        .push(format!("the image is {written}, of which a variable is not known: {image} stands in its place"));
    found.image = Some(image);
}

/// A name that every reader accepts, of which each part says what belongs there.
pub(super) fn in_its_place(written: &str) -> String {
    let mut image = String::new();
    for part in written.split_inclusive(['/', ':', '.', '@']) {
        let (name, end) = part.split_at(part.trim_end_matches(['/', ':', '.', '@']).len());
        let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
        let plain: String = name.chars().map(letter).collect();
        image.push_str(plain.trim_matches('-'));
        image.push_str(end);
    }
    image
}

/// The keys that a container was carried as, and the options that were not.
pub(super) fn keys(found: &Imported) -> String {
    let mut keys: Vec<&str> = found.name.iter().map(|_| "name").chain(["image"]).collect();
    keys.extend(found.options.iter().map(|(key, _)| key.as_str()));
    let aside: Vec<String> =
        found.not_carried.iter().map(|item| format!("{} ({})", item.option, item.reason)).collect();
    match aside.is_empty() {
        true => keys.join(", "),
        false => format!("{}; not carried: {}", keys.join(", "), aside.join(", ")),
    }
}
