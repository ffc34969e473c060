//! Anonymous volumes of the container before go on with the new one, as in Compose: what an image's `VOLUME` or
//! `volumes: ["/data"]` made. The engine never removes a volume with a container that was given it by name, nor one that
//! another container has: a failed new container leaves the old one's volumes alone.

use bollard::models::{ContainerCreateBody, HostConfig, ImageInspect, MountType};

use crate::engine::facts::ContainerFacts;
use crate::engine::request::ContainerSpec;
use crate::modes::container::plan::Planner;
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

/// Whether the new container may have a place for the volume; then it gets it there.
fn carry(spec: &mut ContainerSpec, volume: &AnonymousVolume) -> bool {
    let body = &mut spec.options.body;
    let is_there = |path: &String| path.trim_end_matches('/') == volume.path;
    if body.volumes.iter().flatten().any(is_there) {
        bind(body, volume);
        return true;
    }
    let host = body.host_config.get_or_insert_default();
    let mut mounts = host.mounts.iter_mut().flatten();
    if let Some(mount) = mounts.find(|mount| mount.target.as_ref().is_some_and(is_there)) {
        let is_anonymous = mount.typ == Some(MountType::VOLUME) && mount.source.is_none();
        if is_anonymous {
            mount.source = Some(volume.name.clone());
        }
        return is_anonymous;
    }
    let is_free = !other_targets(host).any(|target| target.trim_end_matches('/') == volume.path);
    if is_free {
        spec.if_declared.push(volume.clone());
    }
    is_free
}

/// Exactly these volumes, at their paths: what a container had that is created anew.
pub(super) fn give(spec: &mut ContainerSpec, had: &[AnonymousVolume]) {
    spec.if_declared.clear();
    had.iter().for_each(|volume| _ = carry(spec, volume));
    let of_image = std::mem::take(&mut spec.if_declared);
    of_image.iter().for_each(|volume| bind(&mut spec.options.body, volume));
}

/// The paths of binds and tmpfs.
fn other_targets(host: &HostConfig) -> impl Iterator<Item = &str> {
    let binds = host.binds.iter().flatten().filter_map(|bind| bind.split(':').nth(1));
    binds.chain(host.tmpfs.iter().flat_map(|tmpfs| tmpfs.keys()).map(String::as_str))
}

fn bind(body: &mut ContainerCreateBody, volume: &AnonymousVolume) {
    body.host_config.get_or_insert_default().binds.get_or_insert_default().push(volume.bind());
}

/// The request for this very image, and the volumes for which that has no place.
pub(super) fn declared(spec: &ContainerSpec, image: &ImageInspect) -> (ContainerSpec, Vec<AnonymousVolume>) {
    let mut spec = spec.clone();
    let declared = image.config.as_ref().and_then(|config| config.volumes.clone()).unwrap_or_default();
    let has = |volume: &AnonymousVolume| declared.iter().any(|path| path.trim_end_matches('/') == volume.path);
    let (carried, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut spec.if_declared).into_iter().partition(has);
    carried.iter().for_each(|volume| bind(&mut spec.options.body, volume));
    (spec, stay)
}
