//! The command line on a machine without an engine.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod schemas;

use std::process::{Command, Output, Stdio};

use balehook::error::Kind;

const APPSPEC: &str = include_str!("../appspec/container/appspec.yml");

const HOOKS_OF_START: &str = "hooks: {ApplicationStart: [{location: hooks/balehook, timeout: 120}]}\n";

const HOOKS: &str = "version: 0.0\nos: linux\nhooks: {ApplicationStart: [{location: hooks/balehook}]}\n";

fn balehook(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_balehook"));
    command.args(args).env_clear().env("DOCKER_HOST", "unix:///nowhere/docker.sock").current_dir("/");
    let output = command.output().unwrap();
    if output.status.code() != Some(i32::from(Kind::Usage.exit_code())) {
        schemas::assert_valid(args, &output.stdout);
    }
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A bundle with this file and the shim.
fn bundle(appspec: &str) -> tempfile::TempDir {
    let bundle = tempfile::tempdir().unwrap();
    std::fs::create_dir(bundle.path().join("hooks")).unwrap();
    std::fs::write(bundle.path().join("hooks/balehook"), include_str!("../hooks/balehook")).unwrap();
    std::fs::write(bundle.path().join("appspec.yml"), appspec).unwrap();
    bundle
}

#[test]
fn a_wrong_command_line_has_an_exit_code_of_its_own() {
    for args in [&["deploy"][..], &["run"], &["run", "Install"], &["plan", "--format", "xml"]] {
        let output = balehook(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(text(&output.stderr).contains("error:"), "{args:?}");
    }
}

#[test]
fn without_an_event_it_says_that_no_agent_started_it_and_how_to_run_by_hand() {
    let output = balehook(&[]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stdout).contains("balehook run ApplicationStart --appspec PATH"));
}

#[test]
fn the_help_and_the_book_list_every_exit_code_with_its_meaning() {
    let help = text(&balehook(&["--help"]).stdout);
    let page = include_str!("../docs/src/exit-codes.md");
    for kind in Kind::ALL {
        let (code, meaning) = (kind.exit_code(), kind.meaning());
        assert!(help.contains(&format!("{code:>2}  {meaning}")), "{meaning} is not in\n{help}");
        let row = page.lines().find(|line| line.starts_with(&format!("| {code} |")));
        let row = row.unwrap_or_default().replace(['`', '[', ']'], "");
        assert!(row.contains(meaning), "the page says {row:?} of {code}, not {meaning:?}");
        let remedy = kind.remedy().replace('`', "");
        assert!(row.contains(&remedy), "the page says {row:?} of {code}, and explain {remedy:?}");
        let explained = text(&balehook(&["explain", &code.to_string()]).stdout).replace("\n  ", " ").replace('\n', " ");
        let wanted = [format!("exit code {code}"), meaning.to_owned(), kind.remedy().to_owned()];
        assert!(wanted.iter().all(|wanted| explained.contains(wanted)), "{explained}");
    }
}

#[test]
fn the_revision_that_users_copy_lacks_its_image_alone_and_its_shim_is_ours() {
    let bundle = bundle(APPSPEC);
    let output = balehook(&["check", "--appspec", bundle.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("`image.tar` is not in the bundle"), "{}", text(&output.stdout));
    std::fs::write(bundle.path().join("image.tar"), "").unwrap();
    let output = balehook(&["check", "--appspec", bundle.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).ends_with("appspec.yml: no problems\n"), "{}", text(&output.stdout));
    for mode in ["container", "compose", "swarm"] {
        let copied = format!("{}/appspec/{mode}/hooks/balehook", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(std::fs::read_to_string(copied).unwrap(), include_str!("../hooks/balehook"), "{mode}");
    }
}

#[test]
fn the_problems_of_a_file_are_data_on_request() {
    let bundle = bundle("version: 0.0\nos: linux\nx-balehook: {nam: web}\n");
    let output = balehook(&["check", "--format", "json", "--appspec", bundle.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = all["problems"].as_array().unwrap().iter().find(|problem| problem["path"] == "x-balehook.nam").unwrap();
    assert_eq!(
        (first["line"].as_u64(), first["column"].as_u64(), first["severity"].as_str()),
        (Some(3), Some(14), Some("error"))
    );
    assert_eq!(first["help"], "did you mean `name`?");
}

/// A bundle of one container: nothing is said of it but what `keys` bring.
fn bundle_of(keys: &str) -> tempfile::TempDir {
    let hooks = "hooks: {ApplicationStart: [{location: hooks/balehook, timeout: 300}]}";
    let quiet = "restart: always, logging: {driver: local}, healthcheck: {test: 'true'}";
    let section = format!("x-balehook:\n  name: web\n  container: {{image: 'a.test/web:1', {quiet}, {keys}}}");
    bundle(&format!("version: 0.0\nos: linux\n{hooks}\n{section}\n"))
}

#[test]
fn a_warning_names_its_rule_and_fails_under_strict_alone_and_not_where_a_comment_allows_it() {
    let bundle = bundle_of("privileged: true");
    let path = bundle.path().to_str().unwrap();
    let output = balehook(&["check", path]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let place = "appspec.yml:6:122: warning[privileged]: a privileged container is root on the host";
    assert!(said.starts_with(place) && said.ends_with("\n1 warning\n"), "{said}");
    assert_eq!(balehook(&["check", "--strict", path]).status.code(), Some(3));

    let file = bundle.path().join("appspec.yml");
    let allowed = std::fs::read_to_string(&file).unwrap().trim_end().to_owned() + " # balehook: allow privileged\n";
    std::fs::write(&file, allowed).unwrap();
    let output = balehook(&["check", "--strict", file.to_str().unwrap()]);
    assert_eq!((output.status.code(), text(&output.stdout).ends_with(": no problems\n")), (Some(0), true));
    assert_eq!(balehook(&["check", path, "--appspec", path]).status.code(), Some(64), "one of them");
}

#[test]
fn events_and_plans_say_nothing_of_what_check_alone_looks_for() {
    let bundle = bundle_of("privileged: true");
    let path = bundle.path().to_str().unwrap();
    for args in [&["plan", "ApplicationStart"][..], &["run", "ApplicationStart"]] {
        let state = bundle.path().join("state");
        let output = balehook(&[args, &["--appspec", path, "--state-dir", state.to_str().unwrap()]].concat());
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains("cannot be reached") && !said.contains("privileged container"), "{said}");
    }
}

#[test]
fn the_problems_of_all_files_are_sarif_on_request() {
    let hooks = "hooks: {ApplicationStart: [{location: hooks/balehook, timeout: 300}]}";
    let section = "x-balehook: {name: shop, compose: {files: [app/compose.yml]}}";
    let bundle = bundle(&format!("version: 0.0\nos: linux\n{hooks}\n{section}\n"));
    std::fs::create_dir(bundle.path().join("app")).unwrap();
    std::fs::write(bundle.path().join("app/compose.yml"), "services:\n  web:\n    image: web\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_balehook"));
    let output = command.args(["check", "--format", "sarif"]).env_clear().current_dir(&bundle).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let log: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = &log["runs"][0];
    let found: Vec<String> = run["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            let place = &result["locations"][0]["physicalLocation"];
            let rule =
                &run["tool"]["driver"]["rules"][usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()]["id"];
            assert_eq!(*rule, result["ruleId"]);
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            format!("{uri}:{} {}", place["region"]["startLine"], rule.as_str().unwrap())
        })
        .collect();
    assert_eq!(
        found,
        [
            "appspec.yml:4 no-health-check",
            "app/compose.yml:2 no-restart-policy",
            "app/compose.yml:2 no-log-rotation",
            "app/compose.yml:3 moving-tag",
        ]
    );
}

#[test]
fn fix_mends_line_ends_modes_and_tabs_and_leaves_what_is_good_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let bundle = bundle_of("stop_grace_period: 5s");
    let (file, hook) = (bundle.path().join("appspec.yml"), bundle.path().join("hooks/balehook"));
    let path = bundle.path().to_str().unwrap();
    let good = (std::fs::read_to_string(&file).unwrap(), std::fs::read_to_string(&hook).unwrap());
    std::fs::write(&file, good.0.replace("  name: web", "\tname: web")).unwrap();
    std::fs::write(&hook, good.1.replace('\n', "\r\n")).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o644)).unwrap();
    let wrong = balehook(&["check", path]);
    let said = text(&wrong.stdout);
    assert!(said.contains("appspec.yml:5:1: error[yaml-syntax]: a tab: YAML indents with spaces alone"), "{said}");

    let output = balehook(&["check", "--fix", path]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let wanted = [(&file, "spaces in place of tabs"), (&hook, "LF in place of CRLF, and executable")];
    let wanted = wanted.map(|(path, what)| format!("fixed: {}: {what}\n", path.display())).concat();
    assert_eq!(text(&output.stderr), wanted);
    let mended = (std::fs::read_to_string(&file).unwrap(), std::fs::read_to_string(&hook).unwrap());
    assert_eq!(mended, good);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&hook)), (0o644, 0o755));
    assert_eq!(text(&balehook(&["check", "--fix", path]).stderr), "");
}

#[test]
fn explain_lists_every_rule_and_exit_code_and_says_of_one_what_to_do() {
    let list = text(&balehook(&["explain"]).stdout);
    assert!(list.contains("\n  moving-tag\n      An image has no tag") && list.contains("\n   8  what was started"));
    let one = text(&balehook(&["explain", "moving-tag"]).stdout);
    for part in
        ["moving-tag: a rule of check\n", "Why it matters:\n", "What to do:\n", "# balehook: allow moving-tag\n"]
    {
        assert!(one.contains(part), "{one}");
    }
    assert!(one.lines().chain(list.lines()).all(|line| line.chars().count() <= 80), "{list}");
    let key = text(&balehook(&["explain", "health.http"]).stdout);
    for part in ["health.http: a key of x-balehook\n", "Keys below it:\n", "\n  ca\n      a file of the bundle"] {
        assert!(key.contains(part), "{key}");
    }
    let wrong = balehook(&["explain", "movin-tag"]);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(text(&wrong.stderr).contains("did you mean `moving-tag`?"), "{}", text(&wrong.stderr));
}

#[test]
fn what_a_plan_would_fail_at_is_data_on_request_too() {
    let bundle = bundle(APPSPEC);
    let output = balehook(&["plan", "--format", "json", "--appspec", bundle.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(6));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let last = plan["would_fail"].as_array().unwrap().last().unwrap();
    assert_eq!((last["kind"].as_str(), last["exit_code"].as_u64()), (Some("image"), Some(6)));
}

#[test]
fn a_missing_file_is_named() {
    let output = balehook(&["check", "--appspec", "/nowhere/appspec.yml"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("cannot read /nowhere/appspec.yml"));
}

#[test]
fn completions_and_the_manual_are_made_from_the_one_definition() {
    assert!(text(&balehook(&["completions", "bash"]).stdout).contains("ApplicationStart"));
    assert!(text(&balehook(&["man"]).stdout).contains(".TH balehook"));
}

#[test]
fn log_lines_are_json_on_request() {
    let (bundle, state) = (bundle(APPSPEC), tempfile::tempdir().unwrap());
    let (path, state) = (bundle.path().to_str().unwrap(), state.path().to_str().unwrap());
    let output =
        balehook(&["run", "ApplicationStart", "--appspec", path, "--state-dir", state, "-v", "--log-format", "json"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stdout));
    let lines = text(&output.stderr);
    assert!(!lines.is_empty());
    for line in lines.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

/// Runs the shim of a bundle as the agent does with `runas: nobody`: `su nobody -c …`.
fn hook_of_nobody(bundle: &std::path::Path, event: &str, state: &std::path::Path) -> Output {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new("/bin/sh");
    command.arg(bundle.join("hooks/balehook")).env_clear().current_dir("/").uid(65534).gid(65534);
    command.env("PATH", "/usr/bin:/bin").env("LIFECYCLE_EVENT", event).env("BALEHOOK_STATE_DIR", state);
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap()
}

fn open_to_all(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn with_runas_the_event_says_the_one_command_that_gives_the_user_its_state_and_then_goes_on() {
    use std::os::unix::fs::PermissionsExt as _;
    let (bundle, host) = (bundle(APPSPEC), tempfile::tempdir().unwrap());
    [bundle.path(), host.path()].into_iter().for_each(open_to_all);
    std::fs::create_dir(bundle.path().join("bin")).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_balehook"), bundle.path().join("bin/balehook")).unwrap();
    let state = host.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let give = format!("install -d -o nobody -m 700 {}/web", state.display());

    // What systemd-tmpfiles makes, what an older balehook made, and what root's own deployment left there.
    for (mode, wanted) in [
        (0o711, give.clone()),
        (0o700, format!("chmod 711 {} && {give}", state.display())),
        (0o711, format!("chown -R nobody {}/web", state.display())),
    ] {
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(mode)).unwrap();
        if wanted.starts_with("chown") {
            std::fs::create_dir_all(state.join("web/releases")).unwrap();
            std::fs::write(state.join("web/lock"), "").unwrap();
        }
        let output = hook_of_nobody(bundle.path(), "ApplicationStart", &state);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(11), "{said}");
        assert!(said.contains(&format!("once, as root: `{wanted}`; or leave `runas` out of the hook")), "{said}");
        assert!(Command::new("/bin/sh").args(["-c", &wanted]).status().unwrap().success());
        let output = hook_of_nobody(bundle.path(), "ApplicationStart", &state);
        assert_eq!(output.status.code(), Some(5), "the engine is next: {}", text(&output.stdout));
        std::fs::remove_dir_all(state.join("web")).unwrap();
    }
}

#[test]
fn a_state_directory_that_is_made_lets_other_users_through_to_their_own_folder_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (bundle, host) = (bundle(APPSPEC), tempfile::tempdir().unwrap());
    let state = host.path().join("state");
    let (path, folder) = (bundle.path().to_str().unwrap(), state.to_str().unwrap());
    balehook(&["run", "ApplicationStart", "--appspec", path, "--state-dir", folder]);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join("web"))), (0o711, 0o700));
}

#[test]
fn what_would_fail_has_the_place_of_the_field_that_it_comes_from_in_the_plan_and_in_the_event() {
    let section =
        "x-balehook:\n  name: web\n  container:\n    image: {archive: image.tar}\n    env_file:\n    - path: web.env\n";
    let bundle = bundle(&format!("version: 0.0\nos: linux\nhooks: {{}}\n{section}"));
    let path = bundle.path().to_str().unwrap();
    let plan = balehook(&["plan", "ApplicationStart", "--appspec", path]);
    let said = text(&plan.stdout);
    let archive = format!("would fail: appspec.yml:7:22: cannot read the archive {path}/image.tar");
    let file = format!("would fail: appspec.yml:9:13: cannot read env_file {path}/web.env");
    assert!(said.contains(&archive) && said.contains(&file), "{said}{}", text(&plan.stderr));

    let compose = "x-balehook:\n  name: web\n  compose: {files: [compose.yml], images: {web: {archive: web.tar}}}\n";
    let appspec = format!("version: 0.0\nos: linux\nhooks: {{}}\n{compose}");
    std::fs::write(bundle.path().join("appspec.yml"), appspec).unwrap();
    std::fs::write(bundle.path().join("compose.yml"), "services: {web: {image: 'web:1'}}").unwrap();
    let said = text(&balehook(&["plan", "ApplicationStart", "--appspec", path]).stdout);
    assert!(said.contains("would fail: appspec.yml:6:59: cannot read the archive"), "{said}");
}

#[test]
fn a_plan_says_what_files_has_still_to_install_and_what_would_be_demanded_then() {
    let later =
        "x-balehook: {name: web, container: {image: 'a.test/web@sha256:DIGEST', env_file: [/nowhere/opt/prod.env]}}\n";
    let later = later.replace("DIGEST", &"0".repeat(64));
    let files = "files: [{source: conf, destination: /nowhere/opt}]\n";
    let hooks = "hooks: {ApplicationStart: [{location: hooks/balehook}]}\n";
    let bundle = bundle(&format!("version: 0.0\nos: linux\n{files}{hooks}{later}"));
    std::fs::create_dir(bundle.path().join("conf")).unwrap();
    std::fs::write(bundle.path().join("conf/prod.env"), "A=1\n").unwrap();
    let path = bundle.path().to_str().unwrap();
    let before = balehook(&["plan", "BeforeInstall", "--appspec", path]);
    let said = text(&before.stdout);
    assert_eq!(before.status.code(), Some(0), "{said}{}", text(&before.stderr));
    assert!(
        said.contains("/nowhere/opt/prod.env is not there yet: `files:` installs it, and ApplicationStart needs it")
    );
    let start = balehook(&["plan", "ApplicationStart", "--appspec", path]);
    assert_eq!(start.status.code(), Some(3), "{}", text(&start.stdout));
    assert!(
        text(&start.stdout).contains("would fail: appspec.yml:5:141: cannot read env_file /nowhere/opt/prod.env"),
        "{}",
        text(&start.stdout)
    );
}

#[test]
fn no_core_is_left_with_the_secrets_in_it() {
    use std::os::unix::process::ExitStatusExt as _;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    // Nobody answers.
    let engine = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -S -c unlimited; exec \"$0\" status", env!("CARGO_BIN_EXE_balehook")]);
    command.env_clear().env("DOCKER_HOST", format!("unix://{}", socket.display())).current_dir(&folder);
    let mut running = command.spawn().unwrap();
    let _question = engine.accept().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let pid = nix::unistd::Pid::from_raw(running.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGABRT).unwrap();
    let ended = running.wait().unwrap();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "the socket alone");
}

/// A server that accepts and never says a word.
fn mute(folder: &std::path::Path) -> (std::os::unix::net::UnixListener, std::net::TcpListener) {
    let engine = std::os::unix::net::UnixListener::bind(folder.join("engine")).unwrap();
    (engine, std::net::TcpListener::bind("127.0.0.1:0").unwrap())
}

#[test]
fn doctor_ends_on_a_host_where_everything_hangs_and_says_of_each_check_that_it_was_not_answered() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (_engine, server) = mute(folder.path());
    let at = format!("http://{}", server.local_addr().unwrap());
    let compose = folder.path().join("docker-compose");
    std::fs::write(&compose, "#!/bin/sh\nsleep 600\n").unwrap();
    std::fs::set_permissions(&compose, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_balehook"))
        .args(["doctor", "--format", "json"])
        .env_clear()
        .env("DOCKER_HOST", format!("unix://{}/engine", folder.path().display()))
        .env("BALEHOOK_STATE_DIR", folder.path().join("state"))
        .env("PATH", format!("{}:/bin", folder.path().display()))
        .env("HOME", folder.path())
        .envs([("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_REGION", "eu-west-1")])
        .envs([("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_ENDPOINT_URL", &at)])
        .output()
        .unwrap();
    schemas::assert_valid(&["doctor", "--format", "json"], &output.stdout);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["checks"].as_array().unwrap();
    let silent = |row: &&serde_json::Value| row["found"].as_str().unwrap().contains(" for 4 s");
    let silent: Vec<&str> = rows.iter().filter(silent).map(|row| row["check"].as_str().unwrap()).collect();
    assert_eq!(silent, ["engine", "Compose", "ECR", "clock"], "{report:#}");
    assert_eq!(output.status.code(), Some(5));
}

#[test]
fn an_offline_plan_asks_for_nothing_but_the_bundle_and_compares_it_with_another_revision() {
    let revision = |image: &str, more: &str| {
        let files = "env_file: [prod.env, /etc/nowhere.env, s3://secrets/web.env]";
        let container = format!("container:\n    image: {image}\n    {files}\n    environment: {{A: '1'}}\n{more}");
        let bundle = bundle(&format!("{HOOKS}x-balehook:\n  name: web\n  {container}"));
        std::fs::write(bundle.path().join("prod.env"), "PASSWORD=hunter2\n").unwrap();
        bundle
    };
    let before = revision("{archive: 's3://releases/web-1.tar'}", "    hostname: web-1\n");
    let after = revision("{archive: 's3://releases/web-2.tar'}", "    restart: always\n");
    let (before, after) = (before.path().to_str().unwrap(), after.path().to_str().unwrap());
    let output = balehook(&["plan", "--offline", "--against", before, "--appspec", after, "--format", "markdown"]);
    let comment = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{comment}{}", text(&output.stderr));
    let top: Vec<&str> = comment.lines().take_while(|line| !line.starts_with("<details>")).collect();
    let since = format!("Changes, compared with `{before}; what really runs was not looked at`:");
    let wanted = [
        "### ApplicationStart of `web` (container)",
        "",
        "- assumed: `no engine was asked (--offline): assumed that nothing runs yet`",
        "- assumed: `s3://releases/web-2.tar was not looked up (--offline): assumed that it exists`",
        "- note: `/etc/nowhere.env was not read (--offline): its variables are missing below`",
        "- note: `s3://secrets/web.env was not read (--offline): its variables are missing below`",
        "",
        &since,
        "",
        "| | option | what changes |",
        "|---|---|---|",
        "| `~` | `image` | `s3://releases/web-1.tar → s3://releases/web-2.tar` |",
        "| `-` | `hostname` | `web-1` |",
        "| `+` | `restart` | `always` |",
        "",
        "**Interruption:** `none`",
        "",
    ];
    assert_eq!(top, wanted, "{comment}");
    assert!(comment.contains("environment.PASSWORD") && !comment.contains("hunter2"), "{comment}");

    let other = bundle(&format!("{HOOKS}x-balehook: {{name: web, swarm: {{image: 'a.test/web:1'}}}}\n"));
    let said = |against: &str| {
        text(&balehook(&["plan", "--offline", "--against", against, "--appspec", after, "--format", "markdown"]).stdout)
    };
    let swarm = said(other.path().to_str().unwrap());
    assert!(swarm.contains("is deployed as swarm: nothing is compared`"), "{swarm}");
    assert!(said("/nowhere").contains("- note: `nothing is compared: cannot read /nowhere"), "{}", said("/nowhere"));
    assert_eq!(balehook(&["plan", "--against", before]).status.code(), Some(64));
}

#[test]
fn an_offline_plan_of_a_project_says_what_becomes_of_each_service() {
    let revision = |services: &str| {
        let bundle = bundle(&format!("{HOOKS}x-balehook: {{name: shop, compose: {{files: [compose.yml]}}}}\n"));
        std::fs::write(bundle.path().join("compose.yml"), format!("services: {{{services}}}\n")).unwrap();
        bundle
    };
    let before = revision(
        "db: {image: 'a.test/db:9'}, web: {image: 'a.test/web:1', environment: {A: one}}, old: {image: 'a.test/old:1'}",
    );
    let after = revision(
        "db: {image: 'a.test/db:9'}, web: {image: 'a.test/web:2', environment: {A: two}}, new: {image: 'a.test/new:1'}",
    );
    let (before, after) = (before.path().to_str().unwrap(), after.path().to_str().unwrap());
    let output = balehook(&["plan", "--offline", "--against", before, "--appspec", after, "--format", "markdown"]);
    let comment = text(&output.stdout);
    let services: Vec<&str> = comment.lines().filter(|line| line.starts_with("- `")).collect();
    let wanted = [
        "- `db: unchanged`",
        "- `new: created, image a.test/new:1`",
        "- `old: removed`",
        "- `web: recreated (image, environment.A), image a.test/web:1 -> a.test/web:2`",
    ];
    assert_eq!(services, wanted, "{comment}{}", text(&output.stderr));
}

#[test]
fn a_file_that_is_wrong_is_a_comment_too() {
    let bundle = bundle("version: 0.0\nos: linux\nx-balehook: {nam: web}\n");
    let output = balehook(&["plan", "--format", "markdown", "--appspec", bundle.path().to_str().unwrap()]);
    let comment = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{comment}");
    assert!(comment.starts_with("### balehook plan\n\n**Would fail:** `"), "{comment}");
    assert!(comment.contains("unknown key") && comment.contains("did you mean `name`?"), "{comment}");
}

#[test]
fn a_command_that_fails_says_so_as_json_too_where_a_program_reads_it() {
    let state = tempfile::tempdir().unwrap();
    let state = state.path().to_str().unwrap();
    for (args, code, kind) in [
        (&["status", "--format", "json"][..], 5, "engine"),
        (&["history", "web", "--format", "json"], 11, "state"),
        (&["history", "--deployment", "d-1", "--format", "json"], 11, "state"),
        (&["check", "/nowhere/appspec.yml", "--format", "json"], 3, "appspec"),
        (&["plan", "--appspec", "/nowhere/appspec.yml", "--format", "json"], 3, "appspec"),
    ] {
        let output = balehook(&[args, &["--state-dir", state]].concat());
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &document["error"]["kind"]), (Some(code), &kind.into()), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}: {}", text(&output.stderr));
    }
    let none = balehook(&["history", "--format", "json", "--state-dir", state]);
    let document: serde_json::Value = serde_json::from_slice(&none.stdout).unwrap();
    assert_eq!((none.status.code(), document), (Some(0), serde_json::json!({"format": 2, "names": []})));
}

/// A state directory with one deployment of `web` in its history.
fn state_with_a_deployment() -> tempfile::TempDir {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("web/deployments");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("000001.json"), include_str!("golden/deployment-2.json")).unwrap();
    std::fs::write(state.path().join("web/lock"), "").unwrap();
    state
}

#[test]
fn the_page_of_a_deployment_is_written_whole_for_its_owner_alone_or_the_file_that_was_there_stays() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    let (state, folder) = (state_with_a_deployment(), tempfile::tempdir().unwrap());
    let write = |file: &std::path::Path, deployment: &str| {
        let state = state.path().to_str().unwrap();
        let args =
            ["history", "web", "--deployment", deployment, "--html", file.to_str().unwrap(), "--state-dir", state];
        let output = balehook(&args);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let file = folder.path().join("report.html");
    // What others may read, and a second name of it: a file that is replaced is another one.
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::hard_link(&file, folder.path().join("old.html")).unwrap();
    let names = || {
        let all =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        all.collect::<std::collections::BTreeSet<_>>()
    };

    let (code, _, stderr) = write(&file, "d-2");
    assert_eq!((code, std::fs::read_to_string(&file).unwrap().as_str()), (Some(11), "old"), "{stderr}");
    assert!(stderr.contains("this host has no record of deployment d-2"), "{stderr}");

    let (code, stdout, stderr) = write(&file, "d-1");
    assert_eq!((code, stdout, stderr), (Some(0), format!("{} is written\n", file.display()), String::new()));
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"), "{page}");
    assert!(page.contains("d-1") && page.contains("web exited with code 3"), "{page}");
    let written = std::fs::metadata(&file).unwrap();
    assert_eq!((written.mode() & 0o777, written.nlink()), (0o600, 1));
    assert_eq!(std::fs::read_to_string(folder.path().join("old.html")).unwrap(), "old");
    assert_eq!(names().into_iter().collect::<Vec<_>>(), ["old.html", "report.html"]);

    let (code, stdout, stderr) = write(&folder.path().join("nowhere/report.html"), "d-1");
    assert_eq!((code, stdout.as_str()), (Some(64), ""), "{stderr}");
    assert!(
        stderr.contains("cannot write ") && stderr.contains("next: name a file in a folder that is there"),
        "{stderr}"
    );
}

/// A server that is a proxy too: the first line of each question is kept, and everything is forbidden.
fn forbids() -> (String, std::sync::mpsc::Receiver<String>) {
    use std::io::{BufRead as _, BufReader, Write as _};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (send, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (mut head, mut reader) = (Vec::new(), BufReader::new(&client));
            let line =
                |reader: &mut BufReader<_>, head: &mut Vec<u8>| reader.read_until(b'\n', head).unwrap_or_default();
            while line(&mut reader, &mut head) > 2 {}
            let first = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            let _ = send.send(first);
            let _ = (&client).write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (address, asked)
}

#[test]
fn s3_ecr_and_a_webhook_go_through_the_proxy_of_the_environment_but_not_where_no_proxy_names_the_host() {
    let bundle = tempfile::tempdir().unwrap();
    let path = |name: &str| bundle.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(path("hooks")).unwrap();
    std::fs::write(path("hooks/balehook"), include_str!("../hooks/balehook")).unwrap();
    std::fs::write(path("policy.yml"), "buckets: [other]\n").unwrap();
    let (appspec, state, policy) = (path("appspec.yml"), path("state"), path("policy.yml"));
    // What each command asks first, and where.
    let first = |args: &[&str], scheme: &str, no_proxy: &str| {
        let (server, asked) = forbids();
        let notify = format!("  notify: [{{on: [failure], webhook: '{scheme}://{server}/hook'}}]\n");
        let section = "x-balehook:\n  name: web\n  container: {image: {archive: 's3://releases/web.tar'}}\n";
        std::fs::write(&appspec, format!("version: 0.0\nos: linux\n{HOOKS_OF_START}{section}{notify}")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_balehook"));
        command.args(args).args(["--state-dir", &state]).env_clear().current_dir(bundle.path());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("DOCKER_HOST", "unix:///nowhere/docker.sock");
        for name in ["S3", "ECR"] {
            command.env(format!("AWS_ENDPOINT_URL_{name}"), format!("{scheme}://{server}"));
        }
        command.envs([("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_REGION", "eu-west-1")]);
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command.env(format!("{}_PROXY", scheme.to_uppercase()), format!("http://{server}")).env("NO_PROXY", no_proxy);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let first = asked.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
        // It would ask again and again.
        let _ = (child.kill(), child.wait());
        (first, server)
    };
    for (args, method, target) in [
        (&["plan", "--appspec", &appspec][..], "HEAD", "/releases/web.tar"),
        (&["doctor"], "POST", "/"),
        (&["--policy", &policy, "run", "ApplicationStart"], "POST", "/hook"),
    ] {
        let (plain, server) = first(args, "http", "");
        assert_eq!(plain, format!("{method} http://{server}{target} HTTP/1.1"), "{args:?}");
        let (secure, server) = first(args, "https", "");
        assert_eq!(secure, format!("CONNECT {server} HTTP/1.1"), "{args:?}");
        let (direct, _) = first(args, "http", "10.0.0.0/8,127.0.0.1");
        assert_eq!(direct, format!("{method} {target} HTTP/1.1"), "{args:?}");
    }
}

#[test]
fn each_document_has_a_schema_that_the_program_prints() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/schemas");
    for command in schemas::COMMANDS {
        let printed = text(&balehook(&["schema", command]).stdout);
        assert_eq!(printed, std::fs::read_to_string(folder.join(format!("{command}.schema.json"))).unwrap());
        assert!(printed.contains(&format!("\"title\": \"balehook {command} --format json\"")), "{command}");
    }
    let editors = balehook(&["schema", "appspec"]).stdout;
    assert_eq!((balehook(&["schema"]).stdout, editors.is_empty()), (editors.clone(), false));
}
