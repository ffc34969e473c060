//! Tasks around a swarm's service, and the images that they have of their own.

use crate::config::ImageNeed;
use crate::deploy::origin::MANUAL;
use crate::error::Failure;
use crate::images::facts::ImageFacts;
use crate::modes;
use crate::modes::images::Imports;
use crate::modes::operation::{Operation, Undo};
use crate::modes::swarm::facts::{Role, ServiceFacts};
use crate::modes::swarm::operation::{ServiceRequest, SwarmOperation};
use crate::modes::swarm::plan::Planner;
use crate::modes::swarm::task;
use crate::modes::tasks::TaskActions;
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_SPEC};
use crate::values::pin::ImagePin;

impl Planner<'_> {
    /// The images that tasks have of their own; none on a worker, which runs no tasks.
    pub(crate) fn task_images(&mut self) -> Result<Vec<(ImageNeed, ImageFacts)>, Failure> {
        if self.seen.role == Role::Worker {
            return Ok(Vec::new());
        }
        let found = modes::tasks::images(&mut self.plan, self.deployment, self.facts)?;
        Ok(found.into_iter().map(|(need, image)| (need, image.clone())).collect())
    }

    pub(crate) fn import_images(
        &mut self,
        image: &ImageFacts,
        of_tasks: &[(ImageNeed, ImageFacts)],
    ) -> Result<Imports, Failure> {
        let (plan, name) = (&mut self.plan, &self.deployment.name);
        modes::images::make_room(plan, self.deployment, self.facts, &pins(image, of_tasks))?;
        let mut imports = Imports::default();
        imports.add(plan, name, &self.swarm.need(), self.facts, image);
        of_tasks.iter().for_each(|(need, image)| imports.add(plan, name, need, self.facts, image));
        Ok(imports)
    }

    /// Whether another manager has updated the service for this very deployment, and this node does not know how it ended.
    pub(crate) fn is_late(&self, request: &ServiceRequest) -> bool {
        let by_us = |service: &ServiceFacts| {
            service.spec.label(LABEL_SPEC) == Some(&request.digest)
                && service.spec.label(LABEL_DEPLOYMENT) == Some(&self.origin.deployment)
        };
        self.origin.deployment != MANUAL && self.seen.service.as_ref().is_some_and(by_us) && !self.is_recorded(request)
    }

    /// Whether this node knows that this deployment of the service ended well.
    pub(crate) fn is_recorded(&self, request: &ServiceRequest) -> bool {
        let last = self.facts.releases.first();
        last.is_some_and(|last| last.deployment == self.origin.deployment && last.spec == request.digest)
    }

    /// The tasks around the deployment; earlier locks are removed first. Where another manager has updated the service for
    /// this very deployment, the required `after` still decide how it ends.
    pub(crate) fn tasks(
        &mut self,
        image: &ImageFacts,
        imports: &Imports,
        request: &ServiceRequest,
        same: bool,
    ) -> Result<TaskActions, Failure> {
        let planner = task::Planner {
            deployment: self.deployment,
            swarm: self.swarm,
            origin: self.origin,
            facts: self.facts,
            seen: &self.seen,
            service: request,
            image,
            imports,
        };
        let removed = planner.remove_locks(same);
        self.plan.actions.splice(0..0, removed);
        if same && !self.is_late(request) {
            return Ok(TaskActions::default());
        }
        let mut tasks = planner.around()?;
        if same {
            let (service, spec) = (self.name(), request.digest.clone());
            let back = Operation::Swarm(SwarmOperation::Rollback { service, spec });
            tasks.healthy.retain(|action| !action.best_effort);
            tasks.healthy.iter_mut().for_each(|action| action.undo.push(Undo::from(back.clone())));
            return Ok(TaskActions { healthy: tasks.healthy, ..TaskActions::default() });
        }
        if self.deployment.tasks.all().next().is_some() && self.seen.nodes.len() > 1 {
            self.plan.notes.push("each task is run by one manager, the others wait for the same end".into());
        }
        Ok(tasks)
    }
}

/// Every image of the deployment: the service's, and those of tasks.
pub(crate) fn pins<'a>(image: &'a ImageFacts, of_tasks: &'a [(ImageNeed, ImageFacts)]) -> Vec<&'a ImagePin> {
    std::iter::once(image).chain(of_tasks.iter().map(|(_, image)| image)).map(|image| &image.pin).collect()
}
