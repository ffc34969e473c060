//! Does each operation of a swarm.

use std::path::Path;

use base64::Engine as _;
use http::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config::swarm::FileKind;
use crate::deploy::release::Observed;
use crate::engine::Engine;
use crate::engine::api::Api;
use crate::error::{Failure, Kind};
use crate::health::check::HealthCheck;
use crate::health::checker::Members;
use crate::modes::host::Host;
use crate::modes::release::Release;
use crate::modes::swarm;
use crate::modes::swarm::observe::{items, text};
use crate::modes::swarm::operation::SwarmOperation;
use crate::modes::swarm::{local_tasks, node_check, rollout, run_once, service, task_lock};
use crate::values::labels::{LABEL_NAME, LABEL_REGISTRY};
use crate::values::operation::{Moment, Outcome};
use crate::values::types::ContentDigest;

impl SwarmOperation {
    pub(crate) async fn perform(&self, host: &mut Host) -> Result<Outcome, Failure> {
        let api = Api::of(&host.engine);
        match self {
            Self::Init => init(&api).await?,
            Self::Network { name } => network(&api, name).await?,
            Self::File { kind, name, path, owner } => file(&api, *kind, name, path, owner).await?,
            Self::Secret { name, variable, owner } => {
                let value = host.secrets.get(name).ok_or_else(|| unset(name, variable))?;
                create(&api, FileKind::Secret, name, value.reveal(), owner).await?;
            }
            Self::CheckNodes(wanted) => node_check::check(&api, wanted, &host.image(&wanted.image).await?).await?,
            Self::Create(request) => return service::create(&api, host, request).await.map(Outcome::with),
            Self::Update(request) => return service::update(&api, host, request).await.map(Outcome::with),
            Self::RenewToken { service, registry } => {
                service::renew_token(&api, service, registry, &host.images.credentials).await?;
            }
            Self::RolloutCheck(wanted) => return rollout::wait_for_rollout(&api, wanted).await.map(Outcome::with),
            Self::Probe { service, health_check } => check_health(host, service, health_check).await?,
            Self::LocalTasks { service, image, patience, monitor } => {
                let image = host.image(image).await?;
                let tasks = local_tasks::wait(&host.engine, service, &image, *patience, *monitor).await;
                return tasks.map(Outcome::with);
            }
            Self::SaveRelease { service, release } => save(host, &api, service, release).await?,
            Self::Rollback { service, spec } => return service::rollback(&api, service, spec).await.map(Outcome::with),
            Self::Remove { service, spec } => service::remove(&api, service, spec).await?,
            Self::Scale { service, to, stopped } => service::scale(&api, service, *to, *stopped).await?,
            Self::Restart { service } => service::restart(&api, service).await?,
            Self::RunTask(task) => return run_once::run(host, task).await.map(Outcome::with),
            Self::EndTask(task_lock) => run_once::end(host, task_lock).await?,
            Self::RemoveTaskLock { service, id } => task_lock::remove(&api, service, id).await?,
            Self::RemoveFile { kind, name } => remove_file(&api, *kind, name).await?,
        }
        Ok(Outcome::changed())
    }

    pub(crate) async fn evidence(&self, engine: &Engine, moment: Moment) -> Vec<String> {
        let (Self::RolloutCheck(wanted), Moment::Failed(Kind::Deadline)) = (self, moment) else { return Vec::new() };
        rollout::waiting(engine, wanted).await
    }
}

/// The registry whose token a service of ours needs; `None` on a node that manages no swarm, or has no such service.
pub(crate) async fn registry_of(api: &Api, name: &crate::values::types::Name) -> Option<String> {
    let found = api.once(Method::GET, &format!("/services/{name}"), None, None).await.ok()?;
    let labels = &found["Spec"]["Labels"];
    let ours = labels[LABEL_NAME] == *name.as_str();
    labels[LABEL_REGISTRY].as_str().filter(|_| ours).map(str::to_owned)
}

/// A swarm of this host alone, which listens on 127.0.0.1 only.
async fn init(api: &Api) -> Result<(), Failure> {
    let body = json!({ "ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1" });
    match api.once(Method::POST, "/swarm/init", Some(&body), None).await {
        Err(error) if error.status != Some(503) || !error.message.contains("already part of a swarm") => {
            Err(error.failure("make a swarm").next("docker swarm init --advertise-addr ADDRESS"))
        }
        _ => Ok(()),
    }
}

async fn network(api: &Api, name: &str) -> Result<(), Failure> {
    let body = json!({ "Name": name, "Driver": "overlay", "Attachable": true, "CheckDuplicate": true });
    match api.call(Method::POST, "/networks/create", Some(&body), None).await {
        Err(error) if error.status != Some(409) => Err(error.failure(&format!("create network {name}"))),
        _ => Ok(()),
    }
}

const fn collection(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Secret => "secrets",
        FileKind::Config => "configs",
    }
}

async fn file(api: &Api, kind: FileKind, name: &str, path: &Path, owner: &str) -> Result<(), Failure> {
    let bytes = Zeroizing::new(swarm::observe::read(path, None)?);
    // The name has digits of the digest. The whole one is in no record: it would tell whether a guess at a secret is right.
    if !name.ends_with(ContentDigest::of(&bytes).short()) {
        return Err(Failure::new(Kind::Container, format!("{} changed while we deployed", path.display()))
            .next("deploy again when nothing writes to it"));
    }
    create(api, kind, name, &bytes, owner).await
}

fn unset(name: &str, variable: &str) -> Failure {
    Failure::new(Kind::Container, format!("the value of {variable}, for the secret {name}, is lost"))
        .next("deploy again")
}

async fn create(api: &Api, kind: FileKind, name: &str, bytes: &[u8], owner: &str) -> Result<(), Failure> {
    let data = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(bytes));
    let body = json!({ "Name": name, "Labels": { LABEL_NAME: owner }, "Data": *data });
    match api.call(Method::POST, &format!("/{}/create", collection(kind)), Some(&body), None).await {
        // Another manager created it, with the same content: the name has its digest.
        Err(error) if error.status != Some(409) => Err(error.failure(&format!("create {} {name}", kind.as_str()))),
        _ => Ok(()),
    }
}

async fn remove_file(api: &Api, kind: FileKind, name: &str) -> Result<(), Failure> {
    let (collection, word) = (collection(kind), kind.as_str());
    let all = api.get(&format!("/{collection}")).await.map_err(|error| error.failure(&format!("list {collection}")))?;
    let Some(found) = items(&all).find(|file| file["Spec"]["Name"] == *name) else { return Ok(()) };
    let removed = api.remove(&format!("/{collection}/{}", text(&found["ID"]))).await;
    removed.map_err(|error| error.failure(&format!("remove {word} {name}")))
}

/// From this host: the swarm has checked the tasks already.
async fn check_health(host: &mut Host, service: &str, wanted: &HealthCheck) -> Result<(), Failure> {
    let nothing = async || Ok(Members::default());
    let checked = host.health.check(&host.engine, service, wanted, nothing).await;
    let next = format!("docker service logs {service}; raise health.timeout if it only boots longer");
    checked.map_err(|unhealthy| unhealthy.failure.next(next))
}

async fn save(host: &Host, api: &Api, service: &str, release: &Release) -> Result<(), Failure> {
    // A worker gets no answer: its release names the image that it imported.
    let found = api.once(Method::GET, &format!("/services/{service}"), None, None).await.unwrap_or(Value::Null);
    let ports = items(&found["Endpoint"]["Ports"])
        .map(|port| format!("{}->{}/{}", port["PublishedPort"], port["TargetPort"], text(&port["Protocol"])));
    let observed = Observed {
        at: jiff::Timestamp::now().to_string(),
        container: text(&found["ID"]),
        image_id: text(&found["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]),
        ports: ports.collect(),
        ..Observed::default()
    };
    host.save(release, observed)
}
