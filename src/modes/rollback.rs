//! `rollback`: a kept release takes the place of the one that serves, from what this host has: no bundle, no registry, no
//! bucket. Values in, a plan out.

use std::net::Ipv4Addr;

use bollard::models::EndpointIpamConfig;

use crate::config::start_first::probe_at;
use crate::deploy::release::Observed;
use crate::engine::request::ContainerSpec;
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::modes::by_hand::{MONITOR, MarkOperation, is_service, nothing};
use crate::modes::compose;
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::compose::release::ComposeRelease;
use crate::modes::container;
use crate::modes::container::replace::{Incoming, Replacing};
use crate::modes::container::start_first::{self, Beside};
use crate::modes::facts::Facts;
use crate::modes::images;
use crate::modes::operation::{Action, Operation, Plan};
use crate::modes::release::{ContainerRelease, Release};
use crate::modes::resume::is_compose;
use crate::modes::swarm;
use crate::modes::swarm::facts::Role;
use crate::modes::swarm::operation::{RolloutCheck, ServiceRequest, SwarmOperation};
use crate::modes::tasks::TaskActions;
use crate::modes::volumes::carry;
use crate::ports::operation::NETWORK;
use crate::values::forward::SwitchedPorts;
use crate::values::known::Known;
use crate::values::labels::{LABEL_ADDRESS, LABEL_SPEC};
use crate::values::names::new_name;
use crate::values::pin::ImagePin;
use crate::values::types::Name;

/// As the command is called.
pub(crate) const COMMAND: &str = "rollback";

/// The kept release that `to` names, by its deployment, or by the tag or the first digits of the digest of an image; without
/// it the newest that is another one than what serves.
///
/// # Errors
/// None is kept, or none of that name.
pub fn target<'a>(name: &Name, releases: &'a [Release], to: Option<&str>) -> Result<&'a Release, Failure> {
    let present = releases.first().ok_or_else(|| nothing(name, "no release of it is saved"))?;
    let is_other = |release: &&Release| release.spec != present.spec || release.image != present.image;
    let found = match to {
        None => releases.iter().find(is_other),
        Some(to) => releases.iter().find(|release| is(release, to)),
    };
    found.ok_or_else(|| {
        let kept: Vec<String> = releases.iter().map(ToString::to_string).collect();
        let what = to.map_or("no earlier release".to_owned(), |to| format!("no release {to}"));
        Failure::new(Kind::State, format!("{what} of {name} is kept; kept are: {}", kept.join(", ")))
            .next("`keep:` says how many are kept; deploy an older revision with CodeDeploy")
    })
}

/// Whether `wanted` names this release.
pub(super) fn is(release: &Release, wanted: &str) -> bool {
    let is_image = |pin: &ImagePin| {
        let described = pin.describe();
        let (reference, digest) = described.split_once(" (sha256:").unwrap_or((&described, ""));
        let tag = reference.rsplit('/').next().unwrap_or(reference);
        let digest = digest.trim_end_matches(')');
        let short = wanted.trim_start_matches("sha256:");
        reference == wanted
            || tag == wanted
            || tag.rsplit_once(':').is_some_and(|(_, tag)| tag == wanted)
            || (short.len() >= 7 && digest.starts_with(&short[..short.len().min(digest.len())]))
    };
    release.deployment == wanted || release.images().any(is_image)
}

/// What `rollback` does with a name. `missing`: images of the release that the engine does not have.
///
/// # Errors
/// It cannot come back: a killed deployment left something, the release serves, its image is gone, or this host cannot do it.
pub fn plan(name: &Name, facts: &Facts, release: &Release, missing: &[&ImagePin]) -> Result<Plan, Failure> {
    let mut plan = Plan::new(COMMAND, name);
    if facts.left.is_some() {
        let why = format!("a deployment of {name} was killed, and is not finished or undone");
        return Err(Failure::new(Kind::State, why).next(format!("balehook resume {name}, then roll back")));
    }
    // A registry has it still; where an archive lay is not saved.
    if let Some(gone) = missing.iter().find(|pin| !matches!(pin, ImagePin::Registry { .. })) {
        let why = format!("{} is not in the engine any more, so that {} cannot come back", gone.describe(), release);
        return Err(Failure::new(Kind::Image, why).next("deploy its revision with CodeDeploy"));
    }
    plan.notes.push(format!("back to {release}; tasks before and after it are not run"));
    plan.notes.extend(release.fetched_anew());
    if facts.stopped {
        plan.require(MarkOperation::DeleteStopped);
    }
    plan.actions.extend(images::if_lost(release).into_iter().map(Action::required));
    if let Some(kept) = &release.part.container {
        container(name, facts, release, kept, &mut plan)?;
    } else if let Some(project) = release.part.compose.as_ref().filter(|_| is_compose(facts)) {
        self::project(facts, release, project, &mut plan)?;
    } else if let Some(request) = &release.part.swarm {
        service(name, facts, release, request, &mut plan)?;
    } else {
        return Err(nothing(name, "an older balehook saved the release, or this node is a worker"));
    }
    Ok(plan)
}

fn serves(name: &Name, release: &Release) -> Failure {
    Failure::new(Kind::State, format!("{release} is what serves as {name}"))
        .next("name another one with `--to`: `balehook history` lists them")
}

/// The same release once more, as it is saved when it serves again.
fn again(release: &Release) -> Release {
    Release { observed: Observed::default(), pinned: false, ..release.clone() }
}

fn container(
    name: &Name,
    facts: &Facts,
    release: &Release,
    kept: &ContainerRelease,
    plan: &mut Plan,
) -> Result<(), Failure> {
    let serving = facts.containers.iter().find(|found| found.name == name.as_str());
    if serving.is_some_and(|found| found.spec.as_deref() == Some(release.spec.as_str()) && found.is_running()) {
        return Err(serves(name, release));
    }
    plan.old = container::plan::old(serving, facts);
    let mut spec = ContainerSpec { name: new_name(name), if_declared: Vec::new(), ..kept.request.clone() };
    serving.into_iter().flat_map(|old| &old.volumes).for_each(|volume| _ = carry(&mut spec, volume));
    let mut health_check = kept.health_check.clone();
    let mut beside = None;
    if let Some(order) = kept.start_first {
        let label = |key: &str| spec.options.body.labels.as_ref()?.get(key).cloned();
        let forwards = SwitchedPorts::from_labels(label).map(|ports| ports.forwards);
        let forwards = forwards.ok_or_else(|| nothing(name, "its release does not say which ports are switched"))?;
        let at = start_first::place(name, forwards, start_first::seen(facts)?, serving)?;
        move_to(&mut spec, &at);
        let at_port = kept.health_check.clone();
        health_check = at_own_address(&at_port, &at, at.address);
        beside = Some(Beside { order, at, at_port });
    }
    let mut release = again(release);
    release.part.container = Some(Box::new(ContainerRelease { request: spec.clone(), ..kept.clone() }));
    let new = Incoming { spec, health_check, release, around: TaskActions::default(), if_lost: Vec::new(), beside };
    Replacing { name, facts, plan }.replace(serving, new)
}

/// The container gets another address of ours than the one that it had.
fn move_to(spec: &mut ContainerSpec, at: &SwitchedPorts) {
    let body = &mut spec.options.body;
    let endpoints = body.networking_config.iter_mut().flat_map(|config| config.endpoints_config.iter_mut());
    for endpoint in endpoints.filter_map(|endpoints| endpoints.get_mut(NETWORK)) {
        endpoint.ipam_config = Some(EndpointIpamConfig {
            ipv4_address: Some(at.address.to_string()),
            ipv6_address: at.address6.map(|address| address.to_string()),
            link_local_ips: None,
        });
    }
    body.labels.get_or_insert_default().insert(LABEL_ADDRESS.into(), at.addresses());
}

fn at_own_address(at_port: &HealthCheck, at: &SwitchedPorts, address: Ipv4Addr) -> HealthCheck {
    let probe = probe_at(&at_port.probe, &at.forwards, Some(address.into()));
    HealthCheck { probe: probe.unwrap_or_else(|_| at_port.probe.clone()), ..at_port.clone() }
}

fn project(facts: &Facts, release: &Release, project: &ComposeRelease, plan: &mut Plan) -> Result<(), Failure> {
    if let Known::No(why) = &facts.compose_tool {
        return Err(Failure::new(Kind::Container, why).next(compose::project::INSTALL));
    }
    let present = facts.saved_project().filter(|present| present.project.id != project.project.id);
    let present = present.ok_or_else(|| {
        Failure::new(Kind::State, format!("{release} is what serves"))
            .next("name another one with `--to`: `balehook history` lists them")
    })?;
    plan.subject = compose::plan::SUBJECT.into();
    let run_by = |operation: ComposeOperation| Operation::from(operation.run_by(&facts.compose_tool));
    let undo: Vec<Operation> = compose::recover::back(present).into_iter().map(run_by).collect();
    for operation in compose::recover::back(project).into_iter().map(in_its_own_time) {
        let changes = matches!(operation, ComposeOperation::CheckOut { .. } | ComposeOperation::Up { .. });
        let operation = run_by(operation);
        match changes {
            true => plan.actions.push(Action::undone_by(operation, undo.clone())),
            false => plan.actions.push(Action::required(operation)),
        }
    }
    plan.interruption = format!("services of {} that change, while Compose replaces them", project.project.name);
    plan.require(ComposeOperation::SaveRelease(Box::new(again(release))));
    Ok(())
}

/// What serves is healthy: each service has its own time to stop.
fn in_its_own_time(operation: ComposeOperation) -> ComposeOperation {
    match operation {
        ComposeOperation::Up { project, services, only, .. } => {
            ComposeOperation::Up { project, within: None, services, only }
        }
        operation => operation,
    }
}

fn service(
    name: &Name,
    facts: &Facts,
    release: &Release,
    request: &ServiceRequest,
    plan: &mut Plan,
) -> Result<(), Failure> {
    let seen = facts.swarm.as_ref().filter(|seen| is_service(seen, facts) && seen.role == Role::Manager);
    let seen = seen.ok_or_else(|| {
        Failure::new(Kind::Container, format!("this node manages no swarm: it cannot roll service {name} back"))
            .next("run it on a manager")
    })?;
    let found = seen.service.as_ref().ok_or_else(|| nothing(name, "the swarm has no such service"))?;
    let before = found.spec.label(LABEL_SPEC).map(str::to_owned);
    if before.as_deref() == Some(request.digest.as_str()) {
        return Err(serves(name, release));
    }
    plan.subject = "old service".into();
    plan.old = swarm::plan::old(name, facts, seen);
    let request = ServiceRequest { before, began: found.began.clone(), ..request.clone() };
    let (service, spec) = (name.to_string(), request.digest.clone());
    let undo = SwarmOperation::Rollback { service: service.clone(), spec: spec.clone() };
    plan.undoable(SwarmOperation::Update(Box::new(request.clone())), [undo]);
    plan.require(SwarmOperation::RolloutCheck(RolloutCheck {
        service: service.clone(),
        spec,
        monitor: MONITOR,
        strict: true,
    }));
    plan.require(SwarmOperation::SaveRelease { service, release: Box::new(again(release)) });
    Ok(())
}
