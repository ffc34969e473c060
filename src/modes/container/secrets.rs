//! The steps that write a container's secrets into memory, and remove them.

use crate::error::{Failure, Kind};
use crate::modes::container::operation::ContainerOperation;
use crate::modes::container::plan::Planner;
use crate::modes::facts::Facts;
use crate::modes::operation::{Action, Plan};
use crate::modes::secrets::observe::source;
use crate::values::pin::ImagePin;
use crate::values::secret_file::{SecretFile, SecretSet};
use crate::values::types::ContentDigest;

/// Stands for a value that is not there yet.
const UNREAD: &str = "unread";

impl Planner<'_> {
    /// The service's secrets for a container of that image and user; none where it has none. A folder that is named by
    /// what is in it is another one when a value changes.
    pub(super) fn secret_set(&self, image: &ImagePin, user: Option<&String>, prefix: &str) -> Option<SecretSet> {
        let seen = &self.facts.container.secrets;
        let digest = |number: usize| seen.digests.get(number).cloned().flatten().unwrap_or_else(|| UNREAD.into());
        let file = |(number, mount): (usize, &crate::config::secrets::SecretMount)| SecretFile {
            name: mount.name.clone(),
            target: mount.target.clone(),
            uid: mount.uid,
            gid: mount.gid,
            mode: mount.mode,
            source: source(&mount.defined, &self.deployment.bundle_root),
            digest: digest(number),
        };
        let files: Vec<SecretFile> = self.container.service.secrets.iter().enumerate().map(file).collect();
        let whole = serde_json::to_string(&(&files, image.identity(), user)).unwrap_or_default();
        let folder = format!("{}/{prefix}{}", seen.base, ContentDigest::of(whole.as_bytes()).short());
        let set = SecretSet { folder, image: image.clone(), user: user.cloned(), files };
        (!set.files.is_empty()).then_some(set)
    }

    /// Why this host cannot give the container its secrets.
    pub(super) fn no_secrets(&self) -> Option<Failure> {
        let (why, next) = self.facts.container.secrets.obstacle.as_ref()?;
        let failure = Failure::new(Kind::Container, format!("`secrets` is not possible here: {why}")).next(next);
        Some(self.deployment.placed(&["secrets"], |_| true, failure))
    }
}

/// Writes a set. What other containers have is not removed where the plan is undone.
pub(super) fn write(facts: &Facts, set: &SecretSet) -> Action {
    let operation = ContainerOperation::WriteSecrets(Box::new(set.clone()));
    let is_there = facts.container.secrets.folders.contains(&set.folder);
    let undo = ContainerOperation::RemoveSecrets { folder: set.folder.clone() };
    Action::undone_by(operation, (!is_there).then_some(undo))
}

/// Writes the set of the saved release anew where it is gone: a host that was restarted has an empty memory.
pub(crate) fn restore(facts: &Facts) -> Option<Action> {
    let release = facts.releases.first()?;
    let set = release.part.container.as_ref()?.request.secrets.as_ref()?;
    let has_container = facts.containers.iter().any(|container| container.id == release.observed.container);
    let is_gone = has_container && !facts.container.secrets.folders.contains(&set.folder);
    is_gone.then(|| Action::required(ContainerOperation::WriteSecrets(Box::new(set.clone()))))
}

/// Removes the sets that no container has any more when the plan is done.
pub(crate) fn sweep(plan: &mut Plan, facts: &Facts, stays: Option<&SecretSet>) {
    let folders = facts.container.secrets.folders.iter();
    for folder in folders.filter(|folder| stays.is_none_or(|set| set.folder != **folder)) {
        plan.attempt(ContainerOperation::RemoveSecrets { folder: folder.clone() });
    }
}
