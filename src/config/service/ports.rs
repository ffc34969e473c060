//! `ports`, in the short and in the long syntax.

use std::net::IpAddr;

use bollard::models::{HostConfig, PortBinding};

use crate::config::field::Field;
use crate::config::service::Service;
use crate::config::service::network::address;
use crate::config::yaml::Value;
use crate::values::types::Refused;

const PROTOCOLS: &[&str] = &["tcp", "udp", "sctp"];

/// One published port: the container's, and where on the host. `published` is a number, a range to choose from, or empty
/// for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) target: u16,
    pub(crate) protocol: String,
    pub(crate) address: String,
    pub(crate) published: String,
    /// `host` or `ingress`, where the long form says so.
    pub(crate) mode: Option<String>,
}

/// Every published port, in the file's order.
pub(crate) fn published_ports(field: &Field<'_>) -> Vec<Port> {
    let mut all: Vec<Port> = Vec::new();
    let lists = field.items(|field| {
        let ports = match field.node.value {
            Value::Mapping(_) => long(field).map(|port| vec![port]),
            _ => field.parsed(short),
        }?;
        let taken = ports.iter().find(|port| all.iter().any(|known| clash(known, port)));
        if let Some(port) = taken {
            let message = format!("host port {} is published twice", port.published);
            return field.refuse(message, "give each a host port of its own");
        }
        all.extend(ports.clone());
        Some(ports)
    });
    lists.into_iter().flatten().collect()
}

pub(crate) fn ports(field: &Field<'_>, service: &mut Service, host: &mut HostConfig) {
    let ports = published_ports(field);
    let bindings = host.port_bindings.get_or_insert_default();
    for port in ports {
        let key = format!("{}/{}", port.target, port.protocol);
        let exposed = service.body.exposed_ports.get_or_insert_default();
        if !exposed.contains(&key) {
            exposed.push(key.clone());
        }
        let binding = PortBinding { host_ip: Some(port.address), host_port: Some(port.published) };
        bindings.entry(key).or_insert_with(|| Some(Vec::new())).get_or_insert_default().push(binding);
    }
}

fn clash(a: &Port, b: &Port) -> bool {
    let fixed = a.published.parse::<u16>().is_ok();
    let anywhere = a.address.is_empty() || b.address.is_empty();
    fixed && a.published == b.published && a.protocol == b.protocol && (anywhere || a.address == b.address)
}

/// `[[address:]host:]container[/protocol]`, each side a port or a range.
///
/// Source: Compose specification, "ports", short syntax.
fn short(text: &str) -> Result<Vec<Port>, Refused> {
    let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    if !PROTOCOLS.contains(&protocol) {
        return Err(Refused(format!("has an unknown protocol `{protocol}`: tcp, udp or sctp")));
    }
    let (rest, target) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (address, published) = split_host(rest)?;
    let target = range(target)?;
    let published = if published.is_empty() { None } else { Some(range(published)?) };
    let count = target.1 - target.0;
    let one = |offset: u16, published: String| Port {
        target: target.0 + offset,
        protocol: protocol.to_owned(),
        address: address.clone(),
        published,
        mode: None,
    };
    match published {
        None => Ok((0..=count).map(|offset| one(offset, String::new())).collect()),
        Some((from, to)) if to - from == count => {
            Ok((0..=count).map(|offset| one(offset, (from + offset).to_string())).collect())
        }
        Some((from, to)) if count == 0 => Ok(vec![one(0, format!("{from}-{to}"))]),
        Some((from, to)) => Err(Refused(format!(
            "publishes {} container ports on {} host ports: both ranges must have the same length",
            u32::from(count) + 1,
            u32::from(to - from) + 1
        ))),
    }
}

/// `address:host`, `[v6]:host` or `host`.
fn split_host(text: &str) -> Result<(String, &str), Refused> {
    let (address, published) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) =
                rest.split_once(']').ok_or_else(|| Refused("has a `[` that is not closed".into()))?;
            (address, after.strip_prefix(':').unwrap_or(after))
        }
        None => text.rsplit_once(':').unwrap_or(("", text)),
    };
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        return Err(Refused(format!("has a bad host address `{address}`: write `127.0.0.1:80:80` or `[::1]:80:80`")));
    }
    Ok((address.to_owned(), published))
}

pub(crate) fn range(text: &str) -> Result<(u16, u16), Refused> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| Refused(format!("has a bad port `{text}`: a number from 1 to 65535")))
    };
    let (from, to) = (port(from)?, port(to)?);
    if from > to {
        return Err(Refused(format!("has a range that goes down: {from}-{to}")));
    }
    Ok((from, to))
}

fn long(field: &Field<'_>) -> Option<Port> {
    let (target, port) = field.mapping(|keys| {
        let target = keys.parsed("target", |text| range(text).map(|(from, _)| from));
        let port = Port {
            target: target.unwrap_or_default(),
            published: keys.parsed("published", published).unwrap_or_default(),
            address: keys.parsed("host_ip", address).unwrap_or_default(),
            protocol: match keys.know("protocol") {
                Some(field) => field.one_of(PROTOCOLS).unwrap_or_default().to_owned(),
                None => "tcp".to_owned(),
            },
            // For one container the mode makes no difference; the names are for people.
            mode: keys.one_of("mode", &["host", "ingress"]).map(str::to_owned),
        };
        keys.get("name", Field::text);
        keys.get("app_protocol", Field::text);
        (target, port)
    });
    match target {
        Some(_) => Some(port),
        None if field.get("target").is_some() => None,
        None => field.lacks("`target` is missing", "write `target: 80`, the port inside the container"),
    }
}

fn published(text: &str) -> Result<String, Refused> {
    if !text.is_empty() && text != "0" {
        range(text)?;
        return Ok(text.to_owned());
    }
    Ok(String::new())
}
