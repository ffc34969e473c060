//! `x-balehook.secrets`: where secrets come from. And `secrets` of a container: which of them it gets, as which files.
//!
//! Source: Compose specification, "secrets".

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::ArchiveLocation;
use crate::config::field::Field;
use crate::config::keys::{Keys, meant};
use crate::config::service::{ParseContext, location};
use crate::config::source::{KINDS, source};
use crate::config::swarm::files::{name, number, octal};
use crate::config::yaml::Value;
use crate::values::source::Source;
use crate::values::types::{Refused, Secret};

/// Where `docker` and Compose put secrets, too.
const FOLDER: &str = "/run/secrets";

/// What `x-balehook.secrets` defines, by name.
pub type Definitions = BTreeMap<String, Defined>;

/// Where one secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Defined {
    /// A file of the bundle or of this host.
    File(PathBuf),
    /// A variable, and its value where it is set.
    Environment(String, Option<Secret>),
    /// It is fetched when the release is deployed.
    Fetched(Source),
    /// It exists in the swarm under this name.
    External(String),
}

/// A secret that a container gets as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretMount {
    pub(crate) name: String,
    pub(crate) defined: Defined,
    /// An absolute path.
    pub(crate) target: String,
    /// Another owner than the container's user.
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mode: u32,
}

/// The keys of a definition that is not fetched.
pub(crate) const KEYS: [&str; 4] = ["file", "environment", "external", "name"];

/// Reads `x-balehook.secrets`.
pub(crate) fn definitions(section: &Field<'_>, around: &ParseContext<'_>) -> Definitions {
    let Some(field) = section.given("secrets") else { return Definitions::new() };
    let all = field.entries(|text, field| match name(text) {
        Ok(name) => Some((name, definition(text, field, around)?)),
        Err(Refused(why)) => field.refuse(format!("`{text}` {why}"), ""),
    });
    all.into_iter().collect()
}

/// As `environment` has it where it is fetched, with Compose's words otherwise.
fn definition(text: &str, field: &Field<'_>, around: &ParseContext<'_>) -> Option<Defined> {
    let has = |keys: &[&str]| keys.iter().any(|key| field.get(key).is_some());
    match (has(&KINDS), has(&KEYS)) {
        (true, true) => field.refuse(format!("the secret {text} has several sources"), "keep one of them"),
        (true, false) => source(field).map(Defined::Fetched),
        (false, _) => field.mapping(|keys| defined(text, field, keys, around)),
    }
}

fn defined(text: &str, field: &Field<'_>, keys: &mut Keys<'_, '_>, around: &ParseContext<'_>) -> Option<Defined> {
    let file = keys.know("file").map(|file| file.parsed(|text| path(text, around)).map(Defined::File));
    let variable = keys.know("environment").map(|field| {
        let variable = field.text()?;
        let value = (around.lookup)(&variable).map(Secret::new);
        Some(Defined::Environment(variable, value))
    });
    let (external, known) = (keys.get("external", Field::boolean), keys.parsed("name", name));
    let external = external
        .filter(|external| *external)
        .map(|_| Some(Defined::External(known.clone().unwrap_or_else(|| text.to_owned()))));
    let is_external = external.is_some();
    let mut given: Vec<_> = [file, variable, external].into_iter().flatten().collect();
    if given.len() > 1 {
        return field.refuse(format!("the secret {text} has several sources"), "keep one of them");
    }
    if known.is_some() && !is_external {
        return field.refuse("`name` is for `external: true`", "leave it out: the name is the key");
    }
    let help =
        format!("write one of file, environment, {}, or `external: true` for one of the swarm", KINDS.join(", "));
    given.pop().unwrap_or_else(|| field.lacks(format!("the secret {text} has no source"), help))
}

pub(crate) fn path(text: &str, around: &ParseContext<'_>) -> Result<PathBuf, Refused> {
    match location(text, around.bundle_root)? {
        ArchiveLocation::File(path) => Ok(path),
        ArchiveLocation::S3(_) => Err(Refused("must be a file of the bundle or of this host".into())),
    }
}

/// Reads `secrets` of a container.
pub(crate) fn of_container(field: &Field<'_>, around: &ParseContext<'_>) -> Vec<SecretMount> {
    let all = field.items(|item| match item.node.value {
        Value::Mapping(_) => item.mapping(|keys| long(item, keys, around)),
        _ => mount(item, &item.parsed(name)?, around),
    });
    let twice = all.iter().enumerate().find(|(at, one)| all[..*at].iter().any(|other| other.target == one.target));
    if let Some((_, one)) = twice {
        field.error(format!("two of the secrets have the target {}", one.target), "give each a target of its own");
    }
    all
}

fn long(item: &Field<'_>, keys: &mut Keys<'_, '_>, around: &ParseContext<'_>) -> Option<SecretMount> {
    let source = keys.know("source");
    let target = keys.parsed("target", target);
    let [uid, gid] = ["uid", "gid"].map(|key| keys.parsed(key, number).and_then(|id| id.parse().ok()));
    let mode = keys.parsed("mode", octal);
    let Some(source) = source else { return item.lacks("`source` is missing", "write `source: NAME`") };
    let plain = mount(&source, &source.parsed(name)?, around)?;
    Some(SecretMount { target: target.unwrap_or(plain.target), uid, gid, mode: mode.unwrap_or(plain.mode), ..plain })
}

fn mount(field: &Field<'_>, source: &str, around: &ParseContext<'_>) -> Option<SecretMount> {
    let target = format!("{FOLDER}/{source}");
    match around.secrets.get(source) {
        Some(Defined::External(_)) => field.refuse(
            format!("the secret {source} is one of a swarm"),
            "name a `file` or an `environment` in its place, or deploy with `swarm:`",
        ),
        Some(defined) => {
            let (name, defined) = (source.to_owned(), defined.clone());
            Some(SecretMount { name, defined, target, uid: None, gid: None, mode: 0o400 })
        }
        // What is wrong with its definition was said there.
        None if around.secrets.is_empty() && field.problems.has_errors() => None,
        None => {
            let known: Vec<&str> = around.secrets.keys().map(String::as_str).collect();
            let help = match known.as_slice() {
                [] => format!("write `secrets: {{{source}: {{file: conf/key}}}}` beside `container:`"),
                known => meant(source, "write one of", known),
            };
            field.refuse(format!("x-balehook.secrets defines no {source}"), help)
        }
    }
}

/// A name under `/run/secrets`, or an absolute path.
fn target(text: &str) -> Result<String, Refused> {
    let whole = if text.starts_with('/') { text.to_owned() } else { format!("{FOLDER}/{text}") };
    let is_plain = whole.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
    match is_plain && !text.is_empty() {
        true => Ok(whole),
        false => Err(Refused("is no path: write a name below /run/secrets, or an absolute path".into())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::config::pending::Pending;
    use crate::config::problem::Problems;
    use crate::config::yaml::Node;

    /// What a section's secrets are read as, and what is wrong with them.
    fn read(text: &str) -> (Vec<SecretMount>, Vec<String>) {
        let (node, problems) = (Node::parse(text).unwrap(), Problems::new());
        let lookup = |name: &str| (name == "DB_PASSWORD").then(|| "hunter2".to_owned());
        let nothing = Definitions::new();
        let around = ParseContext {
            bundle_root: Path::new("/bundle"),
            lookup: &lookup,
            pending: &Pending::default(),
            secrets: &nothing,
        };
        let section = Field { node: &node, path: "x-balehook".into(), problems: &problems };
        let secrets = definitions(&section, &around);
        let around = ParseContext { secrets: &secrets, ..around };
        let mounts = section.get("container").map(|field| of_container(&field, &around)).unwrap_or_default();
        (mounts, problems.sorted().iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect())
    }

    #[test]
    fn a_secret_is_a_file_of_the_containers_user_unless_its_long_form_says_otherwise() {
        let text = "
secrets: {key: {file: conf/key}, db: {environment: DB_PASSWORD}, host: {file: /etc/app/key}, none: {environment: NO}, api: {ssm: /prod/api}}
container:
  - db
  - {source: key, target: tls/key.pem, uid: \"1000\", gid: 1000, mode: \"0440\"}
  - {source: host, target: /etc/key}
  - none
  - api
";
        let (mounts, problems) = read(text);
        assert_eq!(problems, Vec::<String>::new());
        let plain = |name: &str, target: &str, defined| SecretMount {
            name: name.into(),
            defined,
            target: target.into(),
            uid: None,
            gid: None,
            mode: 0o400,
        };
        let password = Defined::Environment("DB_PASSWORD".into(), Some(Secret::new("hunter2")));
        let key = plain("key", "/run/secrets/tls/key.pem", Defined::File("/bundle/conf/key".into()));
        let wanted = [
            plain("db", "/run/secrets/db", password),
            SecretMount { uid: Some(1000), gid: Some(1000), mode: 0o440, ..key },
            plain("host", "/etc/key", Defined::File("/etc/app/key".into())),
            plain("none", "/run/secrets/none", Defined::Environment("NO".into(), None)),
            plain("api", "/run/secrets/api", Defined::Fetched(Source::Ssm { ssm: "/prod/api".parse().unwrap() })),
        ];
        assert_eq!(mounts, wanted);
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused_with_its_place() {
        for (text, wanted) in [
            ("secrets: {db: {}}", "x-balehook.secrets.db: the secret db has no source"),
            ("secrets: {db: {file: a, environment: B}}", "x-balehook.secrets.db: the secret db has several sources"),
            ("secrets: {db: {file: a, name: b}}", "x-balehook.secrets.db: `name` is for `external: true`"),
            ("secrets: {db: {file: a, ssm: /b}}", "x-balehook.secrets.db: the secret db has several sources"),
            ("secrets: {db: {ssm: /a, kms: AQID}}", "x-balehook.secrets.db: `ssm` and `kms` exclude each other"),
            ("secrets: {db: {ssm: /a, key: b}}", "x-balehook.secrets.db.key: `key` belongs to `secretsmanager`"),
            ("secrets: {db: {file: ../a}}", "x-balehook.secrets.db.file: `../a` must stay inside the bundle"),
            ("secrets: {db: {fil: a}}", "x-balehook.secrets.db.fil: unknown key `fil`"),
            ("secrets: {'a/b': {file: a}}", "x-balehook.secrets.a/b: `a/b` is no name"),
            ("{secrets: {db: {external: true}}, container: [db]}", "container[0]: the secret db is one of a swarm"),
            ("{secrets: {db: {file: a}}, container: [bd]}", "container[0]: x-balehook.secrets defines no bd"),
            ("{secrets: {db: {file: a}}, container: [{target: a}]}", "container[0]: `source` is missing"),
            ("{secrets: {db: {file: a}}, container: [db, db]}", "container: two of the secrets have the target /run/s"),
            ("{secrets: {db: {file: a}}, container: [{source: db, target: ../a}]}", "target: `../a` is no path"),
            ("{secrets: {db: {file: a}}, container: [{source: db, uid: app}]}", "uid: `app` must be a number"),
        ] {
            let (_, problems) = read(text);
            assert!(problems.iter().any(|problem| problem.contains(wanted)), "{text}: {problems:?}");
        }
    }
}
