//! What our section asks for: of a project alone what the section itself says, because its files are Compose's to resolve.

use std::path::Path;

use bollard::models::{HostConfig, MountType};

use crate::config::field::Field;
use crate::config::policy::demand::{Demand, Subject};
use crate::config::secrets::Defined;
use crate::config::service::{EnvLocation, Service};
use crate::config::swarm::FileSource;
use crate::config::task::{Tasks, Work};
use crate::config::yaml::{Node, Value};
use crate::config::{ArchiveLocation, ImageSource, Mode};
use crate::values::source::Source;
use crate::values::types::EnvVar;

/// What is asked for, each with its place; `section` as its variables made it.
pub(crate) fn demands(section: &Field<'_>, mode: &Mode, tasks: &Tasks, bundle: &Path) -> Vec<Demand> {
    let mut found = Found::default();
    match mode {
        Mode::Container(container) => {
            let Some(field) = section.get("container") else { return Vec::new() };
            found.image(&field, "image", &container.image);
            found.service(&field, &container.service, bundle);
        }
        Mode::Swarm(swarm) => {
            let Some(field) = section.get("swarm") else { return Vec::new() };
            found.image(&field, "image", &swarm.image);
            found.service(&field, &swarm.service, bundle);
            for network in &swarm.networks {
                found.push(&field, "networks", Demand::of_namespace("networks", "network", &network.name));
            }
            for file in &swarm.files {
                if let FileSource::File { path, .. } = &file.source
                    && !path.starts_with(bundle)
                {
                    let key = format!("{}s", file.kind.as_str());
                    found.push(&field, &key, Some(Demand::of_path(Subject::Mount, &path.to_string_lossy())));
                }
            }
        }
        Mode::Compose(compose) => {
            let images = section.get("compose").and_then(|field| field.get("images"));
            for (service, image) in &compose.images {
                images.iter().for_each(|field| found.image(field, service, image));
            }
            section.get("compose").iter().for_each(|field| found.environment(field, &compose.environment));
        }
    }
    if let Some(definitions) = section.get("secrets") {
        fetched(mode).for_each(|(name, source)| found.source(&definitions, name, source));
    }
    let items = ["before", "after"].into_iter().filter_map(|key| section.get(key));
    let items: Vec<Field<'_>> = items.flat_map(|list| list.each().collect::<Vec<_>>()).collect();
    for (task, field) in tasks.all().zip(&items) {
        found.environment(field, &task.environment);
        match &task.work {
            Work::Container(inside) => inside.image.iter().for_each(|image| found.image(field, "image", image)),
            Work::Command(command) => {
                let program = command.words.first().map_or("", String::as_str);
                let program = program.strip_prefix(&format!("{}/", bundle.display())).unwrap_or(program);
                found.push(field, "run", Some(Demand::new(Subject::HostTask, program, format!("run: {program}"))));
            }
        }
    }
    found.demands
}

/// The secrets that are fetched, by the names that define them.
fn fetched(mode: &Mode) -> impl Iterator<Item = (&str, &Source)> {
    let (of_container, of_swarm) = match mode {
        Mode::Container(container) => (container.service.secrets.as_slice(), &[][..]),
        Mode::Swarm(swarm) => (&[][..], swarm.files.as_slice()),
        Mode::Compose(_) => (&[][..], &[][..]),
    };
    let of_container = of_container.iter().filter_map(|secret| match &secret.defined {
        Defined::Fetched(source) => Some((secret.name.as_str(), source)),
        Defined::File(_) | Defined::Environment(..) | Defined::External(_) => None,
    });
    of_container.chain(of_swarm.iter().filter_map(|file| match &file.source {
        FileSource::Fetched { stem, source } => Some((stem.as_str(), source)),
        FileSource::Existing(_) | FileSource::Variable { .. } | FileSource::File { .. } => None,
    }))
}

#[derive(Default)]
struct Found {
    demands: Vec<Demand>,
}

impl Found {
    /// At the item of `key` that holds what is written, at the value of `key` where none does.
    fn push(&mut self, field: &Field<'_>, key: &str, demand: Option<Demand>) {
        let Some(demand) = demand else { return };
        let value = field.get(key).unwrap_or_else(|| field.clone());
        let text = demand.written.rsplit(": ").next().unwrap_or_default();
        let at = value.each().find(|item| holds(item.node, text));
        let at = at.unwrap_or_else(|| value.clone());
        let demand = Demand { place: Some(at.node.place), path: at.path, ..demand };
        if !self.demands.contains(&demand) {
            self.demands.push(demand);
        }
    }

    fn image(&mut self, field: &Field<'_>, key: &str, source: &ImageSource) {
        self.push(field, key, Some(Demand::of_image(source)));
        Demand::of_verification(source).into_iter().for_each(|demand| self.push(field, key, Some(demand)));
    }

    /// What is fetched: an object, or what a program of the host prints.
    fn environment(&mut self, field: &Field<'_>, variables: &[EnvVar]) {
        let Some(all) = field.get("environment") else { return };
        for var in variables {
            if let Some(source) = var.source() {
                self.source(&all, &var.name, source);
            }
        }
    }

    fn source(&mut self, field: &Field<'_>, key: &str, source: &Source) {
        match source {
            Source::S3 { s3 } => self.push(field, key, Some(Demand::of_object(s3))),
            Source::Command { command } => {
                let program = command.first().map_or("", String::as_str);
                self.push(field, key, Some(Demand::new(Subject::HostTask, program, source.to_string())));
            }
            Source::Ssm { .. } | Source::SecretsManager { .. } | Source::Kms { .. } => {}
        }
    }

    fn service(&mut self, field: &Field<'_>, service: &Service, bundle: &Path) {
        for file in &service.env_file {
            if let EnvLocation::File(ArchiveLocation::S3(uri)) = &file.location {
                self.push(field, "env_file", Some(Demand::of_object(uri)));
            }
        }
        self.environment(field, &service.environment);
        let of_host = service.secrets.iter().filter_map(|secret| match &secret.defined {
            Defined::File(path) if !path.starts_with(bundle) => Some(path.to_string_lossy()),
            _ => None,
        });
        for path in of_host {
            self.push(field, "secrets", Some(Demand::of_path(Subject::Mount, &path)));
        }
        for (network, _) in &service.networks {
            self.push(field, "networks", Demand::of_namespace("networks", "network", network));
        }
        let Some(host) = &service.body.host_config else { return };
        if host.privileged == Some(true) {
            self.push(field, "privileged", Some(Demand::new(Subject::Privileged, "", "privileged: true")));
        }
        let cgroup = host.cgroupns_mode.map(|mode| mode.to_string());
        let modes = [
            ("network_mode", "network", &host.network_mode),
            ("pid", "pid", &host.pid_mode),
            ("ipc", "ipc", &host.ipc_mode),
            ("uts", "uts", &host.uts_mode),
            ("userns_mode", "userns", &host.userns_mode),
            ("cgroup", "cgroup", &cgroup),
        ];
        for (key, name, mode) in modes {
            self.push(field, key, mode.as_ref().and_then(|mode| Demand::of_namespace(key, name, mode)));
        }
        self.devices(field, service);
        let texts = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        for capability in texts(&host.cap_add) {
            self.push(field, "cap_add", Some(Demand::of_capability(&capability)));
        }
        let unmasked = host.masked_paths.as_ref().map(|_| "systempaths=unconfined".to_owned());
        for option in texts(&host.security_opt).into_iter().chain(unmasked) {
            self.push(field, "security_opt", Demand::of_security(&option));
        }
        for (key, subject, value) in [
            ("cgroup_parent", Subject::CgroupParent, &host.cgroup_parent),
            ("runtime", Subject::Runtime, &host.runtime),
        ] {
            self.push(field, key, value.as_ref().map(|value| Demand::of(subject, value)));
        }
    }

    /// Paths of the host, and devices.
    fn devices(&mut self, field: &Field<'_>, service: &Service) {
        let Some(host) = &service.body.host_config else { return };
        for mount in host_paths(host) {
            self.push(field, "volumes", Some(Demand::of_path(Subject::Mount, mount)));
        }
        for device in host.devices.iter().flatten().filter_map(|device| device.path_on_host.as_deref()) {
            self.push(field, "devices", Some(Demand::of_path(Subject::Device, device)));
        }
        for rule in host.device_cgroup_rules.iter().flatten() {
            self.push(field, "device_cgroup_rules", Some(Demand::of(Subject::Device, rule)));
        }
        for request in host.device_requests.iter().flatten() {
            let ids = request.device_ids.clone().unwrap_or_default();
            let key = if field.get("gpus").is_some() { "gpus" } else { "deploy" };
            Demand::of_device_request(request.driver.as_deref(), &ids).into_iter().for_each(|demand| {
                self.push(field, key, Some(demand));
            });
        }
    }
}

/// Whether a text stands in a value or in one below it.
fn holds(node: &Node, text: &str) -> bool {
    match &node.value {
        Value::Scalar { text: own, .. } => own.contains(text),
        Value::Sequence(items) => items.iter().any(|item| holds(item, text)),
        Value::Mapping(entries) => entries.iter().any(|(key, value)| holds(key, text) || holds(value, text)),
        Value::Alias => false,
    }
}

/// The paths of the host that a request mounts.
fn host_paths(host: &HostConfig) -> impl Iterator<Item = &str> {
    let binds = host.binds.iter().flatten().filter_map(|bind| bind.split(':').next());
    let mounts = host.mounts.iter().flatten().filter(|mount| mount.typ == Some(MountType::BIND));
    binds.chain(mounts.filter_map(|mount| mount.source.as_deref())).filter(|path| path.starts_with('/'))
}
