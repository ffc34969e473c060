//! What runs under a name, for reports: looked up when a plan has ended.

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};

use crate::config::Mode;
use crate::deploy::outcome::RunsNow;
use crate::deploy::plan::Old;
use crate::engine::api::{Api, filter};
use crate::engine::{Engine, is_labelled, is_of_a_task, name_of};
use crate::modes::compose::containers::of_project;
use crate::modes::container::operation::Containers;
use crate::modes::facts::Facts;
use crate::values::target::Target;
use crate::values::types::Name;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Containers of this host.
    Containers,
    Project,
    /// A service of a swarm: this node may have none of its containers.
    Service,
    /// That is not known.
    Unknown,
}

impl Subject {
    pub(crate) const fn of(mode: &Mode) -> Self {
        match mode {
            Mode::Container(_) => Self::Containers,
            Mode::Compose(_) => Self::Project,
            Mode::Swarm(_) => Self::Service,
        }
    }

    /// What `resume` finds. On a worker a release says nothing of its mode.
    pub(crate) fn found(facts: &Facts, is_compose: bool) -> Self {
        let part = facts.releases.first().map(|release| &release.part);
        match part {
            _ if is_compose => Self::Project,
            Some(part) if part.swarm.is_some() => Self::Service,
            Some(part) if part.container.is_some() => Self::Containers,
            _ if !facts.containers.is_empty() => Self::Containers,
            _ => Self::Unknown,
        }
    }

    pub(crate) async fn runs(self, engine: &Engine, name: &Name, before: &Old, known: &Containers) -> RunsNow {
        match self {
            Self::Containers => containers(engine, name, before, known).await.unwrap_or_default(),
            Self::Project => project(engine, name).await.unwrap_or_default(),
            Self::Service => service(engine, name).await.unwrap_or_default(),
            Self::Unknown => RunsNow::NotKnown,
        }
    }
}

async fn containers(engine: &Engine, name: &Name, before: &Old, known: &Containers) -> Option<RunsNow> {
    let all = engine.list().await.ok()?;
    let is_of_it = |container: &&ContainerSummary| {
        let is_ours = is_labelled(container, name) && !is_of_a_task(container, name);
        is_running(container) && (is_ours || name_of(container) == name.as_str())
    };
    let found: Vec<_> = all.iter().filter(is_of_it).collect();
    let old = match before {
        Old::Running(old) | Old::Stopped(old) => known.target(old).id,
        Old::Nothing | Old::NotObserved => None,
    };
    Some(match found.first() {
        None => RunsNow::Nothing,
        Some(_) if old.is_some() && found.iter().any(|container| container.id == old) => RunsNow::Old,
        Some(other) => RunsNow::Other(Target { name: name_of(other), id: other.id.clone() }),
    })
}

async fn project(engine: &Engine, name: &Name) -> Option<RunsNow> {
    let all = engine.list().await.ok()?;
    let is_any = of_project(&all, name.as_str()).iter().any(|(container, _)| is_running(container));
    Some(if is_any { RunsNow::Some } else { RunsNow::Nothing })
}

fn is_running(container: &ContainerSummary) -> bool {
    container.state == Some(ContainerSummaryStateEnum::RUNNING)
}

/// Source: Docker Engine API, `ServiceList` with `status`; the filter takes the beginnings of names.
async fn service(engine: &Engine, name: &Name) -> Option<RunsNow> {
    let found = Api::of(engine).get(&format!("/services?status=true&{}", filter("name", name.as_str()))).await.ok()?;
    let service = found.as_array()?.iter().find(|service| service["Spec"]["Name"] == *name.as_str());
    let running = service.map_or(0, |service| service["ServiceStatus"]["RunningTasks"].as_u64().unwrap_or_default());
    Some(if running == 0 { RunsNow::Nothing } else { RunsNow::Some })
}
