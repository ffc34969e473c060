//! Host ports that the kernel switches to a container: `0.0.0.0:80->8080/tcp`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::values::labels::{LABEL_ADDRESS, LABEL_PORTS};
use crate::values::types::{Refused, through_text};

/// What the kernel forwards to a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchedPorts {
    /// Its address on our network.
    pub address: Ipv4Addr,
    /// The same for IPv6, where the network has it.
    pub address6: Option<Ipv6Addr>,
    /// The ports.
    pub forwards: Vec<Forward>,
}

impl SwitchedPorts {
    pub(crate) fn from_labels(label: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let (addresses, ports) = (label(LABEL_ADDRESS)?, label(LABEL_PORTS)?);
        let (address, address6) =
            addresses.split_once(',').map_or((addresses.as_str(), None), |(v4, v6)| (v4, Some(v6)));
        Some(Self {
            address: address.parse().ok()?,
            address6: address6.and_then(|text| text.parse().ok()),
            forwards: split(&ports),
        })
    }

    pub(crate) fn addresses(&self) -> String {
        let more = self.address6.map(|address| format!(",{address}")).unwrap_or_default();
        format!("{}{more}", self.address)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// One host port and the container's port behind it; as text `127.0.0.1:80->8080/tcp`, `80->8080/tcp` for every address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Forward {
    /// The host's address; `None`: all. `0.0.0.0` and `::` are all of their family.
    pub(crate) address: Option<IpAddr>,
    pub(crate) host: u16,
    pub(crate) target: u16,
    pub(crate) protocol: Protocol,
}

impl Forward {
    /// Where the host itself reaches it: `127.0.0.1:80`, or the address that it is bound to.
    pub(crate) fn on_host(&self) -> String {
        let address = self.address.filter(|address| !address.is_unspecified());
        SocketAddr::new(address.unwrap_or(Ipv4Addr::LOCALHOST.into()), self.host).to_string()
    }
}

/// Several as one label: separated by spaces.
pub(crate) fn join(forwards: &[Forward]) -> String {
    forwards.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The label's ports; what cannot be read is left out.
pub(crate) fn split(text: &str) -> Vec<Forward> {
    text.split_whitespace().filter_map(|text| text.parse().ok()).collect()
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            other => Err(Refused(format!("publishes a port of {other}: only tcp and udp can be switched"))),
        }
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}", SocketAddr::new(address, self.host))?,
            None => write!(f, "{}", self.host)?,
        }
        write!(f, "->{}/{}", self.target, self.protocol)
    }
}

impl FromStr for Forward {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let bad = || Refused("is no switched port: `127.0.0.1:80->8080/tcp`".into());
        let (host, target) = text.split_once("->").ok_or_else(bad)?;
        let (target, protocol) = target.split_once('/').ok_or_else(bad)?;
        let (address, host) = match host.parse::<SocketAddr>() {
            Ok(at) => (Some(at.ip()), Some(at.port()).filter(|port| *port > 0)),
            Err(_) => (None, port(host)),
        };
        let (host, target) = (host.ok_or_else(bad)?, port(target).ok_or_else(bad)?);
        Ok(Self { address, host, target, protocol: protocol.parse()? })
    }
}

pub(crate) fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?.filter(|port| *port > 0)
}

through_text!(Forward);
