//! `x-balehook.swarm`: the words of a container, Compose's `deploy:`, secrets, configs and swarm's own networks and ports.

pub(crate) mod deploy;
pub(crate) mod files;
pub(crate) mod mounts;
#[cfg(test)]
mod tests;

use bollard::models::Mount;

use crate::config::problem::Problems;
use crate::config::service::network::{Port, published_ports};
use crate::config::service::read::Field;
use crate::config::service::resources::{self, LIMITS, RESERVED};
use crate::config::service::{ParseContext, Service, Vocabulary};
pub use crate::config::swarm::deploy::Deploy;
pub use crate::config::swarm::deploy::FailureAction;
pub use crate::config::swarm::deploy::Order;
pub use crate::config::swarm::deploy::Reservations;
pub use crate::config::swarm::deploy::Restart;
pub use crate::config::swarm::deploy::Rollout;
pub use crate::config::swarm::deploy::Spread;
pub use crate::config::swarm::files::FileKind;
pub use crate::config::swarm::files::FileSource;
pub(crate) use crate::config::swarm::files::MountedFile;
use crate::config::yaml::{Node, Value};
use crate::config::{ImageNeed, ImageSource, service};

/// `x-balehook.swarm`, without its image.
#[derive(Debug, Clone, PartialEq)]
pub struct Swarm {
    /// Where the image comes from.
    pub(crate) image: ImageSource,
    /// What a container has too. Its ports, networks and mounts are those below.
    pub(crate) service: Service,
    /// `ports`.
    pub(crate) ports: Vec<ServicePort>,
    /// `networks`, in the file's order.
    pub(crate) networks: Vec<ServiceNetwork>,
    /// `volumes` and `tmpfs`.
    pub mounts: Vec<Mount>,
    /// `secrets` and `configs`.
    pub files: Vec<MountedFile>,
    /// `deploy`.
    pub(crate) deploy: Deploy,
    /// `init`: make a swarm of one node where this host is in none.
    pub(crate) init: bool,
    /// `init_process`: a process of the engine's own reaps and forwards signals inside the container.
    pub(crate) init_process: Option<bool>,
    /// `with_registry_auth`: the nodes get the registry's token with the service. Default true.
    pub(crate) with_registry_auth: bool,
}

impl Swarm {
    /// Its image.
    pub(crate) fn need(&self) -> ImageNeed {
        ImageNeed { source: self.image.clone(), platform: self.service.platform.clone() }
    }
}

/// One published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServicePort {
    /// Inside the container.
    pub(crate) target: u16,
    /// On the nodes; 0 is any.
    pub(crate) published: u16,
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: String,
    /// On the node of each task (`host`), instead of on every node (`ingress`).
    pub(crate) host: bool,
}

/// One network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceNetwork {
    /// Its name.
    pub(crate) name: String,
    /// Further names of the service on it.
    pub(crate) aliases: Vec<String>,
    /// `driver_opts`, sorted.
    pub(crate) driver_opts: Vec<(String, String)>,
    /// `attachable: true`: created as an overlay that containers may join, where it is missing.
    pub(crate) create: bool,
}

/// Every key of `swarm:`.
const KEYS: &[&str] = &[
    "cap_add", "cap_drop", "command", "configs", "cpus", "deploy", "dns", "dns_opt", "dns_search", "entrypoint",
    "env_file", "environment", "expose", "extra_hosts", "group_add", "healthcheck", "hostname", "image", "init",
    "init_process", "labels", "logging", "mem_limit", "mem_reservation", "networks", "pids_limit", "platform", "ports",
    "read_only", "restart", "secrets", "stdin_open", "stop_grace_period", "stop_signal", "sysctls", "tmpfs", "tty",
    "ulimits", "user", "volumes", "with_registry_auth", "working_dir",
];

/// Keys that are read here.
const OWN: &[&str] =
    &["image", "ports", "networks", "deploy", "secrets", "configs", "init", "init_process", "with_registry_auth"];

const NOT_IN_SWARM: &str = "swarm has no such option; deploy with `container:`, or leave it out";

/// Keys of Compose that a service of a swarm cannot honour, and what to do instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("annotations", NOT_IN_SWARM),
    ("blkio_config", NOT_IN_SWARM),
    ("build", "build the image before the deployment, and name it with `image:`"),
    ("cgroup", NOT_IN_SWARM),
    ("cgroup_parent", NOT_IN_SWARM),
    ("container_name", "the service is named by x-balehook.name"),
    ("cpu_period", "use `deploy.resources.limits.cpus`"),
    ("cpu_quota", "use `deploy.resources.limits.cpus`"),
    ("cpu_rt_period", NOT_IN_SWARM),
    ("cpu_rt_runtime", NOT_IN_SWARM),
    ("cpu_shares", "use `deploy.resources.reservations.cpus`"),
    ("cpuset", NOT_IN_SWARM),
    ("depends_on", "one service is deployed; deploy what it needs as a revision with another name"),
    ("device_cgroup_rules", NOT_IN_SWARM),
    ("devices", "swarm gives no devices; use `deploy.resources.reservations.generic_resources`, or `container:`"),
    ("domainname", "write the whole name under `hostname`"),
    ("external_links", "put both services on one of `networks:`; they find each other by name"),
    ("extends", "write the options here; `${VAR}` varies them"),
    ("gpus", "use `deploy.resources.reservations.generic_resources`"),
    ("ipc", NOT_IN_SWARM),
    ("links", "put both services on one of `networks:`; they find each other by name"),
    ("mac_address", NOT_IN_SWARM),
    ("mem_swappiness", NOT_IN_SWARM),
    ("memswap_limit", NOT_IN_SWARM),
    ("network_mode", "write `networks: [host]` for the host's network, or name an overlay network"),
    ("oom_kill_disable", NOT_IN_SWARM),
    ("oom_score_adj", NOT_IN_SWARM),
    ("pid", NOT_IN_SWARM),
    ("privileged", "swarm runs no privileged tasks; use `cap_add`, or deploy with `container:`"),
    ("profiles", "one service is deployed; use deployment groups and `${DEPLOYMENT_GROUP_NAME}`"),
    ("pull_policy", "an image is brought in when a node lacks it; leave the key out"),
    ("runtime", NOT_IN_SWARM),
    ("scale", "write `deploy: {replicas: …}`"),
    ("security_opt", NOT_IN_SWARM),
    ("shm_size", "mount a tmpfs: `tmpfs: [\"/dev/shm:size=128m\"]`"),
    ("storage_opt", NOT_IN_SWARM),
    ("update_config", "write it under `deploy:`"),
    ("userns_mode", NOT_IN_SWARM),
    ("uts", NOT_IN_SWARM),
    ("volumes_from", "mount the same named volume in `volumes:`"),
];

/// Reads `swarm:`; every problem is reported. `image` is read by the caller.
pub(crate) fn parse(
    node: &Node,
    path: &str,
    image: Option<ImageSource>,
    around: &ParseContext<'_>,
    problems: &mut Problems,
) -> Option<Swarm> {
    let words = Vocabulary { known: KEYS, elsewhere: ELSEWHERE, own: OWN };
    let service = service::parse_as(&words, node, path, around, problems);
    let mut field = Field { node, path: path.to_owned(), problems };
    let mounts = mounts::mounts(&mut field, &service);
    let mut files = child(&mut field, "secrets", |field| files::read(field, FileKind::Secret, around));
    files.extend(child(&mut field, "configs", |field| files::read(field, FileKind::Config, around)));
    let ports = child(&mut field, "ports", ports);
    let networks = child(&mut field, "networks", networks);
    let host_ports = ports.iter().any(|port| port.host && port.published > 0);
    let deploy = deploy::read(&mut field, host_ports);
    same_limits(&mut field, &service, &deploy);
    if deploy.dnsrr && ports.iter().any(|port| !port.host) {
        field.refuse::<()>(
            "`endpoint_mode: dnsrr` has no address to publish ingress ports at",
            "publish with `mode: host`, or leave `endpoint_mode` out",
        );
    }
    let mut flag = |name: &str| {
        let (_, value) = node.get(name)?;
        field.inner(value, name).boolean()
    };
    let (init, init_process, auth) = (flag("init"), flag("init_process"), flag("with_registry_auth"));
    Some(Swarm {
        image: image?,
        service,
        ports,
        networks,
        mounts,
        files,
        deploy,
        init: init.unwrap_or(false),
        init_process,
        with_registry_auth: auth.unwrap_or(true),
    })
}

/// Two keys set each of these; Compose refuses different values.
fn same_limits(field: &mut Field<'_, '_>, service: &Service, deploy: &Deploy) {
    let Some(host) = &service.body.host_config else { return };
    let (cpus, memory, pids) = deploy.limits;
    let pairs = [
        (LIMITS[0], host.memory, memory),
        (LIMITS[1], host.nano_cpus, cpus),
        (LIMITS[2], host.pids_limit, pids),
        (RESERVED, host.memory_reservation, deploy.reservations.memory),
    ];
    for (keys, one, other) in pairs {
        if one.is_some() && other.is_some() && one != other {
            resources::refuse_different(field, keys);
        }
    }
}

/// What `read` makes of an inner key; the default where it is absent.
fn child<T: Default>(field: &mut Field<'_, '_>, name: &str, read: impl FnOnce(&mut Field<'_, '_>) -> T) -> T {
    match field.node.get(name).filter(|(_, value)| !value.is_null()) {
        Some((_, value)) => read(&mut field.inner(value, name)),
        None => T::default(),
    }
}

fn ports(field: &mut Field<'_, '_>) -> Vec<ServicePort> {
    let read = published_ports(field);
    read.into_iter().filter_map(|port| service_port(field, port)).collect()
}

fn service_port(field: &mut Field<'_, '_>, port: Port) -> Option<ServicePort> {
    if !port.address.is_empty() {
        let message = format!("swarm cannot publish port {} on {} alone", port.target, port.address);
        return field.refuse(message, "leave the address out, and let a firewall decide who may connect");
    }
    let Ok(published) = (if port.published.is_empty() { Ok(0) } else { port.published.parse() }) else {
        let message = format!("swarm cannot choose from the range {} for port {}", port.published, port.target);
        return field.refuse(message, "name one port, or none for any");
    };
    let host = port.mode.as_deref() == Some("host");
    Some(ServicePort { target: port.target, published, protocol: port.protocol, host })
}

fn networks(field: &mut Field<'_, '_>) -> Vec<ServiceNetwork> {
    let plain = |name: String| ServiceNetwork { name, aliases: Vec::new(), driver_opts: Vec::new(), create: false };
    match field.node.value {
        Value::Mapping(_) => field.entries(|name, field| {
            let mut network = plain(name.to_owned());
            if !field.node.is_null() {
                settings(field, &mut network);
            }
            Some(network)
        }),
        _ => field.texts().into_iter().map(plain).collect(),
    }
}

fn settings(field: &mut Field<'_, '_>, network: &mut ServiceNetwork) {
    field.known(&["aliases", "driver_opts", "attachable", "priority"], |name, field| {
        match name {
            "aliases" => network.aliases = field.texts(),
            "driver_opts" => {
                network.driver_opts = field.map().into_iter().collect();
                network.driver_opts.sort_unstable();
            }
            "attachable" => network.create = field.boolean().unwrap_or(false),
            "priority" => drop(field.integer(i64::MIN)),
            "ipv4_address" | "ipv6_address" | "mac_address" | "link_local_ips" => {
                field.refuse::<()>(format!("swarm gives each task its own address: no `{name}`"), "leave it out");
            }
            _ => return false,
        }
        true
    });
}
