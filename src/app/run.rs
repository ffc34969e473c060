//! Running events: as CodeDeploy's hook, or by hand.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::app::notify::Notification;
use crate::app::record::{ConsoleProgress, Recorder, who};
use crate::app::stop::{Signals, unless_stopped};
use crate::app::{Context, deployment, exit_code, say};
use crate::config::appspec;
use crate::deploy::execute;
use crate::deploy::origin::MANUAL;
use crate::deploy::outcome::{Done, Failed};
use crate::deploy::state::{Holder, LockedStore};
use crate::deploy::undo::UndoLimit;
use crate::error::{Failure, Kind, ObserveFailure};
use crate::images::facts::ImageFacts;
use crate::modes;
use crate::modes::facts::Facts;
use crate::modes::observe::Observer;
use crate::modes::operation::Plan;
use crate::modes::runs_now::Subject;
use crate::ui::journal::{self, About, Ended};
use crate::ui::text::Console;
use crate::ui::{log, report, text};
use crate::values::operation::Role;
use crate::values::pin::ImagePin;
use crate::values::types::LifecycleEvent;

/// So long before the deadline a deployment that waits for another one gives up, to say for whom it waited.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// So long before the hook's own end an undo ends, for the report to be read.
const MARGIN: Duration = Duration::from_millis(500);
/// The agent kills 5 s after its SIGTERM, which it sends at the hook's end.
const AFTER_SIGNAL: Duration = Duration::from_millis(4750);
/// So much of that what served before may take after the hook's own end: nobody reads the report any more.
const OVERTIME: Duration = Duration::from_secs(3);

/// Runs the event of `LIFECYCLE_EVENT`; the bundle is above `location`.
pub(crate) async fn hook(context: &Context, location: &Path) -> u8 {
    let mut console = Console::stdout();
    let event = match context.env.event() {
        Ok(event) => event,
        Err(why) => {
            let failure = Failure::from(&why);
            console.lines(&report::failure(&failure));
            return failure.kind.exit_code();
        }
    };
    let path = appspec::find_above(location).map_err(|why| Failure::new(Kind::Appspec, why.to_string()));
    match path.and_then(|path| Ok((path, Signals::listen()?))) {
        Ok((path, mut signals)) => {
            let recorder = Recorder::new(event, context.started, &context.env);
            run(context, recorder, event, &path, &mut signals, &mut console).await
        }
        Err(failure) => end(event, &Err(failure), &mut console),
    }
}

/// Runs events in the order given, up to the first that fails.
pub(crate) async fn by_hand(context: &Context, events: &[LifecycleEvent], path: &Path) -> u8 {
    let mut console = Console::stdout();
    let mut began = context.started;
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(failure) => return say(&failure),
    };
    for event in events {
        let mut recorder = Recorder::new(*event, began, &context.env);
        recorder.by = Some(who(&context.env));
        let code = run(context, recorder, *event, path, &mut signals, &mut console).await;
        began = Instant::now();
        if code != 0 {
            return code;
        }
    }
    0
}

/// Runs one event, and saves what it did in the history. Returns the exit code.
async fn run(
    context: &Context,
    mut recorder: Recorder,
    event: LifecycleEvent,
    path: &Path,
    signals: &mut Signals,
    console: &mut Console<'_>,
) -> u8 {
    let began = recorder.began;
    // On the heap: what an event may wait for is much.
    let result = Box::pin(deploy(context, event, path, signals, &mut recorder, console)).await;
    let code = end(event, &result, console);
    let (notification, failure) = (recorder.notification.take(), result.err());
    recorder.end(failure.clone().map(|failure| (code, failure)), console.take_lines());
    // The lock is free, and the history is written: nothing of the deployment waits for it.
    if let Some(notification) = notification {
        Box::pin(notification.send_event(context, event, (code, failure.as_ref()), began, console)).await;
    }
    code
}

/// Says why an event failed, where that was not said. Returns the exit code.
fn end(event: LifecycleEvent, result: &Result<(), Failure>, console: &mut Console<'_>) -> u8 {
    let Err(failure) = result else { return 0 };
    let code = exit_code(event, failure);
    if !failure.reported {
        console.failure(&report::refused(&event.to_string(), failure));
    }
    if code == 0 {
        console.line(&format!("{event} does not fail the deployment for that: exit code 0"));
    }
    code
}

/// The first line, and what the journal's lines from here on are about.
fn begins(observer: &Observer<'_>, event: LifecycleEvent, console: &mut Console<'_>) {
    let (name, deployment) = (observer.deployment.name.to_string(), observer.origin.deployment.clone());
    console.line(&format!("balehook {} {event} {name} (deployment {deployment})", env!("CARGO_PKG_VERSION")));
    journal::is_about(About { name, deployment, event: event.to_string(), image: String::new() });
}

async fn deploy(
    context: &Context,
    event: LifecycleEvent,
    path: &Path,
    signals: &mut Signals,
    recorder: &mut Recorder,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let began = recorder.began;
    let (observer, warnings) = deployment::prepare(context, event, path)?;
    console.lines(&warnings);
    begins(&observer, event, console);
    if !modes::observe::touches_engine(event) {
        console.line(&format!("{event}: nothing to do"));
        return Ok(());
    }
    let limit = observer.deployment.timeout(event);
    recorder.notification =
        Some(Notification::of(&observer.deployment, &observer.origin, began + limit.saturating_sub(MARGIN)));
    if let Some(refused) = observer.refused {
        return Err(refused);
    }
    let deadline = began + limit.saturating_sub(reserve(limit));
    let undo = undo_limit(began + limit.saturating_sub(MARGIN));
    let mut stop = std::pin::pin!(signals.or(deadline, limit));
    let looking = console.looks("look at the engine, the images and what runs");
    let before = Box::pin(before(context, (&observer, event), deadline, recorder, console));
    let (named, waits) = (event.to_string(), &context.waits);
    let (store, mut plan) = unless_stopped(stop.as_mut(), before, &named, waits).await?;
    drop(looking);
    let mut journal = store.journal(&observer.origin.deployment);
    let (engine, archives) = (observer.engine.clone()?, observer.archives.clone());
    let subject = (&observer.deployment.name, Subject::of(&observer.deployment.mode));
    let mut host = context.host(engine, archives, store, subject, observer.deployment.keep);
    host.secrets = observer.secrets.clone();
    let mut is_anew = false;
    let outcome = loop {
        let mut progress = ConsoleProgress::new(&mut *console, Some(&mut *recorder), &plan);
        let running = execute::run(&plan, &mut host, &mut progress, &mut journal, undo, stop.as_mut());
        let outcome = Box::pin(running).await;
        drop(progress);
        let overtaken = outcome.as_ref().err().map(|failed| &failed.failure).filter(|failure| failure.overtaken);
        let Some(why) = overtaken.filter(|_| !is_anew) else { break outcome };
        console.line(&format!("{why}: planned anew"));
        is_anew = true;
        // Its first part was undone, and is reported: it cannot be said that nothing was touched.
        (_, plan) = tokio::select! {
            biased;
            why = &mut stop => return Err(said(why.failure(&named, waits.given_up()), console)),
            ready = planned(&observer, event) => ready.map_err(|failure| said(failure, console))?,
        };
        recorder.notification.iter_mut().for_each(|notification| notification.plan(&plan));
    };
    recorder.notification.iter_mut().for_each(|notification| notification.follows(host.follows.get()));
    recorder.ended(&outcome, &host.last_words, &host.health.answers());
    report(event, &plan, &host.store, outcome, console)
}

/// Lock, observe, plan.
async fn before(
    context: &Context,
    (observer, event): (&Observer<'_>, LifecycleEvent),
    deadline: Instant,
    recorder: &mut Recorder,
    console: &mut Console<'_>,
) -> Result<(Rc<LockedStore>, Plan), Failure> {
    let deployment = observer.origin.deployment.clone();
    let me = Holder { pid: std::process::id(), deployment, event: event.to_string() };
    let waiting = |holder: &str| console.line(&format!("waiting: {holder} deploys {} too", observer.deployment.name));
    let give_up = deadline.checked_sub(LAST_WORDS).unwrap_or(deadline);
    let store = Rc::new(observer.store.clone().lock(&me, give_up, waiting).await?);
    log::start(&context.settings, Some(store.store().folder()));
    tracing::info!(%event, deployment = observer.origin.deployment, "begins");
    recorder.begin(store.clone(), &observer.origin);
    let (facts, plan) = planned(observer, event).await?;
    recorder.images(&facts.images);
    if let Some(image) = facts.images.first() {
        journal::is_of_image(image.pin.describe());
    }
    recorder.plan(&plan);
    if let Some(failure) = fill_notification(recorder, event, &store, (&facts, &plan)) {
        console.line(&format!("warning: {failure}"));
    }
    let warnings = store.set_aside.iter().chain(&facts.warnings);
    warnings.for_each(|warning| console.line(&format!("warning: {warning}")));
    facts.not_yet.iter().chain(&plan.notes).for_each(|line| console.line(line));
    // What cannot be written down beside a deployment makes none of another end.
    if let Err(failure) = save_resolved(&store, observer, event, &facts) {
        console.line(&format!("warning: {failure}"));
    }
    Ok((store, plan))
}

/// Fills the notification; its receivers are saved for a rollback once the release is started.
fn fill_notification(
    recorder: &mut Recorder,
    event: LifecycleEvent,
    store: &LockedStore,
    (facts, plan): (&Facts, &Plan),
) -> Option<Failure> {
    let notification = recorder.notification.as_mut()?;
    notification.replaces_release_of(store.store());
    notification.images(&facts.images);
    notification.plan(plan);
    if event == LifecycleEvent::ApplicationStart { notification.save(store.store()).err() } else { None }
}

async fn planned(observer: &Observer<'_>, event: LifecycleEvent) -> Result<(Facts, Plan), Failure> {
    let facts = observer.facts(event).await;
    if let Some(failure) = ObserveFailure::all_in_one(&facts.failures) {
        return Err(failure);
    }
    let plan = modes::plan(event, &observer.deployment, &observer.origin, &facts)?;
    Ok((facts, plan))
}

/// Keeps what tags and archives were resolved to before anything is done with it: every later event of this deployment
/// takes the same, whatever becomes of this one.
fn save_resolved(
    store: &LockedStore,
    observer: &Observer<'_>,
    event: LifecycleEvent,
    facts: &Facts,
) -> Result<(), Failure> {
    // An archive outside the bundle may be replaced until ApplicationStart.
    let is_final = |image: &ImageFacts| !image.key.starts_with('/') || event >= LifecycleEvent::ApplicationStart;
    let is_known = |image: &&ImageFacts| !matches!(image.pin, ImagePin::Unknown { .. }) && is_final(image);
    let images: Vec<_> =
        facts.images.iter().filter(is_known).map(|image| (image.key.clone(), image.pin.clone())).collect();
    let deployment = &observer.origin.deployment;
    // By hand an image is resolved anew by each event.
    if deployment == MANUAL || images.is_empty() || store.store().resolved(deployment) == images {
        return Ok(());
    }
    store.save_resolved(deployment, images)
}

fn report(
    event: LifecycleEvent,
    plan: &Plan,
    store: &LockedStore,
    outcome: Result<Done, Box<Failed>>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    match outcome {
        Ok(done) => {
            text::ended(console, &done);
            let saved = plan.actions.iter().any(|action| action.role == Role::Saves).then_some(Ended::Succeeded);
            console.success_of(&text::succeeded(event, plan, store.store().releases().first(), &done), saved);
            Ok(())
        }
        Err(failed) => {
            console.failure(&report::failed(&plan.event, &plan.name, &failed));
            Err(failed.failure.reported())
        }
    }
}

pub(super) const fn undo_limit(end: Instant) -> UndoLimit {
    UndoLimit { end, overtime: OVERTIME, after_signal: AFTER_SIGNAL }
}

/// Kept back from the hook's time for putting the old container back.
fn reserve(limit: Duration) -> Duration {
    (limit / 6).clamp(Duration::from_secs(2), Duration::from_secs(15))
}

/// The same failure, once it is printed.
fn said(failure: Failure, console: &mut Console<'_>) -> Failure {
    console.lines(&report::failure(&failure));
    failure.reported()
}
