//! Which Compose this host has, and processes of it.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::engine::facts::EngineFacts;
use crate::error::{Failure, Kind};
use crate::images::credentials::CredentialSettings;
use crate::modes::compose::project::{Generation, Tool};
use crate::values::text::{printable, shorten};
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

/// The newest engine that Compose 1 can recreate a container on: later ones no longer say what it reads then.
const V1_ENGINES: u32 = 24;

/// Processes of Compose: what they are given beside their arguments.
#[derive(Debug, Clone, Copy)]
pub struct Processes<'a> {
    /// PATH, HOME and the folder with docker's `config.json`.
    pub settings: &'a CredentialSettings,
    /// `DOCKER_HOST`.
    pub docker_host: &'a str,
}

impl Processes<'_> {
    /// The plugin of the docker CLI, then `docker-compose`: the first that says its version.
    ///
    /// A plugin is called by its own path: it is the same program, and ends with us where it is our own child.
    ///
    /// # Errors
    /// [`Kind::Container`]: there is none.
    pub async fn find(&self) -> Result<Tool, Failure> {
        for argv in self.candidates() {
            let Ok(output) = self.run(&argv, &["version", "--short"], &[], VERSION_LIMIT).await else { continue };
            let said = String::from_utf8_lossy(&output.stdout);
            if let Some((version, generation)) = read_version(said.trim()).filter(|_| output.status.success()) {
                return Ok(Tool { argv, version, generation });
            }
        }
        Err(Failure::new(Kind::Container, "there is no `docker compose` and no `docker-compose` on this host")
            .next("install the Compose plugin of the docker CLI (docker-compose-plugin), in the image of the host"))
    }

    fn candidates(&self) -> Vec<Vec<String>> {
        let folders = [self.settings.docker_config.join("cli-plugins")].into_iter();
        let folders = folders.chain(PLUGIN_FOLDERS.map(PathBuf::from));
        let plugins = folders.map(|folder| folder.join("docker-compose")).filter(|path| path.is_file());
        let mut candidates: Vec<Vec<String>> = plugins.map(|path| vec![path.display().to_string()]).collect();
        if candidates.is_empty() {
            candidates.push(vec!["docker".into(), "compose".into()]);
        }
        candidates.push(vec!["docker-compose".into()]);
        candidates
    }

    /// Runs it to its end: no standard input, pipes of its own, killed when we stop waiting for it.
    ///
    /// # Errors
    /// [`Kind::Container`]: it cannot be started, or did not end in time.
    pub async fn run(
        &self,
        argv: &[String],
        more: &[&str],
        variables: &[EnvVar],
        limit: Duration,
    ) -> Result<Output, Failure> {
        let name = argv.first().map(String::as_str).unwrap_or_default();
        let failed = |why: String| Failure::new(Kind::Container, format!("cannot run {name}: {why}"));
        let child = self.command(argv, variables).args(more).spawn().map_err(|error| failed(error.to_string()))?;
        let ended = tokio::time::timeout(limit, child.wait_with_output()).await;
        ended
            .map_err(|_| failed(format!("it did not end within {limit:?}")))?
            .map_err(|error| failed(error.to_string()))
    }

    /// The process, as Compose is always started: killed when it is dropped.
    pub fn command(&self, argv: &[String], variables: &[EnvVar]) -> Command {
        let mut words = argv.iter();
        // Looked up on the hook's PATH, not on our own.
        let program = words.next().map(|name| self.on_path(name)).unwrap_or_default();
        let mut command = Command::new(program);
        command.args(words).env_clear();
        for var in variables {
            if let Some(value) = &var.value {
                command.env(&var.name, value.reveal());
            }
        }
        command
            .env("PATH", &self.settings.path)
            .env("HOME", &self.settings.home)
            .env("DOCKER_CONFIG", &self.settings.docker_config)
            .env("DOCKER_HOST", self.docker_host)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir("/")
            .kill_on_drop(true);
        command
    }

    fn on_path(&self, name: &str) -> PathBuf {
        let mut folders = std::env::split_paths(&self.settings.path);
        let found = if name.contains('/') {
            None
        } else {
            folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()))
        };
        found.unwrap_or_else(|| PathBuf::from(name))
    }
}

/// `2.40.3`, `v2.26.1-4`, `1.29.2`; Compose 5 and what follows are of the second generation.
fn read_version(text: &str) -> Option<(String, Generation)> {
    let version = text.trim_start_matches('v');
    let major: u32 = version.split('.').next()?.parse().ok()?;
    let generation = if major >= 2 { Generation::V2 } else { Generation::V1 };
    (major >= 1 && version.contains('.')).then(|| (version.to_owned(), generation))
}

/// Compose 1 deletes containers of newer engines before it fails to recreate them.
///
/// # Errors
/// [`Kind::Container`].
pub fn check_pair(tool: &Tool, engine: &EngineFacts) -> Result<(), Failure> {
    let major: Option<u32> = engine.version.split('.').next().and_then(|major| major.parse().ok());
    match (tool.generation, major) {
        (Generation::V1, Some(major)) if major > V1_ENGINES => Err(Failure::new(
            Kind::Container,
            format!("docker-compose {} destroys containers on Docker {}", tool.version, engine.version),
        )
        .next("install the Compose plugin of the docker CLI (version 2): version 1 works up to Docker 24")),
        _ => Ok(()),
    }
}

/// What Compose said on its way out: its errors without its progress.
pub fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<String> = text.lines().map(|line| printable(line).trim().to_owned()).collect();
    let is_error = |line: &&String| {
        let line = line.to_lowercase();
        (line.contains("error") || line.contains("failed") || line.contains("invalid")) && !line.ends_with("... error")
    };
    let is_cause = |line: &String| is_error(&line) && !line.starts_with("Encountered errors");
    let told = match lines.iter().rposition(is_cause) {
        // Compose 1 says what is wrong on the lines that follow.
        Some(last) if lines[last].ends_with(':') => lines[last..].iter().take(3).cloned().collect::<Vec<_>>().join(" "),
        Some(last) => lines[last].clone(),
        None => {
            let words: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
            words[words.len().saturating_sub(3)..].join(" ")
        }
    };
    let told = told.trim_start_matches("ERROR: ").to_owned();
    if told.is_empty() { format!("it said nothing ({})", output.status) } else { shorten(&told, 300) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn versions_are_read_as_each_compose_prints_them_and_nothing_else_is_one() {
        let generation = |text| read_version(text).map(|(_, generation)| generation);
        assert_eq!(generation("2.26.1-4"), Some(Generation::V2));
        assert_eq!(generation("v2.40.3"), Some(Generation::V2));
        assert_eq!(generation("5.0.1"), Some(Generation::V2));
        assert_eq!(generation("1.29.2"), Some(Generation::V1));
        assert_eq!(generation("Docker version 28"), None);
        assert_eq!(generation(""), None);
    }

    #[test]
    fn compose_1_is_refused_on_engines_after_24_alone() {
        let engine =
            |version: &str| EngineFacts { version: version.into(), api: (1, 41), architecture: "amd64".into() };
        let v1 = Tool { argv: vec!["docker-compose".into()], version: "1.29.2".into(), generation: Generation::V1 };
        let v2 = Tool { generation: Generation::V2, ..v1.clone() };
        assert!(check_pair(&v1, &engine("20.10.24+dfsg1")).is_ok() && check_pair(&v1, &engine("24.0.7")).is_ok());
        assert!(
            check_pair(&v1, &engine("25.0.0"))
                .unwrap_err()
                .message
                .contains("1.29.2 destroys containers on Docker 25.0.0")
        );
        assert!(check_pair(&v2, &engine("28.5.2")).is_ok());
    }

    #[test]
    fn of_what_compose_says_the_error_is_told_and_not_the_progress() {
        let output = |text: &str| Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: Vec::new(),
            stderr: text.as_bytes().to_vec(),
        };
        let v2 = " Container web-1  Starting\nError response from daemon: driver failed\n";
        assert_eq!(said(&output(v2)), "Error response from daemon: driver failed");
        let v1 = "Creating web_1 ... error\n\nERROR: for web  Cannot start service\nEncountered errors while bringing up the project.\n";
        assert_eq!(said(&output(v1)), "for web  Cannot start service");
        let v1 = "The Compose file is invalid because:\nservices.web has no image\n";
        assert_eq!(said(&output(v1)), "The Compose file is invalid because: services.web has no image");
        assert_eq!(said(&output("")), "it said nothing (exit status: 1)");
    }
}
