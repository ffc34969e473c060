//! `uninstall`: what balehook made on this host goes. Containers go on running, unless `--purge` says that they go too.

mod found;
mod plan;
mod removal;
mod units;

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::app::uninstall::found::{Found, observe};
use crate::app::uninstall::plan::Uninstall;
use crate::app::{Context, say};
use crate::cli::UninstallArgs;
use crate::deploy::origin::MANUAL;
use crate::deploy::state::{Holder, LockedStore, Store};
use crate::engine::Engine;
use crate::error::{Failure, Kind};
use crate::ui::report;
use crate::ui::text::Console;
use crate::values::types::Name;

const COMMAND: &str = "uninstall";

/// How long a deployment under way is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes it, or prints what it would remove. Returns the exit code.
pub(crate) async fn uninstall(context: &Context, wanted: &UninstallArgs) -> u8 {
    let mut console = Console::stdout();
    match Box::pin(run(context, wanted, &mut console)).await {
        Ok(code) => code,
        Err(failure) => say(&failure),
    }
}

async fn run(context: &Context, wanted: &UninstallArgs, console: &mut Console<'_>) -> Result<u8, Failure> {
    let engine = context.engine()?;
    let found = Box::pin(observe(context, &engine)).await?;
    let plan = plan::plan(&found, wanted.purge);
    console.whole(&plan.to_string());
    plan::check(&found, wanted)?;
    if wanted.dry_run || plan.removals.is_empty() {
        return Ok(0);
    }
    if !wanted.yes && !confirmed(console)? {
        console.line("nothing was removed");
        return Ok(Kind::Interrupted.exit_code());
    }
    // No deployment begins meanwhile.
    let locks = lock(context, &found).await?;
    let code = Box::pin(remove(context, &engine, &plan, console)).await;
    drop(locks);
    Ok(code)
}

/// Errors: [`Kind::Usage`]: nobody is there to answer.
fn confirmed(console: &mut Console<'_>) -> Result<bool, Failure> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        let failure = Failure::new(Kind::Usage, "nobody is at a terminal to confirm this".to_owned());
        return Err(failure.next("balehook uninstall --yes removes it without a question"));
    }
    console.whole("Remove all of this? [y/N] ");
    let _ = io::stdout().flush();
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    Ok(read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

async fn lock(context: &Context, found: &Found) -> Result<Vec<LockedStore>, Failure> {
    let mut locks = Vec::new();
    for name in &found.names {
        let me = Holder { pid: std::process::id(), deployment: MANUAL.into(), event: COMMAND.into() };
        let store = Store::new(&context.settings.state_dir, name);
        locks.push(store.lock(&me, Instant::now() + PATIENCE, |_| ()).await?);
    }
    Ok(locks)
}

/// Does all that can be done. The state goes last, and where something failed it stays: it says what is left.
async fn remove(context: &Context, engine: &Engine, plan: &Uninstall, console: &mut Console<'_>) -> u8 {
    let (of, mut code) = (plan.removals.len(), 0);
    for (index, removal) in plan.removals.iter().enumerate() {
        let number = index + 1;
        if code != 0 && removal.is_state() {
            console.line(&format!("[{number}/{of}] not done, because of what failed: {removal}"));
            continue;
        }
        console.line(&format!("[{number}/{of}] {removal}"));
        match removal.perform(context, engine).await {
            Ok(said) => said.iter().for_each(|line| console.line(line)),
            Err(failure) => {
                console.lines(&report::failure(&failure));
                code = if code == 0 { failure.kind.exit_code() } else { code };
            }
        }
    }
    // The folder of all names, where nothing else is in it.
    let _ = fs::remove_dir(&context.settings.state_dir);
    console.line(if code == 0 { "uninstalled" } else { "not everything was removed: run it again" });
    code
}

impl Found {
    /// The names that a killed deployment left something of.
    fn killed(&self) -> Option<&Name> {
        self.killed.first()
    }
}
