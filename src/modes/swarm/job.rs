//! A task's job: a service of the swarm whose only task is run to its end. It is removed then.

use std::time::{Duration, Instant};

use http::{HeaderValue, Method};
use serde_json::Value;

use crate::engine::api::Api;
use crate::engine::creation::Creation;
use crate::error::{Failure, Kind};
use crate::images::credentials::CredentialSettings;
use crate::modes::swarm::operation::ServiceRequest;
use crate::modes::swarm::retry::{PAUSE, TRIES};
use crate::modes::swarm::service;
use crate::modes::swarm::service_tasks::{Patience, Task, Tasks, log};
use crate::tasks::{Output, failed, too_long};
use crate::values::labels::LABEL_NODE;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// How long it may take to begin: another node may have to pull the image.
pub(crate) const BEGINS: Duration = Duration::from_secs(60);

/// How long its log may take when it has ended.
const LOG: Duration = Duration::from_secs(5);

/// The same where it is ended because time is up, or a signal came.
const LAST_LOG: Duration = Duration::from_millis(700);

/// Runs it. It is removed, whatever became of it, but where this future is dropped.
///
/// # Errors
/// [`Kind::Task`]: it cannot be created or started, finds no node, ends with another exit code than 0, or takes too long.
pub(crate) async fn run(
    api: &Api,
    task: &str,
    request: &ServiceRequest,
    image: &str,
    credentials: &CredentialSettings,
    limit: Duration,
    creation: &mut Creation,
) -> Result<(), Failure> {
    let auth = service::auth(request, credentials).await?;
    let body = service::body(api, request, image).await?;
    creation.of(create(api, task, request, &body, auth.as_ref())).await?;
    let mut output = Output::new(task);
    let ended = to_its_end(api, task, request, limit, &mut output).await;
    let removed = api.remove(&format!("/services/{}", request.name)).await;
    match ended {
        Err(failure) => Err(failure),
        Ok(Some(how)) => Err(failed(task, &how, output)),
        Ok(None) => removed.map_err(|error| error.failure(&format!("remove service {}", request.name))),
    }
}

/// Ends the job of this name where this node, `me`, has made it; its last output goes to the log. Returns whether there was one.
///
/// # Errors
/// [`Kind::Engine`].
pub(crate) async fn end(api: &Api, me: &str, task: &str, name: &str) -> Result<bool, Failure> {
    let cannot = |error: crate::engine::api::ApiError| error.failure(&format!("remove service {name}"));
    let Some(seen) = Tasks::of(api, name).await.map_err(cannot)? else { return Ok(false) };
    if seen.service.label(LABEL_NODE) != me {
        return Ok(false);
    }
    let mut output = Output::new(task);
    if let Some(task) = seen.every().next() {
        output.take(&log(api, &task.id(), LAST_LOG).await);
    }
    drop(output.last_lines());
    api.remove(&format!("/services/{}", seen.service.id())).await.map_err(cannot)?;
    Ok(true)
}

/// The claim is ours: a job of this name was left by somebody who was killed.
async fn create(
    api: &Api,
    task: &str,
    request: &ServiceRequest,
    body: &Value,
    auth: Option<&HeaderValue>,
) -> Result<(), Failure> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let error = match api.call(Method::POST, "/services/create", Some(body), auth).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if tries == 0 || error.status != Some(409) {
            let message = format!("task {task}: cannot create its job: {}", error.message);
            return Err(Failure::new(Kind::Task, message).next("correct it and deploy again"));
        }
        // What cannot be removed is said by the next creation.
        let _ = api.remove(&format!("/services/{}", request.name)).await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits for its end, and reads its output then. Returns how it failed, where it did.
async fn to_its_end(
    api: &Api,
    task: &str,
    request: &ServiceRequest,
    limit: Duration,
    output: &mut Output<'_>,
) -> Result<Option<String>, Failure> {
    let (began, mut runs, mut unplaced) = (Instant::now(), None::<Instant>, Patience::default());
    loop {
        let seen = Tasks::of(api, &request.name).await;
        let seen = seen.map_err(|error| error.failure(&format!("look at the job of task {task}")))?;
        let Some(mut seen) = seen else {
            return Ok(Some(format!("is lost: somebody removed service {}", request.name)));
        };
        if seen.every().next().is_some_and(|found| found.has_ended()) {
            seen.name_nodes(api).await;
        }
        let how = seen.every().next().map_or(Observer::Waits, |found| look(&found));
        let is_lost = matches!(how, Observer::Unplaced(_)) && unplaced.is_over(api, &seen).await;
        let (how, patience) = match how {
            Observer::Ended(how) => (how, LOG),
            Observer::Runs if runs.get_or_insert_with(Instant::now).elapsed() >= limit => {
                (Some(too_long(limit)), LAST_LOG)
            }
            Observer::Unplaced(why) if is_lost => (Some(format!("finds no node: {why}")), Duration::ZERO),
            Observer::Waits | Observer::Unplaced(_) if began.elapsed() >= BEGINS.max(limit) => {
                (Some(format!("has not begun within {:?}", BEGINS.max(limit))), Duration::ZERO)
            }
            Observer::Runs | Observer::Waits | Observer::Unplaced(_) => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
        };
        if let Some(found) = seen.every().next() {
            output.take(&log(api, &found.id(), patience).await);
        }
        return Ok(how);
    }
}

/// What one look at its only task came to.
enum Observer {
    Waits,
    Unplaced(String),
    Runs,
    Ended(Option<String>),
}

fn look(task: &Task<'_>) -> Observer {
    let place = if task.node().is_empty() { String::new() } else { format!(" on {}", task.node()) };
    match (task.state(), task.exit_code()) {
        ("complete", _) => Observer::Ended(None),
        ("running", _) => Observer::Runs,
        ("failed", Some(code @ 1..)) if task.error().starts_with("task: non-zero exit") => {
            Observer::Ended(Some(format!("ended with exit code {code}{place}")))
        }
        ("failed", _) => Observer::Ended(Some(format!("failed{place}: {}", task.error()))),
        ("rejected", _) => Observer::Ended(Some(format!("was refused{place}: {}", task.error()))),
        ("shutdown" | "remove" | "orphaned", _) => Observer::Ended(Some(format!("is lost: somebody ended it{place}"))),
        ("pending", _) if !task.error().is_empty() => Observer::Unplaced(task.error().to_owned()),
        _ => Observer::Waits,
    }
}
