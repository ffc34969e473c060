//! What `check` alone says: of files that can be deployed and may still surprise. Events print none of it, because the
//! console keeps 2 kB.

mod compose;
mod hooks;
mod notify;
mod service;
#[cfg(test)]
mod tests;

use crate::config::appspec::AppSpecText;
use crate::config::field::Field;
pub(crate) use crate::config::lint::compose::files as compose_files;
use crate::config::lint::service::Service;
pub(crate) use crate::config::lint::service::is_written_out;
use crate::config::problem::Problems;
use crate::config::rules::{NO_APPLICATION_START, NO_HEALTH_CHECK, allow};
use crate::config::validate::{SECTION, whole};
use crate::config::yaml::Node;
use crate::config::{Deployment, Mode};

/// Adds what is said of `appspec.yml`, and takes away what its comments allow.
pub(crate) fn appspec(file: &AppSpecText, deployment: Option<&Deployment>, problems: &Problems) {
    problems.raise(NO_APPLICATION_START);
    // As written: what a variable holds on this machine says nothing of the file.
    if let Some((root, deployment)) = Node::parse(&file.text).ok().zip(deployment) {
        let root = whole(&root, problems);
        hooks::check(&root, deployment);
        if let Some(section) = root.get(SECTION) {
            self::section(&section, deployment);
            notify::check(&section);
        }
    }
    allow::check(&file.text, problems);
    allow::apply(&file.text, problems);
}

fn section(section: &Field<'_>, deployment: &Deployment) {
    let mode = match &deployment.mode {
        Mode::Container(_) => "container",
        Mode::Swarm(_) => "swarm",
        Mode::Compose(_) => "compose",
    };
    let Some((key, field)) = section.key(mode).zip(section.get(mode)) else { return };
    let service = Service { key: key.clone(), parts: vec![field] };
    let has_check = match &deployment.mode {
        Mode::Compose(compose) => compose::has_health_check(compose, &deployment.bundle_root),
        Mode::Container(_) | Mode::Swarm(_) => service.has_health_check(),
    };
    let is_asked = section.get("health").is_some_and(|health| health.given("http").or(health.given("tcp")).is_some());
    if !has_check && !is_asked {
        key.warning(
            NO_HEALTH_CHECK,
            "no health check here; whether the image has a HEALTHCHECK cannot be known from the file",
            "write `health: {http: /healthz}`, or allow it where the image has one",
        );
    }
    match &deployment.mode {
        Mode::Container(_) => {
            service.restart();
            service.each();
            service.log();
        }
        Mode::Swarm(_) => {
            service.each();
            service.log();
        }
        Mode::Compose(_) => {}
    }
    for task in ["before", "after"]
        .into_iter()
        .filter_map(|key| section.get(key))
        .flat_map(|list| list.each().collect::<Vec<_>>())
    {
        service::secrets(&task);
    }
}
