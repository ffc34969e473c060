//! Who has a host port that we want: another container, or a process of this host.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use bollard::models::{ContainerCreateBody, ContainerSummary, PortBinding};

use crate::engine;
use crate::engine::label;
use crate::ports::facts::PortTaken;
use crate::values::forward::split;
use crate::values::labels::LABEL_PORTS;

/// A fixed host port; `address` is `None` for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    address: Option<IpAddr>,
    port: u16,
    protocol: String,
}

impl HostPort {
    /// `None` where the port is not fixed: it has no number, or a range of them.
    pub(crate) fn fixed(address: &str, port: &str, protocol: &str) -> Option<Self> {
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(Self { address: address.parse().ok(), port, protocol: protocol.to_owned() })
    }

    /// Those that a create request publishes.
    pub(crate) fn of(body: &ContainerCreateBody) -> Vec<Self> {
        let bindings = body.host_config.as_ref().and_then(|host| host.port_bindings.as_ref()).into_iter().flatten();
        let each = bindings.filter_map(|(port, bindings)| Some((port.split_once('/')?.1, bindings.as_ref()?)));
        let fixed = |protocol: &str, binding: &PortBinding| {
            Self::fixed(binding.host_ip.as_deref().unwrap_or_default(), binding.host_port.as_deref()?, protocol)
        };
        each.flat_map(|(protocol, bindings)| bindings.iter().filter_map(move |found| fixed(protocol, found))).collect()
    }

    fn clashes(&self, other: &Self) -> bool {
        let everywhere = |address: &Option<IpAddr>| address.is_none_or(|address| address.is_unspecified());
        self.port == other.port
            && self.protocol == other.protocol
            && (everywhere(&self.address) || everywhere(&other.address) || self.address == other.address)
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}/{}", SocketAddr::new(address, self.port), self.protocol),
            None => write!(f, "{}/{}", self.port, self.protocol),
        }
    }
}

/// Those of `wanted` that somebody else has. `ours` are the IDs of the containers that the plan replaces; `proc` is `/proc`
/// where the engine runs on this host, `None` elsewhere.
pub(crate) fn taken(
    wanted: &[HostPort],
    all: &[ContainerSummary],
    ours: &[&str],
    proc: Option<&Path>,
) -> Vec<PortTaken> {
    let published: Vec<(HostPort, &ContainerSummary)> =
        all.iter().flat_map(|container| published(container).into_iter().map(move |port| (port, container))).collect();
    let listening = if wanted.is_empty() { Vec::new() } else { proc.map(listening).unwrap_or_default() };
    let is_ours = |container: &ContainerSummary| container.id.as_deref().is_some_and(|id| ours.contains(&id));
    let mut taken = Vec::new();
    for want in wanted {
        let holders: Vec<_> = published.iter().filter(|(port, _)| port.clashes(want)).collect();
        let owner = match holders.iter().find(|(_, container)| !is_ours(container)) {
            Some((_, container)) => Some(engine::describe(container)),
            None if holders.is_empty() => listening
                .iter()
                .find(|(port, _)| port.clashes(want))
                .map(|(_, inode)| proc.and_then(|proc| process(proc, *inode)).unwrap_or_else(|| "a process".into()))
                // The engine's own: it holds the port of a container that is just stopping, which is listed without it.
                .filter(|owner| !owner.contains(": docker-proxy ")),
            None => None,
        };
        taken.extend(owner.map(|owner| PortTaken { port: want.to_string(), owner }));
    }
    taken
}

/// Who has a port now, the engine's own proxies among them.
pub(super) fn holder(wanted: &HostPort, all: &[ContainerSummary], proc: Option<&Path>) -> Option<String> {
    let publisher = all.iter().find(|container| published(container).iter().any(|port| port.clashes(wanted)));
    publisher.map(engine::describe).or_else(|| {
        let listening = proc.map(listening).unwrap_or_default();
        let (_, inode) = listening.iter().find(|(port, _)| port.clashes(wanted))?;
        Some(proc.and_then(|proc| process(proc, *inode)).unwrap_or_else(|| "a process".into()))
    })
}

/// What the engine publishes for a container, and what the kernel hands to it.
fn published(container: &ContainerSummary) -> Vec<HostPort> {
    let switched = label(container, LABEL_PORTS).map(|ports| split(&ports)).unwrap_or_default();
    let switched = switched.into_iter().map(|forward| HostPort {
        address: forward.address,
        port: forward.host,
        protocol: forward.protocol.to_string(),
    });
    let ports = container.ports.iter().flatten();
    let by_engine = ports.filter_map(|port| {
        let protocol = port.typ.map(|protocol| protocol.to_string()).unwrap_or_else(|| "tcp".into());
        Some(HostPort { address: port.ip.as_deref().and_then(|ip| ip.parse().ok()), port: port.public_port?, protocol })
    });
    by_engine.chain(switched).collect()
}

/// Listening TCP and bound UDP sockets with their inodes.
///
/// Source: proc_net_tcp.txt of the kernel's documentation; state 0A is LISTEN, 07 is a bound UDP socket.
fn listening(proc: &Path) -> Vec<(HostPort, u64)> {
    let mut found = Vec::new();
    for (file, protocol, state) in
        [("tcp", "tcp", "0A"), ("tcp6", "tcp", "0A"), ("udp", "udp", "07"), ("udp6", "udp", "07")]
    {
        let text = fs::read_to_string(proc.join("net").join(file)).unwrap_or_default();
        found.extend(text.lines().skip(1).filter_map(|line| socket(line, protocol, state)));
    }
    found
}

fn socket(line: &str, protocol: &str, state: &str) -> Option<(HostPort, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let is_bound = fields.get(3) == Some(&state);
    let port = u16::from_str_radix(port, 16).ok()?;
    let inode = fields.get(9)?.parse().ok()?;
    is_bound.then(|| (HostPort { address: kernel_address(address), port, protocol: protocol.to_owned() }, inode))
}

/// The kernel prints an address as 32-bit words in the host's byte order.
fn kernel_address(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<u32>> =
        (0..hex.len() / 8).map(|n| u32::from_str_radix(hex.get(n * 8..n * 8 + 8)?, 16).ok()).collect();
    let bytes: Vec<u8> = words?.iter().flat_map(|word| word.to_ne_bytes()).collect();
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => {
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
        }
        _ => None,
    }
}

/// The process that holds a socket: `a process: nginx (pid 812)`. Other users' processes are seen by root only.
fn process(proc: &Path, inode: u64) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir(proc).ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let descriptors = fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        if descriptors
            .into_iter()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()))
        {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("a process: {} (pid {pid})", name.trim()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_listening_socket_of_the_kernels_table_is_read() {
        let line =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0";
        let (port, inode) = socket(line, "tcp", "0A").unwrap();
        assert_eq!((port.to_string().as_str(), inode), ("127.0.0.1:8080/tcp", 4711));
    }

    #[test]
    fn a_connected_socket_is_no_listener() {
        let line =
            "   0: 0100007F:1F90 0100007F:0001 01 00000000:00000000 00:00000000 00000000     0        0 4711 1 0";
        assert!(socket(line, "tcp", "0A").is_none());
    }

    #[test]
    fn the_same_port_on_two_addresses_does_not_clash_but_on_every_address_it_does() {
        let at = |address: Option<&str>| HostPort {
            address: address.map(|text| text.parse().unwrap()),
            port: 80,
            protocol: "tcp".into(),
        };
        assert!(!at(Some("127.0.0.1")).clashes(&at(Some("10.0.0.1"))));
        assert!(at(Some("127.0.0.1")).clashes(&at(Some("0.0.0.0"))));
        assert!(at(None).clashes(&at(Some("10.0.0.1"))));
    }

    #[test]
    fn a_listener_of_this_process_is_found_with_its_name() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sockets = listening(Path::new("/proc"));
        let (_, inode) = sockets.iter().find(|(found, _)| found.port == port && found.protocol == "tcp").unwrap();
        let owner = process(Path::new("/proc"), *inode).unwrap();
        assert!(owner.contains(&format!("(pid {})", std::process::id())), "{owner}");
    }
}
