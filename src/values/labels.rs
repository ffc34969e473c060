//! The labels of containers, services and networks: the truth about what runs.

/// Label: the deployment's `name`.
pub const LABEL_NAME: &str = "balehook.name";

/// Label: CodeDeploy's deployment ID.
pub(crate) const LABEL_DEPLOYMENT: &str = "balehook.deployment";

/// Label: where the revision came from.
pub(crate) const LABEL_REVISION: &str = "balehook.revision";

/// Label: the digest of the image that runs.
pub(crate) const LABEL_DIGEST: &str = "balehook.digest";

/// Label: a digest of all options, so that an unchanged release is recognised.
pub(crate) const LABEL_SPEC: &str = "balehook.spec";

/// Label: the files of this host that it was given, with their inodes and digests.
pub(crate) const LABEL_FILES: &str = "balehook.files";

/// Label: the host ports that the kernel forwards to the container, as `80->8080/tcp`, separated by spaces.
pub(crate) const LABEL_PORTS: &str = "balehook.ports";

/// Label: its fixed address on our network; behind a comma the IPv6 one.
pub(crate) const LABEL_ADDRESS: &str = "balehook.address";

/// Label: the name of the task that a container was made for, or `try` for one that never runs; none on the service's own.
pub(crate) const LABEL_TASK: &str = "balehook.task";

/// Label of a service: how many tasks it had when a person stopped it.
pub const LABEL_STOPPED: &str = "balehook.stopped";

pub(crate) const LABELS: [&str; 15] = [
    LABEL_NAME, LABEL_DEPLOYMENT, LABEL_REVISION, LABEL_DIGEST, LABEL_SPEC, LABEL_FILES, LABEL_TASK, LABEL_PORTS,
    LABEL_ADDRESS, LABEL_REGISTRY, LABEL_CHECKS, LABEL_NODE, LABEL_OUTCOME, LABEL_MESSAGE, LABEL_STOPPED,
];

/// Compose's label: the project's name.
pub(crate) const COMPOSE_PROJECT: &str = "com.docker.compose.project";

/// Compose's label: the service's name.
pub(crate) const COMPOSE_SERVICE: &str = "com.docker.compose.service";

/// Compose's label: `True` on what `run` made.
pub(crate) const COMPOSE_ONE_OFF: &str = "com.docker.compose.oneoff";

/// The engine's label of a swarm task's container: the service's name.
pub(crate) const SWARM_SERVICE: &str = "com.docker.swarm.service.name";

/// Label of a service: the registry whose token its nodes need.
pub(crate) const LABEL_REGISTRY: &str = "balehook.registry";

/// Label of a service that only checks which nodes have an image: the name of the service it is for.
pub(crate) const LABEL_CHECKS: &str = "balehook.checks";

/// Label of a task's service in a swarm: the ID of the node whose hook runs the task.
pub(crate) const LABEL_NODE: &str = "balehook.node";

/// Label of a task's service: `done` or `failed`, once the task has ended.
pub(crate) const LABEL_OUTCOME: &str = "balehook.outcome";

/// Label of a task's service: how the task failed, and below that its last lines.
pub(crate) const LABEL_MESSAGE: &str = "balehook.message";
