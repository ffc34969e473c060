//! What an interrupted event left: finish it or undo it, before anything else.
//!
//! The names tell how far a replacement went: the new container is created as `<name>.balehook-new`, the old one is renamed
//! to `<name>.balehook-old`, and the new one takes over the name. A release is good only once it is saved.

use crate::deploy::journal::{JournalV1, Left};
use crate::engine::facts::{ContainerFacts, short_id};
use crate::modes;
use crate::modes::container::operation::ContainerOperation;
use crate::modes::container::replay::journalled;
use crate::modes::container::secrets;
use crate::modes::container::start_first;
use crate::modes::facts::Facts;
use crate::modes::operation::{Action, Operation};
use crate::values::names::{new_name, old_name};
use crate::values::types::Name;

/// What to do first, and what serves after it.
#[derive(Debug, Default)]
pub struct Recovery {
    /// In this order; none where nothing was left.
    pub actions: Vec<Action>,
    /// The container that has the name afterwards, as it will be then.
    pub(crate) serving: Option<ContainerFacts>,
    /// One sentence for a person, where anything was left.
    pub(crate) note: Option<String>,
}

/// Reads the journal; where there is none, the containers' names and the saved releases.
pub(crate) fn recover(name: &Name, facts: &Facts) -> Recovery {
    let mut recovery = match &facts.left {
        Some(Left::Plan(left)) => journalled(name, facts, left),
        Some(Left::Format1(JournalV1 { old, .. })) => by_names(name, facts, Some(old.as_ref())),
        None => by_names(name, facts, None),
    };
    switch_to_serving(name, facts, &mut recovery);
    remove_leftovers(name, facts, &mut recovery);
    check_back(facts, &mut recovery);
    restore_secrets(name, facts, &mut recovery);
    recovery
}

/// Before any container is started that has them mounted.
fn restore_secrets(name: &Name, facts: &Facts, recovery: &mut Recovery) {
    let Some(write) = secrets::restore(facts) else { return };
    recovery.actions.insert(0, write);
    recovery
        .note
        .get_or_insert_with(|| format!("the secrets of {name} are not in memory any more: they are written again"));
}

/// Without a journal, or with one of format 1, which says what served: `old` is its ID, and whether it ran.
fn by_names(name: &Name, facts: &Facts, journal: Option<Option<&(String, bool)>>) -> Recovery {
    let find = |wanted: &str| facts.containers.iter().find(|container| container.name == wanted).cloned();
    let ran = journal.flatten().is_none_or(|(_, ran)| *ran);
    match (find(&old_name(name)), find(name.as_str())) {
        (Some(old), Some(serving)) if is_saved(&serving, facts) => finish(serving, &old),
        (Some(old), serving) => undo(name, facts, old, serving.as_ref(), ran),
        (None, Some(serving)) => settle(name, facts, serving, journal),
        (None, None) => renamed(name, facts),
    }
}

/// The container of the saved release was renamed: it gets its own name back.
fn renamed(name: &Name, facts: &Facts) -> Recovery {
    let Some(found) = facts.containers.iter().find(|container| container.ours && is_saved(container, facts)) else {
        return Recovery::default();
    };
    let rename = ContainerOperation::Rename { container: found.target(), to: name.to_string() };
    Recovery {
        actions: vec![Action::required(rename)],
        note: Some(format!("{} is the container of {name} under another name: it gets its own back", short(found))),
        serving: Some(ContainerFacts { name: name.to_string(), ..found.clone() }),
    }
}

/// What is started again is asked whether it is healthy, once everything else is done.
fn check_back(facts: &Facts, recovery: &mut Recovery) {
    let Some(serving) = &recovery.serving else { return };
    let is_started = |operation: &Operation| match operation {
        Operation::Container(ContainerOperation::Start { container }) => container.id.as_ref() == Some(&serving.id),
        _ => false,
    };
    let check = Operation::from(ContainerOperation::check_back(facts, serving));
    if recovery.actions.iter().any(|action| is_started(&action.operation))
        && !recovery.actions.iter().any(|action| action.operation == check)
    {
        recovery.actions.push(Action::required(check));
    }
}

fn remove_leftovers(name: &Name, facts: &Facts, recovery: &mut Recovery) {
    let is_gone = |container: &ContainerFacts| {
        recovery.actions.iter().any(|action| action.operation == Operation::Container(discard(container)))
    };
    let new = facts.containers.iter().find(|container| container.ours && container.name == new_name(name));
    if let Some(new) = new.filter(|new| matches!(facts.left, None | Some(Left::Format1(_))) && !is_gone(new)) {
        recovery.actions.push(Action::best_effort(discard(new)));
        recovery
            .note
            .get_or_insert_with(|| format!("{} was left by an interrupted deployment and is removed", new.name));
    }
    if let Some(left) = facts.task_containers.first() {
        recovery.actions.splice(0..0, modes::tasks::remove_left(facts));
        recovery.note.get_or_insert_with(|| format!("{left} was left by an interrupted deployment and is removed"));
    }
}

/// Nothing but where the ports lead: to the saved release, whatever it is called now.
pub fn ports(name: &Name, facts: &Facts) -> Recovery {
    let names = [name.to_string(), old_name(name)];
    let is_serving = |container: &&ContainerFacts| names.contains(&container.name) && is_saved(container, facts);
    let mut recovery = Recovery { serving: facts.containers.iter().find(is_serving).cloned(), ..Recovery::default() };
    switch_to_serving(name, facts, &mut recovery);
    close_stale(name, facts, &mut recovery);
    recovery
}

fn is_saved(container: &ContainerFacts, facts: &Facts) -> bool {
    facts.releases.first().is_some_and(|release| release.observed.container == container.id)
}

/// Rules that were flushed, or that lead elsewhere, are written first: the service is back as early as can be.
fn switch_to_serving(name: &Name, facts: &Facts, recovery: &mut Recovery) {
    let (Some(seen), Some(serving)) = (&facts.container.ports, &recovery.serving) else { return };
    let is_switched = recovery.actions.iter().any(|action| matches!(action.operation, Operation::Ports(_)));
    if serving.switched.is_none() || is_switched || seen.behind.as_ref() == Some(&serving.id) {
        return;
    }
    recovery.note.get_or_insert_with(|| format!("the ports of {name} do not lead to it: the rules are written again"));
    let switch = start_first::switch_to(facts, name, Some(serving)).map(Action::required);
    recovery.actions.splice(0..0, switch);
}

/// Rules of a container that was removed lead nowhere, and take the port from the next container that publishes it.
pub(crate) fn close_stale(name: &Name, facts: &Facts, recovery: &mut Recovery) {
    let is_open = facts.container.ports.as_ref().is_some_and(|seen| seen.is_open);
    let is_decided = recovery.actions.iter().any(|action| matches!(action.operation, Operation::Ports(_)));
    if is_open && facts.containers.is_empty() && !is_decided {
        recovery
            .note
            .get_or_insert_with(|| format!("the ports of {name} lead to a container that is gone: they are closed"));
        recovery.actions.extend(start_first::switch_to(facts, name, None).map(Action::required));
    }
}

fn finish(serving: ContainerFacts, old: &ContainerFacts) -> Recovery {
    // Only where the ports were switched it still runs.
    let grace = old.stop_grace;
    let stop = old.is_running().then(|| ContainerOperation::Stop { container: old.target(), grace });
    Recovery {
        actions: stop.into_iter().chain([remove(old)]).map(Action::best_effort).collect(),
        note: Some(format!("the release of {} is saved; the old container it replaced is removed", serving.name)),
        serving: Some(serving),
    }
}

fn undo(name: &Name, facts: &Facts, old: ContainerFacts, unchecked: Option<&ContainerFacts>, ran: bool) -> Recovery {
    let mut operations = Vec::new();
    // As long as the ports may lead to it, it runs on under another name.
    let beside = unchecked.filter(|unchecked| unchecked.switched.is_some());
    match (unchecked, beside) {
        (Some(unchecked), Some(_)) => {
            operations.push(ContainerOperation::Rename { container: unchecked.target(), to: new_name(name) });
        }
        (Some(unchecked), None) => operations.push(discard(unchecked)),
        (None, _) => {}
    }
    let back = ContainerFacts { name: name.to_string(), ..old.clone() };
    operations.push(ContainerOperation::Rename { container: old.target(), to: name.to_string() });
    let mut recovery = restart(back, operations, ran);
    let switch = start_first::switch_to(facts, name, recovery.serving.as_ref());
    recovery.actions.extend(switch.map(Action::required));
    if let Some(beside) = beside {
        let beside = ContainerFacts { name: new_name(name), ..beside.clone() };
        recovery.actions.push(Action::required(discard(&beside)));
    }
    recovery.note = Some(format!("an interrupted deployment had renamed {}; it is put back first", short(&old)));
    recovery
}

/// Nothing was being replaced, or the first deployment was interrupted, or it was interrupted while the old one stopped.
fn settle(name: &Name, facts: &Facts, serving: ContainerFacts, journal: Option<Option<&(String, bool)>>) -> Recovery {
    match journal {
        Some(None) if serving.ours && !is_saved(&serving, facts) => {
            let remove = Action::required(discard(&serving));
            Recovery {
                actions: [remove]
                    .into_iter()
                    .chain(start_first::switch_to(facts, name, None).map(Action::required))
                    .collect(),
                note: Some(format!(
                    "{} was never healthy: its deployment was interrupted; it is removed",
                    serving.name
                )),
                serving: None,
            }
        }
        Some(Some((id, true))) if *id == serving.id && !serving.is_running() => {
            let mut recovery = restart(serving, Vec::new(), true);
            recovery.note = Some("an interrupted deployment had stopped the old container; it is started first".into());
            recovery
        }
        // The new one is created before the old one is stopped: beside it, the stop was ours.
        None if !serving.is_running() && has_new(name, facts) => {
            let mut recovery = restart(serving, Vec::new(), true);
            recovery.note =
                Some("a deployment that left no record had stopped the old container; it is started first".into());
            recovery
        }
        None | Some(_) => Recovery { serving: Some(serving), ..Recovery::default() },
    }
}

fn has_new(name: &Name, facts: &Facts) -> bool {
    facts.containers.iter().any(|container| container.ours && container.name == new_name(name))
}

fn restart(mut back: ContainerFacts, mut operations: Vec<ContainerOperation>, ran: bool) -> Recovery {
    if ran {
        operations.push(ContainerOperation::Start { container: back.target() });
        back.state = "running".into();
    }
    let actions = operations.into_iter().map(Action::required).collect();
    Recovery { actions, serving: Some(back), note: None }
}

/// Removes a container that has served; its anonymous volumes stay.
pub(crate) fn remove(container: &ContainerFacts) -> ContainerOperation {
    ContainerOperation::Remove { container: container.target(), volumes: false }
}

/// Removes a container that was never healthy, with the anonymous volumes that it alone has.
fn discard(container: &ContainerFacts) -> ContainerOperation {
    ContainerOperation::Remove { container: container.target(), volumes: container.ours }
}

fn short(container: &ContainerFacts) -> String {
    format!("{} ({})", container.name, short_id(&container.id))
}
