//! Registry credentials, found as the docker CLI finds them.
//!
//! `config.json` of `DOCKER_CONFIG`, or of the home folder's `.docker`: `credHelpers` for the host, then `credsStore`,
//! then `auths`. For a host of ECR that none of these knows: `GetAuthorizationToken`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::aws::ecr::EcrHost;
use crate::aws::{config, ecr};
use crate::error::{Failure, Kind};
use crate::values::text::{printable, shorten};
use crate::values::types::Secret;

/// How long a helper may take; it is killed then.
const HELPER_LIMIT: Duration = Duration::from_secs(30);

/// Docker Hub's key in `config.json`.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Where credentials are looked for.
#[derive(Debug, Clone)]
pub struct CredentialSettings {
    /// The folder with `config.json`.
    pub docker_config: PathBuf,
    /// Given to a helper as HOME: the agent sets none.
    pub home: PathBuf,
    /// The home folder for the AWS SDK, where HOME is unset.
    pub aws_home: Option<PathBuf>,
    /// Where helpers are looked for.
    pub path: OsString,
}

/// A user and a password, or an identity token (the user is `<token>` then).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The user.
    pub username: String,
    /// The password or the token.
    pub secret: Secret,
    /// The registry.
    pub server: String,
}

/// Why no credential could be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// `config.json` cannot be read.
    #[error("cannot read {path}: {why}")]
    Config {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// The helper ran and gave none.
    #[error("docker-credential-{helper} gave no credentials for {server}: {why}")]
    Helper {
        /// The helper's name, without its prefix.
        helper: String,
        /// The registry.
        server: String,
        /// Its words.
        why: String,
    },
    /// ECR gave no token.
    #[error("ECR gave no token for {server}: {why}")]
    Ecr {
        /// The registry.
        server: String,
        /// The cause.
        why: String,
    },
}

impl From<&CredentialError> for Failure {
    fn from(error: &CredentialError) -> Self {
        let next = match error {
            CredentialError::Config { .. } => "repair that file, or point DOCKER_CONFIG at another folder",
            CredentialError::Helper { helper, .. } if helper == "ecr-login" => {
                "check the instance role's ecr:GetAuthorizationToken; the helper's own reason is in ~/.ecr/log/ecr-login.log"
            }
            CredentialError::Helper { .. } => "run the helper by hand: echo HOST | docker-credential-NAME get",
            CredentialError::Ecr { .. } => {
                "let the instance role ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer"
            }
        };
        Self::new(Kind::Image, error.to_string()).next(next)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase", default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

impl CredentialSettings {
    /// From `DOCKER_CONFIG`, `HOME` (the password file's home where it is unset) and `PATH`.
    pub fn from_env(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let aws_home = config::home_if_unset(variable);
        let home = set("HOME").map(PathBuf::from).or_else(|| aws_home.clone());
        let home = home.unwrap_or_else(|| PathBuf::from("/root"));
        Self {
            docker_config: set("DOCKER_CONFIG").map_or_else(|| home.join(".docker"), PathBuf::from),
            home,
            aws_home,
            path: set("PATH")
                .unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into())
                .into(),
        }
    }
}

impl Credential {
    /// The value of `X-Registry-Auth`: padded base64url of a JSON object.
    ///
    /// Source: Docker Engine API, "Authentication".
    pub fn to_registry_auth(&self) -> String {
        let secret = self.secret.reveal();
        let object = match self.username.as_str() {
            "<token>" => serde_json::json!({ "identitytoken": secret, "serveraddress": self.server }),
            user => serde_json::json!({ "username": user, "password": secret, "serveraddress": self.server }),
        };
        base64::engine::general_purpose::URL_SAFE.encode(object.to_string())
    }
}

/// The credential for a registry; `None` where nobody knows one: then it is asked anonymously.
///
/// # Errors
/// See [`CredentialError`].
pub async fn for_registry(host: &str, settings: &CredentialSettings) -> Result<Option<Credential>, CredentialError> {
    let config = read_config(&settings.docker_config)?;
    let keys = keys(host);
    let helper = keys.iter().find_map(|key| config.cred_helpers.get(key)).or(config.creds_store.as_ref());
    if let Some(found) = match helper.filter(|helper| !helper.is_empty()) {
        Some(helper) => {
            ask(helper, &keys[0], settings, config.cred_helpers.values().any(|name| name == helper)).await?
        }
        None => None,
    } {
        return Ok(Some(found));
    }
    if let Some(found) = keys.iter().find_map(|key| from_auth(config.auths.get(key)?, host)) {
        return Ok(Some(found));
    }
    let Some(ecr_host) = EcrHost::parse(host) else { return Ok(None) };
    let token = ecr::authorization_token(&ecr_host, host, settings.aws_home.as_deref()).await;
    token.map(Some).map_err(|why| CredentialError::Ecr { server: host.to_owned(), why })
}

/// The keys under which `config.json` may know a host; the first is what a helper is asked for.
fn keys(host: &str) -> Vec<String> {
    match host {
        "docker.io" => vec![DOCKER_HUB.into(), "docker.io".into(), "index.docker.io".into()],
        _ => vec![
            host.to_owned(),
            format!("https://{host}"),
            format!("https://{host}/"),
            format!("https://{host}/v1/"),
            format!("https://{host}/v2/"),
            format!("http://{host}"),
        ],
    }
}

fn read_config(folder: &Path) -> Result<DockerConfig, CredentialError> {
    let path = folder.join("config.json");
    let wrong = |why: String| CredentialError::Config { path: path.display().to_string(), why };
    match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(DockerConfig::default()),
        Err(error) => Err(wrong(error.to_string())),
        // Only where it is wrong: what stands there may be a password.
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("no valid JSON of docker's form at {}:{}", error.line(), error.column()))),
    }
}

fn from_auth(auth: &Auth, server: &str) -> Option<Credential> {
    let pair = |username: String, secret: &str| {
        let secret = Secret::new(secret);
        Some(Credential { username, secret, server: server.to_owned() })
    };
    if !auth.identitytoken.is_empty() {
        return pair("<token>".into(), &auth.identitytoken);
    }
    if !auth.auth.is_empty() {
        let text = base64::engine::general_purpose::STANDARD.decode(&auth.auth).ok()?;
        let text = String::from_utf8(text).ok()?;
        let (user, password) = text.split_once(':')?;
        return pair(user.to_owned(), password.trim_end_matches('\0'));
    }
    (!auth.username.is_empty()).then(|| pair(auth.username.clone(), &auth.password))?
}

/// Asks a helper. A helper that is missing from PATH falls through, as does a store (not a helper for this very host)
/// that knows nothing of it.
async fn ask(
    helper: &str,
    server: &str,
    settings: &CredentialSettings,
    for_host: bool,
) -> Result<Option<Credential>, CredentialError> {
    let wrong = |why: String| CredentialError::Helper { helper: helper.to_owned(), server: server.to_owned(), why };
    let Some(program) = find(helper, &settings.path) else { return Ok(None) };
    let output = tokio::time::timeout(HELPER_LIMIT, run(&program, server, settings)).await;
    let output = output.map_err(|_| wrong(format!("it did not end within {HELPER_LIMIT:?}")))?;
    let output = output.map_err(|error| wrong(error.to_string()))?;
    if output.status.success() {
        let answer: HelperAnswer = serde_json::from_slice(&output.stdout)
            .map_err(|_| wrong("it did not print the JSON of a credential".into()))?;
        let (username, secret) = (answer.username, Secret::new(answer.secret));
        return Ok(Some(Credential { username, secret, server: server.to_owned() }));
    }
    let said = [&output.stdout[..], b" ", &output.stderr[..]].concat();
    let said = shorten(printable(&String::from_utf8_lossy(&said)).trim(), 200);
    match said.contains("credentials not found") && !for_host {
        true => Ok(None),
        false => Err(wrong(format!("{} ({})", if said.is_empty() { "it said nothing" } else { &said }, output.status))),
    }
}

fn find(helper: &str, path: &OsString) -> Option<PathBuf> {
    if helper.contains('/') {
        return None;
    }
    let name = format!("docker-credential-{helper}");
    std::env::split_paths(path).map(|folder| folder.join(&name)).find(|candidate| candidate.is_file())
}

pub(crate) async fn run(
    program: &Path,
    server: &str,
    settings: &CredentialSettings,
) -> std::io::Result<std::process::Output> {
    let mut child = Command::new(program)
        .arg("get")
        .env("HOME", &settings.home)
        .env("PATH", &settings.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that ends without reading is judged by its answer.
        let _ = stdin.write_all(server.as_bytes()).await;
    }
    child.wait_with_output().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    struct Home(tempfile::TempDir);

    impl Home {
        fn with(config: &str) -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            std::fs::write(home.0.path().join("config.json"), config).unwrap();
            home
        }

        fn helper(self, name: &str, script: &str) -> Self {
            let path = self.0.path().join(format!("docker-credential-{name}"));
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            self
        }

        async fn ask(&self, host: &str) -> Result<Option<Credential>, CredentialError> {
            let path = format!("{}:/usr/bin:/bin", self.0.path().display()).into();
            let settings = CredentialSettings {
                docker_config: self.0.path().into(),
                home: self.0.path().into(),
                aws_home: None,
                path,
            };
            for_registry(host, &settings).await
        }
    }

    #[tokio::test]
    async fn a_helper_that_fails_is_said_with_its_words_and_without_asking_anybody_else() {
        let home = Home::with(r#"{"credHelpers":{"r.test":"x"},"auths":{"r.test":{"auth":"dTpw"}}}"#)
            .helper("x", "cat >/dev/null; echo credentials not found in native keychain; exit 1");
        let error = home.ask("r.test").await.unwrap_err();
        assert!(error.to_string().contains("docker-credential-x gave no credentials for r.test"), "{error}");
        assert!(error.to_string().contains("credentials not found in native keychain"), "{error}");
    }

    #[tokio::test]
    async fn a_helper_that_prints_rubbish_is_refused_without_printing_it() {
        let home = Home::with(r#"{"credHelpers":{"r.test":"x"}}"#).helper("x", "echo hunter2");
        let error = home.ask("r.test").await.unwrap_err().to_string();
        assert!(error.contains("did not print the JSON") && !error.contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn a_broken_config_names_the_place_and_not_what_stands_there() {
        let error = Home::with(r#"{"auths":{"r.test":{"auth":hunter2}}}"#).ask("r.test").await.unwrap_err().to_string();
        assert!(error.contains(" at 1:") && !error.contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn the_helper_gets_the_host_on_stdin_and_its_answer_is_taken() {
        let home = Home::with(r#"{"credHelpers":{"r.test:5443":"x"}}"#).helper(
            "x",
            r#"read host; printf '{"ServerURL":"%s","Username":"u","Secret":"%s %s"}' "$host" "$1" "$host""#,
        );
        let found = home.ask("r.test:5443").await.unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.secret.reveal()), ("u", "get r.test:5443"));
    }

    #[tokio::test]
    async fn a_helper_missing_from_path_falls_through_to_auths() {
        let home =
            Home::with(r#"{"credHelpers":{"r.test":"nowhere"},"auths":{"https://r.test/v2/":{"auth":"dTpwOnE="}}}"#);
        let found = home.ask("r.test").await.unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.secret.reveal()), ("u", "p:q"));
    }

    #[tokio::test]
    async fn a_store_that_knows_nothing_of_the_host_falls_through_to_anonymous() {
        let home = Home::with(r#"{"credsStore":"x"}"#).helper("x", "echo credentials not found; exit 1");
        assert_eq!(home.ask("r.test").await.unwrap(), None);
    }

    #[tokio::test]
    async fn without_a_config_a_registry_is_asked_anonymously() {
        let home = Home(tempfile::tempdir().unwrap());
        assert_eq!(home.ask("r.test").await.unwrap(), None);
    }

    #[test]
    fn the_header_is_padded_base64url_also_for_passwords_that_need_its_last_two_letters() {
        let credential =
            Credential { username: "u".into(), secret: Secret::new("\u{7ff}~?>ÿ~?>"), server: "r".into() };
        let header = credential.to_registry_auth();
        assert!(!header.contains(['+', '/']) && header.len().is_multiple_of(4), "{header}");
        let text = base64::engine::general_purpose::URL_SAFE.decode(header).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["password"], "\u{7ff}~?>ÿ~?>");
    }

    #[test]
    fn a_credential_is_never_printed() {
        let credential = Credential { username: "u".into(), secret: Secret::new("hunter2"), server: "r".into() };
        assert!(!format!("{credential:?}").contains("hunter2"));
    }
}
