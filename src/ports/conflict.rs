//! Who has the address that the engine could not give a container, where that shows only when it is started.

use std::net::SocketAddr;
use std::path::Path;

use bollard::models::{ContainerSummary, EndpointSettings};

use crate::engine::{self, Engine};
use crate::error::Failure;
use crate::ports::taken::{HostPort, holder};

/// What to do about what an engine left that was killed: its proxies and shims keep ports and addresses.
const LEFT: &str = "no container that the engine knows has it: an engine that was killed left it; restart docker (systemctl restart docker)";

/// The failure with the holder of the port, or of the container's fixed address, where one of them is in use.
pub(crate) async fn explained(engine: &Engine, container: Option<&str>, failure: Failure) -> Failure {
    let words = failure.message.to_lowercase();
    if !(words.contains("address already in use") || words.contains("port is already allocated")) {
        return failure;
    }
    let Ok(all) = engine.list().await else { return failure };
    if let Some(port) = named_port(&failure.message) {
        let proc = engine.address.starts_with("unix://").then_some(Path::new("/proc"));
        return match holder(&port, &all, proc) {
            Some((owner, true)) => failure.next(format!("{port} is taken by {owner}: {LEFT}")),
            Some((owner, false)) => {
                failure.next(format!("{port} is taken by {owner}: stop that, or publish another host port"))
            }
            None => failure.next(format!("{port}: {LEFT}")),
        };
    }
    let Some(container) = container else { return failure };
    let found = engine.inspect(container).await.ok().flatten().and_then(|found| found.network_settings?.networks);
    let fixed = found.into_iter().flatten().find_map(|(network, endpoint)| Some((network, fixed(&endpoint)?)));
    let Some((network, address)) = fixed else { return failure };
    let owner = all.iter().find(|other| has_address(other, &network, &address)).map(engine::describe);
    let what = format!("address {address} of network {network}");
    failure.next(match owner {
        Some(owner) => format!("{what} is taken by {owner}: stop that, or give this one another address"),
        None => format!("{what}: {LEFT}"),
    })
}

/// The first address with a port in the engine's words: `listen tcp4 127.0.0.1:80: bind: …`, `Bind for 0.0.0.0:80 failed`.
fn named_port(words: &str) -> Option<HostPort> {
    let protocol = if words.contains("udp") && !words.contains("tcp") { "udp" } else { "tcp" };
    words.split([' ', '(', ')', ',']).find_map(|word| {
        let word = word.trim_end_matches(':');
        // Newer engines name the container's own address behind it: `127.0.0.1:80:172.17.0.2:80/tcp`.
        let ends = word.match_indices([':', '/']).map(|(at, _)| at).chain([word.len()]);
        let found: SocketAddr = ends.filter_map(|end| word[..end].parse().ok()).next()?;
        HostPort::fixed(&found.ip().to_string(), &found.port().to_string(), protocol)
    })
}

fn fixed(endpoint: &EndpointSettings) -> Option<String> {
    endpoint.ipam_config.as_ref()?.ipv4_address.clone().filter(|address| !address.is_empty())
}

fn has_address(container: &ContainerSummary, network: &str, address: &str) -> bool {
    let networks = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let endpoint = networks.and_then(|networks| networks.get(network));
    endpoint.and_then(|endpoint| endpoint.ip_address.as_deref()) == Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_words_of_every_engine() {
        let read = |words: &str| named_port(words).map(|port| port.to_string());
        for (words, port) in [
            (
                "Error starting userland proxy: listen tcp4 127.0.0.1:8080: bind: address already in use",
                "127.0.0.1:8080/tcp",
            ),
            ("Bind for 0.0.0.0:80 failed: port is already allocated", "0.0.0.0:80/tcp"),
            ("failed to bind host port for 127.0.0.1:81:172.17.0.2:80/tcp: address already in use", "127.0.0.1:81/tcp"),
            ("failed to bind host port 0.0.0.0:53/udp: address already in use", "0.0.0.0:53/udp"),
            ("listen tcp6 [::1]:82: bind: address already in use", "[::1]:82/tcp"),
        ] {
            assert_eq!(read(words).as_deref(), Some(port), "{words}");
        }
        assert_eq!(read("Address already in use"), None);
    }
}
