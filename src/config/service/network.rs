//! Ports, networks and names.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{EndpointIpamConfig, EndpointSettings, HostConfig, NetworkingConfig, PortBinding};

use crate::config::service::Service;
use crate::config::service::read::Field;
use crate::config::yaml::Value;
use crate::values::types::Refused;

pub(crate) fn read(name: &str, field: &mut Field<'_, '_>, service: &mut Service, host: &mut HostConfig) -> bool {
    match name {
        "ports" => ports(field, service, host),
        "expose" => expose(field, service),
        "networks" => networks(field, service),
        "network_mode" => host.network_mode = field.parsed(network_mode),
        // Its endpoint is known when all keys are read.
        "mac_address" => {}
        "extra_hosts" => host.extra_hosts = Some(extra_hosts(field)),
        "dns" => host.dns = Some(addresses(field)),
        "dns_search" => host.dns_search = Some(field.text_or_texts()),
        "dns_opt" => host.dns_options = Some(field.texts()),
        _ => return false,
    }
    true
}

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
pub(crate) fn published_ports(field: &mut Field<'_, '_>) -> Vec<Port> {
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

fn ports(field: &mut Field<'_, '_>, service: &mut Service, host: &mut HostConfig) {
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
    if !matches!(protocol, "tcp" | "udp" | "sctp") {
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

fn range(text: &str) -> Result<(u16, u16), Refused> {
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

fn long(field: &mut Field<'_, '_>) -> Option<Port> {
    let mut target = None;
    let mut port =
        Port { target: 0, protocol: "tcp".into(), address: String::new(), published: String::new(), mode: None };
    let known = ["target", "published", "host_ip", "protocol", "mode", "name", "app_protocol"];
    field.known(&known, |name, field| {
        match name {
            "target" => target = field.parsed(|text| range(text).map(|(from, _)| from)),
            "published" => port.published = field.parsed(published).unwrap_or_default(),
            "host_ip" => port.address = field.parsed(address).unwrap_or_default(),
            "protocol" => port.protocol = field.one_of(&["tcp", "udp", "sctp"]).unwrap_or_default(),
            // For one container the mode makes no difference; the names are for people.
            "mode" => port.mode = field.one_of(&["host", "ingress"]),
            "name" | "app_protocol" => drop(field.text()),
            _ => return false,
        }
        true
    });
    match target {
        Some(target) => Some(Port { target, ..port }),
        None if field.node.get("target").is_some() => None,
        None => field.refuse("`target` is missing", "write `target: 80`, the port inside the container"),
    }
}

fn published(text: &str) -> Result<String, Refused> {
    if !text.is_empty() && text != "0" {
        range(text)?;
        return Ok(text.to_owned());
    }
    Ok(String::new())
}

fn address(text: &str) -> Result<String, Refused> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().map(|address| address.to_string()).map_err(|_| Refused("is no IP address".into()))
}

fn addresses(field: &mut Field<'_, '_>) -> Vec<String> {
    let all = field.text_or_texts();
    if let Some(bad) = all.iter().find(|text| address(text).is_err()) {
        let message = format!("`{bad}` is no IP address");
        field.refuse::<()>(message, "name servers are given by address");
    }
    all
}

fn expose(field: &mut Field<'_, '_>, service: &mut Service) {
    let ranges = field.items(|field| {
        field.parsed(|text| {
            let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            range(ports).map(|(from, to)| (from..=to).map(|port| format!("{port}/{protocol}")).collect::<Vec<_>>())
        })
    });
    let exposed = service.body.exposed_ports.get_or_insert_default();
    for port in ranges.into_iter().flatten() {
        if !exposed.contains(&port) {
            exposed.push(port);
        }
    }
}

/// The networks, the one with the highest `priority` first: a container is created in that one.
fn networks(field: &mut Field<'_, '_>, service: &mut Service) {
    let mut all: Vec<(i64, (String, EndpointSettings))> = match field.node.value {
        Value::Mapping(_) => field.entries(|name, field| {
            let (priority, settings) = if field.node.is_null() { Default::default() } else { endpoint(field) };
            Some((priority, (name.to_owned(), settings)))
        }),
        _ => field.texts().into_iter().map(|name| (0, (name, EndpointSettings::default()))).collect(),
    };
    all.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    service.networks = all.into_iter().map(|(_, network)| network).collect();
    let mut needs = |option, has: fn(&EndpointSettings) -> bool, api| {
        if service.networks.iter().any(|(_, settings)| has(settings)) {
            service.needs.push((option, api));
        }
    };
    needs("networks.*.mac_address", |settings| settings.mac_address.is_some(), (1, 44));
    needs("networks.*.gw_priority", |settings| settings.gw_priority.is_some(), (1, 48));
}

/// A network's `priority` and settings.
fn endpoint(field: &mut Field<'_, '_>) -> (i64, EndpointSettings) {
    let (mut priority, mut settings) = (0, EndpointSettings::default());
    let mut ipam = EndpointIpamConfig::default();
    let known = [
        "aliases", "ipv4_address", "ipv6_address", "link_local_ips", "mac_address", "driver_opts", "priority",
        "gw_priority",
    ];
    field.known(&known, |name, field| {
        match name {
            "aliases" => settings.aliases = Some(field.texts()),
            "ipv4_address" => ipam.ipv4_address = field.parsed(address),
            "ipv6_address" => ipam.ipv6_address = field.parsed(address),
            "link_local_ips" => ipam.link_local_ips = Some(field.texts()),
            "mac_address" => settings.mac_address = field.parsed(hardware_address),
            "driver_opts" => settings.driver_opts = Some(field.map()),
            "priority" => priority = field.integer(i64::MIN).unwrap_or(0),
            "gw_priority" => settings.gw_priority = field.integer(i64::MIN),
            _ => return false,
        }
        true
    });
    settings.ipam_config = (ipam != EndpointIpamConfig::default()).then_some(ipam);
    (priority, settings)
}

fn network_mode(text: &str) -> Result<String, Refused> {
    if let Some(other) = text.strip_prefix("service:") {
        return Err(Refused(format!("names a service: write `container:{other}`")));
    }
    match text {
        "" => Err(Refused("is empty: host, none, bridge, `container:NAME` or a network's name".into())),
        text => Ok(text.to_owned()),
    }
}

fn hardware_address(text: &str) -> Result<String, Refused> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let is_octet = |part: &&str| part.len() == 2 && u8::from_str_radix(part, 16).is_ok();
    match parts.len() == 6 && parts.iter().all(is_octet) {
        true => Ok(text.to_owned()),
        false => Err(Refused("is no MAC address: write `02:42:ac:11:00:02`".into())),
    }
}

/// `mac_address`, when the networks are known: it belongs to the first one's endpoint (since API 1.44; before it is the
/// container's).
pub(crate) fn mac_address(field: &mut Field<'_, '_>, service: &mut Service, mode: Option<&str>) {
    let Some((_, node)) = field.node.get("mac_address") else { return };
    let mut field = field.inner(node, "mac_address");
    let Some(address) = field.parsed(hardware_address) else { return };
    service.needs.push(("mac_address", (1, 44)));
    if let Some((name, settings)) = service.networks.first_mut() {
        if settings.mac_address.as_ref().is_some_and(|other| *other != address) {
            let message = format!("`{address}` is not the `mac_address` of network {name}");
            field.refuse::<()>(message, "keep one of them");
        }
        settings.mac_address = Some(address);
        return;
    }
    let network = mode.filter(|mode| *mode != "default").unwrap_or("bridge");
    if matches!(network, "host" | "none") || network.starts_with("container:") {
        let message = format!("`mac_address` means nothing with `network_mode: {network}`");
        field.refuse::<()>(message, "the container has no network of its own: leave it out");
    }
    let endpoint = EndpointSettings { mac_address: Some(address), ..EndpointSettings::default() };
    let endpoints = HashMap::from([(network.to_owned(), endpoint)]);
    service.body.networking_config = Some(NetworkingConfig { endpoints_config: Some(endpoints) });
}

/// `name:address`, `name=address` or a mapping; `host-gateway` is the host itself.
fn extra_hosts(field: &mut Field<'_, '_>) -> Vec<String> {
    let entry = |text: &str| {
        let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        match !name.is_empty() && (bare == "host-gateway" || bare.parse::<IpAddr>().is_ok()) {
            true => Ok(format!("{name}:{bare}")),
            false => Err(Refused("is no entry for /etc/hosts: write `name=10.0.0.1` or `name=host-gateway`".into())),
        }
    };
    match field.node.value {
        Value::Mapping(_) => {
            let lists = field.entries(|name, field| {
                let name = name.to_owned();
                match field.node.value {
                    Value::Sequence(_) => {
                        Some(field.items(|field| field.parsed(|text| entry(&format!("{name}={text}")))))
                    }
                    _ => field.parsed(|text| entry(&format!("{name}={text}"))).map(|host| vec![host]),
                }
            });
            lists.into_iter().flatten().collect()
        }
        _ => field.items(|field| field.parsed(entry)),
    }
}
