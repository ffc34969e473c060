//! `secrets` and `configs`: existing ones by name, or made from a file of the bundle.

use std::path::PathBuf;

use crate::config::field::Field;
use crate::config::secrets::{Defined, path};
use crate::config::service::ParseContext;
use crate::config::yaml::Value;
use crate::values::source::Source;
use crate::values::types::{Refused, Secret};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// Encrypted in the swarm; in memory alone on a node.
    Secret,
    /// Readable by each client of a manager.
    Config,
}

/// A secret or a config in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedFile {
    pub(crate) kind: FileKind,
    /// Where it comes from.
    pub source: FileSource,
    /// Its path in the container; of a secret also a name under `/run/secrets`.
    pub(crate) target: String,
    /// Owner, as a number.
    pub(crate) uid: String,
    /// Group, as a number.
    pub(crate) gid: String,
    /// Permissions.
    pub(crate) mode: u32,
}

/// Where a secret or a config comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// It exists in the swarm under that name.
    Existing(String),
    /// It is made from a variable, and named by this and the value.
    Variable {
        /// The name's beginning.
        stem: String,
        /// The variable.
        name: String,
        /// Its value, where it is set.
        value: Option<Secret>,
    },
    /// It is fetched, and named by this and the value.
    Fetched {
        /// The name's beginning.
        stem: String,
        /// Where the value lies.
        source: Source,
    },
    /// It is made from a file, and named by this and the file's content.
    File {
        /// The name's beginning.
        stem: String,
        /// The file.
        path: PathBuf,
    },
}

impl FileKind {
    /// The word for people, and docker's command.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }
}

pub(crate) fn read(field: &Field<'_>, kind: FileKind, around: &ParseContext<'_>) -> Vec<MountedFile> {
    let files = field.items(|field| match field.node.value {
        Value::Mapping(_) => long(field, kind, around),
        _ => field.parsed(name).map(|name| mounted(kind, defined(kind, &name, around), &name)),
    });
    let twice =
        files.iter().enumerate().find(|(at, file)| files[..*at].iter().any(|known| known.target == file.target));
    if let Some((_, file)) = twice {
        let message = format!("two of the {}s have the target {}", kind.as_str(), file.target);
        field.error(message, "give each a target of its own");
    }
    files
}

fn mounted(kind: FileKind, source: FileSource, stem: &str) -> MountedFile {
    let target = if kind == FileKind::Config { format!("/{stem}") } else { stem.to_owned() };
    MountedFile { kind, source, target, uid: "0".into(), gid: "0".into(), mode: 0o444 }
}

/// What `x-balehook.secrets` says of a name; else it exists in the swarm.
fn defined(kind: FileKind, name: &str, around: &ParseContext<'_>) -> FileSource {
    let stem = name.to_owned();
    match around.secrets.get(name).filter(|_| kind == FileKind::Secret) {
        None => FileSource::Existing(stem),
        Some(Defined::External(name)) => FileSource::Existing(name.clone()),
        Some(Defined::File(path)) => FileSource::File { stem, path: path.clone() },
        Some(Defined::Fetched(source)) => FileSource::Fetched { stem, source: source.clone() },
        Some(Defined::Environment(name, value)) => {
            FileSource::Variable { stem, name: name.clone(), value: value.clone() }
        }
    }
}

fn long(field: &Field<'_>, kind: FileKind, around: &ParseContext<'_>) -> Option<MountedFile> {
    let (source, file, [target, uid, gid], mode) = field.mapping(|keys| {
        let source = keys.parsed("source", name);
        let texts = [keys.get("target", Field::text), keys.parsed("uid", number), keys.parsed("gid", number)];
        let mode = keys.parsed("mode", octal);
        (source, keys.parsed("file", |text| path(text, around)), texts, mode)
    });
    let Some(stem) = source else {
        return field
            .lacks("`source` is missing", "write `source: NAME`, and `file: conf/app.conf` to make it from a file");
    };
    let source = match file {
        Some(path) => FileSource::File { stem: stem.clone(), path },
        None => defined(kind, &stem, around),
    };
    let plain = mounted(kind, source, &stem);
    Some(MountedFile {
        target: target.unwrap_or(plain.target),
        uid: uid.unwrap_or(plain.uid),
        gid: gid.unwrap_or(plain.gid),
        mode: mode.unwrap_or(plain.mode),
        ..plain
    })
}

/// Source: swarmkit's names of secrets and configs: 64 characters; 13 of them are kept for the content's digest.
pub(crate) fn name(text: &str) -> Result<String, Refused> {
    let good = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-');
    let starts = text.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    match starts && text.chars().all(good) && text.len() <= 51 {
        true => Ok(text.to_owned()),
        false => Err(Refused("is no name: at most 51 letters, digits, `_`, `.` and `-`".into())),
    }
}

pub(crate) fn number(text: &str) -> Result<String, Refused> {
    text.parse::<u32>().map(|_| text.to_owned()).map_err(|_| Refused("must be a number: write `\"1000\"`".into()))
}

pub(crate) fn octal(text: &str) -> Result<u32, Refused> {
    let digits = text.trim_start_matches("0o");
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| Refused("is no octal mode: write `\"0440\"`".into()))
}
