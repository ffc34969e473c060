//! What was changed by hand of a project's containers, service by service: against what the engine had of them when the
//! release was healthy.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Engine;
use crate::error::Failure;
use crate::modes::as_it_is::AsItIs;
use crate::modes::changeable::{changeable, is_changeable};
use crate::modes::compose::changes::changed_options;
use crate::modes::compose::containers::of_project;
use crate::modes::drift::{CONTAINER, SCALE};
use crate::modes::release::Release;
use crate::values::labels::LABEL_SPEC;
use crate::values::options::{ChangeKind, OptionChange, SetOption};
use crate::values::types::{ContentDigest, Name};

/// What is saved of a service's container: its ID.
const ID: &str = "id";

/// What is saved of it: its image's ID.
const IMAGE: &str = "image";

/// Labels that Compose gives; of these only the digest of the service's configuration says something.
const OF_COMPOSE: &str = "labels.com.docker.compose.";
const CONFIG_HASH: &str = "labels.com.docker.compose.config-hash";

/// An option of a service: `[service, option, digest of its value]`, and the value where it may be shown.
type Record = Vec<String>;

/// What the engine has of each service, for its release. What is known of a container that `last` was saved with stays:
/// that may have been changed since.
pub(crate) async fn observe(
    engine: &Engine,
    project: &str,
    (last, salt): (Option<&Release>, Option<&str>),
) -> Result<Vec<Record>, Failure> {
    let last = last.map(|last| by_service(&last.observed.options)).unwrap_or_default();
    let mut all: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for (service, record) in containers(engine, project, salt).await? {
        let known = last.get(service.as_str()).filter(|known| value(known, ID) == value(&record, ID));
        all.entry(service).or_insert_with(|| known.cloned().unwrap_or(record));
    }
    Ok(all.into_values().flatten().collect())
}

/// `None` where an earlier version saved the release, or nothing of the project is there.
pub(crate) async fn changes(engine: &Engine, name: &Name, release: &Release) -> Option<Vec<OptionChange>> {
    let saved = by_service(&release.observed.options);
    let now = containers(engine, name.as_str(), release.salt()).await.ok()?;
    if saved.is_empty() || now.is_empty() {
        return None;
    }
    let project = release.part.compose.as_ref()?;
    Some(of(&saved, &now, &project.health_check.services))
}

/// `scale`: how many containers each service has.
fn of(
    saved: &BTreeMap<&str, Vec<Record>>,
    now: &[(String, Vec<Record>)],
    scale: &[(String, usize)],
) -> Vec<OptionChange> {
    let mut all = Vec::new();
    for (service, wanted) in scale {
        let found: Vec<&Vec<Record>> = now.iter().filter(|(name, _)| name == service).map(|(_, it)| it).collect();
        if found.len() != *wanted {
            all.push(change(service, SCALE, &wanted.to_string(), &found.len().to_string()));
        }
        let Some(saved) = saved.get(service.as_str()) else { continue };
        let mut changed: Vec<OptionChange> = Vec::new();
        for container in found {
            changed.extend(
                of_container(service, saved, container)
                    .into_iter()
                    .filter(|new| !changed.contains(new))
                    .collect::<Vec<_>>(),
            );
        }
        all.append(&mut changed);
    }
    let known: BTreeSet<&str> = scale.iter().map(|(service, _)| service.as_str()).collect();
    let others: BTreeSet<&str> =
        now.iter().map(|(service, _)| service.as_str()).filter(|it| !known.contains(it)).collect();
    all.extend(others.into_iter().map(|service| change(service, CONTAINER, "none", "created by another tool")));
    all
}

/// Only some options of a container can change. One that another tool made has any of them otherwise.
fn of_container(service: &str, saved: &[Record], now: &[Record]) -> Vec<OptionChange> {
    let spec = format!("labels.{LABEL_SPEC}");
    let is_ours = value(saved, &spec) == value(now, &spec);
    let shown = |all: &[Record]| -> Vec<Record> {
        let is_shown =
            |name: &str| is_changeable(name) || !is_ours && name != ID && !name.starts_with("labels.balehook.");
        all.iter().filter(|record| record.get(1).is_some_and(|name| is_shown(name))).cloned().collect()
    };
    let other = (!is_ours).then(|| change(service, CONTAINER, "of its release", "created by another tool"));
    other.into_iter().chain(changed_options(service, &shown(saved), &shown(now))).collect()
}

fn change(service: &str, name: &str, was: &str, becomes: &str) -> OptionChange {
    let (was, becomes) = (Some(was.to_owned()), Some(becomes.to_owned()));
    let (service, name) = (Some(service.to_owned()), name.to_owned());
    OptionChange { kind: ChangeKind::Change, service, name, was, becomes, is_sensitive: false }
}

/// The containers of the project, each with its service. `salt`: of the release, where values of it are fetched.
async fn containers(engine: &Engine, project: &str, salt: Option<&str>) -> Result<Vec<(String, Vec<Record>)>, Failure> {
    let mut all = Vec::new();
    for (container, service) in of_project(&engine.list().await?, project) {
        let Some(it) = AsItIs::observe(engine, container.id.as_deref().unwrap_or_default()).await else { continue };
        let records = records(&service, &it, salt.unwrap_or_default());
        all.push((service, records));
    }
    Ok(all)
}

fn records(service: &str, it: &AsItIs, salt: &str) -> Vec<Record> {
    let mut options = changeable(&it.spec);
    options.extend(it.chosen().into_iter().filter(|option| !is_changeable(&option.name) && !is_of_engine(option)));
    let mut by_name: BTreeMap<String, Vec<&SetOption>> = BTreeMap::new();
    options.iter().for_each(|option| by_name.entry(option.name.clone()).or_default().push(option));
    let image = SetOption { name: IMAGE.into(), value: it.spec.image.describe(), hidden: None };
    let id = it.spec.image.argument();
    let own = [record(service, ID, &it.id, &[]), record(service, IMAGE, &id, &[&image])];
    own.into_iter()
        .chain(by_name.iter().map(|(name, values)| {
            let whole: Vec<&str> = values.iter().map(|value| value.whole()).collect();
            let salt = if name.starts_with("environment") { salt } else { "" };
            record(service, name, &format!("{salt}{}", whole.join("\n")), values)
        }))
        .collect()
}

/// What differs from container to container of one service, or from version to version of Compose.
fn is_of_engine(option: &SetOption) -> bool {
    let name = option.name.as_str();
    let is_anonymous = name == "volumes" && option.value.split(':').next().is_some_and(|name| name.len() == 64);
    name == IMAGE || name == "hostname" || is_anonymous || name.starts_with(OF_COMPOSE) && name != CONFIG_HASH
}

fn record(service: &str, name: &str, whole: &str, shown: &[&SetOption]) -> Record {
    let mut record = vec![service.to_owned(), name.to_owned(), ContentDigest::of(whole.as_bytes()).short().to_owned()];
    let is_shown =
        name != CONFIG_HASH && shown.iter().all(|option| option.hidden.is_none() && !option.value.is_empty());
    if is_shown && !shown.is_empty() {
        record.push(shown.iter().map(|option| option.value.as_str()).collect::<Vec<_>>().join(", "));
    }
    record
}

fn value<'a>(records: &'a [Record], name: &str) -> Option<&'a String> {
    records.iter().find(|record| record.get(1).is_some_and(|it| it == name))?.get(2)
}

fn by_service(records: &[Record]) -> BTreeMap<&str, Vec<Record>> {
    let mut all: BTreeMap<&str, Vec<Record>> = BTreeMap::new();
    for record in records {
        if let Some(service) = record.first() {
            all.entry(service).or_default().push(record.clone());
        }
    }
    all
}
