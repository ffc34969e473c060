//! `x-balehook.health`: what makes a release healthy, and whether it can be asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::config::field::Field;
use crate::config::keys::Keys;
use crate::config::rules::HOOK_TOO_SHORT;
use crate::config::validate::probe;
use crate::config::validate::section::from_one;
use crate::config::yaml::{Node, Value};
use crate::config::{Container, Health, Mode, Probe, service, start_first, whole_address};
use crate::values::duration;
use crate::values::types::{LifecycleEvent, Refused};

/// Milliseconds of `timeout`, `interval` and `stable_for`: the least, the most and the default.
const TIMEOUT: [u64; 3] = [100, 3_600_000, 60_000];
const INTERVAL: [u64; 3] = [100, 250, 100];
const STABLE_FOR: [u64; 3] = [0, 3_600_000, 0];

/// What is kept back of every hook's time for an undo, at least.
const LEAST_RESERVE: Duration = Duration::from_secs(2);

pub(crate) fn read(
    section: &Field<'_>,
    timeouts: &BTreeMap<LifecycleEvent, Duration>,
    bundle_root: &Path,
) -> Option<Health> {
    // What stands where the section has no `health`: an empty mapping.
    let empty = Node { value: Value::Mapping(Vec::new()), place: section.node.place };
    let field = section.given("health").unwrap_or(Field { node: &empty, ..section.clone() });
    let health = field.mapping(|keys| {
        let probe = probe::read(&field, keys, bundle_root);
        let timeout = time(keys, "timeout", TIMEOUT);
        let interval = time(keys, "interval", INTERVAL);
        let stable_for = time(keys, "stable_for", STABLE_FOR);
        let successes = keys.get("successes", |field| from_one(field, "write `successes: 3`: good answers in a row"));
        Some(Health { probe: probe?, timeout: timeout?, interval: interval?, stable_for: stable_for?, successes })
    })?;
    enough_time(&field, &health, timeouts);
    Some(health)
}

fn time(keys: &mut Keys<'_, '_>, key: &'static str, limits: [u64; 3]) -> Option<Duration> {
    let [least, most, default] = limits.map(Duration::from_millis);
    let Some(field) = keys.know(key) else { return Some(default) };
    field.parsed(|text| {
        let found = duration::parse(text)?;
        let good = (least..=most).contains(&found);
        if good { Ok(found) } else { Err(Refused(format!("must be from {least:?} to {most:?}"))) }
    })
}

/// Whether what the check asks is there to be asked.
pub(crate) fn can_be_asked(section: &Field<'_>, mode: &Mode, health: &Health) {
    let Some(field) = section.get("health") else { return };
    if let Mode::Container(container) = mode
        && container.service.start_first.is_some()
    {
        checked_at_its_own_address(&field, container, health);
    }
    path_has_a_port(&field, mode, health);
}

/// A path is asked of the first published TCP port: without one there is nobody to ask, which must not be found out once
/// the old container is stopped.
fn path_has_a_port(field: &Field<'_>, mode: &Mode, health: &Health) {
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
    if let (Some(http), Some(why), Some(path)) = (field.get("http"), why, asked.path()) {
        http.error(format!("`{path}` is a path, and {why}"), whole_address(asked));
    }
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
fn checked_at_its_own_address(field: &Field<'_>, container: &Container, health: &Health) {
    let forwards = start_first::forwards(&container.service.body).unwrap_or_default();
    if let Err(Refused(why)) = start_first::probe_at(&health.probe, &forwards, "192.0.2.1".parse().ok()) {
        let help = "write a path, `http: /healthz`, or `tcp: :80` with a host port of `ports`";
        field.error(format!("with `order: start-first` the probe {why}"), help);
    }
}

fn enough_time(field: &Field<'_>, health: &Health, timeouts: &BTreeMap<LifecycleEvent, Duration>) {
    let Health { timeout, stable_for, .. } = health;
    if stable_for >= timeout {
        field.error(
            format!("stable_for ({stable_for:?}) leaves nothing of the timeout ({timeout:?})"),
            "raise `timeout` above `stable_for`",
        );
    }
    match timeouts.get(&LifecycleEvent::ApplicationStart) {
        Some(hook) if *hook <= *stable_for + LEAST_RESERVE && !stable_for.is_zero() => field.broken(
            HOOK_TOO_SHORT,
            format!("the ApplicationStart hook has {hook:?}, and stable_for alone takes {stable_for:?}"),
            "raise the hook's `timeout:`, or lower health.stable_for",
        ),
        Some(hook) if hook <= timeout => field.warning(
            HOOK_TOO_SHORT,
            format!("the ApplicationStart hook has {hook:?}, the health check alone may take {timeout:?}"),
            "raise the hook's `timeout:`, or lower health.timeout",
        ),
        Some(_) | None => {}
    }
}
