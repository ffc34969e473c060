//! The options of one service in the Compose specification's words, short and long.
//!
//! What comes out is what the engine is given: the very structure of its create request. So there is one translation,
//! and the plan prints the structure that the client sends.

pub(crate) mod environment;
pub(crate) mod network;
pub(crate) mod options;
pub(crate) mod ports;
pub(crate) mod resources;
#[cfg(test)]
mod tests;
pub(crate) mod volumes;
mod words;

use std::fmt;
use std::path::Path;

use bollard::models::{ContainerCreateBody, EndpointSettings, HostConfig};

use crate::config::field::Field;
use crate::config::keys::Keys;
use crate::config::pending::Pending;
use crate::config::problem::Problems;
pub(crate) use crate::config::service::environment::environment;
pub(crate) use crate::config::service::options::{command, labels, location};
pub(crate) use crate::config::service::words::words;
use crate::config::start_first::StartFirst;
use crate::config::yaml::{Node, Place, Value};
use crate::config::{ArchiveLocation, start_first};
use crate::values::source::Many;
use crate::values::types::EnvVar;

/// A validated service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Service {
    /// The engine's create request, without image, environment and networks.
    pub(crate) body: ContainerCreateBody,
    /// `environment`, in the file's order.
    pub environment: Vec<EnvVar>,
    /// `env_file`, in the file's order; `environment` wins over it.
    pub(crate) env_file: Vec<EnvFile>,
    /// `networks` with each one's settings: by falling `priority`, else in the file's order.
    pub(crate) networks: Vec<(String, EndpointSettings)>,
    /// `platform`, as `linux/arm64`.
    pub(crate) platform: Option<String>,
    /// Options that only newer engines know, with the lowest API version.
    pub needs: Vec<(&'static str, (u32, u32))>,
    /// `update_config.order: start-first`; `None` is stop-first.
    pub(crate) start_first: Option<StartFirst>,
}

/// Options that need a newer engine, with the lowest API version.
pub(crate) type Needs = Vec<(&'static str, (u32, u32))>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvFile {
    /// Where they lie; all of them are hidden.
    pub(crate) location: EnvLocation,
    /// It may be missing.
    pub(crate) required: bool,
    /// `format: raw`: no quotes, no variables.
    pub(crate) raw: bool,
}

/// Where many values with their names lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EnvLocation {
    /// One variable a line.
    File(ArchiveLocation),
    /// A path of parameters, or a secret that is a JSON object.
    Many(Many),
}

impl fmt::Display for EnvLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(location) => write!(f, "{location}"),
            Self::Many(many) => write!(f, "{many}"),
        }
    }
}

/// What reading a service needs beside its node.
pub struct ParseContext<'a> {
    /// The bundle's folder.
    pub bundle_root: &'a Path,
    /// The hook environment.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
    /// What may still come before ApplicationStart.
    pub pending: &'a Pending,
}

/// Keys of Compose that mean nothing for one container of a deployment, and what to do instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("build", "build the image before the deployment, and name it with `image:`"),
    ("pull_policy", "an image is imported where the engine lacks it; leave the key out"),
    ("container_name", "the container is named by x-balehook.name"),
    ("depends_on", "one container is deployed; deploy what it needs as a revision with another name"),
    ("links", "put both containers on one of `networks:`; they find each other by name"),
    ("external_links", "put both containers on one of `networks:`"),
    ("volumes_from", "mount the same named volume in `volumes:`"),
    ("profiles", "one container is deployed; use deployment groups and `${DEPLOYMENT_GROUP_NAME}`"),
    ("scale", "one container is deployed on each host; add hosts to the deployment group"),
    ("extends", "write the options here; `${VAR}` varies them"),
    ("secrets", "mount a file with `volumes:`, or use an `env_file:` in S3"),
    ("configs", "install the file with `files:` and mount it with `volumes:`"),
    ("develop", "it is for a developer's machine; leave it out"),
    ("isolation", "it is for Windows only; leave it out"),
    ("cpu_count", "it is for Windows only; use `cpus`"),
    ("cpu_percent", "it is for Windows only; use `cpus`"),
    ("credential_spec", "it is for Windows only; leave it out"),
    ("attach", "a deployment never attaches; leave it out"),
    ("post_start", "not supported; run it from a hook of your own after ApplicationStart"),
    ("pre_stop", "not supported; handle the stop signal in the application"),
];

/// Reads `container:`; every problem is reported, and what could not be read is left out of the result.
pub fn parse(node: &Node, path: &str, around: &ParseContext<'_>, problems: &Problems) -> Service {
    let field = Field { node, path: path.to_owned(), problems };
    let service = field.mapping(|keys| of_container(keys, around));
    conflicts(&field, &service);
    if service.start_first.is_some() {
        can_be_switched(&field, &service);
    }
    service
}

/// Every key of `container:`: what the reader asks for.
pub fn keys() -> Vec<&'static str> {
    let empty = Node { value: Value::Mapping(Vec::new()), place: Place::default() };
    let problems = Problems::new();
    let field = Field { node: &empty, path: String::new(), problems: &problems };
    let around = ParseContext { bundle_root: Path::new("/"), lookup: &|_| None, pending: &Pending::default() };
    field.mapping(|keys| {
        of_container(keys, &around);
        keys.sorted().to_vec()
    })
}

fn of_container(keys: &mut Keys<'_, '_>, around: &ParseContext<'_>) -> Service {
    let (mut service, mut host) = (Service::default(), HostConfig::default());
    keys.elsewhere(ELSEWHERE);
    keys.know("image");
    options::shared(keys, &mut service, &mut host, around);
    options::of_container(keys, &mut service, &mut host, around);
    resources::of_container(keys, &mut host);
    network::of_container(keys, &mut service, &mut host);
    keys.sorted();
    service.body.host_config = Some(host);
    service
}

/// What a service of a swarm has too. Its ports, networks and `deploy` it reads itself.
pub(crate) fn of_swarm(keys: &mut Keys<'_, '_>, around: &ParseContext<'_>) -> Service {
    let (mut service, mut host) = (Service::default(), HostConfig::default());
    options::shared(keys, &mut service, &mut host, around);
    service.body.host_config = Some(host);
    service
}

fn conflicts(field: &Field<'_>, service: &Service) {
    let Some(host) = &service.body.host_config else { return };
    let mode = host.network_mode.as_deref().unwrap_or_default();
    if !mode.is_empty() && !service.networks.is_empty() {
        field.error("`network_mode` and `networks` exclude each other", "keep one of them");
    }
    if matches!(mode, "host" | "none") && host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty()) {
        field.error(
            format!("`ports` cannot be published with `network_mode: {mode}`"),
            "leave `ports` out: with `host` the application's own ports are the host's",
        );
    }
    if let (Some(limit), Some(reserved)) = (host.memory, host.memory_reservation)
        && reserved > limit
    {
        field.error(format!("mem_reservation ({reserved} bytes) is larger than mem_limit ({limit})"), "lower it");
    }
    match (host.memory, host.memory_swap) {
        (None, Some(swap)) if swap > 0 => {
            field.error("memswap_limit needs mem_limit", "it is the sum of memory and swap: set both");
        }
        (Some(limit), Some(swap)) if swap > 0 && swap < limit => {
            field.error(
                format!("memswap_limit ({swap} bytes) is smaller than mem_limit ({limit})"),
                "it is the sum of memory and swap",
            );
        }
        _ => {}
    }
    if host.nano_cpus.is_some() && (host.cpu_quota.is_some() || host.cpu_period.is_some()) {
        field.error("`cpus` excludes `cpu_quota` and `cpu_period`", "keep `cpus`");
    }
}

/// What cannot run beside its successor, or has no port that could be switched.
fn can_be_switched(field: &Field<'_>, service: &Service) {
    const STOP_FIRST: &str = "or leave `update_config` out: the order is `stop-first` then";
    let host = service.body.host_config.clone().unwrap_or_default();
    if let Some(mode) = host.network_mode.filter(|mode| !mode.is_empty()) {
        let message = format!("`order: start-first` is not possible with `network_mode: {mode}`");
        field.error(
            message,
            format!("the container needs an address of its own on our network: leave `network_mode` out, {STOP_FIRST}"),
        );
    }
    if service.body.networking_config.is_some() {
        field.error(
            "`order: start-first` is not possible with `mac_address`",
            format!("two containers run at once: leave it out, {STOP_FIRST}"),
        );
    }
    for (network, endpoint) in &service.networks {
        if endpoint.ipam_config.is_some() || endpoint.mac_address.is_some() {
            let message =
                format!("`order: start-first` is not possible with an address of its own on network {network}");
            field.error(message, format!("two containers run at once: leave the address out, {STOP_FIRST}"));
        }
    }
    match start_first::forwards(&service.body) {
        Ok(forwards) if forwards.is_empty() => {
            field.error(
                "`order: start-first` needs `ports`: there is no port to switch",
                format!("write `ports: [\"80:8080\"]`, {STOP_FIRST}"),
            );
        }
        Ok(_) => {}
        Err(why) => {
            field.error(format!("`order: start-first` {why}"), STOP_FIRST);
        }
    }
}
