//! What was changed by hand of a service, as a manager sees it.

use serde_json::Value;

use crate::engine::Engine;
use crate::engine::api::Api;
use crate::modes::release::Release;
use crate::modes::swarm::facts::SwarmFacts;
use crate::modes::swarm::observe::observe;
use crate::modes::swarm::operation::ServiceRequest;
use crate::modes::swarm::plan::drift::{changed_options, is_same, says_replicas};
use crate::values::labels::{LABEL_SPEC, LABEL_STOPPED};
use crate::values::options::OptionChange;
use crate::values::types::Name;

/// `None` where this node manages no swarm, there is no such service, or no release of this host is what it runs.
pub(crate) async fn changes(engine: &Engine, name: &Name, releases: &[Release]) -> Option<Vec<OptionChange>> {
    let mut seen = observe(&Api::of(engine), name).await.ok()?;
    let label = seen.service.as_ref()?.spec.label(LABEL_SPEC)?;
    let release = releases.iter().find(|release| release.spec == label)?;
    let request = release.part.swarm.as_ref()?;
    seen.image_id = engine.find(&request.image, name).await.ok().flatten().and_then(|image| image.id);
    Some(of(request, &seen, releases))
}

/// How many tasks run is nobody's change where the revision does not say it, or a person has stopped it.
pub(crate) fn of(request: &ServiceRequest, seen: &SwarmFacts, releases: &[Release]) -> Vec<OptionChange> {
    if is_same(request, seen) {
        return Vec::new();
    }
    let is_stopped = seen.service.as_ref().is_some_and(|service| service.spec.label(LABEL_STOPPED).is_some());
    let is_free = is_stopped || !says_replicas(request);
    let mut request = request.clone();
    let live = seen.service.as_ref().and_then(|service| service.spec.reveal().pointer("/Mode/Replicated/Replicas"));
    if let (true, Some(live)) = (is_free, live.and_then(Value::as_u64)) {
        request.spec["Mode"]["Replicated"]["Replicas"] = live.into();
    }
    let changes = changed_options(&request, seen, releases).into_iter().map(OptionChange::reversed);
    // Without a task there is nothing to show of their number.
    changes.filter(|change| !is_stopped || !["deploy", "deploy.replicas"].contains(&change.name.as_str())).collect()
}
