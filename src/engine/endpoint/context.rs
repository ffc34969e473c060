//! Docker's contexts: engines by a name, as `docker context create` writes them down.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::engine::endpoint::{CONTEXT, Lookup};
use crate::error::{Failure, Kind};
use crate::inputs;

/// The engine that no context is needed for.
const DEFAULT: &str = "default";

/// Largest file, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// A context that is asked for, and where.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(super) name: String,
    by: String,
}

/// Where its engine is.
pub(super) struct Context {
    pub(super) host: String,
    /// The engine's certificate is not verified.
    pub(super) takes_any: bool,
    /// The folder of its `ca.pem`, `cert.pem` and `key.pem`, where it has any.
    pub(super) files: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "currentContext", default)]
    current: String,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Endpoints")]
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Docker,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Docker {
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    takes_any: bool,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "docker's context `{}`, which {} names", self.name, self.by)
    }
}

impl Named {
    /// The context that docker's CLI would use: that of the variable, then that of `config.json`. `None` for the default one.
    /// Errors: [`Kind::Engine`]: nobody knows, because `config.json` cannot be read.
    pub(super) fn find(lookup: Lookup<'_>, config: &Path) -> Result<Option<Self>, Failure> {
        let of_variable = lookup(CONTEXT).filter(|name| !name.is_empty());
        let named = match of_variable {
            Some(name) => Self { name, by: CONTEXT.to_owned() },
            None => {
                let file = config.join("config.json");
                Self { name: current(&file)?, by: format!("currentContext of {}", file.display()) }
            }
        };
        Ok(Some(named).filter(|named| !named.name.is_empty() && named.name != DEFAULT))
    }

    /// Errors: [`Kind::Engine`]: there is none of that name, or its file is not docker's.
    pub(super) fn read(&self, config: &Path) -> Result<Context, Failure> {
        let id: String = Sha256::digest(&self.name).iter().map(|byte| format!("{byte:02x}")).collect();
        let file = config.join("contexts/meta").join(&id).join("meta.json");
        let lacks = |why: String| {
            Failure::new(Kind::Engine, format!("{self}, cannot be used: {}: {why}", file.display()))
                .next("`docker context ls` lists them; DOCKER_CONTEXT=default takes this host's engine")
        };
        let meta = inputs::read(&file, None, LARGEST).map_err(|error| lacks(error.to_string()))?;
        let meta: Meta = serde_json::from_slice(&meta).map_err(|error| lacks(error.to_string()))?;
        let Docker { host, takes_any } = meta.endpoints.docker;
        let files = config.join("contexts/tls").join(&id).join("docker");
        Ok(Context { host, takes_any, files: Some(files).filter(|files| files.is_dir()) })
    }
}

fn current(file: &Path) -> Result<String, Failure> {
    let broken = |why: String| {
        Failure::new(Kind::Engine, format!("which engine is meant is not known: {}: {why}", file.display()))
            .next("repair that file, or name the engine by DOCKER_HOST or DOCKER_CONTEXT")
    };
    match inputs::read(file, None, LARGEST) {
        Ok(text) => {
            let config: Config = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
            Ok(config.current)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(broken(error.to_string())),
    }
}
