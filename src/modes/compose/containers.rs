//! The containers of a project, by the labels that Compose gives them.

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};

use crate::deploy::release::Observed;
use crate::engine::{Engine, label, name_of};
use crate::error::Failure;
use crate::values::labels::{COMPOSE_ONE_OFF, COMPOSE_PROJECT, COMPOSE_SERVICE};

/// Those of `all` that are of the project's services, each with its service. What `run` made is not among them.
pub(crate) fn of_project<'a>(all: &'a [ContainerSummary], project: &str) -> Vec<(&'a ContainerSummary, String)> {
    let is_one_off = |container: &ContainerSummary| {
        label(container, COMPOSE_ONE_OFF).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    };
    let ours = all.iter().filter(|container| label(container, COMPOSE_PROJECT).as_deref() == Some(project));
    let of_services = ours.filter(|container| !is_one_off(container));
    of_services.filter_map(|container| Some((container, label(container, COMPOSE_SERVICE)?))).collect()
}

/// The ports and the running containers of a project, for its release.
pub(crate) async fn observe(engine: &Engine, project: &str) -> Result<Observed, Failure> {
    let all = engine.list().await?;
    let containers: Vec<_> = of_project(&all, project).into_iter().map(|(container, _)| container).collect();
    let mut ports: Vec<String> = containers.iter().flat_map(|container| published(container)).collect();
    ports.sort_unstable();
    let running = containers.iter().filter(|found| found.state == Some(ContainerSummaryStateEnum::RUNNING));
    let mut running: Vec<String> = running.map(|container| name_of(container)).collect();
    running.sort_unstable();
    Ok(Observed { at: jiff::Timestamp::now().to_string(), ports, running, ..Observed::default() })
}

/// Each as `127.0.0.1:8080->80/tcp`.
fn published(container: &ContainerSummary) -> impl Iterator<Item = String> {
    container.ports.iter().flatten().filter_map(|port| {
        let address = port.ip.clone().unwrap_or_default();
        let protocol = port.typ.map(|kind| kind.to_string()).unwrap_or_default();
        Some(format!("{address}:{}->{}/{protocol}", port.public_port?, port.private_port))
    })
}
