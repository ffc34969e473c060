//! The kernel's tables through the iptables that the engine uses too.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Failure, Kind};
use crate::poll;
use crate::ports::rules::{Family, Tables};
use crate::process::{self, ProcessError, Program};
use crate::waits::Waits;

/// The variants in the order in which they are tried: the engine runs the first.
const VARIANTS: [&str; 3] = ["", "-nft", "-legacy"];

/// Where iptables is, beside the PATH: an agent's is short.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// How long a call may take. One that writes waits for others that do.
const LIMIT: Duration = Duration::from_secs(10);

/// The most that is read of the tables, in bytes: a host with 100,000 rules prints a third of it.
const MOST: usize = 32 * 1024 * 1024;

/// How often the engine's chain is looked for.
const INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Iptables {
    variant: &'static str,
    waits: Waits,
}

/// The variant that holds the engine's rules.
/// Errors: Why no port can be switched, and what to do.
pub(crate) async fn find(waits: &Waits) -> Result<Iptables, (String, String)> {
    let mut why = ("iptables is not installed".to_owned(), "install the package iptables".to_owned());
    for variant in VARIANTS {
        let iptables = Iptables { variant, waits: waits.clone() };
        match iptables.tables(Family::V4).await {
            Ok(tables) if tables.has_docker_user() => return Ok(iptables),
            Ok(_) => {
                let cause = "the engine's chain DOCKER-USER is not in the kernel's tables: it runs with `iptables: false` \
                             or with the nftables backend, or its rules were flushed";
                why = (
                    cause.into(),
                    "set `\"firewall-backend\": \"iptables\"` in daemon.json, restart the engine".into(),
                );
            }
            Err(None) => {}
            Err(Some(said)) => why = (format!("the kernel's tables cannot be read: {said}"), "run it as root".into()),
        }
    }
    Err(why)
}

/// The same, where the engine may be about to write its chain: it does so anew a moment after a firewall was reloaded.
pub(crate) async fn find_within(limit: Duration, waits: &Waits) -> Result<Iptables, (String, String)> {
    let found = poll::until(limit, INTERVAL, async || Ok::<_, Infallible>(find(waits).await.ok()));
    match found.await {
        Ok(Some(found)) => Ok(found),
        Ok(None) => find(waits).await,
    }
}

impl Iptables {
    /// The tables as they are.
    /// Errors: What iptables said; `None` where there is no such program.
    pub(crate) async fn tables(&self, family: Family) -> Result<Tables, Option<String>> {
        let program = self.program(family, "save").ok_or(None)?;
        self.output(program).await.map(|text| Tables::parse(&text)).map_err(Some)
    }

    /// Writes a transaction; nothing else changes.
    pub(crate) async fn restore(&self, family: Family, text: &str) -> Result<(), Failure> {
        let failed = |why: String| {
            Failure::new(Kind::Container, format!("the rules cannot be written: {why}"))
                .next("`iptables-save` shows the tables as they are")
        };
        let program = self.program(family, "restore").ok_or_else(|| failed("iptables-restore is missing".into()))?;
        tracing::debug!(?family, text, "iptables-restore");
        self.output(program.args(["--noflush", "--wait"]).input(text)).await.map(drop).map_err(failed)
    }

    fn program(&self, family: Family, verb: &str) -> Option<Program> {
        let stem = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        let path = path();
        let file = process::find(&format!("{stem}{}-{verb}", self.variant), &path)?;
        Some(Program::new(file).env("PATH", path))
    }

    async fn output(&self, program: Program) -> Result<String, String> {
        let name = program.name();
        let silent = |limit| ProcessError::TimeUp { program: name.clone(), limit }.to_string();
        let ended = self.waits.on(silent, program.run(LIMIT, MOST)).await.map_err(|error| error.to_string())?;
        match ended.status.success() {
            true => Ok(String::from_utf8_lossy(ended.stdout().map_err(|error| error.to_string())?).into_owned()),
            false => Err(String::from_utf8_lossy(ended.stderr()).split_whitespace().collect::<Vec<_>>().join(" ")),
        }
    }
}

/// Our own PATH and where else iptables may be.
fn path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    std::env::join_paths(folders).unwrap_or(path)
}
