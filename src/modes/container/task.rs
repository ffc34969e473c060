//! Tasks around a deployment in container mode: the container that one of them is run in.
//!
//! A task runs beside what serves. Its container has the service's options, except those that identify the service:
//! ports, network aliases, fixed addresses, labels.

use std::collections::HashMap;

use bollard::models::{EndpointSettings, HealthConfig};

use crate::config::task::{InContainer, Task};
use crate::engine::request::{ContainerOptions, ContainerSpec};
use crate::error::{Failure, Kind};
use crate::images::facts::ImageFacts;
use crate::modes::container::plan::Planner;
use crate::modes::create;
use crate::modes::images::Imports;
use crate::modes::operation::Action;
use crate::modes::tasks::{TaskActions, action, container_name, environment};
use crate::tasks::operation::TaskOperation;
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_DIGEST, LABEL_NAME, LABEL_REVISION, LABEL_TASK};

impl Planner<'_> {
    pub(super) fn tasks(&self, image: &ImageFacts, imports: &Imports) -> Result<TaskActions, Failure> {
        TaskActions::of(&self.deployment.tasks, |task, inside| {
            let of_service = inside.image.is_none();
            let image = match task.need() {
                Some(need) => self.facts.image(&need.key(&self.deployment.bundle_root))?,
                None => image,
            };
            let mut options = create::options(&self.container.service, self.facts);
            beside(&mut options);
            run(&mut options, inside, of_service);
            options.body.labels = Some(self.task_labels(image, task));
            let of_the_service = self.facts.environment.yes().map(Vec::as_slice).unwrap_or_default();
            let user = options.body.user.clone();
            let spec = ContainerSpec {
                name: container_name(&self.deployment.name, &task.name),
                image: image.pin.clone(),
                options,
                environment: environment(of_the_service, &task.environment),
                if_declared: Vec::new(),
                secrets: self.secret_set(&image.pin, user.as_ref(), "task-"),
            };
            Ok(in_container(task, spec).repaired_by(&[Kind::Image], imports.if_lost_of(&image.pin)))
        })
    }

    fn task_labels(&self, image: &ImageFacts, task: &Task) -> HashMap<String, String> {
        let labels = [
            (LABEL_NAME, self.deployment.name.to_string()),
            (LABEL_DEPLOYMENT, self.origin.deployment.clone()),
            (LABEL_REVISION, self.origin.revision.clone()),
            (LABEL_DIGEST, image.pin.label(&image.pin.identity())),
            (LABEL_TASK, task.name.to_string()),
        ];
        labels.into_iter().map(|(label, value)| (label.to_owned(), value)).collect()
    }
}

fn in_container(task: &Task, spec: ContainerSpec) -> Action {
    let undo = TaskOperation::Remove { container: spec.name.clone() };
    let (name, timeout) = (task.name.to_string(), task.timeout);
    action(task, TaskOperation::Container { name, spec: Box::new(spec), timeout }, undo)
}

/// What the container runs. The service's own command, user and folder mean nothing to another image.
fn run(options: &mut ContainerOptions, inside: &InContainer, of_service: bool) {
    let body = &mut options.body;
    if !of_service {
        (body.cmd, body.entrypoint, body.user, body.working_dir) = (None, None, None, None);
        options.platform = None;
    }
    // As everywhere: another entrypoint takes the command away.
    body.cmd = inside.command.clone().or_else(|| body.cmd.take().filter(|_| inside.entrypoint.is_none()));
    body.entrypoint = inside.entrypoint.clone().or_else(|| body.entrypoint.take());
    body.user = inside.user.clone().or_else(|| body.user.take());
}

/// Takes away what belongs to the container that serves: who looks for that one must not find the task.
fn beside(options: &mut ContainerOptions) {
    let body = &mut options.body;
    body.exposed_ports = None;
    body.healthcheck = Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() });
    (body.open_stdin, body.tty) = (None, None);
    let host = body.host_config.get_or_insert_default();
    (host.port_bindings, host.publish_all_ports, host.restart_policy) = (None, None, None);
    let endpoints = body.networking_config.iter_mut().flat_map(|config| config.endpoints_config.iter_mut()).flatten();
    endpoints.for_each(|(_, endpoint)| *endpoint = nameless(endpoint));
    options.extra_networks.iter_mut().for_each(|(_, endpoint)| *endpoint = nameless(endpoint));
}

/// A place in a network without names and fixed addresses.
fn nameless(endpoint: &EndpointSettings) -> EndpointSettings {
    EndpointSettings { driver_opts: endpoint.driver_opts.clone(), ..EndpointSettings::default() }
}
