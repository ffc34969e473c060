//! What was deployed, for a person and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::engine::facts::short_id;

/// Everything that was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Deployed {
    /// Containers on this host.
    pub(crate) containers: Vec<Status>,
    /// Services of the swarm that this node manages.
    pub(crate) services: Vec<ServiceStatus>,
    /// It is in a swarm and manages none: it cannot know the services.
    pub(crate) is_worker: bool,
    /// Names that a person has stopped.
    pub(crate) stopped: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ServiceStatus {
    pub(crate) name: String,
    pub(crate) id: String,
    /// The image of its spec, with the digest.
    pub(crate) image: String,
    /// Tasks that run.
    pub(crate) running: u64,
    /// Tasks that should.
    pub(crate) wanted: u64,
    /// The last update: `completed`, `updating`, `paused`, `rollback_completed`, …
    pub(crate) update: Option<String>,
    pub(crate) deployment: Option<String>,
    pub(crate) revision: Option<String>,
    /// As `80->8080/tcp`.
    pub(crate) ports: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    pub(crate) name: String,
    pub(crate) container: String,
    pub(crate) id: String,
    /// The image as it was created from.
    pub(crate) image: String,
    pub(crate) digest: Option<String>,
    /// `running`, `exited`, …
    pub(crate) state: String,
    /// `healthy`, `unhealthy`, `starting`; none without a HEALTHCHECK.
    pub(crate) health: Option<String>,
    /// When it was started, RFC 3339.
    pub(crate) started: String,
    pub(crate) deployment: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) ports: Ports,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub(crate) enum Ports {
    /// By the engine: `docker ps` shows them too.
    #[serde(rename = "engine")]
    Published { ports: Vec<String> },
    /// By the kernel: `docker ps` cannot show them.
    #[serde(rename = "kernel")]
    SwitchedPorts {
        /// As `80->8080/tcp`.
        ports: Vec<String>,
        /// The container's address on our network.
        address: String,
        /// Whether the rules lead to this container; none where the tables cannot be read.
        open: Option<bool>,
    },
}

pub(crate) fn text(all: &Deployed) -> String {
    let containers: String = all.containers.iter().map(one).collect();
    let services: String = all.services.iter().map(service).collect();
    let nothing = if containers.is_empty() && services.is_empty() { "nothing is deployed\n" } else { "" };
    let worker = "this node is a worker: `balehook status` on a manager shows the services of the swarm\n";
    let stopped =
        all.stopped.iter().map(|name| format!("{name} was stopped by hand and stays so: balehook start {name}\n"));
    let stopped: String = stopped.collect();
    format!("{containers}{services}{nothing}{stopped}{}", if all.is_worker { worker } else { "" })
}

fn one(status: &Status) -> String {
    let health = status.health.as_ref().map(|health| format!(", {health}")).unwrap_or_default();
    let since = if status.state == "running" { format!(" since {}", status.started) } else { String::new() };
    lines(
        &format!("{}: {}{health}{since}", status.name, status.state),
        &[
            ("container", &format!("{} ({})", status.container, short_id(&status.id))),
            ("image", &status.image),
            ("digest", status.digest.as_deref().unwrap_or_default()),
            ("ports", &ports(&status.ports)),
            ("deployment", status.deployment.as_deref().unwrap_or_default()),
            ("revision", status.revision.as_deref().unwrap_or_default()),
        ],
    )
}

fn service(status: &ServiceStatus) -> String {
    lines(
        &format!("{}: {} of {} tasks run", status.name, status.running, status.wanted),
        &[
            ("service", &format!("{} ({})", status.name, short_id(&status.id))),
            ("image", &status.image),
            ("update", status.update.as_deref().unwrap_or_default()),
            ("ports", &status.ports.join(" ")),
            ("deployment", status.deployment.as_deref().unwrap_or_default()),
            ("revision", status.revision.as_deref().unwrap_or_default()),
        ],
    )
}

/// A first line, and below it what is known, by name.
fn lines(first: &str, rest: &[(&str, &str)]) -> String {
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
                None => "the kernel's rules cannot be read: run it as root",
            };
            format!("{} at {address} ({state})", ports.join(" "))
        }
    }
}

/// `{format, containers: […], services: […], stopped: […], is_worker}`.
pub(crate) fn json(all: &Deployed) -> serde_json::Value {
    let Deployed { containers, services, is_worker, stopped } = all;
    let format = crate::ui::json::FORMAT;
    serde_json::json!({
        "format": format, "containers": containers, "services": services, "stopped": stopped, "is_worker": is_worker,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(ports: Ports) -> Status {
        Status {
            name: "web".into(),
            container: "web".into(),
            id: "a1".repeat(32),
            image: "web:1".into(),
            digest: None,
            state: "running".into(),
            health: Some("healthy".into()),
            started: "2026-01-01T00:00:00Z".into(),
            deployment: Some("d-1".into()),
            revision: None,
            ports,
        }
    }

    fn deployed(containers: Vec<Status>) -> Deployed {
        Deployed { containers, services: Vec::new(), is_worker: false, stopped: Vec::new() }
    }

    #[test]
    fn a_service_is_shown_with_its_tasks_and_a_worker_says_where_to_ask() {
        let service = ServiceStatus {
            name: "web".into(),
            id: "b2".repeat(13),
            image: "registry.test/web:1@sha256:12".into(),
            running: 1,
            wanted: 2,
            update: Some("updating".into()),
            deployment: Some("d-1".into()),
            revision: None,
            ports: vec!["80->8080/tcp".into()],
        };
        let one = Deployed { services: vec![service], ..deployed(Vec::new()) };
        assert_eq!(
            text(&one),
            "web: 1 of 2 tasks run\n  service    web (b2b2b2b2b2b2)\n  image      registry.test/web:1@sha256:12\n  \
             update     updating\n  ports      80->8080/tcp\n  deployment d-1\n"
        );
        assert_eq!(json(&one)["services"][0]["running"], 1);
        let stopped = Deployed { stopped: vec!["web".into()], ..deployed(Vec::new()) };
        assert!(text(&stopped).ends_with("web was stopped by hand and stays so: balehook start web\n"));
        assert_eq!(json(&stopped)["stopped"], serde_json::json!(["web"]));
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
            "web: running, healthy since 2026-01-01T00:00:00Z\n  container  web (a1a1a1a1a1a1)\n  image      web:1\n  \
             ports      80->8080/tcp at 198.18.200.2 (switched by the kernel)\n  deployment d-1\n"
        );
        assert!(one(&web(switched(Some(false)))).contains("NOT switched"));
    }

    #[test]
    fn a_program_reads_who_leads_the_ports() {
        let published = json(&deployed(vec![web(Ports::Published { ports: vec!["0.0.0.0:80->80/tcp".into()] })]));
        assert_eq!(
            published["containers"][0]["ports"],
            serde_json::json!({"by": "engine", "ports": ["0.0.0.0:80->80/tcp"]})
        );
        let switched = Ports::SwitchedPorts { ports: vec![], address: "198.18.200.2".into(), open: Some(true) };
        assert_eq!(json(&deployed(vec![web(switched)]))["containers"][0]["ports"]["by"], "kernel");
        assert_eq!(text(&deployed(Vec::new())), "nothing is deployed\n");
    }
}
