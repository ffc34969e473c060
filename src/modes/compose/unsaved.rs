//! A project that is there and of which no release is saved: it was not deployed by balehook, or our state is lost. How it was
//! made is not known, so that its very containers come back, each as the engine describes it.

use std::collections::BTreeMap;

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, EndpointSettings, NetworkingConfig};

use crate::engine::request::{ContainerOptions, ContainerSpec};
use crate::engine::summary::anonymous_volumes;
use crate::engine::{Engine, name_of};
use crate::error::Failure;
use crate::health::check::HealthCheck;
use crate::modes;
use crate::modes::compose::containers::of_project;
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::compose::wait::ProjectHealth;
use crate::modes::operation::Operation;
use crate::values::pin::ImagePin;
use crate::values::target::Target;
use crate::values::types::{EnvVar, Secret};

/// One container of it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names say it
pub struct UnsavedContainer {
    pub container: Target,
    pub service: String,
    pub is_running: bool,
    pub spec: Box<ContainerSpec>,
}

impl UnsavedContainer {
    /// None where it is gone, or its image is.
    pub(crate) async fn observe(engine: &Engine, id: &str, service: String) -> Option<Self> {
        let inspected = engine.inspect(id).await.ok()??;
        let image = engine.image(inspected.image.as_deref()?).await.ok()??;
        let layers = image.root_fs.and_then(|root| root.layers).unwrap_or_default();
        let pin = ImagePin::Content {
            reference: inspected.config.as_ref().and_then(|config| config.image.clone()),
            config: inspected.image.as_ref()?.parse().ok()?,
            diff_ids: layers.iter().filter_map(|layer| layer.parse().ok()).collect(),
        };
        let container = Target {
            name: inspected.name.clone().unwrap_or_default().trim_start_matches('/').to_owned(),
            id: Some(id.to_owned()),
        };
        let is_running = inspected.state.as_ref().and_then(|state| state.running).unwrap_or_default();
        let spec = Box::new(spec(inspected, container.name.clone(), pin)?);
        Some(Self { container, service, is_running, spec })
    }
}

/// What restores them: what came up since goes, and what is gone is created anew.
pub(super) fn back(name: &str, all: &[UnsavedContainer]) -> Vec<Operation> {
    let but: Vec<Target> = all.iter().map(|found| found.container.clone()).collect();
    let mut steps: Vec<Operation> = vec![ComposeOperation::Withdraw { name: name.to_owned(), but }.into()];
    let mut services: BTreeMap<&str, usize> = BTreeMap::new();
    for UnsavedContainer { container, spec, .. } in all {
        steps.push(Operation::recreate_container(container.clone(), spec.clone()));
    }
    for UnsavedContainer { container, service, .. } in all.iter().filter(|found| found.is_running) {
        steps.push(Operation::start_container(container.clone()));
        *services.entry(service).or_default() += 1;
    }
    if !services.is_empty() {
        let services = services.into_iter().map(|(service, count)| (service.to_owned(), count)).collect();
        let health_check = ProjectHealth { services, check: HealthCheck::back(None) };
        steps.push(ComposeOperation::Wait { name: name.to_owned(), health_check }.into());
    }
    steps
}

/// Removes the project's containers but these.
pub(super) async fn withdraw(engine: &Engine, name: &str, but: &[Target]) -> Result<(), Failure> {
    let all = engine.list().await?;
    for (container, _) in of_project(&all, name) {
        if !but.iter().any(|kept| kept.id == container.id) {
            let target = Target { name: name_of(container), id: container.id.clone() };
            engine.remove_with(&target, false).await?;
        }
    }
    Ok(())
}

/// The request by which the same container is made.
fn spec(inspected: ContainerInspectResponse, name: String, image: ImagePin) -> Option<ContainerSpec> {
    let id = inspected.id.unwrap_or_default();
    let config = serde_json::to_value(inspected.config?).ok()?;
    let mut body: ContainerCreateBody = serde_json::from_value(config).ok()?;
    body.image = None;
    body.hostname = body.hostname.filter(|host| !id.starts_with(host.as_str()));
    let environment = body.env.take().unwrap_or_default().iter().map(|text| variable(text)).collect();
    let mode = inspected.host_config.as_ref().and_then(|host| host.network_mode.clone()).unwrap_or_default();
    body.host_config = inspected.host_config;
    let networks = inspected.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let endpoints = networks.into_iter().map(|(network, endpoint)| (network, chosen(endpoint, &id)));
    let (own, extra_networks): (Vec<_>, Vec<_>) = endpoints.partition(|(network, _)| *network == mode);
    if !own.is_empty() {
        body.networking_config = Some(NetworkingConfig { endpoints_config: Some(own.into_iter().collect()) });
    }
    let options = ContainerOptions { body, extra_networks, platform: None };
    let mut spec = ContainerSpec { name, image, options, environment, if_declared: Vec::new() };
    modes::volumes::give(&mut spec, &anonymous_volumes(inspected.mounts.unwrap_or_default()));
    Some(spec)
}

/// Values are secret: where they came from is not known.
fn variable(text: &str) -> EnvVar {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    EnvVar { name: name.to_owned(), value: value.map(Secret::new), hidden: true }
}

/// What was chosen of a place in a network, without what the engine did.
fn chosen(endpoint: EndpointSettings, id: &str) -> EndpointSettings {
    let aliases = endpoint.aliases.map(|all| all.into_iter().filter(|alias| !id.starts_with(alias.as_str())).collect());
    EndpointSettings {
        aliases,
        ipam_config: endpoint.ipam_config,
        links: endpoint.links,
        driver_opts: endpoint.driver_opts,
        ..EndpointSettings::default()
    }
}
