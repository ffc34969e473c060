//! `/etc/balehook/policy.yml` as the commands and the events take it, where nothing of a host has to be asked.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::Path;
use std::process::{Command, Output};

const POLICY: &str = "privileged: false\ncap_add: [NET_BIND_SERVICE]\nregistries: [host.test]\n";

const CONTAINER: &str = "  container:\n    image: evil.test/web:1\n    privileged: true\n    cap_add: [SYS_ADMIN]\n";

/// A bundle, a policy beside it, and no engine.
struct Host(tempfile::TempDir);

impl Host {
    fn new(policy: &str, mode: &str) -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        let events = ["ApplicationStop", "BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"];
        let hooks: String =
            events.map(|event| format!("  {event}: [{{location: hooks/balehook, timeout: 300}}]\n")).concat();
        // An engine that is not there is waited for.
        let hooks = hooks.replacen("300", "3", 1);
        let text = format!("version: 0.0\nos: linux\nhooks:\n{hooks}x-balehook:\n  name: web\n{mode}");
        host.write("bundle/hooks/balehook", include_str!("../hooks/balehook"));
        host.write("bundle/appspec.yml", &text);
        host.write("policy.yml", policy);
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self, path: &str) -> String {
        self.0.path().join(path).display().to_string()
    }

    fn balehook(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_balehook"));
        command
            .env_clear()
            .env("DOCKER_HOST", format!("unix://{}", self.path("none.sock")))
            .env("PATH", "/usr/bin:/bin");
        command.args(["--policy", &self.path("policy.yml"), "--state-dir", &self.path("state")]).args(args);
        command.args(["--appspec", &self.path("bundle")]).output().unwrap()
    }

    /// The exit code, and what was printed, of the policy's path its name alone.
    fn ends(&self, args: &[&str]) -> (i32, String) {
        let output = self.balehook(args);
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code().unwrap(), said.replace(&self.path(""), ""))
    }
}

const REFUSED: [&str; 3] = [
    "this host does not allow `evil.test/web:1` (x-balehook.container.image)",
    "this host does not allow `privileged: true` (x-balehook.container.privileged)",
    "this host does not allow `SYS_ADMIN` (x-balehook.container.cap_add[0])",
];

#[test]
fn check_says_all_that_the_host_refuses_with_its_place_and_the_line_that_refuses_it() {
    let host = Host::new(POLICY, CONTAINER);
    let (code, said) = host.ends(&["check"]);
    assert_eq!(code, 15, "{said}");
    let wanted = format!(
        "appspec.yml:12:12: error[policy]: {}\n        image: evil.test/web:1\n               ^\n    \
         help: policy.yml:3:1 allows for `registries`: host.test: ask who runs this host, or leave it out\n",
        REFUSED[0]
    );
    assert!(said.contains(&wanted), "{said}");
    for wanted in [
        "appspec.yml:13:17: error[policy]: this host does not allow `privileged: true`",
        "policy.yml:1:1 says `privileged: false`",
        "appspec.yml:14:15: error[policy]: this host does not allow `SYS_ADMIN`",
        "policy.yml:2:1 allows for `cap_add`: NET_BIND_SERVICE",
        "3 errors, 4 warnings\n",
    ] {
        assert!(said.contains(wanted), "{wanted}:\n{said}");
    }
    let quiet = "restart: always, logging: {driver: local}, healthcheck: {test: 'true'}";
    let allowed = format!("  container: {{image: 'host.test/web:1', cap_add: [NET_BIND_SERVICE], {quiet}}}\n");
    let allowed = Host::new(POLICY, &allowed);
    let (code, said) = allowed.ends(&["check"]);
    assert!(code == 0 && said.contains("warning[application-stop]") && said.ends_with("\n1 warning\n"), "{said}");
    let wrong = Host::new(POLICY, &format!("{CONTAINER}    prots: [80]\n"));
    assert_eq!(wrong.ends(&["check"]).0, 3, "the file itself is wrong");
}

#[test]
fn each_event_that_prepares_starts_or_checks_a_release_is_refused_before_anything_is_touched() {
    let host = Host::new(POLICY, CONTAINER);
    for event in ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"] {
        let (code, said) = host.ends(&["run", event]);
        assert_eq!(code, 15, "{event}: {said}");
        assert!(REFUSED.iter().all(|refused| said.contains(refused)), "{event}: {said}");
        let end = "the host's policy policy.yml refuses bundle/appspec.yml (exit code 15)";
        assert!(said.contains(end), "{event}: {said}");
        assert!(!Path::new(&host.path("state")).exists(), "{event}");
    }
    for event in ["ApplicationStop", "BeforeAllowTraffic"] {
        let (code, said) = host.ends(&["run", event]);
        assert!(code == 0 && !said.contains("policy"), "{event}: {said}");
    }
}

#[test]
fn a_service_of_a_swarm_and_a_task_are_refused_alike() {
    let swarm = "  swarm:\n    image: host.test/web:1\n    cap_add: [SYS_ADMIN]\n";
    let task = "  container: {image: 'host.test/web:1'}\n  after: [{name: tell, run: [touch, /x]}]\n";
    for (mode, wanted) in [
        (swarm, "this host does not allow `SYS_ADMIN` (x-balehook.swarm.cap_add[0])"),
        (task, "this host does not allow `run: touch` (x-balehook.after[0].run[0])"),
    ] {
        let host = Host::new("cap_add: []\nhost_tasks: false\n", mode);
        for args in [&["check"][..], &["plan"], &["run", "BeforeInstall"], &["run", "ApplicationStart"]] {
            let (code, said) = host.ends(args);
            assert!(code == 15 && said.contains(wanted), "{args:?}: {code}\n{said}");
        }
    }
}

#[test]
fn a_bucket_that_is_not_allowed_is_not_asked() {
    let mode = "  container: {image: {archive: 's3://other/web.tar'}, env_file: ['s3://other/web.env']}\n";
    let (code, said) = Host::new("buckets: [releases]\n", mode).ends(&["plan"]);
    assert_eq!(code, 15, "{said}");
    for assumed in [
        "s3://other/web.tar was not looked up (the host's policy does not allow it)",
        "not all variables were read (the host's policy does not allow s3://other/web.env)",
    ] {
        assert!(said.contains(assumed), "{assumed}:\n{said}");
    }
    assert_eq!(said.matches("would fail").count(), 2, "the policy and the engine that is not there:\n{said}");
}

#[test]
fn the_whole_plan_is_printed_with_what_the_host_would_refuse() {
    let host = Host::new(POLICY, CONTAINER);
    let (code, said) = host.ends(&["plan"]);
    assert_eq!(code, 15, "{said}");
    let would_fail =
        "  would fail: the host's policy policy.yml refuses bundle/appspec.yml\n    appspec.yml:12:12: error[policy]:";
    assert!(said.contains(would_fail) && REFUSED.iter().all(|refused| said.contains(refused)), "{said}");
    assert!(said.contains("evil.test/web:1 was not looked up (the host's policy does not allow it)"), "{said}");
    assert!(said.contains(". start web") || said.contains("docker start web"), "{said}");
    let (code, said) = host.ends(&["plan", "ApplicationStop"]);
    assert!(code == 0 && !said.contains("policy"), "{said}");
}

#[test]
fn a_policy_that_cannot_be_used_stops_everything_but_what_only_stops() {
    let good = "  container: {image: 'host.test/web:1'}\n";
    let wrong = Host::new("privilegd: false\nmounts: srv\n", good);
    let unsafe_ = Host::new(POLICY, good);
    std::fs::set_permissions(unsafe_.path("policy.yml"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    for (host, wanted) in [
        (
            &wrong,
            &[
                "policy.yml:1:1: error[unknown-key]: unknown key `privilegd`",
                "help: did you mean `privileged`?",
                "2 errors",
            ][..],
        ),
        (
            &unsafe_,
            &["the host's policy policy.yml cannot be used, so nothing is deployed: others may write it (mode 666)"],
        ),
    ] {
        for args in [
            &["run", "BeforeInstall"][..],
            &["run", "ApplicationStart"],
            &["run", "ValidateService"],
            &["check"],
            &["plan"],
        ] {
            let (code, said) = host.ends(args);
            assert!(code == 15 && wanted.iter().all(|wanted| said.contains(wanted)), "{args:?}: {code}\n{said}");
            assert!(!said.contains("no problems"), "{said}");
        }
        assert_eq!(host.ends(&["run", "ApplicationStop"]).0, 0);
        assert!(!Path::new(&host.path("state/web")).join("journal.json").exists());
    }
    assert!(wrong.ends(&["plan"]).1.contains("expected a list, not `srv`"), "every problem at once");
    assert!(wrong.ends(&["plan"]).1.contains("docker start web"), "and the whole plan");
}

#[test]
fn no_variable_of_a_hook_names_another_policy_and_none_is_needed() {
    let host = Host::new(POLICY, CONTAINER);
    let mut command = Command::new(env!("CARGO_BIN_EXE_balehook"));
    command.env_clear().env("BALEHOOK_POLICY", host.path("policy.yml"));
    let output = command.args(["check", "--appspec", &host.path("bundle")]).output().unwrap();
    let is_free = !Path::new("/etc/balehook/policy.yml").exists();
    assert!(!is_free || output.status.code() == Some(0), "{output:?}");
    std::fs::remove_file(host.path("policy.yml")).unwrap();
    let (code, said) = host.ends(&["check"]);
    assert!(code == 15 && said.contains("No such file"), "one that the command line names must be there: {said}");
}

#[test]
fn check_reads_compose_files_as_they_stand() {
    let host = Host::new("privileged: false\nmounts: [/srv]\n", "  compose: {files: [app/compose.yml]}\n");
    let service = "services:\n  web:\n    image: a/web:1\n    privileged: true\n    volumes: [\"/etc:/host\"]\n";
    host.write("bundle/app/compose.yml", service);
    let (code, said) = host.ends(&["check"]);
    assert_eq!(code, 15, "{said}");
    for wanted in [
        "appspec.yml:11:3: error[policy]: compose.yml:4:5: this host does not allow `privileged: true` (services.web.privileged)",
        "compose.yml:5:5: this host does not allow `/etc` (services.web.volumes)",
        "help: policy.yml:2:1 allows for `mounts`: /srv: ask who runs this host, or leave it out",
    ] {
        assert!(said.contains(wanted), "{wanted}:\n{said}");
    }
}
