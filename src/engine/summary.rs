//! What a list of containers says of each, and an inspection of one.

use std::path::PathBuf;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerSummary, MountPoint};

use crate::engine::facts::{ContainerFacts, short_id};
use crate::values::forward::SwitchedPorts;
use crate::values::labels::{
    COMPOSE_SERVICE, LABEL_DEPLOYMENT, LABEL_DIGEST, LABEL_FILES, LABEL_NAME, LABEL_SPEC, LABEL_TASK,
};
use crate::values::mounted;
use crate::values::types::{Name, STOP_GRACE};
use crate::values::volume::AnonymousVolume;

/// The container's own name, without the slash.
pub(crate) fn name_of(summary: &ContainerSummary) -> String {
    let names = summary.names.iter().flatten();
    // A linked container is listed with `/other/alias` too: its own name has one slash only.
    let own = names.filter_map(|name| name.strip_prefix('/')).find(|name| !name.contains('/'));
    own.unwrap_or_default().to_owned()
}

pub(crate) fn label(summary: &ContainerSummary, key: &str) -> Option<String> {
    summary.labels.as_ref()?.get(key).cloned()
}

pub(crate) fn is_labelled(summary: &ContainerSummary, name: &Name) -> bool {
    label(summary, LABEL_NAME).as_deref() == Some(name.as_str())
}

/// Whether it is the container of a task of this deployment's name: never the service's own.
pub(crate) fn is_of_a_task(summary: &ContainerSummary, name: &Name) -> bool {
    label(summary, LABEL_TASK).is_some() && is_labelled(summary, name)
}

pub(crate) fn task_containers(all: &[ContainerSummary], name: &Name) -> Vec<String> {
    all.iter().filter(|summary| is_of_a_task(summary, name)).map(name_of).collect()
}

/// As a person reads it: `container db (0123456789ab)`.
pub(crate) fn describe(summary: &ContainerSummary) -> String {
    let id = summary.id.as_deref().unwrap_or_default();
    format!("container {} ({})", name_of(summary), short_id(id))
}

pub(crate) fn container_facts(inspected: ContainerInspectResponse, name: &Name) -> ContainerFacts {
    let config = inspected.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let label = |key: &str| labels.get(key).cloned();
    let seconds = config.stop_timeout.and_then(|seconds| u64::try_from(seconds).ok());
    let state = inspected.state.unwrap_or_default();
    let id = inspected.id.unwrap_or_default();
    // `containers/ID/hostname` in the engine's data root; of a container in another one's network that one's.
    let kept = inspected.hostname_path.filter(|path| !path.is_empty()).map(PathBuf::from);
    let folder = kept.and_then(|path| Some(path.parent()?.parent()?.join(&id)));
    ContainerFacts {
        id,
        name: inspected.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        ours: label(LABEL_NAME).as_deref() == Some(name.as_str()),
        state: state.status.map(|status| status.to_string()).unwrap_or_default(),
        pid: state.pid.filter(|pid| *pid > 0),
        files: mounted::from_label(label(LABEL_FILES)),
        files_now: Vec::new(),
        spec: label(LABEL_SPEC),
        digest: label(LABEL_DIGEST),
        deployment: label(LABEL_DEPLOYMENT),
        stop_grace: seconds.map_or(STOP_GRACE, Duration::from_secs),
        switched: SwitchedPorts::from_labels(label),
        image: config.image.unwrap_or_default(),
        service: label(COMPOSE_SERVICE),
        stopped_by_hand: false,
        folder,
        volumes: anonymous_volumes(inspected.mounts.unwrap_or_default()),
        auto_remove: inspected.host_config.and_then(|host| host.auto_remove).unwrap_or_default(),
    }
}

pub(crate) fn anonymous_volumes(mounts: Vec<MountPoint>) -> Vec<AnonymousVolume> {
    let volumes = mounts.into_iter().filter(|mount| mount.typ.as_deref() == Some("volume"));
    let mut found: Vec<_> = volumes.filter_map(|mount| AnonymousVolume::new(mount.name?, mount.destination?)).collect();
    // The engine lists them as its map has them.
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}
