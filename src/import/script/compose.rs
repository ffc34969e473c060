//! `docker compose` and `docker-compose`.

use crate::config::compose::DEFAULT_FILES;
use crate::import::line::UNKNOWN;
use crate::import::script::reading::State;
use crate::import::script::{Project, Verdict, carried, not_needed, not_understood, to_do};

/// Options before the command that have a value.
const WITH_VALUE: [&str; 12] = [
    "-f", "--file", "-p", "--project-name", "--profile", "--env-file", "--project-directory", "--ansi", "--progress",
    "-H", "--context", "--parallel",
];

/// Options of `up` that have a value.
const OF_UP: [&str; 8] =
    ["--wait-timeout", "-t", "--timeout", "--scale", "--pull", "--exit-code-from", "--attach", "--no-attach"];

pub(super) fn verdict(state: &mut State<'_>, words: &[&str]) -> Verdict {
    let (options, rest) = options(words);
    match rest {
        ["up", arguments @ ..] => up(state, &options, arguments),
        ["down", arguments @ ..] if arguments.iter().any(|word| *word == "-v" || *word == "--volumes") => {
            to_do("it removes the volumes: a deployment keeps them")
        }
        ["down" | "stop" | "rm" | "kill" | "restart" | "start" | "create", ..] => {
            not_needed("ApplicationStart replaces what changed, and the old project comes back if the new one fails")
        }
        ["pull", ..] => not_needed("AfterInstall pulls the images of the Compose file"),
        ["build", ..] => to_do("nothing is built on the host: push the images, and name them under `images:`"),
        ["ps" | "logs" | "images" | "config" | "ls" | "version" | "--version" | "top", ..] => {
            not_needed("it only looks")
        }
        _ => not_understood("keep it in a script of its own, as another entry of the hook"),
    }
}

/// The options before the command, each with its value, and the command.
fn options<'w>(words: &'w [&'w str]) -> (Vec<(&'w str, &'w str)>, &'w [&'w str]) {
    let (mut options, mut rest) = (Vec::new(), words);
    while let Some((word, after)) = rest.split_first().filter(|(word, _)| word.starts_with('-')) {
        rest = match (word.split_once('='), after.split_first()) {
            (Some((name, value)), _) => {
                options.push((name, value));
                after
            }
            (None, Some((value, after))) if WITH_VALUE.contains(word) => {
                options.push((*word, *value));
                after
            }
            _ => after,
        };
    }
    (options, rest)
}

fn up(state: &mut State<'_>, options: &[(&str, &str)], arguments: &[&str]) -> Verdict {
    // Some write the file behind the command too.
    let late = arguments.iter().position(|word| *word == "-f").and_then(|at| arguments.get(at + 1));
    let of = |names: [&str; 2]| -> Vec<String> {
        let these = options.iter().filter(|(name, _)| names.contains(name));
        these.map(|(_, value)| (*value).to_owned()).collect()
    };
    let named: Vec<String> = of(["-f", "--file"]).into_iter().chain(late.map(|file| (*file).to_owned())).collect();
    let files: Result<Vec<String>, String> = match named.is_empty() {
        true => default_files(state),
        false => named
            .iter()
            .map(|file| state.bundle.find(file, state.folder.as_deref()).ok_or_else(|| file.clone()))
            .collect(),
    };
    let files = match files {
        Ok(files) => files,
        Err(missing) if missing.contains(UNKNOWN) => {
            return to_do("which Compose file it is, is known on the host alone");
        }
        Err(missing) => {
            return to_do(format!("{missing} is not in the bundle: put it there, or fix the path in `files:`"));
        }
    };
    let of_folder = || state.folder.as_deref().and_then(|folder| folder.rsplit('/').next()).map(str::to_owned);
    let of_variable = || state.lookup("COMPOSE_PROJECT_NAME");
    let name = of(["-p", "--project-name"]).into_iter().next().or_else(of_variable).or_else(of_folder);
    let project = Project {
        name: name.filter(|name| !name.contains(UNKNOWN)),
        files,
        profiles: of(["--profile", "--profile"]),
        env_file: of(["--env-file", "--env-file"])
            .iter()
            .filter_map(|file| state.bundle.find(file, state.folder.as_deref()))
            .collect(),
        services: services(arguments),
    };
    let is_other = state.found.project.as_ref().is_some_and(|first| first.files != project.files);
    if is_other {
        return to_do("a second project: a revision deploys one");
    }
    state.found.project = Some(project);
    match arguments.contains(&"--build") {
        true => to_do(
            "carried as compose.files; nothing is built on the host: push the images, and name them under `images:`",
        ),
        false => carried("compose.files"),
    }
}

/// The file that Compose finds by itself.
fn default_files(state: &State<'_>) -> Result<Vec<String>, String> {
    let found = |name: &str| state.bundle.find(name, state.folder.as_deref());
    let pair =
        DEFAULT_FILES.iter().find_map(|(base, more)| Some([found(base)?].into_iter().chain(found(more)).collect()));
    pair.ok_or_else(|| "docker-compose.yml".to_owned())
}

fn services(arguments: &[&str]) -> Vec<String> {
    let mut services = Vec::new();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        match *word {
            word if OF_UP.contains(&word) || word == "-f" => _ = rest.next(),
            word if word.starts_with('-') || word.contains(UNKNOWN) => {}
            word => services.push(word.to_owned()),
        }
    }
    services
}
