//! The command line: commands, their arguments and options, as a person reads them in `--help`. Definitions only.

mod arguments;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use crate::cli::arguments::*;
use crate::values::types::{LifecycleEvent, Name};

/// Deploys Docker containers from AWS CodeDeploy's lifecycle hooks.
///
/// As a hook it takes no arguments: CodeDeploy's LIFECYCLE_EVENT says what to do, and appspec.yml is found beside it.
#[derive(Debug, Parser)]
#[command(name = "balehook", version, max_term_width = 100, after_help = after_help())]
pub(crate) struct Cli {
    /// What to do; none: the hook of LIFECYCLE_EVENT
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Settings for every command
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// Settings for every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// Where records, locks and logs are kept
    #[arg(long, global = true, env = "BALEHOOK_STATE_DIR", default_value = "/var/lib/balehook", value_name = "DIR")]
    pub(crate) state_dir: PathBuf,

    /// The host's policy, in place of /etc/balehook/policy.yml; no variable can name it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// Log more to stderr (-vv: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// The form of log lines, on stderr and in the log file
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORM")]
    pub(crate) log_format: LogFormat,

    /// Colour by what a line means; NO_COLOR and CLICOLOR_FORCE are respected
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run as a hook; the shim calls this with its own path
    #[command(hide = true)]
    Hook {
        /// The hook's path inside the bundle
        location: PathBuf,
    },
    /// Run lifecycle events by hand, in the order given
    Run {
        /// The events
        #[arg(required = true, value_name = "EVENT", ignore_case = true)]
        events: Vec<LifecycleEvent>,
        /// Which file
        #[command(flatten)]
        file: AppspecArg,
    },
    /// Show what an event would do, and change nothing
    Plan {
        /// The event
        #[arg(default_value = "ApplicationStart", value_name = "EVENT", ignore_case = true)]
        event: LifecycleEvent,
        /// Which file
        #[command(flatten)]
        file: AppspecArg,
        /// Look at the bundle alone, as in CI: no engine, registry, bucket or other file is asked
        #[arg(long)]
        offline: bool,
        /// With --offline: the revision before this one; the plan says what changes
        #[arg(long, requires = "offline", value_name = "PATH")]
        against: Option<PathBuf>,
        /// The form of the result
        #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
        format: PlanFormat,
        /// Exit with 2 where the event would change something
        #[arg(long)]
        detailed_exitcode: bool,
        /// Show values of appspec.yml that look like secrets; those of files stay hidden
        #[arg(long)]
        show_values: bool,
    },
    /// Check appspec.yml: every problem at once
    Check {
        /// The file, or the bundle's folder
        #[arg(value_name = "PATH", conflicts_with = "appspec")]
        path: Option<PathBuf>,
        /// Which file
        #[command(flatten)]
        file: AppspecArg,
        /// The form of the result
        #[arg(long, value_enum, default_value_t = ProblemFormat::Text)]
        format: ProblemFormat,
        /// Fail where there is a warning, too
        #[arg(long)]
        strict: bool,
        /// First fix what is safe: CRLF in hooks, hooks that are not executable, tabs in appspec.yml
        #[arg(long)]
        fix: bool,
    },
    /// Write a revision to begin with: appspec.yml, the hook, and what the mode needs; no file is overwritten
    Init(InitArgs),
    /// Explain a rule of check, a key of x-balehook or an exit code; without one list rules and exit codes
    Explain {
        /// The rule's name, the key, as `health.http`, or the number
        #[arg(value_name = "RULE|KEY|EXIT-CODE")]
        what: Option<String>,
    },
    /// Print a JSON schema: of appspec.yml, for editors, or of what a command prints with --format json
    Schema {
        /// The document
        #[arg(value_enum, default_value_t = SchemaOf::Appspec, value_name = "DOCUMENT")]
        of: SchemaOf,
    },
    /// Show what is deployed on this host: releases, health, containers, ports, and what needs attention
    Status {
        /// One name alone
        #[arg(value_name = "NAME")]
        name: Option<Name>,
        /// Exit with 8 where something does not run or is not healthy, with 13 where a killed deployment left something
        #[arg(long)]
        exit_code: bool,
        /// Show it every 2 s, until it is interrupted
        #[arg(long)]
        watch: bool,
        /// Metrics for Prometheus, to FILE, which is replaced as a whole, or to standard output
        #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, conflicts_with_all = ["watch", "format"])]
        #[allow(clippy::option_option)] // with and without a value
        prometheus: Option<Option<PathBuf>>,
        /// A line of CloudWatch's embedded metric format for each name
        #[arg(long, conflicts_with_all = ["watch", "format", "prometheus"])]
        emf: bool,
        /// The form of the result
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Stop a name until it is started or deployed again; it stays stopped at boot
    Stop {
        #[command(flatten)]
        name: NameArgs,
    },
    /// Start a name that was stopped, and check that it is healthy
    Start {
        #[command(flatten)]
        name: NameArgs,
    },
    /// Stop a name and start it again
    Restart {
        #[command(flatten)]
        name: NameArgs,
    },
    /// Remove images of balehook that no kept release needs
    Prune {
        /// One name alone
        #[arg(value_name = "NAME")]
        name: Option<Name>,
        /// Only print what would be done
        #[arg(long)]
        dry_run: bool,
        /// Images without a tag that are not ours too
        #[arg(long)]
        unmanaged: bool,
    },
    /// Check this host: engine, agent, credentials, disk, leftovers; each problem with its remedy
    Doctor {
        /// The form of the result
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// List the deployments of this host, failed ones too, or show one step by step
    History {
        /// One name alone
        #[arg(value_name = "NAME")]
        name: Option<Name>,
        /// One deployment, with its steps and what the console showed
        #[arg(long, value_name = "ID")]
        deployment: Option<String>,
        /// With --deployment: write it to this file as one HTML page, `-` is standard output
        #[arg(long, value_name = "FILE", requires = "deployment", conflicts_with = "format")]
        html: Option<PathBuf>,
        /// So many deployments of each name, the newest ones
        #[arg(long, value_name = "COUNT", default_value_t = 20)]
        limit: usize,
        /// The form of the result
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print the output of the containers, or what was kept of a release that failed
    Logs {
        /// The name; it may be left out where there is one alone
        #[arg(value_name = "NAME")]
        name: Option<Name>,
        /// Of one deployment, also one that is gone: `balehook history` lists them
        #[arg(long, value_name = "ID")]
        deployment: Option<String>,
        /// Go on printing, until it is interrupted
        #[arg(short, long, conflicts_with = "deployment")]
        follow: bool,
        /// So many of the last lines
        #[arg(short = 'n', long, value_name = "LINES")]
        tail: Option<usize>,
    },
    /// Bring a kept release back, from what this host has: no bundle, no registry, no bucket
    Rollback {
        /// The name; it may be left out where there is one alone
        #[arg(value_name = "NAME")]
        name: Option<Name>,
        /// To this release: its deployment, or the tag or the digest of its image; without it the one before
        #[arg(long, value_name = "DEPLOYMENT|TAG")]
        to: Option<String>,
        /// Only print what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Keep a release for a rollback: nothing prunes it, its images or its data
    Pin(PinArgs),
    /// Let a pinned release go as others do
    Unpin(PinArgs),
    /// Write appspec.yml from a container, a `docker run` line or hook scripts, and name what it cannot have
    Import {
        /// A folder for the revision, or `-` to print appspec.yml; none: `-`, of scripts beside the old appspec.yml
        #[arg(short, long, value_name = "DIR|-")]
        output: Option<PathBuf>,
        /// Write what looks like a secret, too
        #[arg(long)]
        show_values: bool,
        /// The container; a line in quotes: `docker run …`, `podman run …`; or hook scripts: a bundle, a folder, a file
        #[arg(value_name = "CONTAINER|LINE|PATH")]
        what: String,
        /// The other words of a line without quotes
        #[arg(value_name = "WORDS", trailing_var_arg = true)]
        words: Vec<String>,
    },
    /// Finish or undo what interrupted deployments left; the boot unit runs this
    Resume {
        /// One name alone
        #[arg(value_name = "NAME")]
        name: Option<Name>,
        /// Only print what would be done
        #[arg(long, conflicts_with_all = ["tokens", "ports"])]
        dry_run: bool,
        /// Only renew the registries' tokens in the swarm: what the timer runs
        #[arg(long)]
        tokens: bool,
        /// Only write the rules of switched ports again where they were flushed: what the socket runs
        #[arg(long, conflicts_with = "tokens")]
        ports: bool,
    },
    /// Remove what balehook made on this host: rules, network, tags, units, state, logs; containers go on running
    Uninstall(UninstallArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

fn after_help() -> String {
    format!("Exit codes:\n{}", crate::error::exit_code_table())
}
