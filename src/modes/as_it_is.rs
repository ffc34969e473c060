//! A container of which no release is saved, as the engine describes it: the request by which the same one is made.

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, ImageInspect, NetworkingConfig,
};

use crate::engine::Engine;
use crate::engine::request::{ContainerOptions, ContainerSpec};
use crate::engine::summary::anonymous_volumes;
use crate::modes::options::of_container;
use crate::values::options::{OptionChange, SetOption, changes_but};
use crate::values::pin::ImagePin;
use crate::values::types::{EnvVar, Secret};
use crate::values::volume::AnonymousVolume;

/// One container.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names say it
pub struct AsItIs {
    pub id: String,
    pub spec: Box<ContainerSpec>,
    pub volumes: Vec<AnonymousVolume>,
    pub is_running: bool,
    /// The options that its image gives a container.
    pub of_image: Box<ContainerSpec>,
}

impl AsItIs {
    /// None where it is gone, or its image is.
    pub(crate) async fn observe(engine: &Engine, id: &str) -> Option<Self> {
        let inspected = engine.inspect(id).await.ok()??;
        let image = engine.image(inspected.image.as_deref()?).await.ok()??;
        Self::of(inspected, image)
    }

    /// The same of what the engine has said.
    pub fn of(inspected: ContainerInspectResponse, image: ImageInspect) -> Option<Self> {
        let layers = image.root_fs.and_then(|root| root.layers).unwrap_or_default();
        let pin = ImagePin::Content {
            reference: inspected.config.as_ref().and_then(|config| config.image.clone()),
            config: inspected.image.as_ref()?.parse().ok()?,
            diff_ids: layers.iter().filter_map(|layer| layer.parse().ok()).collect(),
        };
        let is_running = inspected.state.as_ref().and_then(|state| state.running).unwrap_or_default();
        let volumes = anonymous_volumes(inspected.mounts.clone().unwrap_or_default());
        let (id, name) = (inspected.id.clone()?, inspected.name.clone().unwrap_or_default());
        let config = serde_json::to_value(image.config.unwrap_or_default()).ok()?;
        let of_image = Box::new(spec_of(serde_json::from_value(config).ok()?, String::new(), pin.clone()));
        let spec = Box::new(spec(inspected, name.trim_start_matches('/').to_owned(), pin)?);
        Some(Self { id, spec, volumes, is_running, of_image })
    }

    /// What a request makes of it: not what its image or the engine has given it.
    pub(crate) fn changes(&self, wanted: &ContainerSpec) -> Vec<OptionChange> {
        let of_image = of_container(&self.of_image);
        changes_but(&of_container(&self.spec), &of_container(wanted), |option| is_given(option, &of_image))
    }

    /// The options that neither its image nor the engine has given it.
    pub(crate) fn chosen(&self) -> Vec<SetOption> {
        let (mut options, of_image) = (of_container(&self.spec), of_container(&self.of_image));
        options.retain(|option| !is_given(option, &of_image));
        options
    }
}

/// What an engine gives every container.
const DEFAULTS: [(&str, &[&str]); 13] = [
    ("attach_stderr", &["true"]),
    ("attach_stdout", &["true"]),
    ("cgroup", &["host", "private"]),
    ("ipc", &["private", "shareable"]),
    ("isolation", &["default"]),
    ("logging.driver", &["json-file"]),
    ("network_mode", &["bridge", "default"]),
    ("restart", &["no"]),
    ("runtime", &["runc"]),
    ("shm_size", &["64M"]),
    ("stop_signal", &["SIGTERM"]),
    ("stop_grace_period", &["10s"]),
    ("mem_swappiness", &["-1"]),
];

fn is_given(option: &SetOption, of_image: &[SetOption]) -> bool {
    let is_of_image = || of_image.iter().any(|given| given.name == option.name && given.whole() == option.whole());
    option.name != "image" && (is_of_image() || is_default(option))
}

pub(crate) fn is_default(option: &SetOption) -> bool {
    let (name, value) = (option.name.as_str(), option.whole());
    let is_filled_in = matches!(name, "masked_paths" | "readonly_paths" | "console_size" | "networks.bridge");
    let is_nothing = matches!(value, "" | "0" | "false" | "{}" | "[]" | "\"\"");
    let is_listed = DEFAULTS.iter().any(|(known, values)| *known == name && values.contains(&value));
    is_filled_in || is_nothing && !name.starts_with("environment.") || is_listed
}

/// The request by which the same container is made.
fn spec(inspected: ContainerInspectResponse, name: String, image: ImagePin) -> Option<ContainerSpec> {
    let id = inspected.id.unwrap_or_default();
    let config = serde_json::to_value(inspected.config?).ok()?;
    let mut spec = spec_of(serde_json::from_value(config).ok()?, name, image);
    let body = &mut spec.options.body;
    body.hostname = body.hostname.take().filter(|host| !id.starts_with(host.as_str()));
    let mode = inspected.host_config.as_ref().and_then(|host| host.network_mode.clone()).unwrap_or_default();
    body.host_config = inspected.host_config;
    if let Some(host) = &mut body.host_config {
        // What an engine makes of a limit without one for swap.
        host.memory_swap = host.memory_swap.filter(|swap| host.memory.is_none_or(|memory| *swap != memory * 2));
    }
    let networks = inspected.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let endpoints = networks.into_iter().map(|(network, endpoint)| (network, chosen(endpoint, &id)));
    let (own, extra_networks): (Vec<_>, Vec<_>) = endpoints.partition(|(network, _)| *network == mode);
    if !own.is_empty() {
        body.networking_config = Some(NetworkingConfig { endpoints_config: Some(own.into_iter().collect()) });
    }
    spec.options.extra_networks = extra_networks;
    Some(spec)
}

fn spec_of(mut body: ContainerCreateBody, name: String, image: ImagePin) -> ContainerSpec {
    body.image = None;
    let environment = body.env.take().unwrap_or_default().iter().map(|text| variable(text)).collect();
    let options = ContainerOptions { body, ..ContainerOptions::default() };
    ContainerSpec { name, image, options, environment, if_declared: Vec::new(), secrets: None }
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
