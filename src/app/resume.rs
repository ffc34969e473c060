//! `resume`: after a reboot or a crash, for every name of which there is state.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::app::by_hand::{self, Planned};
use crate::app::record::ConsoleProgress;
use crate::app::stop::{Signals, unless_stopped};
use crate::app::{Context, names, run, say};
use crate::deploy::command::Command;
use crate::deploy::execute::{self, Host as _};
use crate::deploy::outcome::RESUME;
use crate::deploy::state::{Holder, LockedStore, Store};
use crate::engine::Engine;
use crate::error::{Failure, Kind};
use crate::images::source::Archives;
use crate::modes::compose::tool::Processes;
use crate::modes::observe;
use crate::modes::resume::{self, Only};
use crate::modes::runs_now::Subject;
use crate::ui::log;
use crate::ui::report;
use crate::ui::text::{self, Console};
use crate::values::types::Name;

/// How long one name may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Puts every name in order, or one. Returns the worst exit code.
pub(crate) async fn resume(context: &Context, only: Only, wanted: Option<&Name>) -> u8 {
    each(context, wanted, async |name, signals, console| one(context, name, only, signals, console).await).await
}

/// Prints what `resume` would do for every name, or for one, and changes nothing.
pub(crate) async fn dry_run(context: &Context, wanted: Option<&Name>) -> u8 {
    each(context, wanted, async |name, signals, console| {
        let (engine, store) = (context.engine()?, Store::new(&context.settings.state_dir, name));
        let plan = planned(context, &engine, &store, name, Only::Everything);
        let stop = signals.or(Instant::now() + LIMIT, LIMIT);
        let Planned { plan, .. } = unless_stopped(stop, plan, RESUME, &context.waits).await?;
        console.page(&text::plan(&plan));
        Ok(())
    })
    .await
}

async fn each(
    context: &Context,
    wanted: Option<&Name>,
    mut work: impl AsyncFnMut(&Name, &mut Signals, &mut Console<'_>) -> Result<(), Failure>,
) -> u8 {
    let mut console = Console::stdout();
    let names = match names(context, wanted) {
        Ok(names) => names,
        Err(failure) => return say(&failure),
    };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(failure) => return say(&failure),
    };
    let mut worst = 0;
    for (index, name) in names.iter().enumerate() {
        let Err(failure) = work(name, &mut signals, &mut console).await else { continue };
        if !failure.reported {
            console.lines(&report::failure(&failure));
        }
        worst = worst.max(failure.kind.exit_code());
        if failure.kind == Kind::Interrupted {
            let left: Vec<&str> = names[index + 1..].iter().map(Name::as_str).collect();
            if !left.is_empty() {
                console.line(&format!("not looked at any more: {}", left.join(", ")));
            }
            break;
        }
    }
    worst
}

async fn planned(
    context: &Context,
    engine: &Engine,
    store: &Store,
    name: &Name,
    only: Only,
) -> Result<Planned, Failure> {
    let registry = match only {
        Only::Everything | Only::Tokens => observe::resume::registry(engine, name).await,
        Only::Ports => None,
    };
    let mut facts = observe::resume::facts(engine, store, name).await?;
    let is_compose = resume::is_compose(&facts);
    if only == Only::Everything && is_compose {
        let settings = &context.credentials();
        facts.compose_tool = Processes { settings, engine: &engine.endpoint.variables }.known().await;
    }
    let subject = Subject::found(&facts, is_compose);
    let plan = resume::plan(name, &facts, registry.as_deref(), only);
    Ok(Planned { plan, subject, release: facts.releases.into_iter().next() })
}

async fn one(
    context: &Context,
    name: &Name,
    only: Only,
    signals: &mut Signals,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    // Of each name by itself: one that hangs takes no time from the others.
    let deadline = Instant::now() + LIMIT;
    let mut stop = std::pin::pin!(signals.or(deadline, LIMIT));
    let mut recorder = by_hand::recorder(context, Command::Resume, console);
    let looking = console.looks(&format!("look at {name}"));
    let before = before(context, name, only, deadline, console);
    let before = unless_stopped(stop.as_mut(), before, RESUME, &context.waits);
    let (engine, store, Planned { plan, subject, release }) = before.await?;
    drop(looking);
    let store = Rc::new(store);
    if only == Only::Ports && plan.actions.is_empty() {
        // It is asked often, and then there is nothing to say.
        return Ok(());
    }
    if only != Only::Tokens && plan.has_changes() {
        by_hand::begin(&mut recorder, Command::Resume, &store, release.as_ref());
    }
    store.set_aside.iter().chain(&plan.notes).for_each(|line| console.line(line));
    by_hand::about(name, RESUME, release.as_ref());
    let mut journal = store.journal(RESUME);
    let mut host = context.host(engine, Archives::new(context.s3(), None), store, (name, subject), usize::MAX);
    let undo = run::undo_limit(deadline + LIMIT);
    let mut progress = ConsoleProgress::new(&mut *console, Some(&mut recorder), &plan);
    let outcome = execute::run(&plan, &mut host, &mut progress, &mut journal, undo, stop).await;
    drop(progress);
    recorder.ended(&outcome, &host.last_words, &host.health.answers());
    let result = match outcome {
        Ok(done) => {
            text::ended(console, &done);
            console.success(&text::resumed(&plan, only, &host.runs_now(&plan.old).await));
            Ok(())
        }
        Err(mut failed) => {
            failed.failure.kind = kind(only, failed.failure.kind);
            console.failure(&report::failed(RESUME, name.as_str(), &failed));
            Err(failed.failure.reported())
        }
    };
    by_hand::recorded(recorder, result, console)
}

/// Lock, observe, plan.
async fn before(
    context: &Context,
    name: &Name,
    only: Only,
    deadline: Instant,
    console: &mut Console<'_>,
) -> Result<(Engine, LockedStore, Planned), Failure> {
    let store = lock(context, name, only, deadline, console).await?;
    log::start(&context.settings, Some(store.store().folder()));
    let engine = context.engine()?;
    let planned = planned(context, &engine, store.store(), name, only).await?;
    Ok((engine, store, planned))
}

/// What a failure of this part of it is.
const fn kind(only: Only, failed: Kind) -> Kind {
    match (only, failed) {
        (_, Kind::Interrupted) => Kind::Interrupted,
        (Only::Everything | Only::Ports, _) => Kind::Undo,
        (Only::Tokens, _) => Kind::Image,
    }
}

async fn lock(
    context: &Context,
    name: &Name,
    only: Only,
    deadline: Instant,
    console: &mut Console<'_>,
) -> Result<LockedStore, Failure> {
    let me = Holder { pid: std::process::id(), deployment: RESUME.into(), event: RESUME.into() };
    let waiting = |holder: &str| console.line(&format!("waiting: {holder} deploys {name}"));
    // No name's rules wait for the deployment of another one.
    let patience = if only == Only::Ports { Duration::ZERO } else { LIMIT };
    let store = Store::new(&context.settings.state_dir, name);
    let locked = store.lock(&me, deadline.min(Instant::now() + patience), waiting).await;
    // A deployment under way writes the rules itself.
    locked.map_err(|failure| if only == Only::Ports { failure.reported() } else { failure })
}
