//! What was deployed, for a person and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::engine::facts::short_id;

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

pub(crate) fn text(all: &[Status]) -> String {
    if all.is_empty() {
        return "nothing is deployed\n".into();
    }
    all.iter().map(one).collect()
}

fn one(status: &Status) -> String {
    let mut text = format!("{}: {}", status.name, status.state);
    let health = status.health.as_ref().map(|health| format!(", {health}")).unwrap_or_default();
    let since = if status.state == "running" { format!(" since {}", status.started) } else { String::new() };
    let _ = writeln!(text, "{health}{since}");
    let mut line = |what: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {what:<11}{value}");
        }
    };
    line("container", &format!("{} ({})", status.container, short_id(&status.id)));
    line("image", &status.image);
    line("digest", status.digest.as_deref().unwrap_or_default());
    line("ports", &ports(&status.ports));
    line("deployment", status.deployment.as_deref().unwrap_or_default());
    line("revision", status.revision.as_deref().unwrap_or_default());
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

/// `{format, containers: […]}`.
pub(crate) fn json(all: &[Status]) -> serde_json::Value {
    serde_json::json!({ "format": crate::ui::json::FORMAT, "containers": all })
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

    #[test]
    fn a_person_sees_the_ports_that_docker_ps_cannot_show_and_whether_they_lead_there() {
        let switched =
            |open| Ports::SwitchedPorts { ports: vec!["80->8080/tcp".into()], address: "198.18.200.2".into(), open };
        let text = text(&[web(switched(Some(true)))]);
        assert_eq!(
            text,
            "web: running, healthy since 2026-01-01T00:00:00Z\n  container  web (a1a1a1a1a1a1)\n  image      web:1\n  \
             ports      80->8080/tcp at 198.18.200.2 (switched by the kernel)\n  deployment d-1\n"
        );
        assert!(one(&web(switched(Some(false)))).contains("NOT switched"));
    }

    #[test]
    fn a_program_reads_who_leads_the_ports() {
        let published = json(&[web(Ports::Published { ports: vec!["0.0.0.0:80->80/tcp".into()] })]);
        assert_eq!(
            published["containers"][0]["ports"],
            serde_json::json!({"by": "engine", "ports": ["0.0.0.0:80->80/tcp"]})
        );
        let switched = Ports::SwitchedPorts { ports: vec![], address: "198.18.200.2".into(), open: Some(true) };
        assert_eq!(json(&[web(switched)])["containers"][0]["ports"]["by"], "kernel");
        assert_eq!(text(&[]), "nothing is deployed\n");
    }
}
