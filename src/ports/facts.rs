//! What switching ports needs to know of the host.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// What switching ports needs to know of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortsFacts {
    /// Our network.
    pub network: NetworkFacts,
    /// Whether the engine has it already.
    pub exists: bool,
    /// Addresses on it that other containers have.
    pub taken: Vec<Ipv4Addr>,
    /// Networks of the service that would take the default route away from ours on this engine.
    pub before_ours: Vec<String>,
    /// The container of this name that the rules in the kernel lead to, where they are complete and as we would write them.
    pub behind: Option<String>,
    /// Whether the kernel has rules of this name, wherever they lead.
    pub is_open: bool,
    /// Why no port can be switched on this host, and what to do.
    pub obstacle: Option<(String, String)>,
}

/// Our network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFacts {
    /// Its subnet: the first address and the length of the prefix.
    pub subnet: (Ipv4Addr, u8),
    /// The same for IPv6.
    pub subnet6: Option<(Ipv6Addr, u8)>,
    /// The host's interface of it.
    pub bridge: String,
}

/// A host port that is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTaken {
    /// As `0.0.0.0:80/tcp`.
    pub(crate) port: String,
    /// Who: `container db (0123456789ab)` or `a process: nginx (pid 812)`.
    pub(crate) owner: String,
}

impl PortTaken {
    /// Whether an item of `ports:` names its number.
    pub(crate) fn is_of(&self, item: &str) -> bool {
        let number = self.port.rsplit(':').next().and_then(|port| port.split('/').next());
        item.split(|letter: char| !letter.is_ascii_digit()).any(|part| Some(part) == number)
    }
}
