//! What an interrupted event left: finish it or undo it, before anything else.
//!
//! The names tell how far a swap went: the new container is created as `<name>.balehook-new`, the old one is renamed
//! to `<name>.balehook-old`, and the new one takes over the name. A release is proven only once it is on record.

use super::step::{Step, Target};
use super::{Action, task};
use crate::facts::{ContainerFacts, Facts};
use crate::spec::types::Name;

/// The name a new container is created under.
pub fn new_name(name: &Name) -> String {
    format!("{name}.balehook-new")
}

/// The name the old container has during a swap.
pub fn old_name(name: &Name) -> String {
    format!("{name}.balehook-old")
}

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
        (None, Some(serving)) => settle(facts, serving),
        (None, None) => Recovery::default(),
    };
    if let Some(new) = new {
        recovery.actions.push(Action::best_effort(remove(&new)));
        recovery
            .note
            .get_or_insert_with(|| format!("{} was left by an interrupted deployment and is removed", new.name));
    }
    if let Some(left) = facts.task_containers.first() {
        recovery.actions.splice(0..0, task::remove_left(facts));
        recovery.note.get_or_insert_with(|| format!("{left} was left by an interrupted deployment and is removed"));
    }
    recovery
}

fn is_recorded(container: &ContainerFacts, facts: &Facts) -> bool {
    facts.releases.first().is_some_and(|release| release.observed.container == container.id)
}

fn finish(serving: ContainerFacts, old: &ContainerFacts) -> Recovery {
    Recovery {
        actions: vec![Action::best_effort(remove(old))],
        note: Some(format!("{} is proven and on record; the old container it replaced is removed", serving.name)),
        serving: Some(serving),
    }
}

fn undo(name: &Name, facts: &Facts, old: ContainerFacts, unproven: Option<&ContainerFacts>) -> Recovery {
    let mut actions = Vec::new();
    if let Some(unproven) = unproven {
        actions.push(Action::required(remove(unproven)));
    }
    let back = ContainerFacts { name: name.to_string(), ..old.clone() };
    actions.push(Action::required(Step::Rename { container: target(&old), to: name.to_string() }));
    let mut recovery = restart(facts, back, actions);
    recovery.note = Some(format!("an interrupted deployment had set {} aside; it is put back first", short(&old)));
    recovery
}

/// No swap was under way, or the first deployment was interrupted, or it was interrupted while the old one stopped.
fn settle(facts: &Facts, serving: ContainerFacts) -> Recovery {
    let Some(journal) = &facts.journal else {
        return Recovery { serving: Some(serving), ..Recovery::default() };
    };
    match &journal.old {
        None if serving.ours && !is_recorded(&serving, facts) => Recovery {
            actions: vec![Action::required(remove(&serving))],
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
        actions.push(Action::required(Step::Start { container: target(&back) }));
        back.state = "running".into();
    }
    Recovery { actions, serving: Some(back), note: None }
}

/// Removes a container; its anonymous volumes go with it only where it is ours.
pub fn remove(container: &ContainerFacts) -> Step {
    Step::Remove { container: target(container), volumes: container.ours }
}

/// The container as a step names it.
pub fn target(container: &ContainerFacts) -> Target {
    Target { name: container.name.clone(), id: Some(container.id.clone()) }
}

fn short(container: &ContainerFacts) -> String {
    format!("{} ({})", container.name, crate::facts::short_id(&container.id))
}
