//! Which Compose this host has, and processes of it.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::error::{Failure, Kind};
use crate::images::credentials::CredentialSettings;
use crate::modes::compose::project::{INSTALL, Tool};
use crate::process::{self, Ended, ProcessError, Program};
use crate::values::known::Known;
use crate::values::text::{printable, seconds, shorten};
use crate::values::types::EnvVar;

/// Where the docker CLI looks for plugins after the `cli-plugins` beside its `config.json`.
///
/// Source: docker CLI, cli-plugins/manager, `defaultSystemPluginDirs`.
const PLUGIN_FOLDERS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// How long it may take to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// The longest output that is read: `config` prints every service with all its options.
const PRINTED: usize = 16 * 1024 * 1024;

/// Processes of Compose: what they are given beside their arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processes<'a> {
    /// PATH, HOME and the folder with docker's `config.json`.
    pub(crate) settings: &'a CredentialSettings,
    /// What leads docker's own programs to our engine.
    pub(crate) engine: &'a [EnvVar],
}

impl Processes<'_> {
    /// The plugin of the docker CLI, then `docker-compose`: the first that says that it is Compose 2 or later.
    ///
    /// A plugin is called by its own path: it is the same program, and ends with us where it is our own child.
    /// Errors: [`Kind::Container`]: there is none, or Compose 1 alone; or the first that there is does not answer.
    pub(crate) async fn find(&self) -> Result<Tool, Failure> {
        let mut refused = None;
        for argv in self.candidates() {
            match self.ask(argv).await {
                Ok(Some(tool)) => return Ok(tool),
                Ok(None) => {}
                Err(failure) => refused = refused.or(Some(failure)),
            }
        }
        Err(refused.unwrap_or_else(|| Failure::new(Kind::Container, "there is no Compose on this host").next(INSTALL)))
    }

    /// The same as a fact: where there is none, why.
    pub(crate) async fn known(&self) -> Known<Tool> {
        self.find().await.map_or_else(|failure| Known::No(failure.message), Known::Yes)
    }

    /// Which Compose that is; `None` where it is none.
    async fn ask(&self, argv: Vec<String>) -> Result<Option<Tool>, Failure> {
        let ended = self.run("version", &argv, &["version", "--short"], &[], VERSION_LIMIT).await?;
        let printed = String::from_utf8_lossy(ended.stdout().unwrap_or_default()).into_owned();
        let version = read_version(printed.trim()).filter(|_| ended.status.success());
        let tool = version.map(|version| Tool { argv, version });
        tool.as_ref().map_or(Ok(()), Tool::check).map(|()| tool)
    }

    fn candidates(&self) -> Vec<Vec<String>> {
        let folders = [self.settings.docker_config.join("cli-plugins")].into_iter();
        let folders = folders.chain(PLUGIN_FOLDERS.map(PathBuf::from));
        let plugins = folders.map(|folder| folder.join("docker-compose")).filter(|path| path.is_file());
        let mut candidates: Vec<Vec<String>> = plugins.map(|path| vec![path.display().to_string()]).collect();
        if candidates.is_empty() {
            candidates.extend(self.on_path("docker").map(|path| vec![path, "compose".into()]));
        }
        candidates.extend(self.on_path("docker-compose").map(|path| vec![path]));
        candidates
    }

    /// The path of a program on the hook's PATH, which is not our own.
    fn on_path(&self, name: &str) -> Option<String> {
        process::find(name, &self.settings.path).map(|path| path.display().to_string())
    }

    /// Runs it to its end; `command` is what failures call it.
    pub(crate) async fn run(
        &self,
        command: &str,
        argv: &[String],
        more: &[&str],
        variables: &[EnvVar],
        limit: Duration,
    ) -> Result<Ended, Failure> {
        let program = self.program(argv, variables).args(more);
        let silent = |waited| format!("compose {command} has not ended for {}", seconds(waited));
        let ended = self.settings.waits.on(silent, program.run(limit, PRINTED)).await;
        ended.map_err(|error| match error {
            ProcessError::TimeUp { limit, .. } => Failure::new(Kind::Container, silent(limit)),
            error => cannot_run(&error),
        })
    }

    pub(crate) fn program(&self, argv: &[String], variables: &[EnvVar]) -> Program {
        let (program, arguments) = argv.split_first().map_or(("", argv), |(program, rest)| (program.as_str(), rest));
        Program::new(program)
            .args(arguments)
            .variables(variables)
            .env("PATH", &self.settings.path)
            .env("HOME", &self.settings.home)
            .env("DOCKER_CONFIG", &self.settings.docker_config)
            .variables(self.engine)
            .env("LC_ALL", "C.UTF-8")
            .folder("/")
    }
}

/// A Compose that is gone, or is none, is installed again.
pub(crate) fn cannot_run(error: &ProcessError) -> Failure {
    let failure = error.failure(Kind::Container);
    match error {
        ProcessError::NotStarted { .. } => failure.next(INSTALL),
        ProcessError::TimeUp { .. } | ProcessError::Lost { .. } | ProcessError::TooMuch { .. } => failure,
    }
}

/// `2.40.3`, `v2.26.1-4`, `1.29.2`, `5.0.1`.
fn read_version(text: &str) -> Option<String> {
    let version = text.trim_start_matches('v');
    let (major, _) = version.split_once('.')?;
    major.parse::<u32>().is_ok_and(|major| major >= 1).then(|| version.to_owned())
}

/// What Compose warns of, each once. Source: it prints `time="…" level=warning msg="…"` where nobody looks on.
pub(crate) fn warnings(stderr: &[u8]) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for line in String::from_utf8_lossy(stderr).lines().filter(|line| line.contains("level=warning")) {
        let message = line.split_once(" msg=").map(|(_, message)| message.trim()).unwrap_or_default();
        let message = serde_json::from_str(message).unwrap_or_else(|_| message.to_owned());
        if !message.is_empty() && !warnings.contains(&message) {
            warnings.push(message);
        }
    }
    warnings
}

/// What Compose gives as its reason: its errors without its progress.
pub(crate) fn reason(ended: &Ended) -> String {
    last_error(ended.stderr(), ended.status)
}

fn last_error(stderr: &[u8], status: ExitStatus) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<String> = text.lines().map(|line| printable(line).trim().to_owned()).collect();
    let is_error = |line: &&String| {
        let line = line.to_lowercase();
        line.contains("error") || line.contains("failed") || line.contains("invalid")
    };
    let message = match lines.iter().rfind(is_error) {
        Some(last) => last.clone(),
        None => {
            let words: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
            words[words.len().saturating_sub(3)..].join(" ")
        }
    };
    if message.is_empty() { format!("it printed nothing ({status})") } else { shorten(&message, 300) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn versions_are_read_as_each_compose_prints_them_and_nothing_else_is_one() {
        let read = |text| read_version(text).unwrap_or_default();
        assert_eq!(
            ["2.26.1-4", "v2.40.3", "5.0.1", "1.29.2"].map(read),
            ["2.26.1-4", "2.40.3", "5.0.1", "1.29.2"].map(str::to_owned)
        );
        assert_eq!(["Docker version 28", "28", "0.1", ""].map(read_version), [None, None, None, None]);
    }

    #[test]
    fn compose_1_is_refused_and_every_later_one_is_not() {
        let check = |version: &str| Tool { argv: vec!["docker-compose".into()], version: version.into() }.check();
        let failure = check("1.29.2").unwrap_err();
        assert_eq!(failure.message, "docker-compose 1.29.2 is Compose 1, which is out of support");
        assert_eq!((failure.kind, failure.next.as_deref()), (Kind::Container, Some(INSTALL)));
        assert_eq!(["2.40.3", "5.0.1", "10.0.0"].map(|version| check(version).is_ok()), [true; 3]);
    }

    #[test]
    fn each_warning_of_compose_is_taken_once_and_nothing_else() {
        let unset = r#"time="2026-11-27T13:00:00Z" level=warning msg="The \"TAG\" variable is not set. Defaulting to a blank string.""#;
        let plain = "time=\"x\" level=warning msg=obsolete";
        let said = format!("{unset}\n{plain}\n{unset}\ntime=\"x\" level=info msg=other\n Container web  Created\n");
        assert_eq!(
            warnings(said.as_bytes()),
            [r#"The "TAG" variable is not set. Defaulting to a blank string."#, "obsolete"]
        );
    }

    #[test]
    fn of_what_compose_says_the_error_is_shown_and_not_the_progress() {
        let reason = |text: &str| last_error(text.as_bytes(), ExitStatus::from_raw(256));
        let up = " Container web-1  Starting\nError response from daemon: driver failed\n";
        assert_eq!(reason(up), "Error response from daemon: driver failed");
        assert_eq!(reason("one\ntwo\n\nthree\nfour\n"), "two three four");
        assert_eq!(reason(""), "it printed nothing (exit status: 1)");
    }
}
