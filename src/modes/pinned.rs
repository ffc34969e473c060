//! `pin` and `unpin`: whether a release is never pruned. Values in, a plan out.

use crate::error::{Failure, Kind};
use crate::images::operation::ImageOperation;
use crate::modes::by_hand::MarkOperation;
use crate::modes::facts::Facts;
use crate::modes::operation::Plan;
use crate::modes::rollback::{is, target};
use crate::values::pin::ImagePin;
use crate::values::types::Name;

/// Keeps a release, and its images, from every `prune`. `missing`: images of it that the engine does not have.
///
/// # Errors
/// It is not kept any more, or its image is gone from the engine and in no registry.
pub fn pin(name: &Name, facts: &Facts, wanted: &str, missing: &[&ImagePin]) -> Result<Plan, Failure> {
    let mut plan = begun("pin", name, facts)?;
    let release = target(name, &facts.releases, Some(wanted))?;
    if let Some(gone) = missing.iter().find(|pin| !matches!(pin, ImagePin::Registry { .. })) {
        let why = format!("{} is not in the engine any more: {release} could not come back", gone.describe());
        return Err(Failure::new(Kind::Image, why).next("deploy its revision with CodeDeploy, then pin that"));
    }
    for image in missing {
        plan.notes.push(format!("{} is not in this engine: a rollback pulls it", image.describe()));
    }
    for image in release.images().filter(|image| !missing.contains(image)) {
        let tag = image.retention_tag(name);
        if !facts.retention_tags.contains(&tag) {
            plan.require(ImageOperation::Retain { image: image.clone(), tag });
        }
    }
    match facts.releases.iter().any(|release| release.pinned && is(release, wanted)) {
        true => plan.notes.push(format!("{release} is pinned already")),
        false => plan.require(MarkOperation::Pin { number: release.number, what: release.to_string() }),
    }
    Ok(plan)
}

/// Gives a release back to `keep:`.
///
/// # Errors
/// It is not kept any more.
pub fn unpin(name: &Name, facts: &Facts, wanted: &str) -> Result<Plan, Failure> {
    let mut plan = begun("unpin", name, facts)?;
    let release = target(name, &facts.releases, Some(wanted))?;
    for release in facts.releases.iter().filter(|release| release.pinned && is(release, wanted)) {
        plan.require(MarkOperation::Unpin { number: release.number, what: release.to_string() });
    }
    if plan.actions.is_empty() {
        plan.notes.push(format!("{release} is not pinned"));
    }
    Ok(plan)
}

fn begun(command: &str, name: &Name, facts: &Facts) -> Result<Plan, Failure> {
    match facts.left {
        None => Ok(Plan::new(command, name)),
        Some(_) => {
            let why = format!("a deployment of {name} was killed, and is not finished or undone");
            Err(Failure::new(Kind::State, why).next(format!("balehook resume {name}, then {command} it")))
        }
    }
}
