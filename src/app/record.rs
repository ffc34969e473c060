//! What an event does, as it goes into the history.

use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::app::notify::Notification;
use crate::config::hook_env::HookEnv;
use crate::deploy::command::EventOrCommand;
use crate::deploy::execute::Progress;
use crate::deploy::history::{Details, Ended, EventRecord, History, StepRecord};
use crate::deploy::origin::Origin;
use crate::deploy::outcome::{Done, Failed};
use crate::deploy::plan::Operation as _;
use crate::deploy::state::LockedStore;
use crate::error::Failure;
use crate::images::facts::ImageFacts;
use crate::modes::operation::{Operation, Plan};
use crate::ui::progress;
use crate::ui::text::Console;
use crate::values::pin::ImagePin;
use crate::values::secret::masked;
use crate::values::text::{printable, shorten};

/// So many changed options, and answers about health, are remembered.
const CHANGES: usize = 200;

/// An event under way. What cannot be written of it goes to the log: no deployment fails for its history.
pub(crate) struct Recorder {
    pub(crate) began: Instant,
    event: EventOrCommand,
    /// Who ran it by hand, where it is known.
    pub(crate) by: Option<String>,
    history: Option<(Rc<LockedStore>, History)>,
    at: Timestamp,
    moved: u64,
    steps: Vec<StepRecord>,
    /// When the step under way began.
    step_began: Option<Instant>,
    down: Option<Duration>,
    details: Details,
    /// What is sent at its end.
    pub(super) notification: Option<Notification>,
    /// Bytes of the images that were indexed, and of those the ones that were missing.
    indexed: (u64, u64),
}

impl Recorder {
    pub(crate) fn new(event: impl Into<EventOrCommand>, began: Instant, env: &HookEnv) -> Self {
        let at = Timestamp::now() - began.elapsed();
        Self {
            event: event.into(),
            by: None,
            began,
            history: None,
            at,
            moved: progress::moved(),
            steps: Vec::new(),
            step_began: None,
            down: None,
            details: Details { group: env.group(), ..Details::default() },
            notification: None,
            indexed: (0, 0),
        }
    }

    /// From here on the lock is held.
    pub(crate) fn begin(&mut self, store: Rc<LockedStore>, origin: &Origin) {
        let event = self.record(Ended::NotYet { pid: std::process::id() }, Vec::new());
        self.history = written(History::begin(&store, origin, event)).map(|history| (store, history));
    }

    /// What the images of the revision are.
    pub(crate) fn images(&mut self, images: &[ImageFacts]) {
        self.pins(images.iter().map(|image| &image.pin));
        for missing in images.iter().filter_map(|image| image.missing) {
            let (total, bytes) = self.indexed;
            self.indexed = (total + missing.total, bytes + missing.bytes);
            let (left_out, layers) = self.details.layers;
            self.details.layers = (left_out + missing.of - missing.layers, layers + missing.of);
        }
    }

    pub(crate) fn pins<'a>(&mut self, images: impl Iterator<Item = &'a ImagePin>) {
        let known = images.filter(|image| !matches!(image, ImagePin::Unknown { .. }));
        if let Some((_, history)) = &mut self.history {
            history.resolved(known.map(ImagePin::describe).collect());
        }
    }

    /// What the plan changes of the options of what serves.
    pub(crate) fn plan(&mut self, plan: &Plan) {
        self.details.compared_with.clone_from(&plan.compared_with);
        self.details.changes = plan.changed_options.iter().take(CHANGES).cloned().collect();
    }

    pub(crate) fn step(&mut self, step: String, is_undo: bool) {
        self.step_ends();
        let after_ms = milliseconds(self.began.elapsed());
        self.steps.push(StepRecord { step, after_ms, took_ms: 0, is_undo, failed: false });
        self.step_began = Some(Instant::now());
    }

    pub(crate) fn step_failed(&mut self) {
        self.step_ends();
        if let Some(step) = self.steps.last_mut() {
            step.failed = true;
        }
    }

    fn step_ends(&mut self) {
        if let (Some(step), Some(began)) = (self.steps.last_mut(), self.step_began.take()) {
            step.took_ms = milliseconds(began.elapsed());
        }
    }

    /// The plan has ended. `last_words`: what the containers of a release that failed have said last.
    pub(crate) fn ended(&mut self, outcome: &Result<Done, Box<Failed>>, last_words: &[u8], health: &[String]) {
        self.step_ends();
        self.details.health = health.iter().take(CHANGES).map(|answer| masked(answer)).collect();
        self.down = outcome.as_ref().ok().and_then(|done| done.down);
        if let Some((store, history)) = self.history.as_ref().filter(|_| outcome.is_err() && !last_words.is_empty()) {
            let text = String::from_utf8_lossy(last_words);
            let text: String = text.lines().map(|line| masked(line) + "\n").collect();
            written(history.keep_log(store, text.as_bytes()));
        }
    }

    /// The event has ended; `failure` with the exit code, `console` what it printed last.
    pub(crate) fn end(mut self, failure: Option<(u8, Failure)>, console: Vec<String>) {
        let Some((store, history)) = self.history.take() else { return };
        let ended = match failure {
            Some((exit_code, failure)) => Ended::Failed { exit_code, cause: masked(&failure.to_string()) },
            None => Ended::Succeeded,
        };
        let event = self.record(ended, console);
        written(history.end(&store, event));
    }

    fn record(&mut self, ended: Ended, console: Vec<String>) -> EventRecord {
        let moved = progress::moved() - self.moved;
        let (total, missing) = self.indexed;
        // Where layers were lost meanwhile, all were sent.
        let left_out = total.saturating_sub(missing.max(moved));
        EventRecord {
            event: self.event,
            by: self.by.clone(),
            at: self.at.to_string(),
            took_ms: milliseconds(self.began.elapsed()),
            ended,
            moved,
            down_ms: self.down.map(milliseconds),
            steps: std::mem::take(&mut self.steps),
            console,
            details: Details { left_out, ..self.details.clone() },
        }
    }
}

/// Who runs a command by hand: behind `sudo` its caller, else the user of this process.
pub(crate) fn who(env: &HookEnv) -> String {
    let uid = nix::unistd::getuid().to_string();
    let named =
        |name: &str| env.lookup(name).map(|value| shorten(&printable(value), 64)).filter(|name| !name.is_empty());
    match (named("SUDO_USER"), named("SUDO_UID")) {
        (Some(user), Some(uid)) => format!("{user} (uid {uid}, by sudo)"),
        (Some(user), None) => format!("{user} (by sudo)"),
        (None, _) => format!("uid {uid}"),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn written<T>(result: Result<T, Failure>) -> Option<T> {
    result.inspect_err(|failure| tracing::warn!(%failure, "the history lacks it")).ok()
}

/// What is shown and recorded while a plan runs; it is over when this is dropped.
pub(crate) struct ConsoleProgress<'a, 'b> {
    console: &'a mut Console<'b>,
    recorder: Option<&'a mut Recorder>,
}

impl<'a, 'b> ConsoleProgress<'a, 'b> {
    pub(crate) fn new(console: &'a mut Console<'b>, recorder: Option<&'a mut Recorder>, plan: &Plan) -> Self {
        console.plan_begins(plan.all().map(|action| action.operation.title()).collect());
        Self { console, recorder }
    }

    fn step(&mut self, operation: &Operation, is_undo: bool) {
        self.recorder.iter_mut().for_each(|recorder| recorder.step(operation.title(), is_undo));
    }
}

impl Drop for ConsoleProgress<'_, '_> {
    fn drop(&mut self) {
        self.console.plan_ends();
    }
}

impl Progress<Operation> for ConsoleProgress<'_, '_> {
    fn begins(&mut self, number: usize, of: usize, operation: &Operation) {
        self.step(operation, false);
        self.console.step_begins(number, of, &operation.title());
    }

    fn warns(&mut self) {
        self.console.step_warns();
    }

    fn fails(&mut self, number: usize, of: usize, failure: &Failure) {
        self.recorder.iter_mut().for_each(|recorder| recorder.step_failed());
        self.console.step_fails(number, of, failure);
    }

    fn undoes(&mut self, operation: &Operation) {
        self.step(operation, true);
        self.console.undo_begins(&operation.title());
    }

    fn not_undone(&mut self, why: &str) {
        self.recorder.iter_mut().for_each(|recorder| recorder.step_failed());
        self.console.undo_fails(why);
    }
}
