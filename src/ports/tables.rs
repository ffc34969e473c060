//! The kernel's tables through the iptables that the engine uses too.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::error::{Failure, Kind};
use crate::ports::rules::{Family, Tables};

/// The variants in the order in which they are tried: the engine runs the first.
const VARIANTS: [&str; 3] = ["", "-nft", "-legacy"];

/// Where iptables is, beside the PATH: an agent's is short.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// One variant of iptables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iptables {
    variant: &'static str,
}

/// The variant that holds the engine's rules.
///
/// # Errors
/// Why no port can be handed over, and what to do.
pub async fn find() -> Result<Iptables, (String, String)> {
    let mut why = ("iptables is not installed".to_owned(), "install the package iptables".to_owned());
    for variant in VARIANTS {
        let iptables = Iptables { variant };
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
///
/// # Errors
/// Those of [`find`], when the time is up.
pub async fn find_within(limit: Duration) -> Result<Iptables, (String, String)> {
    let began = Instant::now();
    loop {
        let found = find().await;
        if found.is_ok() || began.elapsed() >= limit {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Iptables {
    /// The tables as they are.
    ///
    /// # Errors
    /// What iptables said; `None` where there is no such program.
    pub async fn tables(&self, family: Family) -> Result<Tables, Option<String>> {
        let program = self.program(family, "save").ok_or(None)?;
        let output = Command::new(program).stdin(Stdio::null()).kill_on_drop(true).output().await;
        said(output).map(|text| Tables::parse(&text)).map_err(Some)
    }

    /// Writes a transaction; nothing else changes.
    ///
    /// # Errors
    /// [`Kind::Container`] with what iptables said.
    pub async fn restore(&self, family: Family, text: &str) -> Result<(), Failure> {
        let failed = |why: String| {
            Failure::new(Kind::Container, format!("the rules cannot be written: {why}"))
                .next("`iptables-save` shows the tables as they are")
        };
        let program = self.program(family, "restore").ok_or_else(|| failed("iptables-restore is missing".into()))?;
        let run = async {
            let mut command = Command::new(program);
            command.args(["--noflush", "--wait"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.kill_on_drop(true).spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(text.as_bytes()).await?;
            }
            child.wait_with_output().await
        };
        tracing::debug!(?family, text, "iptables-restore");
        said(run.await).map(drop).map_err(failed)
    }

    fn program(&self, family: Family, verb: &str) -> Option<PathBuf> {
        let stem = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        let name = format!("{stem}{}-{verb}", self.variant);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
        folders.map(|folder| folder.join(&name)).find(|program| program.is_file())
    }
}

fn said(output: std::io::Result<Output>) -> Result<String, String> {
    let output = output.map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")),
    }
}
