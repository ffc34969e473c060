//! The CodeDeploy agent: its version, its settings, its process. Both agents have these files.
//!
//! Source: CodeDeploy User Guide, "agent configuration reference" and "Determine the version"; agent 2's example configuration.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use crate::error::Kind;
use crate::inputs;
use crate::ui::doctor::Row;

/// The largest file of its that is read, in bytes.
const LIMIT: u64 = 64 * 1024;

/// How many revisions it keeps of each deployment group where nothing else is set.
const MAX_REVISIONS: u64 = 5;

/// So many are much disk: each is there as a bundle and unpacked.
const MANY: u64 = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AgentFacts {
    /// As `OFFICIAL_1.8.1-12_deb` or `2.0.0`.
    pub(super) version: Option<String>,
    pub(super) max_revisions: u64,
    pub(super) deployment_root: PathBuf,
    /// The user of its process, where that runs.
    pub(super) user: Option<String>,
}

impl AgentFacts {
    pub(super) const fn is_installed(&self) -> bool {
        self.version.is_some() || self.user.is_some()
    }
}

pub(super) fn observe(root: &Path) -> AgentFacts {
    let read =
        |path: &str| inputs::read(&root.join(path), None, LIMIT).ok().and_then(|text| String::from_utf8(text).ok());
    let settings = read("etc/codedeploy-agent/conf/codedeployagent.yml").unwrap_or_default();
    let version = read("opt/codedeploy-agent/.version");
    AgentFacts {
        version: version.and_then(|text| setting(&text, "agent_version")),
        max_revisions: setting(&settings, "max_revisions").and_then(|text| text.parse().ok()).unwrap_or(MAX_REVISIONS),
        deployment_root: setting(&settings, "root_dir")
            .map_or_else(|| "/opt/codedeploy-agent/deployment-root".into(), PathBuf::from),
        user: user(&root.join("proc")),
    }
}

/// A setting as agent 1 writes it (`:max_revisions: 5`), and as agent 2 does (`max_revisions: 5`).
fn setting(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().trim_start_matches(':').strip_prefix(name)?.strip_prefix(':'));
    let value = value?.split(" #").next()?.trim().trim_matches(['\'', '"']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// Whose the agent's process is.
fn user(proc: &Path) -> Option<String> {
    let processes = fs::read_dir(proc).ok()?.flatten().map(|entry| entry.path());
    let agent = processes.into_iter().find(|process| {
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        is_agent(&String::from_utf8_lossy(&words))
    })?;
    let status = fs::read_to_string(agent.join("status")).ok()?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()?;
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    Some(user.map_or_else(|| uid.to_string(), |user| user.name))
}

/// Agent 1 calls itself `codedeploy-agent: master 123`.
fn is_agent(command: &str) -> bool {
    let program = command.split(['\0', ' ']).next().unwrap_or_default();
    program.trim_end_matches(':').rsplit('/').next() == Some("codedeploy-agent")
}

pub(super) fn row(agent: Option<&AgentFacts>) -> Vec<Row> {
    const CHECK: &str = "CodeDeploy agent";
    let Some(agent) = agent else { return vec![super::silent(CHECK)] };
    let revisions = match agent.max_revisions {
        0 => "keeps every revision".to_owned(),
        count => format!("keeps {count} revisions of each group"),
    };
    let row = match (&agent.version, agent.user.as_deref()) {
        (None, None) => Row::warning(
            CHECK,
            "it is not installed: nothing starts a deployment here but a person",
            "install it, unless this is a host for trying",
        ),
        (Some(version), None) => Row::problem(
            Kind::Hook,
            CHECK,
            format!("{version} is installed and does not run: no deployment begins"),
            "systemctl enable --now codedeploy-agent",
        ),
        (version, Some(user)) => {
            let version = version.as_deref().unwrap_or("a version that is not known");
            let found = format!("{version} runs as {user}, {revisions}");
            match user {
                "root" if (1..=MANY).contains(&agent.max_revisions) => Row::ok(CHECK, found),
                "root" => Row::warning(CHECK, found, "set max_revisions to 5: each is on the disk twice"),
                _ => Row::warning(
                    CHECK,
                    found,
                    "hooks have that user's rights: it must be in the group docker, and BALEHOOK_STATE_DIR must be its own",
                ),
            }
        }
    };
    vec![row]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ui::doctor::text;

    fn root(version: &str, settings: &str, command: &str, uid: u32) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("opt/codedeploy-agent/.version", version);
        write("etc/codedeploy-agent/conf/codedeployagent.yml", settings);
        write("proc/7/cmdline", command);
        write("proc/7/status", &format!("Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"));
        root
    }

    #[test]
    fn both_agents_are_read_from_their_own_files_and_processes() {
        let one = root(
            "agent_version: OFFICIAL_1.8.1-12_deb\n",
            "---\n:root_dir: '/srv/deployments'\n:max_revisions: 7\n",
            "codedeploy-agent: master 812\0",
            0,
        );
        let expected = AgentFacts {
            version: Some("OFFICIAL_1.8.1-12_deb".into()),
            max_revisions: 7,
            deployment_root: "/srv/deployments".into(),
            user: Some("root".into()),
        };
        assert_eq!(observe(one.path()), expected);
        let two = root(
            "agent_version: 2.1.0",
            "# max_revisions: 9\n",
            "/opt/codedeploy-agent/bin/codedeploy-agent\0run\0",
            0,
        );
        let expected = AgentFacts {
            version: Some("2.1.0".into()),
            max_revisions: 5,
            deployment_root: "/opt/codedeploy-agent/deployment-root".into(),
            user: Some("root".into()),
        };
        assert_eq!(observe(two.path()), expected);
        let hook = "/bin/bash\0-c\0/opt/codedeploy-agent/bin/codedeploy-agent start\0";
        assert_eq!(observe(root("", "", hook, 0).path()).user, None);
    }

    #[test]
    fn an_agent_that_is_missing_stopped_or_another_user_is_said_with_what_to_do() {
        let agent = |version: Option<&str>, user: Option<&str>, max_revisions| AgentFacts {
            version: version.map(str::to_owned),
            max_revisions,
            deployment_root: "/d".into(),
            user: user.map(str::to_owned),
        };
        let all = [
            agent(None, None, 5),
            agent(Some("2.1.0"), None, 5),
            agent(Some("2.1.0"), Some("root"), 5),
            agent(Some("2.1.0"), Some("root"), 0),
            agent(Some("2.1.0"), Some("deploy"), 5),
        ];
        let rows: Vec<Row> = all.iter().flat_map(|agent| row(Some(agent))).collect();
        assert_eq!(
            text(&rows),
            "\
warning    CodeDeploy agent: it is not installed: nothing starts a deployment
           here but a person
           next: install it, unless this is a host for trying
problem    CodeDeploy agent: 2.1.0 is installed and does not run: no deployment
           begins
           next: systemctl enable --now codedeploy-agent
ok         CodeDeploy agent: 2.1.0 runs as root, keeps 5 revisions of each group
warning    CodeDeploy agent: 2.1.0 runs as root, keeps every revision
           next: set max_revisions to 5: each is on the disk twice
warning    CodeDeploy agent: 2.1.0 runs as deploy, keeps 5 revisions of each
           group
           next: hooks have that user's rights: it must be in the group docker,
           and BALEHOOK_STATE_DIR must be its own
1 ok, 3 warnings, 1 problem
"
        );
    }
}
