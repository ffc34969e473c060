//! What several commands take, and the values of options.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::values::types::Name;

/// When there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// The form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
}

/// What has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    Appspec,
    Plan,
    Status,
    History,
    Doctor,
    Check,
}

/// The form of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// A comment on a pull request, at most 60,000 bytes
    Markdown,
}

/// The form in which problems are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProblemFormat {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// Annotations of a GitHub Actions workflow
    Github,
    /// SARIF 2.1.0, for code scanners
    Sarif,
}

/// The revision that `init` writes.
#[derive(Debug, Clone, Args)]
pub(crate) struct InitArgs {
    /// The mode; none: container
    #[arg(value_enum, value_name = "MODE")]
    pub(crate) mode: Option<InitMode>,
    /// Around this Compose file: it is taken into the bundle, and what it lacks there is listed
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    pub(crate) from_compose: Option<PathBuf>,
    /// The image: host/name:tag, an archive in the bundle, or s3://bucket/key; none: an example that can be deployed
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// The revision's folder
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) output: PathBuf,
}

/// What `init` writes a revision for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InitMode {
    /// One container on each host
    Container,
    /// A Compose project on each host
    Compose,
    /// A service of a swarm
    Swarm,
}

/// Which name, and whether anything is done.
#[derive(Debug, Clone, Args)]
pub(crate) struct NameArgs {
    /// The name
    #[arg(value_name = "NAME")]
    pub(crate) name: Name,
    /// Only print what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Which release.
#[derive(Debug, Clone, Args)]
pub(crate) struct PinArgs {
    /// The name
    #[arg(value_name = "NAME")]
    pub(crate) name: Name,
    /// The release: its deployment, or the tag or the digest of its image
    #[arg(value_name = "RELEASE")]
    pub(crate) release: String,
    /// Only print what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How much of it goes.
#[derive(Debug, Clone, Args)]
pub(crate) struct UninstallArgs {
    /// Containers, projects and services of balehook too, and their images
    #[arg(long)]
    pub(crate) purge: bool,
    /// Also where containers whose ports are switched go on running, and answer nobody
    #[arg(long, conflicts_with = "purge")]
    pub(crate) force: bool,
    /// Do not ask whether it is meant
    #[arg(long)]
    pub(crate) yes: bool,
    /// Only print what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Which appspec.yml.
#[derive(Debug, Clone, Args)]
pub(crate) struct AppspecArg {
    /// The file, or the bundle's folder
    #[arg(long, default_value = ".", value_name = "PATH")]
    pub(crate) appspec: PathBuf,
}
