//! What the receivers of `notify` are sent when an event or a command has ended.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::gethostname;
use serde::{Deserialize, Serialize};

use crate::app::Context;
use crate::config::notify::{Notify, Occasion};
use crate::config::{Deployment, Mode};
use crate::deploy::origin::Origin;
use crate::deploy::state::Store;
use crate::error::{Failure, Kind};
use crate::images::facts::ImageFacts;
use crate::modes::operation::Plan;
use crate::modes::release::Release;
use crate::notify::report::Report;
use crate::notify::{Sender, send};
use crate::ui::text::Console;
use crate::values::pin::ImagePin;
use crate::values::types::LifecycleEvent;
use crate::{files, inputs};

/// Longest time for all receivers together.
const LIMIT: Duration = Duration::from_secs(5);
/// The same after a signal: the agent kills soon.
const AFTER_SIGNAL: Duration = Duration::from_secs(1);
/// With less time than this nothing is sent.
const LEAST: Duration = Duration::from_millis(200);
/// The receivers, in the state folder: a rollback has no revision that names them.
const FILE: &str = "notify.json";
/// Where cloud-init writes the instance's ID.
const INSTANCE: &str = "/var/lib/cloud/data/instance-id";
/// Lines of evidence that are sent.
const EVIDENCE: usize = 3;

/// The receivers, and what they are sent.
#[derive(Debug)]
pub(super) struct Notification {
    receivers: Saved,
    name: String,
    deployment: String,
    is_swarm: bool,
    images: Vec<String>,
    previous: Option<String>,
    /// Another manager of the swarm sends it.
    is_silent: bool,
    /// Sending ends by then.
    end: Instant,
}

/// The receivers of the last revision that was started here.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    folder: PathBuf,
    notify: Vec<Notify>,
}

impl Notification {
    /// `end`: the hook's own.
    pub(super) fn of(deployment: &Deployment, origin: &Origin, end: Instant) -> Self {
        let receivers = Saved { folder: deployment.bundle_root.clone(), notify: deployment.notify.clone() };
        Self {
            receivers,
            name: deployment.name.to_string(),
            deployment: origin.deployment.clone(),
            is_swarm: matches!(deployment.mode, Mode::Swarm(_)),
            images: Vec::new(),
            previous: None,
            is_silent: false,
            end,
        }
    }

    /// That of a rollback; `None` where there are no receivers.
    pub(super) fn of_rollback(store: &Store, name: &str, to: &Release, end: Instant) -> Option<Self> {
        let text = inputs::read_state(&store.folder().join(FILE)).ok()?;
        let mut notification = Self {
            receivers: serde_json::from_slice(&text).ok()?,
            name: name.to_owned(),
            deployment: to.deployment.clone(),
            is_swarm: false,
            images: to.images().map(ImagePin::describe).collect(),
            previous: None,
            is_silent: false,
            end,
        };
        notification.replaces_release_of(store);
        Some(notification)
    }

    pub(super) fn replaces_release_of(&mut self, store: &Store) {
        self.previous = store.releases::<serde::de::IgnoredAny>().first().map(|release| release.image.describe());
    }

    pub(super) fn images(&mut self, images: &[ImageFacts]) {
        self.images = images.iter().map(|image| image.pin.describe()).collect();
    }

    /// Of all managers of a swarm, the one that creates or updates the service sends it.
    pub(super) fn plan(&mut self, plan: &Plan) {
        self.is_silent = self.is_swarm && !plan.actions.iter().any(|action| action.operation.has_changed_options());
    }

    /// A manager that planned an update and found it made leaves it to the other one.
    pub(super) const fn follows(&mut self, another: bool) {
        self.is_silent |= another;
    }

    /// For a rollback, which has no revision.
    pub(super) fn save(&self, store: &Store) -> Result<(), Failure> {
        let path = store.folder().join(FILE);
        if self.receivers.notify.is_empty() && !path.exists() {
            return Ok(());
        }
        files::write_unsynced(&path, &self.receivers)
    }

    /// Sends how an event ended.
    pub(super) async fn send_event(
        &self,
        context: &Context,
        event: LifecycleEvent,
        (code, failure): (u8, Option<&Failure>),
        began: Instant,
        console: &mut Console<'_>,
    ) {
        let occasion = match (code, failure) {
            (0, None) if event == LifecycleEvent::ApplicationStart => Occasion::Success,
            (0, _) => return,
            _ => Occasion::Failure,
        };
        self.send(context, occasion, (&event.to_string(), code, failure), began, console).await;
    }

    pub(super) async fn send(
        &self,
        context: &Context,
        occasion: Occasion,
        (event, code, failure): (&str, u8, Option<&Failure>),
        began: Instant,
        console: &mut Console<'_>,
    ) {
        if self.is_silent || !self.receivers.notify.iter().any(|notify| notify.on.contains(&occasion)) {
            return;
        }
        let is_interrupted = failure.is_some_and(|failure| failure.kind == Kind::Interrupted);
        let most = if is_interrupted { AFTER_SIGNAL } else { LIMIT };
        let limit = self.end.saturating_duration_since(Instant::now()).min(most);
        if limit < LEAST {
            console.line("warning: no notification was sent: the hook's time is up");
            return;
        }
        let report = Report {
            occasion,
            name: self.name.clone(),
            deployment: self.deployment.clone(),
            event: event.to_owned(),
            exit_code: code,
            images: self.images.clone(),
            previous: self.previous.clone(),
            took: began.elapsed(),
            error: failure.map(error).unwrap_or_default(),
            host: host().unwrap_or_default(),
            instance: instance(Path::new(INSTANCE)),
        };
        let sender = Sender { env: &context.env, folder: &self.receivers.folder, limit };
        for why in send(&self.receivers.notify, &report, &sender).await {
            console.line(&format!("warning: {why}"));
        }
    }
}

/// The cause first, then what was seen last, then what to do.
fn error(failure: &Failure) -> Vec<String> {
    let evidence = &failure.evidence[failure.evidence.len().saturating_sub(EVIDENCE)..];
    let next = failure.next.as_ref().map(|next| format!("next: {next}"));
    [failure.message.clone()].into_iter().chain(evidence.iter().cloned()).chain(next).collect()
}

/// This host's name.
pub(super) fn host() -> Option<String> {
    gethostname().ok()?.into_string().ok()
}

fn instance(path: &Path) -> Option<String> {
    let id = String::from_utf8(inputs::read(path, None, 256).ok()?).ok()?;
    Some(id.trim().to_owned()).filter(|id| id.starts_with("i-"))
}
