//! The project as it is wanted: its images, what is added to its files, and what becomes of each service.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use crate::config::compose::Compose;
use crate::config::{Deployment, Health};
use crate::deploy::origin::Origin;
use crate::engine::facts::ContainerFacts;
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::images::facts::ImageFacts;
use crate::modes;
use crate::modes::compose::changes::{changed_options, described, of_services, record};
use crate::modes::compose::files::STAND_IN;
use crate::modes::compose::project::{ComposeFacts, Project, ServiceFacts, pinned};
use crate::modes::compose::release::ComposeRelease;
use crate::modes::compose::service_change::{Change, ServiceChange};
use crate::modes::compose::wait::ProjectHealth;
use crate::modes::create;
use crate::modes::facts::Facts;
use crate::modes::images::Imports;
use crate::modes::operation::Plan;
use crate::modes::release::{Part, Release};
use crate::values::labels::{LABEL_DIGEST, LABEL_FILES, LABEL_NAME, LABEL_SPEC};
use crate::values::mounted::{MountedFile, to_label};
use crate::values::options::OptionChange;
use crate::values::pin::ImagePin;
use crate::values::types::{ContentDigest, Name, Secret};

pub(crate) struct Wanted<'a> {
    pub(crate) facts: &'a ComposeFacts,
    pub(crate) services: Vec<(&'a ServiceFacts, &'a ImageFacts, ContentDigest)>,
    pub(crate) project: Project,
    pub(crate) override_file: String,
    pub(crate) health_check: ProjectHealth,
}

impl<'a> Wanted<'a> {
    pub(crate) fn of(deployment: &Deployment, compose: &Compose, facts: &'a Facts) -> Result<Self, Failure> {
        let (Some(observed), Some(tool)) = (facts.compose.as_ref(), facts.compose_tool.yes()) else {
            return Err(Failure::new(Kind::Unexpected, "the project was not observed for this event"));
        };
        let mut services = Vec::new();
        for service in &observed.services {
            let image = facts.image(&service.need.key(&deployment.bundle_root))?;
            services.push((service, image, service.spec(&image.pin)));
        }
        let files: Vec<_> = services.iter().map(|(service, _, spec)| files(facts, service, spec)).collect();
        let mut override_file = override_file(&deployment.name, &services, &files);
        // Compose refuses a service without an image, also one that it is not asked for.
        for name in observed.left_out.iter().filter(|name| compose.images.contains_key(*name)) {
            let name = serde_json::Value::from(name.as_str());
            let _ = writeln!(override_file, "  {name}:\n    image: {STAND_IN}");
        }
        let variables: Vec<_> =
            observed.variables.iter().map(|var| (&var.name, var.value.as_ref().map(Secret::compared))).collect();
        let arguments = (&compose.files, &compose.env_file, &compose.profiles);
        let only = &compose.services;
        let only = if only.is_empty() { String::new() } else { format!("\n{only:?}") };
        let whole = format!("{}\n{override_file}\n{variables:?}\n{arguments:?}{only}", observed.folder.digest);
        let project = Project {
            name: deployment.name.to_string(),
            tool: tool.clone(),
            state: observed.state.clone(),
            id: ContentDigest::of(whole.as_bytes()).short().to_owned(),
            files: compose.files.clone(),
            env_files: compose.env_file.clone(),
            profiles: compose.profiles.clone(),
            services: compose.services.clone(),
        };
        let names = observed.services.iter().map(|service| (service.name.clone(), service.replicas));
        let health_check = health_check(names.collect(), compose.wait_timeout, &deployment.health);
        Ok(Self { facts: observed, services, project, override_file, health_check })
    }

    pub(crate) fn pins(&self) -> Vec<&'a ImagePin> {
        self.services.iter().map(|(_, image, _)| &image.pin).collect()
    }

    pub(crate) fn image(&self, service: &str) -> Option<&'a ImageFacts> {
        self.services.iter().find(|(found, _, _)| found.name == service).map(|(_, image, _)| *image)
    }

    /// What is known to fail is refused before anything is touched.
    pub(crate) fn check(&self, plan: &mut Plan, facts: &Facts) {
        for (service, image, _) in &self.services {
            modes::images::assume(plan, image);
            if let Some(engine) = facts.engine.yes() {
                let checked = modes::images::check_architecture(service.need.platform.as_deref(), engine, image);
                plan.would_fail.extend(checked.err());
            }
        }
        plan.assumptions.dedup();
        self.note_unmanaged(plan);
        plan.would_fail.extend(facts.ports_taken.first().map(|taken| {
            Failure::new(Kind::Container, format!("host port {} is taken by {}", taken.port, taken.owner))
                .next("stop that, or publish another host port in the Compose file")
        }));
    }

    /// Values that are fetched and stand in the environment of a container.
    pub(crate) fn visible_values(&self, facts: &Facts) -> Option<String> {
        let mut names: Vec<&str> =
            self.services.iter().flat_map(|(service, ..)| &service.fetched).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        create::visible(facts, &names)
    }

    fn note_unmanaged(&self, plan: &mut Plan) {
        let unmanaged = self.facts.containers.iter().filter(|container| !container.ours);
        let names: Vec<&str> = unmanaged.map(|container| container.name.as_str()).collect();
        if !names.is_empty() {
            let note = format!(
                "a project {} is there already and is not managed by balehook: its containers {} are replaced or removed, and are created anew as they are now if the release fails",
                plan.name,
                names.join(", ")
            );
            if !plan.notes.contains(&note) {
                plan.notes.push(note);
            }
        }
    }

    pub(crate) fn import(&self, plan: &mut Plan, deployment: &Deployment, facts: &Facts) -> Result<Imports, Failure> {
        modes::images::make_room(plan, deployment, facts, &self.pins());
        let mut imports = Imports::default();
        for (service, image, _) in &self.services {
            imports.add(plan, &deployment.name, &service.need, facts, image);
        }
        Ok(imports)
    }

    /// What becomes of every service, and of those that are there and no longer wanted.
    pub(crate) fn changes(&self, facts: &Facts, name: &Name) -> Vec<ServiceChange> {
        let mut changes: Vec<ServiceChange> = self
            .services
            .iter()
            .map(|(service, image, spec)| self.change(facts, service, &pinned(&image.pin, name), spec))
            .collect();
        let mut gone: Vec<&str> = self.facts.containers.iter().map(|container| container.service.as_str()).collect();
        gone.retain(|service| !self.services.iter().any(|(wanted, _, _)| wanted.name == *service));
        gone.retain(|service| !self.facts.left_out.iter().any(|left_out| left_out == service));
        gone.sort_unstable();
        gone.dedup();
        changes.extend(gone.into_iter().map(|service| ServiceChange {
            service: service.to_owned(),
            change: Change::Removed,
            from: None,
            to: None,
        }));
        changes
    }

    /// Says in the plan what changes of each service, and since what.
    pub(crate) fn compare(&self, plan: &mut Plan, facts: &Facts, services: &[ServiceChange], name: &Name) {
        let last = facts.releases.first().filter(|release| release.part.compose.is_some());
        plan.compared_with = match last {
            Some(last) => Some(format!("release {}", last.deployment)),
            None if facts.containers.is_empty() => return,
            None => Some(format!("project {name}, of which no release is saved: only its images are known")),
        };
        let wanted = |name: &str| self.services.iter().find(|(service, _, _)| service.name == name);
        let changed =
            |name: &str| wanted(name).map(|(service, _, _)| since_release(facts, service)).unwrap_or_default();
        plan.changed_options = of_services(services, |image| described(facts, image, name), changed);
    }

    fn change(&self, facts: &Facts, service: &ServiceFacts, image: &str, spec: &ContentDigest) -> ServiceChange {
        let there: Vec<_> =
            self.facts.containers.iter().filter(|container| container.service == service.name).collect();
        let is_same = |spec: &ContentDigest| there.iter().all(|found| found.spec.as_deref() == Some(spec.as_str()));
        let changed_files = changed_files(facts, service);
        let from = there.iter().map(|found| &found.image).find(|found| *found != image).cloned();
        let change = match there.len() {
            0 if service.replicas == 0 => Change::Unchanged,
            0 => Change::Created,
            _ if !(is_same(spec) && changed_files.is_empty()) => {
                let changed = if is_same(spec) { Vec::new() } else { since_release(facts, service) };
                let mut options: Vec<String> = changed.into_iter().map(|change| change.name).collect();
                if from.is_some() {
                    options.insert(0, "image".into());
                }
                options.extend(changed_files.into_iter().map(|path| format!("content of {path}")));
                Change::Recreated(options)
            }
            count if count != service.replicas || there.iter().any(|found| !found.good) => Change::Started,
            _ => Change::Unchanged,
        };
        let shown = !matches!(change, Change::Unchanged | Change::Started);
        let to = (shown && (from.is_some() || there.is_empty())).then(|| image.to_owned());
        ServiceChange { service: service.name.clone(), change, from: from.filter(|_| shown), to }
    }

    pub(crate) fn release(&self, origin: &Origin) -> Result<Release, Failure> {
        let mut pins: Vec<ImagePin> = Vec::new();
        self.pins().into_iter().for_each(|pin| {
            if !pins.contains(pin) {
                pins.push(pin.clone());
            }
        });
        let mut pins = pins.into_iter();
        let image = pins.next().ok_or_else(|| Failure::new(Kind::Appspec, "the project has no service"))?;
        let specs: Vec<String> = self.services.iter().map(|(_, _, spec)| spec.to_string()).collect();
        let options = self.services.iter().flat_map(|(service, _, _)| record(service));
        let spec = ContentDigest::of(specs.join("\n").as_bytes()).to_string();
        let fetched = self.facts.variables.iter().filter(|var| var.source().is_some());
        let project = ComposeRelease {
            project: self.project.clone(),
            variables: fetched.cloned().collect(),
            health_check: (&self.health_check).into(),
        };
        let part = Part { options: options.collect(), compose: Some(project), ..Part::default() };
        Ok(Release { more_images: pins.collect(), ..Release::new(origin, image, spec, part) })
    }
}

/// Options of a service that differ from the saved release's.
fn since_release(facts: &Facts, service: &ServiceFacts) -> Vec<OptionChange> {
    let last = facts.releases.first().filter(|release| release.part.compose.is_some());
    let new: Vec<_> = record(service).collect();
    last.map(|last| changed_options(&service.name, &last.part.options, &new)).unwrap_or_default()
}

fn containers<'a>(facts: &'a Facts, service: &'a ServiceFacts) -> impl Iterator<Item = &'a ContainerFacts> {
    facts.containers.iter().filter(|found| found.service.as_ref() == Some(&service.name))
}

/// Mounted files that any container of the service has otherwise.
fn changed_files(facts: &Facts, service: &ServiceFacts) -> Vec<String> {
    let changed: BTreeSet<String> =
        containers(facts, service).flat_map(|found| found.changed_files(&service.files)).collect();
    changed.into_iter().collect()
}

/// The files that its containers are said to have: as long as nothing has changed what they were created with, because
/// Compose replaces containers whose labels are others.
fn files<'a>(facts: &'a Facts, service: &'a ServiceFacts, spec: &ContentDigest) -> &'a [MountedFile] {
    let is_same = |found: &ContainerFacts| found.spec.as_deref() == Some(spec.as_str());
    match containers(facts, service).next() {
        Some(first) if containers(facts, service).all(is_same) && changed_files(facts, service).is_empty() => {
            &first.files
        }
        _ => &service.files,
    }
}

/// Images, our labels, and nothing to be pulled: what a release adds to its own files.
fn override_file(
    name: &Name,
    services: &[(&ServiceFacts, &ImageFacts, ContentDigest)],
    files: &[&[MountedFile]],
) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut out = String::from("services:\n");
    for ((service, image, spec), files) in services.iter().zip(files) {
        let _ = writeln!(out, "  {}:\n    image: {}", quoted(&service.name), quoted(&pinned(&image.pin, name)));
        out.push_str("    pull_policy: never\n");
        let _ = writeln!(out, "    labels:\n      {}: {}", LABEL_NAME, quoted(name.as_str()));
        let _ = writeln!(out, "      {}: {}", LABEL_DIGEST, quoted(&image.pin.label(&image.pin.identity())));
        let _ = writeln!(out, "      {}: {}", LABEL_SPEC, quoted(&image.pin.label(spec)));
        if let Some(files) = to_label(files) {
            let _ = writeln!(out, "      {}: {}", LABEL_FILES, quoted(&files.replace('$', "$$")));
        }
    }
    out
}

fn health_check(services: Vec<(String, usize)>, timeout: Duration, health: &Health) -> ProjectHealth {
    ProjectHealth { services, check: HealthCheck { timeout, ..HealthCheck::of(health, health.probe.clone(), true) } }
}
