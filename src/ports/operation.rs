//! Switching host ports, as a plan has it.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::error::Failure;
use crate::poll;
use crate::ports;
use crate::ports::facts::NetworkFacts;
use crate::values::forward::{SwitchedPorts, join};
use crate::values::operation::{Outcome, Role, Traits};
use crate::values::target::Target;

pub(crate) const NETWORK: &str = "balehook";

/// The interface of our network, where we create it.
pub(crate) const BRIDGE: &str = "balehook0";

/// Since this API version (Docker 28) it can be set for a container which network its default route takes.
pub(crate) const GATEWAY_PRIORITY: (u32, u32) = (1, 48);

/// What switching ports does to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names say it
pub enum PortsOperation {
    /// Create our network.
    Network(NetworkFacts),
    /// Write the rules of all names, those of `name` leading to a container. Nothing else in the tables is touched.
    Switch { name: String, to: SwitchedPorts, network: NetworkFacts },
    /// Write the rules of all names but this one; with the last name everything of ours goes.
    Close { name: String, network: NetworkFacts },
    /// Wait: the connections that are open end by themselves.
    Drain { container: Target, time: Duration },
}

impl PortsOperation {
    /// What its execution must know of it.
    pub(crate) const fn traits(&self) -> Traits {
        match self {
            Self::Network(_) | Self::Switch { .. } | Self::Close { .. } => Role::Prepares.brief(),
            Self::Drain { .. } => Role::Passive.long(),
        }
    }

    /// Does it. `state_dir` is the folder of all names.
    /// Errors: `Kind::Container` with what iptables said; the rules are as they were then.
    pub(crate) async fn perform(&self, engine: &Engine, state_dir: &Path) -> Result<Outcome, Failure> {
        match self {
            Self::Network(network) => ports::create_network(engine, state_dir, network).await?,
            Self::Switch { name, to, network } => ports::switch(engine, state_dir, network, name, Some(to)).await?,
            Self::Close { name, network } => ports::switch(engine, state_dir, network, name, None).await?,
            Self::Drain { time, .. } => poll::pause(*time).await,
        }
        Ok(Outcome::changed())
    }
}

impl fmt::Display for PortsOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => {
                let (address, prefix) = network.subnet;
                write!(f, "docker network create --subnet {address}/{prefix} --gateway {}", gateway(network))?;
                write!(f, " --ip-range {}", ip_range(network))?;
                if let Some((address, prefix)) = network.subnet6 {
                    write!(f, " --ipv6 --subnet {address}/{prefix}")?;
                }
                write!(f, " --opt com.docker.network.bridge.name={} {NETWORK}", network.bridge)
            }
            Self::Switch { name, to, .. } => write!(f, "switch {} of {name} to {}", join(&to.forwards), to.addresses()),
            Self::Close { name, .. } => write!(f, "close the ports of {name}"),
            Self::Drain { container, time } => write!(f, "drain {container} for {time:?}"),
        }
    }
}

/// Where the engine chooses addresses for containers of others on our network: the last eighth.
pub fn ip_range(network: &NetworkFacts) -> String {
    let (first, prefix) = network.subnet;
    let size = size(network);
    format!("{}/{}", Ipv4Addr::from(u32::from(first).wrapping_add(size - size / 8)), prefix + 3)
}

/// The host's address on our network: its first.
pub fn gateway(network: &NetworkFacts) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(network.subnet.0).wrapping_add(1))
}

pub(crate) fn size(network: &NetworkFacts) -> u32 {
    1 << (32 - u32::from(network.subnet.1.clamp(8, 28)))
}
