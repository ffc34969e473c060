//! Host ports that the kernel hands to a container: `update_config: {order: start-first}`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use serde::{Deserialize, Serialize};

use super::Probe;
use super::types::Refused;

/// How long open connections stay with the old container, where `drain` says nothing.
pub const DRAIN: Duration = Duration::from_secs(10);
/// Good answers in a row before the port is handed over, where `health.successes` says nothing.
pub const SUCCESSES: u32 = 3;

/// `update_config` with `order: start-first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    /// `drain`: how long open connections stay with the old container.
    pub drain: Duration,
}

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One host port and the container's port behind it; as text `127.0.0.1:80->8080/tcp`, `80->8080/tcp` for every address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Forward {
    /// The host's address; `None`: all. `0.0.0.0` and `::` are all of their family.
    pub address: Option<IpAddr>,
    /// The host's port.
    pub host: u16,
    /// The container's port.
    pub target: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl Forward {
    /// Whether somebody who asks for `address` and port is asking for this one.
    pub fn clashes(&self, other: &Self) -> bool {
        let any = |address: &Option<IpAddr>| address.is_none_or(|address| address.is_unspecified());
        self.host == other.host
            && self.protocol == other.protocol
            && (any(&self.address) || any(&other.address) || self.address == other.address)
    }

    /// Where the host itself reaches it: `127.0.0.1:80`, or the address that it is bound to.
    pub fn from_host(&self) -> String {
        match self.address.filter(|address| !address.is_unspecified()) {
            Some(IpAddr::V6(address)) => format!("[{address}]:{}", self.host),
            Some(IpAddr::V4(address)) => format!("{address}:{}", self.host),
            None => format!("127.0.0.1:{}", self.host),
        }
    }
}

/// The published ports of a create request, sorted by the container's port.
///
/// # Errors
/// A port that cannot be handed over: sctp, or without a fixed host port.
pub fn forwards(body: &ContainerCreateBody) -> Result<Vec<Forward>, Refused> {
    let bindings = body.host_config.as_ref().and_then(|host| host.port_bindings.as_ref());
    let mut found = Vec::new();
    for (key, bindings) in bindings.into_iter().flatten() {
        let (target, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
        for binding in bindings.iter().flatten() {
            let host = binding.host_port.as_deref().unwrap_or_default();
            let host = host.parse().map_err(|_| match host {
                "" => Refused(format!("publishes {key} on no fixed host port: write `HOST:{target}`")),
                range => Refused(format!("publishes {key} on one of {range}: name one host port")),
            })?;
            let address = binding.host_ip.as_deref().filter(|address| !address.is_empty());
            found.push(Forward {
                address: address
                    .map(|text| text.parse().map_err(|_| Refused(format!("has a bad address `{text}`"))))
                    .transpose()?,
                host,
                target: target.parse().map_err(|_| Refused(format!("has a bad port `{target}`")))?,
                protocol: protocol.parse()?,
            });
        }
    }
    found.sort_unstable_by_key(|forward: &Forward| (forward.target, forward.protocol, forward.host, forward.address));
    Ok(found)
}

/// The probe of the host's port as a question to the container itself, at `address`; `None`: to the host's own port.
///
/// # Errors
/// It asks something that is not the new container.
pub fn probe_at(probe: &Probe, forwards: &[Forward], address: Option<IpAddr>) -> Result<Probe, Refused> {
    let at = |forward: &Forward| match address {
        Some(address) => SocketAddr::new(address, forward.target).to_string(),
        None => forward.from_host(),
    };
    let published = |authority: &str, default: u16| {
        let (host, port) =
            authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).unwrap_or((authority, ""));
        let port = if port.is_empty() { default } else { port.parse().unwrap_or(0) };
        let asked = forwards.iter().find(|forward| {
            forward.protocol == Protocol::Tcp && forward.host == port && is_this_host(host, forward.address)
        });
        asked.map(at).ok_or_else(|| Refused(format!("asks {authority}, which is none of the published ports")))
    };
    match probe {
        Probe::Auto => Ok(Probe::Auto),
        Probe::Http(path) if path.starts_with('/') => {
            let first = forwards.iter().find(|forward| forward.protocol == Protocol::Tcp);
            let first = first.ok_or_else(|| Refused("names a path, but no TCP port is published".into()))?;
            Ok(Probe::Http(format!("http://{}{path}", at(first))))
        }
        Probe::Http(url) => {
            let rest = url.strip_prefix("http://").unwrap_or(url);
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            Ok(Probe::Http(format!("http://{}{path}", published(authority, 80)?)))
        }
        Probe::Tcp(address) => published(address, 0).map(Probe::Tcp),
    }
}

/// Whether a probe's host is this one, as far as a name tells.
fn is_this_host(host: &str, bound: Option<IpAddr>) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let is_here = |address: IpAddr| address.is_loopback() || address.is_unspecified() || bound == Some(address);
    host.is_empty() || host == "localhost" || address.is_some_and(is_here)
}

/// Several as one label: separated by spaces.
pub fn join(forwards: &[Forward]) -> String {
    forwards.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The label's ports; what cannot be read is left out.
pub fn split(text: &str) -> Vec<Forward> {
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
            other => Err(Refused(format!("publishes a port of {other}: only tcp and udp are handed over"))),
        }
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            None => {}
        }
        write!(f, "{}->{}/{}", self.host, self.target, self.protocol)
    }
}

impl FromStr for Forward {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let bad = || Refused("is no handed port: `127.0.0.1:80->8080/tcp`".into());
        let (host, target) = text.split_once("->").ok_or_else(bad)?;
        let (target, protocol) = target.split_once('/').ok_or_else(bad)?;
        let (address, host) = host.rsplit_once(':').unwrap_or(("", host));
        let bare = match address.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').filter(|inner| inner.contains(':')).ok_or_else(bad)?,
            None => address,
        };
        let address = if address.is_empty() { None } else { Some(bare.parse::<IpAddr>().map_err(|_| bad())?) };
        if address.is_some_and(|found| found.is_ipv6() != address_is_bracketed(text)) {
            return Err(bad());
        }
        Ok(Self {
            address,
            host: port(host).ok_or_else(bad)?,
            target: port(target).ok_or_else(bad)?,
            protocol: protocol.parse()?,
        })
    }
}

fn address_is_bracketed(text: &str) -> bool {
    text.starts_with('[')
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?.filter(|port| *port > 0)
}

impl TryFrom<String> for Forward {
    type Error = Refused;

    fn try_from(text: String) -> Result<Self, Refused> {
        text.parse()
    }
}

impl From<Forward> for String {
    fn from(forward: Forward) -> Self {
        forward.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn any_forward() -> impl Strategy<Value = Forward> {
        let address = prop_oneof![
            Just(None),
            any::<[u8; 4]>().prop_map(|bytes| Some(IpAddr::from(bytes))),
            any::<[u8; 16]>().prop_map(|bytes| Some(IpAddr::from(bytes))),
        ];
        let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
        (address, 1u16.., 1u16.., protocol).prop_map(|(address, host, target, protocol)| Forward {
            address,
            host,
            target,
            protocol,
        })
    }

    proptest! {
        #[test]
        fn a_label_says_what_was_written_into_it(forwards in proptest::collection::vec(any_forward(), 0..8)) {
            prop_assert_eq!(split(&join(&forwards)), forwards);
        }

        #[test]
        fn no_text_makes_the_reader_of_a_label_panic_and_what_it_reads_it_writes_alike(text in "[0-9a-f.:>/\\[\\] tcpud-]{0,40}") {
            if let Ok(forward) = text.parse::<Forward>() {
                prop_assert_eq!(forward.to_string().parse::<Forward>().unwrap(), forward);
            }
        }
    }

    #[test]
    fn a_probe_of_the_hosts_port_asks_the_container_itself() {
        let forwards = split("8443->443/tcp 80->8080/tcp 10.0.0.5:81->81/tcp");
        let at = |probe: Probe| probe_at(&probe, &forwards, "192.0.2.7".parse().ok()).map_err(|why| why.0);
        let http = |url: &str| at(Probe::Http(url.into()));
        assert_eq!(http("/healthz"), Ok(Probe::Http("http://192.0.2.7:443/healthz".into())));
        assert_eq!(http("http://127.0.0.1/up?x=1"), Ok(Probe::Http("http://192.0.2.7:8080/up?x=1".into())));
        assert_eq!(http("http://localhost:8443"), Ok(Probe::Http("http://192.0.2.7:443".into())));
        assert_eq!(at(Probe::Tcp(":80".into())), Ok(Probe::Tcp("192.0.2.7:8080".into())));
        assert_eq!(at(Probe::Tcp("10.0.0.5:81".into())), Ok(Probe::Tcp("192.0.2.7:81".into())));
        assert_eq!(
            at(Probe::Tcp("10.0.0.6:81".into())),
            Err("asks 10.0.0.6:81, which is none of the published ports".into())
        );
        assert!(http("http://127.0.0.1:9/").is_err() && http("http://db.internal/").is_err());
        assert_eq!(
            probe_at(&Probe::Http("/".into()), &forwards, None),
            Ok(Probe::Http("http://127.0.0.1:8443/".into()))
        );
    }

    #[test]
    fn what_is_no_handed_port_is_refused() {
        for text in [
            "",
            "80",
            "80->",
            "80->80",
            "80->80/sctp",
            "0->80/tcp",
            "80->0/tcp",
            "+1->2/tcp",
            "::1:80->80/tcp",
            "[1.2.3.4]:80->80/tcp",
            "80->80/tcp/tcp",
        ] {
            assert!(text.parse::<Forward>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_same_port_clashes_on_every_address_and_not_with_another_protocol() {
        let one = |text: &str| text.parse::<Forward>().unwrap();
        assert!(one("80->1/tcp").clashes(&one("127.0.0.1:80->2/tcp")));
        assert!(!one("10.0.0.1:80->1/tcp").clashes(&one("127.0.0.1:80->2/tcp")));
        assert!(!one("80->1/tcp").clashes(&one("80->1/udp")));
    }
}
