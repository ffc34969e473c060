//! What this node can get to know of the swarm: read-only, the facts for a plan.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::swarm::{FileKind, FileSource, MountedFile, Swarm};
use crate::engine::api::{Api, ApiError, filter};
use crate::error::{Failure, Kind, ObserveFailure};
use crate::inputs;
use crate::modes::facts::Facts;
use crate::modes::observe::Observer;
use crate::modes::secrets;
use crate::modes::swarm::facts::{LiveSpec, Role, ServiceFacts, SwarmFacts, TaskLockFacts};
use crate::modes::swarm::placement::NodeProperties;
use crate::modes::swarm::plan::service_spec::file_name;
use crate::values::labels::{LABEL_DEPLOYMENT, LABEL_NAME, LABEL_NODE, LABEL_OUTCOME, LABEL_TASK};
use crate::values::source::Source;
use crate::values::types::{ContentDigest, Name, Secret};

/// Largest secret or config, in bytes. Source: swarmkit, `MaxSecretSize`; a config may have twice as much.
const LARGEST: u64 = 500 * 1024;

impl Observer<'_> {
    pub(crate) async fn swarm(&self, swarm: &Swarm, facts: &mut Facts) {
        let contents = self.contents(swarm, facts);
        let (Ok(engine), Some(_)) = (&self.engine, facts.engine.yes()) else {
            let fetched = Box::pin(self.fetched_secrets(swarm, facts)).await;
            facts.swarm = Some(SwarmFacts { contents, fetched, ..SwarmFacts::empty(Role::Manager) });
            return;
        };
        match observe(&Api::of(engine), &self.deployment.name).await {
            Ok(mut seen) => {
                seen.contents = contents;
                // A manager makes the secrets.
                if seen.role != Role::Worker {
                    seen.fetched = Box::pin(self.fetched_secrets(swarm, facts)).await;
                }
                if let Some((missing, _)) = seen.missing(swarm).filter(|_| seen.role == Role::Manager) {
                    facts.put_off_object(&missing.message);
                }
                if let Ok(image) = facts.image(&swarm.need().key(&self.deployment.bundle_root)) {
                    seen.image_id =
                        engine.find(&image.pin, &self.deployment.name).await.ok().flatten().and_then(|i| i.id);
                }
                facts.swarm = Some(seen);
            }
            Err(error) => {
                facts.failures.push(ObserveFailure { failure: error.failure("observe the swarm"), definite: false });
            }
        }
    }

    fn contents(&self, swarm: &Swarm, facts: &mut Facts) -> BTreeMap<PathBuf, ContentDigest> {
        let mut contents = BTreeMap::new();
        for file in &swarm.files {
            if let FileSource::Variable { stem, name, value } = &file.source {
                self.variable_secret(file, (stem, name), value.as_ref(), facts);
            }
            let FileSource::File { path, .. } = &file.source else { continue };
            if facts.put_off(path).is_some() {
                continue;
            }
            match read(path, Some(&self.deployment.bundle_root)) {
                Ok(bytes) => drop(contents.insert(path.clone(), ContentDigest::of(&bytes))),
                Err(failure) => facts.failures.push(ObserveFailure { failure, definite: true }),
            }
        }
        contents
    }

    /// The digests of values that are fetched.
    async fn fetched_secrets(&self, swarm: &Swarm, facts: &mut Facts) -> HashMap<Source, ContentDigest> {
        let of = |file: &MountedFile| match &file.source {
            FileSource::Fetched { stem, source } => Some((stem.clone(), source.clone())),
            FileSource::Existing(_) | FileSource::Variable { .. } | FileSource::File { .. } => None,
        };
        let named: Vec<(String, Source)> = swarm.files.iter().filter_map(of).collect();
        self.fetch_secrets(&named, facts).await;
        let mut digests = HashMap::new();
        for file in &swarm.files {
            let FileSource::Fetched { source, .. } = &file.source else { continue };
            let Some(value) = self.fetcher.file(source) else { continue };
            let digest = ContentDigest::of(value.reveal());
            self.secrets.add_as(&file_name(file, Some(digest.short())), value);
            digests.insert(source.clone(), digest);
        }
        digests
    }

    /// The plan knows a value by the name of its secret.
    fn variable_secret(
        &self,
        file: &MountedFile,
        (stem, name): (&str, &str),
        value: Option<&Secret>,
        facts: &mut Facts,
    ) {
        match secrets::observe::of_variable(stem, name, value) {
            Ok(value) => {
                let digest = ContentDigest::of(value.reveal());
                self.secrets.add_as(&file_name(file, Some(digest.short())), value);
            }
            Err(failure) => {
                let failure = self.deployment.placed(&["secrets"], |text| text == name, failure);
                facts.failures.push(ObserveFailure { failure, definite: true });
            }
        }
    }
}

/// The content of a secret or a config.
pub(crate) fn read(path: &Path, bundle: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let bad = |why: String| {
        Failure::new(Kind::Appspec, format!("cannot make a secret or config of {}: {why}", path.display()))
            .next("put the file into the bundle, and name it relative to appspec.yml")
    };
    inputs::read(path, bundle, LARGEST).map_err(|error| bad(error.to_string()))
}

pub(crate) async fn observe(api: &Api, name: &Name) -> Result<SwarmFacts, ApiError> {
    let info = api.get("/info").await?;
    let mut seen = SwarmFacts::empty(role(&info["Swarm"]));
    seen.node = text(&info["Swarm"]["NodeID"]);
    if seen.role != Role::Manager {
        return Ok(seen);
    }
    let all = api.get("/nodes").await?;
    seen.is_drained = items(&all).any(|node| node["ID"] == *seen.node && node["Spec"]["Availability"] != "active");
    seen.nodes = nodes(&all);
    seen.properties = items(&all).map(NodeProperties::of).collect();
    seen.service = api.find(&format!("/services/{name}")).await?.map(service);
    let networks = api.get("/networks").await?;
    let swarm_wide = items(&networks).filter(|network| network["Scope"] == "swarm");
    seen.networks = swarm_wide.map(|network| (text(&network["Name"]), text(&network["Id"]))).collect();
    for (kind, path) in [(FileKind::Secret, "/secrets"), (FileKind::Config, "/configs")] {
        let all = api.get(path).await?;
        let named = |file: &Value| (kind, text(&file["Spec"]["Name"]));
        seen.files.extend(items(&all).map(named));
        let ours = items(&all).filter(|file| file["Spec"]["Labels"][LABEL_NAME] == *name.as_str());
        seen.made.extend(ours.map(named));
    }
    let services = api.get(&format!("/services?{}", filter("label", &format!("{LABEL_NAME}={name}")))).await?;
    let of_tasks = items(&services).filter(|service| service["Spec"]["Labels"][LABEL_TASK].is_string());
    seen.task_locks = of_tasks.map(task_lock).collect();
    Ok(seen)
}

fn task_lock(service: &Value) -> TaskLockFacts {
    let label = |name: &str| text(&service["Spec"]["Labels"][name]);
    TaskLockFacts {
        service: text(&service["Spec"]["Name"]),
        id: text(&service["ID"]),
        node: label(LABEL_NODE),
        deployment: label(LABEL_DEPLOYMENT),
        has_ended: !label(LABEL_OUTCOME).is_empty(),
    }
}

fn role(swarm: &Value) -> Role {
    match swarm["LocalNodeState"].as_str().unwrap_or_default() {
        "active" if swarm["ControlAvailable"] == true => Role::Manager,
        "active" => Role::Worker,
        "inactive" | "" => Role::Outside,
        other => Role::Unusable(format!("this node is {other} {}", text(&swarm["Error"])).trim().to_owned()),
    }
}

fn nodes(all: &Value) -> Vec<String> {
    let usable =
        items(all).filter(|node| node["Status"]["State"] == "ready" && node["Spec"]["Availability"] == "active");
    let mut names: Vec<String> = usable.map(|node| text(&node["Description"]["Hostname"])).collect();
    names.sort_unstable();
    names
}

fn service(found: Value) -> ServiceFacts {
    ServiceFacts {
        id: text(&found["ID"]),
        began: found["UpdateStatus"]["StartedAt"].as_str().map(str::to_owned),
        spec: LiveSpec::new(found["Spec"].clone()),
    }
}

/// The items of a list; none of anything else.
pub(crate) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text; the empty one for anything else.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
