//! What the swarm is given for the service, and the release that is saved of it.

use crate::config::ImageSource;
use crate::config::swarm::{MountedFile, Order};
use crate::engine::facts::short_id;
use crate::images::facts::ImageFacts;
use crate::modes::swarm::operation::{NodeCheck, ServiceRequest, SwarmOperation};
use crate::modes::swarm::plan::service_spec::SpecContext;
use crate::modes::swarm::plan::{Planner, drift, service_spec};
use crate::values::labels::{
    LABEL_CHECKS, LABEL_DEPLOYMENT, LABEL_DIGEST, LABEL_NAME, LABEL_REGISTRY, LABEL_REVISION, LABEL_SPEC, LABEL_STOPPED,
};
use serde_json::{Value, json};

impl Planner<'_> {
    /// An archive's image is in no registry: a node that lacks it could not run the task.
    pub(super) fn check_nodes(&mut self, image: &ImageFacts, digest: &str) {
        // Where this node is drained, the only node that takes tasks is another one.
        let is_here_alone = self.seen.nodes.len() < 2 && !self.seen.is_drained;
        if !matches!(self.swarm.image, ImageSource::Archive { .. }) || is_here_alone {
            return;
        }
        let name = format!("balehook-check-{}-{}", self.deployment.name, short_id(&self.seen.node));
        // A command that no image has: the container is created, which needs the image, and nothing runs.
        let spec = json!({
            "Name": name,
            "Labels": { LABEL_CHECKS: self.name(), LABEL_SPEC: digest },
            "Mode": { "Global": {} },
            "TaskTemplate": {
                "ContainerSpec": { "Command": ["/balehook-never-runs"] },
                "Placement": service_spec::placement(self.swarm),
                "RestartPolicy": { "Condition": "none" },
            },
        });
        let patience = self.deployment.health.timeout;
        let undo = SwarmOperation::Remove { service: name.clone(), spec: digest.to_owned() };
        let check = SwarmOperation::CheckNodes(Box::new(NodeCheck { name, image: image.pin.clone(), spec, patience }));
        self.plan.undoable(check, [undo]);
    }

    pub(super) fn note_changes(&mut self, request: &ServiceRequest) {
        let Some(service) = &self.seen.service else { return };
        let name = &self.deployment.name;
        if service.spec.label(LABEL_NAME) != Some(name.as_str()) {
            self.plan.notes.push(format!("service {name} is not managed by balehook: it is taken over"));
        }
        for set in drift::by_hand(request, &self.seen, &self.facts.releases) {
            self.plan.notes.push(format!("{} {}: set by hand, is overwritten", set.name, set.value));
        }
        self.plan.changed_options = drift::changed_options(request, &self.seen, &self.facts.releases);
        self.plan.compared_with = Some(format!("service {name} as it is now"));
        let update = &self.swarm.deploy.update;
        if update.order == Order::StopFirst {
            let one = "each task is stopped before the new one starts; with one task the service is down meanwhile";
            self.plan.interruption = one.to_owned();
        }
    }

    /// How many tasks a service had that a person has stopped: a deployment starts them again.
    fn stopped(&self) -> Option<u64> {
        self.seen.service.as_ref()?.spec.label(LABEL_STOPPED)?.parse().ok()
    }

    pub(super) fn request(&self, image: &ImageFacts) -> ServiceRequest {
        let live = self.seen.service.as_ref().map(|service| service.spec.reveal());
        let number = |path: &str| live.and_then(|spec| spec.pointer(path)).and_then(Value::as_u64);
        let (name, file_name) = (self.name(), |file: &MountedFile| self.file_name(file));
        let around = SpecContext {
            name: &name,
            replicas: self.stopped().or_else(|| number("/Mode/Replicated/Replicas")).unwrap_or(1),
            force: number("/TaskTemplate/ForceUpdate").unwrap_or(0),
            file_name: &file_name,
        };
        let mut spec = service_spec::service_spec(self.swarm, &around);
        let environment = self.facts.environment.yes().cloned().unwrap_or_default();
        let digest = drift::digest(&image.pin, &spec, &environment, self.swarm.deploy.replicas.is_some());
        let registry = match &self.swarm.image {
            ImageSource::Registry(reference, ..) if self.swarm.with_registry_auth => {
                Some(reference.registry().to_owned())
            }
            ImageSource::Registry(..) | ImageSource::Archive { .. } => None,
        };
        let labels = &mut spec["Labels"];
        labels[LABEL_DEPLOYMENT] = self.origin.deployment.clone().into();
        labels[LABEL_REVISION] = self.origin.revision.clone().into();
        labels[LABEL_DIGEST] = image.pin.label(&image.pin.identity()).into();
        labels[LABEL_SPEC] = digest.clone().into();
        if let Some(registry) = &registry {
            labels[LABEL_REGISTRY] = registry.clone().into();
        }
        let before = self.seen.service.as_ref().and_then(|service| service.spec.label(LABEL_SPEC));
        let before = before.map(str::to_owned);
        let began = self.seen.service.as_ref().and_then(|service| service.began.clone());
        ServiceRequest { name, image: image.pin.clone(), spec, environment, registry, digest, before, began }
    }
}
