//! Commands of docker and Compose.

use serde_yaml::Value;

use crate::import::line::{UNKNOWN, as_written};
use crate::import::script::commands::Pipeline;
use crate::import::script::reading::State;
use crate::import::script::{Fate, Found, Told, Verdict, carried, compose, not_needed, not_understood, service, to_do};
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
fn in_its_place(written: &str) -> String {
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

impl State<'_> {
    /// What follows from the whole.
    pub(super) fn finish(mut self, all: Vec<(Told, Verdict)>) -> (Vec<Told>, Found) {
        let copies: Vec<(String, String)> = all
            .iter()
            .filter_map(|(_, verdict)| match verdict {
                Verdict::Copy(from, to) => Some((from.clone(), to.clone())),
                _ => None,
            })
            .collect();
        self.env_files(&copies);
        // What is loaded says what is copied for it, which stands before.
        let is_load = |verdict: &Verdict| matches!(verdict, Verdict::Load(_));
        let mut told: Vec<(Told, Verdict)> = all;
        for (line, verdict) in told.iter_mut().filter(|(_, verdict)| is_load(verdict)) {
            line.fate = self.fate(verdict.clone(), &copies);
        }
        for (line, verdict) in told.iter_mut().filter(|(_, verdict)| !is_load(verdict)) {
            line.fate = self.fate(verdict.clone(), &copies);
        }
        if self.found.service.as_ref().is_some_and(|service| !service.options.is_empty()) {
            let updates = told.iter_mut().filter(|(line, _)| line.fate == Fate::ToDo(service::WHOLE.into()));
            updates.for_each(|(line, _)| line.fate = Fate::Carried("name, image".into()));
        }
        let told = told.into_iter().map(|(line, _)| line).collect();
        if let (Some(archive), Some(container)) = (&self.found.archive, &mut self.found.container) {
            let mut source = serde_yaml::Mapping::from_iter([("archive".into(), archive.as_str().into())]);
            source.extend(container.image.iter().map(|image| (Value::from("reference"), Value::from(image.as_str()))));
            container.options.push(("image".to_owned(), Value::Mapping(source)));
        }
        (told, self.found)
    }

    /// An `env_file` that was fetched from S3 is named there.
    fn env_files(&mut self, copies: &[(String, String)]) {
        let options = self.found.container.iter_mut().flat_map(|container| &mut container.options);
        let files = options.filter(|(key, _)| key == "env_file").filter_map(|(_, value)| value.as_sequence_mut());
        for file in files.flatten() {
            let object = file.as_str().and_then(|file| copies.iter().find(|(_, to)| is_same(to, file)));
            if let Some((from, _)) = object {
                *file = from.as_str().into();
            }
        }
    }

    fn fate(&mut self, verdict: Verdict, copies: &[(String, String)]) -> Fate {
        match verdict {
            Verdict::Now(fate) => fate,
            Verdict::Pull(image) => self.pulled(&image),
            Verdict::Load(file) => self.loaded(&file, copies),
            Verdict::Stop(names) => self.stopped(&names),
            Verdict::Copy(from, to) => self.copied(&from, &to),
        }
    }

    fn pulled(&self, image: &str) -> Fate {
        let wanted = self.found.container.iter().chain(&self.found.service).filter_map(|found| found.image.as_deref());
        let plain = |image: &str| image.trim_end_matches(":latest").to_owned();
        match wanted.map(plain).any(|wanted| wanted == plain(image) || image.contains(UNKNOWN)) {
            true => Fate::Carried("image: AfterInstall pulls it".into()),
            false if self.found.project.is_some() => {
                Fate::NotNeeded("AfterInstall pulls the images of the Compose file".into())
            }
            false => Fate::ToDo("no line runs this image".into()),
        }
    }

    fn loaded(&mut self, file: &str, copies: &[(String, String)]) -> Fate {
        let of_s3 = copies.iter().find(|(_, to)| is_same(to, file)).map(|(from, _)| from.clone());
        let inside = self.bundle.find(file, None);
        let s3 = file.starts_with("s3://").then(|| file.to_owned());
        let relative =
            (!file.starts_with('/') && !file.contains(UNKNOWN)).then(|| file.trim_start_matches("./").to_owned());
        let archive = s3.or(of_s3).or(inside).or(relative).filter(|archive| !archive.contains(UNKNOWN));
        match archive {
            None => Fate::ToDo(format!("{} is not in the bundle: name the archive there, or in S3", as_written(file))),
            Some(archive) if self.found.archive.as_ref().is_some_and(|first| *first != archive) => {
                Fate::ToDo("a second archive: a revision deploys one image".into())
            }
            Some(archive) => {
                self.found.archive = Some(archive);
                Fate::Carried("image.archive".into())
            }
        }
    }

    fn stopped(&self, names: &[String]) -> Fate {
        let ours = self.found.container.as_ref().and_then(|container| container.name.as_deref());
        let other = names.iter().find(|name| !name.contains(UNKNOWN) && ours.is_some_and(|ours| ours != name.as_str()));
        match other {
            Some(other) => {
                Fate::ToDo(format!("{other} is another container, which balehook leaves alone: stop it once by hand"))
            }
            None if names.iter().any(|name| name.contains(UNKNOWN)) => {
                Fate::NotNeeded("ApplicationStart replaces its own container, and leaves all others alone".into())
            }
            None => Fate::NotNeeded(
                "ApplicationStart replaces the container, and the old one comes back if the new one fails".into(),
            ),
        }
    }

    fn copied(&self, from: &str, to: &str) -> Fate {
        let is_archive = self.found.archive.as_deref() == Some(from);
        let container = self.found.container.as_ref();
        let files = container.and_then(|container| container.get("env_file")?.as_sequence());
        let is_env = files.is_some_and(|files| files.iter().any(|file| file.as_str() == Some(from)));
        match (is_archive || to == "-", is_env) {
            (true, _) => Fate::Carried("image.archive: only the layers that are missing are fetched".into()),
            (_, true) => Fate::Carried("env_file".into()),
            (false, false) => {
                Fate::NotUnderstood("keep it in a script of its own, as another entry of the hook".into())
            }
        }
    }
}

/// Whether two paths of a script are the same file.
fn is_same(one: &str, other: &str) -> bool {
    let plain = |path: &str| path.trim_start_matches("./").to_owned();
    plain(one) == plain(other)
        || one.ends_with(&format!("/{}", plain(other)))
        || other.ends_with(&format!("/{}", plain(one)))
}
