//! Container mode: event × facts → steps.

use std::net::Ipv4Addr;

use crate::config::{Container, Deployment, ImageNeed};
use crate::deploy::origin::Origin;
use crate::deploy::plan::Old;
use crate::deploy::release::{FORMAT, Observed};
use crate::engine::facts::{ContainerFacts, short_id};
use crate::engine::request::{ContainerSpec, Target};
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::images::facts::ImageFacts;
use crate::modes;
use crate::modes::container::operation::ContainerOperation;
use crate::modes::container::recover::{Recovery, recover, remove};
use crate::modes::container::start_first;
use crate::modes::create;
use crate::modes::facts::Facts;
use crate::modes::images::Imports;
use crate::modes::operation::Operation;
use crate::modes::operation::{Action, Plan};
use crate::modes::options::of_container;
use crate::modes::release::{ContainerRelease, Part, Release};
use crate::modes::tasks::TaskActions;
use crate::values::known::Known;
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_DIGEST, LABEL_NAME, LABEL_REVISION, LABEL_SPEC};
use crate::values::names::{new_name, old_name};
use crate::values::options::changes;
use crate::values::pin::ImagePin;
use crate::values::types::LifecycleEvent;

/// What `event` does in container mode.
///
/// # Errors
/// See [`crate::modes::plan`].
pub fn plan(
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
            plan.actions.push(Action::best_effort(ContainerOperation::Stop { container: container.target(), grace }));
            plan.interruption = format!("{} is down until the new container of ApplicationStart is healthy", plan.name);
        }
        plan.actions.push(Action::best_effort(remove(container)));
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
pub fn old(serving: Option<&ContainerFacts>, facts: &Facts) -> Old {
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
    let release = release(origin, image, &digest, Part { container: Some(Box::new(kept)), ..Part::default() });
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
        plan.actions.push(Action::required(ContainerOperation::Start { container: same.target() }));
    }
    plan.actions.push(Action::required(ContainerOperation::CheckHealth { container: same.target(), health_check }));
    let recorded = facts.releases.first();
    if recorded.is_none_or(|last| last.observed.container != same.id || last.deployment != release.deployment) {
        plan.actions.push(Action::required(ContainerOperation::SaveRelease {
            container: same.target(),
            release: Box::new(release),
        }));
    }
}

/// A release that is put in place.
pub(crate) struct Incoming {
    /// Its container.
    pub spec: ContainerSpec,
    /// What makes it healthy.
    pub health_check: HealthCheck,
    /// Its record.
    pub release: Release,
    /// The tasks before and after it.
    pub around: TaskActions,
    /// What imports its image again, should it be lost.
    pub if_lost: Vec<Operation>,
}

/// One container after the other, or the new one beside the old one until the ports are handed over.
fn replace(
    plan: &mut Plan,
    deployment: &Deployment,
    container: &Container,
    facts: &Facts,
    old: Option<&ContainerFacts>,
    new: Incoming,
) -> Result<(), Failure> {
    let service = &container.service;
    let Some(order) = service.start_first else {
        compare(plan, &new.spec, facts);
        swap(plan, deployment, facts, old, new);
        return Ok(());
    };
    let seen = facts.ports.as_ref();
    let seen = seen.ok_or_else(|| Failure::new(Kind::Unexpected, "the host's tables were not looked at"))?;
    if let Some(old) = old {
        note_unmanaged(plan, deployment, old);
    }
    let at = start_first::place(&deployment.name, service, seen, old)?;
    let spec = start_first::dressed(new.spec, service, facts.engine.yes(), &at);
    let mut release = new.release;
    if let Some(kept) = &mut release.part.container {
        kept.request = spec.clone();
    }
    compare(plan, &spec, facts);
    let health_check = health_check(deployment, container, Some(at.address));
    start_first::start(plan, deployment, order, facts, old, at, Incoming { spec, health_check, release, ..new });
    Ok(())
}

/// The swap: everything that can fail without touching the old container comes first.
fn swap(plan: &mut Plan, deployment: &Deployment, facts: &Facts, old: Option<&ContainerFacts>, new: Incoming) {
    let Incoming { spec, health_check, release, around, if_lost } = new;
    let name = deployment.name.to_string();
    let created = |name: &str| Target { name: name.to_owned(), id: None };
    let aside = new_name(&deployment.name);
    let remove_new =
        |name: &str| vec![Operation::Container(ContainerOperation::Remove { container: created(name), volumes: true })];
    let create = Action::undone_by(ContainerOperation::Create(Box::new(spec)), remove_new(&aside));
    plan.actions.push(create.repaired_by(&[Kind::Image], if_lost));
    plan.actions.extend(around.before);
    if let Some(old) = old {
        note_unmanaged(plan, deployment, old);
        set_aside(plan, old, &old_name(&deployment.name), start_first::switch_to(facts, &deployment.name, Some(old)));
    }
    plan.actions.push(Action::undone_by(
        ContainerOperation::Rename { container: created(&aside), to: name.clone() },
        vec![Operation::Container(ContainerOperation::Rename { container: created(&name), to: aside })],
    ));
    // From the handover back to the swap: the engine publishes the ports again.
    plan.actions.extend(start_first::switch_to(facts, &deployment.name, None).map(Action::required));
    let start = Operation::Container(ContainerOperation::Start { container: created(&name) });
    plan.actions.push(Action::undone_by(
        start,
        vec![Operation::Container(ContainerOperation::Kill { container: created(&name) })],
    ));
    plan.actions.push(Action::required(ContainerOperation::CheckHealth { container: created(&name), health_check }));
    plan.actions.extend(around.proven);
    plan.actions.push(Action::required(ContainerOperation::SaveRelease {
        container: created(&name),
        release: Box::new(release),
    }));
    if let Some(old) = old {
        let aside = ContainerFacts { name: old_name(&deployment.name), ..old.clone() };
        plan.actions.push(Action::best_effort(remove(&aside)));
    }
    plan.actions.extend(around.recorded);
}

/// `lead_back`: where the kernel hands the ports over, the step after which they lead to the old container again.
fn set_aside(plan: &mut Plan, old: &ContainerFacts, aside: &str, switch_back: Option<Operation>) {
    if old.is_running() {
        let undo = vec![
            Operation::Container(ContainerOperation::Kill { container: old.target() }),
            Operation::Container(ContainerOperation::Start { container: old.target() }),
        ];
        let stop = Operation::Container(ContainerOperation::Stop { container: old.target(), grace: old.stop_grace });
        plan.actions.push(Action::undone_by(stop, undo));
        plan.interruption = format!(
            "{} is down from `docker stop` (at most {} s) until the new container is healthy",
            plan.name,
            old.stop_grace.as_secs()
        );
    }
    let set_aside = Target { name: aside.to_owned(), id: Some(old.id.clone()) };
    plan.actions.push(Action::undone_by(
        ContainerOperation::Rename { container: old.target(), to: aside.to_owned() },
        [Operation::Container(ContainerOperation::Rename { container: set_aside, to: old.name.clone() })]
            .into_iter()
            .chain(switch_back)
            .collect(),
    ));
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
    plan.actions.push(Action::required(ContainerOperation::CheckHealth { container: serving.target(), health_check }));
    Ok(())
}

/// `at`: the container's own address, where the host's ports do not lead to it yet.
fn health_check(deployment: &Deployment, container: &Container, at: Option<Ipv4Addr>) -> HealthCheck {
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

/// What is known to fail is refused before anything is touched.
fn check(container: &Container, facts: &Facts, image: &ImageFacts) -> Result<(), Failure> {
    if let Some(engine) = facts.engine.yes() {
        modes::images::check_architecture(container.service.platform.as_deref(), engine, image)?;
        create::check_needs(&container.service, engine)?;
    }
    if let Some(network) = facts.networks_missing.first() {
        return Err(Failure::new(Kind::Container, format!("network {network} does not exist"))
            .next(format!("create it once on the host: docker network create {network}")));
    }
    start_first::check(&container.service, facts)?;
    if let Some(taken) = facts.ports_taken.first() {
        return Err(Failure::new(Kind::Container, format!("host port {} is taken by {}", taken.port, taken.owner))
            .next("stop that, or publish another host port under x-balehook.container.ports"));
    }
    Ok(())
}

fn container_spec(deployment: &Deployment, container: &Container, facts: &Facts, image: &ImageFacts) -> ContainerSpec {
    ContainerSpec {
        name: new_name(&deployment.name),
        image: image.pin.clone(),
        options: create::options(&container.service, facts),
        environment: facts.environment.yes().cloned().unwrap_or_default(),
    }
}

/// Everything that makes one container different from another: not the labels that name the deployment.
fn spec_digest(spec: &ContainerSpec, container: &Container) -> Result<String, Failure> {
    let environment: Vec<(&str, Option<&str>)> = spec
        .environment
        .iter()
        .map(|var| (var.name.as_str(), var.value.as_ref().map(|value| value.reveal())))
        .collect();
    let options = serde_json::to_value(&spec.options)
        .map_err(|error| Failure::new(Kind::Unexpected, format!("the options cannot be written down: {error}")))?;
    let order = if container.service.start_first.is_some() { "\nstart-first" } else { "" };
    let text = format!("{}\n{options}\n{environment:?}{order}", spec.image.identity());
    Ok(modes::facts::spec_digest(&text).to_string())
}

fn labelled(
    mut spec: ContainerSpec,
    deployment: &Deployment,
    origin: &Origin,
    image: &ImageFacts,
    digest: &str,
) -> ContainerSpec {
    let labels = spec.options.body.labels.get_or_insert_default();
    labels.insert(LABEL_NAME.into(), deployment.name.to_string());
    labels.insert(LABEL_DEPLOYMENT.into(), origin.deployment.clone());
    labels.insert(LABEL_REVISION.into(), origin.revision.clone());
    labels.insert(LABEL_DIGEST.into(), image.pin.identity().to_string());
    labels.insert(LABEL_SPEC.into(), digest.to_owned());
    spec
}

fn release(origin: &Origin, image: &ImageFacts, digest: &str, part: Part) -> Release {
    Release {
        format: FORMAT,
        deployment: origin.deployment.clone(),
        revision: origin.revision.clone(),
        source: origin.source.clone(),
        image: image.pin.clone(),
        more_images: Vec::new(),
        spec: digest.to_owned(),
        part,
        observed: Observed::default(),
    }
}

/// What changes since the last release; one of format 1 did not keep the request.
fn compare(plan: &mut Plan, spec: &ContainerSpec, facts: &Facts) {
    let Some(last) = facts.releases.first() else { return };
    match &last.part.container {
        Some(last) => plan.changed_options = changes(&of_container(&last.request), &of_container(spec)),
        None => plan.notes.push("an older balehook saved the last release: which options change is not known".into()),
    }
}

fn note_unmanaged(plan: &mut Plan, deployment: &Deployment, container: &ContainerFacts) {
    if !container.ours {
        plan.notes.push(format!(
            "container {} ({}) bears the name {} but not our label: somebody else made it; it is replaced",
            container.name,
            short_id(&container.id),
            deployment.name
        ));
    }
}
