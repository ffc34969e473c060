//! Our own section.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::aws::ecr::EcrHost;
use crate::config::field::Field;
use crate::config::keys::Keys;
use crate::config::places::Places;
use crate::config::policy::section::demands;
use crate::config::rules::MOVING_TAG;
use crate::config::service::{ParseContext, location};
use crate::config::validate::{compose, definitions, health, verify};
use crate::config::variables::Variables;
use crate::config::verify::Verify;
use crate::config::yaml::Value;
use crate::config::{ArchiveLocation, Container, Deployment, ImageSource, Mode, Pull, notify, service, swarm, task};
use crate::values::names::is_reserved;
use crate::values::reference::ImageReference;
use crate::values::types::{LifecycleEvent, Name, Refused};

/// Releases that stay, where the section says nothing.
const KEEP: usize = 3;

pub(crate) const KEYS: [&str; 11] =
    ["name", "variables", "secrets", "container", "compose", "swarm", "health", "keep", "before", "after", "notify"];

pub(crate) fn read(
    section: &Field<'_>,
    around: &ParseContext<'_>,
    timeouts: BTreeMap<LifecycleEvent, Duration>,
) -> Option<Deployment> {
    section.only(&KEYS);
    section.node.as_mapping()?;
    let name = name(section);
    let keep =
        section.get("keep").map_or(Some(KEEP), |field| from_one(&field, "write `keep: 3`: releases whose images stay"));
    let health = health::read(section, &timeouts, around.bundle_root);
    let wait = health.as_ref().map_or(Duration::from_secs(60), |health| health.timeout);
    let mode = mode(section, wait, around);
    if let (Some(mode), Some(health)) = (&mode, &health) {
        health::can_be_asked(section, mode, health);
    }
    let (tasks, notify) = (task::read(section, around, &timeouts), notify::read(section));
    let (bundle_root, pending) = (around.bundle_root.to_owned(), around.pending.clone());
    let mode = mode?;
    let demands = demands(section, &mode, &tasks, &bundle_root);
    let (name, health, keep, places, variables) = (name?, health?, keep?, Places::default(), Variables::new());
    Some(Deployment {
        name,
        bundle_root,
        variables,
        mode,
        health,
        keep,
        tasks,
        notify,
        timeouts,
        pending,
        places,
        demands,
    })
}

/// A number from 1 to a thousand.
pub(crate) fn from_one<T: TryFrom<i64>>(field: &Field<'_>, help: &str) -> Option<T> {
    let count = field.node.as_i64().filter(|count| (1..=1000).contains(count));
    count
        .and_then(|count| T::try_from(count).ok())
        .or_else(|| field.refuse(format!("expected a whole number from 1, not {}", field.node.describe()), help))
}

fn name(section: &Field<'_>) -> Option<Name> {
    let Some(field) = section.get("name") else {
        return section.lacks("`name` is missing", "write `name: web`: the container's name");
    };
    let is_container = section.get("container").is_some();
    field.parsed(|text| {
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

/// The three ways to start an application.
pub(crate) const MODES: [&str; 3] = ["container", "compose", "swarm"];

fn mode(section: &Field<'_>, wait: Duration, around: &ParseContext<'_>) -> Option<Mode> {
    let named: Vec<_> = MODES.iter().filter_map(|mode| Some((*mode, section.get(mode)?))).collect();
    if let [(first, _), (second, _), ..] = named.as_slice()
        && let Some(key) = section.key(second)
    {
        key.error(format!("`{first}` and `{second}` exclude each other"), "keep one of them");
    }
    let Some((mode, field)) = named.first() else {
        return section.lacks(
            "`container`, `compose` or `swarm` is missing",
            "write `container: {image: …}`, `compose: {files: [compose.yml]}` or `swarm: {image: …}`",
        );
    };
    match *mode {
        "compose" => {
            if let Some(secrets) = section.key("secrets") {
                secrets
                    .error("`secrets` is not for a project", "write them in the Compose file, which has the same key");
            }
            compose::read(section, field, wait, around).map(|compose| Mode::Compose(Box::new(compose)))
        }
        "swarm" => {
            let image = image(field, around);
            if let (Some(ImageSource::Registry(_, Pull::Missing | Pull::Never, ..)), Some(field)) =
                (&image, field.get("image"))
            {
                field.error(
                    "`pull` is not for a swarm: each node pulls what it lacks",
                    "name the reference alone, or an archive",
                );
            }
            let swarm = swarm::parse(field, image, around);
            swarm.map(|swarm| Mode::Swarm(Box::new(swarm)))
        }
        _ => {
            let service = service::parse(field.node, &field.path, around, field.problems);
            let image = image(field, around);
            Some(Mode::Container(Box::new(Container { image: image?, service })))
        }
    }
}

fn image(service: &Field<'_>, around: &ParseContext<'_>) -> Option<ImageSource> {
    match service.get("image") {
        Some(field) => image_source(&field, around),
        None => service
            .lacking("image")
            .lacks("`image` is missing", "write `image: host/name:tag`, or `image: {archive: s3://bucket/key}`"),
    }
}

pub(crate) fn image_source(field: &Field<'_>, around: &ParseContext<'_>) -> Option<ImageSource> {
    match field.node.value {
        Value::Mapping(_) => field.mapping(|keys| long(field, keys, around)),
        _ => named(field, field.parsed(registry)?, Asked::default()),
    }
}

/// How a registry is asked for an image.
#[derive(Default)]
struct Asked {
    pull: Pull,
    verify: Option<Box<Verify>>,
    wait: Duration,
}

/// `{archive, reference, id}`, `{reference, pull, wait}` or `{definitions, name}`; `verify` with each.
fn long<'a>(field: &Field<'a>, keys: &mut Keys<'_, 'a>, around: &ParseContext<'_>) -> Option<ImageSource> {
    let location = keys.know("archive").map(|field| field.parsed(|text| place_of_archive(text, around.bundle_root)));
    let (reference, id, pull) = (keys.know("reference"), keys.know("id"), keys.know("pull"));
    let wait = keys.know("wait");
    let (definitions, name) = (keys.know("definitions"), keys.know("name"));
    let verify = keys.know("verify").map(|field| verify::read(&field, location.is_some(), around).map(Box::new));
    let verify = verify.map_or(Some(None), |read| read.map(Some));
    if let Some(file) = definitions {
        for other in ["archive", "reference", "id"].iter().filter_map(|other| field.key(other)) {
            other.error("`definitions` names the image already", "keep one of them");
        }
        let reference = definitions::image(&file, name.as_ref(), around.bundle_root);
        return named(&file, reference?, asked(pull, wait, verify?)?);
    }
    match (location, reference) {
        (Some(location), reference) => {
            for key in [field.key("pull"), field.key("wait")].iter().flatten() {
                let name = key.path.rsplit('.').next().unwrap_or_default();
                key.error(
                    format!("`{name}` is for an image of a registry"),
                    "leave it out: an archive's image is loaded where it is missing",
                );
            }
            let reference = reference.and_then(|field| field.parsed(str::parse));
            let id = id.and_then(|field| field.parsed(str::parse));
            Some(ImageSource::Archive { location: location?, reference, id, verify: verify? })
        }
        (None, Some(reference)) => {
            if let Some(id) = id {
                id.error("`id` is for an image of an archive", "name the digest: `reference: web@sha256:…`");
            }
            named(&reference, reference.parsed(registry)?, asked(pull, wait, verify?)?)
        }
        (None, None) => field.lacks(
            "`archive`, `reference` or `definitions` is missing",
            "write `archive: s3://bucket/key`, a path in the bundle, or `reference: host/name:tag`",
        ),
    }
}

/// `pull` and `wait`, where they are given.
fn asked(pull: Option<Field<'_>>, wait: Option<Field<'_>>, verify: Option<Box<Verify>>) -> Option<Asked> {
    let named = pull.map_or(Some("always"), |field| field.one_of(&["always", "missing", "never"]));
    let pull = Pull::of(Some(named?));
    let Some(wait) = wait else { return Some(Asked { pull, verify, wait: Duration::ZERO }) };
    if pull == Pull::Never {
        return wait.refuse("with `pull: never` no registry is asked, and nothing is waited for", "leave `wait` out");
    }
    Some(Asked { pull, verify, wait: wait.duration()? })
}

fn named(field: &Field<'_>, reference: ImageReference, asked: Asked) -> Option<ImageSource> {
    let Asked { pull, verify, wait } = asked;
    let is_scanned = verify.as_ref().is_some_and(|verify| verify.scan.is_some());
    if is_scanned && EcrHost::parse(reference.registry()).is_none() {
        return field.refuse(
            format!("`{reference}` is no image of ECR, and `verify.ecr` asks for a scan of it"),
            "name one of ACCOUNT.dkr.ecr.REGION.amazonaws.com, or leave `ecr` out",
        );
    }
    if reference.is_floating() && pull == Pull::Always {
        field.warning(
            MOVING_TAG,
            format!("`{reference}` means another image every other day"),
            "name a version: the digest of today's is what runs until the next deployment",
        );
    }
    Some(ImageSource::Registry(reference, pull, verify, wait))
}

/// A reference; one that looks like an archive is refused.
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
