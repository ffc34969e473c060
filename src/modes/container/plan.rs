//! Container mode: event × facts → steps.

use std::net::Ipv4Addr;

use crate::config::{Container, Deployment, ImageNeed};
use crate::deploy::origin::Origin;
use crate::deploy::plan::Old;
use crate::engine::facts::{ContainerFacts, short_id};
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::images::facts::ImageFacts;
use crate::modes;
use crate::modes::container::operation::ContainerOperation;
use crate::modes::container::recover::{Recovery, recover, remove};
use crate::modes::container::replace::{Incoming, replace};
use crate::modes::container::spec::{check, container_spec, labelled, spec_digest};
use crate::modes::container::start_first;
use crate::modes::facts::Facts;
use crate::modes::images::Imports;
use crate::modes::operation::{Action, Plan};
use crate::modes::release::{ContainerRelease, Part, Release};
use crate::values::known::Known;
use crate::values::pin::ImagePin;
use crate::values::types::LifecycleEvent;

/// What `event` does in container mode.
pub(crate) fn plan(
    event: LifecycleEvent,
    deployment: &Deployment,
    container: &Container,
    origin: &Origin,
    facts: &Facts,
) -> Result<Plan, Failure> {
    let mut plan = Plan::new(event.to_string(), &deployment.name);
    match event {
        LifecycleEvent::ApplicationStop => stop(&mut plan, deployment, facts),
        LifecycleEvent::BeforeInstall => before_install(&mut plan, deployment, container, facts)?,
        LifecycleEvent::AfterInstall => import(&mut plan, deployment, container, facts)?,
        LifecycleEvent::ApplicationStart => start(&mut plan, deployment, container, origin, facts)?,
        LifecycleEvent::ValidateService => validate(&mut plan, deployment, container, facts)?,
        LifecycleEvent::BeforeBlockTraffic
        | LifecycleEvent::AfterBlockTraffic
        | LifecycleEvent::BeforeAllowTraffic
        | LifecycleEvent::AfterAllowTraffic => {}
    }
    Ok(plan)
}

/// Everything that bears our label or one of our names goes, whatever state it is in. Nothing here can fail the event.
fn stop(plan: &mut Plan, deployment: &Deployment, facts: &Facts) {
    plan.actions.extend(modes::tasks::remove_left(facts));
    for container in &facts.containers {
        note_unmanaged(plan, deployment, container);
        if container.is_running() {
            let grace = container.stop_grace;
            plan.attempt(ContainerOperation::Stop { container: container.target(), grace });
            plan.interruption = format!("{} is down until the new container of ApplicationStart is healthy", plan.name);
        }
        plan.attempt(remove(container));
    }
    let is_open = facts.ports.as_ref().is_some_and(|seen| seen.is_open);
    let close = start_first::switch_to(facts, &deployment.name, None).filter(|_| is_open);
    plan.actions.extend(close.map(Action::best_effort));
}

/// What an interrupted event left comes first, so that the service is back as early as can be.
fn begin(plan: &mut Plan, deployment: &Deployment, facts: &Facts) -> Option<ContainerFacts> {
    let Recovery { actions, serving, note } = recover(&deployment.name, facts);
    plan.notes.extend(note);
    plan.recover(actions);
    plan.old = old(serving.as_ref(), facts);
    serving
}

/// What serves once the recovery is done.
pub(crate) fn old(serving: Option<&ContainerFacts>, facts: &Facts) -> Old {
    match facts.engine.yes() {
        None => Old::NotObserved,
        Some(_) => Old::of(serving.map(ContainerFacts::target), serving.is_some_and(ContainerFacts::is_running)),
    }
}

fn before_install(
    plan: &mut Plan,
    deployment: &Deployment,
    container: &Container,
    facts: &Facts,
) -> Result<(), Failure> {
    let image = wanted_image(deployment, container, facts)?;
    assume(plan, facts, image);
    check(container, facts, image)?;
    let of_tasks = modes::tasks::images(plan, deployment, facts)?;
    begin(plan, deployment, facts);
    let wanted = pins(image, &of_tasks);
    modes::images::make_room(plan, deployment, facts, &wanted)?;
    modes::images::prune(plan, deployment, facts, &wanted);
    Ok(())
}

fn import(plan: &mut Plan, deployment: &Deployment, container: &Container, facts: &Facts) -> Result<(), Failure> {
    let image = wanted_image(deployment, container, facts)?;
    assume(plan, facts, image);
    check(container, facts, image)?;
    let of_tasks = modes::tasks::images(plan, deployment, facts)?;
    begin(plan, deployment, facts);
    import_images(plan, deployment, container, facts, image, &of_tasks).map(drop)
}

fn import_images(
    plan: &mut Plan,
    deployment: &Deployment,
    container: &Container,
    facts: &Facts,
    image: &ImageFacts,
    of_tasks: &[(ImageNeed, &ImageFacts)],
) -> Result<Imports, Failure> {
    modes::images::make_room(plan, deployment, facts, &pins(image, of_tasks))?;
    let mut imports = Imports::default();
    imports.add(plan, &deployment.name, &container.need(), facts, image);
    of_tasks.iter().for_each(|(need, image)| imports.add(plan, &deployment.name, need, facts, image));
    Ok(imports)
}

fn start(
    plan: &mut Plan,
    deployment: &Deployment,
    container: &Container,
    origin: &Origin,
    facts: &Facts,
) -> Result<(), Failure> {
    let image = wanted_image(deployment, container, facts)?;
    assume(plan, facts, image);
    let of_tasks = modes::tasks::images(plan, deployment, facts)?;
    let serving = begin(plan, deployment, facts);
    let spec = container_spec(deployment, container, facts, image);
    let digest = spec_digest(&spec, container)?;
    let same = serving.as_ref().filter(|old| old.ours && old.spec.as_deref() == Some(digest.as_str()));
    if same.is_none() {
        check(container, facts, image)?;
    }
    let spec = labelled(spec, deployment, origin, image, &digest);
    let health_check = health_check(deployment, container, None);
    let kept = ContainerRelease {
        request: spec.clone(),
        health_check: health_check.clone(),
        start_first: container.service.start_first,
    };
    let part = Part { container: Some(Box::new(kept)), ..Part::default() };
    let release = Release::new(origin, image.pin.clone(), digest.clone(), part);
    match same {
        Some(same) => keep_serving(plan, same, health_check, facts, release),
        None => {
            let imports = import_images(plan, deployment, container, facts, image, &of_tasks)?;
            let around = modes::tasks::around(deployment, container, origin, facts, image, &imports)?;
            let if_lost = imports.if_lost_of(&image.pin);
            let new = Incoming { spec, health_check, release, around, if_lost };
            replace(plan, deployment, container, facts, serving.as_ref(), new)?;
        }
    }
    modes::images::prune(plan, deployment, facts, &pins(image, &of_tasks));
    Ok(())
}

/// The same image with the same options runs already.
fn keep_serving(plan: &mut Plan, same: &ContainerFacts, health_check: HealthCheck, facts: &Facts, release: Release) {
    if !same.is_running() {
        plan.require(ContainerOperation::Start { container: same.target() });
    }
    plan.require(ContainerOperation::CheckHealth { container: same.target(), health_check });
    let recorded = facts.releases.first();
    if recorded.is_none_or(|last| last.observed.container != same.id || last.deployment != release.deployment) {
        plan.require(ContainerOperation::SaveRelease { container: same.target(), release: Box::new(release) });
    }
}

fn validate(plan: &mut Plan, deployment: &Deployment, container: &Container, facts: &Facts) -> Result<(), Failure> {
    let image = wanted_image(deployment, container, facts)?;
    assume(plan, facts, image);
    let name = &deployment.name;
    let wanted = image.pin.identity();
    let Some(serving) = facts.containers.iter().find(|found| found.name == name.as_str()) else {
        return Err(Failure::new(Kind::Health, format!("no container is named {name}"))
            .next("did ApplicationStart run? its output says why the container is gone"));
    };
    let known = !matches!(image.pin, ImagePin::Unknown { .. });
    if known && serving.digest.as_deref() != Some(wanted.as_str()) {
        let runs = serving.digest.as_deref().unwrap_or(&serving.image);
        return Err(Failure::new(Kind::Health, format!("{name} runs {runs}, not the wanted {}", image.pin.describe()))
            .next("run ApplicationStart again"));
    }
    let health_check = health_check(deployment, container, None);
    plan.require(ContainerOperation::CheckHealth { container: serving.target(), health_check });
    Ok(())
}

/// `at`: the container's own address, where the host's ports do not lead to it yet.
pub(super) fn health_check(deployment: &Deployment, container: &Container, at: Option<Ipv4Addr>) -> HealthCheck {
    let disabled = container.service.body.healthcheck.as_ref().and_then(|check| check.test.as_ref());
    let disabled = disabled.is_some_and(|test| test.first().is_some_and(|kind| kind == "NONE"));
    let health_check = HealthCheck::of(&deployment.health, deployment.health.probe.clone(), !disabled);
    start_first::health_check(deployment, container, health_check, at)
}

/// Every image of the deployment: the service's, and those of tasks.
fn pins<'a>(image: &'a ImageFacts, of_tasks: &[(ImageNeed, &'a ImageFacts)]) -> Vec<&'a ImagePin> {
    std::iter::once(image).chain(of_tasks.iter().map(|(_, image)| *image)).map(|image| &image.pin).collect()
}

fn wanted_image<'a>(
    deployment: &Deployment,
    container: &Container,
    facts: &'a Facts,
) -> Result<&'a ImageFacts, Failure> {
    facts.image(&container.need().key(&deployment.bundle_root))
}

fn assume(plan: &mut Plan, facts: &Facts, image: &ImageFacts) {
    if let Known::No(why) = &facts.engine {
        plan.assumptions.push(format!("no engine was asked ({why}): assumed that nothing runs yet"));
    }
    modes::images::assume(plan, image);
    if let Known::No(why) = &facts.environment {
        plan.assumptions.push(format!("an env_file was not read ({why}): its variables are missing below"));
    }
}

pub(super) fn note_unmanaged(plan: &mut Plan, deployment: &Deployment, container: &ContainerFacts) {
    if !container.ours {
        plan.notes.push(format!(
            "container {} ({}) bears the name {} but not our label: somebody else made it; it is replaced",
            container.name,
            short_id(&container.id),
            deployment.name
        ));
    }
}
