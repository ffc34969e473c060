//! What an interrupted event left: finish it or undo it, before anything else.
//!
//! The names tell how far a swap went: the new container is created as `<name>.balehook-new`, the old one is renamed
//! to `<name>.balehook-old`, and the new one takes over the name. A release is proven only once it is on record.

use crate::deploy::plan::Action;
use crate::engine::facts::ContainerFacts;
use crate::engine::request::Target;
use crate::modes;
use crate::modes::container::start_first;
use crate::modes::facts::Facts;
use crate::modes::operation::Operation;
use crate::values::names::{new_name, old_name};
use crate::values::types::Name;

/// What to do first, and who serves after it.
#[derive(Debug, Default)]
pub struct Recovery {
    /// The steps; none where nothing was left.
    pub actions: Vec<Action>,
    /// The container that bears the name afterwards, as it will be then.
    pub serving: Option<ContainerFacts>,
    /// One sentence for the person, where anything was left.
    pub note: Option<String>,
}

/// Reads the containers' names, the record and the journal.
pub fn recover(name: &Name, facts: &Facts) -> Recovery {
    let find = |wanted: &str| facts.containers.iter().find(|container| container.name == wanted).cloned();
    let (serving, new, old) = (find(name.as_str()), find(&new_name(name)), find(&old_name(name)));
    let mut recovery = match (old, serving) {
        (Some(old), Some(serving)) if is_recorded(&serving, facts) => finish(serving, &old),
        (Some(old), serving) => undo(name, facts, old, serving.as_ref()),
        (None, Some(serving)) => settle(name, facts, serving),
        (None, None) => Recovery::default(),
    };
    switch_to_serving(name, facts, &mut recovery);
    if let Some(new) = new {
        recovery.actions.push(Action::best_effort(remove(&new)));
        recovery
            .note
            .get_or_insert_with(|| format!("{} was left by an interrupted deployment and is removed", new.name));
    }
    if let Some(left) = facts.task_containers.first() {
        recovery.actions.splice(0..0, modes::tasks::remove_left(facts));
        recovery.note.get_or_insert_with(|| format!("{left} was left by an interrupted deployment and is removed"));
    }
    recovery
}

/// Nothing but where the ports lead: to the release on record, whatever it is called now.
pub fn ports(name: &Name, facts: &Facts) -> Recovery {
    let names = [name.to_string(), old_name(name)];
    let is_serving = |container: &&ContainerFacts| names.contains(&container.name) && is_recorded(container, facts);
    let mut recovery = Recovery { serving: facts.containers.iter().find(is_serving).cloned(), ..Recovery::default() };
    switch_to_serving(name, facts, &mut recovery);
    recovery
}

fn is_recorded(container: &ContainerFacts, facts: &Facts) -> bool {
    facts.releases.first().is_some_and(|release| release.observed.container == container.id)
}

/// Rules that were flushed, or that lead elsewhere, are written first: the service is back as early as can be.
fn switch_to_serving(name: &Name, facts: &Facts, recovery: &mut Recovery) {
    let (Some(seen), Some(serving)) = (&facts.ports, &recovery.serving) else { return };
    let is_led = recovery.actions.iter().any(|action| matches!(action.step, Operation::StartFirst(_)));
    if serving.switched.is_none() || is_led || seen.behind.as_ref() == Some(&serving.id) {
        return;
    }
    recovery.note.get_or_insert_with(|| format!("the ports of {name} do not lead to it: the rules are written anew"));
    let switch = start_first::switch_to(facts, name, Some(serving)).map(Action::required);
    recovery.actions.splice(0..0, switch);
}

fn finish(serving: ContainerFacts, old: &ContainerFacts) -> Recovery {
    // Only what handed its ports over runs here.
    let stop = old.is_running().then(|| Operation::Stop { container: target(old), grace: old.stop_grace });
    Recovery {
        actions: stop.into_iter().chain([remove(old)]).map(Action::best_effort).collect(),
        note: Some(format!("{} is proven and on record; the old container it replaced is removed", serving.name)),
        serving: Some(serving),
    }
}

fn undo(name: &Name, facts: &Facts, old: ContainerFacts, unproven: Option<&ContainerFacts>) -> Recovery {
    let mut actions = Vec::new();
    // As long as the ports may lead to it, it runs on under another name.
    let beside = unproven.filter(|unproven| unproven.switched.is_some());
    match (unproven, beside) {
        (Some(unproven), Some(_)) => {
            actions.push(Action::required(Operation::Rename { container: target(unproven), to: new_name(name) }));
        }
        (Some(unproven), None) => actions.push(Action::required(remove(unproven))),
        (None, _) => {}
    }
    let back = ContainerFacts { name: name.to_string(), ..old.clone() };
    actions.push(Action::required(Operation::Rename { container: target(&old), to: name.to_string() }));
    let mut recovery = restart(facts, back, actions);
    recovery.actions.extend(start_first::switch_to(facts, name, recovery.serving.as_ref()).map(Action::required));
    if let Some(beside) = beside {
        let beside = ContainerFacts { name: new_name(name), ..beside.clone() };
        recovery.actions.push(Action::required(remove(&beside)));
    }
    recovery.note = Some(format!("an interrupted deployment had set {} aside; it is put back first", short(&old)));
    recovery
}

/// No swap was under way, or the first deployment was interrupted, or it was interrupted while the old one stopped.
fn settle(name: &Name, facts: &Facts, serving: ContainerFacts) -> Recovery {
    let Some(journal) = &facts.journal else {
        return Recovery { serving: Some(serving), ..Recovery::default() };
    };
    match &journal.old {
        None if serving.ours && !is_recorded(&serving, facts) => Recovery {
            actions: [remove(&serving)]
                .into_iter()
                .chain(start_first::switch_to(facts, name, None))
                .map(Action::required)
                .collect(),
            note: Some(format!("{} was never proven: its deployment was interrupted; it is removed", serving.name)),
            serving: None,
        },
        Some((id, true)) if *id == serving.id && !serving.is_running() => {
            let mut recovery = restart(facts, serving, Vec::new());
            recovery.note = Some("an interrupted deployment had stopped the old container; it is started first".into());
            recovery
        }
        _ => Recovery { serving: Some(serving), ..Recovery::default() },
    }
}

fn restart(facts: &Facts, mut back: ContainerFacts, mut actions: Vec<Action>) -> Recovery {
    let ran = facts.journal.as_ref().and_then(|journal| journal.old.as_ref()).is_none_or(|(_, ran)| *ran);
    if ran {
        actions.push(Action::required(Operation::Start { container: target(&back) }));
        back.state = "running".into();
    }
    Recovery { actions, serving: Some(back), note: None }
}

/// Removes a container; its anonymous volumes go with it only where it is ours.
pub fn remove(container: &ContainerFacts) -> Operation {
    Operation::Remove { container: target(container), volumes: container.ours }
}

/// The container as a step names it.
pub fn target(container: &ContainerFacts) -> Target {
    Target { name: container.name.clone(), id: Some(container.id.clone()) }
}

fn short(container: &ContainerFacts) -> String {
    format!("{} ({})", container.name, crate::engine::facts::short_id(&container.id))
}
