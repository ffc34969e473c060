//! What is rare and must still be right: files without measure, secrets beside mistakes, slips that an agent ignores.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::problem::Severity;
use crate::config::validate::tests::{GOOD, check, check_with, refused, said};
use crate::config::verify::KeyPlace;
use crate::config::{ImageSource, Mode, Probe, Pull};

/// The good file with one text replaced.
#[track_caller]
fn with(from: &str, to: &str) -> String {
    let text = GOOD.replace(from, to);
    assert_ne!(text, GOOD, "{from}");
    text
}

#[track_caller]
fn refuses(from: &str, to: &str, wanted: &str) {
    let all = refused(&with(from, to));
    assert!(all.contains(wanted), "{to}:\n{all}");
}

#[track_caller]
fn warns(from: &str, to: &str, wanted: &str) {
    let checked = check(&with(from, to));
    let all = said(&checked.problems);
    assert!(all.contains(wanted) && checked.deployment.is_some(), "{to}:\n{all}");
}

#[test]
fn what_is_wrong_in_files_is_said_beside_what_is_wrong_in_hooks() {
    let text = refused(&with("ApplicationStart:", "AplicationStart:"));
    assert!(!text.contains("the agent refuses"), "{text}");
    let wrong = "os: windows\nfiles: [{source: a}]\npermissions: [{owner: root}]";
    let text = refused(&with("os: linux", wrong));
    for said in ["Linux hosts only", "missing field `destination`", "missing field `object`"] {
        assert!(text.contains(said), "{said}:\n{text}");
    }
}

#[test]
fn a_key_that_is_no_text_is_refused_in_our_section() {
    refuses("name: web", "name: web\n  ~: x", "a key must be a text, not nothing");
    refuses("name: web", "name: web\n  ? [a]\n  : x", "a key must be a text, not a list");
    refuses("    image: host.test/web:1", "    image: host.test/web:1\n    <<: *base", "error");
}

#[test]
fn an_alias_in_our_section_is_refused_with_its_place() {
    let text = GOOD.replace("os: linux", "os: linux\nx: &a web").replace("name: web", "name: *a");
    let all = refused(&text);
    assert!(all.contains("9:9: error: an alias (`*name`) is not allowed in this section"), "{all}");
}

#[test]
fn an_archive_that_cannot_be_read_from_there_is_told_what_can() {
    let image = "image: host.test/web:1";
    refuses(image, "image: s3://b1b/web.tar", "write `image: {archive: s3://b1b/web.tar}`");
    refuses(image, "image: web.tar", "write `image: {archive: web.tar}`");
    refuses(image, "image: {archive: 'https://x.test/web.tar'}", "archives are read from `s3://bucket/key`");
    refuses(image, "image: {archive: ''}", "must stay inside the bundle");
    refuses(image, "image: [a]", "expected a string, not a list");
    refuses(image, "image: ", "expected a string, not nothing");
}

#[test]
fn an_address_that_cannot_be_asked_is_refused() {
    for address in ["http://x:80", "a b:80", "x:0", "x:65536", "x:+80", "::1:80", "[::1]", "[x]:80", "80"] {
        refuses("name: web", &format!("name: web\n  health: {{tcp: '{address}'}}"), "is no address");
    }
    for address in ["http://", "http:///healthz", "ftp://x/", "/a b", ""] {
        refuses("name: web", &format!("name: web\n  health: {{http: '{address}'}}"), "is no address");
    }
}

#[test]
fn every_good_address_is_kept_as_it_was_written() {
    for address in ["127.0.0.1:5432", "[::1]:5432", ":5432", "db.internal:1"] {
        let text = GOOD.replace("name: web", &format!("name: web\n  health: {{tcp: '{address}'}}"));
        assert_eq!(check(&text).deployment.unwrap().health.probe, Probe::Tcp(address.into()));
    }
}

#[test]
fn a_slip_in_a_key_that_the_agents_ignore_is_said() {
    warns("timeout: 300", "timout: 300", "did you mean `timeout`?");
    warns("timeout: 300", "timeout: 300\n      run_as: root", "did you mean `runas`?");
    warns("os: linux", "os: linux\nx-balehok: {}", "did you mean `x-balehook`?");
    warns("os: linux", "os: linux\nBaleHook: {}", "did you mean `x-balehook`?");
    warns("os: linux", "os: linux\npermission: []", "did you mean `permissions`?");
}

#[test]
fn a_key_of_another_program_is_left_alone() {
    let text = GOOD.replace("os: linux", "os: linux\nx-team: payments\nResources: []");
    assert_eq!(said(&check(&text).problems), "");
}

#[test]
fn an_unquoted_mode_is_told_by_what_becomes_of_it() {
    let mode = |mode: &str| {
        said(&check(&with("os: linux", &format!("os: linux\npermissions: [{{object: /a, mode: {mode}}}]"))).problems)
    };
    assert!(mode("0644").contains("the number 420: the mode becomes 0420"));
    assert!(mode("0755").contains("the number 493: the deployment fails"));
    assert!(!mode("'0644'").contains("the v1 agent") && !mode("644").contains("the v1 agent"));
}

#[test]
fn only_what_yaml_takes_for_a_date_is_one() {
    for text in ["2020-01-01", "2020-1-9", "2020-01-01T10:00:00Z", "2020-01-01 1:02:03.5"] {
        assert!(is_date(text), "{text}");
    }
    for text in
        ["2020-13-01", "2020-01-32", "2020-01", "2020-01-01-rc1", "2020-01-01 released", "20-01-01", "", "2020-01-01T"]
    {
        assert!(!is_date(text), "{text}");
    }
}

#[test]
fn a_date_is_a_warning_outside_and_an_error_inside_our_section() {
    warns("os: linux", "os: linux\n2020-01-01: x", "unquoted date: 2020-01-01");
    refuses(
        "image: host.test/web:1",
        "image: host.test/web:1\n    labels: {2020-01-01: x}",
        "is a date for the v1 agent",
    );
    warns(
        "name: web",
        "name: web\n  x-built: \"2020-01-01\"\n  health: {http: 'http://127.0.0.1/'}\n  keep: 3\n  x-b: ${NO}",
        "NO is not set",
    );
}

#[test]
fn an_event_without_hooks_is_ignored_and_its_time_is_the_default() {
    let text = GOOD.replace("hooks:\n", "hooks:\n  AfterInstall:\n  ValidateService: []\n");
    let checked = check(&text);
    assert!(checked.problems.is_empty(), "{:?}", checked.problems);
    assert_eq!(checked.deployment.unwrap().timeout(LifecycleEvent::AfterInstall).as_secs(), 3600);
}

#[test]
fn the_times_of_one_event_are_added_up() {
    let second = "timeout: 300\n    - location: hooks/balehook\n      timeout: 3400";
    refuses("timeout: 300", second, "add up to 3700 s; CodeDeploy allows 3600 s");
}

#[test]
fn the_hooks_variables_reach_values_and_nothing_outside_our_section() {
    let text = GOOD.replace("os: linux", "os: linux\nx-other: ${NAME").replace("name: web", "name: ${NAME}-1");
    let checked = check_with(&text, &[("NAME", "api")]);
    assert_eq!(checked.deployment.unwrap().name.as_str(), "api-1");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_good_document_ends_in_the_very_values_it_was_made_of(
        name in "[a-z][a-z0-9_.-]{1,30}",
        tag in "[a-z0-9][a-z0-9_]{0,20}",
        keep in 1usize..=1000,
        timeout in 1u64..=300,
        interval in 100u64..=250,
        quoted: bool,
        flow: bool,
    ) {
        let quote = if quoted { "\"" } else { "" };
        let name_text = format!("\"{name}\"");
        let health = match flow {
            true => format!("  health: {{timeout: {timeout}s, interval: {interval}ms}}\n"),
            false => format!("  health:\n    timeout: {timeout}s\n    interval: {interval}ms\n"),
        };
        let text = GOOD.replace("name: web", &format!("name: {name_text}\n  keep: {quote}{keep}{quote}"))
            .replace("  container:", &format!("{health}  container:"))
            .replace("web:1", &format!("web:{tag}"));
        let checked = check(&text);
        let errors: Vec<_> = checked.problems.sorted().into_iter().filter(|p| p.severity == Severity::Error).collect();
        prop_assert!(errors.is_empty(), "{:?}", errors);
        let deployment = checked.deployment.unwrap();
        prop_assert_eq!((deployment.name.as_str(), deployment.keep), (name.as_str(), keep));
        prop_assert_eq!(deployment.health.timeout, Duration::from_secs(timeout));
        prop_assert_eq!(deployment.health.interval, Duration::from_millis(interval));
        let Mode::Container(container) = deployment.mode else { panic!("it is container mode") };
        prop_assert_eq!(container.image, ImageSource::Registry(format!("host.test/web:{tag}").parse().unwrap(), Pull::Always, None, Duration::ZERO));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("appspec.yml"), &bytes).unwrap();
        if let Ok(file) = crate::config::appspec::read(folder.path()) {
            let (deployment, problems) = validate(&file, &HookEnv::default());
            prop_assert_eq!(deployment.is_none(), problems.has_errors());
        }
    }
}

#[test]
fn what_verify_cannot_ask_for_is_refused_with_its_place_and_what_to_write() {
    let image = "image: host.test/web:1";
    let of = |verify: &str| format!("image: {{archive: /opt/web.tar, verify: {verify}}}");
    for (verify, wanted) in [
        ("{}", "`verify` asks for nothing"),
        ("{sha256: 'sha256:1'}", "has not 64 digits of 0-9 and a-f"),
        ("{sha256: SUMS}", "`SUMS` is not a file of the bundle"),
        ("{signature: /opt/web.sig}", "`key` is missing"),
        ("{key: /opt/a.pub}", "`signature` is missing"),
        ("{signature: 's3://bucket/b', key: /opt/a.pub}", "is in S3: it must be a file of the bundle or of the host"),
        ("{cosign: {key: /opt/a.pub}}", "`cosign` is for an image of a registry"),
        ("{ecr: {max_severity: low}}", "`ecr` is for an image of a registry"),
        ("{signature: /opt/web.sig, key: 'awskms:///alias/a'}", "which is asked for images of a registry alone"),
        ("{platform: arm64}", "`arm64` is no platform: write `linux/amd64` or `linux/arm64`"),
        ("{signature: appspec.yml, key: /opt/a.pub}", "is no signature (base64, DER or minisign is needed)"),
        (
            "{signature: /opt/web.sig, key: appspec.yml}",
            "is no public key, neither PEM (`BEGIN PUBLIC KEY`) nor minisign",
        ),
        ("{label: {a: b}}", "did you mean `labels`?"),
    ] {
        refuses(image, &of(verify), wanted);
    }
    let of = |verify: &str| format!("image: {{reference: 'host.test/web:1', verify: {verify}}}");
    refuses(image, &of("{sha256: appspec.yml}"), "`sha256` is for an archive");
    refuses(image, &of("{cosign: /opt/a.pub}"), "write `cosign: {key: /etc/balehook/cosign.pub}`");
    for (verify, wanted) in [
        ("{cosign: {key: 'awskms:///alias/'}}", "`awskms:///alias/` is no key of KMS: write `awskms:///alias/NAME`"),
        ("{cosign: {key: 'awskms:///arn:aws:s3:eu-west-1:1:key/a'}}", "is no key of KMS"),
        (
            "{cosign: {key: 'awskms://localhost:4566/alias/a'}}",
            "names the host localhost:4566: write `awskms:///alias/a`",
        ),
        ("{ecr: high}", "write `ecr: {max_severity: high}`"),
        ("{ecr: {wait: 2m}}", "`max_severity` is missing"),
        ("{ecr: {max_severity: hihg}}", "did you mean `high`?"),
        ("{ecr: {max_severity: high}}", "`host.test/web:1` is no image of ECR"),
    ] {
        refuses(image, &of(verify), wanted);
    }
    refuses(
        image,
        &image.replace("host.test/web:1", "{archive: /opt/a.tar, wait: 2m}"),
        "`wait` is for an image of a registry",
    );
    let waits = |how: &str| format!("image: {{reference: 'host.test/web:1', {how}}}");
    refuses(image, &waits("pull: never, wait: 2m"), "with `pull: never` no registry is asked");
    refuses(image, &waits("wait: 5"), "`5` needs a unit");
    let checked =
        check(&GOOD.replace(image, &of("{cosign: {key: /opt/a.pub}, labels: {a: b}, platform: linux/arm64}")));
    let deployment = checked.deployment.unwrap_or_else(|| panic!("{}", said(&checked.problems)));
    let Mode::Container(container) = deployment.mode else { panic!() };
    let asked = container.image.verify().unwrap().said(Path::new("/"));
    assert_eq!(asked, "cosign signature by /opt/a.pub, label a=b, platform linux/arm64");
    let ecr =
        "reference: '123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:1', wait: 2m, verify: {ecr: {max_severity: none}";
    let arn = "awskms:///arn:aws:kms:us-east-1:123456789012:key/mrk-1";
    let checked = check(&GOOD.replace(image, &format!("image: {{{ecr}, cosign: {{key: '{arn}'}}}}}}")));
    let deployment = checked.deployment.unwrap_or_else(|| panic!("{}", said(&checked.problems)));
    let Mode::Container(container) = deployment.mode else { panic!() };
    let asked = container.image.verify().unwrap();
    assert_eq!(asked.said(Path::new("/")), format!("cosign signature by {arn}, ECR scan with no finding"));
    let (id, region) = (arn.trim_start_matches("awskms:///").to_owned(), Some("us-east-1".to_owned()));
    assert_eq!(asked.cosign.as_ref().unwrap().place, KeyPlace::Kms { id, region });
    assert!(matches!(container.image, ImageSource::Registry(.., wait) if wait == Duration::from_secs(120)));
}
