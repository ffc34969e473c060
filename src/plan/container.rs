//! Container mode: event × facts → steps.

use std::net::Ipv4Addr;

use super::recover::{Recovery, new_name, old_name, recover, remove, target};
use super::step::{Bring, ContainerSpec, Proof, Step, Target};
use super::{Action, Asker, Plan, create, handover};
use crate::error::{Failure, Kind};
use crate::facts::{self, ContainerFacts, Facts, ImageFacts};
use crate::image::pin::ImagePin;
use crate::release::{FORMAT, Observed, Release};
use crate::spec::types::LifecycleEvent;
use crate::spec::{Container, Deployment, ImageSource};

/// What `event` does in container mode.
///
/// # Errors
/// See [`super::plan`].
pub fn plan(
    event: LifecycleEvent,
    deployment: &Deployment,
    container: &Container,
    asker: &Asker,
    facts: &Facts,
) -> Result<Plan, Failure> {
    let mut plan = Plan::new(event.to_string(), &deployment.name);
    match event {
        LifecycleEvent::ApplicationStop => stop(&mut plan, deployment, facts),
        LifecycleEvent::BeforeInstall => before_install(&mut plan, deployment, container, facts)?,
        LifecycleEvent::AfterInstall => bring(&mut plan, deployment, container, facts)?,
        LifecycleEvent::ApplicationStart => start(&mut plan, deployment, container, asker, facts)?,
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
    for container in &facts.containers {
        note_stranger(plan, deployment, container);
        if container.is_running() {
            let grace = container.stop_grace;
            plan.actions.push(Action::best_effort(Step::Stop { container: target(container), grace }));
            plan.interruption = format!("{} is down until ApplicationStart has proven the new container", plan.name);
        }
        plan.actions.push(Action::best_effort(remove(container)));
    }
    let is_open = facts.handover.as_ref().is_some_and(|seen| seen.is_open);
    let close = handover::lead_to(facts, &deployment.name, None).filter(|_| is_open);
    plan.actions.extend(close.map(Action::best_effort));
}

/// What an interrupted event left comes first, so that the service is back as early as can be.
fn begin(plan: &mut Plan, deployment: &Deployment, facts: &Facts) -> Option<ContainerFacts> {
    let Recovery { actions, serving, note } = recover(&deployment.name, facts);
    plan.notes.extend(note);
    plan.actions.extend(actions);
    serving
}

fn before_install(
    plan: &mut Plan,
    deployment: &Deployment,
    container: &Container,
    facts: &Facts,
) -> Result<(), Failure> {
    let image = wanted_image(facts)?;
    assume(plan, facts, image);
    check(container, facts, image)?;
    begin(plan, deployment, facts);
    make_room(plan, deployment, facts, &image.pin)?;
    prune(plan, deployment, facts, &image.pin);
    Ok(())
}

fn bring(plan: &mut Plan, deployment: &Deployment, container: &Container, facts: &Facts) -> Result<(), Failure> {
    let image = wanted_image(facts)?;
    assume(plan, facts, image);
    check(container, facts, image)?;
    begin(plan, deployment, facts);
    make_room(plan, deployment, facts, &image.pin)?;
    bring_image(plan, deployment, container, facts, image);
    Ok(())
}

fn bring_image(plan: &mut Plan, deployment: &Deployment, container: &Container, facts: &Facts, image: &ImageFacts) {
    let tag = image.pin.keeper_tag(&deployment.name);
    if !image.present {
        plan.actions.push(Action::required(Step::Bring(match &container.image {
            ImageSource::Registry(reference) => Bring::Pull {
                image: image.pin.clone(),
                registry: reference.registry().to_owned(),
                platform: container.service.platform.clone(),
            },
            ImageSource::Archive { location, .. } => Bring::Load {
                image: image.pin.clone(),
                archive: location.clone(),
                platform: container.service.platform.clone(),
                bytes: image.bytes,
                missing: image.missing,
            },
        })));
    }
    if !facts.keeper_tags.contains(&tag) {
        plan.actions.push(Action::required(Step::Keep { image: image.pin.clone(), tag }));
    }
}

fn start(
    plan: &mut Plan,
    deployment: &Deployment,
    container: &Container,
    asker: &Asker,
    facts: &Facts,
) -> Result<(), Failure> {
    let image = wanted_image(facts)?;
    assume(plan, facts, image);
    let serving = begin(plan, deployment, facts);
    let spec = container_spec(deployment, container, facts, image);
    let digest = spec_digest(&spec, container)?;
    let same = serving.as_ref().filter(|old| old.ours && old.spec.as_deref() == Some(digest.as_str()));
    if same.is_none() {
        check(container, facts, image)?;
    }
    let release = release(asker, image, &spec, &digest);
    match same {
        Some(same) => keep_serving(plan, same, proof(deployment, container, None), facts, release),
        None => {
            make_room(plan, deployment, facts, &image.pin)?;
            bring_image(plan, deployment, container, facts, image);
            plan.changed_options = changed_options(&spec, facts);
            let put = |spec| labelled(spec, deployment, asker, image, &digest);
            replace(plan, deployment, container, facts, serving.as_ref(), spec, put, release)?;
        }
    }
    prune(plan, deployment, facts, &image.pin);
    Ok(())
}

/// The same image with the same options runs already.
fn keep_serving(plan: &mut Plan, same: &ContainerFacts, proof: Proof, facts: &Facts, release: Release) {
    plan.old = Some(target(same));
    plan.old_ran = same.is_running();
    if !same.is_running() {
        plan.actions.push(Action::required(Step::Start { container: target(same) }));
    }
    plan.actions.push(Action::required(Step::Prove { container: target(same), proof }));
    let recorded = facts.releases.first();
    if recorded.is_none_or(|last| last.observed.container != same.id || last.deployment != release.deployment) {
        plan.actions.push(Action::required(Step::Record { container: target(same), release: Box::new(release) }));
    }
}

/// One container after the other, or the new one beside the old one until the ports are handed over.
#[allow(clippy::too_many_arguments)] // what a release consists of
fn replace(
    plan: &mut Plan,
    deployment: &Deployment,
    container: &Container,
    facts: &Facts,
    old: Option<&ContainerFacts>,
    spec: ContainerSpec,
    labelled: impl Fn(ContainerSpec) -> ContainerSpec,
    release: Release,
) -> Result<(), Failure> {
    let service = &container.service;
    let Some(order) = service.handover else {
        swap(plan, deployment, facts, old, labelled(spec), proof(deployment, container, None), release);
        return Ok(());
    };
    let seen = facts.handover.as_ref();
    let seen = seen.ok_or_else(|| Failure::new(Kind::Unexpected, "the host's tables were not looked at"))?;
    if let Some(old) = old {
        note_stranger(plan, deployment, old);
    }
    let at = handover::place(&deployment.name, service, seen, old)?;
    let spec = labelled(handover::dressed(spec, service, facts.engine.yes(), &at));
    let proof = proof(deployment, container, Some(at.address));
    handover::start(plan, deployment, order, facts, old, handover::Beside { spec, at, proof, release });
    Ok(())
}

/// The swap: everything that can fail without touching the old container comes first.
fn swap(
    plan: &mut Plan,
    deployment: &Deployment,
    facts: &Facts,
    old: Option<&ContainerFacts>,
    spec: ContainerSpec,
    proof: Proof,
    release: Release,
) {
    let name = deployment.name.to_string();
    let created = |name: &str| Target { name: name.to_owned(), id: None };
    let aside = new_name(&deployment.name);
    let remove_new = |name: &str| vec![Step::Remove { container: created(name), volumes: true }];
    plan.actions.push(Action::undone_by(Step::Create(Box::new(spec)), remove_new(&aside)));
    if let Some(old) = old {
        note_stranger(plan, deployment, old);
        plan.old = Some(target(old));
        plan.old_ran = old.is_running();
        set_aside(plan, old, &old_name(&deployment.name), handover::lead_to(facts, &deployment.name, Some(old)));
    }
    plan.actions.push(Action::undone_by(
        Step::Rename { container: created(&aside), to: name.clone() },
        vec![Step::Rename { container: created(&name), to: aside }],
    ));
    // From the handover back to the swap: the engine publishes the ports again.
    plan.actions.extend(handover::lead_to(facts, &deployment.name, None).map(Action::required));
    let start = Step::Start { container: created(&name) };
    plan.actions.push(Action::undone_by(start, vec![Step::Kill { container: created(&name) }]));
    plan.actions.push(Action::required(Step::Prove { container: created(&name), proof }));
    plan.actions.push(Action::required(Step::Record { container: created(&name), release: Box::new(release) }));
    if let Some(old) = old {
        let aside = ContainerFacts { name: old_name(&deployment.name), ..old.clone() };
        plan.actions.push(Action::best_effort(remove(&aside)));
    }
}

/// `lead_back`: where the kernel hands the ports over, the step after which they lead to the old container again.
fn set_aside(plan: &mut Plan, old: &ContainerFacts, aside: &str, lead_back: Option<Step>) {
    if old.is_running() {
        let undo = vec![Step::Kill { container: target(old) }, Step::Start { container: target(old) }];
        let stop = Step::Stop { container: target(old), grace: old.stop_grace };
        plan.actions.push(Action::undone_by(stop, undo));
        plan.interruption = format!(
            "{} is down from `docker stop` (at most {} s) until the new container is proven",
            plan.name,
            old.stop_grace.as_secs()
        );
    }
    let set_aside = Target { name: aside.to_owned(), id: Some(old.id.clone()) };
    plan.actions.push(Action::undone_by(
        Step::Rename { container: target(old), to: aside.to_owned() },
        [Step::Rename { container: set_aside, to: old.name.clone() }].into_iter().chain(lead_back).collect(),
    ));
}

fn validate(plan: &mut Plan, deployment: &Deployment, container: &Container, facts: &Facts) -> Result<(), Failure> {
    let image = wanted_image(facts)?;
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
    let proof = proof(deployment, container, None);
    plan.actions.push(Action::required(Step::Prove { container: target(serving), proof }));
    Ok(())
}

/// `at`: the container's own address, where the host's ports do not lead to it yet.
fn proof(deployment: &Deployment, container: &Container, at: Option<Ipv4Addr>) -> Proof {
    let health = &deployment.health;
    let proof = Proof {
        probe: health.probe.clone(),
        timeout: health.timeout,
        interval: health.interval,
        stable_for: health.stable_for,
        successes: health.successes.unwrap_or(1),
    };
    handover::proof(deployment, container, proof, at)
}

/// Where the image does not fit, the releases before the present one go first. Whether that was enough is looked at
/// again before the first byte is loaded.
fn make_room(plan: &mut Plan, deployment: &Deployment, facts: &Facts, wanted: &ImagePin) -> Result<(), Failure> {
    let Some(refusal) = facts.room.as_ref().and_then(facts::Room::refusal) else { return Ok(()) };
    let before = plan.actions.len();
    prune_to(plan, deployment, facts, wanted, 1);
    if plan.actions.len() == before {
        return Err(refusal);
    }
    plan.notes.push(format!("{}: images of earlier releases go first", refusal.message));
    Ok(())
}

/// Our tags that no kept release holds, and what was brought in for them.
fn prune(plan: &mut Plan, deployment: &Deployment, facts: &Facts, wanted: &ImagePin) {
    let is_recorded = plan.actions.iter().any(|action| matches!(action.step, Step::Record { .. }));
    prune_to(plan, deployment, facts, wanted, deployment.keep - usize::from(is_recorded));
}

/// The same, where the last `earlier` releases are kept.
fn prune_to(plan: &mut Plan, deployment: &Deployment, facts: &Facts, wanted: &ImagePin, earlier: usize) {
    let mut kept: Vec<String> =
        facts.releases.iter().take(earlier).map(|release| release.image.keeper_tag(&deployment.name)).collect();
    kept.push(wanted.keeper_tag(&deployment.name));
    let needed: Vec<&String> = kept.iter().flat_map(|tag| brought_for(facts, tag)).collect();
    for tag in facts.keeper_tags.iter().filter(|tag| !kept.contains(tag)) {
        let references =
            brought_for(facts, tag).filter(|reference| !needed.contains(reference) && !is_of(wanted, reference));
        for reference in references.chain([tag]) {
            let action = Action::best_effort(Step::Untag { reference: reference.clone() });
            if !plan.actions.contains(&action) {
                plan.actions.push(action);
            }
        }
    }
}

fn brought_for<'a>(facts: &'a Facts, tag: &'a str) -> impl Iterator<Item = &'a String> {
    facts.brought.iter().filter(move |brought| brought.tag == tag).flat_map(|brought| &brought.references)
}

fn is_of(pin: &ImagePin, reference: &str) -> bool {
    match pin {
        ImagePin::Content { reference: own, .. } | ImagePin::Unread { reference: own, .. } => {
            own.as_deref() == Some(reference)
        }
        ImagePin::Registry { .. } | ImagePin::Unknown { .. } => pin.argument() == reference,
    }
}

fn wanted_image(facts: &Facts) -> Result<&ImageFacts, Failure> {
    facts.image.as_ref().ok_or_else(|| Failure::new(Kind::Unexpected, "the image was not looked up for this event"))
}

fn assume(plan: &mut Plan, facts: &Facts, image: &ImageFacts) {
    if let facts::Known::No(why) = &facts.engine {
        plan.assumptions.push(format!("no engine was asked ({why}): assumed that nothing runs yet"));
    }
    if let Some(why) = &image.unknown {
        plan.assumptions.push(format!("{} was not looked up ({why}): assumed that it exists", image.pin.argument()));
    }
    if let facts::Known::No(why) = &facts.environment {
        plan.assumptions.push(format!("an env_file was not read ({why}): its variables are missing below"));
    }
}

/// What is known to fail is refused before anything is touched.
fn check(container: &Container, facts: &Facts, image: &ImageFacts) -> Result<(), Failure> {
    if let Some(engine) = facts.engine.yes() {
        check_architecture(container, engine, image)?;
        for (option, needs) in create::engine_needs(&container.service) {
            if engine.api < needs {
                return Err(Failure::new(
                    Kind::Container,
                    format!("`{option}` needs an engine with API {}.{}", needs.0, needs.1),
                )
                .next(format!("this engine is {} (API {}.{})", engine.version, engine.api.0, engine.api.1)));
            }
        }
    }
    if let Some(network) = facts.networks_missing.first() {
        return Err(Failure::new(Kind::Container, format!("network {network} does not exist"))
            .next(format!("create it once on the host: docker network create {network}")));
    }
    handover::check(&container.service, facts)?;
    if let Some(taken) = facts.ports_taken.first() {
        return Err(Failure::new(Kind::Container, format!("host port {} is taken by {}", taken.port, taken.owner))
            .next("stop that, or publish another host port under x-balehook.container.ports"));
    }
    Ok(())
}

fn check_architecture(container: &Container, engine: &facts::EngineFacts, image: &ImageFacts) -> Result<(), Failure> {
    match &image.architecture {
        Some(built) if *built != engine.architecture && container.service.platform.is_none() => Err(Failure::new(
            Kind::Image,
            format!("{} is built for {built}, this host is {}", image.pin.describe(), engine.architecture),
        )
        .next(format!("build it for {}, or set `platform:` if the host can emulate {built}", engine.architecture))),
        _ => Ok(()),
    }
}

fn container_spec(deployment: &Deployment, container: &Container, facts: &Facts, image: &ImageFacts) -> ContainerSpec {
    ContainerSpec {
        name: new_name(&deployment.name),
        image: image.pin.clone(),
        options: create::container_options(&container.service, facts.engine.yes().map(|engine| engine.api)),
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
    let order = if container.service.handover.is_some() { "\nstart-first" } else { "" };
    let text = format!("{}\n{options}\n{environment:?}{order}", spec.image.identity());
    Ok(facts::spec_digest(&text).to_string())
}

fn labelled(
    mut spec: ContainerSpec,
    deployment: &Deployment,
    asker: &Asker,
    image: &ImageFacts,
    digest: &str,
) -> ContainerSpec {
    let labels = spec.options.body.labels.get_or_insert_default();
    labels.insert(facts::LABEL_NAME.into(), deployment.name.to_string());
    labels.insert(facts::LABEL_DEPLOYMENT.into(), asker.deployment.clone());
    labels.insert(facts::LABEL_REVISION.into(), asker.revision.clone());
    labels.insert(facts::LABEL_DIGEST.into(), image.pin.identity().to_string());
    labels.insert(facts::LABEL_SPEC.into(), digest.to_owned());
    spec
}

fn release(asker: &Asker, image: &ImageFacts, spec: &ContainerSpec, digest: &str) -> Release {
    Release {
        format: FORMAT,
        deployment: asker.deployment.clone(),
        revision: asker.revision.clone(),
        source: asker.source.clone(),
        image: image.pin.clone(),
        spec: digest.to_owned(),
        options: spec.run_options(),
        observed: Observed::default(),
    }
}

fn changed_options(spec: &ContainerSpec, facts: &Facts) -> Vec<Vec<String>> {
    let Some(last) = facts.releases.first() else { return Vec::new() };
    spec.run_options().into_iter().filter(|option| !last.options.contains(option)).collect()
}

fn note_stranger(plan: &mut Plan, deployment: &Deployment, container: &ContainerFacts) {
    if !container.ours {
        plan.notes.push(format!(
            "container {} ({}) bears the name {} but not our label: somebody else made it; it is replaced",
            container.name,
            facts::short_id(&container.id),
            deployment.name
        ));
    }
}
