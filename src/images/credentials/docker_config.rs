//! docker's `config.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use serde::Deserialize;

use crate::images::credentials::{Credential, CredentialError};
use crate::inputs;
use crate::values::types::Secret;

/// Docker Hub's key in `config.json`.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The largest that is read, in bytes.
const LIMIT: u64 = 4 * 1024 * 1024;

/// What is read of it. It holds passwords.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase", default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// The keys under which `config.json` may know a host; the first is what a helper is asked for.
pub(super) fn keys(host: &str) -> Vec<String> {
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

impl DockerConfig {
    pub(super) fn read(folder: &Path) -> Result<Self, CredentialError> {
        let path = folder.join("config.json");
        let wrong = |why: String| CredentialError::Config { path: path.display().to_string(), why };
        match inputs::read(&path, None, LIMIT) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(wrong(error.to_string())),
            // Only where it is wrong: what stands there may be a password.
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                wrong(format!("no valid JSON of docker's form at {}:{}", error.line(), error.column()))
            }),
        }
    }

    /// The helper, and whether it is for this very host.
    pub(super) fn helper(&self, keys: &[String]) -> Option<(&str, bool)> {
        let for_host = keys.iter().find_map(|key| self.cred_helpers.get(key)).map(|helper| (helper.as_str(), true));
        let found = for_host.or(self.creds_store.as_deref().map(|helper| (helper, false)));
        found.filter(|(helper, _)| !helper.is_empty())
    }

    /// Every helper that it names, each once.
    pub(super) fn helpers(&self) -> BTreeSet<&str> {
        let all = self.cred_helpers.values().chain(&self.creds_store);
        all.map(String::as_str).filter(|helper| !helper.is_empty()).collect()
    }

    /// The credential that stands in the file itself.
    pub(super) fn auth(&self, keys: &[String], server: &str) -> Option<Credential> {
        keys.iter().find_map(|key| from_auth(self.auths.get(key)?, server))
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
