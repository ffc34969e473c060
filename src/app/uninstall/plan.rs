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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::app::uninstall::found::State;
    use crate::app::uninstall::units::Unit;
    use crate::values::target::Target;

    fn container(name: &str, is_switched: bool, project: Option<&str>) -> Container {
        let (target, project) = (Target::created(name), project.map(str::to_owned));
        Container { target, runs: true, is_switched, project, grace: Duration::from_secs(10) }
    }

    fn state(name: &str, has_project: bool) -> State {
        let folder = std::path::PathBuf::from(format!("/var/lib/balehook/{name}"));
        State { project: folder.join("project"), folder, has_project, has_more: true }
    }

    fn unit(name: &str, owner: Owner, is_enabled: bool) -> Unit {
        let path = format!("/etc/systemd/system/{name}").into();
        Unit { name: name.into(), path, owner, is_enabled }
    }

    fn host() -> Found {
        Found {
            names: vec!["shop".parse().unwrap(), "web".parse().unwrap()],
            state: vec![state("shop", true), state("web", false)],
            lock: Some("/var/lib/balehook/.ports.lock".into()),
            containers: vec![container("shop-db-1", false, Some("shop")), container("web", true, None)],
            swarm: vec![("service", "api".into()), ("secret", "api.key.01".into())],
            has_rules: true,
            network: Some(true),
            project_networks: vec!["shop_default".into()],
            tags: vec!["balehook/web:0123456789ab".into()],
            images: vec!["web:1.4.2".into()],
            units: vec![
                unit("balehook-resume.service", Owner::Person, true),
                unit("balehook-tokens.timer", Owner::Package, true),
                unit("balehook-ports.socket", Owner::Package, true),
            ],
            program: Some("apt-get remove balehook removes them".into()),
            policy: Some("/etc/balehook/policy.yml".into()),
            ..Found::default()
        }
    }

    fn wanted(purge: bool, force: bool) -> UninstallArgs {
        UninstallArgs { purge, force, yes: true, dry_run: false }
    }

    #[test]
    fn what_runs_goes_on_and_what_balehook_made_beside_it_goes() {
        let text = "\
uninstall
  note: goes on running: api, shop-db-1, web; --purge removes it too
  note: network balehook stays: containers are on it
  note: the program and its units stay: apt-get remove balehook removes them
  note: /var/lib/balehook/shop/project stays: containers write into it
  note: /etc/balehook/policy.yml stays: it is the administrator's
+ 1. remove the rules of switched ports from the kernel's tables
+ 2. docker rmi balehook/web:0123456789ab
+ 3. systemctl disable --now balehook-resume.service
+ 4. rm /etc/systemd/system/balehook-resume.service
+ 5. systemctl disable --now balehook-tokens.timer
+ 6. rm -r /var/lib/balehook/shop/*, but /var/lib/balehook/shop/project: releases, history, log
+ 7. rm -r /var/lib/balehook/web: releases, history, log
+ 8. rm /var/lib/balehook/.ports.lock
";
        assert_eq!(plan(&host(), false).to_string(), text);
    }

    #[test]
    fn with_purge_what_runs_goes_first_and_volumes_stay() {
        let text = "\
uninstall
  note: volumes stay, with their data: docker volume ls
  note: the program and its units stay: apt-get remove balehook removes them
  note: /etc/balehook/policy.yml stays: it is the administrator's
+  1. docker service rm api
+  2. docker secret rm api.key.01
+  3. docker stop --time 10 shop-db-1; docker rm shop-db-1
+  4. docker stop --time 10 web; docker rm web
+  5. docker network rm shop_default
+  6. remove the rules of switched ports from the kernel's tables
+  7. docker network rm balehook
+  8. docker rmi web:1.4.2
+  9. docker rmi balehook/web:0123456789ab
+ 10. systemctl disable --now balehook-resume.service
+ 11. rm /etc/systemd/system/balehook-resume.service
+ 12. systemctl disable --now balehook-tokens.timer
+ 13. rm -r /var/lib/balehook/shop: releases, history, log
+ 14. rm -r /var/lib/balehook/web: releases, history, log
+ 15. rm /var/lib/balehook/.ports.lock
";
        assert_eq!(plan(&host(), true).to_string(), text);
    }

    #[test]
    fn a_second_run_finds_nothing_also_where_containers_of_a_project_go_on() {
        assert_eq!(plan(&Found::default(), false).to_string(), "uninstall: nothing to remove\n");
        let left = State { has_more: false, ..state("shop", true) };
        let containers = vec![container("shop-db-1", false, Some("shop"))];
        let again = plan(&Found { state: vec![left], containers, ..Found::default() }, false);
        assert_eq!((again.removals, again.notes.len()), (Vec::new(), 2));
    }

    #[test]
    fn a_container_that_would_answer_nobody_is_named_and_refused_unless_it_is_meant() {
        let refused = check(&host(), &wanted(false, false)).unwrap_err();
        assert_eq!(refused.kind, Kind::Container);
        assert!(refused.message.starts_with("web would go on running and answer nobody"), "{refused}");
        assert_eq!(check(&host(), &wanted(true, false)), Ok(()));
        assert_eq!(check(&host(), &wanted(false, true)), Ok(()));
        let mut stopped = host();
        stopped.containers[1].runs = false;
        assert_eq!(check(&stopped, &wanted(false, false)), Ok(()));
    }

    #[test]
    fn what_a_killed_deployment_left_is_put_in_order_first() {
        let killed = Found { killed: vec!["web".parse().unwrap()], ..host() };
        let refused = check(&killed, &wanted(false, true)).unwrap_err();
        assert_eq!((refused.kind, refused.next.as_deref()), (Kind::State, Some("balehook resume web, then uninstall")));
        assert_eq!(check(&killed, &wanted(true, false)), Ok(()));
    }
}
