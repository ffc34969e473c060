//! What switching ports needs to know of the host: reading only.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::{ContainerSummary, NetworkInspect, SystemInfo};

use crate::config::service::Service;
use crate::engine::Engine;
use crate::engine::facts::ContainerFacts;
use crate::error::{Failure, Kind};
use crate::ports;
use crate::ports::facts::{NetworkFacts, PortsFacts};
use crate::ports::operation::{BRIDGE, GATEWAY_PRIORITY, NETWORK};
use crate::ports::rules::{Family, Route};
use crate::ports::tables;

/// The variable that names the subnet of our network, before it is created.
pub(crate) const SUBNET: &str = "BALEHOOK_SUBNET";

/// Tried in this order. The first are for benchmarks and never routed (RFC 2544), the others are private.
const CANDIDATES: [[u8; 4]; 6] =
    [[198, 18, 200, 0], [198, 18, 201, 0], [198, 19, 200, 0], [10, 231, 200, 0], [172, 31, 231, 0], [192, 168, 231, 0]];
/// Why an address is no subnet of ours.
const BAD_SUBNET: &str = "write an IPv4 subnet from /16 to /27, and behind a comma an IPv6 one if you like: \
                          `10.20.30.0/24,fd00:20:30::/64`";

type Subnet = (Ipv4Addr, u8);

pub(crate) struct Observer<'a> {
    pub(crate) engine: Option<&'a Engine>,
    pub(crate) api: Option<(u32, u32)>,
    pub(crate) name: &'a str,
    /// Its service, where the event needs it.
    pub(crate) service: Option<&'a Service>,
    pub(crate) all: &'a [ContainerSummary],
    /// Those of this name.
    pub(crate) ours: &'a [ContainerFacts],
    /// [`SUBNET`].
    pub(crate) subnet: Option<String>,
    /// How long the engine may take to write its chain.
    pub(crate) patience: Duration,
}

impl Observer<'_> {
    /// What there is; where nothing can be asked, what would be.
    pub(crate) async fn facts(&self) -> Result<PortsFacts, Failure> {
        let found = match self.engine {
            Some(engine) => network(engine).await?,
            None => None,
        };
        let exists = found.is_some();
        let (network, seen) = match found {
            Some((network, seen)) => (network, Some(seen)),
            None => (self.choose().await, None),
        };
        let (network, mut obstacle) = match network {
            Ok(network) => (network, None),
            Err(why) => (unknown(), Some(why)),
        };
        if let Some(engine) = self.engine {
            obstacle = obstacle.or(elsewhere(engine).await);
        }
        let waits = self.engine.map(|engine| engine.waits.clone()).unwrap_or_default();
        let (behind, is_open) = match tables::find_within(self.patience, &waits).await {
            // The rules of this host are not those of the engine's.
            _ if self.engine.is_some_and(|engine| engine.endpoint.is_remote()) => (None, false),
            Ok(iptables) => self.behind(&iptables, &network).await?,
            Err(why) => {
                obstacle = obstacle.or(Some(why).filter(|_| self.engine.is_some()));
                (None, false)
            }
        };
        Ok(PortsFacts {
            taken: self.taken(seen.as_ref()),
            before_ours: self.before_ours().await,
            network,
            exists,
            behind,
            is_open,
            obstacle,
        })
    }

    /// The container of this name that the rules lead to, and whether there are any of this name.
    async fn behind(
        &self,
        iptables: &tables::Iptables,
        network: &NetworkFacts,
    ) -> Result<(Option<String>, bool), Failure> {
        let v4 = iptables.tables(Family::V4).await.map_err(ports::unreadable)?;
        let is_open = v4.has_name(self.name);
        if !answers_loopback(&network.bridge) {
            return Ok((None, is_open));
        }
        let v6 = match network.subnet6 {
            Some(_) => Some(iptables.tables(Family::V6).await.map_err(ports::unreadable)?),
            None => None,
        };
        let leads = |container: &&ContainerFacts| {
            let Some(to) = container.switched.clone() else { return false };
            let route = Route { name: self.name.to_owned(), to };
            v4.switch_to(Family::V4, network, &route)
                && v6.as_ref().is_none_or(|v6| v6.switch_to(Family::V6, network, &route))
        };
        Ok((self.ours.iter().find(leads).map(|container| container.id.clone()), is_open))
    }

    /// Addresses of other names' containers, running or not, and of other guests of our network.
    fn taken(&self, network: Option<&NetworkInspect>) -> Vec<Ipv4Addr> {
        let mut taken: Vec<Ipv4Addr> =
            ports::others(self.all, self.name).map(|(_, switched)| switched.address).collect();
        let guests = network.and_then(|network| network.containers.as_ref()).into_iter().flatten();
        let guests = guests.filter(|(id, _)| !self.ours.iter().any(|ours| ours.id == **id));
        taken.extend(
            guests.filter_map(|(_, guest)| guest.ipv4_address.as_deref()?.split('/').next()?.parse::<Ipv4Addr>().ok()),
        );
        taken.sort_unstable();
        taken.dedup();
        taken
    }

    /// Before Docker 28 the default route is that of the first network by name, of those that have one.
    async fn before_ours(&self) -> Vec<String> {
        let (Some(engine), Some(service)) = (self.engine, self.service) else { return Vec::new() };
        let mut before = Vec::new();
        if self.api.is_none_or(|api| api >= GATEWAY_PRIORITY) {
            return before;
        }
        for (name, _) in service.networks.iter().filter(|(name, _)| name.as_str() < NETWORK) {
            let seen = engine.network(name).await;
            if seen.is_ok_and(|seen| seen.is_some_and(|seen| seen.internal != Some(true))) {
                before.push(name.clone());
            }
        }
        before
    }

    async fn choose(&self) -> Result<NetworkFacts, (String, String)> {
        let used = self.used().await;
        let collides = |subnet: &Subnet| used.iter().find(|(other, _)| overlap(subnet, other)).cloned();
        if let Some(text) = &self.subnet {
            let network =
                parse(text).ok_or_else(|| (format!("{SUBNET} `{text}` is no subnet"), BAD_SUBNET.to_owned()))?;
            return match collides(&network.subnet) {
                Some((_, owner)) => {
                    Err((format!("{SUBNET} {text} collides with {owner}"), "name another subnet".into()))
                }
                None => Ok(network),
            };
        }
        let free =
            CANDIDATES.iter().map(|bytes| (Ipv4Addr::from(*bytes), 24)).find(|subnet| collides(subnet).is_none());
        let free = free.ok_or_else(|| {
            ("no subnet is free for our network".to_owned(), format!("name one in {SUBNET}: `10.20.30.0/24`"))
        })?;
        Ok(NetworkFacts { subnet: free, subnet6: None, bridge: BRIDGE.into() })
    }

    /// Subnets that this host or the engine knows, and whose they are.
    async fn used(&self) -> Vec<(Subnet, String)> {
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        let mut used: Vec<(Subnet, String)> = routes.lines().skip(1).filter_map(route).collect();
        let Some(engine) = self.engine else { return used };
        let networks = engine.networks().await.unwrap_or_default();
        for network in networks {
            let name = network.name.unwrap_or_default();
            let configs = network.ipam.and_then(|ipam| ipam.config).into_iter().flatten();
            let subnets = configs.filter_map(|config| subnet(&config.subnet?));
            used.extend(subnets.map(|subnet| (subnet, format!("network {name}"))));
        }
        used
    }
}

/// Our network as the engine has it: its facts, or why it is none for us.
type Found = (Result<NetworkFacts, (String, String)>, NetworkInspect);

pub(crate) async fn network(engine: &Engine) -> Result<Option<Found>, Failure> {
    let found = engine.network(NETWORK).await;
    let found = found.map_err(|error| error.failure_of(Kind::Engine, &format!("inspect network {NETWORK}")))?;
    Ok(found.map(|found| (read(&found), found)))
}

fn read(found: &NetworkInspect) -> Result<NetworkFacts, (String, String)> {
    let bad =
        |why: &str| (format!("network {NETWORK} {why}"), format!("docker network rm {NETWORK}: it is created anew"));
    if found.driver.as_deref() != Some("bridge") || found.internal == Some(true) {
        return Err(bad("is no ordinary bridge network"));
    }
    let configs = found.ipam.as_ref().and_then(|ipam| ipam.config.as_ref()).into_iter().flatten();
    let subnets: Vec<&str> = configs.filter_map(|config| config.subnet.as_deref()).collect();
    let v4 = subnets.iter().find_map(|text| subnet(text)).filter(|(_, prefix)| (8..=27).contains(prefix));
    let short = found.id.as_deref().and_then(|id| id.get(..12)).unwrap_or_default();
    let named = found.options.as_ref().and_then(|options| options.get("com.docker.network.bridge.name"));
    Ok(NetworkFacts {
        subnet: v4.ok_or_else(|| bad("has no IPv4 subnet from /8 to /27"))?,
        subnet6: subnets.iter().find_map(|text| subnet6(text)),
        bridge: named.cloned().unwrap_or_else(|| format!("br-{short}")),
    })
}

/// Engines whose ports are not this host's, or whose containers are out of its reach.
async fn elsewhere(engine: &Engine) -> Option<(String, String)> {
    if !engine.address.starts_with("unix://") {
        return Some((format!("the engine at {} is not on this host", engine.address), "run balehook there".into()));
    }
    let info = engine.info().await.ok()?;
    let is_rootless = info.security_options.iter().flatten().any(|option| option.contains("name=rootless"));
    let rootless = "the engine is rootless: its containers are in a network of their own";
    is_rootless.then(|| (rootless.into(), "use a rootful engine".into())).or_else(|| other_backend(&info))
}

/// An engine with nftables may have left the chains of iptables behind, from before it was switched over.
fn other_backend(info: &SystemInfo) -> Option<(String, String)> {
    let driver = info.firewall_backend.as_ref()?.driver.as_deref().filter(|driver| !driver.starts_with("iptables"))?;
    let next = "set `\"firewall-backend\": \"iptables\"` in daemon.json, restart the engine";
    Some((format!("the engine writes its rules by {driver}, not by iptables"), next.into()))
}

/// Where there is none yet.
pub(super) fn unknown() -> NetworkFacts {
    NetworkFacts { subnet: (Ipv4Addr::from(CANDIDATES[0]), 24), subnet6: None, bridge: BRIDGE.into() }
}

/// One line of `/proc/net/route`; not the default route. Addresses are printed as the host's 32-bit words.
fn route(line: &str) -> Option<(Subnet, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let word = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok().map(|word| Ipv4Addr::from(word.to_ne_bytes()));
    let (address, mask) = (word(1)?, word(7)?);
    let prefix = u8::try_from(u32::from(mask).count_ones()).ok().filter(|prefix| *prefix > 0)?;
    Some(((address, prefix), format!("the route {address}/{prefix} of {}", fields[0])))
}

fn subnet(text: &str) -> Option<Subnet> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix): (Ipv4Addr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    (prefix <= 32).then(|| (masked(address, prefix), prefix))
}

fn subnet6(text: &str) -> Option<(Ipv6Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix): (Ipv6Addr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    let first = u128::from(address) & (u128::MAX << (128 - u32::from(prefix.min(127))));
    (64..=112).contains(&prefix).then(|| (Ipv6Addr::from(first), prefix))
}

fn masked(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(address) & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0))
}

fn overlap(a: &Subnet, b: &Subnet) -> bool {
    let prefix = a.1.min(b.1);
    masked(a.0, prefix) == masked(b.0, prefix)
}

fn parse(text: &str) -> Option<NetworkFacts> {
    let (v4, v6) = text.split_once(',').map_or((text, None), |(v4, v6)| (v4, Some(v6)));
    let subnet = subnet(v4.trim()).filter(|(_, prefix)| (16..=27).contains(prefix))?;
    let subnet6 = match v6 {
        Some(text) => Some(subnet6(text.trim())?),
        None => None,
    };
    Some(NetworkFacts { subnet, subnet6, bridge: BRIDGE.into() })
}

/// The kernel's switch for answers to 127.0.0.1 from an interface.
pub(crate) fn route_localnet(bridge: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net/ipv4/conf").join(bridge).join("route_localnet")
}

pub(crate) fn answers_loopback(bridge: &str) -> bool {
    std::fs::read_to_string(route_localnet(bridge)).is_ok_and(|text| text.trim() == "1")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_route_of_the_kernels_table_is_read_and_the_default_route_is_not() {
        let line = "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0";
        let (subnet, owner) = route(line).unwrap();
        assert_eq!(
            (subnet, owner.as_str()),
            (("192.168.0.0".parse().unwrap(), 16), "the route 192.168.0.0/16 of eth0")
        );
        assert_eq!(route("eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0"), None);
    }

    #[test]
    fn an_engine_says_by_what_it_writes_its_rules_and_an_older_one_says_nothing() {
        let why = |text: &str| other_backend(&serde_json::from_str(text).unwrap()).map(|(why, _)| why);
        assert_eq!(why("{}"), None);
        assert_eq!(why(r#"{"FirewallBackend": {"Driver": "iptables"}}"#), None);
        assert_eq!(why(r#"{"FirewallBackend": {"Driver": "iptables+firewalld"}}"#), None);
        let nftables = "the engine writes its rules by nftables, not by iptables";
        assert_eq!(why(r#"{"FirewallBackend": {"Driver": "nftables"}}"#).as_deref(), Some(nftables));
    }

    #[test]
    fn subnets_overlap_where_one_holds_the_other() {
        let one = |text: &str| subnet(text).unwrap();
        assert!(
            overlap(&one("10.0.0.0/8"), &one("10.231.200.0/24")) && overlap(&one("10.1.2.0/24"), &one("10.0.0.0/8"))
        );
        assert!(!overlap(&one("10.1.2.0/24"), &one("10.1.3.0/24")));
    }

    #[test]
    fn a_subnet_to_choose_is_one_of_v4_and_perhaps_one_of_v6() {
        let network = parse("10.20.30.77/24, fd00:20:30::/64").unwrap();
        assert_eq!(network.subnet, ("10.20.30.0".parse().unwrap(), 24));
        assert_eq!(network.subnet6, Some(("fd00:20:30::".parse().unwrap(), 64)));
        for text in
            ["", "10.20.30.0", "10.20.30.0/28", "10.0.0.0/8", "fd00::/64", "10.20.30.0/24,", "10.20.30.0/24,fd00::/48"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
