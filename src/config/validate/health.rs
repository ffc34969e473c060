//! `x-balehook.health`: what makes a release healthy, and whether it can be asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::problem::Problems;
use crate::config::validate::section::{parsed, unknown_keys};
use crate::config::yaml::Node;
use crate::config::{Container, Health, Mode, Probe, service, start_first, whole_address};
use crate::values::duration;
use crate::values::types::{LifecycleEvent, Refused};

pub(crate) fn read(
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

/// Whether what the check asks is there to be asked.
pub(crate) fn can_be_asked(section: &Node, path: &str, mode: &Mode, health: &Health, problems: &mut Problems) {
    if let Mode::Container(container) = mode {
        checked_at_its_own_address(section, path, container, health, problems);
    }
    path_has_a_port(section, path, mode, health, problems);
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
