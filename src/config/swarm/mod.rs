//! `x-balehook.swarm`: the words of a container, Compose's `deploy:`, secrets, configs and swarm's own networks and ports.

pub(crate) mod deploy;
pub(crate) mod files;
pub(crate) mod mounts;
#[cfg(test)]
mod tests;

use std::path::Path;

use bollard::models::Mount;

use crate::config::field::Field;
use crate::config::keys::Keys;
use crate::config::pending::Pending;
use crate::config::problem::Problems;
use crate::config::secrets::Definitions;
use crate::config::service::ports::{Port, published_ports};
use crate::config::service::resources::{self, LIMITS, RESERVED};
use crate::config::service::{ParseContext, Service};
pub use crate::config::swarm::deploy::{Deploy, FailureAction, Order, Reservations, Restart, Rollout, Spread};
pub(crate) use crate::config::swarm::files::MountedFile;
pub use crate::config::swarm::files::{FileKind, FileSource};
use crate::config::yaml::{Node, Place, Value};
use crate::config::{ImageNeed, ImageSource, service};

/// `x-balehook.swarm`, without its image.
#[derive(Debug, Clone, PartialEq)]
pub struct Swarm {
    pub(crate) image: ImageSource,
    /// What a container has too. Its ports, networks and mounts are those below.
    pub(crate) service: Service,
    pub(crate) ports: Vec<ServicePort>,
    /// `networks`, in the file's order.
    pub(crate) networks: Vec<ServiceNetwork>,
    /// `volumes` and `tmpfs`.
    pub mounts: Vec<Mount>,
    /// `secrets` and `configs`.
    pub files: Vec<MountedFile>,
    pub(crate) deploy: Deploy,
    /// `init`: make a swarm of one node where this host is in none.
    pub(crate) init: bool,
    /// `init_process`: a process of the engine's own reaps and forwards signals inside the container.
    pub(crate) init_process: Option<bool>,
    /// `with_registry_auth`: the nodes get the registry's token with the service. Default true.
    pub(crate) with_registry_auth: bool,
}

impl Swarm {
    pub(crate) fn need(&self) -> ImageNeed {
        ImageNeed { source: self.image.clone(), platform: self.service.platform.clone() }
    }
}

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceNetwork {
    pub(crate) name: String,
    /// Further names of the service on it.
    pub(crate) aliases: Vec<String>,
    /// `driver_opts`, sorted.
    pub(crate) driver_opts: Vec<(String, String)>,
    /// `attachable: true`: created as an overlay that containers may join, where it is missing.
    pub(crate) create: bool,
}

/// What to do instead of any other key of a container.
const NOT_IN_SWARM: &str = "swarm has no such option; deploy with `container:`, or leave it out";

/// Keys of Compose that a service of a swarm cannot honour, and what to do instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("build", "build the image before the deployment, and name it with `image:`"),
    ("container_name", "the service is named by x-balehook.name"),
    ("cpu_period", "use `deploy.resources.limits.cpus`"),
    ("cpu_quota", "use `deploy.resources.limits.cpus`"),
    ("cpu_shares", "use `deploy.resources.reservations.cpus`"),
    ("depends_on", "one service is deployed; deploy what it needs as a revision with another name"),
    ("devices", "swarm gives no devices; use `deploy.resources.reservations.generic_resources`, or `container:`"),
    ("domainname", "write the whole name under `hostname`"),
    ("external_links", "put both services on one of `networks:`; they find each other by name"),
    ("extends", "write the options here; `${VAR}` varies them"),
    ("gpus", "use `deploy.resources.reservations.generic_resources`"),
    ("links", "put both services on one of `networks:`; they find each other by name"),
    ("network_mode", "write `networks: [host]` for the host's network, or name an overlay network"),
    ("privileged", "swarm runs no privileged tasks; use `cap_add`, or deploy with `container:`"),
    ("profiles", "one service is deployed; use deployment groups and `${DEPLOYMENT_GROUP_NAME}`"),
    ("pull_policy", "an image is imported where a node lacks it; leave the key out"),
    ("scale", "write `deploy: {replicas: …}`"),
    ("shm_size", "mount a tmpfs: `tmpfs: [\"/dev/shm:size=128m\"]`"),
    ("update_config", "write it under `deploy:`"),
    ("volumes_from", "mount the same named volume in `volumes:`"),
];

/// Reads `swarm:`; every problem is reported. `image` is read by the caller.
pub(crate) fn parse(field: &Field<'_>, image: Option<ImageSource>, around: &ParseContext<'_>) -> Option<Swarm> {
    field.mapping(|keys| read(keys, field, image, around))
}

/// Every key of `swarm:`: what the reader asks for.
pub(crate) fn keys() -> Vec<&'static str> {
    let empty = Node { value: Value::Mapping(Vec::new()), place: Place::default() };
    let problems = Problems::new();
    let field = Field { node: &empty, path: String::new(), problems: &problems };
    let around = ParseContext {
        bundle_root: Path::new("/"),
        lookup: &|_| None,
        pending: &Pending::default(),
        secrets: &Definitions::new(),
    };
    field.mapping(|keys| {
        read(keys, &field, None, &around);
        keys.sorted().to_vec()
    })
}

fn read(
    keys: &mut Keys<'_, '_>,
    field: &Field<'_>,
    image: Option<ImageSource>,
    around: &ParseContext<'_>,
) -> Option<Swarm> {
    keys.elsewhere(ELSEWHERE);
    keys.know("image");
    let service = service::of_swarm(keys, around);
    let mounts = mounts::mounts(field, &service);
    let mut files = keys.given("secrets", |field| files::read(field, FileKind::Secret, around));
    files.extend(keys.given("configs", |field| files::read(field, FileKind::Config, around)));
    let ports = keys.given("ports", ports);
    let networks = keys.given("networks", networks);
    let host_ports = ports.iter().any(|port| port.host && port.published > 0);
    let defaults = Deploy::new(field.text_of("restart"), host_ports);
    let deploy = keys.given("deploy", |field| Some(deploy::read(field, &defaults, host_ports))).unwrap_or(defaults);
    same_limits(field, &service, &deploy);
    reachable(field, &deploy, &ports);
    let init = keys.get("init", Field::boolean).unwrap_or(false);
    let init_process = keys.get("init_process", Field::boolean);
    let with_registry_auth = keys.get("with_registry_auth", Field::boolean).unwrap_or(true);
    keys.refuse_others(&service::keys(), NOT_IN_SWARM);
    keys.sorted();
    Some(Swarm {
        image: image?,
        service,
        ports,
        networks,
        mounts,
        files,
        deploy,
        init,
        init_process,
        with_registry_auth,
    })
}

/// Ingress ports are published at the service's own address.
fn reachable(field: &Field<'_>, deploy: &Deploy, ports: &[ServicePort]) {
    if deploy.dnsrr && ports.iter().any(|port| !port.host) {
        field.error(
            "`endpoint_mode: dnsrr` has no address to publish ingress ports at",
            "publish with `mode: host`, or leave `endpoint_mode` out",
        );
    }
}

/// Two keys set each of these; Compose refuses different values.
fn same_limits(field: &Field<'_>, service: &Service, deploy: &Deploy) {
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

fn ports(field: &Field<'_>) -> Vec<ServicePort> {
    let read = published_ports(field);
    read.into_iter().filter_map(|port| service_port(field, port)).collect()
}

fn service_port(field: &Field<'_>, port: Port) -> Option<ServicePort> {
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

fn networks(field: &Field<'_>) -> Vec<ServiceNetwork> {
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

fn settings(field: &Field<'_>, network: &mut ServiceNetwork) {
    field.mapping(|keys| {
        network.aliases = keys.all("aliases", Field::texts).unwrap_or_default();
        network.driver_opts = keys.all("driver_opts", Field::map).unwrap_or_default().into_iter().collect();
        network.driver_opts.sort_unstable();
        network.create = keys.get("attachable", Field::boolean).unwrap_or(false);
        keys.get("priority", |field| field.integer(i64::MIN));
        for name in ["ipv4_address", "ipv6_address", "mac_address", "link_local_ips"] {
            if let Some(field) = keys.unlisted(name) {
                field.error(format!("swarm gives each task its own address: no `{name}`"), "leave it out");
            }
        }
    });
}
