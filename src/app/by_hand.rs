//! What a person does to one name between two deployments: `stop`, `start`, `restart`.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::app::record::ConsoleProgress;
use crate::app::stop::{Signals, unless_stopped};
use crate::app::{Context, names, run, say};
use crate::cli::NameArgs;
use crate::deploy::execute::{self, Host as _};
use crate::deploy::origin::MANUAL;
use crate::deploy::outcome::RunsNow;
use crate::deploy::state::{Holder, Store};
use crate::engine::Engine;
use crate::engine::api::Api;
use crate::error::Failure;
use crate::images::source::Archives;
use crate::modes::by_hand::{self, ByHand};
use crate::modes::compose::tool::Processes;
use crate::modes::facts::Facts;
use crate::modes::operation::Plan;
use crate::modes::runs_now::Subject;
use crate::modes::{observe, resume, swarm};
use crate::ui::layout::Layout;
use crate::ui::text::{self, Console};
use crate::ui::{log, report};
use crate::values::types::Name;

/// How long it may take: a container's own time to stop and to become healthy are within it.
const LIMIT: Duration = Duration::from_secs(600);

/// What is done to one name.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) command: &'static str,
    pub(super) name: &'a Name,
    /// It is only printed.
    pub(super) is_dry: bool,
}

/// Does it, or prints what it would do. Returns the exit code.
pub(crate) async fn by_hand(context: &Context, what: ByHand, NameArgs { name, dry_run }: &NameArgs) -> u8 {
    let mut stdout = io::stdout();
    let mut console = Console::new(&mut stdout);
    let job = Job { command: what.as_str(), name, is_dry: *dry_run };
    let planned = async |engine: &Engine, store: &Store| {
        let facts = Box::pin(facts(context, engine, store, name)).await?;
        let subject = Subject::found(&facts, resume::is_compose(&facts));
        Ok((by_hand::plan(what, name, &facts)?, subject))
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
    planned: impl AsyncFn(&Engine, &Store) -> Result<(Plan, Subject), Failure>,
    last: impl Fn(&Plan, &RunsNow) -> String,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let Job { command, name, is_dry } = job;
    let store = Store::new(&context.settings.state_dir, name);
    if is_dry {
        let (plan, _) = Box::pin(planned(&context.engine()?, &store)).await?;
        console.laid_out(Layout::of_stdout(), &text::plan(&plan));
        return Ok(());
    }
    let mut signals = Signals::listen()?;
    let deadline = Instant::now() + LIMIT;
    let mut stop = std::pin::pin!(signals.or(deadline, LIMIT));
    let before = async {
        let me = Holder { pid: std::process::id(), deployment: MANUAL.into(), event: command.into() };
        let waiting = |holder: &str| console.line(&format!("waiting: {holder} deploys {name}"));
        let store = store.lock(&me, deadline, waiting).await?;
        log::start(&context.settings, Some(store.store().folder()));
        let engine = context.engine()?;
        let planned = Box::pin(planned(&engine, store.store())).await?;
        Ok((engine, store, planned))
    };
    let (engine, store, (plan, subject)) = unless_stopped(stop.as_mut(), before, command, &context.waits).await?;
    store.set_aside.iter().chain(&plan.notes).for_each(|line| console.line(line));
    let mut journal = store.journal(MANUAL);
    let mut host = context.host(engine, Archives::new(context.s3(), None), Rc::new(store), (name, subject), usize::MAX);
    let undo = run::undo_limit(deadline + LIMIT);
    let mut progress = ConsoleProgress { console: &mut *console, recorder: None };
    match Box::pin(execute::run(&plan, &mut host, &mut progress, &mut journal, undo, stop)).await {
        Ok(done) => {
            text::ended(console, &done);
            console.line(&last(&plan, &host.runs_now(&plan.old).await));
            Ok(())
        }
        Err(failed) => {
            console.lines(&report::failed(&plan.event, name.as_str(), &failed));
            Err(failed.failure.reported())
        }
    }
}

/// What the engine, the swarm and the state directory have of a name.
pub(super) async fn facts(context: &Context, engine: &Engine, store: &Store, name: &Name) -> Result<Facts, Failure> {
    let mut facts = observe::resume::facts(engine, store, name).await?;
    if resume::is_compose(&facts) {
        let settings = &context.credentials();
        facts.compose_tool = Processes { settings, docker_host: &engine.address }.known().await;
    } else {
        let seen = swarm::observe::observe(&Api::of(engine), name).await;
        facts.swarm = Some(seen.map_err(|error| error.failure("observe the swarm"))?);
    }
    Ok(facts)
}
