//! Hook scripts of a shell: what became of each line, and what they deploy. What a line does is never guessed: who reads
//! the result sees each line that was not understood.

mod commands;
mod compose;
mod docker;
mod finish;
mod host;
mod reading;
mod service;
mod write;

pub use reading::read;
pub use write::{appspec, kept};

use crate::import::Imported;

/// A script.
#[derive(Debug, Clone)]
pub struct Script {
    /// Its path, as it is shown.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handling {
    /// It is in the written file, as these keys.
    Carried(String),
    /// balehook does without it: why.
    NotNeeded(String),
    /// It is understood, and a person has to do something.
    ToDo(String),
    /// It is shown, and nothing was made of it.
    NotUnderstood(String),
}

/// A command of a script with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineReport {
    /// The script.
    pub path: String,
    /// Its line.
    pub line: usize,
    /// As it was written, in one line, with `***` for what looks like a secret.
    pub text: String,
    /// What became of it.
    pub handling: Handling,
}

/// A Compose project that scripts bring up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    /// `--project-name`, or the folder's name.
    pub name: Option<String>,
    /// The files, from the bundle's folder.
    pub files: Vec<String>,
    /// `--profile`.
    pub profiles: Vec<String>,
    /// `--env-file`.
    pub env_file: Vec<String>,
    /// The services that are named.
    pub services: Vec<String>,
}

/// What scripts deploy.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// `docker run`.
    pub container: Option<Imported>,
    /// `docker compose up`.
    pub project: Option<Project>,
    /// `docker service create` or `update`; the options are those of `swarm:`.
    pub service: Option<Imported>,
    /// The address that is asked until it answers.
    pub health: Option<String>,
    /// The archive that is loaded: a path in the bundle, or of S3.
    pub archive: Option<String>,
    /// What a person should look at.
    pub remarks: Vec<String>,
}

/// The bundle around the scripts.
pub struct Bundle<'a> {
    /// `files:` of the old appspec.yml: source and destination.
    pub installed: Vec<(String, String)>,
    /// The text of a file, by its path from the bundle's folder.
    pub read: &'a dyn Fn(&str) -> Option<String>,
    /// Variables that a person gives: `TAG=1.4.2 balehook import .`
    pub given: &'a dyn Fn(&str) -> Option<String>,
}

impl Bundle<'_> {
    /// Where in the bundle a file lies that a script names; `folder`: where the script is.
    pub(crate) fn find(&self, path: &str, folder: Option<&str>) -> Option<String> {
        let whole = match folder {
            Some(folder) if !path.starts_with('/') => format!("{}/{path}", folder.trim_end_matches('/')),
            _ => path.to_owned(),
        };
        let clean = |path: &str| path.trim_start_matches('/').replace("/./", "/").trim_start_matches("./").to_owned();
        let of_archive = whole.split_once("/deployment-archive/").map(|(_, inside)| clean(inside));
        let installed = self.installed.iter().filter_map(|(source, destination)| {
            let inside = whole.strip_prefix(destination.trim_end_matches('/'))?.trim_start_matches('/');
            let source = clean(source);
            let source = source.trim_end_matches('/');
            Some(if source.is_empty() || source == "." { clean(inside) } else { format!("{source}/{}", clean(inside)) })
        });
        let relative = (!path.starts_with('/')).then(|| clean(path));
        let mut all = of_archive.into_iter().chain(installed).chain(relative);
        all.find(|path| (self.read)(path).is_some())
    }
}

impl Handling {
    /// Its word in the list.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Carried(_) => "carried",
            Self::NotNeeded(_) => "not needed",
            Self::ToDo(_) => "to do",
            Self::NotUnderstood(_) => "not understood",
        }
    }

    /// As what, or why.
    pub fn text(&self) -> &str {
        match self {
            Self::Carried(text) | Self::NotNeeded(text) | Self::ToDo(text) | Self::NotUnderstood(text) => text,
        }
    }

    /// Whether somebody has to look at it.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::ToDo(_) | Self::NotUnderstood(_))
    }
}

/// A fate that follows from the whole: one line says what another one is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Now(Handling),
    /// An image that is pulled.
    Pull(String),
    /// An archive that is loaded.
    Load(String),
    /// An object of S3, and where it is put.
    Copy(String, String),
    /// Files that are removed.
    Remove(Vec<String>),
    /// Containers that are stopped or removed.
    Stop(Vec<String>),
}

fn carried(text: impl Into<String>) -> Verdict {
    Verdict::Now(Handling::Carried(text.into()))
}

fn not_needed(text: impl Into<String>) -> Verdict {
    Verdict::Now(Handling::NotNeeded(text.into()))
}

fn to_do(text: impl Into<String>) -> Verdict {
    Verdict::Now(Handling::ToDo(text.into()))
}

fn not_understood(text: impl Into<String>) -> Verdict {
    Verdict::Now(Handling::NotUnderstood(text.into()))
}
