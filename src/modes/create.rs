//! From a validated service to what the engine is given when a container is created.

use bollard::models::NetworkingConfig;

use crate::config::service::Service;
use crate::config::service::options::SECCOMP;
use crate::engine::request::ContainerOptions;
use crate::error::{Failure, Kind};
use crate::images::facts::ImageFacts;
use crate::modes::facts::Facts;
use crate::modes::images::check_architecture;

/// Since this API version a container can be created with several networks; before it takes one, and the others are
/// connected before it starts.
const SEVERAL_NETWORKS: (u32, u32) = (1, 44);

/// So many variables are named in a note.
const NAMED: usize = 3;

/// The request for an engine of that API version; `None` is an unknown, new one.
pub fn container_options(service: &Service, api: Option<(u32, u32)>) -> ContainerOptions {
    let mut body = service.body.clone();
    let mut networks = service.networks.clone();
    let together = if api.is_none_or(|api| api >= SEVERAL_NETWORKS) { networks.len() } else { networks.len().min(1) };
    let extra_networks = networks.split_off(together);
    if let Some((first, _)) = networks.first() {
        body.host_config.get_or_insert_default().network_mode = Some(first.clone());
        let endpoints = networks.into_iter().collect();
        body.networking_config = Some(NetworkingConfig { endpoints_config: Some(endpoints) });
    }
    ContainerOptions { body, extra_networks, platform: service.platform.clone() }
}

/// The same with the seccomp profiles that were read: the engine takes no file's name.
pub(crate) fn options(service: &Service, facts: &Facts) -> ContainerOptions {
    let mut options = container_options(service, facts.engine.yes().map(|engine| engine.api));
    let host = options.body.host_config.iter_mut();
    for option in host.flat_map(|host| host.security_opt.iter_mut().flatten()) {
        let path = option.strip_prefix(SECCOMP);
        if let Some((_, profile)) =
            path.and_then(|path| facts.container.seccomp.iter().find(|(known, _)| known == path))
        {
            *option = format!("{SECCOMP}{profile}");
        }
    }
    options
}

pub(crate) fn seccomp_profiles(service: &Service) -> impl Iterator<Item = &str> {
    let options = service.body.host_config.iter().flat_map(|host| host.security_opt.iter().flatten());
    options.filter_map(|option| option.strip_prefix(SECCOMP)).filter(|path| path.starts_with('/'))
}

/// An image for another processor, and options that only newer engines know, are refused before anything is touched.
pub(crate) fn check(service: &Service, facts: &Facts, image: &ImageFacts) -> Result<(), Failure> {
    let Some(engine) = facts.engine.yes() else { return Ok(()) };
    check_architecture(service.platform.as_deref(), engine, image)?;
    match service.needs.iter().find(|(_, needs)| engine.api < *needs) {
        None => Ok(()),
        Some((option, (major, minor))) => {
            Err(Failure::new(Kind::Container, format!("`{option}` needs an engine with API {major}.{minor}"))
                .next(format!("this engine is {} (API {}.{})", engine.version, engine.api.0, engine.api.1)))
        }
    }
}

/// What is said once of a name: the engine shows values of variables to all who may inspect. A kept release that has some
/// has said it.
pub(crate) fn visible_values(facts: &Facts) -> Option<String> {
    let hidden = facts.environment.yes()?.iter().filter(|var| var.is_hidden());
    visible(facts, &hidden.map(|var| var.name.as_str()).collect::<Vec<_>>())
}

/// The same of these variables.
pub(crate) fn visible(facts: &Facts, names: &[&str]) -> Option<String> {
    // Who plans without an engine does not deploy, and may not have the releases either.
    facts.engine.yes()?;
    if names.is_empty() || facts.releases.iter().any(|release| release.hidden().next().is_some()) {
        return None;
    }
    let more = names.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named = names.get(..names.len().min(NAMED)).unwrap_or_default().join(", ");
    Some(format!(
        "`docker inspect` shows {named}{rest}, as all of `environment`: `secrets` are files that it does not show (said once)"
    ))
}
