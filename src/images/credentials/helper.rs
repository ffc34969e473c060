//! A credential helper of docker: a program that is given a registry's name and prints its credential.

use std::time::Duration;

use serde::Deserialize;

use crate::images::credentials::{Credential, CredentialError, CredentialSettings};
use crate::process::{self, ProcessError, Program};
use crate::values::types::Secret;

/// How long a helper may take; it is killed then.
const LIMIT: Duration = Duration::from_secs(30);

/// The most that is read of its answer, in bytes: a token of ECR has 2 kB.
const MOST: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper. A helper that is missing from PATH falls through, as does a store (not a helper for this very host)
/// that knows nothing of it.
pub(super) async fn get(
    helper: &str,
    server: &str,
    settings: &CredentialSettings,
    is_for_host: bool,
) -> Result<Option<Credential>, CredentialError> {
    let failed = |why: String| CredentialError::Helper { helper: helper.to_owned(), server: server.to_owned(), why };
    let Some(program) = program(helper, settings) else { return Ok(None) };
    let name = program.name();
    let silent = |limit| failed(ProcessError::TimeUp { program: name.clone(), limit }.to_string()).to_string();
    let ended = settings.waits.on(silent, program.input(server).run(LIMIT, MOST)).await;
    let ended = ended.map_err(|error| failed(error.to_string()))?;
    if ended.status.success() {
        let answer = ended.stdout().map_err(|error| failed(error.to_string()))?;
        return match serde_json::from_slice(answer) {
            Ok(Answer { username, secret }) => {
                Ok(Some(Credential { username, secret: Secret::new(secret), server: server.to_owned() }))
            }
            Err(_) => Err(failed("it did not print the JSON of a credential".into())),
        };
    }
    let words = ended.words(200);
    match words.contains("credentials not found") && !is_for_host {
        true => Ok(None),
        false => {
            let words = if words.is_empty() { "it printed nothing" } else { &words };
            Err(failed(format!("{words} ({})", ended.status)))
        }
    }
}

/// Why a helper cannot be run; `None` where it can.
pub(super) fn lacks(helper: &str, settings: &CredentialSettings) -> Option<String> {
    let Some(file) = process::find(&format!("docker-credential-{helper}"), &settings.path) else {
        return Some("it is not on the PATH of hooks".into());
    };
    let refused = nix::unistd::access(&file, nix::unistd::AccessFlags::X_OK).err();
    refused.map(|error| format!("{} cannot be run: {}", file.display(), error.desc()))
}

/// With our own variables: a helper may need those of its cloud.
fn program(helper: &str, settings: &CredentialSettings) -> Option<Program> {
    if helper.contains('/') {
        return None;
    }
    let file = process::find(&format!("docker-credential-{helper}"), &settings.path)?;
    let program = Program::new(file).args(["get"]).envs(std::env::vars_os());
    Some(program.env("HOME", &settings.home).env("PATH", &settings.path))
}
