//! What container mode needs to know of the host.

use std::path::Path;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, ContainerSummary};

use crate::config::service::Service;
use crate::config::{Container, Mode};
use crate::engine::facts::ContainerFacts;
use crate::error::{Failure, Kind, ObserveFailure};
use crate::inputs;
use crate::modes::as_it_is::AsItIs;
use crate::modes::create;
use crate::modes::facts::Facts;
use crate::modes::mounts::{self, HostMount};
use crate::modes::observe::Observer;
use crate::ports;
use crate::ports::taken::{self, HostPort};

/// Largest seccomp profile that is read, in bytes.
const SECCOMP_LIMIT: u64 = 1024 * 1024;

impl Observer<'_> {
    pub(crate) async fn container(&self, container: &Container, all: &[ContainerSummary], facts: &mut Facts) {
        self.switched_ports(all, facts).await;
        self.image(&container.need(), facts).await;
        self.environment(&container.service, facts).await;
        self.secrets(&container.service, facts).await;
        self.seccomp(&container.service, facts);
        self.mounted_files(&container.service, facts);
        self.volumes_left(facts).await;
        self.as_it_is(facts).await;
        self.ports_and_networks(container, all, facts).await;
    }

    fn mounted_files(&self, service: &Service, facts: &mut Facts) {
        let mounts: Vec<HostMount> = service.body.host_config.iter().flat_map(mounts::of_request).collect();
        if self.is_local() {
            facts.container.files = mounts::files(&mounts);
            mounts::look_inside(&self.proc, &mounts, &mut facts.containers);
        }
    }

    /// After ApplicationStop its container is gone, and its data is not.
    async fn volumes_left(&self, facts: &mut Facts) {
        let (Ok(engine), Some(last)) = (&self.engine, facts.releases.first()) else { return };
        if facts.containers.is_empty() {
            for volume in &last.observed.volumes {
                if engine.has_volume(&volume.name).await {
                    facts.container.volumes_left.push(volume.clone());
                }
            }
        }
    }

    /// What is compared with the request, where no release says how it was made.
    async fn as_it_is(&self, facts: &mut Facts) {
        let is_unsaved = |found: &&ContainerFacts| !found.ours || facts.releases.is_empty();
        let name = self.deployment.name.as_str();
        let found = facts.containers.iter().filter(|found| found.name == name).find(is_unsaved);
        if let (Ok(engine), Some(found)) = (&self.engine, found) {
            facts.container.unsaved = AsItIs::observe(engine, &found.id).await;
        }
    }

    fn seccomp(&self, service: &Service, facts: &mut Facts) {
        for path in create::seccomp_profiles(service) {
            let read = inputs::read(Path::new(path), Some(&self.deployment.bundle_root), SECCOMP_LIMIT);
            let profile = read.and_then(|text| Ok(serde_json::from_slice::<serde_json::Value>(&text)?.to_string()));
            match profile {
                Ok(profile) => facts.container.seccomp.push((path.to_owned(), profile)),
                Err(error) => {
                    let failure =
                        Failure::new(Kind::Appspec, format!("cannot read the seccomp profile {path}: {error}"))
                            .next("put it into the bundle as JSON, and name it relative to appspec.yml");
                    let file = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path);
                    let failure = self.deployment.placed(&["security_opt"], |text| text.ends_with(file), failure);
                    facts.failures.push(ObserveFailure { failure, definite: true });
                }
            }
        }
    }

    /// What switching ports in the kernel needs to know, where any are or shall be.
    pub(crate) async fn switched_ports(&self, all: &[ContainerSummary], facts: &mut Facts) {
        let service = match &self.deployment.mode {
            Mode::Container(container) => Some(&container.service),
            Mode::Compose(_) | Mode::Swarm(_) => None,
        };
        let has_switched = facts.containers.iter().any(|container| container.switched.is_some());
        let is_needed = has_switched || service.is_some_and(|service| service.start_first.is_some());
        if !is_needed && !ports::were_switched(self.store.all()) {
            return;
        }
        let engine = facts.engine.yes();
        let observer = ports::observe::Observer {
            engine: engine.and(self.engine.as_ref().ok()),
            api: engine.map(|engine| engine.api),
            name: self.deployment.name.as_str(),
            service,
            all,
            ours: &facts.containers,
            subnet: self.variable(ports::observe::SUBNET).filter(|text| !text.is_empty()),
            patience: Duration::ZERO,
        };
        match observer.facts().await {
            // The container whose rules are still there may have been removed.
            Ok(seen) => facts.container.ports = Some(seen).filter(|seen| is_needed || seen.is_open),
            Err(failure) => facts.failures.push(ObserveFailure { failure, definite: false }),
        }
    }

    async fn ports_and_networks(&self, container: &Container, all: &[ContainerSummary], facts: &mut Facts) {
        let (Ok(engine), Some(hello)) = (&self.engine, facts.engine.yes()) else { return };
        let options = create::container_options(&container.service, Some(hello.api));
        let local = self.is_local().then_some(self.proc.as_path());
        let ours: Vec<&str> = facts.containers.iter().map(|container| container.id.as_str()).collect();
        facts.ports_taken = taken::taken(&HostPort::of(&options.body), all, &ours, local);
        let extra = options.extra_networks.iter().map(|(network, _)| network.clone());
        for network in networks(&options.body).into_iter().chain(extra) {
            if engine.network(&network).await == Ok(None)
                && !facts.put_off_object(&format!("network {network} does not exist"))
            {
                facts.container.networks_missing.push(network);
            }
        }
    }
}

/// User-defined networks of a create request.
fn networks(body: &ContainerCreateBody) -> Vec<String> {
    let endpoints = body.networking_config.as_ref().and_then(|config| config.endpoints_config.as_ref());
    let mut names: Vec<String> = endpoints.into_iter().flatten().map(|(name, _)| name.clone()).collect();
    names.extend(body.host_config.as_ref().and_then(|host| host.network_mode.clone()));
    names.retain(|name| !matches!(name.as_str(), "" | "default" | "bridge" | "host" | "none") && !name.contains(':'));
    names.sort_unstable();
    names.dedup();
    names
}
