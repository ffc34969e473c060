//! Calls about networks.

use bollard::models::{Network, NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters as query;

use std::collections::{BTreeSet, HashMap};

use crate::engine::Engine;
use crate::engine::call::{CallError, Limit};
use crate::engine::containers::{found, unless};
use crate::error::{Failure, Kind};
use crate::values::labels::COMPOSE_PROJECT;

impl Engine {
    /// A network; `None` where there is none of that name.
    pub(crate) async fn network(&self, name: &str) -> Result<Option<NetworkInspect>, CallError> {
        let asked = self.docker.inspect_network(name, None);
        found(self.answer(Limit::Question, &format!("docker network inspect {name}"), asked).await)
    }

    pub(crate) async fn networks(&self) -> Result<Vec<Network>, CallError> {
        let asked = self.docker.list_networks(None::<query::ListNetworksOptions>);
        self.answer(Limit::Question, "docker network ls", asked).await
    }

    /// The networks that Compose made for these projects.
    pub(crate) async fn project_networks(&self, projects: &BTreeSet<&String>) -> Result<Vec<String>, Failure> {
        let is_of_one = |labels: Option<&HashMap<String, String>>| {
            labels.and_then(|labels| labels.get(COMPOSE_PROJECT)).is_some_and(|project| projects.contains(project))
        };
        let all = self.networks().await.map_err(|error| error.failure_of(Kind::Engine, "list networks"))?;
        let ours = all.into_iter().filter(|network| is_of_one(network.labels.as_ref()));
        let mut names: Vec<String> = ours.filter_map(|network| network.name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a network. Nothing to do where it is gone.
    pub(crate) async fn remove_network(&self, name: &str) -> Result<(), Failure> {
        let call = format!("docker network rm {name}");
        let removed = self.answer(Limit::Change, &call, self.docker.remove_network(name)).await;
        unless(removed, &[404]).map_err(|error| {
            error
                .failure_of(Kind::Container, &format!("remove network {name}"))
                .next("docker network inspect says who is on it")
        })
    }

    pub(crate) async fn create_network(&self, request: NetworkCreateRequest) -> Result<(), CallError> {
        let call = format!("docker network create {}", request.name);
        self.answer(Limit::Change, &call, self.docker.create_network(request)).await.map(drop)
    }
}
