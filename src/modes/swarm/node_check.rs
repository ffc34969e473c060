//! Which nodes have an image: a task that is created of it is refused where it is missing. Nothing runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use http::Method;

use crate::engine::api::Api;
use crate::error::{Failure, Kind};
use crate::modes::swarm::operation::Ask;
use crate::modes::swarm::service_tasks::Tasks;
use crate::poll;

/// How long the nodes may take to answer once.
const ANSWER: Duration = Duration::from_secs(20);

/// How long no task at all may appear: then no node may run the service, which the update itself will say.
const NOBODY: Duration = Duration::from_secs(2);

/// Between two questions: a node may be bringing it in.
const AGAIN: Duration = Duration::from_secs(1);

const PAUSE: Duration = Duration::from_millis(100);

/// Asks until every node has the image.
///
/// # Errors
/// [`Kind::Image`]: the nodes that lack it when patience is at its end.
pub(crate) async fn ask(api: &Api, ask: &Ask, image: &str) -> Result<(), Failure> {
    let mut lacking = BTreeSet::new();
    let all_have_it = poll::until(ask.patience, AGAIN, async || {
        remove(api, ask).await?;
        let found = once(api, ask, image).await;
        remove(api, ask).await?;
        lacking = found?;
        Ok::<_, Failure>(lacking.is_empty().then_some(()))
    });
    all_have_it.await?.ok_or_else(|| {
        let nodes = lacking.into_iter().collect::<Vec<_>>().join(", ");
        Failure::new(Kind::Image, format!("these nodes do not have {}: {nodes}", ask.image.describe()))
            .next("deploy to every node of the swarm at once: each brings it in at AfterInstall; or use a registry")
    })
}

async fn remove(api: &Api, ask: &Ask) -> Result<(), Failure> {
    let removed = api.remove(&format!("/services/{}", ask.name)).await;
    removed.map_err(|error| error.failure(&format!("remove service {}", ask.name)))
}

/// The nodes that said "No such image".
async fn once(api: &Api, ask: &Ask, image: &str) -> Result<BTreeSet<String>, Failure> {
    let mut spec = ask.spec.clone();
    spec["TaskTemplate"]["ContainerSpec"]["Image"] = image.into();
    let what = format!("ask the nodes for {image}");
    match api.call(Method::POST, "/services/create", Some(&spec), None).await {
        // It was taken by a leader that was lost before its answer came.
        Err(error) if error.status != Some(409) => return Err(error.failure(&what)),
        _ => {}
    }
    let began = Instant::now();
    let lacking = poll::without_limit(PAUSE, async || {
        let seen = Tasks::of(api, &ask.name).await.map_err(|error| error.failure(&what))?;
        let Some(mut seen) = seen else { return Ok(Some(BTreeSet::new())) };
        let waiting = seen.every().filter(|task| !task.has_ended()).count();
        let nobody = seen.every().count() == 0;
        if began.elapsed() > ANSWER || (nobody && began.elapsed() > NOBODY) || (!nobody && waiting == 0) {
            seen.name_nodes(api).await;
            let lacking = seen.every().filter(|task| task.error().contains("No such image") || !task.has_ended());
            return Ok(Some(lacking.map(|task| task.node().to_owned()).collect()));
        }
        Ok(None)
    });
    lacking.await
}
