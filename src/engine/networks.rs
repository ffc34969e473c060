//! Calls about networks.

use bollard::models::{Network, NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters as query;

use crate::engine::Engine;
use crate::engine::call::{CallError, Limit};
use crate::engine::containers::found;

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

    pub(crate) async fn create_network(&self, request: NetworkCreateRequest) -> Result<(), CallError> {
        let call = format!("docker network create {}", request.name);
        self.answer(Limit::Change, &call, self.docker.create_network(request)).await.map(drop)
    }
}
