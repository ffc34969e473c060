//! Networks and names.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{EndpointIpamConfig, EndpointSettings, HostConfig, NetworkingConfig};

use crate::config::field::Field;
use crate::config::keys::Keys;
use crate::config::service::Service;
use crate::config::service::ports::{ports, range};
use crate::config::yaml::Value;
use crate::values::types::Refused;

/// What a container alone has, or has otherwise than a service of a swarm.
pub(crate) fn of_container(keys: &mut Keys<'_, '_>, service: &mut Service, host: &mut HostConfig) {
    keys.all("ports", |field| ports(field, service, host));
    keys.all("networks", |field| networks(field, service));
    host.network_mode = keys.parsed("network_mode", network_mode);
    keys.get("mac_address", |field| mac_address(field, service, host.network_mode.as_deref()));
}

pub(crate) fn address(text: &str) -> Result<String, Refused> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().map(|address| address.to_string()).map_err(|_| Refused("is no IP address".into()))
}

pub(crate) fn addresses(field: &Field<'_>) -> Vec<String> {
    let all = field.text_or_texts();
    if let Some(bad) = all.iter().find(|text| address(text).is_err()) {
        let message = format!("`{bad}` is no IP address");
        field.error(message, "name servers are given by address");
    }
    all
}

pub(crate) fn expose(field: &Field<'_>) -> Vec<String> {
    let ranges = field.items(|field| {
        field.parsed(|text| {
            let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            range(ports).map(|(from, to)| (from..=to).map(|port| format!("{port}/{protocol}")).collect::<Vec<_>>())
        })
    });
    let mut exposed = Vec::new();
    for port in ranges.into_iter().flatten() {
        if !exposed.contains(&port) {
            exposed.push(port);
        }
    }
    exposed
}

/// The networks, the one with the highest `priority` first: a container is created in that one.
fn networks(field: &Field<'_>, service: &mut Service) {
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
fn endpoint(field: &Field<'_>) -> (i64, EndpointSettings) {
    let any = |field: &Field<'_>| field.integer(i64::MIN);
    field.mapping(|keys| {
        let aliases = keys.all("aliases", Field::texts);
        let ipam = EndpointIpamConfig {
            ipv4_address: keys.parsed("ipv4_address", address),
            ipv6_address: keys.parsed("ipv6_address", address),
            link_local_ips: keys.all("link_local_ips", Field::texts),
        };
        let settings = EndpointSettings {
            aliases,
            ipam_config: (ipam != EndpointIpamConfig::default()).then_some(ipam),
            mac_address: keys.parsed("mac_address", hardware_address),
            driver_opts: keys.all("driver_opts", Field::map),
            ..EndpointSettings::default()
        };
        let priority = keys.get("priority", any).unwrap_or(0);
        (priority, EndpointSettings { gw_priority: keys.get("gw_priority", any), ..settings })
    })
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
fn mac_address(field: &Field<'_>, service: &mut Service, mode: Option<&str>) -> Option<()> {
    let address = field.parsed(hardware_address)?;
    service.needs.push(("mac_address", (1, 44)));
    if let Some((name, settings)) = service.networks.first_mut() {
        if settings.mac_address.as_ref().is_some_and(|other| *other != address) {
            let message = format!("`{address}` is not the `mac_address` of network {name}");
            field.error(message, "keep one of them");
        }
        settings.mac_address = Some(address);
        return Some(());
    }
    let network = mode.filter(|mode| *mode != "default").unwrap_or("bridge");
    if matches!(network, "host" | "none") || network.starts_with("container:") {
        let message = format!("`mac_address` means nothing with `network_mode: {network}`");
        field.error(message, "the container has no network of its own: leave it out");
    }
    let endpoint = EndpointSettings { mac_address: Some(address), ..EndpointSettings::default() };
    let endpoints = HashMap::from([(network.to_owned(), endpoint)]);
    service.body.networking_config = Some(NetworkingConfig { endpoints_config: Some(endpoints) });
    Some(())
}

/// `name:address`, `name=address` or a mapping; `host-gateway` is the host itself.
pub(crate) fn extra_hosts(field: &Field<'_>) -> Vec<String> {
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
                let one = |field: &Field<'_>| field.parsed(|text| entry(&format!("{name}={text}")));
                match field.node.value {
                    Value::Sequence(_) => Some(field.items(one)),
                    _ => one(field).map(|host| vec![host]),
                }
            });
            lists.into_iter().flatten().collect()
        }
        _ => field.items(|field| field.parsed(entry)),
    }
}
