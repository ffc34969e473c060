//! The pipe from arguments to the exit code, and the only place that knows what a dry run is.

pub(crate) mod by_hand;
mod check;
pub(crate) mod deployment;
pub(crate) mod doctor;
mod explain;
mod history;
mod import;
mod import_scripts;
mod init;
mod logs;
mod notify;
mod pin;
pub(crate) mod plan;
pub(crate) mod ports;
mod prune;
pub(crate) mod reach;
mod record;
pub(crate) mod resume;
mod revision;
mod rollback;
pub(crate) mod run;
pub(crate) mod status;
mod stop;
mod uninstall;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::{CommandFactory as _, Parser as _};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::app::reach::Reach;
use crate::aws::s3::S3;
use crate::cli::{Cli, Command, SchemaOf, Settings};
use crate::config::hook_env::HookEnv;
use crate::config::schema;
use crate::deploy::state::LockedStore;
use crate::engine::Engine;
use crate::error::{Failure, Kind};
use crate::fetch::Fetcher;
use crate::images::credentials::CredentialSettings;
use crate::images::operation::Importer;
use crate::images::source::Archives;
use crate::modes::by_hand::ByHand;
use crate::modes::host::Host;
use crate::modes::resume::Only;
use crate::modes::runs_now::Subject;
use crate::ui::console;
use crate::ui::journal;
use crate::ui::json;
use crate::ui::progress;
use crate::ui::report;
use crate::ui::schemas;
use crate::ui::screen::look;
use crate::ui::text::Console;
use crate::values::types::LifecycleEvent;
use crate::values::types::Name;
use crate::waits::Waits;

pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) env: HookEnv,
    /// When we were started: the hook's time runs from here.
    pub(crate) started: Instant,
    /// What is waited for outside.
    pub(crate) waits: Waits,
    /// Of values that are fetched.
    pub(crate) fetcher: Fetcher,
    /// How long an engine that is away is waited for.
    patience: Duration,
    /// Which engine is asked.
    reach: Reach,
}

impl Context {
    pub(crate) fn credentials(&self) -> CredentialSettings {
        CredentialSettings::from_env(&|key| self.env.lookup(key).map(str::to_owned), &self.waits)
    }

    pub(crate) fn s3(&self) -> S3 {
        S3::from_env(&|key: &str| self.env.lookup(key).map(str::to_owned), &self.waits)
    }

    pub(crate) fn host(
        &self,
        engine: Engine,
        archives: Archives,
        store: Rc<LockedStore>,
        (name, subject): (&Name, Subject),
        keep: usize,
    ) -> Host {
        let record = store.import_record();
        let images = Importer::new(name.clone(), archives, self.credentials(), record, progress::follow);
        Host::new(engine, images, self.env.clone(), (store, self.fetcher.clone()), (name.clone(), subject), keep)
    }
}

/// Runs the program.
pub fn main(args: Vec<OsString>, vars: Vec<(OsString, OsString)>) -> ExitCode {
    let started = Instant::now();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    leave_no_core();
    let argv0 = PathBuf::from(args.first().cloned().unwrap_or_default());
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let (patience, reach) = (reach::patience(cli.command.as_ref()), Reach::of(cli.command.as_ref()));
    // What waits for an engine prints for the agent; others may print a document.
    let tell: fn(&str) = if patience.is_zero() { console::aside } else { |line| Console::stdout().line(line) };
    let (env, waits) = (HookEnv::from_vars(vars), Waits::printed(tell));
    journal::start(env.lookup("JOURNAL_STREAM"));
    look::start(cli.settings.color, &|name| env.lookup(name).map(str::to_owned));
    let fetcher = Fetcher::new(env.vars().map(|(name, value)| (name.to_owned(), value.to_owned())), &waits);
    let context = Context { settings: cli.settings, env, started, waits, fetcher, patience, reach };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let code = match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(Box::pin(dispatch(&context, cli.command, &argv0)));
            // A name server or a disk that hangs is not waited for.
            runtime.shutdown_background();
            code
        }
        Err(error) => say(&Failure::new(Kind::Unexpected, format!("cannot start: {error}"))),
    };
    ExitCode::from(code)
}

/// A core would hold the secrets that we hold: neither a file of it, nor a program that is given one.
fn leave_no_core() {
    let hard = getrlimit(Resource::RLIMIT_CORE).map_or(0, |(_, hard)| hard);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, hard);
    let _ = nix::sys::prctl::set_dumpable(false);
}

async fn dispatch(context: &Context, command: Option<Command>, argv0: &Path) -> u8 {
    match command {
        None => run::hook(context, argv0).await,
        Some(Command::Hook { location }) => run::hook(context, &location).await,
        Some(Command::Run { events, file }) => run::by_hand(context, &events, &file.appspec).await,
        Some(Command::Plan { event, file, offline, against, format, detailed_exitcode, show_values }) => {
            let form = plan::Form { format, show_values };
            let wanted = plan::Wanted { event, path: &file.appspec, offline, against: against.as_deref() };
            plan::plan(context, wanted, form, detailed_exitcode).await
        }
        Some(Command::Status { name, exit_code, watch, prometheus, emf, format }) => {
            let prometheus = prometheus.as_ref().map(|file| status::Metrics::Prometheus(file.as_deref()));
            let metrics = prometheus.or(emf.then_some(status::Metrics::Emf));
            status::status(context, status::Wanted { name: name.as_ref(), format, exit_code, watch, metrics }).await
        }
        Some(Command::Check { path, file, format, strict, fix }) => {
            check::check(context, &path.unwrap_or(file.appspec), format, check::How { strict, fix })
        }
        Some(Command::Init(args)) => init::init(&args),
        Some(Command::Explain { what }) => explain::explain(what.as_deref()),
        Some(Command::Schema { of }) => print_schema(of),
        Some(Command::Stop { name }) => by_hand::by_hand(context, ByHand::Stop, &name).await,
        Some(Command::Start { name }) => by_hand::by_hand(context, ByHand::Start, &name).await,
        Some(Command::Restart { name }) => by_hand::by_hand(context, ByHand::Restart, &name).await,
        Some(Command::Prune { name, dry_run, unmanaged }) => {
            prune::prune(context, name.as_ref(), prune::Which { dry_run, unmanaged }).await
        }
        Some(Command::Doctor { format }) => doctor::doctor(context, format).await,
        Some(Command::History { name, deployment, html, limit, format }) => {
            let wanted = history::Wanted { name: name.as_ref(), deployment: deployment.as_deref(), limit };
            match html {
                Some(file) => history::page(context, wanted, &file).await,
                None => history::history(context, wanted, format).await,
            }
        }
        Some(Command::Logs { name, deployment, follow, tail }) => {
            logs::logs(context, name.as_ref(), deployment.as_deref(), logs::Lines { follow, tail }).await
        }
        Some(Command::Rollback { name, to, dry_run }) => {
            rollback::rollback(context, name.as_ref(), to.as_deref(), dry_run).await
        }
        Some(Command::Pin(release)) => pin::pin(context, true, &release).await,
        Some(Command::Uninstall(wanted)) => uninstall::uninstall(context, &wanted).await,
        Some(Command::Unpin(release)) => pin::pin(context, false, &release).await,
        Some(Command::Import { what, words, output, show_values }) => {
            let words: Vec<String> = std::iter::once(what).chain(words).collect();
            import_what(context, &words, output, show_values).await
        }
        Some(Command::Resume { ports: true, .. }) => ports::ports(context).await,
        Some(Command::Resume { dry_run: true, name, .. }) => resume::dry_run(context, name.as_ref()).await,
        Some(Command::Resume { tokens: true, name, .. }) => resume::resume(context, Only::Tokens, name.as_ref()).await,
        Some(Command::Resume { name, .. }) => resume::resume(context, Only::Everything, name.as_ref()).await,
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "balehook", &mut io::stdout());
            0
        }
        Some(Command::Man) => print_manual(),
    }
}

fn print_schema(of: SchemaOf) -> u8 {
    let text = schemas::of(of).map_or_else(|| format!("{:#}\n", schema::schema()), str::to_owned);
    Console::stdout().whole(&text);
    0
}

fn print_manual() -> u8 {
    match clap_mangen::Man::new(Cli::command()).render(&mut io::stdout()) {
        Ok(()) => 0,
        Err(error) => say(&Failure::new(Kind::Unexpected, format!("cannot write the manual page: {error}"))),
    }
}

/// Paths that exist are scripts; anything else is a run line or a container.
async fn import_what(context: &Context, words: &[String], output: Option<PathBuf>, show_values: bool) -> u8 {
    if let Some(paths) = import_scripts::paths(words) {
        let lookup = |name: &str| context.env.lookup(name).map(str::to_owned);
        let done = import_scripts::import(&paths, output.as_deref(), &lookup);
        return done.map_or_else(|failure| say(&failure), |()| 0);
    }
    let output = output.unwrap_or_else(|| PathBuf::from("-"));
    let wanted = import::Wanted { words, output: &output, show_values };
    Box::pin(import::import(context, wanted)).await
}

/// The names of which there is state, or the one that is wanted.
/// Errors: [`Kind::State`]: there is none, or not that one.
pub(crate) fn names(context: &Context, wanted: Option<&Name>) -> Result<Vec<Name>, Failure> {
    let state = &context.settings.state_dir;
    let mut names = names_in(state);
    let Some(wanted) = wanted else { return Ok(names) };
    names.retain(|name| name == wanted);
    if names.is_empty() {
        let failure = Failure::new(Kind::State, format!("{} has nothing of {wanted}", state.display()));
        return Err(failure.next("`balehook status` lists the names"));
    }
    Ok(names)
}

/// The name that is wanted, or the only one.
pub(crate) fn one_name(context: &Context, wanted: Option<&Name>, command: &str) -> Result<Name, Failure> {
    let mut names = names(context, wanted)?;
    match names.len() {
        1 => Ok(names.remove(0)),
        0 => Err(Failure::new(Kind::State, "nothing was deployed on this host".to_owned())),
        _ => {
            let all: Vec<&str> = names.iter().map(Name::as_str).collect();
            Err(Failure::new(Kind::Usage, format!("there are several names here: {}", all.join(", ")))
                .next(format!("name one: `balehook {command} NAME`")))
        }
    }
}

fn names_in(state_dir: &Path) -> Vec<Name> {
    let entries = std::fs::read_dir(state_dir).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().join("lock").exists());
    let mut names: Vec<Name> = folders.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    names.sort_unstable();
    names
}

fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Kind::Usage.exit_code() } else { 0 })
}

/// Prints a failure on stderr; returns its exit code.
pub(crate) fn say(failure: &Failure) -> u8 {
    Console::stderr().lines(&report::failure(failure));
    failure.kind.exit_code()
}

/// Says a failure, on stdout as JSON where a program reads it.
pub(crate) fn say_as(is_json: bool, failure: &Failure) -> u8 {
    if !is_json {
        return say(failure);
    }
    Console::stdout().whole(&format!("{:#}\n", json::failure(failure)));
    failure.kind.exit_code()
}

/// What a failed event makes of its hook. Those that run from the old revision never fail: as long as no newer one was
/// installed they would fail every later deployment, for ever.
pub(crate) const fn exit_code(event: LifecycleEvent, failure: &Failure) -> u8 {
    match event {
        LifecycleEvent::ApplicationStop | LifecycleEvent::BeforeBlockTraffic | LifecycleEvent::AfterBlockTraffic => 0,
        LifecycleEvent::BeforeInstall
        | LifecycleEvent::AfterInstall
        | LifecycleEvent::ApplicationStart
        | LifecycleEvent::ValidateService
        | LifecycleEvent::BeforeAllowTraffic
        | LifecycleEvent::AfterAllowTraffic => failure.kind.exit_code(),
    }
}
