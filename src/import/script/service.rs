//! `docker service create` and `update`: what they share with `docker run` is read as that, the rest is of `deploy:`.

use serde_yaml::{Mapping, Value};

use crate::import::line::UNKNOWN;
use crate::import::run_line;
use crate::import::script::docker::{image_of, keys};
use crate::import::script::reading::State;
use crate::import::script::{Verdict, carried, not_understood, to_do};

/// Options of a service alone: where each belongs below `deploy:`.
const OF_DEPLOY: [(&str, &str); 14] = [
    ("--mode", "mode"),
    ("--replicas", "replicas"),
    ("--constraint", "placement.constraints"),
    ("--limit-memory", "resources.limits.memory"),
    ("--limit-cpu", "resources.limits.cpus"),
    ("--reserve-memory", "resources.reservations.memory"),
    ("--reserve-cpu", "resources.reservations.cpus"),
    ("--restart-condition", "restart_policy.condition"),
    ("--restart-delay", "restart_policy.delay"),
    ("--restart-max-attempts", "restart_policy.max_attempts"),
    ("--update-delay", "update_config.delay"),
    ("--update-order", "update_config.order"),
    ("--update-parallelism", "update_config.parallelism"),
    ("--update-failure-action", "update_config.failure_action"),
];

/// What an update alone does not say.
pub(super) const WHOLE: &str = "carried as name, image; the section is the whole service: write its ports, variables and mounts too, as \
    `docker service inspect --pretty` lists them";

/// Options that say how the command works.
const OF_THE_COMMAND: [&str; 5] = ["--with-registry-auth", "--detach", "-d", "--quiet", "-q"];

pub(super) fn create(state: &mut State<'_>, words: &[&str]) -> Verdict {
    let (deploy, shared) = apart(words);
    let line: Vec<String> = ["docker", "run"].into_iter().chain(shared).map(str::to_owned).collect();
    let mut found = run_line(&line);
    image_of(&mut found, &line);
    if found.image.is_none() {
        return not_understood("its image cannot be read");
    }
    if !deploy.is_empty() {
        found.options.push(("deploy".to_owned(), Value::Mapping(deploy)));
    }
    if state.found.service.as_ref().is_some_and(|first| first.name != found.name) {
        return to_do("a second service: a revision deploys one");
    }
    let keys = keys(&found);
    state.found.service = Some(found);
    carried(keys)
}

/// `--image` is the only thing that is taken: what else the service has does not stand in the script.
pub(super) fn update(state: &mut State<'_>, words: &[&str]) -> Verdict {
    let image = words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix("--image=") {
        Some(image) => Some(image),
        None => (*word == "--image").then(|| words.get(at + 1).copied()).flatten(),
    });
    let Some(image) = image else { return not_understood("it changes no image: write its options under `swarm:`") };
    let name = words.last().filter(|name| !name.starts_with('-') && !name.contains(UNKNOWN) && **name != image);
    let line = ["docker".to_owned(), "run".to_owned(), image.to_owned()];
    let mut found = run_line(&line);
    image_of(&mut found, &line);
    found.name = name.map(|name| (*name).to_owned());
    if state.found.service.as_ref().is_some_and(|first| !first.options.is_empty() && first.name == found.name) {
        return carried("image");
    }
    if state.found.service.as_ref().is_some_and(|first| first.name != found.name) {
        return to_do("a second service: a revision deploys one");
    }
    state.found.service = Some(found);
    to_do(WHOLE)
}

/// What belongs below `deploy:`, and what `docker run` has too.
fn apart<'w>(words: &[&'w str]) -> (Mapping, Vec<&'w str>) {
    let (mut deploy, mut shared) = (Mapping::new(), Vec::new());
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let (name, value) = word.split_once('=').map_or((*word, None), |(name, value)| (name, Some(value)));
        if OF_THE_COMMAND.contains(&name) {
            continue;
        }
        match OF_DEPLOY.iter().find(|(option, _)| *option == name) {
            Some((_, path)) => {
                let value = value.or_else(|| rest.next().copied()).unwrap_or_default();
                put(&mut deploy, path, value);
            }
            None => shared.push(*word),
        }
    }
    (deploy, shared)
}

/// Sets a value at its path; constraints are a list.
fn put(deploy: &mut Mapping, path: &str, value: &str) {
    match path.split_once('.') {
        Some((key, "constraints")) => {
            let inner = deploy.entry(key.into()).or_insert_with(|| Value::Mapping(Mapping::new()));
            if let Some(list) = inner
                .as_mapping_mut()
                .map(|inner| inner.entry("constraints".into()).or_insert_with(|| Value::Sequence(Vec::new())))
            {
                list.as_sequence_mut().into_iter().for_each(|list| list.push(value.into()));
            }
        }
        Some((key, rest)) => {
            let inner = deploy.entry(key.into()).or_insert_with(|| Value::Mapping(Mapping::new()));
            inner.as_mapping_mut().into_iter().for_each(|inner| put(inner, rest, value));
        }
        None => {
            let number =
                value.parse::<u64>().ok().filter(|_| ["replicas", "parallelism", "max_attempts"].contains(&path));
            deploy.insert(path.into(), number.map_or_else(|| Value::from(value), Value::from));
        }
    }
}
