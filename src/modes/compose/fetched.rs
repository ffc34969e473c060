//! Variables of a project that are fetched. Compose gets their values when it creates containers, and a stand-in whenever it
//! only reads the files: so that no value stands in what is read, compared, shown or saved.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::compose::{Compose, is_own};
use crate::error::{Failure, Kind, ObserveFailure};
use crate::modes::compose::files::text;
use crate::modes::fill::{fill, filled};
use crate::modes::host::Host;
use crate::modes::observe::Observer;
use crate::modes::observe::offline::OFFLINE;
use crate::values::source::Many;
use crate::values::types::{ContentDigest, EnvVar, Secret};

/// What a stand-in begins with; the rest tells one value from another.
const STAND_IN: &str = "balehook-fetched-";

/// What is known of them before the project is read.
pub(crate) struct Before {
    /// Whether the event fetches values.
    pub(crate) fetches: bool,
    /// Of digests.
    pub(crate) salt: String,
    /// Those of the saved release.
    pub(crate) saved: Vec<EnvVar>,
}

/// The variables, and what could not be fetched of them.
#[derive(Default)]
pub(crate) struct Fetched {
    pub(crate) variables: Vec<EnvVar>,
    pub(crate) failures: Vec<ObserveFailure>,
    /// Why names are missing, so that Compose cannot be asked: a path or a secret of `env_file` was not read.
    pub(crate) unread: Option<ObserveFailure>,
    pub(crate) warnings: Vec<String>,
}

impl Observer<'_> {
    /// What the section gives Compose: of `env_file` what the hook does not set, and `environment`, which goes before all.
    pub(super) async fn given(&self, compose: &Compose, before: &Before) -> Fetched {
        let mut found = Fetched::default();
        for many in &compose.fetched {
            self.many_of_project(many, before, &mut found).await;
        }
        found.variables.retain(|var| self.variable(&var.name).is_none() && !is_own(&var.name));
        for var in &compose.environment {
            found.variables.retain(|known| known.name != var.name);
            found.variables.push(var.clone());
        }
        self.values(before, &mut found).await;
        found
    }

    /// An event that fetches nothing has those of the saved release.
    async fn many_of_project(&self, many: &Many, before: &Before, found: &mut Fetched) {
        if !before.fetches {
            return found.variables.extend(before.saved.iter().cloned());
        }
        if self.offline {
            return found.warnings.push(format!("{many} was not read ({OFFLINE}): its variables are missing below"));
        }
        match self.fetcher.many(many, &before.salt).await {
            Ok(vars) => {
                found.variables.retain(|known| !vars.iter().any(|var| var.name == known.name));
                found.variables.extend(vars);
            }
            Err(error) => {
                let ObserveFailure { failure, definite } = error.failure(&many.to_string());
                let is_meant = |text: &str| text.parse().is_ok_and(|found: Many| found == *many);
                let failure = self.deployment.placed(&["env_file"], is_meant, failure);
                let unread = ObserveFailure { failure, definite };
                match found.unread {
                    None => found.unread = Some(unread),
                    Some(_) => found.failures.push(unread),
                }
            }
        }
    }

    async fn values(&self, before: &Before, found: &mut Fetched) {
        let is_missing = |var: &&EnvVar| var.value.as_ref().is_some_and(|value| value.is_missing());
        if !before.fetches {
            // What its containers were created with.
            for var in found.variables.iter_mut().filter(|var| is_missing(&&**var)) {
                let is_it = |saved: &&EnvVar| saved.name == var.name && saved.source() == var.source();
                let saved = before.saved.iter().find(is_it).cloned();
                *var = saved.unwrap_or_else(|| var.clone());
            }
        } else if self.offline {
            let names: Vec<&str> = found.variables.iter().filter(is_missing).map(|var| var.name.as_str()).collect();
            let said = (!names.is_empty()).then(|| format!("not fetched ({OFFLINE}): {}", names.join(", ")));
            found.warnings.extend(said);
        } else {
            let failed = fill(&self.fetcher, &mut found.variables, &before.salt).await;
            found.failures.extend(failed.iter().map(|failed| failed.failure(&self.deployment)));
            found.failures.extend(empty(&found.variables).map(|failure| ObserveFailure { failure, definite: true }));
            // For the case that the release before has to come back: what it lacks then is said then.
            self.fetcher.all(before.saved.iter().filter_map(EnvVar::source)).await;
        }
    }
}

/// Compose would take a default of the files in its place, which nobody has seen.
fn empty(variables: &[EnvVar]) -> Option<Failure> {
    let is_empty = |value: &Secret| value.source().is_some() && !value.is_missing() && value.reveal().is_empty();
    let found = variables.iter().find(|var| var.value.as_ref().is_some_and(is_empty))?;
    let what = found.source().map(ToString::to_string).unwrap_or_default();
    let failure = Failure::new(Kind::Container, format!("{}: {what} is empty", found.name));
    Some(failure.next("give it a value, or leave the variable out"))
}

/// The variables with a stand-in for each value that is fetched.
pub(super) fn stand_ins(variables: &[EnvVar]) -> Vec<EnvVar> {
    let stand_in = |value: &Secret| match value.source() {
        None => value.clone(),
        Some(_) => Secret::new(format!("{STAND_IN}{}", ContentDigest::of(value.compared().as_bytes()).short())),
    };
    let of = |var: &EnvVar| EnvVar { value: var.value.as_ref().map(stand_in), ..var.clone() };
    variables.iter().map(of).collect()
}

/// What a value that is fetched may be a part of in a service: nothing that a policy, or a plan, must know.
const MAY_BE_FETCHED: [&str; 6] = ["command", "entrypoint", "environment", "healthcheck", "labels", "logging"];

/// Whether a project, as `config` prints it, has such values nowhere else. Of a config or a secret they may be the content.
/// Errors: [`Kind::Appspec`]: where one is.
pub(super) fn check(config: &Value) -> Result<(), Failure> {
    for (kind, allowed) in [
        ("services", &MAY_BE_FETCHED[..]),
        ("networks", &[]),
        ("volumes", &[]),
        ("configs", &["content"]),
        ("secrets", &["content"]),
    ] {
        for (name, definition) in config[kind].as_object().into_iter().flatten() {
            let keys = definition.as_object().into_iter().flatten();
            let mut made = keys.filter(|(_, value)| value.to_string().contains(STAND_IN)).map(|(key, _)| key.as_str());
            if let Some(key) = made.find(|key| !allowed.contains(key)) {
                let message = format!("{kind}.{name}.{key} of the Compose file is made with a value that is fetched");
                let help = format!("those are for {}, and for secrets and configs", MAY_BE_FETCHED.join(", "));
                return Err(Failure::new(Kind::Appspec, message).next(help));
            }
        }
    }
    Ok(())
}

/// The variables of a service, as `config` prints it, that are made with such a value.
pub(super) fn variables_of(service: &Value) -> Vec<String> {
    let all = service["environment"].as_object().into_iter().flatten();
    all.filter(|(_, value)| value.to_string().contains(STAND_IN)).map(|(name, _)| name.clone()).collect()
}

/// Which services come up must be known before: a profile may not be named by a variable then.
pub(super) fn check_profiles(compose: &Compose, bundle: &Path, variables: &[EnvVar]) -> Result<(), Failure> {
    if compose.profiles.is_empty() || !variables.iter().any(|var| var.source().is_some()) {
        return Ok(());
    }
    let parsed = |file: &PathBuf| {
        serde_yaml::from_str::<Value>(&text(&compose.directory.join(file), bundle)).unwrap_or_default()
    };
    let is_named = |file: &PathBuf| {
        let config = parsed(file);
        let services = config["services"].as_object().cloned().unwrap_or_default();
        services.values().any(|service| service["profiles"].to_string().contains('$'))
    };
    match compose.files.iter().find(|file| is_named(file)) {
        Some(file) => {
            let message = format!("`profiles` of a service in {} is made with a variable", file.display());
            Err(Failure::new(Kind::Appspec, message).next("write it out: values are fetched for this project"))
        }
        None => Ok(()),
    }
}

/// The variables with their values, and what is to be said of them.
/// Errors: One cannot be fetched, or is empty.
pub(super) async fn with_values(host: &Host, variables: &[EnvVar]) -> Result<(Vec<EnvVar>, Vec<String>), Failure> {
    let (variables, said) = filled(&host.fetcher, variables).await?;
    empty(&variables).map_or(Ok((variables, said)), Err)
}

/// What Compose says without the values that were fetched.
pub(super) fn hidden(said: &str, variables: &[EnvVar]) -> String {
    let fetched = variables.iter().filter(|var| var.source().is_some()).filter_map(|var| var.value.as_ref());
    fetched
        .map(Secret::reveal)
        .filter(|value| !value.is_empty())
        .fold(said.to_owned(), |said, value| said.replace(value, "***"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::values::source::Source;

    fn fetched(value: &str) -> EnvVar {
        let value = Secret::fetched(Source::Ssm { ssm: "/prod/db".parse().unwrap() }, value, "5a17");
        EnvVar { name: "DB".into(), value: Some(value), hidden: true }
    }

    fn stand_in(var: &EnvVar) -> String {
        let all = stand_ins(std::slice::from_ref(var));
        all[0].value.as_ref().unwrap().reveal().to_owned()
    }

    #[test]
    fn a_stand_in_is_the_same_for_the_same_value_and_tells_nothing_of_it() {
        let (one, other) = (fetched("hunter2"), fetched("hunter3"));
        assert_eq!(stand_in(&one), stand_in(&fetched("hunter2")));
        assert_ne!(stand_in(&one), stand_in(&other));
        let saved: EnvVar = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
        assert_eq!(stand_in(&saved), stand_in(&one), "a release knows it without the value");
        let plain = EnvVar { name: "A".into(), value: Some(Secret::new("b")), hidden: false };
        assert_eq!(stand_in(&plain), "b");
    }

    #[test]
    fn a_value_that_is_fetched_is_refused_where_a_policy_or_a_plan_must_know_it() {
        let it = stand_in(&fetched("hunter2"));
        let web = |service: Value| json!({"services": {"web": service}});
        for good in [
            web(json!({"environment": {"DB": it}, "command": ["serve", it], "labels": {"auth": it}})),
            json!({"secrets": {"db": {"environment": "DB"}}, "configs": {"app": {"content": it}}}),
        ] {
            assert!(check(&good).is_ok(), "{good}");
        }
        for (bad, place) in [
            (web(json!({"image": format!("web:{it}")})), "services.web.image"),
            (web(json!({"volumes": [{"source": format!("/{it}"), "target": "/a"}]})), "services.web.volumes"),
            (web(json!({"cap_add": [it]})), "services.web.cap_add"),
            (json!({"volumes": {"data": {"driver_opts": {"device": it}}}}), "volumes.data.driver_opts"),
            (json!({"secrets": {"db": {"file": it}}}), "secrets.db.file"),
        ] {
            let failure = check(&bad).unwrap_err();
            let wanted = format!("{place} of the Compose file is made with a value that is fetched");
            assert_eq!(failure.message, wanted);
        }
    }

    #[test]
    fn an_empty_value_is_refused_and_what_compose_says_is_shown_without_values() {
        assert_eq!(empty(&[fetched("hunter2")]), None);
        let said = empty(&[fetched("")]).map(|failure| failure.message);
        assert_eq!(said.as_deref(), Some("DB: SSM parameter /prod/db is empty"));
        assert_eq!(hidden("invalid hunter2: hunter2", &[fetched("hunter2")]), "invalid ***: ***");
    }
}
