//! Who has a host port that we want: another container, or a process of this host.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
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

/// Those of `wanted` that are taken. `ours` are the IDs of the containers that the plan replaces; `proc` is `/proc`
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
            // A port that the kernel switches is bound by nobody of ours.
            None if !holders.iter().any(|(_, container)| is_bound(container, want)) => listening
                .iter()
                .find(|(port, _)| port.clashes(want))
                .map(|(_, inode)| proc.and_then(|proc| process(proc, *inode)))
                // The engine's own: it holds the port of a container that is just stopping, which is listed without it.
                .filter(|owner| !owner.as_ref().is_some_and(Process::is_the_engines))
                .map(|owner| owner.map_or_else(|| "a process".into(), |owner| owner.to_string())),
            None => None,
        };
        taken.extend(owner.map(|owner| PortTaken { port: want.to_string(), owner }));
    }
    taken
}

/// Who has a port now, and whether that is a proxy of the engine's own without a container.
pub(super) fn holder(wanted: &HostPort, all: &[ContainerSummary], proc: Option<&Path>) -> Option<(String, bool)> {
    let publisher = all.iter().find(|container| published(container).iter().any(|port| port.clashes(wanted)));
    publisher.map(|container| (engine::describe(container), false)).or_else(|| {
        let listening = proc.map(listening).unwrap_or_default();
        let (_, inode) = listening.iter().find(|(port, _)| port.clashes(wanted))?;
        let owner = proc.and_then(|proc| process(proc, *inode));
        Some(owner.map_or(("a process".into(), false), |owner| (owner.to_string(), owner.is_the_engines())))
    })
}

/// What the engine publishes for a container, and what the kernel forwards to it.
fn published(container: &ContainerSummary) -> Vec<HostPort> {
    let switched = label(container, LABEL_PORTS).map(|ports| split(&ports)).unwrap_or_default();
    let switched = switched.into_iter().map(|forward| HostPort {
        address: forward.address,
        port: forward.host,
        protocol: forward.protocol.to_string(),
    });
    by_engine(container).chain(switched).collect()
}

fn by_engine(container: &ContainerSummary) -> impl Iterator<Item = HostPort> {
    container.ports.iter().flatten().filter_map(|port| {
        let protocol = port.typ.map(|protocol| protocol.to_string()).unwrap_or_else(|| "tcp".into());
        Some(HostPort { address: port.ip.as_deref().and_then(|ip| ip.parse().ok()), port: port.public_port?, protocol })
    })
}

/// Whether the engine has a socket of this port for a container.
fn is_bound(container: &ContainerSummary, wanted: &HostPort) -> bool {
    by_engine(container).any(|port| port.clashes(wanted))
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

struct Process {
    name: String,
    pid: u32,
    user: u32,
}

impl Process {
    /// Any process may have that name: the engine's is root's, or ours where the engine is.
    fn is_the_engines(&self) -> bool {
        self.name == "docker-proxy" && (self.user == 0 || self.user == nix::unistd::geteuid().as_raw())
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a process: {} (pid {})", self.name, self.pid)
    }
}

/// The process that holds a socket. Other users' processes are seen by root only.
fn process(proc: &Path, inode: u64) -> Option<Process> {
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir(proc).ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let descriptors = fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        if descriptors
            .into_iter()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()))
        {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim().to_owned();
            return Some(Process { name, pid, user: entry.metadata().ok()?.uid() });
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

    /// A `/proc` in which a process of this name and user listens on port 8080 of every address.
    fn proc(name: &str, user: u32) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir_all(proc.path().join("net")).unwrap();
        fs::create_dir_all(proc.path().join("4711/fd")).unwrap();
        let line = "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0";
        fs::write(proc.path().join("net/tcp"), format!("header\n{line}\n")).unwrap();
        fs::write(proc.path().join("4711/comm"), format!("{name}\n")).unwrap();
        std::os::unix::fs::symlink("socket:[99]", proc.path().join("4711/fd/3")).unwrap();
        std::os::unix::fs::chown(proc.path().join("4711"), Some(user), None).unwrap();
        proc
    }

    fn owner(proc: &tempfile::TempDir, all: &[ContainerSummary]) -> Option<String> {
        let wanted = HostPort { address: None, port: 8080, protocol: "tcp".into() };
        taken(&[wanted], all, &["ours"], Some(proc.path())).pop().map(|taken| taken.owner)
    }

    #[test]
    fn the_engines_proxy_is_nobody_and_another_users_process_of_that_name_is_named() {
        assert_eq!(owner(&proc("docker-proxy", nix::unistd::geteuid().as_raw()), &[]), None);
        let theirs = Some("a process: docker-proxy (pid 4711)".to_owned());
        // Only root can give a file away.
        if nix::unistd::geteuid().is_root() {
            assert_eq!(owner(&proc("docker-proxy", 65534), &[]), theirs);
        }
    }

    #[test]
    fn a_process_on_a_port_that_the_kernel_switches_is_named_and_on_one_that_the_engine_publishes_it_is_the_engines() {
        let ours = |text: &str| serde_json::from_str::<ContainerSummary>(text).unwrap();
        let switched = ours(r#"{"Id": "ours", "Labels": {"balehook.ports": "8080:80/tcp"}}"#);
        let published = ours(r#"{"Id": "ours", "Ports": [{"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]}"#);
        let nginx = proc("nginx", 0);
        assert_eq!(owner(&nginx, &[switched]).as_deref(), Some("a process: nginx (pid 4711)"));
        assert_eq!(owner(&nginx, &[published]), None);
    }

    #[test]
    fn a_listener_of_this_process_is_found_with_its_name() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sockets = listening(Path::new("/proc"));
        let (_, inode) = sockets.iter().find(|(found, _)| found.port == port && found.protocol == "tcp").unwrap();
        let owner = process(Path::new("/proc"), *inode).unwrap().to_string();
        assert!(owner.contains(&format!("(pid {})", std::process::id())), "{owner}");
    }
}
