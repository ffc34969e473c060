//! Creating, updating and rolling back a service. Of managers that write at once one succeeds: the service has a version.

use std::time::{Duration, Instant};

use http::{HeaderValue, Method};
use serde_json::{Value, json};

use crate::engine::api::{Api, ApiError};
use crate::error::{Failure, Kind};
use crate::images::credentials::CredentialSettings;
use crate::images::pull;
use crate::modes::fill;
use crate::modes::host::Host;
use crate::modes::swarm::observe::{items, text};
use crate::modes::swarm::operation::ServiceRequest;
use crate::modes::swarm::plan::drift::variable;
use crate::modes::swarm::retry::{PAUSE, retry_on_conflict, unless_stale};
use crate::modes::swarm::service_tasks::{Service, Tasks};
use crate::poll;
use crate::values::labels::{LABEL_SPEC, LABEL_STOPPED};

/// How long an undo waits for the tasks of the spec before: the agent kills us 5 s after its SIGTERM.
const BACK: Duration = Duration::from_millis(2500);

/// How long they must be up: the swarm may be about to stop one for the task that failed.
const STAYS: Duration = Duration::from_secs(1);

/// Creates the service, unless another manager did with the same spec.
/// Errors: [`Kind::Container`] with the engine's words; another deployment created it.
pub(crate) async fn create(api: &Api, host: &Host, request: &ServiceRequest) -> Result<Vec<String>, Failure> {
    let (body, auth, said) = to_send(api, host, request).await?;
    let what = format!("create service {}", request.name);
    retry_on_conflict(&what, async || {
        if let Some(found) = find(api, &request.name).await? {
            if found.label(LABEL_SPEC) != request.digest {
                return Err(overtaken(&request.name));
            }
            host.follows.set(true);
            return Ok(Some(vec![format!("another manager created {}", request.name)]));
        }
        match api.call(Method::POST, "/services/create", Some(&body), auth.as_ref()).await {
            Ok(_) => Ok(Some(said.clone())),
            Err(error) if error.status == Some(409) => Ok(None),
            Err(error) => Err(refused(&error, &what)),
        }
    })
    .await
}

/// Updates the service, unless another manager did with the same spec.
/// Errors: [`Kind::Container`] with the engine's words; another deployment changed it; the swarm rolled the same spec
/// back already.
pub(crate) async fn update(api: &Api, host: &Host, request: &ServiceRequest) -> Result<Vec<String>, Failure> {
    let (body, auth, said) = to_send(api, host, request).await?;
    let what = format!("update service {}", request.name);
    let mut is_late = false;
    retry_on_conflict(&what, async || {
        let found = find(api, &request.name).await?.ok_or_else(|| gone(&request.name))?;
        let label = found.label(LABEL_SPEC);
        if label == request.digest && (is_late || request.before.as_deref() != Some(&request.digest)) {
            host.follows.set(true);
            return Ok(Some(vec![format!("another manager updated {}", request.name)]));
        }
        if label != request.before.as_deref().unwrap_or_default() {
            return Err(overtaken(&request.name));
        }
        if found.update_state().starts_with("rollback") && found.update_began() != request.began {
            host.follows.set(true);
            let (name, why) = (&request.name, found.update_message());
            let message = format!("another manager's update of {name} was rolled back: {why}");
            let failure = Failure::new(Kind::Health, message);
            return Err(failure.next("the other manager's report has the tasks' own errors"));
        }
        let written = unless_stale(write(api, &found, &body, "", auth.as_ref()).await);
        is_late = written == Ok(None);
        Ok(written.map_err(|error| refused(&error, &what))?.map(|()| said.clone()))
    })
    .await
}

/// Gives the swarm a new token of a registry, with the spec as it is: no task restarts.
pub(crate) async fn renew_token(
    api: &Api,
    name: &str,
    registry: &str,
    credentials: &CredentialSettings,
) -> Result<(), Failure> {
    let Some(auth) = pull::auth_header(registry, credentials).await? else { return Ok(()) };
    let what = format!("renew the token of {registry} for {name}");
    retry_on_conflict(&what, async || {
        let Some(found) = find(api, name).await? else { return Ok(Some(())) };
        // The swarm would roll back to the spec that is rolling out, had we written it once more.
        if matches!(found.update_state(), "updating" | "rollback_started") {
            return Ok(Some(()));
        }
        unless_stale(write(api, &found, found.spec(), "", Some(&auth)).await).map_err(|error| error.failure(&what))
    })
    .await
}

/// Changes the number of tasks; `stopped`: how many there were, for who starts them again.
pub(crate) async fn scale(api: &Api, name: &str, to: u64, stopped: Option<u64>) -> Result<(), Failure> {
    let change = |spec: &mut Value| {
        spec["Mode"]["Replicated"]["Replicas"] = to.into();
        if let Some(labels) = spec["Labels"].as_object_mut() {
            labels.remove(LABEL_STOPPED);
            labels.extend(stopped.map(|before| (LABEL_STOPPED.to_owned(), before.to_string().into())));
        }
    };
    changed(api, name, &format!("scale {name}"), change).await
}

/// Replaces every task by a new one of the same spec.
pub(crate) async fn restart(api: &Api, name: &str) -> Result<(), Failure> {
    let change = |spec: &mut Value| {
        let force = &mut spec["TaskTemplate"]["ForceUpdate"];
        *force = (force.as_u64().unwrap_or_default() + 1).into();
    };
    changed(api, name, &format!("restart {name}"), change).await
}

/// Writes the spec in force with a change; the registry's credentials stay as they are.
async fn changed(api: &Api, name: &str, what: &str, change: impl Fn(&mut Value)) -> Result<(), Failure> {
    retry_on_conflict(what, async || {
        let found = find(api, name).await?.ok_or_else(|| gone(name))?;
        let mut spec = found.spec().clone();
        change(&mut spec);
        unless_stale(write(api, &found, &spec, "", None).await).map_err(|error| error.failure(what))
    })
    .await
}

/// Where `spec` is in force, puts the one back that was before it, and waits for its tasks, [`BACK`] at most each time.
pub(crate) async fn rollback(api: &Api, name: &str, spec: &str) -> Result<Vec<String>, Failure> {
    let what = format!("roll {name} back");
    let mut previous: Option<Value> = None;
    retry_on_conflict(&what, async || {
        let found = find(api, name).await?.ok_or_else(|| gone(name))?;
        if found.label(LABEL_SPEC) != spec {
            return Ok(back(api, name, spec).await);
        }
        let written = match (found.previous(), &previous) {
            // After ours the swarm rolled back too, which put `spec` in force again and left no spec to roll back to. The other
            // managers must see a rollback, so that the spec before is written as an update only then.
            (None, Some(kept)) => write(api, &found, kept, "", None).await,
            (before, _) => {
                previous = before.or(previous.take());
                write(api, &found, found.spec(), "&rollback=previous", None).await
            }
        };
        match unless_stale(written).map_err(|error| error.failure(&what))? {
            Some(()) => Ok(back(api, name, spec).await),
            None => Ok(None),
        }
    })
    .await
}

/// Waits for the tasks of the spec that was put back; a message where not all of them run yet. `None`: `spec` is in force
/// again.
async fn back(api: &Api, name: &str, spec: &str) -> Option<Vec<String>> {
    let (mut running, mut wanted) = (0, 0);
    let mut all_up: Option<Instant> = None;
    let ended = poll::until(BACK, PAUSE, async || {
        let seen = Tasks::of(api, name).await.ok().flatten();
        if seen.as_ref().is_some_and(|seen| seen.service.label(LABEL_SPEC) == spec) {
            return Err(InForce);
        }
        (running, wanted) = seen.as_ref().map_or((0, 0), |seen| (seen.running().len(), seen.desired()));
        all_up = (seen.is_some() && running >= wanted).then(|| all_up.unwrap_or_else(Instant::now));
        Ok(all_up.is_some_and(|since| since.elapsed() >= STAYS).then_some(()))
    });
    match ended.await {
        Err(InForce) => None,
        Ok(Some(())) => Some(Vec::new()),
        Ok(None) => {
            Some(vec![format!("{running} of {wanted} tasks of the spec before run; the swarm goes on starting them")])
        }
    }
}

/// The spec that was rolled back is in force again.
struct InForce;

/// Removes the service where `spec` is in force.
pub(crate) async fn remove(api: &Api, name: &str, spec: &str) -> Result<(), Failure> {
    let Some(found) = find(api, name).await?.filter(|found| found.label(LABEL_SPEC) == spec) else { return Ok(()) };
    let removed = api.remove(&format!("/services/{}", found.id())).await;
    removed.map_err(|error| error.failure(&format!("remove service {name}")))
}

async fn find(api: &Api, name: &str) -> Result<Option<Service>, Failure> {
    let found = api.find(&format!("/services/{name}")).await;
    found.map(|found| found.map(Service::new)).map_err(|error| error.failure(&format!("inspect service {name}")))
}

async fn write(
    api: &Api,
    found: &Service,
    body: &Value,
    more: &str,
    auth: Option<&HeaderValue>,
) -> Result<(), ApiError> {
    let path = format!("/services/{}/update?version={}{more}", found.id(), found.version());
    api.call(Method::POST, &path, Some(body), auth).await.map(drop)
}

/// The request as it is sent, with what only this host knows: the image's name, the environment's values, the IDs of files;
/// the registry's credentials beside it; and which values are others than those of the saved release.
pub(crate) async fn to_send(
    api: &Api,
    host: &Host,
    request: &ServiceRequest,
) -> Result<(Value, Option<HeaderValue>, Vec<String>), Failure> {
    let (environment, said) = fill::filled(&host.fetcher, &request.environment).await?;
    let auth = match &request.registry {
        Some(registry) => pull::auth_header(registry, &host.images.credentials).await?,
        None => None,
    };
    let mut spec = request.spec.clone();
    let container = &mut spec["TaskTemplate"]["ContainerSpec"];
    container["Image"] = host.image(&request.image).await?.into();
    if !environment.is_empty() {
        container["Env"] = environment.iter().map(variable).collect();
    }
    for (list, collection, name, id) in
        [("Secrets", "/secrets", "SecretName", "SecretID"), ("Configs", "/configs", "ConfigName", "ConfigID")]
    {
        let Some(files) = container[list].as_array_mut() else { continue };
        let all = api.get(collection).await.map_err(|error| error.failure(&format!("list {}", &collection[1..])))?;
        for file in files {
            let found = items(&all).find(|known| known["Spec"]["Name"] == file[name]);
            let missing =
                || Failure::new(Kind::Container, format!("the swarm has no {} {}", &collection[1..], file[name]));
            file[id] = json!(text(&found.ok_or_else(missing)?["ID"]));
        }
    }
    // Reading a list that is absent leaves a null behind.
    if let Some(container) = container.as_object_mut() {
        container.retain(|_, value| !value.is_null());
    }
    Ok((spec, auth, said))
}

fn refused(error: &ApiError, what: &str) -> Failure {
    Failure {
        kind: if error.status.is_some() && !error.is_leaderless() { Kind::Container } else { Kind::Engine },
        ..error.failure(what)
    }
}

fn overtaken(name: &str) -> Failure {
    Failure::new(Kind::Container, format!("another deployment changed service {name} meanwhile"))
        .next("let it end, then deploy again")
}

fn gone(name: &str) -> Failure {
    Failure::new(Kind::Container, format!("service {name} is gone: it was removed")).next("deploy again")
}
