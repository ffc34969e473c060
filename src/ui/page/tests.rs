#![allow(clippy::unwrap_used)]
use std::path::Path;

use crate::deploy::history::{DeploymentRecord, Details, Ended, EventRecord, StepRecord};
use crate::deploy::records_for_tests::{self, step};
use crate::ui::history::{Listed, Serving};
use crate::ui::page::{Made, page};
use crate::values::options::{ChangeKind, OptionChange};
use crate::values::types::LifecycleEvent;

fn change(kind: ChangeKind, name: &str, was: Option<&str>, becomes: Option<&str>) -> OptionChange {
    let (was, becomes) = (was.map(str::to_owned), becomes.map(str::to_owned));
    let is_sensitive = was.is_none() && becomes.is_none();
    OptionChange { kind, service: None, name: name.into(), was, becomes, is_sensitive }
}

fn event(event: LifecycleEvent, at: &str, ended: Ended) -> EventRecord {
    let details = Details { group: Some("production".into()), ..Details::default() };
    EventRecord { details, ..records_for_tests::event(event, at, ended) }
}

/// A deployment of two events, the second of which failed.
fn failed() -> DeploymentRecord {
    let imported = event(LifecycleEvent::AfterInstall, "10:04:10", Ended::Succeeded);
    let details = Details { left_out: 183_000_000, layers: (6, 7), ..imported.details.clone() };
    let steps = vec![step("load s3://releases/web-1.4.3.tar", 120, 3900), step("docker tag web:1.4.3", 4020, 30)];
    let imported = EventRecord { took_ms: 4100, moved: 10_100_000, steps, details, ..imported };
    let cause = "web exited with code 3".to_owned();
    let started = event(LifecycleEvent::ApplicationStart, "10:05:00", Ended::Failed { exit_code: 8, cause });
    let details = Details {
        compared_with: Some("release d-A1B2C3D4E".into()),
        changes: vec![
            change(ChangeKind::Change, "image", Some("web:1.4.2 (sha256:f0b672321a89)"), Some("web:1.4.3")),
            change(ChangeKind::Change, "environment.DB_PASSWORD", None, None),
            change(ChangeKind::Change, "mem_limit", Some("256M"), Some("512M")),
            change(ChangeKind::Add, "volumes", None, Some("/srv/data:/data:ro")),
            change(ChangeKind::Remove, "environment.FEATURE_X", Some("on"), None),
        ],
        health: vec!["web: GET http://127.0.0.1:80/healthz: cannot connect (9 times), asked 9 times in 1.1 s".into()],
        ..started.details.clone()
    };
    let check = StepRecord { failed: true, ..step("check health of web: GET /healthz answers 2xx or 3xx", 700, 1100) };
    let undo = StepRecord { is_undo: true, ..step("docker start web", 1850, 150) };
    let steps = vec![step("docker stop --time 5 web", 100, 600), check, undo];
    let console = ["[1/3] docker stop --time 5 web", "balehook: error: web exited with code 3 (exit code 8)"];
    let console = console.map(str::to_owned).to_vec();
    DeploymentRecord {
        format: 2,
        deployment: "d-BADBADBAD".into(),
        revision: "s3://releases/web.zip?versionId=7".into(),
        images: vec!["registry.example.com/shop/web:1.4.3 (sha256:ab85ca765248)".into()],
        events: vec![imported, EventRecord { took_ms: 2100, steps, console, details, ..started }],
    }
}

fn shown(record: DeploymentRecord, log: Option<&str>) -> String {
    let (name, serving) = ("web".parse().unwrap(), Serving::Deployment("d-A1B2C3D4E".into()));
    let deployments = vec![(2, record, log.is_some())];
    let made = Made { at: "2026-11-28T01:00:00Z".into(), host: "web-1".into() };
    let all = [Listed { name, deployments, serving, pinned: Vec::new(), is_locked: false }];
    page(&all, |_, _| log.map(|log| log.as_bytes().to_vec()), &made)
}

#[test]
fn golden_a_page_has_all_that_is_known_of_a_deployment() {
    let page = shown(failed(), Some("connecting to db:5432\ncannot find the database\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/deployment.html");
    if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(page, std::fs::read_to_string(&path).unwrap());
}

#[test]
fn a_script_in_a_name_a_step_a_log_or_an_option_is_text_and_no_secret_comes_through() {
    let planted = "</pre></td><script>alert(1)</script><img src=x onerror='alert(2)'>\u{1b}[31m \"DB_PASSWORD=hunter2secret\" postgres://app:hunter2secret@db/app ghp_0123456789abcdefghij";
    let mut record = failed();
    record.revision = planted.into();
    record.images = vec![planted.into()];
    for event in &mut record.events {
        event.steps.iter_mut().for_each(|step| step.step = planted.into());
        event.console = vec![planted.into()];
        event.details.health = vec![planted.into()];
        event.by = Some(planted.into());
        event.details.group = Some(planted.into());
        event.details.compared_with = Some(planted.into());
        let named = change(ChangeKind::Change, &format!("environment.{planted}"), Some(planted), Some(planted));
        event.details.changes = vec![named];
        if let Ended::Failed { cause, .. } = &mut event.ended {
            *cause = planted.into();
        }
    }
    let page = shown(record, Some(planted));
    for word in ["<script", "<img", "hunter2secret", "ghp_0123456789", "\u{1b}"] {
        assert!(!page.contains(word), "{word} in {page}");
    }
    assert!(page.matches("&lt;script&gt;alert(1)").count() > 15, "it is shown as text: {page}");
    assert_eq!(page.matches("<pre>").count(), page.matches("</pre>").count());
}

#[test]
fn nothing_is_asked_for_elsewhere_and_no_style_but_its_own_applies() {
    let page = shown(failed(), None);
    for word in ["<script", "<link", "<iframe", "src=", "href=", "url(", "@import", " style=", "http-equiv=\"refresh"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("default-src 'none'; style-src 'sha256-"), "{page}");
}

#[test]
fn a_record_of_an_older_version_makes_a_page_too_and_says_what_is_not_known() {
    let mut value = serde_json::to_value(failed()).unwrap();
    for event in value["events"].as_array_mut().unwrap() {
        event.as_object_mut().unwrap().remove("details").unwrap();
    }
    let page = shown(serde_json::from_value(value).unwrap(), None);
    assert!(page.contains("<td class=\"time\">10.1 MB</td><td class=\"time\">not known</td>"), "{page}");
    assert!(
        page.contains("the CodeDeploy agent") && !page.contains("Changed options") && !page.contains("Health"),
        "{page}"
    );
}
