//! Tasks around a swarm's service: each is run by one manager, the others wait for the same end.
//!
//! A container is run by a service of the swarm, because only a service gets overlay networks, secrets and configs. That
//! service is the task's lock at the same time: see [`task_lock`](super::task_lock). A command of the host has a service
//! that runs nothing.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::ImageSource;
use crate::config::task::{InContainer, Task, Work};
use crate::error::{Failure, Kind};
use crate::images::facts::ImageFacts;
use crate::modes;
use crate::modes::images::Imports;
use crate::modes::swarm::operation::{ServiceRequest, SwarmOperation};
use crate::modes::swarm::plan;
use crate::modes::tasks::{TaskActions, environment, host_command};
use crate::tasks::operation::HostCommand;
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_DIGEST, LABEL_NAME, LABEL_NODE, LABEL_REVISION, LABEL_TASK};
use crate::values::options::SetOption;
use crate::values::types::{ContentDigest, Name};

/// Letters of a task's name in its service's, which may have 63.
const LETTERS: usize = 36;

/// How long a task's container may take to stop, in nanoseconds.
const GRACE: u64 = 1_000_000_000;

/// A task that is run once in a swarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SwarmTask {
    /// What decides which manager runs it.
    pub task_lock: TaskLock,
    /// What is run.
    pub work: SwarmWork,
    /// How long it may run.
    pub timeout: Duration,
}

/// What a task of a swarm runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwarmWork {
    /// A container of a service of the swarm, which bears the lock's name.
    Service(Box<ServiceRequest>),
    /// A command on the host of the manager that takes the lock.
    Command(HostCommand),
}

/// A service of the swarm: who creates it runs the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLock {
    /// Its name.
    pub service: String,
    /// The task's name.
    pub task: String,
    pub(crate) owner: String,
    pub(crate) deployment: String,
}

/// What tasks of a swarm are planned from: `service` is the wanted one.
pub(crate) struct Planner<'a> {
    pub(crate) of: &'a plan::Planner<'a>,
    pub(crate) service: &'a ServiceRequest,
    pub(crate) image: &'a ImageFacts,
    pub(crate) imports: &'a Imports,
}

impl Planner<'_> {
    pub(crate) fn around(&self) -> Result<TaskActions, Failure> {
        TaskActions::each(&self.of.deployment.tasks, |task| {
            let task_lock = self.task_lock(task);
            let work = match &task.work {
                Work::Container(inside) => SwarmWork::Service(Box::new(self.request(task, inside, &task_lock)?)),
                Work::Command(command) => SwarmWork::Command(host_command(task, command)),
            };
            let if_lost = match &work {
                SwarmWork::Service(request) => self.imports.if_lost_of(&request.image),
                SwarmWork::Command(_) => Vec::new(),
            };
            let undo = SwarmOperation::EndTask(task_lock.clone());
            let run = SwarmOperation::RunTask(Box::new(SwarmTask { task_lock, work, timeout: task.timeout }));
            Ok(modes::tasks::action(task, run, undo).repaired_by(&[Kind::Image], if_lost))
        })
    }

    fn task_lock(&self, task: &Task) -> TaskLock {
        let (owner, deployment) = (self.of.deployment.name.to_string(), self.of.origin.deployment.clone());
        let key = format!("{owner}\n{deployment}\n{}\n{}", task.name, self.service.digest);
        let key = ContentDigest::of(key.as_bytes());
        TaskLock { service: service_name(&task.name, key.short()), task: task.name.to_string(), owner, deployment }
    }

    fn request(&self, task: &Task, inside: &InContainer, task_lock: &TaskLock) -> Result<ServiceRequest, Failure> {
        let (image, registry) = match (task.need(), &inside.image) {
            (Some(need), Some(ImageSource::Registry(reference, ..))) => {
                let registry = self.of.swarm.with_registry_auth.then(|| reference.registry().to_owned());
                (self.of.facts.image(&need.key(&self.of.deployment.bundle_root))?, registry)
            }
            (Some(need), _) => (self.of.facts.image(&need.key(&self.of.deployment.bundle_root))?, None),
            (None, _) => (self.image, self.service.registry.clone()),
        };
        Ok(ServiceRequest {
            name: task_lock.service.clone(),
            image: image.pin.clone(),
            spec: json!({
                "Name": task_lock.service,
                "Labels": self.labels(task_lock, image),
                // No replicated job: 20.10 goes on running the task of one that was removed.
                "Mode": { "Replicated": { "Replicas": 1 } },
                "TaskTemplate": self.template(inside),
            }),
            environment: environment(&self.service.environment, &task.environment),
            registry,
            digest: self.service.digest.clone(),
            before: None,
            began: None,
        })
    }

    fn labels(&self, task_lock: &TaskLock, image: &ImageFacts) -> Value {
        json!({
            LABEL_NAME: task_lock.owner,
            LABEL_DEPLOYMENT: task_lock.deployment,
            LABEL_REVISION: self.of.origin.revision,
            LABEL_DIGEST: image.pin.label(&image.pin.identity()),
            LABEL_TASK: task_lock.task,
            LABEL_NODE: self.of.seen.node,
        })
    }

    /// The service's own template, without what would let clients find the task in the service's place.
    fn template(&self, inside: &InContainer) -> Value {
        let service = &self.service.spec["TaskTemplate"];
        let networks = service["Networks"].as_array().into_iter().flatten();
        let networks: Vec<Value> = networks.map(|network| without(network, &["Aliases"])).collect();
        let mut template = without(service, &["Networks", "Placement", "ForceUpdate", "RestartPolicy"]);
        template["ContainerSpec"] = container(&service["ContainerSpec"], inside);
        template["RestartPolicy"] = json!({ "Condition": "none" });
        if !networks.is_empty() {
            template["Networks"] = networks.into();
        }
        if service["Resources"].is_object() {
            template["Resources"] = without(&service["Resources"], &["Reservations"]);
        }
        let placement = self.placement(&service["Placement"]);
        if placement.as_object().is_some_and(|entries| !entries.is_empty()) {
            template["Placement"] = placement;
        }
        template
    }

    /// On this node, where the image is; where it takes no tasks, on those that the service's tasks may run on.
    fn placement(&self, service: &Value) -> Value {
        match (self.of.seen.node.as_str(), self.of.seen.is_drained) {
            ("", _) => Value::Null,
            (node, false) => json!({ "Constraints": [format!("node.id=={node}")] }),
            (_, true) => without(service, &["MaxReplicas"]),
        }
    }
}

/// A service's name may have letters, digits, `-` and `_`, and begins and ends with one of the first two.
fn service_name(task: &Name, digits: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let readable: String = task.as_str().chars().take(LETTERS).map(plain).collect();
    format!("balehook-task-{readable}-{digits}")
}

fn without(value: &Value, names: &[&str]) -> Value {
    let entries = value.as_object().into_iter().flatten();
    let kept = entries.filter(|(name, _)| !names.contains(&name.as_str()));
    Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

/// What the container runs. The service's own command, user and folder mean nothing to another image.
fn container(service: &Value, inside: &InContainer) -> Value {
    let mut container = without(service, &["Labels", "TTY", "OpenStdin"]);
    if inside.image.is_some() {
        container = without(&container, &["Command", "Args", "User", "Dir"]);
    }
    if inside.entrypoint.is_some() {
        // As everywhere: another entrypoint takes the command away.
        container = without(&container, &["Args"]);
    }
    for (key, words) in [("Command", &inside.entrypoint), ("Args", &inside.command)] {
        if let Some(words) = words {
            container[key] = words.clone().into();
        }
    }
    if let Some(user) = &inside.user {
        container["User"] = user.clone().into();
    }
    container["Healthcheck"] = json!({ "Test": ["NONE"] });
    container["StopGracePeriod"] = GRACE.into();
    container
}

impl SwarmTask {
    pub(crate) fn options(&self) -> Vec<SetOption> {
        match &self.work {
            SwarmWork::Service(request) => request.options(),
            SwarmWork::Command(_) => Vec::new(),
        }
    }

    pub(crate) fn title(&self) -> String {
        match &self.work {
            SwarmWork::Service(_) => self.to_string(),
            SwarmWork::Command(command) => format!("task {}: {command}", self.task_lock.task),
        }
    }
}

impl fmt::Display for SwarmTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (task, seconds) = (&self.task_lock.task, self.timeout.as_secs());
        match &self.work {
            SwarmWork::Service(request) => {
                let (service, image) = (&request.name, request.image.describe());
                write!(f, "task {task}: run service {service} from {image} once, within {seconds}s")
            }
            SwarmWork::Command(command) => write!(f, "timeout {seconds} {command}"),
        }
    }
}
