//! Rules of `hooks`: what ApplicationStop costs, and hooks that end before what they wait for.

use std::time::Duration;

use crate::config::field::Field;
use crate::config::rules::{APPLICATION_STOP, HOOK_TOO_SHORT};
use crate::config::validate::agent::{hooks, is_ours};
use crate::config::{Deployment, Mode};
use crate::values::types::LifecycleEvent;

pub(super) fn check(root: &Field<'_>, deployment: &Deployment) {
    let Some(hooks) = root.get("hooks") else { return };
    if is_stopped_first(root, deployment)
        && let Some(key) = hooks.key("ApplicationStop")
    {
        key.warning(
            APPLICATION_STOP,
            "the old release stops before this revision is even downloaded: nobody serves until ApplicationStart ends",
            "leave the event out: ApplicationStart replaces the old release, and puts it back if the new one fails",
        );
    }
    if let Some((event, message)) = too_short(deployment)
        && let Some(key) = hooks.key(&event.to_string())
    {
        key.warning(HOOK_TOO_SHORT, message, "raise the hook's `timeout:`, or shorten the wait");
    }
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
