//! What each command shows a person, at 80 and at 200 columns, and the same as JSON. `make golden` writes the screens anew.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::config::appspec::AppSpecText;
use crate::config::hook_env::HookEnv;
use crate::config::{lint, rules, validate};
use crate::deploy::command::Command;
use crate::deploy::history::{Details, Ended, EventRecord, StepRecord};
use crate::deploy::records_for_tests::{event, record, step};
use crate::error::{Failure, Kind};
use crate::modes::drift::Drift;
use crate::ui::doctor::{self, Row};
use crate::ui::explain;
use crate::ui::history::{self, Listed, Serving};
use crate::ui::json::failure;
use crate::ui::layout::Layout;
use crate::ui::problems::{self, Checked};
use crate::ui::status::{
    self, Deployed, Health, LastCheck, LastFailure, NameStatus, Ports, ServiceStatus, Status, TaskStatus,
};
use crate::values::options::{ChangeKind, OptionChange};
use crate::values::types::LifecycleEvent;

#[path = "../../tests/schemas/mod.rs"]
mod schemas;

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop/web:1.4.2";

fn name(name: &str) -> NameStatus {
    NameStatus {
        name: name.into(),
        release: Some(format!("{ECR} (sha256:0123456789ab)")),
        more_images: 0,
        digest: Some(format!("sha256:{}", "0123456789abcdef".repeat(4))),
        deployment: Some("d-A1B2C3D4E".into()),
        revision: Some(
            "s3://releases-of-the-shop-eu-west-1/web/2026-11-27/web-1.4.2.zip?versionId=3HL4kqtJlcpXro".into(),
        ),
        saved: Some("2026-11-27T20:31:07Z".into()),
        pinned: Vec::new(),
        drift: Some(Drift::default()),
        health: None,
        last_failure: None,
        interrupted: None,
        under_way: false,
    }
}

fn container(name: &str, container: &str, ports: Ports) -> Status {
    Status {
        name: name.into(),
        container: container.into(),
        id: "a1".repeat(32),
        image: format!("{ECR}@sha256:{}", "0123456789abcdef".repeat(4)),
        digest: Some(format!("sha256:{}", "0123456789abcdef".repeat(4))),
        state: "running".into(),
        health: Some("healthy".into()),
        last_check: None,
        service: None,
        started: "2026-11-27T20:31:05Z".into(),
        deployment: Some("d-A1B2C3D4E".into()),
        revision: Some("s3://releases/web-1.4.2.zip".into()),
        ports,
    }
}

fn published() -> Ports {
    Ports::Published { ports: ["80->8080/tcp", "443->8443/tcp"].map(|port| format!("0.0.0.0:{port}")).to_vec() }
}

fn switched(open: Option<bool>) -> Ports {
    Ports::SwitchedPorts { ports: vec!["80->8080/tcp".into()], address: "198.18.200.2".into(), open }
}

fn healthy(name: NameStatus, bad: Option<&str>) -> NameStatus {
    let asked = "GET http://127.0.0.1:80/healthz answers 2xx or 3xx".to_owned();
    NameStatus {
        health: Some(Health {
            asked,
            answers: vec!["GET http://127.0.0.1:80/healthz: 200 OK, in 3 ms".into()],
            bad: bad.map(str::to_owned),
        }),
        ..name
    }
}

fn service(name: &str, running: u64) -> ServiceStatus {
    ServiceStatus {
        name: name.into(),
        id: "b2".repeat(13),
        image: format!("{ECR}@sha256:{}", "0123456789abcdef".repeat(4)),
        running,
        is_stopped: false,
        wanted: 2,
        update: Some("rollback_completed".into()),
        deployment: Some("d-A1B2C3D4E".into()),
        revision: None,
        ports: vec!["80->8080/tcp".into()],
        tasks: tasks(),
    }
}

fn nothing() -> Deployed {
    Deployed { names: Vec::new(), containers: Vec::new(), services: Vec::new(), is_worker: false, stopped: Vec::new() }
}

fn drift() -> Drift {
    let back = vec!["a deployment that changes anything creates the container anew, without this".to_owned()];
    let mut drift = Drift { changes: details().changes, back };
    drift.rules_are_gone(&["80->8080/tcp".to_owned()]);
    drift
}

/// The tasks of a service, of which one does not start.
fn tasks() -> Vec<TaskStatus> {
    let task = |slot, node: Option<&str>, state: &str, error: Option<&str>| TaskStatus {
        slot,
        node: node.map(str::to_owned),
        state: state.into(),
        since: "2026-11-27T20:31:05Z".into(),
        error: error.map(str::to_owned),
    };
    let why = "No such image: registry.example.com/shop/web:1.4.2, which no node of the swarm can pull from there";
    vec![
        task(Some(1), Some("manager-eu-west-1a"), "running", None),
        task(Some(2), Some("worker-eu-west-1b"), "rejected", Some(why)),
        task(None, None, "pending", None),
    ]
}

/// A host with all three modes, and with all that can be wrong.
fn deployed() -> Deployed {
    let bad = "web was not healthy within 60 s: GET http://127.0.0.1:80/healthz: it answered 503 Service Unavailable";
    let cause = "api was not healthy within 60 s: GET http://127.0.0.1:81/healthz: nothing listens on 127.0.0.1:81";
    let last_failure = Some(LastFailure {
        deployment: "d-BADBADBAD".into(),
        at: "2026-11-27T21:00:00Z".into(),
        event: "ApplicationStart".into(),
        cause: cause.into(),
    });
    let line = "HTTP/1.1 200 OK".to_owned();
    let last_check = Some(LastCheck { exit_code: 0, at: "2026-11-27T20:40:00Z".into(), line });
    let under_way =
        NameStatus { drift: None, release: None, deployment: None, revision: None, saved: None, ..name("new") };
    Deployed {
        names: vec![
            NameStatus { drift: Some(drift()), pinned: vec!["d-A1B2C3D4E".into()], ..healthy(name("api"), None) },
            NameStatus { last_failure, ..healthy(name("failed"), Some(bad)) },
            NameStatus { interrupted: Some("d-KILLED123".into()), ..name("killed") },
            NameStatus { under_way: true, ..under_way },
            NameStatus { more_images: 2, ..healthy(name("project"), None) },
            name("service"),
            name("stopped"),
        ],
        containers: vec![
            container("api", "api", switched(Some(true))),
            container("failed", "failed", switched(None)),
            Status { health: None, state: "exited".into(), ..container("killed", "killed", switched(Some(false))) },
            Status {
                service: Some("db".into()),
                ..container("project", "project-db-1", Ports::Published { ports: Vec::new() })
            },
            Status { service: Some("web".into()), last_check, ..container("project", "project-web-1", published()) },
            container("unrecorded", "unrecorded", published()),
        ],
        services: vec![service("service", 1)],
        is_worker: false,
        stopped: vec!["stopped".into()],
    }
}

fn only(wanted: &str) -> Deployed {
    let mut all = deployed();
    all.names.retain(|known| known.name == wanted);
    all.containers.retain(|container| container.name == wanted);
    all.services.clear();
    all.stopped.clear();
    all
}

fn details() -> Details {
    let change = OptionChange {
        kind: ChangeKind::Change,
        service: None,
        name: "environment.LOG_LEVEL".into(),
        was: Some("debug".into()),
        becomes: Some("info".into()),
        is_sensitive: false,
    };
    Details {
        group: Some("production".into()),
        left_out: 183_000_000,
        layers: (6, 7),
        compared_with: Some("release d-A1B2C3D4E".into()),
        changes: vec![change],
        health: vec!["GET /healthz: 503 after 60 s".into()],
    }
}

fn failed() -> EventRecord {
    let cause = "web was not healthy within 60 s: GET http://127.0.0.1:80/healthz: it answered 503 Service Unavailable";
    let ended = Ended::Failed { exit_code: 8, cause: cause.into() };
    let create = format!("create container web.balehook-new from {ECR} (sha256:ab85ca765248)");
    let check =
        StepRecord { failed: true, ..step("check health of web: GET /healthz answers 2xx or 3xx", 1700, 60_000) };
    let undo = StepRecord { is_undo: true, ..step("docker start web", 61_900, 100) };
    let console = [
        "step 5 of 7 failed: check health of web: GET http://127.0.0.1:80/healthz answers 2xx or 3xx, each time within 5 s",
        "  web | 2026-11-27T21:00:03Z FATAL: the database at db.internal.example.com:5432 refuses the connection",
        "balehook: error: web was not healthy within 60 s (exit code 8)",
    ];
    EventRecord {
        took_ms: 62_000,
        down_ms: Some(60_900),
        steps: vec![step(&create, 100, 300), step("docker stop --time 10 web", 400, 900), check, undo],
        console: console.map(str::to_owned).to_vec(),
        details: details(),
        ..event(LifecycleEvent::ApplicationStart, "21:00:00", ended)
    }
}

fn listed() -> Vec<Listed> {
    use LifecycleEvent::{AfterInstall, ApplicationStart};
    let image = format!("{ECR} (sha256:0123456789ab)");
    let imported = EventRecord { moved: 1_310_100_000, ..event(AfterInstall, "20:30:00", Ended::Succeeded) };
    let started = EventRecord { down_ms: Some(840), ..event(ApplicationStart, "20:31:00", Ended::Succeeded) };
    let good = record("d-A1B2C3D4E", &[&image], vec![imported, started]);
    let bad = record("d-BADBADBAD", &["web:1.4.3 (sha256:ab85ca765248)", "db:1", "cache:2"], vec![failed()]);
    let back = EventRecord {
        by: Some("ana (uid 1000, by sudo)".into()),
        ..event(Command::Rollback, "21:30:00", Ended::Succeeded)
    };
    let back = record("rollback", &[&image], vec![back]);
    let killed = record("manual", &["image.tar"], vec![event(ApplicationStart, "22:00:00", Ended::NotYet { pid: 1 })]);
    let web = Listed {
        name: "web".parse().unwrap(),
        deployments: vec![(4, killed, false), (3, back, false), (2, bad, true), (1, good, false)],
        serving: Serving::Deployment("d-A1B2C3D4E".into()),
        pinned: vec![1],
        is_locked: false,
    };
    let first = record("d-FIRST0001", &["api:2"], vec![event(ApplicationStart, "22:01:00", Ended::NotYet { pid: 2 })]);
    let api = Listed {
        name: "api".parse().unwrap(),
        deployments: vec![(1, first, false)],
        serving: Serving::Nothing,
        pinned: Vec::new(),
        is_locked: true,
    };
    let lost = Listed {
        name: "lost".parse().unwrap(),
        deployments: Vec::new(),
        serving: Serving::NotKnown,
        pinned: Vec::new(),
        is_locked: false,
    };
    vec![web, api, lost]
}

fn one_deployment() -> Listed {
    let mut web = listed().remove(0);
    web.deployments.retain(|(number, _, _)| *number == 2);
    web
}

fn rows() -> Vec<Row> {
    vec![
        Row::ok("engine", "Docker 28.5.2 (API 1.51), overlay2 on /var/lib/docker, at unix:///var/run/docker.sock"),
        Row::warning(
            "log rotation",
            "container web writes json-file logs without a limit, and container worker too",
            "set \"log-opts\": {\"max-size\": \"10m\", \"max-file\": \"3\"} in /etc/docker/daemon.json, restart the engine \
             and deploy again",
        ),
        Row::problem(Kind::State, "leftovers", "web: deployment d-KILLED123 was killed", "`balehook resume web`"),
        Row::problem(
            Kind::Policy,
            "policy",
            "/etc/balehook/policies-of-the-whole-organisation/eu-west-1/production/shop/policy.yml:3:5: unknown key `mount`",
            "correct it",
        ),
        Row::not_known("IMDS", "nothing was heard for 4 s"),
    ]
}

fn checked() -> Checked {
    let text = format!(
        "version: 0.0\nos: linux\nhooks:\n  ApplicationStart:\n    - location: hooks/balehook\n      timeout: 30\n\
         x-balehook:\n  name: web\n  helth: {{http: /healthz}}\n  container:\n    image: {ECR}\n    env: {{A: b}}\n    \
         volumes: [/srv/data/of/the/shop/in/production:/var/lib/data, /var/run/docker.sock:/var/run/docker.sock, x:y:z:w]\n"
    );
    let file = AppSpecText { path: "/bundle/appspec.yml".into(), text, had_mark: false };
    let (deployment, problems) = validate::check(&file, &HookEnv::default());
    lint::appspec(&file, deployment.as_ref(), &problems);
    (file, problems)
}

/// Each screen with its text, which may depend on the width.
fn screens(width: usize) -> Vec<(&'static str, String)> {
    let rule = rules::find("no-log-rotation").unwrap();
    vec![
        ("status", status::text(&deployed())),
        ("status-name", status::text(&only("failed"))),
        ("status-worker", status::text(&Deployed { is_worker: true, ..only("killed") })),
        ("history", history::tables(&listed(), width)),
        ("history-deployment", history::timelines(&one_deployment(), width)),
        ("doctor", doctor::text(&rows())),
        ("check", problems::render_all(&[checked()])),
        ("explain", explain::list(&rules::all())),
        ("explain-rule", explain::rule(&rule)),
        ("explain-exit-code", explain::kind(Kind::Undo)),
    ]
}

#[test]
fn each_screen_reads_as_its_golden_file_at_80_and_at_200_columns_and_no_line_is_wider() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut wrong = Vec::new();
    for width in [80, 200] {
        for (name, text) in screens(width) {
            let printed = Layout { width: Some(width), has_color: false }.lay_out(&text);
            let path = folder.join(format!("screen-{name}.{width}.txt"));
            if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
                std::fs::write(&path, &printed).unwrap();
            }
            let is_same = std::fs::read_to_string(&path).is_ok_and(|wanted| wanted == printed);
            if !is_same || printed.lines().any(|line| line.chars().count() > width) {
                wrong.push(format!("{name} at {width}:\n{printed}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every form that a document has, by the command that prints it.
fn documents() -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("status", status::json(&deployed())),
        ("status", status::json(&nothing())),
        ("history", history::json(&listed())),
        ("history", history::json(&[])),
        ("doctor", doctor::json(&rows())),
        ("doctor", doctor::json(&[])),
        ("check", problems::json(&[checked()])),
        ("check", problems::json(&[])),
    ];
    let next = Failure::new(Kind::Engine, "the engine does not answer").next("start it");
    all.extend(schemas::COMMANDS.map(|command| (command, failure(&next))));
    all.extend(Kind::ALL.map(|kind| ("plan", failure(&Failure::new(kind, "why")))));
    all
}

#[test]
fn every_document_is_as_its_schema_says() {
    assert_eq!(schemas::refused(&documents()), Vec::<String>::new());
}

/// Every object of a document, as JSON pointers.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            fields.iter().for_each(|(key, inner)| objects(inner, &format!("{at}/{key}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, inner)| objects(inner, &format!("{at}/{index}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The fields that a document may lack: `skip_serializing_if` leaves them out.
const OPTIONAL: [&str; 5] = ["by", "down_ms", "details", "group", "compared_with"];

#[test]
fn a_field_that_comes_or_goes_in_any_object_is_refused_by_its_schema() {
    let mut changed = Vec::new();
    for (command, document) in documents().into_iter().take(9) {
        let mut places = Vec::new();
        objects(&document, "", &mut places);
        for place in places {
            let mut more = document.clone();
            more.pointer_mut(&place).unwrap()["surprise"] = json!(1);
            changed.push((command, more));
            let fields: Vec<String> = document.pointer(&place).unwrap().as_object().unwrap().keys().cloned().collect();
            for field in fields.iter().filter(|field| !OPTIONAL.contains(&field.as_str())) {
                let mut less = document.clone();
                less.pointer_mut(&place).unwrap().as_object_mut().unwrap().remove(field);
                changed.push((command, less));
            }
        }
    }
    let refused = schemas::refused(&changed);
    let refused: BTreeSet<usize> =
        refused.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    let taken: Vec<_> = (0..changed.len()).filter(|number| !refused.contains(number)).collect();
    assert!(changed.len() > 100, "{}", changed.len());
    assert!(taken.is_empty(), "{:#?}", taken.iter().map(|number| &changed[*number]).collect::<Vec<_>>());
}
