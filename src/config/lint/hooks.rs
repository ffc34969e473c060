//! Rules of `hooks`: what ApplicationStop costs, and hooks that end before what they wait for.

use std::path::Path;
use std::time::Duration;

use crate::config::field::Field;
use crate::config::rules::{APPLICATION_STOP, HOOK_TOO_SHORT, NO_HOOK_OF_OURS};
use crate::config::validate::agent::{beginning, hooks, is_ours};
use crate::config::{Deployment, ImageSource, Mode};
use crate::values::types::LifecycleEvent;

pub(super) fn check(root: &Field<'_>, deployment: &Deployment) {
    let Some(hooks) = root.get("hooks") else { return };
    others_only(root, &deployment.bundle_root);
    if is_stopped_first(root, deployment)
        && let Some(key) = hooks.key("ApplicationStop")
    {
        key.warning(
            APPLICATION_STOP,
            "the old release stops before this revision is even downloaded: nobody serves until ApplicationStart ends",
            "leave the event out: ApplicationStart replaces the old release, and puts it back if the new one fails",
        );
    }
    for (event, message) in [too_short(deployment), ends_before_its_image(deployment)].into_iter().flatten() {
        if let Some(key) = hooks.key(&event.to_string()) {
            key.warning(HOOK_TOO_SHORT, message, "raise the hook's `timeout:`, or shorten the wait");
        }
    }
}

/// Where every hook is another script: said at the one that starts. Without any, `no-application-start` says it.
fn others_only(root: &Field<'_>, bundle: &Path) {
    let all: Vec<_> = hooks(root).filter(|(_, entry)| entry.text_of("location").is_some()).collect();
    if all.iter().filter_map(|(_, entry)| entry.text_of("location")).any(|location| runs_us(location, bundle)) {
        return;
    }
    let start = all.iter().find(|(event, _)| event == "ApplicationStart");
    let field = start.and_then(|(_, entry)| entry.get("location"));
    if let Some((field, location)) = field.as_ref().and_then(|field| Some((field, field.node.as_text()?.trim()))) {
        field.warning(
            NO_HOOK_OF_OURS,
            format!("`{location}` does not run balehook, and no other hook does: x-balehook is never read"),
            "write `location: hooks/balehook`, and copy hooks/balehook into the bundle",
        );
    }
}

/// By its name, or because the script names it.
fn runs_us(location: &str, bundle: &Path) -> bool {
    let names_us = |script: Vec<u8>| String::from_utf8_lossy(&script).contains("balehook");
    is_ours(location) || beginning(&bundle.join(location.trim().trim_start_matches('/'))).is_some_and(names_us)
}

/// In a swarm ApplicationStop does nothing.
fn is_stopped_first(root: &Field<'_>, deployment: &Deployment) -> bool {
    let mut ours = hooks(root)
        .filter(|(event, entry)| event == "ApplicationStop" && entry.text_of("location").is_some_and(is_ours));
    !matches!(deployment.mode, Mode::Swarm(_)) && ours.next().is_some()
}

/// What is longer than its hook, where the health check alone is not: that is said in events too.
fn too_short(deployment: &Deployment) -> Option<(LifecycleEvent, String)> {
    let hook = |event| deployment.timeouts.get(&event).copied();
    let health = deployment.health.timeout;
    let start = hook(LifecycleEvent::ApplicationStart).filter(|hook| *hook > health);
    match &deployment.mode {
        Mode::Container(container) => {
            let drain = container.service.start_first.as_ref().map_or(Duration::ZERO, |order| order.drain);
            if let Some(start) = start.filter(|start| *start <= health + drain) {
                let message =
                    format!("the hook has {start:?}, the health check may take {health:?} and `drain` takes {drain:?}");
                return Some((LifecycleEvent::ApplicationStart, message));
            }
            let grace = container
                .service
                .body
                .stop_timeout
                .and_then(|grace| u64::try_from(grace).ok())
                .map(Duration::from_secs)?;
            let stop = hook(LifecycleEvent::ApplicationStop).filter(|stop| *stop <= grace)?;
            let message = format!("the hook has {stop:?}, and `stop_grace_period` is {grace:?}");
            Some((LifecycleEvent::ApplicationStop, message))
        }
        Mode::Compose(compose) => {
            let (start, wait) = (start?, compose.wait_timeout);
            let message = format!("the hook has {start:?}, and `wait_timeout` is {wait:?}");
            (start <= wait).then_some((LifecycleEvent::ApplicationStart, message))
        }
        Mode::Swarm(_) => None,
    }
}

/// The first event that asks for an image waits for it, and for its scan.
fn ends_before_its_image(deployment: &Deployment) -> Option<(LifecycleEvent, String)> {
    let first = [LifecycleEvent::BeforeInstall, LifecycleEvent::AfterInstall, LifecycleEvent::ApplicationStart];
    let event = first.into_iter().find(|event| deployment.timeouts.contains_key(event))?;
    let hook = *deployment.timeouts.get(&event)?;
    let images: Vec<&ImageSource> = match &deployment.mode {
        Mode::Container(container) => vec![&container.image],
        Mode::Swarm(swarm) => vec![&swarm.image],
        Mode::Compose(compose) => compose.images.values().collect(),
    };
    let (image, scan) = images.into_iter().map(waits).max_by_key(|(image, scan)| *image + *scan)?;
    let waits = [("its image", image), ("the scan of its image", scan)].into_iter().filter(|(_, wait)| !wait.is_zero());
    let waits: Vec<String> = waits.map(|(what, wait)| format!("{wait:?} for {what}")).collect();
    let message = format!("the hook has {hook:?}, and may wait {}", waits.join(" and "));
    (!waits.is_empty() && hook <= image + scan).then_some((event, message))
}

fn waits(image: &ImageSource) -> (Duration, Duration) {
    match image {
        ImageSource::Registry(_, _, verify, wait) => {
            let scan = verify.as_ref().and_then(|verify| verify.scan.as_ref());
            (*wait, scan.map_or(Duration::ZERO, |scan| scan.wait))
        }
        ImageSource::Archive { .. } => (Duration::ZERO, Duration::ZERO),
    }
}
