//! What the journal of an interrupted event says is left to do, as far as its containers are still there.

use crate::deploy::journal::Interrupted;
use crate::deploy::plan::Old;
use crate::engine::facts::ContainerFacts;
use crate::modes;
use crate::modes::container::operation::ContainerOperation;
use crate::modes::container::recover::Recovery;
use crate::modes::container::replace::anew;
use crate::modes::facts::Facts;
use crate::modes::operation::{Action, Operation};
use crate::values::target::Target;
use crate::values::types::Name;

/// What the journal says, as far as its containers are still there.
pub(super) fn journalled(name: &Name, facts: &Facts, left: &Interrupted<Operation>) -> Recovery {
    let mut containers = facts.containers.clone();
    let old = match &left.journal.old {
        Old::Running(old) | Old::Stopped(old) => old.id.as_deref(),
        Old::Nothing | Old::NotObserved => None,
    };
    let operations = left.operations().into_iter().flat_map(|operation| {
        // One that was not healthy may have ended since.
        let start = start_again(&operation, &containers).filter(|start| apply(name, start, &mut containers, old));
        start.into_iter().chain(apply(name, &operation, &mut containers, old).then_some(operation)).collect::<Vec<_>>()
    });
    // Once the release is saved nothing can fail it any more.
    let action = if left.is_saved { Action::best_effort } else { Action::required };
    let actions: Vec<Action> = operations.map(|operation| modes::images::restoring(action(operation), facts)).collect();
    let deployment = &left.journal.deployment;
    let note = match (actions.is_empty(), left.is_saved) {
        (true, _) => None,
        (false, true) => {
            Some(format!("deployment {deployment} was interrupted after its release was saved: it is finished"))
        }
        (false, false) => Some(format!("deployment {deployment} was interrupted: what it had begun is undone first")),
    };
    let serving = containers.into_iter().find(|container| container.name == name.as_str());
    Recovery { actions, serving, note }
}

/// What starts a container before it is asked whether it is healthy.
fn start_again(operation: &Operation, containers: &[ContainerFacts]) -> Option<Operation> {
    let Operation::Container(ContainerOperation::CheckHealth { container, .. }) = operation else { return None };
    let found = containers.iter().find(|found| container.id.as_ref() == Some(&found.id))?;
    (!found.is_running()).then(|| Operation::start_container(found.target()))
}

/// What an operation makes of the containers; whether there is anything for it to do. `old` is the ID of the container that
/// served: an operation that names a container without an ID means the new one, and never that.
fn apply(name: &Name, operation: &Operation, containers: &mut Vec<ContainerFacts>, old: Option<&str>) -> bool {
    let Operation::Container(operation) = operation else { return true };
    let place = |containers: &[ContainerFacts], target: &Target| {
        containers.iter().position(|found| match &target.id {
            Some(id) => found.id == *id,
            None => found.name == target.name && Some(found.id.as_str()) != old,
        })
    };
    match operation {
        ContainerOperation::Rename { container, to } => {
            let Some(found) = place(containers, container).filter(|found| containers[*found].name != *to) else {
                return false;
            };
            containers[found].name.clone_from(to);
        }
        ContainerOperation::Remove { container, .. } => {
            let Some(found) = place(containers, container) else { return false };
            containers.remove(found);
        }
        ContainerOperation::Recreate { container, spec } => {
            if place(containers, container).is_some() {
                return false;
            }
            containers.push(anew(name, container, spec));
        }
        ContainerOperation::Start { container } => {
            let Some(found) = place(containers, container) else { return false };
            containers[found].state = "running".into();
        }
        ContainerOperation::Kill { container } | ContainerOperation::Stop { container, .. } => {
            let Some(found) = place(containers, container).filter(|found| containers[*found].is_running()) else {
                return false;
            };
            containers[found].state = "exited".into();
        }
        ContainerOperation::CheckHealth { container, .. } => return place(containers, container).is_some(),
        ContainerOperation::Create(_)
        | ContainerOperation::SaveRelease { .. }
        | ContainerOperation::WriteSecrets(_)
        | ContainerOperation::RemoveSecrets { .. } => {}
    }
    true
}
