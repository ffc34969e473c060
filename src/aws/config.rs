//! The AWS SDK's settings, as every client here gets them.

use std::path::{Path, PathBuf};

use aws_config::{BehaviorVersion, ConfigLoader};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};

/// The home folder of the password file, where HOME is unset, as it is under the agent.
pub fn home_if_unset(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    if variable("HOME").is_some_and(|home| !home.is_empty()) {
        return None;
    }
    nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir)
}

/// The SDK's defaults; without HOME (`home` is given then) the profile files of that folder are read all the same.
pub fn defaults(home: Option<&Path>) -> ConfigLoader {
    let loader = aws_config::defaults(BehaviorVersion::latest());
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
    fn home_is_looked_up_only_where_it_is_unset() {
        assert_eq!(home_if_unset(&|_| Some("/home/me".into())), None);
        assert!(home_if_unset(&|_| None).is_some());
    }
}
