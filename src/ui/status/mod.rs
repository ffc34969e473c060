//! What was deployed, for a person and for programs.

mod deployed;
pub(crate) mod metrics;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::engine::facts::short_id;
use crate::modes::drift::Drift;
use crate::ui::changes;
pub(crate) use crate::ui::status::deployed::{
    Deployed, Health, LastCheck, LastFailure, NameStatus, Ports, ServiceStatus, Status, TaskStatus,
};
use crate::ui::text::utc;

pub(crate) fn text(all: &Deployed) -> String {
    let of_state = all.names.iter().map(|name| name.name.as_str());
    let of_engine = all.containers.iter().map(|container| container.name.as_str());
    let names = of_state.chain(of_engine).chain(all.services.iter().map(|service| service.name.as_str()));
    let names: BTreeSet<&str> = names.collect();
    let mut out: String = names.iter().map(|name| one(all, name)).collect();
    if names.is_empty() {
        out.push_str("nothing is deployed\n");
    }
    if all.is_worker {
        out.push_str("this node is a worker: `balehook status` on a manager shows the services of the swarm\n");
    }
    out
}

/// What is known of one name: a line that says how it is, and below it the rest.
fn one(all: &Deployed, name: &str) -> String {
    let known = all.names.iter().find(|known| known.name == name);
    let containers: Vec<&Status> = all.containers.iter().filter(|container| container.name == name).collect();
    let service = all.services.iter().find(|service| service.name == name);
    // What a service's own labels say is the truth of the whole swarm.
    let mut rest = known.filter(|_| service.is_none()).map(release).unwrap_or_default();
    containers.iter().for_each(|container| rest.extend(container_lines(container, known)));
    service.iter().for_each(|service| rest.extend(service_lines(service, known)));
    rest.extend(known.map(drift).unwrap_or_default());
    rest.extend(known.map(trouble).unwrap_or_default());
    let how = match all.stopped.iter().any(|stopped| stopped == name) {
        true => format!("stopped by hand: `balehook start {name}`"),
        false => how(known, &containers, service, all.is_worker),
    };
    let is_changed = known.is_some_and(|known| known.drift.as_ref().is_some_and(|drift| !drift.changes.is_empty()));
    let how = if is_changed { format!("{how}, changed by hand") } else { how };
    lines(&format!("{name}: {how}"), &rest)
}

/// How it is, in a few words.
fn how(known: Option<&NameStatus>, containers: &[&Status], service: Option<&ServiceStatus>, is_worker: bool) -> String {
    let bad = known.and_then(|known| known.health.as_ref()).map(|health| health.bad.is_some());
    let under_way = if known.is_some_and(|known| known.under_way) { ", a deployment is under way" } else { "" };
    if let Some(service) = service {
        return format!("{} of {} tasks run{under_way}", service.running, service.wanted);
    }
    let is_unmanaged = known.is_some_and(|known| known.drift.as_ref().is_some_and(Drift::is_unmanaged));
    let what = match (containers, bad) {
        ([], _) if is_unmanaged => "NOT the container that was deployed".to_owned(),
        ([], _) if is_worker => "no task on this node".to_owned(),
        ([], _) if known.is_none_or(|known| known.release.is_none()) => "not deployed".to_owned(),
        ([], _) => "does NOT run".to_owned(),
        (_, Some(true)) => "NOT healthy".to_owned(),
        (_, Some(false)) => "healthy".to_owned(),
        ([one], None) => one.state.clone(),
        (several, None) => {
            let running = several.iter().filter(|container| container.state == "running").count();
            format!("{running} of {} containers run", several.len())
        }
    };
    format!("{what}{under_way}")
}

type Lines = Vec<(&'static str, String)>;

fn release(known: &NameStatus) -> Lines {
    let more = if known.more_images > 0 { format!(" and {} more", known.more_images) } else { String::new() };
    let since = known.saved.as_deref().map(|at| format!(", healthy first at {}", minute(at))).unwrap_or_default();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let health = known.health.as_ref().map(|health| match &health.bad {
        None if health.answers.is_empty() => format!("{}: yes", health.asked),
        None => health.answers.join("; "),
        Some(why) => why.clone(),
    });
    vec![
        ("release", known.release.as_ref().map(|image| format!("{image}{more}")).unwrap_or_default()),
        ("deployment", known.deployment.as_ref().map(|id| format!("{id}{since}")).unwrap_or_default()),
        ("revision", text(&known.revision)),
        ("pinned", known.pinned.join(", ")),
        ("health", health.unwrap_or_default()),
    ]
}

/// What was changed by hand, and how it is taken back.
fn drift(known: &NameStatus) -> Lines {
    let Some(drift) = known.drift.as_ref().filter(|drift| !drift.changes.is_empty()) else { return Vec::new() };
    let since = known.deployment.as_deref().unwrap_or_default();
    let mut lines = vec![("drift", format!("since {since}:"))];
    let rows = changes::rows(&drift.changes);
    lines.extend(rows.iter().map(|row| ("", row.strip_prefix("  ").unwrap_or(row).to_owned())));
    lines.extend(drift.back.iter().map(|what| ("next", what.clone())));
    lines
}

/// What a person must know, and do.
fn trouble(known: &NameStatus) -> Lines {
    let name = &known.name;
    let failed = known
        .last_failure
        .as_ref()
        .map(|last| format!("{} failed at {}: {}: {}", last.deployment, minute(&last.at), last.event, last.cause));
    let next = known
        .last_failure
        .as_ref()
        .map(|last| format!("`balehook history {name} --deployment {}` says more", last.deployment));
    let killed = known.interrupted.as_ref().map(|deployment| format!("{deployment} was killed"));
    let resume = killed.as_ref().map(|_| format!("`balehook resume {name}` finishes or undoes what it began"));
    vec![
        ("last", failed.unwrap_or_default()),
        ("next", next.unwrap_or_default()),
        ("left", killed.unwrap_or_default()),
        ("next", resume.unwrap_or_default()),
    ]
}

/// `known`: what is said of the release already.
fn container_lines(status: &Status, known: Option<&NameStatus>) -> Lines {
    let health = status.health.as_ref().map(|health| format!(", {health}{}", last_check(status))).unwrap_or_default();
    let since = if status.state == "running" { format!(" since {}", minute(&status.started)) } else { String::new() };
    let is_said = known.is_some_and(|known| known.release.is_some());
    let unless_said = |value: Option<&String>| value.filter(|_| !is_said).cloned().unwrap_or_default();
    let container = format!("{} ({}) {}{health}{since}", status.container, short_id(&status.id), status.state);
    let (what, container) = match &status.service {
        Some(service) => ("service", format!("{service}: {container}")),
        None => ("container", container),
    };
    let image = readable(&unless_said(Some(&status.image)));
    let digest = readable(&unless_said(status.digest.as_ref()));
    let digest = if image.contains(&digest) { String::new() } else { digest };
    vec![
        (what, container),
        ("image", image),
        ("digest", digest),
        ("ports", ports(&status.ports)),
        ("deployment", unless_said(status.deployment.as_ref())),
        ("revision", unless_said(status.revision.as_ref())),
    ]
}

/// ` (exit code 1: cannot connect)`: what the HEALTHCHECK said last.
fn last_check(status: &Status) -> String {
    let said = status.last_check.as_ref().map(|last| match last.line.as_str() {
        "" => format!(" (exit code {})", last.exit_code),
        line => format!(" (exit code {}: {line})", last.exit_code),
    });
    said.unwrap_or_default()
}

/// `1 on host-a: running since 2026-01-01 00:00 UTC`.
fn task(task: &TaskStatus) -> String {
    let slot = task.slot.map(|slot| format!("{slot} ")).unwrap_or_default();
    let node = task.node.as_ref().map_or_else(|| "on no node".to_owned(), |node| format!("on {node}"));
    let error = task.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{slot}{node}: {} since {}{error}", task.state, minute(&task.since))
}

/// `known`: the release that this host saved, which may be older than what other managers deployed.
fn service_lines(status: &ServiceStatus, known: Option<&NameStatus>) -> Lines {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let release = known.filter(|known| known.deployment.is_some() && known.deployment == status.deployment);
    let release = release.and_then(|known| known.release.clone());
    let image = if release.is_some() { String::new() } else { readable(&status.image) };
    let mut lines = vec![
        ("release", release.unwrap_or_default()),
        ("service", format!("{} ({})", status.name, short_id(&status.id))),
        ("image", image),
        ("pinned", known.map(|known| known.pinned.join(", ")).unwrap_or_default()),
        ("update", text(&status.update)),
        ("ports", status.ports.join(" ")),
        ("deployment", text(&status.deployment)),
        ("revision", text(&status.revision)),
    ];
    lines.extend(status.tasks.iter().map(|it| ("task", task(it))));
    lines
}

/// An image with twelve digits of its digest.
fn readable(image: &str) -> String {
    let short = |digest: &str| format!("sha256:{}", digest.get(..12).unwrap_or(digest));
    match image.split_once("sha256:") {
        Some(("", digest)) => short(digest),
        Some((name, digest)) => format!("{} ({})", name.trim_end_matches('@'), short(digest)),
        None => image.to_owned(),
    }
}

/// `2026-11-27 20:31 UTC` of an RFC 3339 time.
fn minute(at: &str) -> String {
    utc(at, "%Y-%m-%d %H:%M UTC").unwrap_or_else(|| at.to_owned())
}

/// A first line, and below it what is known, by name.
fn lines(first: &str, rest: &Lines) -> String {
    let mut text = format!("{first}\n");
    for (what, value) in rest.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "  {what:<11}{value}");
    }
    text
}

fn ports(ports: &Ports) -> String {
    match ports {
        Ports::Published { ports } => ports.join(" "),
        Ports::SwitchedPorts { ports, address, open } => {
            let state = match open {
                Some(true) => "switched by the kernel",
                Some(false) => "NOT switched to it: `balehook resume` puts the rules right where it serves",
                None => "the kernel's rules cannot be read: run it there as root",
            };
            format!("{} at {address} ({state})", ports.join(" "))
        }
    }
}

/// `{format, names: […], containers: […], services: […], stopped: […], is_worker, is_well, is_interrupted}`.
pub(crate) fn json(all: &Deployed) -> serde_json::Value {
    let Deployed { names, containers, services, is_worker, stopped } = all;
    let format = crate::ui::json::FORMAT;
    serde_json::json!({
        "format": format,
        "names": names,
        "containers": containers,
        "services": services,
        "stopped": stopped,
        "is_worker": is_worker,
        "is_well": all.is_well(),
        "is_interrupted": all.is_interrupted(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::layout::Layout;
    use crate::values::options::{ChangeKind, OptionChange};

    fn web(ports: Ports) -> Status {
        Status {
            name: "web".into(),
            container: "web".into(),
            id: "a1".repeat(32),
            image: "web:1".into(),
            digest: None,
            state: "running".into(),
            health: Some("healthy".into()),
            last_check: None,
            service: None,
            started: "2026-01-01T00:00:00Z".into(),
            deployment: Some("d-1".into()),
            revision: None,
            ports,
        }
    }

    fn deployed(containers: Vec<Status>) -> Deployed {
        Deployed { names: Vec::new(), containers, services: Vec::new(), is_worker: false, stopped: Vec::new() }
    }

    fn known(name: &str, bad: Option<&str>) -> NameStatus {
        let asked = "GET /healthz answers 2xx or 3xx".to_owned();
        let answers = ["GET http://127.0.0.1:80/healthz: 200 OK: ready, in 3 ms".to_owned()];
        NameStatus {
            name: name.into(),
            release: Some("web:1.4.2 (sha256:0123456789ab)".into()),
            more_images: 0,
            digest: Some(format!("sha256:{}", "0123456789ab".repeat(6).get(..64).unwrap_or_default())),
            deployment: Some("d-1".into()),
            revision: Some("s3://releases/web.zip".into()),
            saved: Some("2026-01-01T00:00:05Z".into()),
            pinned: Vec::new(),
            drift: Some(Drift::default()),
            health: Some(Health { asked, answers: answers.to_vec(), bad: bad.map(str::to_owned) }),
            last_failure: None,
            interrupted: None,
            under_way: false,
        }
    }

    fn task(slot: u64, node: Option<&str>, state: &str, error: Option<&str>) -> TaskStatus {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let since = "2026-01-01T00:00:00Z".to_owned();
        TaskStatus { slot: Some(slot), node: text(node), state: state.to_owned(), since, error: text(error) }
    }

    fn published() -> Ports {
        Ports::Published { ports: vec!["0.0.0.0:80->8080/tcp".into()] }
    }

    #[test]
    fn a_release_is_named_by_its_tag_with_its_health_and_nothing_twice() {
        let all = Deployed { names: vec![known("web", None)], ..deployed(vec![web(published())]) };
        assert_eq!(
            text(&all),
            "web: healthy
  release    web:1.4.2 (sha256:0123456789ab)
  deployment d-1, healthy first at 2026-01-01 00:00 UTC
  revision   s3://releases/web.zip
  health     GET http://127.0.0.1:80/healthz: 200 OK: ready, in 3 ms
  container  web (a1a1a1a1a1a1) running, healthy since 2026-01-01 00:00 UTC
  ports      0.0.0.0:80->8080/tcp
"
        );
        assert_eq!((all.is_well(), all.is_interrupted()), (true, false));
    }

    #[test]
    fn what_does_not_answer_does_not_run_was_killed_or_failed_last_is_said_with_what_to_do() {
        let bad = "web was not healthy within 3s: http://127.0.0.1:80/healthz: it answered 500";
        let failed = LastFailure {
            deployment: "d-2".into(),
            at: "2026-01-02T10:00:00Z".into(),
            event: "ApplicationStart".into(),
            cause: "web exited with code 3".into(),
        };
        let sick =
            NameStatus { last_failure: Some(failed), interrupted: Some("d-3".into()), ..known("web", Some(bad)) };
        let pinned = vec!["web:1.4.1 (sha256:ab) of d-0".to_owned()];
        let gone = NameStatus { health: None, pinned, ..known("shop", None) };
        let all = Deployed { names: vec![sick, gone], ..deployed(vec![web(published())]) };
        let said = text(&all);
        assert!(said.starts_with("shop: does NOT run\n  release    web:1.4.2 "), "{said}");
        assert!(said.contains("  pinned     web:1.4.1 (sha256:ab) of d-0\n"), "{said}");
        assert!(said.contains("\nweb: NOT healthy\n") && said.contains(&format!("  health     {bad}\n")), "{said}");
        assert!(
            said.ends_with(
                "  last       d-2 failed at 2026-01-02 10:00 UTC: ApplicationStart: web exited with code 3
  next       `balehook history web --deployment d-2` says more
  left       d-3 was killed
  next       `balehook resume web` finishes or undoes what it began
"
            ),
            "{said}"
        );
        assert_eq!((all.is_well(), all.is_interrupted()), (false, true));
        let first_failed = NameStatus { release: None, health: None, ..known("web", None) };
        let all = Deployed { names: vec![first_failed], ..deployed(Vec::new()) };
        assert!(text(&all).starts_with("web: not deployed\n") && all.is_well(), "nothing was ever deployed");
    }

    fn change(kind: ChangeKind, name: &str, was: Option<&str>, becomes: Option<&str>) -> OptionChange {
        let (was, becomes) = (was.map(str::to_owned), becomes.map(str::to_owned));
        OptionChange { kind, service: None, name: name.into(), was, becomes, is_sensitive: false }
    }

    fn golden(name: &str) -> String {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn what_was_changed_by_hand_stands_in_a_plans_words_with_the_way_back_in_80_and_200_columns() {
        let mut changed = Drift {
            changes: vec![
                change(ChangeKind::Change, "mem_limit", Some("256M"), Some("512M")),
                change(ChangeKind::Add, "networks.front", None, Some("")),
                change(ChangeKind::Remove, "restart", Some("unless-stopped"), None),
            ],
            back: vec!["a deployment that changes anything creates the container anew, without this".into()],
        };
        changed.rules_are_gone(&["80->8080/tcp".into()]);
        let image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop/web:1.4.2 (sha256:0123456789ab)";
        let one = NameStatus { drift: Some(changed), release: Some(image.into()), ..known("web", None) };
        let by_service = |name: &str| OptionChange {
            service: Some(name.into()),
            ..change(ChangeKind::Change, "scale", Some("2"), Some("3"))
        };
        let of_project = Drift { changes: vec![by_service("api"), by_service("db")], back: Vec::new() };
        let project = NameStatus { drift: Some(of_project), health: None, ..known("shop", None) };
        let mut container = Status { service: Some("api".into()), name: "shop".into(), ..web(published()) };
        let line = "wget: server returned error: HTTP/1.1 503 Service Unavailable".to_owned();
        container.last_check = Some(LastCheck { exit_code: 1, at: "2026-01-01T00:00:00Z".into(), line });
        container.health = Some("unhealthy".into());
        let all = Deployed { names: vec![one, project], ..deployed(vec![web(published()), container]) };
        let narrow = Layout { width: Some(80), has_color: false };
        assert_eq!(narrow.lay_out(&text(&all)), golden("status.80.txt"));
        let wide = Layout { width: Some(200), has_color: false };
        assert_eq!(wide.lay_out(&text(&all)), golden("status.200.txt"));
        assert!(all.names.iter().all(|name| name.drift.is_some()) && !all.is_well(), "shop has an unhealthy container");
        assert_eq!(
            json(&all)["names"][0]["drift"]["changes"][0],
            serde_json::json!({"op": "change", "service": null, "option": "mem_limit", "key": null, "was": "256M",
                "becomes": "512M", "sensitive": false})
        );
    }

    #[test]
    fn a_service_is_shown_with_its_tasks_and_a_worker_says_where_to_ask() {
        let service = ServiceStatus {
            is_stopped: false,
            name: "web".into(),
            id: "b2".repeat(13),
            image: "registry.test/web:1@sha256:0123456789abcdef".into(),
            running: 1,
            wanted: 2,
            update: Some("updating".into()),
            deployment: Some("d-1".into()),
            revision: None,
            ports: vec!["80->8080/tcp".into()],
            tasks: vec![
                task(1, Some("host-a"), "running", None),
                task(2, Some("host-b"), "failed", Some("task: non-zero exit (3)")),
                task(3, None, "pending", Some("no suitable node (insufficient resources on 2 nodes)")),
            ],
        };
        let one = Deployed { services: vec![service], ..deployed(Vec::new()) };
        assert_eq!(
            text(&one),
            "web: 1 of 2 tasks run\n  service    web (b2b2b2b2b2b2)\n  image      registry.test/web:1 \
             (sha256:0123456789ab)\n  update     updating\n  ports      80->8080/tcp\n  deployment d-1
  task       1 on host-a: running since 2026-01-01 00:00 UTC
  task       2 on host-b: failed since 2026-01-01 00:00 UTC: task: non-zero exit (3)
  task       3 on no node: pending since 2026-01-01 00:00 UTC: no suitable node (insufficient resources on 2 nodes)\n"
        );
        assert_eq!((&json(&one)["services"][0]["running"], &json(&one)["is_well"]), (&1.into(), &false.into()));
        let stopped = Deployed { stopped: vec!["web".into()], names: vec![known("web", None)], ..deployed(Vec::new()) };
        assert!(text(&stopped).starts_with("web: stopped by hand: `balehook start web`\n"), "{}", text(&stopped));
        assert_eq!((&json(&stopped)["stopped"], stopped.is_well()), (&serde_json::json!(["web"]), true));
        let worker = text(&Deployed { is_worker: true, ..deployed(Vec::new()) });
        assert!(worker.starts_with("nothing is deployed\n") && worker.contains("on a manager"), "{worker}");
    }

    #[test]
    fn a_person_sees_the_ports_that_docker_ps_cannot_show_and_whether_they_lead_there() {
        let switched =
            |open| Ports::SwitchedPorts { ports: vec!["80->8080/tcp".into()], address: "198.18.200.2".into(), open };
        let text = text(&deployed(vec![web(switched(Some(true)))]));
        assert_eq!(
            text,
            "web: running\n  container  web (a1a1a1a1a1a1) running, healthy since 2026-01-01 00:00 UTC\n  image      web:1\n  \
             ports      80->8080/tcp at 198.18.200.2 (switched by the kernel)\n  deployment d-1\n"
        );
        assert!(ports(&switched(Some(false))).contains("NOT switched"));
    }

    #[test]
    fn a_program_reads_who_leads_the_ports() {
        let published = json(&deployed(vec![web(published())]));
        assert_eq!(
            published["containers"][0]["ports"],
            serde_json::json!({"by": "engine", "ports": ["0.0.0.0:80->8080/tcp"]})
        );
        let switched = Ports::SwitchedPorts { ports: vec![], address: "198.18.200.2".into(), open: Some(true) };
        assert_eq!(json(&deployed(vec![web(switched)]))["containers"][0]["ports"]["by"], "kernel");
        assert_eq!(text(&deployed(Vec::new())), "nothing is deployed\n");
    }
}
