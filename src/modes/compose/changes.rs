//! What changes of each service of a project: its image, and its options as releases record them.

use std::collections::BTreeSet;

use crate::modes::compose::project::{ServiceFacts, pinned};
use crate::modes::compose::service_change::{Change, ServiceChange};
use crate::modes::facts::Facts;
use crate::values::options::{ChangeKind, OptionChange};
use crate::values::types::Name;

/// An option of a service, a digest of its value, and the value where it is known and may be shown: releases of earlier
/// versions have none.
struct Recorded<'a> {
    option: &'a str,
    digest: &'a str,
    value: Option<&'a String>,
}

/// The options of a service as a release records them.
pub(crate) fn record(service: &ServiceFacts) -> impl Iterator<Item = Vec<String>> {
    service.options.iter().map(|(option, digest)| {
        let value = service.values.get(option).cloned();
        [service.name.clone(), option.clone(), digest.clone()].into_iter().chain(value).collect()
    })
}

fn recorded<'a>(service: &str, records: &'a [Vec<String>]) -> Vec<Recorded<'a>> {
    let all = records.iter().filter_map(|record| match record.as_slice() {
        [name, option, digest, value @ ..] if name == service => {
            Some(Recorded { option, digest, value: value.first() })
        }
        _ => None,
    });
    all.collect()
}

/// What differs between two records of a service's options.
pub(crate) fn changed_options(service: &str, old: &[Vec<String>], new: &[Vec<String>]) -> Vec<OptionChange> {
    let (old, new) = (recorded(service, old), recorded(service, new));
    let names: BTreeSet<&str> = old.iter().chain(&new).map(|it| it.option).collect();
    let sides = names.into_iter().map(|name| {
        let side = |all: &'_ [Recorded<'_>]| all.iter().position(|it| it.option == name);
        (name, side(&old).map(|at| &old[at]), side(&new).map(|at| &new[at]))
    });
    sides.filter_map(|(name, old, new)| changed(service, name, old, new)).collect()
}

/// Values are shown where they are known of each side that is set.
fn changed(service: &str, name: &str, old: Option<&Recorded<'_>>, new: Option<&Recorded<'_>>) -> Option<OptionChange> {
    let kind = match (old, new) {
        (Some(old), Some(new)) if old.digest == new.digest => return None,
        (Some(_), Some(_)) => ChangeKind::Change,
        (None, _) => ChangeKind::Add,
        (Some(_), None) => ChangeKind::Remove,
    };
    let sides = (old.and_then(|it| it.value), new.and_then(|it| it.value));
    let is_half = kind == ChangeKind::Change && (sides.0.is_none() || sides.1.is_none() || sides.0 == sides.1);
    let (was, becomes) = if is_half { (None, None) } else { (sides.0.cloned(), sides.1.cloned()) };
    let change = of(kind, service, name, was, becomes);
    let is_sensitive = ["environment.", "content of secrets."].iter().any(|kind| name.starts_with(kind));
    Some(OptionChange { is_sensitive, ..change })
}

fn of(kind: ChangeKind, service: &str, name: &str, was: Option<String>, becomes: Option<String>) -> OptionChange {
    OptionChange { kind, service: Some(service.to_owned()), name: name.to_owned(), was, becomes, is_sensitive: false }
}

/// What changes of all services. `changed`: the options of one that are others; `image`: an image as a person reads it.
pub(crate) fn of_services(
    services: &[ServiceChange],
    image: impl Fn(&str) -> String,
    changed: impl Fn(&str) -> Vec<OptionChange>,
) -> Vec<OptionChange> {
    let image = |name: &Option<String>| name.as_deref().map(&image);
    let each = services.iter().map(|it| match &it.change {
        Change::Unchanged | Change::Started => Vec::new(),
        Change::Created => vec![of(ChangeKind::Add, &it.service, "service", None, image(&it.to))],
        Change::Removed => vec![of(ChangeKind::Remove, &it.service, "service", None, None)],
        Change::Recreated(options) => {
            let known = changed(&it.service);
            options
                .iter()
                .map(|name| match known.iter().find(|change| change.name == *name) {
                    Some(change) => change.clone(),
                    None if name == "image" => {
                        of(ChangeKind::Change, &it.service, name, image(&it.from), image(&it.to))
                    }
                    // Another file of the host, or a project of which no options are saved.
                    None => of(ChangeKind::Change, &it.service, name, None, None),
                })
                .collect()
        }
    });
    each.flatten().collect()
}

/// An image that a container is created from, by its name where a release or this deployment has it.
pub(crate) fn described(facts: &Facts, image: &str, name: &Name) -> String {
    let saved = facts.releases.iter().flat_map(|release| release.images());
    let mut pins = facts.images.iter().map(|image| &image.pin).chain(saved);
    pins.find(|pin| pinned(pin, name) == image).map_or_else(|| image.to_owned(), |pin| pin.describe())
}
