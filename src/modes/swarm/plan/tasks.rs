//! Tasks around a swarm's service, and the images that they have of their own.

use crate::deploy::origin::MANUAL;
use crate::error::Failure;
use crate::images::facts::ImageFacts;
use crate::modes;
use crate::modes::images::{Images, Imports};
use crate::modes::operation::{Action, Operation, Undo};
use crate::modes::swarm::facts::{Role, ServiceFacts, TaskLockFacts};
use crate::modes::swarm::operation::{ServiceRequest, SwarmOperation};
use crate::modes::swarm::plan::Planner;
use crate::modes::swarm::task;
use crate::modes::tasks::TaskActions;
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_SPEC};

impl<'a> Planner<'a> {
    /// The wanted image with those that tasks have of their own; a worker runs no tasks.
    pub(crate) fn images(&mut self, own: &'a ImageFacts) -> Result<Images<'a>, Failure> {
        let of_tasks = match self.seen.role {
            Role::Worker => Vec::new(),
            Role::Manager | Role::Outside | Role::Unusable(_) => {
                modes::tasks::images(&mut self.plan, self.deployment, self.facts)?
            }
        };
        Ok(Images { own, of_tasks })
    }

    pub(crate) fn import_images(&mut self, images: &Images<'_>) -> Result<Imports, Failure> {
        images.import(&mut self.plan, self.deployment, &self.swarm.need(), self.facts)
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
        let removed = self.remove_locks(same);
        self.plan.actions.splice(0..0, removed);
        if same && !self.is_late(request) {
            return Ok(TaskActions::default());
        }
        let mut tasks = task::Planner { of: self, service: request, image, imports }.around()?;
        if same {
            let (service, spec) = (self.name(), request.digest.clone());
            let back = Operation::Swarm(SwarmOperation::Rollback { service, spec });
            tasks.healthy.retain(|action| !action.best_effort);
            tasks.healthy.iter_mut().for_each(|action| action.undo.push(Undo::from(back.clone())));
            return Ok(TaskActions { healthy: tasks.healthy, ..TaskActions::default() });
        }
        if self.deployment.tasks.all().next().is_some() && self.seen.nodes.len() > 1 {
            self.plan.notes.push("each task is run by one manager, the others wait for its result".into());
        }
        Ok(tasks)
    }

    /// Earlier locks go first: every one of this node's, because a killed hook may have left it, and those that say how a
    /// task of another deployment ended. Where the service stays as it is, only what still runs here.
    fn remove_locks(&self, unchanged: bool) -> Vec<Action> {
        let is_over = |lock: &&TaskLockFacts| {
            let of_another = lock.deployment != self.origin.deployment || self.origin.deployment == MANUAL;
            let of_this_node = lock.node == self.seen.node;
            if unchanged { of_this_node && !lock.has_ended } else { of_this_node || (lock.has_ended && of_another) }
        };
        let removed = self
            .seen
            .task_locks
            .iter()
            .filter(is_over)
            .map(|lock| SwarmOperation::RemoveTaskLock { service: lock.service.clone(), id: lock.id.clone() });
        removed.map(Action::best_effort).collect()
    }
}
