//! What killed deployments and other programs left in the engine and in the kernel's tables.

use bollard::models::ContainerSummary;

use crate::app::doctor::bounded;
use crate::app::doctor::engine::EngineSeen;
use crate::app::doctor::state::StateFacts;
use crate::engine::{self, Engine, label};
use crate::error::Kind;
use crate::ports;
use crate::ports::rules::{Family, Route, Tables};
use crate::ports::tables;
use crate::ui::doctor::Row;
use crate::values::labels::{LABEL_NAME, LABEL_TASK};
use crate::values::names::is_reserved;

/// Programs that pull, remove or restart containers by themselves, as their images are called.
const OTHER_TOOLS: [&str; 4] = ["watchtower", "ouroboros", "autoheal", "shepherd"];

/// Containers of ours that no deployment under way needs, and other programs that manage containers.
pub(super) fn containers(seen: &EngineSeen, state: &StateFacts) -> Vec<Row> {
    let Ok(all) = &seen.containers else { return Vec::new() };
    let is_deployed_now = |name: &str| state.names.iter().any(|one| one.name.as_str() == name && one.holder.is_some());
    let mut rows = Vec::new();
    for container in all {
        let Some(name) = label(container, LABEL_NAME).filter(|name| !is_deployed_now(name)) else { continue };
        let is_task = label(container, LABEL_TASK).is_some();
        if is_task || is_reserved(&engine::name_of(container)) {
            let found = format!("{} of {name} was left by a deployment", engine::describe(container));
            rows.push(Row::warning("leftovers", found, format!("balehook resume {name}, or deploy again")));
        }
    }
    rows.extend(all.iter().filter_map(other_tool));
    rows
}

fn other_tool(container: &ContainerSummary) -> Option<Row> {
    let image = container.image.as_deref()?;
    let tool = OTHER_TOOLS.iter().find(|tool| image.to_lowercase().contains(**tool))?;
    let found = format!("{} ({image}) may pull, restart or replace deployed containers", engine::describe(container));
    let remedy = format!("stop {tool}, or take the deployed names out of what it watches");
    Some(Row::warning("other tools", found, remedy))
}

/// The rules of switched ports, against the engine's record of them.
pub(super) async fn rules(seen: &EngineSeen, state: &StateFacts) -> Vec<Row> {
    const CHECK: &str = "switched ports";
    let (Some(engine), Ok(all)) = (&seen.engine, &seen.containers) else { return Vec::new() };
    if engine.endpoint.is_remote() {
        return vec![Row::not_known(CHECK, "their rules are of the engine's host: run `balehook doctor` there")];
    }
    let routes = ports::recorded(all);
    bounded(CHECK, async {
        match (tables::find(&engine.waits).await, state.has_switched || !routes.is_empty()) {
            (Ok(iptables), true) => match iptables.tables(Family::V4).await {
                Ok(tables) => against_record(CHECK, engine, &routes, &tables).await,
                Err(why) => vec![Row::not_known(CHECK, why.unwrap_or_else(|| "iptables-save is missing".into()))],
            },
            (Ok(_), false) => vec![Row::ok(CHECK, "none; `order: start-first` would work: the engine uses iptables")],
            (Err((why, next)), true) => vec![Row::problem(Kind::Container, CHECK, why, next)],
            (Err((why, _)), false) => {
                vec![Row::ok(CHECK, format!("none; `order: start-first` is not possible: {why}"))]
            }
        }
    })
    .await
}

async fn against_record(check: &'static str, engine: &Engine, routes: &[Route], tables: &Tables) -> Vec<Row> {
    let network = match ports::observe::network(engine).await {
        Ok(found) => found.and_then(|(network, _)| network.ok()),
        Err(failure) => return vec![Row::not_known(check, failure.message)],
    };
    let is_missing =
        |route: &&Route| network.as_ref().is_none_or(|network| !tables.switch_to(Family::V4, network, route));
    let missing: Vec<&str> = routes.iter().filter(is_missing).map(|route| route.name.as_str()).collect();
    let stale = tables.names().into_iter().filter(|name| !routes.iter().any(|route| route.name == *name));
    judge(check, routes.len(), &missing, &stale.collect::<Vec<_>>())
}

fn judge(check: &'static str, count: usize, missing: &[&str], stale: &[String]) -> Vec<Row> {
    let mut rows = Vec::new();
    if !missing.is_empty() {
        let found = format!("the rules of {} are not in place: its ports answer nobody", missing.join(", "));
        rows.push(Row::problem(Kind::Container, check, found, "balehook resume --ports"));
    }
    if !stale.is_empty() {
        let found = format!("rules lead to {}, of which there is no container", stale.join(", "));
        rows.push(Row::warning(
            check,
            found,
            "the next deployment or `balehook resume` of any name with switched ports removes them",
        ));
    }
    if rows.is_empty() {
        rows.push(Row::ok(check, format!("the rules of {count} containers are in place")));
    }
    rows
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ui::doctor::text;

    fn container(name: &str, image: &str, labels: &[(&str, &str)]) -> ContainerSummary {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ContainerSummary {
            id: Some("a1".repeat(32)),
            names: Some(vec![format!("/{name}")]),
            image: Some(image.to_owned()),
            labels: Some(labels.collect()),
            ..ContainerSummary::default()
        }
    }

    #[test]
    fn containers_that_a_deployment_left_and_tools_that_would_touch_ours_are_named() {
        let ours = [(LABEL_NAME, "web")];
        let all = vec![
            container("web", "web:1", &ours),
            container("web.balehook-old", "web:0", &ours),
            container("watch", "docker.io/containrrr/watchtower:latest", &[]),
            container("db", "postgres:16", &[]),
        ];
        let seen = crate::app::doctor::engine::with_containers(all);
        assert_eq!(
            text(&containers(&seen, &StateFacts::default())),
            "\
warning    leftovers: container web.balehook-old (a1a1a1a1a1a1) of web was left
           by a deployment
           next: balehook resume web, or deploy again
warning    other tools: container watch (a1a1a1a1a1a1)
           (docker.io/containrrr/watchtower:latest) may pull, restart or replace
           deployed containers
           next: stop watchtower, or take the deployed names out of what it
           watches
2 warnings
"
        );
    }

    #[test]
    fn rules_that_are_gone_are_a_problem_and_rules_of_nobody_a_warning() {
        let rows = judge("switched ports", 2, &["web"], &["shop".to_owned()]);
        assert_eq!((rows[0].kind, rows[0].remedy.as_deref()), (Some(Kind::Container), Some("balehook resume --ports")));
        assert_eq!(rows[1].found, "rules lead to shop, of which there is no container");
        assert_eq!(judge("x", 2, &[], &[]), [Row::ok("x", "the rules of 2 containers are in place")]);
    }
}
