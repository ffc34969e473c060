//! `stop`, `start` and `restart` of one name.

use std::io;
use std::time::{Duration, Instant};

use crate::app::stop::{Signals, unless_stopped};
use crate::app::{Context, run, say};
use crate::cli::NameArgs;
use crate::deploy::execute::{self, Host as _};
use crate::deploy::origin::MANUAL;
use crate::deploy::state::{Holder, Store};
use crate::engine::Engine;
use crate::engine::api::Api;
use crate::error::{Failure, Kind};
use crate::images::source::Archives;
use crate::modes::by_hand::{self, ByHand};
use crate::modes::compose::tool::Processes;
use crate::modes::facts::Facts;
use crate::modes::operation::Plan;
use crate::modes::runs_now::Subject;
use crate::modes::{observe, resume, swarm};
use crate::ui::text::{self, Console};
use crate::ui::{log, report};
use crate::values::types::Name;

/// How long it may take: a container's own time to stop and to become healthy are within it.
const LIMIT: Duration = Duration::from_secs(600);

/// Does it, or prints what it would do. Returns the exit code.
pub(crate) async fn by_hand(context: &Context, what: ByHand, NameArgs { name, dry_run }: &NameArgs) -> u8 {
    let mut stdout = io::stdout();
    let mut console = Console::new(&mut stdout);
    let done = match dry_run {
        true => dry(context, what, name, &mut console).await,
        false => perform(context, what, name, &mut console).await,
    };
    match done {
        Ok(()) => 0,
        Err(failure) if failure.reported => failure.kind.exit_code(),
        Err(failure) => say(&failure),
    }
}

async fn dry(context: &Context, what: ByHand, name: &Name, console: &mut Console<'_>) -> Result<(), Failure> {
    let (plan, _) = planned(context, &context.engine()?, &known(context, name)?, (what, name)).await?;
    console.whole(&text::plan(&plan));
    Ok(())
}

/// The state of a name that there is: none is made for one that was never deployed.
fn known(context: &Context, name: &Name) -> Result<Store, Failure> {
    let store = Store::new(&context.settings.state_dir, name);
    match store.folder().exists() {
        true => Ok(store),
        false => Err(Failure::new(Kind::State, format!("{} has nothing of {name}", store.all().display()))
            .next("`balehook status` lists the names")),
    }
}

async fn perform(context: &Context, what: ByHand, name: &Name, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let deadline = Instant::now() + LIMIT;
    let mut stop = std::pin::pin!(signals.or(deadline, LIMIT));
    let before = async {
        let me = Holder { pid: std::process::id(), deployment: MANUAL.into(), event: what.as_str().into() };
        let waiting = |holder: &str| console.line(&format!("waiting: {holder} deploys {name}"));
        let store = known(context, name)?.lock(&me, deadline, waiting).await?;
        log::start(&context.settings, Some(store.store().folder()));
        let engine = context.engine()?;
        let planned = planned(context, &engine, store.store(), (what, name)).await?;
        Ok((engine, store, planned))
    };
    let (engine, store, (plan, subject)) = unless_stopped(stop.as_mut(), before, what.as_str(), &context.waits).await?;
    store.set_aside.iter().chain(&plan.notes).for_each(|line| console.line(line));
    let mut journal = store.journal(MANUAL);
    let mut host = context.host(engine, Archives::new(context.s3(), None), store, (name, subject), usize::MAX);
    let undo = run::undo_limit(deadline + LIMIT);
    let mut progress = run::ConsoleProgress { console: &mut *console };
    match execute::run(&plan, &mut host, &mut progress, &mut journal, undo, stop).await {
        Ok(done) => {
            text::ended(console, &done);
            console.line(&text::by_hand(&plan, &host.runs_now(&plan.old).await));
            Ok(())
        }
        Err(failed) => {
            console.lines(&report::failed(&plan.event, name.as_str(), &failed));
            Err(failed.failure.reported())
        }
    }
}

async fn planned(
    context: &Context,
    engine: &Engine,
    store: &Store,
    (what, name): (ByHand, &Name),
) -> Result<(Plan, Subject), Failure> {
    let facts = facts(context, engine, store, name).await?;
    let is_compose = resume::is_compose(&facts);
    let plan = by_hand::plan(what, name, &facts)?;
    Ok((plan, Subject::found(&facts, is_compose)))
}

async fn facts(context: &Context, engine: &Engine, store: &Store, name: &Name) -> Result<Facts, Failure> {
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
