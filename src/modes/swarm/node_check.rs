//! Which nodes have an image. A task of an image that a node lacks is rejected there; where the node has it, the task
//! fails too, because its command does not exist. Nothing runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use http::Method;

use crate::engine::api::Api;
use crate::error::{Failure, Kind};
use crate::modes::swarm::operation::NodeCheck;
use crate::modes::swarm::service_tasks::Tasks;
use crate::poll;

/// How long the tasks of one check may take to fail.
const ANSWER: Duration = Duration::from_secs(20);

/// How long no task at all may appear. Then no node may run the service, which the update itself reports.
const NOBODY: Duration = Duration::from_secs(2);

/// Between two checks: a node may be importing it.
const AGAIN: Duration = Duration::from_secs(1);

const PAUSE: Duration = Duration::from_millis(100);

/// Checks until every node has the image.
/// Errors: [`Kind::Image`]: the nodes that lack it when patience is at its end.
pub(crate) async fn check(api: &Api, wanted: &NodeCheck, image: &str) -> Result<(), Failure> {
    let mut lacking = BTreeSet::new();
    let all_have_it = poll::until(wanted.patience, AGAIN, async || {
        remove(api, wanted).await?;
        let found = once(api, wanted, image).await;
        remove(api, wanted).await?;
        lacking = found?;
        Ok::<_, Failure>(lacking.is_empty().then_some(()))
    });
    all_have_it.await?.ok_or_else(|| {
        let nodes = lacking.into_iter().collect::<Vec<_>>().join(", ");
        Failure::new(Kind::Image, format!("these nodes do not have {}: {nodes}", wanted.image.describe()))
            .next("deploy to every node of the swarm at once: each imports it at AfterInstall; or use a registry")
    })
}

async fn remove(api: &Api, wanted: &NodeCheck) -> Result<(), Failure> {
    let removed = api.remove(&format!("/services/{}", wanted.name)).await;
    removed.map_err(|error| error.failure(&format!("remove service {}", wanted.name)))
}

/// The nodes on which the task was rejected with "No such image", or has not ended.
async fn once(api: &Api, wanted: &NodeCheck, image: &str) -> Result<BTreeSet<String>, Failure> {
    let mut spec = wanted.spec.clone();
    spec["TaskTemplate"]["ContainerSpec"]["Image"] = image.into();
    let what = format!("check which nodes have {image}");
    match api.call(Method::POST, "/services/create", Some(&spec), None).await {
        // 409: the leader took it and was lost before it could answer.
        Err(error) if error.status != Some(409) => return Err(error.failure(&what)),
        _ => {}
    }
    let began = Instant::now();
    let lacking = poll::without_limit(PAUSE, async || {
        let seen = Tasks::of(api, &wanted.name).await.map_err(|error| error.failure(&what))?;
        let Some(mut seen) = seen else { return Ok(Some(BTreeSet::new())) };
        let waiting = seen.all().filter(|task| !task.has_ended()).count();
        let nobody = seen.all().count() == 0;
        if began.elapsed() > ANSWER || (nobody && began.elapsed() > NOBODY) || (!nobody && waiting == 0) {
            seen.name_nodes(api).await;
            let lacking = seen.all().filter(|task| task.error().contains("No such image") || !task.has_ended());
            return Ok(Some(lacking.map(|task| task.node().to_owned()).collect()));
        }
        Ok(None)
    });
    lacking.await
}
