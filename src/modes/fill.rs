//! Values that are fetched: into the variables of a request, before the engine is given it.

use crate::config::Deployment;
use crate::error::{Failure, ObserveFailure};
use crate::fetch::{FetchError, Fetcher};
use crate::modes::env_files;
use crate::values::source::Source;
use crate::values::types::EnvVar;

/// A variable whose value could not be fetched.
pub(crate) struct NotFetched {
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) error: FetchError,
}

impl NotFetched {
    pub(crate) fn what(&self) -> String {
        format!("{}: {}", self.name, self.source)
    }

    /// The failure, with the variable's place.
    pub(crate) fn failure(&self, deployment: &Deployment) -> ObserveFailure {
        let ObserveFailure { failure, definite } = self.error.failure(&self.what());
        let failure = deployment.placed(&[&self.name], |text| self.source.is_named(text), failure);
        ObserveFailure { failure, definite }
    }
}

/// Fetches every value that is missing. A release's own salt stays; `salt` is for a value that was never saved.
pub(crate) async fn fill(fetcher: &Fetcher, variables: &mut [EnvVar], salt: &str) -> Vec<NotFetched> {
    let mut failed = fetcher.all(missing(variables)).await;
    failed.extend(Box::pin(env_files::read_anew(fetcher, missing(variables))).await);
    set(fetcher, variables, salt);
    let of = |(source, error): (Source, FetchError)| {
        let name = variables.iter().find(|var| var.source() == Some(&source)).map(|var| var.name.clone());
        NotFetched { name: name.unwrap_or_default(), source, error }
    };
    failed.into_iter().map(of).collect()
}

/// What is known already: a release that is saved keeps the digest of the value that its container has.
pub(crate) fn known(fetcher: &Fetcher, variables: &mut [EnvVar]) {
    set(fetcher, variables, fetcher.salt());
}

/// The same variables with every value, as the engine is given them. What is another value than a saved release had is said.
pub(crate) async fn filled(fetcher: &Fetcher, variables: &[EnvVar]) -> Result<(Vec<EnvVar>, Vec<String>), Failure> {
    let mut all = variables.to_vec();
    if let Some(failed) = fill(fetcher, &mut all, fetcher.salt()).await.into_iter().next() {
        return Err(failed.error.failure(&failed.what()).failure);
    }
    let was_saved = |var: &EnvVar| var.value.as_ref().is_some_and(|value| value.is_missing() && value.salt().is_some());
    let is_other = |(old, new): &(&EnvVar, &EnvVar)| {
        was_saved(old) && old.value.iter().zip(&new.value).any(|(old, new)| !old.is_same(new))
    };
    let others = variables.iter().zip(&all).filter(is_other).map(|(old, _)| old.name.clone());
    let said = others.map(|name| format!("{name} has another value than the release had")).collect();
    Ok((all, said))
}

fn missing(variables: &[EnvVar]) -> impl Iterator<Item = &Source> {
    variables.iter().filter(|var| var.value.as_ref().is_some_and(|value| value.is_missing())).filter_map(EnvVar::source)
}

fn set(fetcher: &Fetcher, variables: &mut [EnvVar], salt: &str) {
    for value in variables.iter_mut().filter_map(|var| var.value.as_mut()).filter(|value| value.is_missing()) {
        let Some(source) = value.source().cloned() else { continue };
        let salt = value.salt().unwrap_or(salt).to_owned();
        let found = fetcher.secret(&source, &salt);
        if !found.is_missing() {
            *value = found;
        }
    }
}
