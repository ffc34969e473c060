//! What a person does to one name between two deployments: `stop`, `start`, `restart`.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::app::record::{ConsoleProgress, Recorder, who};
use crate::app::stop::{Signals, unless_stopped};
use crate::app::{Context, names, run, say};
use crate::cli::NameArgs;
use crate::deploy::command::Command;
use crate::deploy::execute::{self, Host as _};
use crate::deploy::origin::{MANUAL, Origin};
use crate::deploy::outcome::{Done, Failed, RunsNow};
use crate::deploy::state::{Holder, LockedStore, Store};
use crate::engine::Engine;
use crate::engine::api::Api;
use crate::error::Failure;
use crate::images::source::Archives;
use crate::modes::by_hand::{self, ByHand};
use crate::modes::compose::tool::Processes;
use crate::modes::facts::Facts;
use crate::modes::operation::Plan;
use crate::modes::release::Release;
use crate::modes::runs_now::Subject;
use crate::modes::{observe, resume, swarm};
use crate::ui::journal::{self, About, Ended};
use crate::ui::text::{self, Console};
use crate::ui::{log, report};
use crate::values::operation::Role;
use crate::values::types::Name;

/// How long it may take: a container's own time to stop and to become healthy are within it.
const LIMIT: Duration = Duration::from_secs(600);

/// What is done to one name.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) command: Command,
    pub(super) name: &'a Name,
    /// It is only printed.
    pub(super) is_dry: bool,
}

/// What is done to it, as it was planned.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) subject: Subject,
    /// The release that it is about, where one is saved.
    pub(super) release: Option<Release>,
}

/// Does it, or prints what it would do. Returns the exit code.
pub(crate) async fn by_hand(context: &Context, what: ByHand, NameArgs { name, dry_run }: &NameArgs) -> u8 {
    let mut console = Console::stdout();
    let command = match what {
        ByHand::Stop => Command::Stop,
        ByHand::Start => Command::Start,
        ByHand::Restart => Command::Restart,
    };
    let job = Job { command, name, is_dry: *dry_run };
    let planned = async |engine: &Engine, store: &Store| {
        let facts = Box::pin(facts(context, engine, store, name)).await?;
        let subject = Subject::found(&facts, resume::is_compose(&facts));
        let plan = by_hand::plan(what, name, &facts)?;
        Ok(Planned { plan, subject, release: facts.releases.into_iter().next() })
    };
    let done = match names(context, Some(name)) {
        Ok(_) => Box::pin(perform(context, job, planned, text::by_hand, &mut console)).await,
        Err(failure) => Err(failure),
    };
    code(done)
}

pub(super) fn code(done: Result<(), Failure>) -> u8 {
    match done {
        Ok(()) => 0,
        Err(failure) if failure.reported => failure.kind.exit_code(),
        Err(failure) => say(&failure),
    }
}

/// Runs a plan as an event does: the lock, what is observed under it, the plan, its end. `last` is its last line.
pub(super) async fn perform(
    context: &Context,
    job: Job<'_>,
    planned: impl AsyncFn(&Engine, &Store) -> Result<Planned, Failure>,
    last: impl Fn(&Plan, &RunsNow) -> String,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let Job { command, name, is_dry } = job;
    let store = Store::new(&context.settings.state_dir, name);
    if is_dry {
        let Planned { plan, .. } = Box::pin(planned(&context.engine()?, &store)).await?;
        console.page(&text::plan(&plan));
        return Ok(());
    }
    let mut recorder = recorder(context, command, console);
    let mut signals = Signals::listen()?;
    let deadline = Instant::now() + LIMIT;
    let mut stop = std::pin::pin!(signals.or(deadline, LIMIT));
    let looking = console.looks(&format!("look at {name}"));
    let before = async {
        let me = Holder { pid: std::process::id(), deployment: MANUAL.into(), event: command.as_str().into() };
        let waiting = |holder: &str| console.line(&format!("waiting: {holder} deploys {name}"));
        let store = store.lock(&me, deadline, waiting).await?;
        log::start(&context.settings, Some(store.store().folder()));
        let engine = context.engine()?;
        let planned = Box::pin(planned(&engine, store.store())).await?;
        Ok((engine, Rc::new(store), planned))
    };
    let before = unless_stopped(stop.as_mut(), before, command.as_str(), &context.waits);
    let (engine, store, Planned { plan, subject, release }) = before.await?;
    drop(looking);
    if plan.all().any(|action| action.role != Role::ChecksHealth) {
        begin(&mut recorder, command, &store, release.as_ref());
    }
    store.set_aside.iter().chain(&plan.notes).for_each(|line| console.line(line));
    about(name, command.as_str(), release.as_ref());
    let mut journal = store.journal(MANUAL);
    let mut host = context.host(engine, Archives::new(context.s3(), None), store, (name, subject), usize::MAX);
    let undo = run::undo_limit(deadline + LIMIT);
    let mut progress = ConsoleProgress::new(&mut *console, Some(&mut recorder), &plan);
    let outcome = Box::pin(execute::run(&plan, &mut host, &mut progress, &mut journal, undo, stop)).await;
    drop(progress);
    recorder.ended(&outcome, &host.last_words, &host.health.answers());
    let runs = match &outcome {
        Ok(_) => host.runs_now(&plan.old).await,
        Err(failed) => failed.runs.clone(),
    };
    let ended = matches!(command, Command::Rollback).then_some(Ended::RolledBack);
    let result = report(&plan, outcome, (|| last(&plan, &runs), ended), console);
    recorded(recorder, result, console)
}

/// A record that begins once it is known what is done. Lines of another name are none of its own.
pub(super) fn recorder(context: &Context, command: Command, console: &mut Console<'_>) -> Recorder {
    console.take_lines();
    let mut recorder = Recorder::new(command, Instant::now(), &context.env);
    recorder.by = Some(who(&context.env));
    recorder
}

/// The history has a command of its own beside the deployments.
pub(super) fn begin(recorder: &mut Recorder, command: Command, store: &Rc<LockedStore>, release: Option<&Release>) {
    let of = |text: fn(&Release) -> &String| release.map(text).cloned().unwrap_or_default();
    let (revision, source) = (of(|release| &release.revision), of(|release| &release.source));
    let origin = Origin { deployment: command.as_str().into(), revision, etag: None, source };
    recorder.begin(store.clone(), &origin);
    recorder.pins(release.into_iter().flat_map(Release::images));
}

/// Ends the record as the command ended.
pub(super) fn recorded(
    recorder: Recorder,
    result: Result<(), Failure>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let failure = result.as_ref().err().map(|failure| (failure.kind.exit_code(), failure.clone()));
    recorder.end(failure, console.take_lines());
    result
}

fn report(
    plan: &Plan,
    outcome: Result<Done, Box<Failed>>,
    (last, ended): (impl FnOnce() -> String, Option<Ended>),
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    match outcome {
        Ok(done) => {
            text::ended(console, &done);
            console.success_of(&last(), ended);
            Ok(())
        }
        Err(failed) => {
            console.failure(&report::failed(&plan.event, &plan.name, &failed));
            Err(failed.failure.reported())
        }
    }
}

/// What the journal of systemd says of each line: the release that it is about, and what is done to it.
pub(super) fn about(name: &Name, event: &str, release: Option<&Release>) {
    let (deployment, image) = match release {
        Some(release) => (release.deployment.clone(), release.image.describe()),
        None => (String::new(), String::new()),
    };
    journal::is_about(About { name: name.to_string(), deployment, event: event.into(), image });
}

/// What the engine, the swarm and the state directory have of a name.
pub(super) async fn facts(context: &Context, engine: &Engine, store: &Store, name: &Name) -> Result<Facts, Failure> {
    let mut facts = observe::resume::facts(engine, store, name).await?;
    if resume::is_compose(&facts) {
        let settings = &context.credentials();
        facts.compose_tool = Processes { settings, engine: &engine.endpoint.variables }.known().await;
    } else {
        let seen = swarm::observe::observe(&Api::of(engine), name).await;
        facts.swarm = Some(seen.map_err(|error| error.failure("observe the swarm"))?);
    }
    Ok(facts)
}
