//! What becomes of a project's services where another revision is taken for what runs.

use std::collections::{BTreeMap, BTreeSet};

use crate::modes::compose::changes::{changed_options, of_services};
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::compose::service_change::{Change, ServiceChange};
use crate::modes::operation::{Operation, Plan};
use crate::values::options::OptionChange;

/// A service as a first deployment plans it: its image, and its options with a digest of each value.
#[derive(Default)]
struct Planned<'a> {
    image: Option<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

/// What becomes of every service.
pub(crate) fn services(plan: &Plan, before: &Plan) -> Vec<ServiceChange> {
    let (new, old) = (planned(plan), planned(before));
    let names: BTreeSet<&str> = new.keys().chain(old.keys()).copied().collect();
    names.into_iter().map(|name| change(name, new.get(name), old.get(name))).collect()
}

/// What changes of their options.
pub(crate) fn options(plan: &Plan, before: &Plan, services: &[ServiceChange]) -> Vec<OptionChange> {
    let (new, old) = (recorded(plan), recorded(before));
    of_services(services, str::to_owned, |service| changed_options(service, &old, &new))
}

/// The options that its release will have.
fn recorded(plan: &Plan) -> Vec<Vec<String>> {
    let options = plan.actions.iter().find_map(|action| match &action.operation {
        Operation::Compose(ComposeOperation::SaveRelease(release)) => Some(release.part.options.clone()),
        _ => None,
    });
    options.unwrap_or_default()
}

fn planned(plan: &Plan) -> BTreeMap<&str, Planned<'_>> {
    let mut all: BTreeMap<&str, Planned<'_>> = BTreeMap::new();
    for service in plan.actions.iter().flat_map(|action| action.operation.services()) {
        all.entry(&service.service).or_default().image = service.to.as_deref();
    }
    for action in &plan.actions {
        let Operation::Compose(ComposeOperation::SaveRelease(release)) = &action.operation else { continue };
        for option in &release.part.options {
            if let [service, name, value, ..] = option.as_slice() {
                all.entry(service).or_default().options.insert(name, value);
            }
        }
    }
    all
}

fn change(name: &str, new: Option<&Planned<'_>>, old: Option<&Planned<'_>>) -> ServiceChange {
    let of = |change, from: Option<&str>, to: Option<&str>| ServiceChange {
        service: name.to_owned(),
        change,
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
    };
    let (Some(new), Some(old)) = (new, old) else {
        return match new {
            Some(new) => of(Change::Created, None, new.image),
            None => of(Change::Removed, None, None),
        };
    };
    let is_image = new.image != old.image;
    let names: BTreeSet<&str> = new.options.keys().chain(old.options.keys()).copied().collect();
    let differ = names.into_iter().filter(|name| new.options.get(name) != old.options.get(name));
    let changed: Vec<String> = is_image.then_some("image").into_iter().chain(differ).map(str::to_owned).collect();
    match changed.is_empty() {
        true => of(Change::Unchanged, None, None),
        false => of(Change::Recreated(changed), old.image.filter(|_| is_image), new.image.filter(|_| is_image)),
    }
}
