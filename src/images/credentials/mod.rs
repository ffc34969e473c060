//! Registry credentials, found as the docker CLI finds them.
//!
//! `config.json` of `DOCKER_CONFIG`, or of the home folder's `.docker`: `credHelpers` for the host, then `credsStore`,
//! then `auths`. For a host of ECR, or its public gallery, that none of these knows: `GetAuthorizationToken`.

mod docker_config;
mod helper;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;

use crate::aws::ecr::EcrHost;
use crate::aws::json::Json;
use crate::aws::{config, ecr};
use crate::error::{Failure, Kind};
use crate::images::credentials::docker_config::{DockerConfig, keys};
use crate::values::types::Secret;
use crate::waits::Waits;

/// So long a token of the public gallery is waited for, which answers without one.
const PUBLIC_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub(crate) struct CredentialSettings {
    /// The folder with `config.json`.
    pub(crate) docker_config: PathBuf,
    /// Given to a helper as HOME: the agent sets none.
    pub(crate) home: PathBuf,
    /// The home folder for the AWS SDK, where HOME is unset.
    pub(crate) aws_home: Option<PathBuf>,
    pub(crate) path: OsString,
    /// Asks the public gallery of ECR for a token.
    pub(crate) json: Json,
    /// What is waited for, for who gives it up.
    pub(crate) waits: Waits,
}

/// A user and a password, or an identity token (the user is `<token>` then).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) username: String,
    pub(crate) secret: Secret,
    pub(crate) server: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CredentialError {
    #[error("cannot read {path}: {why}")]
    Config { path: String, why: String },
    #[error("docker-credential-{helper} gave no credentials for {server}: {why}")]
    Helper {
        /// The helper's name, without its prefix.
        helper: String,
        server: String,
        why: String,
    },
    #[error("ECR gave no token for {server}: {why}")]
    Ecr { server: String, why: String },
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

impl CredentialSettings {
    /// From `DOCKER_CONFIG`, `HOME` (the password file's home where it is unset) and `PATH`.
    pub(crate) fn from_env(variable: &dyn Fn(&str) -> Option<String>, waits: &Waits) -> Self {
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
            json: Json::from_env(variable, waits),
            waits: waits.clone(),
        }
    }
}

impl Credential {
    /// The value of `X-Registry-Auth`: padded base64url of a JSON object.
    ///
    /// Source: Docker Engine API, "Authentication".
    pub(crate) fn to_registry_auth(&self) -> String {
        let secret = self.secret.reveal();
        let object = match self.username.as_str() {
            "<token>" => serde_json::json!({ "identitytoken": secret, "serveraddress": self.server }),
            user => serde_json::json!({ "username": user, "password": secret, "serveraddress": self.server }),
        };
        base64::engine::general_purpose::URL_SAFE.encode(object.to_string())
    }
}

/// The helpers that `config.json` names, each with what is wrong with its program; `None` where it can be run.
/// Errors: [`CredentialError::Config`].
pub(crate) fn helpers(settings: &CredentialSettings) -> Result<Vec<(String, Option<String>)>, CredentialError> {
    let config = DockerConfig::read(&settings.docker_config)?;
    let named = |name: &str| (format!("docker-credential-{name}"), helper::lacks(name, settings));
    Ok(config.helpers().into_iter().map(named).collect())
}

/// The public gallery answers anybody, more often to who has a token: without one it is asked anonymously.
async fn of_public_gallery(settings: &CredentialSettings) -> Option<Credential> {
    let token = tokio::time::timeout(PUBLIC_PATIENCE, ecr::public_token(&settings.json)).await;
    let token = token.unwrap_or_else(|_| Err(ecr::silent(PUBLIC_PATIENCE)));
    let log = |why: &String| tracing::warn!(why, "no token of {}: it is asked anonymously", ecr::PUBLIC);
    let (username, secret) = token.inspect_err(log).ok()?;
    Some(Credential { username, secret, server: ecr::PUBLIC.to_owned() })
}

/// The credential for a registry; `None` where there is none: then it is asked anonymously.
pub(crate) async fn for_registry(
    host: &str,
    settings: &CredentialSettings,
) -> Result<Option<Credential>, CredentialError> {
    let config = DockerConfig::read(&settings.docker_config)?;
    let keys = keys(host);
    if let Some((helper, is_for_host)) = config.helper(&keys)
        && let Some(found) = helper::get(helper, &keys[0], settings, is_for_host).await?
    {
        return Ok(Some(found));
    }
    if let Some(found) = config.auth(&keys, host) {
        return Ok(Some(found));
    }
    if host == ecr::PUBLIC {
        return Ok(of_public_gallery(settings).await);
    }
    let Some(ecr_host) = EcrHost::parse(host) else { return Ok(None) };
    let failed = |why| CredentialError::Ecr { server: host.to_owned(), why };
    let token = ecr::authorization_token(&ecr_host, settings.aws_home.as_deref());
    let token = settings.waits.on(|waited| failed(ecr::silent(waited)).to_string(), token).await;
    let (username, secret) = token.map_err(failed)?;
    Ok(Some(Credential { username, secret, server: host.to_owned() }))
}
