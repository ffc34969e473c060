//! What `uninstall` removes, in this order. Values in, a plan out.

use std::fmt;

use crate::app::uninstall::found::{Container, Found, OUR_NETWORK};
use crate::app::uninstall::removal::Removal;
use crate::app::uninstall::units::Owner;
use crate::cli::UninstallArgs;
use crate::error::{Failure, Kind};

/// What goes, and what stays.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Uninstall {
    pub(super) removals: Vec<Removal>,
    pub(super) notes: Vec<String>,
}

pub(super) fn plan(found: &Found, purge: bool) -> Uninstall {
    let mut plan = Uninstall::default();
    match purge {
        true => plan.what_runs(found),
        false => plan.what_stays(found),
    }
    plan.removals.extend(found.has_rules.then_some(Removal::Rules));
    let is_used = !purge && found.containers.iter().any(|one| one.is_switched);
    match found.network {
        Some(true) if is_used => plan.notes.push(format!("network {OUR_NETWORK} stays: containers are on it")),
        Some(true) => plan.removals.push(Removal::Network(OUR_NETWORK.into())),
        Some(false) => plan.notes.push(format!("network {OUR_NETWORK} stays: balehook did not create it")),
        None => {}
    }
    let images = found.images.iter().filter(|_| purge).chain(&found.tags);
    plan.removals.extend(images.map(|reference| Removal::Reference(reference.clone())));
    plan.units(found);
    plan.state(found, purge);
    plan.notes.extend(found.policy.iter().map(|path| format!("{} stays: it is the administrator's", path.display())));
    plan
}

/// What stands against it.
///
/// # Errors
/// [`Kind::State`]: a killed deployment left something. [`Kind::Container`]: what goes on running would answer nobody.
pub(super) fn check(found: &Found, wanted: &UninstallArgs) -> Result<(), Failure> {
    if let Some(name) = found.killed().filter(|_| !wanted.purge) {
        let why = format!("a deployment of {name} was killed, and is not finished or undone");
        return Err(Failure::new(Kind::State, why).next(format!("balehook resume {name}, then uninstall")));
    }
    let is_cut_off = |one: &&Container| found.has_rules && one.runs && one.is_switched;
    let cut_off: Vec<&str> = found.containers.iter().filter(is_cut_off).map(|one| one.target.name.as_str()).collect();
    if cut_off.is_empty() || wanted.purge || wanted.force {
        return Ok(());
    }
    let why = format!("{} would go on running and answer nobody: the kernel leads its ports to it", cut_off.join(", "));
    Err(Failure::new(Kind::Container, why).next(
        "--purge removes the containers too; --force cuts them off; or deploy without `order: start-first` first",
    ))
}

impl Uninstall {
    fn what_runs(&mut self, found: &Found) {
        let swarm = found.swarm.iter().map(|(kind, name)| Removal::Swarm { kind, name: name.clone() });
        self.removals.extend(swarm);
        let containers = found.containers.iter();
        self.removals.extend(containers.map(|one| Removal::Container { target: one.target.clone(), grace: one.grace }));
        self.removals.extend(found.project_networks.iter().map(|network| Removal::Network(network.clone())));
        if !self.removals.is_empty() {
            self.notes.push("volumes stay, with their data: docker volume ls".into());
        }
    }

    fn what_stays(&mut self, found: &Found) {
        let services = found.swarm.iter().filter(|(kind, _)| *kind == "service").map(|(_, name)| name.as_str());
        let running = found.containers.iter().filter(|one| one.runs).map(|one| one.target.name.as_str());
        let names: Vec<&str> = services.chain(running).collect();
        if !names.is_empty() {
            self.notes.push(format!("goes on running: {}; --purge removes it too", names.join(", ")));
        }
    }

    fn units(&mut self, found: &Found) {
        for unit in &found.units {
            let is_by_hand = unit.owner == Owner::Person;
            if unit.is_enabled && (is_by_hand || !unit.is_preset()) {
                self.removals.push(Removal::Disable(unit.name.clone()));
            }
            if is_by_hand {
                self.removals.push(Removal::File(unit.path.clone()));
            }
        }
        self.notes.extend(found.program.iter().map(|how| format!("the program and its units stay: {how}")));
    }

    fn state(&mut self, found: &Found, purge: bool) {
        let keeps_projects = !purge && found.containers.iter().any(|one| one.project.is_some());
        for state in &found.state {
            let kept = Some(&state.project).filter(|_| keeps_projects && state.has_project);
            self.notes.extend(kept.map(|at| format!("{} stays: containers write into it", at.display())));
            if kept.is_none() || state.has_more {
                self.removals.push(Removal::State { folder: state.folder.clone(), kept: kept.cloned() });
            }
        }
        self.removals.extend(found.lock.clone().map(Removal::File));
    }
}

impl fmt::Display for Uninstall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nothing = if self.removals.is_empty() { ": nothing to remove" } else { "" };
        writeln!(f, "uninstall{nothing}")?;
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        let width = self.removals.len().to_string().len();
        for (index, removal) in self.removals.iter().enumerate() {
            writeln!(f, "+ {:>width$}. {removal}", index + 1)?;
        }
        Ok(())
    }
}
