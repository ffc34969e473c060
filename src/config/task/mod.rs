//! `before` and `after`: one-shot tasks that are hung around a deployment.
//!
//! A task is a container with the service's own options and another command, or a command of the bundle on the host. In a
//! swarm one manager runs each.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::field::Field;
use crate::config::rules::{HOOK_TOO_SHORT, MISSING_KEY};
use crate::config::service::{ParseContext, command, environment, location, words};
use crate::config::validate::section;
use crate::config::yaml::Value;
use crate::config::{ArchiveLocation, ImageNeed, ImageSource};
use crate::values::types::{EnvVar, LifecycleEvent, Name, Refused};

/// Keys of a task that only a container has.
const OF_A_CONTAINER: [&str; 5] = ["service", "image", "command", "entrypoint", "user"];

/// How long a task may take, where it says nothing.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Words that only a shell understands.
const SHELL: [&str; 10] = ["&&", "||", "|", ";", ">", ">>", "<", "2>", "2>&1", "&"];

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tasks {
    /// `x-balehook.before`: run when the new release is ready and the old one still serves.
    pub(crate) before: Vec<Task>,
    /// `x-balehook.after`: run when the new release is healthy.
    pub(crate) after: Vec<Task>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    /// `name`; no two tasks of a deployment have the same.
    pub(crate) name: Name,
    pub(crate) work: Work,
    /// `environment`: beside the service's own, or beside the hook's for a command on the host.
    pub(crate) environment: Vec<EnvVar>,
    /// `timeout`, from 1 s to an hour. Default 60 s.
    pub(crate) timeout: Duration,
    /// A failure ends the deployment. Always so for `before`; `required` of an `after`, by default `false`.
    pub(crate) required: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Work {
    Container(Box<InContainer>),
    Command(OnHost),
}

/// What a task's container has that the service's has not.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct InContainer {
    /// `service`: whose container it is, in a Compose project; always there in that mode, and in no other.
    pub(crate) service: Option<String>,
    /// `image`, in place of the service's.
    pub(crate) image: Option<ImageSource>,
    /// `command`, in place of the service's and of the image's.
    pub(crate) command: Option<Vec<String>>,
    /// `entrypoint`, in place of the service's and of the image's.
    pub(crate) entrypoint: Option<Vec<String>>,
    /// `user`, in place of the service's.
    pub(crate) user: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OnHost {
    /// The program (absolute, or a name that PATH knows) and its arguments.
    pub(crate) words: Vec<String>,
    /// The bundle's root, where it is started.
    pub(crate) folder: PathBuf,
}

impl Task {
    /// The image, where it has its own.
    pub(crate) fn need(&self) -> Option<ImageNeed> {
        match &self.work {
            Work::Container(inside) => inside.image.clone().map(|source| ImageNeed { source, platform: None }),
            Work::Command(_) => None,
        }
    }
}

impl Tasks {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Task> {
        self.before.iter().chain(&self.after)
    }
}

pub(crate) fn read(
    section: &Field<'_>,
    around: &ParseContext<'_>,
    timeouts: &BTreeMap<LifecycleEvent, Duration>,
) -> Tasks {
    let list = |key: &str| {
        let list = section.given(key)?;
        Some(list.items(|item| {
            of_a_project(item, section.get("compose").is_some());
            task(item, key == "before", around)
        }))
    };
    let [before, after] = ["before", "after"].map(|key| list(key).unwrap_or_default());
    let tasks = Tasks { before, after };
    names(section);
    enough_time(section, &tasks, timeouts);
    tasks
}

fn task(field: &Field<'_>, is_before: bool, around: &ParseContext<'_>) -> Option<Task> {
    let (name, run, inside, common) = field.mapping(|keys| {
        let name: Option<Name> = keys.parsed("name", str::parse);
        let run = keys.get("run", |field| on_host(field, around.bundle_root));
        let inside = InContainer {
            service: keys.get("service", Field::text),
            image: keys.get("image", |field| section::image_source(field, around)),
            command: keys.get("command", command),
            entrypoint: keys.get("entrypoint", command),
            user: keys.get("user", Field::text),
        };
        let environment = keys.all("environment", |field| environment(field, around)).unwrap_or_default();
        let timeout = keys.parsed("timeout", limit).unwrap_or(TIMEOUT);
        let required = keys.all("required", |field| is_required(field, is_before)).unwrap_or(is_before);
        (name, run, inside, (environment, timeout, required))
    });
    let (environment, timeout, required) = common;
    let work = work(field, run, inside);
    if field.node.as_mapping().is_some() && field.node.get("name").is_none() {
        field.broken(MISSING_KEY, "`name` is missing", "write `name: migrate`: the report and the container bear it");
    }
    Some(Task { name: name?, work: work?, environment, timeout, required })
}

/// A project has several services, with the images that its files name.
fn of_a_project(field: &Field<'_>, is_project: bool) {
    let node = field.node;
    let has = |key: &str| node.get(key).is_some();
    if has("service") && !is_project {
        field.error("`service` names one of a Compose project", "leave it out: there is one service");
    } else if is_project && has("image") {
        let help = "add a service with that image and `scale: 0` to the Compose file, and name it with `service:`";
        field.error("a task of a Compose project runs one of its services", help);
    } else if is_project && !has("service") && OF_A_CONTAINER.iter().any(|key| has(key)) {
        field.broken(
            MISSING_KEY,
            "`service` is missing",
            "write `service: web`: the one whose configuration the task takes",
        );
    }
}

/// A command on the host, or a container: a task must say which.
fn work(field: &Field<'_>, run: Option<OnHost>, inside: InContainer) -> Option<Work> {
    let node = field.node;
    node.as_mapping()?;
    let of_a_container: Vec<&str> = OF_A_CONTAINER.into_iter().filter(|key| node.get(key).is_some()).collect();
    match (node.get("run").is_some(), of_a_container.first()) {
        (true, Some(key)) => {
            let message = format!("`run` is a command on the host, `{key}` belongs to a container");
            field.refuse(message, "keep one of them")
        }
        (true, None) => run.map(Work::Command),
        (false, Some(_)) => Some(Work::Container(Box::new(inside))),
        (false, None) => field.refuse(
            "nothing to run",
            "write `command: [bin/migrate]` for a container of the new image, or `run: scripts/migrate.sh` for the host",
        ),
    }
}

/// A program with a `/` is a file of the bundle, or absolute; one without is looked up in PATH.
fn on_host(field: &Field<'_>, root: &Path) -> Option<OnHost> {
    let is_list = matches!(field.node.value, Value::Sequence(_));
    let found = match is_list {
        true => field.texts(),
        false => field.parsed(words)?,
    };
    let Some((program, arguments)) = found.split_first() else {
        return field.refuse("names no program", "write `run: scripts/migrate.sh`, or a list of words");
    };
    if let Some(word) = arguments.iter().find(|word| !is_list && SHELL.contains(&word.as_str())) {
        let message = format!("no shell runs this: `{word}` would be an argument of {program}");
        return field.refuse(message, "put it into a script of the bundle, or write a list: [sh, -c, \"…\"]");
    }
    let program = match program.contains('/') {
        true => in_bundle(field, program, root)?,
        false => program.clone(),
    };
    let words = std::iter::once(program).chain(arguments.iter().cloned()).collect();
    Some(OnHost { words, folder: root.to_owned() })
}

fn in_bundle(field: &Field<'_>, program: &str, root: &Path) -> Option<String> {
    let path = match location(program, root) {
        Ok(ArchiveLocation::File(path)) => path,
        Ok(ArchiveLocation::S3(_)) => return field.refuse(format!("`{program}` is no file"), "put it into the bundle"),
        Err(Refused(why)) => return field.refuse(format!("`{program}` {why}"), ""),
    };
    if path.starts_with(root) && !path.is_file() {
        let help = "the path is relative to appspec.yml; a name without `/` is looked up in PATH";
        return field.refuse(format!("`{program}` is not in the bundle"), help);
    }
    Some(path.to_string_lossy().into_owned())
}

fn is_required(field: &Field<'_>, is_before: bool) -> bool {
    match field.boolean() {
        Some(false) if is_before => {
            field.error("a `before` task that fails always ends the deployment", "leave `required` out");
            true
        }
        Some(required) => required,
        None => is_before,
    }
}

fn limit(text: &str) -> Result<Duration, Refused> {
    let found = crate::values::duration::parse(text)?;
    let good = (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&found);
    if good { Ok(found) } else { Err(Refused("must be from 1s to 1h".into())) }
}

/// The name is the container's and the report's: no two tasks have the same.
fn names(section: &Field<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    let lists: Vec<Field<'_>> = ["before", "after"].iter().filter_map(|key| section.get(key)).collect();
    for field in lists.iter().flat_map(Field::each).filter_map(|item| item.get("name")) {
        let name = field.node.as_text().unwrap_or_default();
        if seen.contains(&name) {
            field.error(format!("a second task is named `{name}`"), "rename it");
        }
        seen.push(name);
    }
}

fn enough_time(section: &Field<'_>, tasks: &Tasks, timeouts: &BTreeMap<LifecycleEvent, Duration>) {
    let Some(hook) = timeouts.get(&LifecycleEvent::ApplicationStart) else { return };
    let sum: Duration = tasks.all().map(|task| task.timeout).sum();
    let key = if tasks.before.is_empty() { "after" } else { "before" };
    if let Some(list) = section.key(key).filter(|_| sum >= *hook) {
        list.warning(
            HOOK_TOO_SHORT,
            format!("the ApplicationStart hook has {hook:?}, its tasks alone may take {sum:?}"),
            "raise the hook's `timeout:`, or lower those of the tasks",
        );
    }
}
