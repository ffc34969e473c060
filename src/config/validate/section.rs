//! Our own section.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::config::problem::{Problems, nearest};
use crate::config::service::{ParseContext, location};
use crate::config::yaml::{Node, Value};
use crate::config::{
    ArchiveLocation, Container, Deployment, Health, ImageSource, Mode, Probe, service, start_first, swarm, task,
    whole_address,
};
use crate::values::duration;
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
    let health = health(section, path, &timeouts, problems);
    let wait = health.as_ref().map_or(Duration::from_secs(60), |health| health.timeout);
    let mode = mode(section, path, wait, around, problems);
    if let (Some(Mode::Container(container)), Some(health)) = (&mode, &health) {
        checked_at_its_own_address(section, path, container, health, problems);
    }
    if let (Some(mode), Some(health)) = (&mode, &health) {
        path_has_a_port(section, path, mode, health, problems);
    }
    let tasks = task::read(section, path, around, &timeouts, problems);
    let bundle_root = around.bundle_root.to_owned();
    Some(Deployment { name: name?, bundle_root, mode: mode?, health: health?, keep: keep?, tasks, timeouts })
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

fn health(
    section: &Node,
    path: &str,
    timeouts: &BTreeMap<LifecycleEvent, Duration>,
    problems: &mut Problems,
) -> Option<Health> {
    let milliseconds = Duration::from_millis;
    let default = Health {
        probe: Probe::Auto,
        timeout: Duration::from_secs(60),
        interval: milliseconds(100),
        stable_for: Duration::ZERO,
        successes: None,
    };
    let Some((_, node)) = section.get("health").filter(|(_, node)| !node.is_null()) else {
        enough_time(section, path, &default, timeouts, problems);
        return Some(default);
    };
    let path = format!("{path}.health");
    unknown_keys(node, &path, &["http", "tcp", "timeout", "interval", "stable_for", "successes"], problems);
    let mut time = |key: &str, least: Duration, most: Duration, default: Duration| {
        let Some((_, value)) = node.get(key) else { return Some(default) };
        parsed(value, &format!("{path}.{key}"), problems, |text| {
            let found = duration::parse(text)?;
            let good = (least..=most).contains(&found);
            if good { Ok(found) } else { Err(Refused(format!("must be from {least:?} to {most:?}"))) }
        })
    };
    let timeout = time("timeout", milliseconds(100), Duration::from_secs(3600), default.timeout);
    let interval = time("interval", milliseconds(100), milliseconds(250), default.interval);
    let stable_for = time("stable_for", Duration::ZERO, Duration::from_secs(3600), default.stable_for);
    let probe = probe(node, &path, problems);
    let successes = successes(node, &path, problems);
    let health = Health { probe: probe?, timeout: timeout?, interval: interval?, stable_for: stable_for?, successes };
    enough_time(node, &path, &health, timeouts, problems);
    Some(health)
}

fn successes(health: &Node, path: &str, problems: &mut Problems) -> Option<u32> {
    let (_, value) = health.get("successes")?;
    let count = value.as_i64().filter(|count| (1..=1000).contains(count)).and_then(|count| u32::try_from(count).ok());
    if count.is_none() {
        let message = format!("a whole number from 1 is expected, not {}", value.describe());
        let help = "write `successes: 3`: good answers in a row".to_owned();
        problems.error(value.place, &format!("{path}.successes"), message, help);
    }
    count
}

/// A path is asked of the first published TCP port: without one there is nobody to ask, which must not be found out once
/// the old container is stopped.
fn path_has_a_port(section: &Node, path: &str, mode: &Mode, health: &Health, problems: &mut Problems) {
    let Probe::Http(asked) = &health.probe else { return };
    let why = match mode {
        Mode::Container(container) if container.service.start_first.is_none() => no_port(&container.service),
        Mode::Swarm(swarm) => {
            let is_asked = swarm.ports.iter().any(|port| port.protocol == "tcp" && port.published > 0);
            (!is_asked).then(|| "no TCP port is published under a number".to_owned())
        }
        Mode::Compose(compose) => {
            compose.publishes_nothing().then(|| "no service of the Compose files publishes a port".to_owned())
        }
        Mode::Container(_) => None,
    };
    let Some(((_, node), why)) = section.get("health").zip(why).filter(|_| asked.starts_with('/')) else { return };
    let (place, path) = (node.get("http").map_or(node.place, |(_, http)| http.place), format!("{path}.health.http"));
    problems.error(place, &path, format!("`{asked}` is a path, and {why}"), whole_address(asked));
}

fn no_port(service: &service::Service) -> Option<String> {
    let host = service.body.host_config.as_ref();
    let bindings = host.and_then(|host| host.port_bindings.as_ref());
    let mode = host.and_then(|host| host.network_mode.as_deref()).filter(|mode| !mode.is_empty());
    match (bindings.is_some_and(|all| all.keys().any(|port| port.ends_with("/tcp") || !port.contains('/'))), mode) {
        (true, _) => None,
        (false, Some(mode)) => Some(format!("with `network_mode: {mode}` no port is published")),
        (false, None) => Some("no TCP port is published".to_owned()),
    }
}

/// With `order: start-first` the host's port still belongs to the old container while the new one is checked.
fn checked_at_its_own_address(
    section: &Node,
    path: &str,
    container: &Container,
    health: &Health,
    problems: &mut Problems,
) {
    let Some((_, node)) = section.get("health").filter(|_| container.service.start_first.is_some()) else { return };
    let forwards = start_first::forwards(&container.service.body).unwrap_or_default();
    if let Err(Refused(why)) = start_first::probe_at(&health.probe, &forwards, "192.0.2.1".parse().ok()) {
        let help = "write a path, `http: /healthz`, or `tcp: :80` with a host port of `ports`".to_owned();
        problems.error(
            node.place,
            &format!("{path}.health"),
            format!("with `order: start-first` the probe {why}"),
            help,
        );
    }
}

fn enough_time(
    node: &Node,
    path: &str,
    health: &Health,
    timeouts: &BTreeMap<LifecycleEvent, Duration>,
    problems: &mut Problems,
) {
    if health.stable_for >= health.timeout {
        let message =
            format!("stable_for ({:?}) leaves nothing of the timeout ({:?})", health.stable_for, health.timeout);
        problems.error(node.place, path, message, "raise `timeout` above `stable_for`".to_owned());
    }
    if let Some(hook) = timeouts.get(&LifecycleEvent::ApplicationStart).filter(|hook| **hook <= health.timeout) {
        let message =
            format!("the ApplicationStart hook has {hook:?}, the health check alone may take {:?}", health.timeout);
        problems.warning(node.place, path, message, "raise the hook's `timeout:`, or lower health.timeout".to_owned());
    }
}

fn probe(node: &Node, path: &str, problems: &mut Problems) -> Option<Probe> {
    match (node.get("http"), node.get("tcp")) {
        (Some((key, _)), Some(_)) => {
            problems.error(
                key.place,
                path,
                "`http` and `tcp` exclude each other",
                "keep `http`: it checks more".to_owned(),
            );
            None
        }
        (Some((_, value)), None) => parsed(value, &format!("{path}.http"), problems, http).map(Probe::Http),
        (None, Some((_, value))) => parsed(value, &format!("{path}.tcp"), problems, tcp).map(Probe::Tcp),
        (None, None) => Some(Probe::Auto),
    }
}

fn http(text: &str) -> Result<String, Refused> {
    if text.starts_with("https://") {
        return Err(Refused("is https, which is not probed: use `tcp:`, or a HEALTHCHECK inside the image".into()));
    }
    let is_url = text.starts_with("http://")
        && text.parse::<http::Uri>().is_ok_and(|url| url.authority().is_some_and(|name| !name.host().is_empty()));
    let is_path = text.starts_with('/') && text.parse::<http::Uri>().is_ok();
    match is_url || is_path {
        true => Ok(text.to_owned()),
        false => Err(Refused(
            "is no address: write `http://127.0.0.1:80/healthz`, or `/healthz` for the first published port".into(),
        )),
    }
}

fn tcp(text: &str) -> Result<String, Refused> {
    let bad = || Refused("is no address: write `127.0.0.1:5432`, `[::1]:5432` or `:5432`".into());
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let is_name = host.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_'));
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address = inner.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if is_port && (is_name || is_address) { Ok(text.to_owned()) } else { Err(bad()) }
}
