//! What runs of ours, as the engine and the kernel have it.

use bollard::models::{ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum, HealthcheckResult};
use http::Method;
use serde_json::Value;

use crate::app::status::tasks::{tasks, tasks_of};
use crate::engine;
use crate::engine::api::{Api, filter};
use crate::engine::logs::published;
use crate::engine::{Engine, label};
use crate::error::Failure;
use crate::ports;
use crate::ports::rules::{Family, Route};
use crate::ports::tables;
use crate::ui::status::{LastCheck, Ports, ServiceStatus, Status};
use crate::values::forward::SwitchedPorts;
use crate::values::labels::{
    COMPOSE_SERVICE, LABEL_DEPLOYMENT, LABEL_DIGEST, LABEL_NAME, LABEL_REVISION, LABEL_STOPPED, LABEL_TASK,
};
use crate::values::secret::masked;
use crate::values::text::{printable, shorten};

/// The longest line of an answer, in characters.
const LINE: usize = 120;

impl Engine {
    /// Every container that bears our label, by name.
    pub(crate) async fn status(&self) -> Result<Vec<Status>, Failure> {
        let mut all = Vec::new();
        for summary in self.list().await? {
            let Some(name) = label(&summary, LABEL_NAME) else { continue };
            let Some(seen) = self.inspect(summary.id.as_deref().unwrap_or_default()).await? else { continue };
            let ports = self.ports(&summary, &seen, &name).await?;
            all.push(status(&summary, seen, name, ports));
        }
        all.sort_by(|a, b| (&a.name, &a.container).cmp(&(&b.name, &b.container)));
        Ok(all)
    }

    async fn ports(
        &self,
        summary: &ContainerSummary,
        seen: &ContainerInspectResponse,
        name: &str,
    ) -> Result<Ports, Failure> {
        let Some(to) = SwitchedPorts::from_labels(|key| label(summary, key)) else {
            let ports = seen.network_settings.as_ref().and_then(|settings| settings.ports.as_ref());
            return Ok(Ports::Published { ports: ports.map(published).unwrap_or_default() });
        };
        let ports = to.forwards.iter().map(ToString::to_string).collect();
        let address = to.addresses();
        if self.endpoint.is_remote() {
            return Ok(Ports::SwitchedPorts { ports, address, open: None });
        }
        let network = ports::observe::network(self).await?.and_then(|(network, _)| network.ok());
        let (Some(network), Ok(iptables)) = (network, tables::find(&self.waits).await) else {
            return Ok(Ports::SwitchedPorts { ports, address, open: None });
        };
        let tables = iptables.tables(Family::V4).await.ok();
        let route = Route { name: name.to_owned(), to };
        let open = tables.map(|tables| tables.switch_to(Family::V4, &network, &route));
        Ok(Ports::SwitchedPorts { ports, address, open })
    }
}

/// What runs under one of our names.
pub(crate) struct Running {
    pub(crate) name: String,
    /// Its ID; none of a swarm's service.
    pub(crate) container: Option<String>,
    /// Where its labels say so.
    pub(crate) deployment: Option<String>,
}

/// What runs under our names: containers of this host, services of the swarm that it manages.
pub(crate) async fn running(engine: &Engine) -> Result<Vec<Running>, Failure> {
    let services = services(engine).await?.unwrap_or_default().into_iter();
    let services =
        services.map(|service| Running { name: service.name, container: None, deployment: service.deployment });
    let containers = engine.list().await?.into_iter().filter(|summary| {
        summary.state == Some(ContainerSummaryStateEnum::RUNNING) && label(summary, LABEL_TASK).is_none()
    });
    let containers = containers.filter_map(|summary| {
        let (name, deployment) = (label(&summary, LABEL_NAME)?, label(&summary, LABEL_DEPLOYMENT));
        Some(Running { name, container: summary.id, deployment })
    });
    Ok(services.chain(containers).collect())
}

/// Every service that bears our label, by name; none from a node outside of any swarm, `None` from a worker.
pub(crate) async fn services(engine: &Engine) -> Result<Option<Vec<ServiceStatus>>, Failure> {
    let path = format!("/services?status=true&{}", filter("label", LABEL_NAME));
    match Api::of(engine).once(Method::GET, &path, None, None).await {
        Ok(found) => {
            let mut all: Vec<ServiceStatus> = found.as_array().into_iter().flatten().map(service).collect();
            let tasks = tasks(engine, &all).await?;
            all.iter_mut().for_each(|service| service.tasks = tasks_of(&service.id, &tasks));
            all.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(Some(all))
        }
        Err(error) if error.message.contains("Worker nodes") => Ok(None),
        Err(error) if error.status == Some(503) => Ok(Some(Vec::new())),
        Err(error) => Err(error.failure("list services")),
    }
}

fn service(found: &Value) -> ServiceStatus {
    let spec = &found["Spec"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let ports = found["Endpoint"]["Ports"].as_array().into_iter().flatten();
    let port = |port: &Value| {
        let number = |key: &str| port[key].as_u64().unwrap_or_default();
        format!("{}->{}/{}", number("PublishedPort"), number("TargetPort"), port["Protocol"].as_str().unwrap_or("tcp"))
    };
    ServiceStatus {
        name: text(&spec["Name"]).unwrap_or_default(),
        id: text(&found["ID"]).unwrap_or_default(),
        image: text(&spec["TaskTemplate"]["ContainerSpec"]["Image"]).unwrap_or_default(),
        running: found["ServiceStatus"]["RunningTasks"].as_u64().unwrap_or_default(),
        wanted: found["ServiceStatus"]["DesiredTasks"].as_u64().unwrap_or_default(),
        update: text(&found["UpdateStatus"]["State"]),
        deployment: text(&spec["Labels"][LABEL_DEPLOYMENT]),
        revision: text(&spec["Labels"][LABEL_REVISION]),
        ports: ports.map(port).collect(),
        tasks: Vec::new(),
        is_stopped: spec["Labels"][LABEL_STOPPED].is_string(),
    }
}

fn status(summary: &ContainerSummary, seen: ContainerInspectResponse, name: String, ports: Ports) -> Status {
    let state = seen.state.unwrap_or_default();
    let last_check = state.health.as_ref().and_then(|health| health.log.as_ref()?.last()).map(last_check);
    let health = state.health.and_then(|health| health.status).map(|status| status.to_string());
    Status {
        name,
        container: engine::name_of(summary),
        id: seen.id.unwrap_or_default(),
        image: seen.config.and_then(|config| config.image).unwrap_or_default(),
        digest: label(summary, LABEL_DIGEST),
        state: state.status.map(|status| status.to_string()).unwrap_or_default(),
        health: health.filter(|health| !matches!(health.as_str(), "" | "none")),
        last_check,
        service: label(summary, COMPOSE_SERVICE),
        started: state.started_at.unwrap_or_default(),
        deployment: label(summary, LABEL_DEPLOYMENT),
        revision: label(summary, LABEL_REVISION),
        ports,
    }
}

fn last_check(result: &HealthcheckResult) -> LastCheck {
    let output = result.output.as_deref().unwrap_or_default().trim();
    LastCheck {
        exit_code: result.exit_code.unwrap_or_default(),
        at: result.end.clone().unwrap_or_default(),
        line: masked(&shorten(&printable(output.lines().next().unwrap_or_default()), LINE)),
    }
}
