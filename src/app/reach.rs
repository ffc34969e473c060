//! Which engine a command asks. Contexts are for a person at a developer's machine, and engines of other hosts for what
//! only reads: a deployment changes the host that it runs on too.

use std::time::Duration;

use crate::app::Context;
use crate::cli::Command;
use crate::engine::Engine;
use crate::engine::absence::PATIENCE;
use crate::engine::endpoint::{Contexts, DEFAULT_HOST, Endpoint};
use crate::error::{Failure, Kind};

/// What a command wants of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It runs without a person: as CodeDeploy's hook, or at boot.
    Host,
    /// A person changes this host.
    Changes,
    /// A person looks.
    Reads,
}

impl Reach {
    pub(super) const fn of(command: Option<&Command>) -> Self {
        match command {
            None | Some(Command::Hook { .. } | Command::Resume { .. }) => Self::Host,
            Some(
                Command::Run { .. }
                | Command::Stop { .. }
                | Command::Start { .. }
                | Command::Restart { .. }
                | Command::Prune { .. }
                | Command::Rollback { .. }
                | Command::Pin(_)
                | Command::Unpin(_)
                | Command::Uninstall(_),
            ) => Self::Changes,
            Some(
                Command::Plan { .. }
                | Command::Check { .. }
                | Command::Init(_)
                | Command::Explain { .. }
                | Command::Schema { .. }
                | Command::Status { .. }
                | Command::Doctor { .. }
                | Command::History { .. }
                | Command::Logs { .. }
                | Command::Import { .. }
                | Command::Completions { .. }
                | Command::Man,
            ) => Self::Reads,
        }
    }
}

/// How long an engine that is away is waited for.
pub(super) const fn patience(command: Option<&Command>) -> Duration {
    match command {
        None | Some(Command::Hook { .. } | Command::Run { .. } | Command::Resume { dry_run: false, .. }) => PATIENCE,
        Some(_) => Duration::ZERO,
    }
}

impl Context {
    /// The engine that this command asks.
    /// Errors: [`Kind::Engine`]: it cannot be known which, or it is another host's, and this host would be changed.
    pub(crate) fn engine(&self) -> Result<Engine, Failure> {
        let lookup = |name: &str| self.env.lookup(name).map(str::to_owned);
        let contexts = if self.reach == Reach::Host { Contexts::Ignored } else { Contexts::Count };
        let endpoint = Endpoint::find(&lookup, &self.credentials().docker_config, contexts)?;
        if self.reach != Reach::Reads && endpoint.is_remote() {
            return Err(elsewhere(&endpoint));
        }
        Ok(Engine::at(endpoint)?.with_waits(&self.waits).patient(self.patience))
    }
}

impl Context {
    /// The address that hooks and the boot unit ask in this environment.
    pub(super) fn hooks_ask(&self) -> &str {
        self.env.lookup("DOCKER_HOST").filter(|host| !host.is_empty()).unwrap_or(DEFAULT_HOST)
    }
}

fn elsewhere(endpoint: &Endpoint) -> Failure {
    let message = format!(
        "the engine at {endpoint} is on another host, and this changes files, rules and records of the host that it runs on"
    );
    Failure::new(Kind::Engine, message)
        .next("run it on that host; from here `plan`, `status`, `logs`, `doctor` and `import` ask that engine")
}

/// What a person must know of the engine that was asked; nothing of this host's own.
pub(crate) fn said(engine: &Engine) -> Option<String> {
    let endpoint = &engine.endpoint;
    match (endpoint.is_remote(), &endpoint.context) {
        (false, None) => None,
        (false, Some(_)) => Some(format!("engine: {endpoint}")),
        (true, _) => Some(format!(
            "engine: {endpoint}, on another host: its releases, rules of switched ports and files are not seen from here"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn what_runs_without_a_person_knows_no_contexts_and_what_changes_no_other_host() {
        let reach = |line: &str| Reach::of(Cli::try_parse_from(line.split(' ')).unwrap().command.as_ref());
        for line in ["balehook", "balehook hook hooks/balehook", "balehook resume", "balehook resume --dry-run"] {
            assert_eq!(reach(line), Reach::Host, "{line}");
        }
        let changing =
            ["run ApplicationStart", "stop web", "start web", "restart web --dry-run", "prune", "rollback web"];
        for line in changing.iter().chain(&["pin web d-1", "unpin web d-1", "uninstall --dry-run"]) {
            assert_eq!(reach(&format!("balehook {line}")), Reach::Changes, "{line}");
        }
        for line in ["plan", "check", "status", "doctor", "history", "logs", "import web"] {
            assert_eq!(reach(&format!("balehook {line}")), Reach::Reads, "{line}");
        }
        let elsewhere = elsewhere(&Endpoint::plain(Some("tcp://10.0.0.5:2375")).unwrap());
        assert_eq!(elsewhere.kind, Kind::Engine);
        assert!(elsewhere.message.starts_with("the engine at tcp://10.0.0.5:2375 is on another host"));
    }
}
