//! Values that are fetched when a release is deployed: from SSM, Secrets Manager, S3, KMS, or a program of the host.
//!
//! One [`Fetcher`] serves a run: what was fetched once is not asked for again, and what is asked for together goes in as
//! few calls as the service takes. Values leave it as [`Secret`]s alone.

mod command;
mod error;
mod kms;
mod secrets;
mod ssm;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use crate::aws::json::Json;
use crate::aws::s3::S3;
use crate::inputs;
use crate::values::secret_file::SecretValue;
use crate::values::secret_value::Secret;
use crate::values::source::{Many, Source};
use crate::values::types::EnvVar;
use crate::waits::Waits;

pub(crate) use crate::fetch::error::FetchError;

/// The largest value of a variable, in bytes: what Secrets Manager takes, and no more than the kernel takes for one.
pub(crate) const LARGEST: usize = 64 * 1024;

/// The largest that becomes a file: what a secret of a swarm may have.
pub(crate) const LARGEST_FILE: usize = 500 * 1024;

/// Fetches values; all clones know what any of them has fetched.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher {
    aws: Json,
    s3: S3,
    /// For programs: the hook's.
    variables: Arc<HashMap<String, String>>,
    fetched: Arc<Mutex<HashMap<Source, Zeroizing<Vec<u8>>>>>,
    /// Of the digests that a release keeps, where no earlier one has a salt.
    salt: Arc<str>,
}

type Fetched = Result<Vec<u8>, FetchError>;

impl Fetcher {
    pub(crate) fn new(variables: impl IntoIterator<Item = (String, String)>, waits: &Waits) -> Self {
        let variables: HashMap<String, String> = variables.into_iter().collect();
        let variable = |name: &str| variables.get(name).cloned();
        Self {
            aws: Json::from_env(&variable, waits),
            s3: S3::from_env(&variable, waits),
            variables: Arc::new(variables),
            fetched: Arc::default(),
            salt: new_salt().into(),
        }
    }

    /// For a release of which no earlier one has a salt.
    pub(crate) fn salt(&self) -> &str {
        &self.salt
    }

    /// Fetches values of variables; those that failed or cannot be one are returned, each with why.
    pub(crate) async fn all<'s>(&self, sources: impl IntoIterator<Item = &'s Source>) -> Vec<(Source, FetchError)> {
        let sources: Vec<&Source> = sources.into_iter().collect();
        let mut failed = self.whole(sources.iter().copied()).await;
        for source in sources {
            let unusable = self.known(source).and_then(|bytes| text(&bytes).err());
            failed.extend(unusable.map(|error| (source.clone(), error)));
        }
        failed
    }

    /// Fetches values that become files: any bytes. Those that failed are returned, each with why.
    pub(crate) async fn whole<'s>(&self, sources: impl IntoIterator<Item = &'s Source>) -> Vec<(Source, FetchError)> {
        let mut wanted: Vec<&Source> = Vec::new();
        for source in sources {
            if self.known(source).is_none() && !wanted.contains(&source) {
                wanted.push(source);
            }
        }
        let of = |kind: fn(&Source) -> bool| wanted.iter().copied().filter(|source| kind(source)).collect::<Vec<_>>();
        let parameters = of(|source| matches!(source, Source::Ssm { .. }));
        let secrets = of(|source| matches!(source, Source::SecretsManager { .. }));
        let others = of(|source| matches!(source, Source::S3 { .. } | Source::Kms { .. } | Source::Command { .. }));
        let (parameters, secrets, others) = tokio::join!(
            Box::pin(ssm::parameters(&self.aws, &parameters)),
            Box::pin(secrets::values(&self.aws, &secrets)),
            Box::pin(self.one_by_one(&others)),
        );
        let all = parameters.into_iter().chain(secrets).chain(others);
        let failed = all.filter_map(|(source, value)| Some((source.clone(), self.keep(source, value)?))).collect();
        if !wanted.is_empty() {
            tracing::info!(values = wanted.len(), calls = self.aws.calls(), "values fetched");
        }
        failed
    }

    /// All values of a path or of a secret, each as the variable that it becomes.
    pub(crate) async fn many(&self, many: &Many, salt: &str) -> Result<Vec<EnvVar>, FetchError> {
        let found = match many {
            Many::Ssm(path) => Box::pin(ssm::under(&self.aws, path)).await?,
            Many::SecretsManager(secret) => Box::pin(secrets::keys(&self.aws, secret)).await?,
        };
        let each = found.into_iter().map(|(name, source, value)| match self.keep(source.clone(), usable(value)) {
            Some(error) => Err(error),
            None => Ok(EnvVar { name, value: Some(self.secret(&source, salt)), hidden: true }),
        });
        let all = each.collect::<Result<Vec<_>, _>>()?;
        tracing::info!(values = all.len(), calls = self.aws.calls(), "values fetched");
        Ok(all)
    }

    /// A value that was fetched; one that is missing otherwise.
    pub(crate) fn secret(&self, source: &Source, salt: &str) -> Secret {
        match self.known(source).as_deref().map(|bytes| text(bytes)) {
            Some(Ok(value)) => Secret::fetched(source.clone(), value, salt),
            Some(Err(_)) | None => Secret::of(source.clone()),
        }
    }

    /// The same as a file.
    pub(crate) fn file(&self, source: &Source) -> Option<SecretValue> {
        self.known(source).map(|bytes| SecretValue::new(bytes.to_vec()))
    }

    async fn one_by_one(&self, sources: &[&Source]) -> Vec<(Source, Fetched)> {
        let mut all = Vec::new();
        for source in sources {
            let value = match source {
                Source::S3 { s3 } => match self.s3.get_small(s3, LARGEST_FILE).await {
                    Ok(bytes) => Ok(bytes.to_vec()),
                    Err(error) => Err(FetchError::S3(error)),
                },
                Source::Kms { kms, context } => kms::decrypt(&self.aws, kms, context).await,
                Source::Command { command } => command::output(command, &self.variables).await,
                Source::Ssm { .. } | Source::SecretsManager { .. } => continue,
            };
            all.push(((*source).clone(), value));
        }
        all
    }

    fn known(&self, source: &Source) -> Option<Zeroizing<Vec<u8>>> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).get(source).cloned()
    }

    /// Keeps a value; why it cannot be used otherwise.
    fn keep(&self, source: Source, value: Fetched) -> Option<FetchError> {
        match value {
            Ok(value) if value.len() > LARGEST_FILE => {
                Some(FetchError::TooLarge { size: value.len(), most: LARGEST_FILE })
            }
            Ok(value) => {
                self.fetched.lock().unwrap_or_else(PoisonError::into_inner).insert(source, Zeroizing::new(value));
                None
            }
            Err(error) => Some(error),
        }
    }
}

/// What an environment can hold.
fn text(bytes: &[u8]) -> Result<&str, FetchError> {
    match std::str::from_utf8(bytes) {
        _ if bytes.len() > LARGEST => Err(FetchError::TooLarge { size: bytes.len(), most: LARGEST }),
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(FetchError::Binary),
    }
}

fn usable(value: String) -> Fetched {
    text(value.as_bytes()).map(drop)?;
    Ok(value.into_bytes())
}

/// 128 bits, by chance.
fn new_salt() -> String {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    match inputs::random() {
        Ok(bytes) => format!("{:032x}", u128::from_ne_bytes(bytes)),
        Err(_) => format!("{:016x}", RandomState::new().build_hasher().finish()),
    }
}
