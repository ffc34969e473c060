//! The options of one service in the Compose specification's words, short and long.
//!
//! What comes out is what the engine is given: the very structure of its create request. So there is one translation,
//! and the plan prints the structure that the client sends.

pub(crate) mod network;
pub(crate) mod options;
pub(crate) mod read;
pub(crate) mod resources;
#[cfg(test)]
mod tests;
pub(crate) mod volumes;

use std::path::Path;

use bollard::models::{ContainerCreateBody, EndpointSettings, HostConfig};

use crate::config::pending::Pending;
use crate::config::problem::Problems;
pub(crate) use crate::config::service::options::command;
pub(crate) use crate::config::service::options::environment;
pub(crate) use crate::config::service::options::labels;
pub(crate) use crate::config::service::options::location;
pub(crate) use crate::config::service::read::Field;
pub(crate) use crate::config::service::read::words;
use crate::config::start_first::StartFirst;
use crate::config::yaml::Node;
use crate::config::{ArchiveLocation, start_first};
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
    /// `update_config.order: start-first`; `None` is the swap.
    pub(crate) start_first: Option<StartFirst>,
}

/// One entry of `env_file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvFile {
    /// A file, or an object in S3 (whose values are hidden).
    pub(crate) location: ArchiveLocation,
    /// It may be missing.
    pub(crate) required: bool,
    /// `format: raw`: no quotes, no variables.
    pub(crate) raw: bool,
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

/// Every key of `container:` that is read here (`image` is read beside it).
pub const KEYS: &[&str] = &[
    "annotations", "blkio_config", "cap_add", "cap_drop", "cgroup", "cgroup_parent", "command", "cpu_period",
    "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares", "cpus", "cpuset", "deploy", "device_cgroup_rules",
    "devices", "dns", "dns_opt", "dns_search", "domainname", "entrypoint", "env_file", "environment", "expose",
    "extra_hosts", "gpus", "group_add", "healthcheck", "hostname", "image", "init", "ipc", "labels", "logging",
    "mac_address", "mem_limit", "mem_reservation", "mem_swappiness", "memswap_limit", "network_mode", "networks",
    "oom_kill_disable", "oom_score_adj", "pid", "pids_limit", "platform", "ports", "privileged", "read_only",
    "restart", "runtime", "security_opt", "shm_size", "stdin_open", "stop_grace_period", "stop_signal", "storage_opt",
    "sysctls", "tmpfs", "tty", "ulimits", "update_config", "user", "userns_mode", "uts", "volumes", "working_dir",
];

/// Keys of Compose that mean nothing for one container of a deployment, and what to do instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("build", "build the image before the deployment, and name it with `image:`"),
    ("pull_policy", "an image is brought in when the engine lacks it; leave the key out"),
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

/// Which keys a mode reads as a service's options, and those that it cannot honour with what to do instead.
pub(crate) struct Vocabulary<'a> {
    /// Keys that are read.
    pub(crate) known: &'a [&'a str],
    /// Keys of Compose that mean nothing there.
    pub(crate) elsewhere: &'a [(&'a str, &'a str)],
    /// Keys that the mode reads itself.
    pub(crate) own: &'a [&'a str],
}

/// Reads `container:`; every problem is reported, and what could not be read is left out of the result.
pub fn parse(node: &Node, path: &str, around: &ParseContext<'_>, problems: &mut Problems) -> Service {
    let container = Vocabulary { known: KEYS, elsewhere: ELSEWHERE, own: &["image"] };
    parse_as(&container, node, path, around, problems)
}

/// The same for a mode with a vocabulary of its own.
pub(crate) fn parse_as(
    words: &Vocabulary<'_>,
    node: &Node,
    path: &str,
    around: &ParseContext<'_>,
    problems: &mut Problems,
) -> Service {
    let mut service = Service::default();
    let mut host = HostConfig::default();
    let mut field = Field { node, path: path.to_owned(), problems };
    for (key, _) in node.as_mapping().unwrap_or_default() {
        let name = key.as_text().unwrap_or_default();
        if let Some((_, instead)) = words.elsewhere.iter().find(|(known, _)| *known == name) {
            let path = format!("{path}.{name}");
            field.problems.error(key.place, &path, format!("`{name}` is not for a deployment"), (*instead).to_owned());
        }
    }
    field.known(words.known, |name, field| {
        words.elsewhere.iter().any(|(known, _)| *known == name)
            || words.own.contains(&name)
            || options::read(name, field, &mut service, &mut host, around)
            || resources::read(name, field, &mut host)
            || volumes::read(name, field, &mut host, &mut service)
            || network::read(name, field, &mut service, &mut host)
    });
    if words.known.contains(&"mac_address") {
        network::mac_address(&mut field, &mut service, host.network_mode.as_deref());
    }
    conflicts(&mut field, &service, &host);
    service.body.host_config = Some(host);
    if service.start_first.is_some() {
        can_be_handed_over(&mut field, &service);
    }
    service
}

/// Options that exclude each other.
fn conflicts(field: &mut Field<'_, '_>, service: &Service, host: &HostConfig) {
    let mode = host.network_mode.as_deref().unwrap_or_default();
    if !mode.is_empty() && !service.networks.is_empty() {
        field.refuse::<()>("`network_mode` and `networks` exclude each other", "keep one of them");
    }
    if matches!(mode, "host" | "none") && host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty()) {
        field.refuse::<()>(
            format!("`ports` cannot be published with `network_mode: {mode}`"),
            "leave `ports` out: with `host` the application's own ports are the host's",
        );
    }
    if let (Some(limit), Some(reserved)) = (host.memory, host.memory_reservation)
        && reserved > limit
    {
        field
            .refuse::<()>(format!("mem_reservation ({reserved} bytes) is larger than mem_limit ({limit})"), "lower it");
    }
    match (host.memory, host.memory_swap) {
        (None, Some(swap)) if swap > 0 => {
            field.refuse::<()>("memswap_limit needs mem_limit", "it is the sum of memory and swap: set both");
        }
        (Some(limit), Some(swap)) if swap > 0 && swap < limit => {
            field.refuse::<()>(
                format!("memswap_limit ({swap} bytes) is smaller than mem_limit ({limit})"),
                "it is the sum of memory and swap",
            );
        }
        _ => {}
    }
    if host.nano_cpus.is_some() && (host.cpu_quota.is_some() || host.cpu_period.is_some()) {
        field.refuse::<()>("`cpus` excludes `cpu_quota` and `cpu_period`", "keep `cpus`");
    }
}

/// What cannot run beside its successor, or has no port that could be handed over.
fn can_be_handed_over(field: &mut Field<'_, '_>, service: &Service) {
    const SWAP: &str = "or leave `update_config` out: `stop-first` is the swap";
    let host = service.body.host_config.clone().unwrap_or_default();
    if let Some(mode) = host.network_mode.filter(|mode| !mode.is_empty()) {
        let message = format!("`order: start-first` is not possible with `network_mode: {mode}`");
        field.refuse::<()>(
            message,
            &format!("the container needs an address of its own on our network: leave `network_mode` out, {SWAP}"),
        );
    }
    if service.body.networking_config.is_some() {
        field.refuse::<()>(
            "`order: start-first` is not possible with `mac_address`",
            &format!("two containers run at once: leave it out, {SWAP}"),
        );
    }
    for (network, endpoint) in &service.networks {
        if endpoint.ipam_config.is_some() || endpoint.mac_address.is_some() {
            let message =
                format!("`order: start-first` is not possible with an address of its own on network {network}");
            field.refuse::<()>(message, &format!("two containers run at once: leave the address out, {SWAP}"));
        }
    }
    match start_first::forwards(&service.body) {
        Ok(forwards) if forwards.is_empty() => {
            field.refuse::<()>(
                "`order: start-first` needs `ports`: there is nothing to hand over",
                &format!("write `ports: [\"80:8080\"]`, {SWAP}"),
            );
        }
        Ok(_) => {}
        Err(why) => {
            field.refuse::<()>(format!("`order: start-first` {why}"), SWAP);
        }
    }
}
