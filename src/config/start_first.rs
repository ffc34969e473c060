//! Host ports that the kernel forwards to a container: `update_config: {order: start-first}`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bollard::models::ContainerCreateBody;

use crate::config::{GrpcProbe, Probe};
use crate::values::forward::{Forward, Protocol};
use crate::values::types::Refused;

/// How long open connections stay with the old container, where `drain` says nothing.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// Good answers in a row before the port is switched, where `health.successes` says nothing.
pub(crate) const SUCCESSES: u32 = 3;

/// `update_config` with `order: start-first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StartFirst {
    /// `drain`: how long open connections stay with the old container.
    pub(crate) drain: Duration,
}

/// The published ports of a create request, sorted by the container's port.
/// Errors: A port that cannot be switched: sctp, or without a fixed host port.
pub(crate) fn forwards(body: &ContainerCreateBody) -> Result<Vec<Forward>, Refused> {
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
/// Errors: It asks something that is not the new container.
pub(crate) fn probe_at(probe: &Probe, forwards: &[Forward], address: Option<IpAddr>) -> Result<Probe, Refused> {
    let at = |forward: &Forward| match address {
        Some(address) => SocketAddr::new(address, forward.target).to_string(),
        None => forward.on_host(),
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
        Probe::Http(request) if request.path().is_some() => {
            let first = forwards.iter().find(|forward| forward.protocol == Protocol::Tcp);
            let first = first.ok_or_else(|| Refused("names a path, but no TCP port is published".into()))?;
            Ok(Probe::Http(request.at(&at(first), &first.on_host())))
        }
        Probe::Http(request) => {
            let rest = request.address.split_once("://").map_or(request.address.as_str(), |(_, rest)| rest);
            let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
            let port = if request.is_https() { 443 } else { 80 };
            Ok(Probe::Http(request.at(&published(authority, port)?, authority)))
        }
        Probe::Tcp(address) => published(address, 0).map(Probe::Tcp),
        Probe::Grpc(asked) => {
            let host = asked.host.clone().unwrap_or_else(|| asked.address.clone());
            let address = published(&asked.address, 0)?;
            Ok(Probe::Grpc(GrpcProbe { address, host: Some(host), ..asked.clone() }))
        }
    }
}

/// Whether a probe's host is this one, as far as a name tells.
fn is_this_host(host: &str, bound: Option<IpAddr>) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let is_here = |address: IpAddr| address.is_loopback() || address.is_unspecified() || bound == Some(address);
    host.is_empty() || host == "localhost" || address.is_some_and(is_here)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::HttpProbe;
    use crate::config::probe::HttpOptions;
    use crate::values::forward::{join, split};
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
        let grpc = |address: &str, host: Option<&str>| {
            let (address, host) = (address.to_owned(), host.map(str::to_owned));
            Probe::Grpc(GrpcProbe { address, service: String::new(), host, tls: None })
        };
        assert_eq!(
            at(grpc("127.0.0.1:80", None)),
            Ok(grpc("192.0.2.7:8080", Some("127.0.0.1:80"))),
            "the name of the server stays"
        );
    }

    #[test]
    fn a_request_of_https_at_the_containers_address_keeps_the_name_that_its_certificate_is_for() {
        let forwards = split("8443->443/tcp 80->8080/tcp");
        let at = |probe: Probe| match probe_at(&probe, &forwards, "192.0.2.7".parse().ok()).map_err(|why| why.0) {
            Ok(Probe::Http(asked)) => (asked.address, asked.options.and_then(|options| options.host)),
            other => panic!("{other:?}"),
        };
        let path = |host: Option<&str>| {
            let options = HttpOptions { https: true, host: host.map(str::to_owned), ..HttpOptions::default() };
            Probe::Http(HttpProbe { address: "/up".into(), options: Some(Box::new(options)) })
        };
        let (address, name) = ("https://192.0.2.7:443/up".to_owned(), |name: &str| Some(name.to_owned()));
        assert_eq!(at(Probe::Http("https://localhost:8443/up".into())), (address.clone(), name("localhost:8443")));
        assert_eq!(at(path(None)), (address.clone(), name("127.0.0.1:8443")));
        assert_eq!(at(path(Some("web.test"))), (address, name("web.test")));
    }

    #[test]
    fn what_is_no_switched_port_is_refused() {
        for text in [
            "", "80", "80->", "80->80", "80->80/sctp", "0->80/tcp", "80->0/tcp", "+1->2/tcp", "::1:80->80/tcp",
            "[1.2.3.4]:80->80/tcp", "80->80/tcp/tcp",
        ] {
            assert!(text.parse::<Forward>().is_err(), "{text}");
        }
    }
}
