//! Swarm mode: event × what this node is × facts → steps.

pub(crate) mod drift;
pub(crate) mod files;
mod request;
pub(crate) mod service_spec;
pub(crate) mod tasks;
pub(crate) mod validate;

use crate::config::Deployment;
use crate::config::swarm::Swarm;
use crate::deploy::journal::Left;
use crate::deploy::origin::Origin;
use crate::deploy::plan::Old;
use crate::error::{Failure, Kind};
use crate::images::facts::ImageFacts;
use crate::modes;
use crate::modes::create;
use crate::modes::facts::Facts;
use crate::modes::images::Imports;
use crate::modes::operation::{Action, Operation, Plan};
use crate::modes::release::{Part, Release};
use crate::modes::swarm::facts::{Role, SwarmFacts};
use crate::modes::swarm::operation::{ServiceRequest, SwarmOperation};
use crate::values::target::Target;
use crate::values::types::{LifecycleEvent, Name};

pub(crate) struct Planner<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) swarm: &'a Swarm,
    pub(super) origin: &'a Origin,
    pub(super) facts: &'a Facts,
    pub(super) seen: SwarmFacts,
    plan: Plan,
}

/// What `event` does in swarm mode.
/// Errors: See [`crate::modes::plan`]; and that this host is in no swarm, or cannot use it.
pub(crate) fn plan(
    event: LifecycleEvent,
    deployment: &Deployment,
    swarm: &Swarm,
    origin: &Origin,
    facts: &Facts,
) -> Result<Plan, Failure> {
    let seen = facts.swarm.clone().unwrap_or_else(|| SwarmFacts::empty(Role::Manager));
    let mut plan = Plan::new(event.to_string(), &deployment.name);
    plan.subject = "old service".into();
    if event.replaces() {
        plan.old = old(&deployment.name, facts, &seen);
    }
    plan.recover(modes::tasks::remove_left(facts));
    plan.recover(end_tasks(facts));
    let planner = Planner { deployment, swarm, origin, facts, seen, plan };
    match event {
        LifecycleEvent::BeforeInstall => planner.before_install(),
        LifecycleEvent::AfterInstall => planner.import(),
        LifecycleEvent::ApplicationStart => planner.start(),
        LifecycleEvent::ValidateService => planner.validate(),
        LifecycleEvent::ApplicationStop => Ok(planner.note("the swarm's tasks go on: ApplicationStop stops nothing")),
        LifecycleEvent::BeforeBlockTraffic
        | LifecycleEvent::AfterBlockTraffic
        | LifecycleEvent::BeforeAllowTraffic
        | LifecycleEvent::AfterAllowTraffic => Ok(planner.plan),
    }
}

/// Tasks of a killed event end where this node runs them. Its update of the service stays: another manager may have found the
/// same spec healthy.
fn end_tasks(facts: &Facts) -> Vec<Action> {
    let Some(Left::Plan(left)) = &facts.left else { return Vec::new() };
    let of_tasks = |operation: &Operation| matches!(operation, Operation::Swarm(SwarmOperation::EndTask(_)));
    left.operations().into_iter().filter(of_tasks).map(Action::best_effort).collect()
}

impl<'a> Planner<'a> {
    fn note(mut self, text: &str) -> Plan {
        self.plan.notes.push(text.to_owned());
        self.plan
    }

    fn push(&mut self, step: SwarmOperation) {
        self.plan.require(step);
    }

    fn name(&self) -> String {
        self.deployment.name.to_string()
    }

    /// The wanted image, after everything that can be known to fail.
    fn checked(&mut self) -> Result<&'a ImageFacts, Failure> {
        let image = self.facts.image(&self.swarm.need().key(&self.deployment.bundle_root))?;
        let assumed = "that this host is a manager of a swarm without the service";
        modes::images::assume_all(&mut self.plan, self.facts, image, assumed);
        let is_seen = self.seen.role == Role::Manager && self.facts.swarm.is_some();
        match &self.seen.role {
            Role::Unusable(why) => {
                return Err(Failure::new(Kind::Engine, format!("the swarm cannot be used: {why}"))
                    .next("docker info says more; docker swarm unlock, or leave and join again"));
            }
            Role::Outside if !self.swarm.init => {
                self.plan.would_fail.push(outside());
                self.plan.assumptions.push(format!("this host is in no swarm: assumed {assumed}"));
                self.seen.role = Role::Manager;
            }
            Role::Outside | Role::Worker | Role::Manager => {}
        }
        self.plan.would_fail.extend(create::check(&self.swarm.service, self.facts, image).err());
        if is_seen {
            self.plan.would_fail.extend(self.check_names().err());
        }
        Ok(image)
    }

    fn check_names(&self) -> Result<(), Failure> {
        if self.facts.pending.scripts.is_empty()
            && let Some((missing, name)) = self.seen.missing(self.swarm)
        {
            let keys = ["networks", "secrets", "configs", "placement"];
            return Err(self.deployment.placed(&keys, |text| text == name, missing));
        }
        let was_global = self.seen.service.as_ref().map(|service| service.spec.reveal()["Mode"]["Global"].is_object());
        if was_global.is_some_and(|global| global != self.swarm.deploy.global) {
            let name = &self.deployment.name;
            return Err(Failure::new(Kind::Container, format!("a swarm cannot change the mode of service {name}"))
                .next(format!(
                    "docker service rm {name} first (it is down until the deployment ends), or use another name"
                )));
        }
        Ok(())
    }

    fn before_install(mut self) -> Result<Plan, Failure> {
        let image = self.checked()?;
        let wanted = self.images(image)?.pins();
        modes::images::make_room(&mut self.plan, self.deployment, self.facts, &wanted);
        modes::images::prune(&mut self.plan, self.deployment, self.facts, &wanted);
        Ok(self.plan)
    }

    fn import(mut self) -> Result<Plan, Failure> {
        let image = self.checked()?;
        let images = self.images(image)?;
        self.import_images(&images)?;
        Ok(self.plan)
    }

    fn start(mut self) -> Result<Plan, Failure> {
        let image = self.checked()?;
        if self.seen.role == Role::Outside {
            self.push(SwarmOperation::Init);
        }
        let images = self.images(image)?;
        let imports = self.import_images(&images)?;
        match self.seen.role {
            Role::Worker => self.local_tasks(image),
            Role::Manager | Role::Outside | Role::Unusable(_) => self.manage(image, &imports)?,
        }
        modes::images::prune(&mut self.plan, self.deployment, self.facts, &images.pins());
        Ok(self.plan)
    }

    fn local_tasks(&mut self, image: &ImageFacts) {
        self.plan
            .notes
            .push("this node is a worker: a manager updates the service, its own tasks are waited for".into());
        if self.deployment.tasks.all().next().is_some() {
            self.plan.notes.push("`before` and `after` are run by a manager".into());
        }
        self.push(SwarmOperation::LocalTasks {
            service: self.name(),
            image: image.pin.clone(),
            patience: self.deployment.health.timeout,
            monitor: self.swarm.deploy.update.monitor,
        });
        let is_recorded = self.facts.releases.first().is_some_and(|last| last.deployment == self.origin.deployment);
        if !is_recorded {
            let release = Release::new(self.origin, image.pin.clone(), String::new(), Part::default());
            self.push(SwarmOperation::SaveRelease { service: self.name(), release: Box::new(release) });
        }
    }

    fn manage(&mut self, image: &ImageFacts, imports: &Imports) -> Result<(), Failure> {
        let request = self.request(image);
        let same = drift::is_same(&request, &self.seen);
        let mut tasks = self.tasks(image, imports, &request, same)?;
        if !same {
            self.plan.notes.extend(create::visible_values(self.facts));
            // A task would only fail where this node has lost a layer of the image meanwhile.
            self.plan.actions.extend(imports.if_lost_before().into_iter().map(Action::required));
            self.change(image, imports, &request, std::mem::take(&mut tasks.before));
        }
        self.push(SwarmOperation::RolloutCheck(self.wait_for_rollout(&request.digest)));
        // Another manager that has just updated it gave the swarm a token, and may yet have to roll back: a write now would
        // make the spec in force the one to roll back to.
        if same && !self.is_late(&request) {
            self.renew_token(&request);
        }
        self.probe()?;
        self.plan.actions.append(&mut tasks.healthy);
        if !same || !self.is_recorded(&request) {
            let part = Part { swarm: Some(Box::new(request.clone())), ..Part::default() };
            let release = Release::new(self.origin, image.pin.clone(), request.digest.clone(), part);
            self.push(SwarmOperation::SaveRelease { service: self.name(), release: Box::new(release) });
        }
        self.plan.actions.append(&mut tasks.saved);
        if !same {
            self.remove_files(&request);
        }
        Ok(())
    }

    fn renew_token(&mut self, request: &ServiceRequest) {
        if let Some(registry) = &request.registry {
            self.push(SwarmOperation::RenewToken { service: self.name(), registry: registry.clone() });
        }
    }

    fn change(&mut self, image: &ImageFacts, imports: &Imports, request: &ServiceRequest, before: Vec<Action>) {
        for network in self.swarm.networks.iter().filter(|network| network.create) {
            if !self.seen.has_network(&network.name) {
                self.push(SwarmOperation::Network { name: network.name.clone() });
            }
        }
        self.make_files();
        self.check_nodes(image, &request.digest);
        self.plan.actions.extend(before);
        let (service, spec) = (self.name(), request.digest.clone());
        let (step, undo) = match &self.seen.service {
            None => (SwarmOperation::Create(Box::new(request.clone())), SwarmOperation::Remove { service, spec }),
            Some(_) => (SwarmOperation::Update(Box::new(request.clone())), SwarmOperation::Rollback { service, spec }),
        };
        self.note_changes(request);
        let written = Action::undone_by(step, [undo]);
        self.plan.actions.push(written.repaired_by(&[Kind::Image], imports.if_lost_of(&image.pin)));
    }
}

/// What serves. A worker gets no answer.
pub(crate) fn old(name: &Name, facts: &Facts, seen: &SwarmFacts) -> Old {
    match (facts.engine.yes(), &seen.role) {
        (None, _) | (Some(_), Role::Worker | Role::Unusable(_)) => Old::NotObserved,
        (Some(_), Role::Manager | Role::Outside) => {
            let service = seen.service.as_ref();
            Old::of(service.map(|old| Target { name: name.to_string(), id: Some(old.id.clone()) }), true)
        }
    }
}

fn outside() -> Failure {
    Failure::new(Kind::Engine, "this host is in no swarm")
        .next("docker swarm init (or docker swarm join …), or write `init: true` under x-balehook.swarm for a swarm of this host alone")
}
