//! Anonymous volumes of the container before go on with the new one, as in Compose: what an image's `VOLUME` or
//! `volumes: ["/data"]` made. The engine never removes a volume with a container that was given it by name, nor one that
//! another container has: a failed new container leaves the old one's volumes alone.

use crate::engine::facts::ContainerFacts;
use crate::engine::request::ContainerSpec;
use crate::modes::container::plan::Planner;
use crate::modes::volumes::carry;
use crate::values::volume::AnonymousVolume;

impl Planner<'_> {
    /// Gives the new container what the one before had; what has no place in it stays on the host, and is named.
    pub(super) fn carry_volumes(&mut self, spec: &mut ContainerSpec, serving: Option<&ContainerFacts>) {
        let before = match serving {
            // The engine removes them when that ends, but not those that another container has.
            Some(old) if old.auto_remove => return old.volumes.iter().for_each(|volume| _ = carry(spec, volume)),
            Some(old) => &old.volumes,
            None => &self.facts.container.volumes_left,
        };
        let stays = before.iter().filter(|volume| !carry(spec, volume)).map(stays);
        self.plan.notes.extend(stays);
        let is_beside = self.container.service.start_first.is_some();
        if is_beside && serving.is_some_and(|old| old.is_running() && !old.volumes.is_empty()) {
            let note =
                "the old and the new container have the same anonymous volumes open until the old one is stopped";
            self.plan.notes.push(note.into());
        }
    }
}

/// What becomes of a volume that no container has any more.
pub(super) fn stays(volume: &AnonymousVolume) -> String {
    let AnonymousVolume { name, path } = volume;
    format!("the new container has no place for the anonymous volume of {path}: it stays (docker volume rm {name})")
}

/// The same after ApplicationStop.
pub(super) fn kept(volume: &AnonymousVolume) -> String {
    let AnonymousVolume { name, path } = volume;
    format!("the anonymous volume of {path} stays for the next ApplicationStart (docker volume rm {name})")
}
