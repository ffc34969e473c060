//! The whole file: rules one by one, the rendering of many problems, and files made by chance.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::config::problem::Severity;
use crate::config::{ArchiveLocation, ImageSource, Mode, Probe};

pub(crate) const GOOD: &str = "version: 0.0
os: linux
hooks:
  ApplicationStart:
    - location: hooks/balehook
      timeout: 300
x-balehook:
  name: web
  container:
    image: host.test/web:1
";

pub(crate) struct Checked {
    pub(crate) file: AppSpecText,
    pub(crate) deployment: Option<Deployment>,
    pub(crate) problems: Problems,
}

pub(crate) fn check_with(text: &str, env: &[(&str, &str)]) -> Checked {
    let bundle = tempfile::tempdir().unwrap();
    std::fs::create_dir(bundle.path().join("hooks")).unwrap();
    std::fs::write(bundle.path().join("hooks/balehook"), "").unwrap();
    let path = bundle.path().join("appspec.yml");
    std::fs::write(&path, text).unwrap();
    let file = crate::config::appspec::read(&path).unwrap();
    let env = HookEnv::from_vars(env.iter().map(|(name, value)| (name.into(), value.into())));
    let (deployment, problems) = validate(&file, &env);
    Checked { file, deployment, problems }
}

pub(crate) fn check(text: &str) -> Checked {
    check_with(text, &[])
}

/// `line:column: severity: message; help` for each problem.
pub(crate) fn said(problems: &Problems) -> String {
    let each = problems.sorted().into_iter().map(|problem| {
        let severity = if problem.severity == Severity::Error { "error" } else { "warning" };
        let help = problem.help.unwrap_or_default();
        format!("{}: {severity}: {}; {help}\n", problem.place, problem.message)
    });
    each.collect()
}

/// What is said of a file that must not be deployed.
#[track_caller]
pub(crate) fn refused(text: &str) -> String {
    let checked = check(text);
    assert!(checked.deployment.is_none(), "{text}");
    said(&checked.problems)
}

#[test]
fn what_an_agent_refuses_is_refused_here_with_its_place() {
    for (from, to, wanted) in [
        ("version: 0.0", "version: \"0.0\"", "1:10: error: the version must be the number 0.0, not the text \"0.0\""),
        ("version: 0.0\n", "", "`version` is missing"),
        ("os: linux", "os: windows", "2:5: error: balehook deploys on Linux hosts only"),
        ("os: linux\n", "", "`os` is missing"),
        (
            "timeout: 300",
            "timeout: \"300\"",
            "6:16: error: expected a whole number of seconds above 0, not the text \"300\"",
        ),
        ("timeout: 300", "timeout: 0", "expected a whole number of seconds above 0, not `0`"),
        ("timeout: 300", "timeout: 4000", "add up to 4000 s; CodeDeploy allows 3600 s"),
        (
            "ApplicationStart:",
            "AplicationStart:",
            "4:3: error: `AplicationStart` is no lifecycle event; did you mean `ApplicationStart`?",
        ),
        ("ApplicationStart:", "Install:", "CodeDeploy keeps that event for itself"),
        (
            "    - location: hooks/balehook\n      timeout: 300\n",
            "    location: hooks/balehook\n",
            "both agents refuse the file",
        ),
        ("hooks/balehook", "hooks/nothing", "`hooks/nothing` is not in the bundle"),
        ("timeout: 300", "timeout: 300\n      sudo: true", "use `runas: root`"),
        ("os: linux", "os: linux\nos: linux", "stands here a second time (first at 2:1)"),
        ("os: linux", "os: linux\nfiles: [{source: a}]", "missing field `destination`"),
        ("name: web", "name: web\n---\na: b", "a second YAML document starts here"),
        ("name: web", "name: *anchor", "error: "),
    ] {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD);
        let all = refused(&text);
        assert!(all.contains(wanted), "{to}:\n{all}");
    }
}

#[test]
fn what_would_surprise_is_a_warning_and_does_not_stop_a_deployment() {
    for (from, to, wanted) in [
        ("os: linux", "os: linux\npermissions: [{object: /a, mode: 0644}]", "the mode becomes 0420"),
        ("os: linux", "os: linux\nreleased: 2020-01-01", "the v1 agent refuses a file with an unquoted date"),
        ("os: linux", "os: linux\nx: &a 1\ny: *a", "the v1 agent refuses a file with an alias"),
        ("os: linux", "os: linux\nhook: {}", "did you mean `hooks`?"),
        ("os: linux", "os: linux\nx_balehook: {}", "did you mean `x-balehook`?"),
        ("web:1", "web", "means another image every other day"),
        ("ApplicationStart:", "AfterInstall:", "no hook for ApplicationStart"),
        ("timeout: 300", "timeout: 50", "the health check alone may take 60s"),
        ("name: web", "name: web\n  x-note: ${NOWHERE}", "variable NOWHERE is not set"),
        ("version", "\u{feff}version", "byte-order mark"),
    ] {
        let text = GOOD.replace(from, to).replace("name: web\n  x-note", "name: web\n  health: {}\n  x-note");
        let checked = check(&text);
        let all = said(&checked.problems);
        assert!(all.contains(wanted) && all.contains("warning"), "{to}:\n{all}");
        assert!(checked.deployment.is_some(), "{to}:\n{all}");
    }
}

#[test]
fn our_section_refuses_what_it_does_not_know() {
    for (from, to, wanted) in [
        ("x-balehook:", "x-other:", "`x-balehook` is missing"),
        ("  name: web\n", "", "`name` is missing"),
        ("name: web", "name: -web", "`-web` must start with a letter or a digit"),
        ("name: web", "name: web\n  helth: {}", "9:3: error: unknown key `helth`"),
        ("  container:\n    image: host.test/web:1\n", "", "`container`, `compose` or `swarm` is missing"),
        ("  container:", "  swarm: {}\n  container:", "`container` and `swarm` exclude each other"),
        ("    image: host.test/web:1", "    hostname: a", "`image` is missing"),
        ("image: host.test/web:1", "image: {archive: ../x.tar}", "must stay inside the bundle"),
        ("image: host.test/web:1", "image: {archive: 's3://b'}", "must name a key behind the bucket"),
        ("image: host.test/web:1", "image: {archive: x.tar, id: abc}", "must start with `sha256:`"),
        ("image: host.test/web:1", "image: {pull: never}", "`archive`, `reference` or `definitions` is missing"),
        ("image: host.test/web:1", "image: {archive: x.tar, pull: never}", "`pull` is for an image of a registry"),
        ("image: host.test/web:1", "image: {reference: web:1, pull: daily}", "always"),
        ("image: host.test/web:1", "image: {reference: web:1, id: x}", "name the digest: `reference: web@sha256:…`"),
        ("name: web", "name: web\n  keep: 0", "expected a whole number from 1, not `0`"),
        ("name: web", "name: web\n  health: {http: 'x'}", "is no address"),
        ("name: web", "name: web\n  health: {tcp: 'x'}", "is no address"),
        ("name: web", "name: web\n  health: {http: /, tcp: ':80'}", "exclude each other"),
        ("name: web", "name: web\n  health: {interval: 5s}", "must be from 100ms to 250ms"),
        ("name: web", "name: web\n  health: {timeout: 5s, stable_for: 5s}", "leaves nothing of the timeout"),
        ("name: web", "name: ${NAME:?set NAME}", "variable NAME is required: set NAME"),
        ("name: web", "name: 2020-01-01", "is a date for the v1 agent"),
    ] {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD);
        let all = refused(&text);
        assert!(all.contains(wanted), "{to}:\n{all}");
    }
}

#[test]
fn a_file_that_is_no_mapping_or_too_deep_is_refused_quickly() {
    for (text, wanted) in [
        ("", "the file is empty"),
        ("- a", "the file must be a mapping, not a list"),
        ("a: [", "error"),
        (&"[".repeat(20_000), "nested deeper than 64 levels"),
        (&format!("a: {}", "{b: ".repeat(100)), "nested deeper than 64 levels"),
        (
            &(0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>(),
            "nested deeper than 64 levels",
        ),
    ] {
        assert!(refused(text).contains(wanted), "{wanted}: {}", refused(text));
    }
}

#[test]
fn a_good_file_is_read_with_every_value() {
    let text = GOOD.replace(
        "image: host.test/web:1",
        "image: {archive: image/web.tar, reference: 'web:${VERSION:-1}'}\n    ports: ['80:80']\n  health: {http: /healthz, timeout: 90s, stable_for: 2s, interval: 250ms}\n  keep: 5",
    );
    let checked = check_with(&text, &[("VERSION", "1.4.2")]);
    let deployment = checked.deployment.unwrap_or_else(|| panic!("{:?}", checked.problems));
    assert_eq!((deployment.name.as_str(), deployment.keep), ("web", 5));
    assert_eq!(deployment.health.probe, Probe::Http("/healthz".into()));
    assert_eq!((deployment.health.timeout.as_secs(), deployment.health.stable_for.as_secs()), (90, 2));
    assert_eq!(deployment.timeout(LifecycleEvent::ApplicationStart).as_secs(), 300);
    assert_eq!(deployment.timeout(LifecycleEvent::AfterInstall).as_secs(), 3600);
    let Mode::Container(container) = deployment.mode else { panic!("it is container mode") };
    let ImageSource::Archive { location: ArchiveLocation::File(path), reference, id: None, verify: None } =
        container.image
    else {
        panic!("{:?}", container.image)
    };
    assert_eq!(path, checked.file.bundle_root().join("image/web.tar"));
    assert_eq!(reference.unwrap().to_string(), "web:1.4.2");
}

proptest! {
    #[test]
    fn any_text_ends_in_a_deployment_or_in_an_error(text in "[ \\na-z:{}\\[\\]'\"&*|>#%@!?,$0-9-]{0,200}") {
        let checked = check(&text);
        prop_assert_eq!(checked.deployment.is_none(), checked.problems.has_errors());
    }

    #[test]
    fn a_good_file_with_one_line_replaced_ends_in_a_deployment_or_in_an_error(line in 0usize..10, text in "[ a-z:{}\\[\\]'&*$0-9-]{0,40}") {
        let mut lines: Vec<&str> = GOOD.lines().collect();
        lines[line] = &text;
        let checked = check(&lines.join("\n"));
        prop_assert_eq!(checked.deployment.is_none(), checked.problems.has_errors());
    }
}

/// The file, with what is in its bundle.
fn with_files(section: &str, files: &[(&str, &str)], env: &[(&str, &str)]) -> (Option<Deployment>, String) {
    let bundle = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| std::fs::write(bundle.path().join(name), text).unwrap());
    let text = format!("version: 0.0\nos: linux\nx-balehook:\n  name: web\n{section}");
    let file = AppSpecText { path: bundle.path().join("appspec.yml"), text, had_mark: false };
    let env = HookEnv::from_vars(env.iter().map(|(name, value)| (name.into(), value.into())));
    let (deployment, problems) = validate(&file, &env);
    (deployment, said(&problems))
}

const BUILT: &str =
    "  variables: [build.env]\n  container: {image: \"host.test/web:${TAG}\", hostname: \"${HOSTNAME}\"}\n";

#[test]
fn a_variable_that_no_file_of_the_build_sets_is_named_with_its_place() {
    let (deployment, problems) = with_files(BUILT, &[("build.env", "OTHER=1")], &[]);
    assert!(problems.contains("6:22: warning: variable TAG is not set"), "{problems}");
    assert!(deployment.is_none(), "a reference that ends with a colon is none");
    let (_, problems) = with_files(BUILT, &[], &[]);
    assert!(problems.contains("5:15: error: build.env is not in the bundle; write it in the build"), "{problems}");
}

#[test]
fn files_of_the_build_give_the_sections_variables_and_the_hooks_own_go_before_them() {
    let file = [("build.env", "TAG=1.4.2\nHOSTNAME=built\n")];
    let (deployment, problems) = with_files(BUILT, &file, &[("HOSTNAME", "hooked")]);
    let deployment = deployment.unwrap_or_else(|| panic!("{problems}"));
    let Mode::Container(container) = &deployment.mode else { panic!() };
    assert_eq!(container.image.written(&deployment.bundle_root), "host.test/web:1.4.2");
    assert_eq!(container.service.body.hostname.as_deref(), Some("hooked"));
    assert_eq!(deployment.variable("TAG", None).as_deref(), Some("1.4.2"), "for the Compose file and env files");
    assert!(!format!("{deployment:?}").contains("built"), "a value is never shown");
}

#[test]
fn the_image_of_a_pipelines_definitions_is_taken_and_excludes_another_one() {
    let files = [("imagedefinitions.json", r#"[{"name": "web", "imageUri": "host.test/web:1.4.2"}]"#)];
    let named = "  container: {image: {definitions: imagedefinitions.json, name: web, pull: missing}}\n";
    let (deployment, problems) = with_files(named, &files, &[]);
    let deployment = deployment.unwrap_or_else(|| panic!("{problems}"));
    assert_eq!(deployment.source(), "host.test/web:1.4.2 (pull: missing)");
    let both = named.replace("name: web", "archive: image.tar");
    let (deployment, problems) = with_files(&both, &files, &[]);
    assert!(deployment.is_none());
    assert!(problems.contains("`definitions` names the image already"), "{problems}");
}

const COMPOSE: &str = "version: 0.0\nos: linux\nx-balehook:\n  name: shop\n  compose:\n    files: [app/compose.yml]\n";

fn compose(text: &str) -> (Option<crate::config::Deployment>, String) {
    let bundle = tempfile::tempdir().unwrap();
    for file in ["app/compose.yml", "app/web.env", "other.yml", "top/compose.yaml", "top/compose.override.yaml"] {
        let path = bundle.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    let file = AppSpecText { path: bundle.path().join("appspec.yml"), text: text.into(), had_mark: false };
    let (deployment, problems) = validate(&file, &HookEnv::default());
    (deployment, said(&problems))
}

#[test]
fn a_compose_section_is_read_with_the_defaults_of_compose() {
    let read = |text: &str| match compose(text) {
        (Some(crate::config::Deployment { mode: Mode::Compose(compose), .. }), _) => compose,
        (_, said) => panic!("{said}"),
    };
    let plain = read(COMPOSE);
    assert!(plain.directory.ends_with("app") && plain.files == [std::path::PathBuf::from("compose.yml")]);
    assert_eq!(plain.wait_timeout.as_secs(), 60);
    let full = read(
        &COMPOSE.replace("files: [app/compose.yml]", "directory: top\n    profiles: [a, b]\n    wait_timeout: 2m"),
    );
    let files = ["compose.yaml", "compose.override.yaml"].map(std::path::PathBuf::from);
    assert_eq!((full.files.as_slice(), full.profiles.len(), full.wait_timeout.as_secs()), (files.as_slice(), 2, 120));
    let env = read(
        &COMPOSE.replace("files: [", "env_file: app/web.env\n    images: {web: {archive: web.tar}}\n    files: ["),
    );
    assert_eq!((env.env_file.len(), env.images.len()), (1, 1));
    let values = "env_file: ['ssm:///prod/shop/', app/web.env, 'secretsmanager://prod/shop']\n    \
                  environment: {LEVEL: info, DB: {ssm: /prod/db}, UNSET: }";
    let fetching = read(&COMPOSE.replace("files: [", &format!("{values}\n    files: [")));
    let many: Vec<String> = fetching.fetched.iter().map(ToString::to_string).collect();
    assert_eq!(many, ["ssm:///prod/shop/", "secretsmanager://prod/shop"]);
    assert_eq!(fetching.env_file, [std::path::PathBuf::from("web.env")]);
    let named = |var: &crate::values::types::EnvVar| (var.name.clone(), var.source().is_some());
    let variables: Vec<_> = fetching.environment.iter().map(named).collect();
    assert_eq!(variables, [("LEVEL".to_owned(), false), ("DB".to_owned(), true)]);
}

#[test]
fn a_compose_section_refuses_all_that_is_wrong_at_once() {
    for (from, to, wanted) in [
        ("name: shop", "name: Shop", "`Shop` is no name of a Compose project"),
        ("name: shop", "name: sh.op", "`sh.op` is no name of a Compose project"),
        ("app/compose.yml", "app/none.yml", "`app/none.yml` is not a file of the bundle"),
        ("app/compose.yml", "../x.yml", "must stay inside the bundle"),
        ("app/compose.yml", "s3://bucket/x.yml", "is in S3"),
        ("[app/compose.yml]", "[app/compose.yml, other.yml]", "`other.yml` lies outside the project's folder `app`"),
        ("files: [app/compose.yml]", "directory: none", "`none` is not a folder of the bundle"),
        ("files: [app/compose.yml]", "directory: .", "there is no compose.yaml or docker-compose.yml"),
        ("files:", "profiles: ['-x']\n    files:", "is no name of a profile"),
        ("files:", "images: [web]\n    files:", "expected a mapping, not a list"),
        ("files:", "images: {web: Bad:1}\n    files:", "Bad:1"),
        ("files:", "wait_timeout: 0s\n    files:", "must be from 1s to 3600s"),
        ("files:", "env_file: none.env\n    files:", "`none.env` is not a file of the bundle"),
        ("files:", "env_file: 'ssm://none'\n    files:", "`ssm://none` is no path of parameters"),
        ("files:", "environment: {A: {smm: /a}}\n    files:", "did you mean `ssm`?"),
        ("files:", "environment: {COMPOSE_PROFILES: a}\n    files:", "`COMPOSE_PROFILES` is a setting of Compose"),
        ("files:", "environment: [DOCKER_HOST=a]\n    files:", "`DOCKER_HOST` is a setting of Compose"),
        ("files:", "fils: [x]\n    files:", "did you mean `files`?"),
        ("  compose:", "  before: [{name: t, command: [a]}]\n  compose:", "`service` is missing"),
        ("  compose:", "  container: {image: 'a/b:1'}\n  compose:", "`container` and `compose` exclude each other"),
    ] {
        let (deployment, problems) = compose(&COMPOSE.replacen(from, to, 1));
        assert!(problems.contains(wanted) && deployment.is_none(), "{to}:\n{problems}");
    }
    let (_, both) = compose(&COMPOSE.replace("app/compose.yml", "none.yml").replace("name: shop", "name: Shop"));
    assert_eq!(both.matches(": error: ").count(), 2, "{both}");
}
