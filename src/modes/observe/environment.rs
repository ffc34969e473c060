//! The environment from `env_file` and `environment` together, with the values that are fetched.

use std::io;
use std::path::Path;

use crate::aws::s3::S3Error;
use crate::config::policy::demand::Demand;
use crate::config::service::{EnvFile, EnvLocation, Service};
use crate::config::{ArchiveLocation, Mode, env_file};
use crate::error::{Failure, Kind, ObserveFailure};
use crate::inputs;
use crate::modes::env_files;
use crate::modes::facts::Facts;
use crate::modes::fill::fill;
use crate::modes::observe::Observer;
use crate::modes::observe::offline::OFFLINE;
use crate::values::known::Known;
use crate::values::source::Many;
use crate::values::types::{ContentDigest, EnvVar};

impl Observer<'_> {
    pub(crate) async fn environment(&self, service: &Service, facts: &mut Facts) {
        let mut all: Vec<EnvVar> = Vec::new();
        // Why it is not whole: what comes with the bundle, or what cannot be had. The rest is looked at all the same.
        let mut not_whole: Option<String> = None;
        for file in &service.env_file {
            let location = match &file.location {
                EnvLocation::File(location) => location,
                EnvLocation::Many(_) if !facts.fetches => continue,
                EnvLocation::Many(many) => {
                    match self.many(many, file.required, facts).await {
                        Ok(vars) => vars.into_iter().for_each(|var| set(&mut all, var)),
                        Err(why) => not_whole = not_whole.or(Some(why)),
                    }
                    continue;
                }
            };
            if self.is_elsewhere(location) {
                facts
                    .warnings
                    .push(format!("{} was not read ({OFFLINE}): its variables are missing below", file.location));
                continue;
            }
            if let (ArchiveLocation::S3(uri), Some(policy)) = (location, &self.policy)
                && !policy.judge(&[Demand::of_object(uri)]).is_empty()
            {
                facts.environment = Known::No(format!("the host's policy does not allow {uri}"));
                return;
            }
            if let ArchiveLocation::File(path) = location
                && let Some(line) = facts.put_off(path)
            {
                not_whole = not_whole.or(Some(line));
                continue;
            }
            match self.env_file((location, file), facts).await {
                Ok(vars) => vars.into_iter().for_each(|var| set(&mut all, var)),
                Err(ObserveFailure { failure, definite }) => {
                    not_whole = not_whole.or(Some(failure.message.clone()));
                    let is_meant = |text: &str| self.deployment.is_location(text, location);
                    let failure = self.deployment.placed(&["env_file"], is_meant, failure);
                    facts.failures.push(ObserveFailure { failure, definite });
                }
            }
        }
        service.environment.iter().for_each(|var| set(&mut all, var.clone()));
        facts.environment = Known::Yes(all);
        self.fetch(facts).await;
        if let Some(why) = not_whole {
            facts.environment = Known::No(why);
        }
    }

    /// The values of a path of parameters or of a secret.
    /// Errors: Why they could not be fetched. It is among the failures.
    async fn many(&self, many: &Many, required: bool, facts: &mut Facts) -> Result<Vec<EnvVar>, String> {
        if self.offline {
            facts.warnings.push(format!("{many} was not read ({OFFLINE}): its variables are missing below"));
            return Ok(Vec::new());
        }
        match self.fetcher.many(many, &self.salt(facts)).await {
            Ok(vars) => Ok(vars),
            Err(error) if error.is_missing() && !required => Ok(Vec::new()),
            Err(error) => {
                let ObserveFailure { failure, definite } = error.failure(&many.to_string());
                let why = failure.message.clone();
                let is_meant = |text: &str| text.parse().is_ok_and(|found: Many| found == *many);
                let failure = self.deployment.placed(&["env_file"], is_meant, failure);
                facts.failures.push(ObserveFailure { failure, definite });
                Err(why)
            }
        }
    }

    /// Fetches the values of the environment, and looks at those of tasks, in as few calls as possible.
    pub(super) async fn fetch(&self, facts: &mut Facts) {
        let Known::Yes(mut all) = facts.environment.clone() else { return };
        let mut of_tasks: Vec<EnvVar> = self
            .deployment
            .tasks
            .all()
            .flat_map(|task| &task.environment)
            .filter(|var| var.source().is_some())
            .cloned()
            .collect();
        let named =
            all.iter().chain(&of_tasks).filter(|var| var.value.as_ref().is_some_and(|value| value.is_missing()));
        if !facts.fetches || named.clone().next().is_none() {
            return;
        }
        if self.offline {
            let names: Vec<&str> = named.map(|var| var.name.as_str()).collect();
            facts.warnings.push(format!("not fetched ({OFFLINE}): {}", names.join(", ")));
            return;
        }
        let salt = self.salt(facts);
        let split = all.len();
        all.append(&mut of_tasks);
        let failed = fill(&self.fetcher, &mut all, &salt).await;
        all.truncate(split);
        facts.environment = Known::Yes(all);
        for failed in failed.iter().map(|failed| failed.failure(&self.deployment)) {
            facts.environment = Known::No(failed.failure.message.clone());
            facts.failures.push(failed);
        }
    }

    /// Of digests: that of the last release, so that equal values are seen. In a swarm all managers must find the same.
    pub(super) fn salt(&self, facts: &Facts) -> String {
        let last = || facts.releases.iter().find_map(|release| release.salt());
        match &self.deployment.mode {
            Mode::Swarm(_) => {
                let text = format!("{} {}", self.deployment.name, self.deployment.source());
                ContentDigest::of(text.as_bytes()).hex()[..32].to_owned()
            }
            Mode::Container(_) | Mode::Compose(_) => last().unwrap_or(self.fetcher.salt()).to_owned(),
        }
    }

    async fn env_file(
        &self,
        (location, file): (&ArchiveLocation, &EnvFile),
        facts: &mut Facts,
    ) -> Result<Vec<EnvVar>, ObserveFailure> {
        let definite = |failure| ObserveFailure { failure, definite: true };
        let text = match location {
            ArchiveLocation::File(path) => {
                let read = inputs::read(path, Some(&self.deployment.bundle_root), env_files::LARGEST);
                match read.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound && !file.required => return Ok(Vec::new()),
                    text => text.map_err(|error| definite(bad_env(path, &error.to_string())))?,
                }
            }
            ArchiveLocation::S3(uri) => {
                let limit = usize::try_from(env_files::LARGEST).unwrap_or(usize::MAX);
                match self.s3.get_small(uri, limit).await {
                    Err(S3Error::NoSuchKey(_)) if !file.required => return Ok(Vec::new()),
                    bytes => {
                        String::from_utf8_lossy(&bytes.map_err(|error| ObserveFailure::from(&error))?).into_owned()
                    }
                }
            }
        };
        let lookup = |name: &str| self.variable(name);
        let read = match location {
            ArchiveLocation::File(_) => env_file::read(&location.to_string(), &text, file.raw, &lookup),
            ArchiveLocation::S3(uri) => env_files::referring((uri, file.raw), &text, &lookup, &self.salt(facts)),
        };
        let read = read.map_err(definite)?;
        facts.warnings.extend(read.warnings);
        Ok(read.variables)
    }
}

fn bad_env(path: &Path, why: &str) -> Failure {
    Failure::new(Kind::Appspec, format!("cannot read env_file {}: {why}", path.display()))
        .next("put it into the bundle, or mark it `required: false`")
}

/// Sets or replaces a variable, as the engine would take the last one.
fn set(all: &mut Vec<EnvVar>, var: EnvVar) {
    match all.iter_mut().find(|known| known.name == var.name) {
        Some(known) => *known = var,
        None => all.push(var),
    }
}
