//! Stop-first: the new container takes the old one's place, under the old one's name.

use bollard::models::{ContainerConfig, ContainerInspectResponse};

use crate::engine::facts::{ContainerFacts, short_id};
use crate::engine::request::ContainerSpec;
use crate::engine::summary::container_facts;
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::modes;
use crate::modes::container::operation::ContainerOperation;
use crate::modes::container::recover::remove;
use crate::modes::container::secrets;
use crate::modes::container::start_first::{self, Beside};
use crate::modes::facts::Facts;
use crate::modes::operation::{Action, Operation, Plan};
use crate::modes::release::Release;
use crate::modes::sharing;
use crate::modes::tasks::TaskActions;
use crate::values::names::{new_name, old_name};
use crate::values::target::Target;
use crate::values::types::Name;
use crate::values::volume::AnonymousVolume;

/// The container that takes the place of the one that serves, and how it is checked.
pub(crate) struct Incoming {
    pub(crate) spec: ContainerSpec,
    /// Stop-first at the host's ports, start-first at the container's own address.
    pub(crate) health_check: HealthCheck,
    pub(crate) release: Release,
    pub(crate) around: TaskActions,
    /// What imports its image again, should it be lost.
    pub(crate) if_lost: Vec<Operation>,
    /// Set where it starts beside the old one, and the kernel switches the ports.
    pub(crate) beside: Option<Beside>,
}

/// One container in place of another. It knows neither `appspec.yml` nor the event.
pub(crate) struct Replacing<'a> {
    pub(crate) name: &'a Name,
    pub(crate) facts: &'a Facts,
    pub(crate) plan: &'a mut Plan,
}

impl Replacing<'_> {
    /// One container after the other, or the new one beside the old one until the ports are switched.
    pub(crate) fn replace(&mut self, old: Option<&ContainerFacts>, new: Incoming) -> Result<(), Failure> {
        let notes = old.into_iter().flat_map(|old| sharing::notes(&self.facts.sharing, old));
        self.plan.notes.extend(notes);
        if let Some(old) = old.filter(|_| new.beside.is_some()) {
            self.note_unmanaged(old);
        }
        self.compare(old, &new.spec);
        let secrets = new.spec.secrets.clone();
        match &new.beside {
            Some(beside) => {
                let beside = beside.clone();
                self.start_first(&beside, old, new)?;
            }
            None => self.stop_first(old, new),
        }
        secrets::sweep(self.plan, self.facts, secrets.as_ref());
        Ok(())
    }

    /// Everything that can fail without touching the old container comes first.
    fn stop_first(&mut self, old: Option<&ContainerFacts>, new: Incoming) {
        let Incoming { spec, health_check, release, around, if_lost, beside: _ } = new;
        let (name, aside) = (self.name.to_string(), new_name(self.name));
        let (created, created_aside) = (Target::created(&name), Target::created(&aside));
        self.create(spec, if_lost);
        self.plan.actions.extend(around.before);
        if let Some(old) = old {
            self.note_unmanaged(old);
            self.stop_old(old);
            self.rename_old(old, self.switch_to(Some(old)), true);
        }
        let rename_back = ContainerOperation::Rename { container: created.clone(), to: aside };
        self.plan.undoable(ContainerOperation::Rename { container: created_aside, to: name }, [rename_back]);
        // Where the kernel switched the ports until now: the engine publishes them again.
        let close = self.switch_to(None);
        self.plan.actions.extend(close.map(Action::required));
        let kill = ContainerOperation::Kill { container: created.clone() };
        self.plan.undoable(ContainerOperation::Start { container: created.clone() }, [kill]);
        self.plan.require(ContainerOperation::CheckHealth { container: created.clone(), health_check });
        self.plan.actions.extend(around.healthy);
        self.plan.require(ContainerOperation::SaveRelease { container: created, release: Box::new(release) });
        if let Some(old) = old {
            self.plan.attempt(remove(&ContainerFacts { name: old_name(self.name), ..old.clone() }));
        }
        self.plan.actions.extend(around.saved);
    }

    pub(super) fn create(&mut self, spec: ContainerSpec, if_lost: Vec<Operation>) {
        let set = spec.secrets.as_ref();
        let secrets = set.map(|set| secrets::write(self.facts, set).repaired_by(&[Kind::Image], if_lost.clone()));
        self.plan.actions.extend(secrets);
        let remove = ContainerOperation::Remove { container: Target::created(&spec.name), volumes: true };
        let create = Action::undone_by(ContainerOperation::Create(Box::new(spec)), [remove]);
        self.plan.actions.push(create.repaired_by(&[Kind::Image], if_lost));
    }

    fn stop_old(&mut self, old: &ContainerFacts) {
        if !old.is_running() {
            return;
        }
        let (container, grace) = (old.target(), old.stop_grace);
        let kill = ContainerOperation::Kill { container: old.target() };
        let start = ContainerOperation::Start { container: old.target() };
        let check = ContainerOperation::check_back(self.facts, old);
        let undo = self.recreate(old, true).into_iter().chain([kill, start, check]);
        let stop = Action::undone_by(ContainerOperation::Stop { container, grace }, undo);
        self.plan.actions.push(modes::images::restoring(stop, self.facts));
        let (name, seconds) = (&self.plan.name, grace.as_secs());
        self.plan.interruption =
            format!("{name} is down from `docker stop` (at most {seconds} s) until the new container is healthy");
    }

    /// Takes the name from the old container. `switch_back`: the step after which the kernel switches the ports to it again.
    /// `is_stopped`: it was stopped before.
    pub(super) fn rename_old(&mut self, old: &ContainerFacts, switch_back: Option<Operation>, is_stopped: bool) {
        let aside = old_name(self.name);
        let renamed = Target { name: aside.clone(), id: Some(old.id.clone()) };
        let back = Operation::from(ContainerOperation::Rename { container: renamed, to: old.name.clone() });
        let rename = ContainerOperation::Rename { container: old.target(), to: aside };
        let recreate = self.recreate(old, is_stopped).map(Operation::from).into_iter();
        let rename = Action::undone_by(rename, recreate.chain([back]).chain(switch_back));
        self.plan.actions.push(modes::images::restoring(rename, self.facts));
    }

    /// `docker container prune` may remove it while it is stopped: it is created anew from what is saved of it.
    fn recreate(&self, old: &ContainerFacts, is_stopped: bool) -> Option<ContainerOperation> {
        let last = self.facts.releases.first().filter(|last| is_stopped && last.observed.container == old.id)?;
        let mut spec = Box::new(last.part.container.as_ref()?.request.clone());
        spec.name.clone_from(&old.name);
        modes::volumes::give(&mut spec, &old.volumes);
        Some(ContainerOperation::Recreate { container: old.target(), spec })
    }
}

impl Replacing<'_> {
    pub(super) fn switch_to(&self, container: Option<&ContainerFacts>) -> Option<Operation> {
        start_first::switch_to(self.facts, self.name, container)
    }

    pub(super) fn note_unmanaged(&mut self, container: &ContainerFacts) {
        self.plan.notes.extend(unmanaged(self.name, container));
    }
}

/// That a container which bears the name is not ours.
pub(super) fn unmanaged(name: &Name, container: &ContainerFacts) -> Option<String> {
    let (found, id) = (&container.name, short_id(&container.id));
    let why = format!("container {found} ({id}) bears the name {name} but not our label");
    (!container.ours).then(|| format!("{why}: it is not managed by balehook, and is replaced"))
}

/// A container that was created anew goes by the ID of the one that is gone.
pub(super) fn anew(name: &Name, container: &Target, spec: &ContainerSpec) -> ContainerFacts {
    let body = &spec.options.body;
    let config = ContainerConfig { labels: body.labels.clone(), stop_timeout: body.stop_timeout, ..Default::default() };
    let binds = body.host_config.iter().flat_map(|host| host.binds.iter().flatten());
    let volumes = binds
        .filter_map(|bind| bind.split_once(':'))
        .filter_map(|(name, path)| AnonymousVolume::new(name.to_owned(), path.to_owned()));
    let inspected = ContainerInspectResponse {
        id: container.id.clone(),
        name: Some(container.name.clone()),
        config: Some(config),
        ..Default::default()
    };
    ContainerFacts { volumes: volumes.collect(), ..container_facts(inspected, name) }
}
