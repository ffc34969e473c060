//! Our own section.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::config::problem::{Problems, nearest};
use crate::config::service::{ParseContext, location};
use crate::config::validate::health;
use crate::config::yaml::{Node, Value};
use crate::config::{ArchiveLocation, Container, Deployment, ImageSource, Mode, service, swarm, task};
use crate::values::names::is_reserved;
use crate::values::reference::ImageReference;
use crate::values::types::{ContentDigest, LifecycleEvent, Name, Refused};

/// The section's keys.
const KEYS: &[&str] = &["name", "container", "compose", "swarm", "health", "keep", "before", "after"];

/// Releases that stay, where the section says nothing.
const KEEP: usize = 3;

pub(crate) fn read(
    section: &Node,
    around: &ParseContext<'_>,
    timeouts: BTreeMap<LifecycleEvent, Duration>,
    problems: &mut Problems,
) -> Option<Deployment> {
    let path = crate::config::validate::SECTION;
    unknown_keys(section, path, KEYS, problems);
    section.as_mapping()?;
    let name = name(section, path, problems);
    let keep = keep(section, path, problems);
    let health = health::read(section, path, &timeouts, problems);
    let wait = health.as_ref().map_or(Duration::from_secs(60), |health| health.timeout);
    let mode = mode(section, path, wait, around, problems);
    if let (Some(mode), Some(health)) = (&mode, &health) {
        health::can_be_asked(section, path, mode, health, problems);
    }
    let tasks = task::read(section, path, around, &timeouts, problems);
    let (bundle_root, pending) = (around.bundle_root.to_owned(), around.pending.clone());
    Some(Deployment { name: name?, bundle_root, mode: mode?, health: health?, keep: keep?, tasks, timeouts, pending })
}

pub(crate) fn unknown_keys(node: &Node, path: &str, known: &[&str], problems: &mut Problems) {
    let Some(entries) = node.as_mapping() else {
        problems.error(node.place, path, format!("a mapping is expected, not {}", node.describe()), None);
        return;
    };
    for (key, _) in entries {
        let name = key.as_text().unwrap_or_default();
        if !known.contains(&name) && !name.starts_with("x-") {
            let help = match nearest(name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys: {}", known.join(", ")),
            };
            problems.error(key.place, &format!("{path}.{name}"), format!("unknown key `{name}`"), help);
        }
    }
}

/// A value that a parser accepts; `None`, with a problem, where it does not.
pub(crate) fn parsed<T>(
    node: &Node,
    path: &str,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<T, Refused>,
) -> Option<T> {
    let Some(text) = node.as_text() else {
        problems.error(node.place, path, format!("a text is expected, not {}", node.describe()), None);
        return None;
    };
    match parse(text) {
        Ok(value) => Some(value),
        Err(Refused(why)) => {
            problems.error(node.place, path, format!("`{text}` {why}"), None);
            None
        }
    }
}

fn name(section: &Node, path: &str, problems: &mut Problems) -> Option<Name> {
    let Some((_, value)) = section.get("name") else {
        let help = "write `name: web`: the container's name".to_owned();
        problems.error(section.place, path, "`name` is missing", help);
        return None;
    };
    let is_container = section.get("container").is_some();
    parsed(value, &format!("{path}.name"), problems, |text| {
        let name: Name = text.parse()?;
        match () {
            // Source: the engine's own rule for names of containers; Compose and swarm take one letter.
            () if is_container && text.len() == 1 => {
                Err(Refused("has one letter: the engine wants two for a container".into()))
            }
            () if is_reserved(text) => {
                Err(Refused("is a name that balehook gives while it replaces a container: leave its ending out".into()))
            }
            () => Ok(name),
        }
    })
}

fn keep(section: &Node, path: &str, problems: &mut Problems) -> Option<usize> {
    let Some((_, value)) = section.get("keep") else { return Some(KEEP) };
    let count = value.as_i64().filter(|count| (1..=1000).contains(count)).and_then(|count| usize::try_from(count).ok());
    if count.is_none() {
        let message = format!("a whole number from 1 is expected, not {}", value.describe());
        problems.error(
            value.place,
            &format!("{path}.keep"),
            message,
            "write `keep: 3`: releases whose images stay".to_owned(),
        );
    }
    count
}

/// The three ways to start an application.
const MODES: [&str; 3] = ["container", "compose", "swarm"];

fn mode(
    section: &Node,
    path: &str,
    wait: Duration,
    around: &ParseContext<'_>,
    problems: &mut Problems,
) -> Option<Mode> {
    let named: Vec<_> = MODES.iter().filter_map(|mode| Some((*mode, section.get(mode)?))).collect();
    if let [(first, _), (second, (key, _)), ..] = named.as_slice() {
        let message = format!("`{first}` and `{second}` exclude each other");
        problems.error(key.place, &format!("{path}.{second}"), message, "keep one of them".to_owned());
    }
    let Some((mode, (_, node))) = named.first() else {
        let help = "write `container: {image: …}`, `compose: {files: [compose.yml]}` or `swarm: {image: …}`".to_owned();
        problems.error(section.place, path, "`container`, `compose` or `swarm` is missing", help);
        return None;
    };
    let path = format!("{path}.{mode}");
    match *mode {
        "compose" => {
            let compose = crate::config::validate::compose::read(section, node, &path, wait, around, problems);
            compose.map(|compose| Mode::Compose(Box::new(compose)))
        }
        "swarm" => {
            let image = image(node, &path, around, problems);
            swarm::parse(node, &path, image, around, problems).map(|swarm| Mode::Swarm(Box::new(swarm)))
        }
        _ => {
            let service = service::parse(node, &path, around, problems);
            let image = image(node, &path, around, problems);
            Some(Mode::Container(Box::new(Container { image: image?, service })))
        }
    }
}

fn image(container: &Node, path: &str, around: &ParseContext<'_>, problems: &mut Problems) -> Option<ImageSource> {
    let path = format!("{path}.image");
    let Some((_, node)) = container.get("image") else {
        let help = "write `image: host/name:tag`, or `image: {archive: s3://bucket/key}`".to_owned();
        problems.error(container.place, &path, "`image` is missing", help);
        return None;
    };
    image_source(node, &path, around, problems)
}

/// A reference, or an archive.
pub(crate) fn image_source(
    node: &Node,
    path: &str,
    around: &ParseContext<'_>,
    problems: &mut Problems,
) -> Option<ImageSource> {
    match node.value {
        Value::Mapping(_) => archive(node, path, around, problems),
        _ => {
            let reference: ImageReference = parsed(node, path, problems, registry)?;
            if reference.is_floating() {
                let message = format!("`{reference}` means another image every other day");
                problems.warning(
                    node.place,
                    path,
                    message,
                    "name a version: the digest of today's is what runs until the next deployment".to_owned(),
                );
            }
            Some(ImageSource::Registry(reference))
        }
    }
}

fn archive(node: &Node, path: &str, around: &ParseContext<'_>, problems: &mut Problems) -> Option<ImageSource> {
    unknown_keys(node, path, &["archive", "reference", "id"], problems);
    let optional = |key: &str| node.get(key).map(|(_, value)| value);
    let reference: Option<ImageReference> =
        optional("reference").and_then(|value| parsed(value, &format!("{path}.reference"), problems, str::parse));
    let id: Option<ContentDigest> =
        optional("id").and_then(|value| parsed(value, &format!("{path}.id"), problems, str::parse));
    match optional("archive") {
        None => {
            problems.error(
                node.place,
                path,
                "`archive` is missing",
                "write `archive: s3://bucket/key`, or a path in the bundle".to_owned(),
            );
            None
        }
        Some(value) => {
            let root = around.bundle_root;
            let location = parsed(value, &format!("{path}.archive"), problems, |text| place_of_archive(text, root))?;
            Some(ImageSource::Archive { location, reference, id })
        }
    }
}

/// A reference; an archive's address is told apart from it.
fn registry(text: &str) -> Result<ImageReference, Refused> {
    let is_file = !text.contains(':') && [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| text.ends_with(end));
    if is_file || text.contains("://") {
        return Err(Refused(format!("is no reference of an image: for an archive write `image: {{archive: {text}}}`")));
    }
    text.parse()
}

fn place_of_archive(text: &str, root: &Path) -> Result<ArchiveLocation, Refused> {
    match text.split_once("://") {
        Some((scheme, _)) if scheme != "s3" => {
            Err(Refused(format!("is at `{scheme}://`: archives are read from `s3://bucket/key` or from the bundle")))
        }
        _ => location(text, root),
    }
}
