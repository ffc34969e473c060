//! `order: start-first`: the new container starts beside the old one, passes its health check at its own address, and
//! the kernel switches the host's ports to it in one transaction.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bollard::models::{EndpointIpamConfig, EndpointSettings};

use crate::config::Probe;
use crate::config::service::Service;
use crate::config::start_first::{SUCCESSES, StartFirst, forwards, probe_at};
use crate::engine::facts::{ContainerFacts, EngineFacts};
use crate::engine::request::ContainerSpec;
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::modes::container::operation::ContainerOperation;
use crate::modes::container::plan::Planner;
use crate::modes::container::recover::remove;
use crate::modes::container::replace::{Incoming, Replacing};
use crate::modes::create;
use crate::modes::facts::Facts;
use crate::modes::operation::Operation;
use crate::ports::facts::PortsFacts;
use crate::ports::operation::{GATEWAY_PRIORITY, NETWORK, PortsOperation, size};
use crate::values::forward::{Forward, SwitchedPorts, join};
use crate::values::labels::{LABEL_ADDRESS, LABEL_PORTS};
use crate::values::names::{new_name, old_name};
use crate::values::target::Target;
use crate::values::types::{ContentDigest, Name};

/// How long a container that is healthy at its own address may take to answer at the host's port.
const THROUGH_PORT: Duration = Duration::from_secs(5);

/// The step after which the ports of `name` lead to `container`, or nowhere; none where the kernel switches none.
pub(crate) fn switch_to(facts: &Facts, name: &Name, container: Option<&ContainerFacts>) -> Option<Operation> {
    let (network, name) = (facts.container.ports.as_ref()?.network.clone(), name.to_string());
    Some(Operation::Ports(match container.and_then(|container| container.switched.clone()) {
        Some(to) => PortsOperation::Switch { name, to, network },
        None => PortsOperation::Close { name, network },
    }))
}

/// What is known to fail is refused before anything is touched.
/// Errors: [`Kind::Container`]: why the kernel cannot switch the ports here.
pub(crate) fn check(service: &Service, facts: &Facts) -> Result<(), Failure> {
    let (Some(_), Some(seen)) = (service.start_first, &facts.container.ports) else { return Ok(()) };
    let refuse = |message: String, next: &str| {
        let message = format!("`order: start-first` is not possible here: {message}");
        Err(Failure::new(Kind::Container, message).next(format!("{next}, or use `order: stop-first`")))
    };
    if let Some((why, next)) = &seen.obstacle {
        return refuse(why.clone(), next);
    }
    if let Some(first) = seen.before_ours.first() {
        let message =
            format!("this engine gives the default route to network {first}, whose name sorts before `{NETWORK}`");
        return refuse(message, "rename that network, use Docker 28 or later");
    }
    let wanted = forwards(&service.body).unwrap_or_default();
    match wanted.iter().find(|forward| forward.address.is_some_and(|address| address.is_ipv6())) {
        Some(forward) if seen.network.subnet6.is_none() => refuse(
            format!("{forward} needs IPv6, and network {NETWORK} has none"),
            "name an IPv6 subnet in BALEHOOK_SUBNET too",
        ),
        _ => Ok(()),
    }
}

/// The address of the new container: one that is free.
///
/// Each name has two addresses and uses them in turn. They follow from the name, unless they are taken.
pub(crate) fn place(
    name: &Name,
    forwards: Vec<Forward>,
    seen: &PortsFacts,
    serving: Option<&ContainerFacts>,
) -> Result<SwitchedPorts, Failure> {
    let (first, _) = seen.network.subnet;
    let size = size(&seen.network);
    let pairs = (size - size / 8 - 2) / 2;
    let digest = ContentDigest::of(name.as_str().as_bytes());
    let start = u32::from_str_radix(&digest.hex()[..8], 16).unwrap_or_default() % pairs;
    let present = serving.and_then(|serving| serving.switched.as_ref()).map(|switched| switched.address);
    let number = (0..pairs).find_map(|next| {
        let pair = 2 + 2 * ((start + next) % pairs);
        let at = |number: u32| Ipv4Addr::from(u32::from(first).wrapping_add(number));
        let is_free = !seen.taken.contains(&at(pair)) && !seen.taken.contains(&at(pair + 1));
        is_free.then(|| if present == Some(at(pair)) { pair + 1 } else { pair })
    });
    let number = number.ok_or_else(|| {
        Failure::new(Kind::Container, format!("network {NETWORK} has no free address"))
            .next("remove containers from it, or create it with a larger subnet")
    })?;
    Ok(SwitchedPorts {
        address: Ipv4Addr::from(u32::from(first).wrapping_add(number)),
        address6: seen.network.subnet6.map(|(first, _)| Ipv6Addr::from(u128::from(first) + u128::from(number))),
        forwards,
    })
}

/// The container as it is created: on our network at its own address, its ports not published by the engine.
pub(super) fn dressed(
    spec: ContainerSpec,
    service: &Service,
    engine: Option<&EngineFacts>,
    at: &SwitchedPorts,
) -> ContainerSpec {
    let api = engine.map(|engine| engine.api);
    let mut service = service.clone();
    if let Some(host) = service.body.host_config.as_mut() {
        host.port_bindings = None;
    }
    let ours = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(at.address.to_string()),
            ipv6_address: at.address6.map(|address| address.to_string()),
            link_local_ips: None,
        }),
        gw_priority: (!service.networks.is_empty() && api.is_none_or(|api| api >= GATEWAY_PRIORITY)).then_some(1000),
        ..EndpointSettings::default()
    };
    service.networks.insert(0, (NETWORK.to_owned(), ours));
    let mut options = create::container_options(&service, api);
    options.body.labels = spec.options.body.labels.clone();
    if let (Some(host), Some(read)) = (options.body.host_config.as_mut(), spec.options.body.host_config.as_ref()) {
        host.security_opt = read.security_opt.clone();
        (host.binds, host.mounts) = (read.binds.clone(), read.mounts.clone());
    }
    let labels = options.body.labels.get_or_insert_default();
    labels.insert(LABEL_PORTS.into(), join(&at.forwards));
    labels.insert(LABEL_ADDRESS.into(), at.addresses());
    ContainerSpec { options, ..spec }
}

/// How a container starts beside the one before.
#[derive(Clone)]
pub(crate) struct Beside {
    pub(crate) order: StartFirst,
    /// Its address, and the ports that are switched to it.
    pub(crate) at: SwitchedPorts,
    /// The health check at the host's port, once the ports lead to it.
    pub(crate) at_port: HealthCheck,
}

/// What was observed of the host's tables.
pub(crate) fn seen(facts: &Facts) -> Result<&PortsFacts, Failure> {
    let seen = facts.container.ports.as_ref();
    seen.ok_or_else(|| Failure::new(Kind::Unexpected, "the host's tables were not observed"))
}

impl Planner<'_> {
    pub(super) fn switch_to(&self, container: Option<&ContainerFacts>) -> Option<Operation> {
        switch_to(self.facts, &self.deployment.name, container)
    }

    /// A health check at the container's own address before the ports lead to it, through the host's port afterwards.
    pub(super) fn at_own_address(&self, check: HealthCheck, at: Option<Ipv4Addr>) -> HealthCheck {
        let service = &self.container.service;
        if service.start_first.is_none() {
            return check;
        }
        let forwards = forwards(&service.body).unwrap_or_default();
        let probe = probe_at(&check.probe, &forwards, at.map(Into::into)).unwrap_or(check.probe);
        HealthCheck { probe, successes: self.deployment.health.successes.unwrap_or(SUCCESSES), ..check }
    }

    /// Where the new container starts beside the old one, and what it is created with then.
    pub(super) fn beside(
        &self,
        order: StartFirst,
        old: Option<&ContainerFacts>,
        spec: ContainerSpec,
    ) -> Result<(ContainerSpec, Beside), Failure> {
        let service = &self.container.service;
        let at = place(&self.deployment.name, forwards(&service.body).unwrap_or_default(), seen(self.facts)?, old)?;
        let spec = dressed(spec, service, self.facts.engine.yes(), &at);
        Ok((spec, Beside { order, at, at_port: self.health_check(None) }))
    }
}

impl Replacing<'_> {
    /// Start, check health, switch the ports, save; then the old one's connections end, and it is stopped.
    pub(super) fn start_first(
        &mut self,
        Beside { order, at, at_port }: &Beside,
        old: Option<&ContainerFacts>,
        new: Incoming,
    ) -> Result<(), Failure> {
        let seen = seen(self.facts)?;
        let release = Box::new(new.release);
        let (name, aside) = (self.name.to_string(), new_name(self.name));
        let (created, beside) = (Target::created(&name), Target::created(&aside));
        if !seen.exists {
            self.plan.require(PortsOperation::Network(seen.network.clone()));
        }
        self.create(new.spec, new.if_lost);
        self.plan.actions.extend(new.around.before);
        let kill = ContainerOperation::Kill { container: beside.clone() };
        self.plan.undoable(ContainerOperation::Start { container: beside.clone() }, [kill]);
        self.plan
            .require(ContainerOperation::CheckHealth { container: beside.clone(), health_check: new.health_check });
        self.plan.actions.extend(new.around.healthy);
        let back = self.switch_to(old);
        if let Some(old) = old {
            self.note_old(old, *order);
            self.rename_old(old, back.clone(), false);
        }
        // Before the new container is killed the ports lead to the old one again: with no old one they are closed here.
        let rename_back = Operation::from(ContainerOperation::Rename { container: created.clone(), to: aside });
        let undo = [rename_back].into_iter().chain(back.filter(|_| old.is_none()));
        self.plan.undoable(ContainerOperation::Rename { container: beside, to: name.clone() }, undo);
        self.plan.require(PortsOperation::Switch { name, to: at.clone(), network: seen.network.clone() });
        self.check_through_port(&created, at_port);
        self.plan.require(ContainerOperation::SaveRelease { container: created, release });
        self.plan.actions.extend(new.around.saved);
        if let Some(old) = old {
            self.retire(&ContainerFacts { name: old_name(self.name), ..old.clone() }, *order);
        }
        Ok(())
    }

    /// The new container answers at the host's port too, before the old one goes. Without a question from outside there is
    /// none to ask.
    fn check_through_port(&mut self, created: &Target, at_port: &HealthCheck) {
        if at_port.probe != Probe::Auto {
            let timeout = at_port.timeout.min(THROUGH_PORT);
            let (stable_for, successes) = (Duration::ZERO, 1);
            let health_check = HealthCheck { timeout, stable_for, successes, healthcheck: false, ..at_port.clone() };
            self.plan.require(ContainerOperation::CheckHealth { container: created.clone(), health_check });
        }
    }

    /// What a person should know of the old container.
    fn note_old(&mut self, old: &ContainerFacts, order: StartFirst) {
        if !old.is_running() {
            return;
        }
        self.plan.interruption = format!(
            "none: the ports are switched in one transaction, open connections stay with the old container for {:?}",
            order.drain
        );
        if old.switched.is_none() {
            self.plan.notes.push(format!(
                "the engine publishes the ports of {}: its rules are overtaken, and go with it; connections through its \
                 proxy (from this host, over IPv6) stay for {:?} too",
                old.name, order.drain
            ));
        }
    }

    /// Nothing here can fail the deployment any more.
    fn retire(&mut self, old: &ContainerFacts, order: StartFirst) {
        if old.is_running() {
            if !order.drain.is_zero() {
                self.plan.attempt(PortsOperation::Drain { container: old.target(), time: order.drain });
            }
            self.plan.attempt(ContainerOperation::Stop { container: old.target(), grace: old.stop_grace });
        }
        self.plan.attempt(remove(old));
    }
}
