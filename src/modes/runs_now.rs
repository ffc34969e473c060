//! What runs under a name, for reports: looked up when a plan has ended.

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};

use crate::config::Mode;
use crate::deploy::outcome::RunsNow;
use crate::deploy::plan::Old;
use crate::engine::api::{Api, filter};
use crate::engine::stopped::is_running;
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
        is_ours || name_of(container) == name.as_str()
    };
    let found = running(engine, all.iter().filter(is_of_it)).await;
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
    let of_it = of_project(&all, name.as_str());
    let found = running(engine, of_it.iter().map(|(container, _)| *container)).await;
    Some(if found.is_empty() { RunsNow::Nothing } else { RunsNow::Some })
}

/// Those that run. The engine's list may still have one as running that it has just said to be stopped: each is asked for.
///
/// Source: moby, daemon/monitor.go: who waits for a container's end is answered before the list is written.
async fn running<'a>(engine: &Engine, all: impl Iterator<Item = &'a ContainerSummary>) -> Vec<&'a ContainerSummary> {
    let mut found = Vec::new();
    for container in all.filter(|container| container.state == Some(ContainerSummaryStateEnum::RUNNING)) {
        let now = engine.inspect(container.id.as_deref().unwrap_or_default()).await;
        // Without an answer the list is all that is known.
        if now.map_or(true, |found| found.as_ref().is_some_and(is_running)) {
            found.push(container);
        }
    }
    found
}

/// Source: Docker Engine API, `ServiceList` with `status`; the filter takes the beginnings of names.
async fn service(engine: &Engine, name: &Name) -> Option<RunsNow> {
    let found = Api::of(engine).get(&format!("/services?status=true&{}", filter("name", name.as_str()))).await.ok()?;
    let service = found.as_array()?.iter().find(|service| service["Spec"]["Name"] == *name.as_str());
    let running = service.map_or(0, |service| service["ServiceStatus"]["RunningTasks"].as_u64().unwrap_or_default());
    Some(if running == 0 { RunsNow::Nothing } else { RunsNow::Some })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::tests::{FakeEngine, Then, http};

    /// An engine whose list has `web` as running, also of a project `web`, and says this of the container itself.
    fn listing(status: &'static str, itself: &'static str) -> FakeEngine {
        let list = r#"[{"Id": "0123", "Names": ["/web"], "State": "running", "Labels": {
            "com.docker.compose.project": "web", "com.docker.compose.service": "web"}}]"#;
        FakeEngine::answering(Then::Closed, move |request| match request.contains("/containers/0123/json") {
            true => http(status, itself),
            false => http("200 OK", list),
        })
    }

    #[tokio::test]
    async fn a_container_that_the_list_still_has_as_running_counts_by_what_it_says_of_itself() {
        let name: Name = "web".parse().unwrap();
        let runs = Some(RunsNow::Other(Target { name: "web".into(), id: Some("0123".into()) }));
        for (status, itself, alone, of_project) in [
            ("200 OK", r#"{"State": {"Running": false}}"#, Some(RunsNow::Nothing), Some(RunsNow::Nothing)),
            ("404 Not Found", r#"{"message": "No such container"}"#, Some(RunsNow::Nothing), Some(RunsNow::Nothing)),
            ("200 OK", r#"{"State": {"Running": true}}"#, runs.clone(), Some(RunsNow::Some)),
            ("500 Internal Server Error", r#"{"message": "broken"}"#, runs.clone(), Some(RunsNow::Some)),
        ] {
            let fake = listing(status, itself);
            let known = Containers::default();
            assert_eq!(containers(&fake.engine, &name, &Old::Nothing, &known).await, alone, "{itself}");
            assert_eq!(project(&fake.engine, &name).await, of_project, "{itself}");
        }
    }
}
