//! Images in any mode: imported, retained by a tag of ours, pruned when no kept release has them.

use crate::config::{Deployment, ImageNeed, ImageSource, Pull};
use crate::deploy::plan::Repair;
use crate::deploy::release::kept;
use crate::engine::facts::EngineFacts;
use crate::error::{Failure, Kind};
use crate::images::facts::{ImageFacts, Room};
use crate::images::operation::{ImageOperation, Import};
use crate::modes::facts::Facts;
use crate::modes::operation::{Action, Operation, Plan};
use crate::modes::release::Release;
use crate::values::known::Known;
use crate::values::pin::{ImagePin, retention_tag};
use crate::values::reference::ImageReference;
use crate::values::types::{ContentDigest, Name};

/// The image of a deployment, and those that its tasks have of their own.
pub(crate) struct Images<'a> {
    pub(crate) own: &'a ImageFacts,
    pub(crate) of_tasks: Vec<(ImageNeed, &'a ImageFacts)>,
}

impl<'a> Images<'a> {
    pub(crate) fn pins(&self) -> Vec<&'a ImagePin> {
        [self.own].into_iter().chain(self.of_tasks.iter().map(|(_, image)| *image)).map(|image| &image.pin).collect()
    }

    /// Imports all of them, `need` being the deployment's own, where there is room.
    pub(crate) fn import(
        &self,
        plan: &mut Plan,
        deployment: &Deployment,
        need: &ImageNeed,
        facts: &Facts,
    ) -> Result<Imports, Failure> {
        make_room(plan, deployment, facts, &self.pins());
        let mut imports = Imports::default();
        imports.add(plan, &deployment.name, need, facts, self.own);
        self.of_tasks.iter().for_each(|(need, image)| imports.add(plan, &deployment.name, need, facts, image));
        Ok(imports)
    }
}

/// How each image of a deployment is imported, also where the engine says that it has it.
#[derive(Debug, Default)]
pub(crate) struct Imports(Vec<(Import, bool)>);

impl Imports {
    /// Imports an image where the engine lacks it, and gives it the tag of ours that retains it.
    pub(crate) fn add(&mut self, plan: &mut Plan, name: &Name, need: &ImageNeed, facts: &Facts, image: &ImageFacts) {
        if is_put_off(image, facts) || self.0.iter().any(|(known, _)| *known.image() == image.pin) {
            return;
        }
        plan.notes.extend(verification(image));
        if let Some(import) = import(need, image) {
            if !image.present {
                plan.require(ImageOperation::Import(import.clone()));
            }
            self.0.push((import, image.present));
        }
        let tag = image.pin.retention_tag(name);
        if !facts.retention_tags.contains(&tag) {
            let retain = ImageOperation::Retain { image: image.pin.clone(), tag };
            plan.require(retain);
        }
    }

    /// What imports each of them again that is lost.
    pub(crate) fn if_lost(&self) -> Vec<Operation> {
        self.each(|_, _| true)
    }

    /// The same for those that the engine had before.
    pub(crate) fn if_lost_before(&self) -> Vec<Operation> {
        self.each(|_, was_present| was_present)
    }

    /// The same for one of them.
    pub(crate) fn if_lost_of(&self, pin: &ImagePin) -> Vec<Operation> {
        self.each(|import, _| import.image() == pin)
    }

    fn each(&self, wanted: impl Fn(&Import, bool) -> bool) -> Vec<Operation> {
        let these = self.0.iter().filter(|(import, was_present)| wanted(import, *was_present));
        these.map(|(import, _)| Operation::Image(ImageOperation::ImportIfLost(import.clone()))).collect()
    }
}

/// Where the last release is created again, images of it that were removed are imported again.
pub(crate) fn restoring(mut action: Action, facts: &Facts) -> Action {
    let if_lost = facts.releases.first().map(if_lost).unwrap_or_default();
    let repair = || Repair::of(&[Kind::Container, Kind::Health, Kind::Image], if_lost.clone());
    if action.operation.creates_again() {
        action.repair = repair();
    }
    action.undo.iter_mut().filter(|step| step.operation.creates_again()).for_each(|step| step.repair = repair());
    action
}

/// It is not there yet, and need not be.
fn is_put_off(image: &ImageFacts, facts: &Facts) -> bool {
    image.unknown.as_ref().is_some_and(|why| facts.not_yet.contains(why))
}

/// What was verified of each image, where none is imported yet.
pub(crate) fn verified(facts: &Facts) -> impl Iterator<Item = String> {
    facts.images.iter().filter(|image| !is_put_off(image, facts)).filter_map(verification)
}

/// What was verified of an image, or what will be.
fn verification(image: &ImageFacts) -> Option<String> {
    let (pin, verify) = (image.pin.describe(), image.verify.as_ref()?);
    let is = if image.unknown.is_none() { "is verified" } else { "is to be verified" };
    let findings = image.findings.as_ref().map(|found| format!("; the scan has found {found}")).unwrap_or_default();
    Some(format!("{pin} {is}: {verify}{findings}"))
}

/// Where an archive lay is not saved with a release.
pub(crate) fn if_lost(release: &Release) -> Vec<Operation> {
    let platform = release.part.container.as_ref().and_then(|kept| kept.request.options.platform.clone());
    let pulls = release.images().filter_map(|image| {
        let ImagePin::Registry { repository, .. } = image else { return None };
        let registry = repository.parse::<ImageReference>().ok()?.registry().to_owned();
        let import = Import::Pull { image: image.clone(), registry, platform: platform.clone() };
        Some(Operation::Image(ImageOperation::ImportIfLost(import)))
    });
    pulls.collect()
}

/// How it is imported; `None` where only this host has it, or nothing may be pulled.
fn import(need: &ImageNeed, image: &ImageFacts) -> Option<Import> {
    Some(match &need.source {
        ImageSource::Registry(_, Pull::Never, ..) => return None,
        ImageSource::Registry(..) if matches!(image.pin, ImagePin::Content { .. }) => return None,
        ImageSource::Registry(reference, Pull::Always | Pull::Missing, ..) => Import::Pull {
            image: image.pin.clone(),
            registry: reference.registry().to_owned(),
            platform: need.platform.clone(),
        },
        ImageSource::Archive { location, reference, .. } => Import::Load {
            image: image.pin.clone(),
            reference: reference.clone().map(Box::new),
            archive: location.clone(),
            platform: need.platform.clone(),
            bytes: image.bytes,
            missing: image.missing,
        },
    })
}

/// Where the images do not fit, those of the releases before the present one go first. Whether that was enough is
/// observed again before the first byte is loaded. Too little, and nothing that could go, fails the plan.
pub(crate) fn make_room(plan: &mut Plan, deployment: &Deployment, facts: &Facts, wanted: &[&ImagePin]) {
    let Some(refusal) = facts.room.as_ref().and_then(Room::refusal) else { return };
    let before = plan.actions.len();
    prune_to(plan, &deployment.name, facts, wanted, 1, Vec::new());
    match plan.actions.len() == before {
        true => plan.would_fail.push(refusal),
        false => plan.notes.push(format!("{}: images of earlier releases go first", refusal.message)),
    }
}

/// Our tags that no kept release holds, and what imports gave their images.
pub(crate) fn prune(plan: &mut Plan, deployment: &Deployment, facts: &Facts, wanted: &[&ImagePin]) {
    prune_to(plan, &deployment.name, facts, wanted, deployment.keep - usize::from(plan.saves()), Vec::new());
}

/// The same between two deployments: every saved release stays, and what containers of the name were made of.
pub(crate) fn prune_saved(plan: &mut Plan, name: &Name, facts: &Facts) {
    let made = facts.containers.iter().filter_map(|container| container.digest.as_ref()?.parse::<ContentDigest>().ok());
    let of_containers = made.map(|digest| retention_tag(name, &digest)).collect();
    prune_to(plan, name, facts, &[], usize::MAX, of_containers);
}

/// The same, where the last `earlier` releases are kept, those that are pinned, and the tags `more`.
fn prune_to(plan: &mut Plan, name: &Name, facts: &Facts, wanted: &[&ImagePin], earlier: usize, more: Vec<String>) {
    let kept = kept(&facts.releases, earlier).flat_map(|release| release.images());
    // A swarm goes on with the spec in force, also with one that no release is saved of.
    let in_force = facts.swarm.iter().filter(|_| !plan.saves()).filter_map(|seen| seen.retention_tag(name));
    let kept: Vec<String> =
        kept.chain(wanted.iter().copied()).map(|image| image.retention_tag(name)).chain(in_force).chain(more).collect();
    let needed: Vec<&String> = kept.iter().flat_map(|tag| imported_for(facts, tag)).collect();
    // A kill after a pull leaves the image without its tag.
    let imported = facts.imported.iter().map(|imported| &imported.tag);
    let imported = imported.filter(|tag| !facts.retention_tags.contains(tag));
    let is_free = |tag: &&String| !kept.contains(tag) && !facts.of_swarm_tasks.contains(tag);
    for tag in facts.retention_tags.iter().chain(imported).filter(is_free) {
        let references = imported_for(facts, tag)
            .filter(|reference| !needed.contains(reference) && !wanted.iter().any(|image| is_of(image, reference)));
        for reference in references.chain([tag]) {
            let action = Action::best_effort(ImageOperation::Untag { reference: reference.clone() });
            if !plan.actions.contains(&action) {
                plan.actions.push(action);
            }
        }
    }
}

fn imported_for<'a>(facts: &'a Facts, tag: &'a str) -> impl Iterator<Item = &'a String> {
    facts.imported.iter().filter(move |imported| imported.tag == tag).flat_map(|imported| &imported.references)
}

fn is_of(pin: &ImagePin, reference: &str) -> bool {
    match pin {
        ImagePin::Content { reference: own, .. } | ImagePin::Unread { reference: own, .. } => {
            own.as_deref() == Some(reference)
        }
        ImagePin::Registry { .. } | ImagePin::Unknown { .. } => pin.argument() == reference,
    }
}

/// What was not looked up of an image is said, and where no registry was asked.
pub(crate) fn assume(plan: &mut Plan, image: &ImageFacts) {
    let note = format!("{} is taken as the engine has it: no registry is asked", image.pin.describe());
    if image.from_host && !plan.notes.contains(&note) {
        plan.notes.push(note);
    }
    if let Some(why) = &image.unknown {
        plan.assumptions.push(format!("{} was not looked up ({why}): assumed that it exists", image.pin.argument()));
    }
}

/// The same of the engine and of env files; `without` is what is assumed where no engine was asked.
pub(crate) fn assume_all(plan: &mut Plan, facts: &Facts, image: &ImageFacts, without: &str) {
    if let Known::No(why) = &facts.engine {
        plan.assumptions.push(format!("no engine was asked ({why}): assumed {without}"));
    }
    assume(plan, image);
    if let Known::No(why) = &facts.environment {
        plan.assumptions.push(format!("not all variables were read ({why}): they are missing below"));
    }
}

/// An image for another processor is refused, unless a platform was asked for.
pub(crate) fn check_architecture(
    platform: Option<&str>,
    engine: &EngineFacts,
    image: &ImageFacts,
) -> Result<(), Failure> {
    match &image.architecture {
        Some(built) if *built != engine.architecture && platform.is_none() => Err(Failure::new(
            Kind::Image,
            format!("{} is built for {built}, this host is {}", image.pin.describe(), engine.architecture),
        )
        .next(format!("build it for {}, or set `platform:` if the host can emulate {built}", engine.architecture))),
        _ => Ok(()),
    }
}
