//! What `resume` needs to know of one name: the engine, the state directory, where the ports lead, who stopped what.

use std::time::Duration;

use crate::deploy::state::Store;
use crate::engine::api::Api;
use crate::engine::{self, Engine, stopped};
use crate::error::Failure;
use crate::modes::container::facts::ContainerModeFacts;
use crate::modes::facts::Facts;
use crate::modes::secrets;
use crate::modes::swarm;
use crate::ports;
use crate::ports::observe::Observer;
use crate::values::known::Known;
use crate::values::types::Name;

/// How long an engine may take to write its rules after a firewall was started.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the engine and the state directory have of a name, and where the ports lead.
pub(crate) async fn facts(engine: &Engine, store: &Store, name: &Name) -> Result<Facts, Failure> {
    let hello = engine.hello().await?;
    let (all, mut ours) = engine.settled(name).await?;
    for container in ours.iter_mut().filter(|container| !container.is_running()) {
        container.stopped_by_hand = stopped::by_hand(engine, container).await;
    }
    let is_switched = ours.iter().any(|container| container.switched.is_some());
    let observer = Observer {
        engine: Some(engine),
        api: Some(hello.api),
        name: name.as_str(),
        service: None,
        all: &all,
        ours: &ours,
        subnet: None,
        patience: if is_switched { PATIENCE } else { Duration::ZERO },
    };
    let ports = match is_switched || ports::were_switched(store.all()) {
        true => Some(observer.facts().await?).filter(|seen| is_switched || seen.is_open),
        false => None,
    };
    let task_containers = engine::task_containers(&all, name);
    let container = ContainerModeFacts { ports, ..ContainerModeFacts::default() };
    let seen = Facts::unseen(store);
    let mut facts = Facts { containers: ours, task_containers, engine: Known::Yes(hello), container, ..seen };
    secrets::observe::folders(&mut facts);
    Ok(facts)
}

/// The registry whose token this name's service needs. It ends with its time, ECR's after 12 hours: a node that needs the
/// image then could not pull it.
pub(crate) async fn registry(engine: &Engine, name: &Name) -> Option<String> {
    swarm::perform::registry_of(&Api::of(engine), name).await
}
