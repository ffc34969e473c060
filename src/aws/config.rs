//! The AWS SDK's settings, as every client here gets them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};

use crate::error::chain;
use crate::values::text::{printable, shorten};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(4);

/// How long one attempt may wait for the head of an answer: another one may find a server that is well.
const ATTEMPT: Duration = Duration::from_secs(15);

/// How long a service may take to answer, all attempts together; the body of an answer is bounded where it is read.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);

/// The SDK's own words where it asked the instance metadata service for credentials in vain.
const NO_IMDS: &str = "could not communicate with IMDS: ";

/// The home folder of the password file, where HOME is unset, as it is under the agent.
pub(crate) fn home_if_unset(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    if variable("HOME").is_some_and(|home| !home.is_empty()) {
        return None;
    }
    nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir)
}

/// The SDK's defaults; without HOME (`home` is given then) the profile files of that folder are read all the same.
pub(crate) fn defaults(home: Option<&Path>) -> ConfigLoader {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(ATTEMPT).operation_timeout(ANSWER);
    let loader = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts.build());
    match home {
        Some(home) => loader.profile_files(profile_files(home)),
        None => loader,
    }
}

/// The default files (`AWS_CONFIG_FILE`, …), and those of `home` that are there.
fn profile_files(home: &Path) -> EnvConfigFiles {
    let named = [(EnvConfigFileKind::Config, "config"), (EnvConfigFileKind::Credentials, "credentials")];
    let mut files = EnvConfigFiles::builder().include_default_config_file(true).include_default_credentials_file(true);
    for (kind, name) in named {
        let path = home.join(".aws").join(name);
        if path.is_file() {
            files = files.with_file(kind, path);
        }
    }
    files.build()
}

/// The causes of an error, in one line that is not too long for a report.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let text = printable(&chain(error));
    match text.split_once(NO_IMDS) {
        // What was asked before it says only that it is not set up.
        Some((_, how)) => {
            let silent = how.split_once("timeout occurred after ").and_then(|(_, rest)| rest.split_once('s'));
            let how = match silent {
                Some((time, _)) => format!(" for {time} s, as often as it was asked"),
                None => format!(": {}", shorten(how, 120)),
            };
            format!(
                "no credentials are set, and the instance metadata service (IMDS) has not answered{how} (from a container's network it \
                 needs a hop limit of 2)"
            )
        }
        None => shorten(&text, 300),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn without_home_the_profile_files_of_the_users_own_folder_are_read_where_they_are() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(home.path().join(".aws/credentials"), "").unwrap();
        let files = format!("{:?}", profile_files(home.path()));
        assert!(files.contains(".aws/credentials") && !files.contains(".aws/config"), "{files}");
    }

    #[test]
    fn of_providers_that_have_no_credentials_the_last_one_that_was_asked_is_named() {
        let imds = "ECS provider not configured Ec2InstanceMetadata: the credential provider was not enabled: \
                    could not communicate with IMDS: dispatch failure: timeout: HTTP read timeout occurred after 1s";
        let said = |imds: &str| {
            let chain = format!("no credentials found in chain. Attempted: {}{imds}", "x".repeat(300));
            causes(&std::io::Error::other(chain))
        };
        let words = "no credentials are set, and the instance metadata service (IMDS) has not answered";
        let hops = "(from a container's network it needs a hop limit of 2)";
        assert_eq!(said(imds), format!("{words} for 1 s, as often as it was asked {hops}"));
        let refused = imds.replace("timeout: HTTP read timeout occurred after 1s", "io error: refused");
        assert_eq!(said(&refused), format!("{words}: refused {hops}"));
    }

    #[test]
    fn home_is_looked_up_only_where_it_is_unset() {
        assert_eq!(home_if_unset(&|_| Some("/home/me".into())), None);
        assert!(home_if_unset(&|_| None).is_some());
    }
}
