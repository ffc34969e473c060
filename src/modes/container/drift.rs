//! What was changed by hand of the container of a release.

use crate::engine::Engine;
use crate::modes::as_it_is::AsItIs;
use crate::modes::changeable::{self, NETWORKS};
use crate::modes::drift::CONTAINER;
use crate::modes::release::{ContainerRelease, Release};
use crate::values::labels::LABEL_SPEC;
use crate::values::options::{ChangeKind, OptionChange};
use crate::values::types::Name;
use crate::values::volume::AnonymousVolume;

/// `None` where no container bears the name, or its image is gone.
pub(crate) async fn changes(
    engine: &Engine,
    name: &Name,
    release: &Release,
    kept: &ContainerRelease,
) -> Option<Vec<OptionChange>> {
    Some(of(&AsItIs::observe(engine, name.as_str()).await?, release, kept))
}

/// Only some options of a container can change. Another container has any of them otherwise.
pub(crate) fn of(now: &AsItIs, release: &Release, kept: &ContainerRelease) -> Vec<OptionChange> {
    let mut changed = changeable::changed(&kept.request, &now.spec);
    let label = now.spec.options.body.labels.as_ref().and_then(|labels| labels.get(LABEL_SPEC));
    if label == Some(&release.spec) {
        return changed;
    }
    let mut all = vec![by_another_tool(release)];
    all.extend(image(now, release));
    all.append(&mut changed);
    all.extend(whole(now, kept));
    all
}

fn change(name: &str, was: String, becomes: String) -> OptionChange {
    let (was, becomes) = (Some(was), Some(becomes));
    OptionChange { kind: ChangeKind::Change, service: None, name: name.to_owned(), was, becomes, is_sensitive: false }
}

fn by_another_tool(release: &Release) -> OptionChange {
    change(CONTAINER, format!("of {}", release.deployment), "created by another tool".to_owned())
}

/// By the image's ID: a tag that was moved changes nothing of what runs.
fn image(now: &AsItIs, release: &Release) -> Option<OptionChange> {
    let id = now.spec.image.argument();
    (id != release.observed.image_id).then(|| change("image", release.image.describe(), now.spec.image.describe()))
}

/// What else it was made with; images and networks are compared elsewhere.
fn whole(now: &AsItIs, kept: &ContainerRelease) -> Vec<OptionChange> {
    let carried: Vec<String> = kept.request.if_declared.iter().map(AnonymousVolume::bind).collect();
    let is_compared = |change: &OptionChange| {
        changeable::is_changeable(&change.name)
            || matches!(change.name.as_str(), "image" | "platform" | "network_mode")
            || change.name.starts_with(NETWORKS)
            || change.name.starts_with("content of ")
    };
    let is_carried = |change: &OptionChange| {
        let values = change.was.iter().chain(&change.becomes);
        values.into_iter().any(|value| carried.iter().any(|bind| value.starts_with(bind)))
    };
    let mut changed: Vec<OptionChange> = now.changes(&kept.request).into_iter().map(OptionChange::reversed).collect();
    changed.retain(|change| !is_compared(change) && !is_carried(change));
    changed
}
