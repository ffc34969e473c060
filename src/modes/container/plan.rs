//! Container mode: event × facts → steps.

use std::net::Ipv4Addr;

use crate::config::{Container, Deployment};
use crate::deploy::origin::Origin;
use crate::deploy::plan::Old;
use crate::engine::facts::ContainerFacts;
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::images::facts::ImageFacts;
use crate::modes;
use crate::modes::container::operation::ContainerOperation;
use crate::modes::container::recover::{Recovery, recover, remove};
use crate::modes::container::replace::{Incoming, Replacing, unmanaged};
use crate::modes::container::secrets::sweep;
use crate::modes::container::spec::spec_digest;
use crate::modes::container::{start_first, volumes};
use crate::modes::create;
use crate::modes::facts::Facts;
use crate::modes::images::{Images, Imports};
use crate::modes::operation::{Action, Plan};
use crate::modes::release::{ContainerRelease, Part, Release};
use crate::modes::sharing;
use crate::values::operation::Role;
use crate::values::pin::ImagePin;
use crate::values::types::LifecycleEvent;

pub(crate) struct Planner<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) container: &'a Container,
    pub(super) origin: &'a Origin,
    pub(super) facts: &'a Facts,
    pub(super) plan: Plan,
}

pub(crate) fn plan(
    event: LifecycleEvent,
    deployment: &Deployment,
    container: &Container,
    origin: &Origin,
    facts: &Facts,
) -> Result<Plan, Failure> {
    let plan = Plan::new(event.to_string(), &deployment.name);
    let mut planner = Planner { deployment, container, origin, facts, plan };
    match event {
        LifecycleEvent::ApplicationStop => planner.stop(),
        LifecycleEvent::BeforeInstall => planner.before_install()?,
        LifecycleEvent::AfterInstall => planner.import()?,
        LifecycleEvent::ApplicationStart => planner.start()?,
        LifecycleEvent::ValidateService => planner.validate()?,
        LifecycleEvent::BeforeBlockTraffic
        | LifecycleEvent::AfterBlockTraffic
        | LifecycleEvent::BeforeAllowTraffic
        | LifecycleEvent::AfterAllowTraffic => {}
    }
    Ok(planner.plan)
}

impl<'a> Planner<'a> {
    /// Everything that bears our label or one of our names goes, whatever state it is in. Nothing here can fail the event.
    fn stop(&mut self) {
        self.plan.actions.extend(modes::tasks::remove_left(self.facts));
        for container in &self.facts.containers {
            self.plan.notes.extend(unmanaged(&self.deployment.name, container));
            if container.is_running() {
                let grace = container.stop_grace;
                self.plan.attempt(ContainerOperation::Stop { container: container.target(), grace });
                self.plan.interruption =
                    format!("{} is down until the new container of ApplicationStart is healthy", self.plan.name);
            }
            self.plan.attempt(remove(container));
            self.plan.notes.extend(sharing::notes(&self.facts.sharing, container));
            let kept = container.volumes.iter().filter(|_| !container.auto_remove);
            self.plan.notes.extend(kept.map(volumes::kept));
        }
        sweep(&mut self.plan, self.facts, None);
        let is_open = self.facts.container.ports.as_ref().is_some_and(|seen| seen.is_open);
        let close = self.switch_to(None).filter(|_| is_open);
        self.plan.actions.extend(close.map(Action::best_effort));
    }

    /// What an interrupted event left comes first, so that the service is back as early as can be.
    fn begin(&mut self) -> Option<ContainerFacts> {
        let Recovery { mut actions, serving, note } = recover(&self.deployment.name, self.facts);
        // The event goes on with a new release, also where the old one is not healthy.
        actions.retain(|action| action.role != Role::ChecksHealth);
        self.plan.notes.extend(note);
        self.plan.recover(actions);
        self.plan.old = old(serving.as_ref(), self.facts);
        serving
    }

    fn before_install(&mut self) -> Result<(), Failure> {
        let image = self.wanted_image()?;
        self.check(image);
        let wanted = self.images(image)?.pins();
        self.begin();
        modes::images::make_room(&mut self.plan, self.deployment, self.facts, &wanted);
        modes::images::prune(&mut self.plan, self.deployment, self.facts, &wanted);
        Ok(())
    }

    fn import(&mut self) -> Result<(), Failure> {
        let image = self.wanted_image()?;
        self.check(image);
        let images = self.images(image)?;
        self.begin();
        self.import_images(&images).map(drop)
    }

    fn import_images(&mut self, images: &Images<'_>) -> Result<Imports, Failure> {
        images.import(&mut self.plan, self.deployment, &self.container.need(), self.facts)
    }

    fn start(&mut self) -> Result<(), Failure> {
        let image = self.wanted_image()?;
        let images = self.images(image)?;
        let serving = self.begin();
        let spec = self.container_spec(image);
        let digest = spec_digest(&spec, self.container)?;
        let same = serving.as_ref().filter(|old| old.ours && old.spec.as_deref() == Some(digest.as_str()));
        let same = same.filter(|old| !self.has_changed_files(old));
        if same.is_none() {
            self.check(image);
        }
        let mut request = self.labelled(spec, image, &digest);
        if same.is_none() {
            self.carry_volumes(&mut request, serving.as_ref());
        }
        let (order, at_port) = (self.container.service.start_first, self.health_check(None));
        let (mut health_check, mut beside) = (at_port.clone(), None);
        if let Some(order) = order.filter(|_| same.is_none()) {
            let placed = self.beside(order, serving.as_ref(), request)?;
            health_check = self.health_check(Some(placed.1.at.address));
            (request, beside) = (placed.0, Some(placed.1));
        }
        if let Some(at) = same.and_then(|same| same.switched.as_ref()).filter(|_| order.is_some()) {
            // It is saved as it runs: a rollback finds its ports there.
            request = start_first::dressed(request, &self.container.service, self.facts.engine.yes(), at);
        }
        let kept = ContainerRelease { request: request.clone(), health_check: at_port.clone(), start_first: order };
        let part = Part { container: Some(Box::new(kept)), ..Part::default() };
        let release = Release::new(self.origin, image.pin.clone(), digest.to_string(), part);
        match same {
            Some(same) => {
                self.keep_serving(same, at_port, release);
                sweep(&mut self.plan, self.facts, request.secrets.as_ref());
            }
            None => {
                let imports = self.import_images(&images)?;
                self.plan.notes.extend(create::visible_values(self.facts));
                let around = self.tasks(image, &imports)?;
                let if_lost = imports.if_lost_of(&image.pin);
                let new = Incoming { spec: request, health_check, release, around, if_lost, beside };
                let replacing = Replacing { name: &self.deployment.name, facts: self.facts, plan: &mut self.plan };
                { replacing }.replace(serving.as_ref(), new)?;
            }
        }
        modes::images::prune(&mut self.plan, self.deployment, self.facts, &images.pins());
        Ok(())
    }

    /// The same image with the same options runs already.
    fn keep_serving(&mut self, same: &ContainerFacts, health_check: HealthCheck, release: Release) {
        if !same.is_running() {
            self.plan.require(ContainerOperation::Start { container: same.target() });
        }
        self.plan.require(ContainerOperation::CheckHealth { container: same.target(), health_check });
        let saved = self.facts.releases.first();
        if saved.is_none_or(|last| last.observed.container != same.id || last.deployment != release.deployment) {
            self.plan.require(ContainerOperation::SaveRelease { container: same.target(), release: Box::new(release) });
        }
    }

    fn validate(&mut self) -> Result<(), Failure> {
        let image = self.wanted_image()?;
        let name = &self.deployment.name;
        let wanted = image.pin.identity();
        let Some(serving) = self.facts.containers.iter().find(|found| found.name == name.as_str()) else {
            return Err(Failure::new(Kind::Health, format!("no container is named {name}"))
                .next("did ApplicationStart run? its output says why the container is gone"));
        };
        let known = !matches!(image.pin, ImagePin::Unknown { .. });
        if known && serving.digest.as_deref() != Some(wanted.as_str()) {
            let runs = serving.digest.as_deref().unwrap_or(&serving.image);
            let message = format!("{name} runs {runs}, not the wanted {}", image.pin.describe());
            return Err(Failure::new(Kind::Health, message).next("run ApplicationStart again"));
        }
        let health_check = self.health_check(None);
        self.plan.require(ContainerOperation::CheckHealth { container: serving.target(), health_check });
        Ok(())
    }

    /// `at`: the container's own address, where the host's ports do not lead to it yet.
    pub(super) fn health_check(&self, at: Option<Ipv4Addr>) -> HealthCheck {
        let disabled = self.container.service.body.healthcheck.as_ref().and_then(|check| check.test.as_ref());
        let disabled = disabled.is_some_and(|test| test.first().is_some_and(|kind| kind == "NONE"));
        let health = &self.deployment.health;
        self.at_own_address(HealthCheck::of(health, health.probe.clone(), !disabled), at)
    }

    /// The deployment's own image. What is taken for granted of it, and around it, is said.
    fn wanted_image(&mut self) -> Result<&'a ImageFacts, Failure> {
        let image = self.facts.image(&self.container.need().key(&self.deployment.bundle_root))?;
        modes::images::assume_all(&mut self.plan, self.facts, image, "that nothing runs yet");
        Ok(image)
    }

    fn images(&mut self, own: &'a ImageFacts) -> Result<Images<'a>, Failure> {
        let of_tasks = modes::tasks::images(&mut self.plan, self.deployment, self.facts)?;
        Ok(Images { own, of_tasks })
    }
}

/// What serves once the recovery is done.
pub(crate) fn old(serving: Option<&ContainerFacts>, facts: &Facts) -> Old {
    match facts.engine.yes() {
        None => Old::NotObserved,
        Some(_) => Old::of(serving.map(ContainerFacts::target), serving.is_some_and(ContainerFacts::is_running)),
    }
}
