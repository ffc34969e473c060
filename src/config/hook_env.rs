//! What the CodeDeploy agent passes to a hook.
//!
//! Source: "AppSpec 'hooks' section", environment variable availability; both agents as measured.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::config::problem::nearest;
use crate::error::{Failure, Kind};
use crate::values::types::{LifecycleEvent, Refused};

/// The variables that a hook was given. Never `std::env`: tests bring their own. `Debug` shows their names alone: on a
/// developer's machine some are credentials.
#[derive(Clone, Default)]
pub struct HookEnv(BTreeMap<String, String>);

impl std::fmt::Debug for HookEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoEvent {
    /// `sudo: true` resets the environment.
    #[error("LIFECYCLE_EVENT is not set: `sudo: true` on the hook drops all of CodeDeploy's variables")]
    DroppedBySudo,
    /// Not started by an agent.
    #[error("LIFECYCLE_EVENT is not set: this was not started by a CodeDeploy agent")]
    Missing,
    #[error("LIFECYCLE_EVENT `{0}` {1}")]
    Unknown(String, String),
}

impl From<&NoEvent> for Failure {
    fn from(error: &NoEvent) -> Self {
        let next = match error {
            NoEvent::DroppedBySudo => "use `runas: root` instead of `sudo: true` in appspec.yml",
            NoEvent::Missing => "by hand: balehook run ApplicationStart --appspec PATH, or balehook --help",
            NoEvent::Unknown(..) => "correct the event's name under `hooks:` in appspec.yml",
        };
        Self::new(Kind::Hook, error.to_string()).next(next)
    }
}

impl HookEnv {
    /// From the process's variables; names and values that are no UTF-8 are passed over.
    pub(crate) fn from_vars(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let text =
            vars.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self(text.collect())
    }

    /// Every variable, by name.
    pub(crate) fn vars(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Any variable.
    pub(crate) fn lookup(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn set(&self, name: &str) -> Option<&str> {
        self.lookup(name).filter(|value| !value.is_empty())
    }

    /// The event to run.
    pub(crate) fn event(&self) -> Result<LifecycleEvent, NoEvent> {
        match self.set("LIFECYCLE_EVENT") {
            Some(name) => name.parse().map_err(|Refused(why)| NoEvent::Unknown(name.to_owned(), why)),
            None if self.set("SUDO_USER").or(self.set("SUDO_COMMAND")).is_some() => Err(NoEvent::DroppedBySudo),
            None => Err(NoEvent::Missing),
        }
    }

    /// CodeDeploy's deployment ID, as `d-ABCDEFGHI`.
    pub(crate) fn deployment_id(&self) -> Option<&str> {
        self.set("DEPLOYMENT_ID")
    }

    /// The deployment group.
    pub(crate) fn group(&self) -> Option<String> {
        self.set("DEPLOYMENT_GROUP_NAME").map(str::to_owned)
    }

    /// Where the revision came from: `s3://bucket/key?versionId=…`, `commit …` or `local`.
    pub(crate) fn revision(&self) -> String {
        match (self.set("BUNDLE_BUCKET"), self.set("BUNDLE_KEY"), self.set("BUNDLE_COMMIT")) {
            (Some(bucket), Some(key), _) => {
                let version = self.set("BUNDLE_VERSION").map(|version| format!("?versionId={version}"));
                format!("s3://{bucket}/{key}{}", version.unwrap_or_default())
            }
            (_, _, Some(commit)) => format!("commit {commit}"),
            _ => "local".into(),
        }
    }

    /// The ETag of an S3 revision's bundle; not every agent names it.
    pub(crate) fn etag(&self) -> Option<String> {
        self.set("BUNDLE_KEY").and(self.set("BUNDLE_ETAG")).map(str::to_owned)
    }
}

impl LifecycleEvent {
    /// Every event that runs scripts, in CodeDeploy's order.
    pub(crate) const ALL: [Self; 9] = [
        Self::BeforeBlockTraffic,
        Self::AfterBlockTraffic,
        Self::ApplicationStop,
        Self::BeforeInstall,
        Self::AfterInstall,
        Self::ApplicationStart,
        Self::ValidateService,
        Self::BeforeAllowTraffic,
        Self::AfterAllowTraffic,
    ];
    /// Events that CodeDeploy runs itself, without scripts.
    pub(crate) const RESERVED: [&'static str; 4] = ["DownloadBundle", "Install", "BlockTraffic", "AllowTraffic"];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BeforeBlockTraffic => "BeforeBlockTraffic",
            Self::AfterBlockTraffic => "AfterBlockTraffic",
            Self::ApplicationStop => "ApplicationStop",
            Self::BeforeInstall => "BeforeInstall",
            Self::AfterInstall => "AfterInstall",
            Self::ApplicationStart => "ApplicationStart",
            Self::ValidateService => "ValidateService",
            Self::BeforeAllowTraffic => "BeforeAllowTraffic",
            Self::AfterAllowTraffic => "AfterAllowTraffic",
        }
    }
}

impl std::fmt::Display for LifecycleEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for LifecycleEvent {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if let Some(event) = Self::ALL.into_iter().find(|event| event.name() == text) {
            return Ok(event);
        }
        if Self::RESERVED.contains(&text) {
            return Err(Refused("runs no scripts: CodeDeploy keeps that event for itself".into()));
        }
        let names = Self::ALL.map(Self::name);
        Err(Refused(match nearest(text, &names) {
            Some(near) => format!("is no lifecycle event; did you mean `{near}`?"),
            None => format!("is no lifecycle event; they are {}", names.join(", ")),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn env(vars: &[(&str, &str)]) -> HookEnv {
        HookEnv::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn a_hook_whose_variables_sudo_dropped_is_told_so() {
        let error = env(&[("SUDO_USER", "root")]).event().unwrap_err();
        assert_eq!(error, NoEvent::DroppedBySudo);
        assert!(Failure::from(&error).next.unwrap().contains("runas: root"));
    }

    #[test]
    fn without_an_event_it_was_not_an_agent_that_started_us() {
        assert_eq!(env(&[("LIFECYCLE_EVENT", "")]).event().unwrap_err(), NoEvent::Missing);
    }

    #[test]
    fn a_misspelled_event_gets_the_nearest_name_and_a_reserved_one_the_reason() {
        let why = |name: &str| env(&[("LIFECYCLE_EVENT", name)]).event().unwrap_err().to_string();
        assert!(why("AplicationStart").ends_with("did you mean `ApplicationStart`?"));
        assert!(why("Install").contains("runs no scripts"));
    }

    #[test]
    fn a_name_that_resembles_no_event_gets_the_list() {
        let why = env(&[("LIFECYCLE_EVENT", "Deploy")]).event().unwrap_err().to_string();
        assert!(LifecycleEvent::ALL.iter().all(|event| why.contains(event.name())), "{why}");
    }

    #[test]
    fn every_reserved_event_is_known_as_such_and_is_none_of_ours() {
        for name in LifecycleEvent::RESERVED {
            assert!(name.parse::<LifecycleEvent>().unwrap_err().0.contains("runs no scripts"), "{name}");
        }
    }

    #[test]
    fn values_are_never_shown_by_debug() {
        let shown = format!("{:?}", env(&[("AWS_SECRET_ACCESS_KEY", "hunter2")]));
        assert_eq!(shown, r#"{"AWS_SECRET_ACCESS_KEY"}"#);
    }

    #[test]
    fn what_is_no_text_is_passed_over_and_an_empty_value_is_still_a_value() {
        use std::os::unix::ffi::OsStringExt as _;
        let bad = OsString::from_vec(vec![0xff]);
        let env = HookEnv::from_vars([("A".into(), bad.clone()), (bad, "x".into()), ("EMPTY".into(), "".into())]);
        assert_eq!((env.lookup("A"), env.lookup("EMPTY")), (None, Some("")));
    }

    #[test]
    fn an_application_name_may_contain_spaces() {
        assert_eq!(env(&[("APPLICATION_NAME", "My App")]).lookup("APPLICATION_NAME"), Some("My App"));
    }

    #[test]
    fn every_event_is_read_by_its_own_name() {
        for event in LifecycleEvent::ALL {
            assert_eq!(env(&[("LIFECYCLE_EVENT", event.name())]).event().unwrap(), event);
        }
    }

    #[test]
    fn the_revision_is_the_object_with_its_version_or_the_commit() {
        let s3 = [("BUNDLE_BUCKET", "b"), ("BUNDLE_KEY", "k/x.zip"), ("BUNDLE_VERSION", "v1")];
        assert_eq!(env(&s3).revision(), "s3://b/k/x.zip?versionId=v1");
        assert_eq!(env(&[("BUNDLE_COMMIT", "abc")]).revision(), "commit abc");
        assert_eq!(env(&s3[..2]).revision(), "s3://b/k/x.zip");
        assert_eq!(env(&[("BUNDLE_BUCKET", "b"), ("BUNDLE_KEY", "")]).revision(), "local");
        assert_eq!(env(&[]).revision(), "local");
    }
}
