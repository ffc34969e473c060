//! What `check` alone says, of each mode, and what it is silent about.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::hook_env::HookEnv;
use crate::config::validate;

const HEAD: &str = "version: 0.0\nos: linux\nhooks:\n  ApplicationStart: [{location: hooks/balehook, timeout: 300}]\n";

/// Nothing is to be said of it.
const QUIET: &str = "restart: always, logging: {driver: local}, healthcheck: {test: 'true'}";

/// `rule line:column` of all that is said of a file, and of the Compose file beside it.
fn found(appspec: &str, compose: &str) -> (Vec<String>, Vec<String>) {
    let bundle = tempfile::tempdir().unwrap();
    for (name, text) in [("hooks/balehook", "#!/bin/sh\n"), ("app/compose.yml", compose), ("appspec.yml", appspec)] {
        let path = bundle.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let file = crate::config::appspec::read(bundle.path()).unwrap();
    let (deployment, problems) = validate::check(&file, &HookEnv::default());
    super::appspec(&file, deployment.as_ref(), &problems);
    let said = |problems: &Problems| -> Vec<String> {
        let each = problems.sorted().into_iter();
        each.map(|problem| {
            assert!(!problem.message.contains("hunter2"), "{problem:?}");
            format!("{} {}", problem.rule.name, problem.place)
        })
        .collect()
    };
    let files = deployment.iter().flat_map(compose_files).flat_map(|(_, problems)| said(&problems)).collect();
    (said(&problems), files)
}

/// Of a container or of a swarm's service with these keys in line 7.
fn of(mode: &str, keys: &str) -> Vec<String> {
    found(&format!("{HEAD}x-balehook:\n  name: web\n  {mode}: {{image: 'a.test/web:1', {keys}}}\n"), "").0
}

/// Of a Compose project's file.
fn of_compose(text: &str) -> Vec<String> {
    found(&format!("{HEAD}x-balehook: {{name: shop, compose: {{files: [app/compose.yml]}}}}\n"), text).1
}

#[test]
fn a_bare_container_has_no_restart_policy_no_health_check_and_no_limit_of_its_log() {
    let all = ["no-health-check 7:3", "no-restart-policy 7:3", "no-log-rotation 7:3"];
    assert_eq!(of("container", ""), all);
    assert_eq!(of("swarm", ""), [all[0], all[2]], "swarm restarts tasks by itself");
    assert_eq!(of("container", QUIET), [""; 0]);
    assert_eq!(of("container", &QUIET.replace("always", "'no'")), [""; 0], "it is meant");
    assert_eq!(of("container", &QUIET.replace("test: 'true'", "disable: true")), [all[0]]);
    assert_eq!(of("container", &QUIET.replace("test: 'true'", "test: [NONE]")), [all[0]]);
}

#[test]
fn a_question_from_outside_is_a_health_check_and_a_time_alone_is_none() {
    let with = |health: &str| {
        let keys = QUIET.replace(", healthcheck: {test: 'true'}", "");
        let section = format!("  name: web\n  container: {{image: 'a.test/web:1', ports: ['80:80'], {keys}}}\n");
        found(&format!("{HEAD}x-balehook:\n{section}  health: {health}\n"), "").0
    };
    assert_eq!(with("{http: /healthz}"), [""; 0]);
    assert_eq!(with("{tcp: ':80'}"), [""; 0]);
    assert_eq!(with("{timeout: 20s}"), ["no-health-check 7:3"]);
}

#[test]
fn a_log_without_a_limit_is_found_and_another_drivers_is_not() {
    for (logging, is_found) in [
        ("{driver: json-file}", true),
        ("{driver: json-file, options: {max-file: '3'}}", true),
        ("{driver: json-file, options: {max-size: 10m}}", false),
        ("{options: {max-size: 10m}}", false),
        ("{options: {tag: web}}", true),
        ("{driver: awslogs, options: {awslogs-group: web}}", false),
        ("{driver: '${DRIVER:-local}'}", false),
    ] {
        let said = of("container", &QUIET.replace("{driver: local}", logging));
        assert_eq!(said.iter().any(|line| line.starts_with("no-log-rotation ")), is_found, "{logging}: {said:?}");
        assert!(said.len() <= 1, "{logging}: {said:?}");
    }
}

#[test]
fn a_secret_that_is_written_out_is_found_and_a_setting_a_place_or_a_variable_is_not() {
    for (variable, is_found) in [
        ("DB_PASSWORD: hunter2", true),
        ("API_KEY: 'hunter2=='", true),
        ("DATABASE_URL: 'postgres://web:hunter2@db/web'", true),
        ("DATABASE_URL: 'postgres://db/web'", false),
        ("NOTE: 'postgres://web:hunter2@db/web'", true),
        ("DB_PASSWORD: ${DB_PASSWORD:-}", false),
        ("DB_PASSWORD:", false),
        ("DB_PASSWORD_FILE: /run/secrets/db", false),
        ("DB_PASSWORD: /run/secrets/db", false),
        ("TOKEN_SECONDS: 3600", false),
        ("TOKEN_TTL: 15m", false),
        ("CSRF: 'true'", false),
        ("TOKEN_URL: 'https://login.test/token'", false),
        ("SECRET_ID: 'arn:aws:secretsmanager:eu-west-1:1:secret:web'", false),
        ("COOKIE_NAME: sid", false),
        ("JWT_ALGORITHM: HS256", false),
        ("TOKEN_ISSUER: web", false),
        ("JWT_SECRET: hunter2", true),
        ("LEVEL: info", false),
    ] {
        for mode in ["container", "swarm"] {
            let said = of(mode, &format!("{QUIET}, environment: {{{variable}}}"));
            let found = said.iter().any(|line| line.starts_with("secret-in-environment "));
            assert_eq!(found, is_found, "{mode} {variable}: {said:?}");
        }
    }
    let listed = of("container", &format!("{QUIET}, environment: [DB_PASSWORD=hunter2, LEVEL=a, DB_PASSWORD]"));
    assert_eq!(listed.len(), 1, "{listed:?}");
}

#[test]
fn what_makes_a_container_root_on_the_host_is_found() {
    for (keys, wanted) in [
        ("privileged: true", "privileged 7:"),
        ("volumes: ['/var/run/docker.sock:/var/run/docker.sock:ro']", "docker-socket 7:"),
        ("volumes: [{type: bind, source: /run/docker.sock, target: /s}]", "docker-socket 7:"),
        ("volumes: ['/:/host:ro']", "docker-socket 7:"),
    ] {
        let said = of("container", &format!("{QUIET}, {keys}"));
        assert!(said.len() == 1 && said[0].starts_with(wanted), "{keys}: {said:?}");
    }
    assert_eq!(of("container", &format!("{QUIET}, privileged: false, volumes: ['/srv:/srv', data:/data]")), [""; 0]);
}

#[test]
fn without_application_start_it_is_an_error_and_application_stop_costs_the_time_between() {
    let section = format!("x-balehook: {{name: web, container: {{image: 'a.test/web:1', {QUIET}}}}}\n");
    let none = HEAD.replace("ApplicationStart", "AfterInstall");
    let bundle = |hooks: &str| found(&format!("{hooks}{section}"), "").0;
    assert_eq!(bundle(&none), ["no-application-start 4:3"]);
    let both = format!("{HEAD}  ApplicationStop: [{{location: hooks/balehook, timeout: 60}}]\n");
    assert_eq!(bundle(&both), ["application-stop 5:3"]);
    let swarm = format!("{both}{}", section.replace("container", "swarm"));
    assert_eq!(found(&swarm, "").0, [""; 0], "a swarm does nothing then");
}

#[test]
fn where_no_hook_runs_balehook_the_one_that_starts_is_named() {
    let section = format!("x-balehook: {{name: web, container: {{image: 'a.test/web:1', {QUIET}}}}}\n");
    let of = |hooks: &str| {
        let bundle = tempfile::tempdir().unwrap();
        let text = format!("version: 0.0\nos: linux\nhooks:\n{hooks}{section}");
        std::fs::create_dir(bundle.path().join("bin")).unwrap();
        for (name, text) in
            [("bin/a", "#!/bin/sh\n"), ("bin/b", "#!/bin/sh\nexec balehook run\n"), ("appspec.yml", &text)]
        {
            std::fs::write(bundle.path().join(name), text).unwrap();
        }
        let file = crate::config::appspec::read(bundle.path()).unwrap();
        let (deployment, problems) = validate::check(&file, &HookEnv::default());
        super::appspec(&file, deployment.as_ref(), &problems);
        let said = |one: crate::config::problem::Problem| {
            format!("{} {} {} {}", one.rule.name, one.place, one.message, one.help.unwrap_or_default())
        };
        problems.sorted().into_iter().map(said).collect::<Vec<_>>()
    };
    let install = "  AfterInstall: [{location: bin/a, timeout: 60}]\n";
    let start = |script: &str| format!("  ApplicationStart: [{{location: {script}, timeout: 300}}]\n");
    let help = "write `location: hooks/balehook`, and copy hooks/balehook into the bundle";
    let wanted = |place: &str| {
        format!(
            "no-balehook-hook {place} `bin/a` does not run balehook, and no other hook does: x-balehook is never read {help}"
        )
    };
    assert_eq!(of(&(install.to_owned() + &start("bin/a"))), [wanted("5:33")]);
    let said = of(install);
    assert!(said.len() == 1 && said[0].starts_with("no-application-start 4:3 "), "one cause, one finding: {said:?}");
    assert_eq!(of(&start("bin/b")), [""; 0], "the script names it");
}

#[test]
fn a_webhook_over_plain_http_or_with_a_secret_written_out_is_found_and_one_on_this_host_or_of_a_variable_is_not() {
    let token = "ghp_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789";
    let slack = "https://hooks.test/services/T0/hunter2";
    for (url, headers, wanted) in [
        ("https://hooks.test/deployments", "", &[][..]),
        ("http://hooks.test/deployments", "", &["notify-plain-http 9:32"]),
        ("http://127.0.0.1:9000/x", "", &[]),
        ("http://localhost/x", "", &[]),
        ("http://[::1]:9000/x", "", &[]),
        ("https://hooks.test/x?token=hunter2", "", &["secret-in-notify 9:32"]),
        ("https://hooks.test/x", ", headers: {Authorization: Bearer hunter2}", &["secret-in-notify 9:81"]),
        ("https://hooks.test/x", ", headers: {X-Api-Key: hunter2}", &["secret-in-notify 9:77"]),
        ("https://hooks.test/x", ", headers: {X-Team: shop}", &[]),
        (&format!("https://hooks.test/x?token={token}"), "", &["secret-in-notify 9:32"]),
        (slack, "", &[]),
    ] {
        let section = format!("x-balehook:\n  name: web\n  container: {{image: 'a.test/web:1', {QUIET}}}\n");
        let notify = format!("  notify:\n    - {{on: [failure], webhook: '{url}'{headers}}}\n");
        assert_eq!(found(&format!("{HEAD}{section}{notify}"), "").0, wanted, "{url} {headers}");
    }
}

#[test]
fn a_hook_that_ends_before_its_waits_is_found() {
    let with = |timeout: u32, keys: &str, rest: &str| {
        let hooks = HEAD.replace("300", &timeout.to_string());
        let section = format!("x-balehook:\n  name: web\n  container: {{image: 'a.test/web:1', {QUIET}, {keys}}}\n");
        found(&format!("{hooks}{section}{rest}"), "").0
    };
    let first = "ports: ['80:80'], update_config: {order: start-first, drain: 50s}";
    let health = "  health: {http: /, timeout: 60s}\n";
    assert_eq!(with(100, first, health), ["hook-too-short 4:3"]);
    assert_eq!(with(120, first, health), [""; 0]);
    let stable = "  health: {timeout: 60s, stable_for: 30s}\n";
    assert_eq!(with(31, "", stable), ["hook-too-short 8:11"]);
    let waits = |image: &str| {
        let section = format!("x-balehook: {{name: web, container: {{image: {image}, {QUIET}}}}}\n");
        found(&format!("{HEAD}{section}"), "").0
    };
    assert_eq!(waits("{reference: 'a.test/web:1', wait: 300s}"), ["hook-too-short 4:3"]);
    assert_eq!(waits("{reference: 'a.test/web:1', wait: 299s}"), [""; 0]);
    let scanned = "reference: '123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:1', wait: 200s";
    let scan = |wait: u32| format!("{{{scanned}, verify: {{ecr: {{max_severity: high, wait: {wait}s}}}}}}");
    assert_eq!(waits(&scan(100)), ["hook-too-short 4:3"]);
    assert_eq!(waits(&scan(99)), [""; 0]);
    let compose = "x-balehook: {name: shop, compose: {files: [app/compose.yml], wait_timeout: 400s}}\n";
    let file = format!("services: {{web: {{image: 'a:1', {QUIET}}}}}\n");
    assert_eq!(found(&format!("{HEAD}{compose}"), &file), (vec!["hook-too-short 4:3".to_owned()], vec![]));
}

#[test]
fn a_compose_file_is_read_service_by_service_at_its_own_lines() {
    let file = "services:
  web:
    image: nginx
    environment: {DB_PASSWORD: hunter2}
  db:
    image: postgres:16 # balehook: allow moving-tag
    restart: always
    privileged: true # balehook: allow privileged
    logging: {driver: local}
";
    let all = ["no-restart-policy 2:3", "no-log-rotation 2:3", "moving-tag 3:12", "secret-in-environment 4:32"];
    assert_eq!(of_compose(file), all);
}

#[test]
fn what_cannot_be_seen_in_a_compose_file_is_not_missed() {
    for file in [
        "x-all: &all {restart: always}\nservices: {web: {image: 'a:1', <<: *all}}\n",
        "services: {web: {image: 'a:1', extends: {file: b.yml, service: web}}}\n",
        "x-log: &log {driver: local}\nservices: {web: {image: '${IMAGE}', restart: always, logging: *log}}\n",
        "services: {web: {image: 'a:1', deploy: {restart_policy: {condition: any}}, logging: {driver: local}}}\n",
        "services: {web: {build: ., image: web, restart: always, logging: {driver: local}}}\n",
        "services: {[\n",
    ] {
        assert_eq!(of_compose(file), [""; 0], "{file}");
    }
    let once = format!(
        "services: {{migrate: {{image: 'a:1'}}, web: {{image: 'a:1', {QUIET}, depends_on: {{migrate: {{condition: service_completed_successfully}}}}}}}}\n"
    );
    assert_eq!(of_compose(&once), [""; 0], "migrate ends by itself");
}

#[test]
fn a_comment_of_the_file_allows_a_warning() {
    let text = format!(
        "{HEAD}x-balehook:\n  name: web\n  # balehook: allow no-restart-policy, no-log-rotation\n  container: # balehook: allow no-health-chek\n    image: a.test/web:1\n"
    );
    assert_eq!(found(&text, "").0, ["no-health-check 8:3", "unknown-rule 8:32"]);
}
