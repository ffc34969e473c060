//! Programs that a deployment calls: Compose, credential helpers.

use crate::app::Context;
use crate::app::doctor::bounded;
use crate::app::doctor::engine::EngineSeen;
use crate::app::doctor::state::StateFacts;
use crate::error::{Failure, Kind};
use crate::images::credentials;
use crate::modes::compose::project::Tool;
use crate::modes::compose::tool::Processes;
use crate::ui::doctor::Row;

pub(super) async fn rows(context: &Context, state: &StateFacts, seen: &EngineSeen) -> Vec<Row> {
    let settings = &context.credentials();
    let has_project =
        state.names.iter().filter_map(|name| name.newest.as_ref()).any(|release| release.part.compose.is_some());
    let processes =
        Processes { settings, engine: seen.engine.as_ref().map_or(&[], |engine| engine.endpoint.variables.as_slice()) };
    let compose = async { vec![compose(processes.find().await, has_project)] };
    let mut rows = bounded("Compose", compose).await;
    let helpers = credentials::helpers(settings).map_err(|error| Failure::from(&error));
    rows.push(helper(helpers, &settings.docker_config.display().to_string()));
    rows
}

fn compose(found: Result<Tool, Failure>, has_project: bool) -> Row {
    match found {
        Ok(tool) => Row::ok("Compose", format!("{} ({})", tool.version, tool.argv.join(" "))),
        Err(failure) if has_project => {
            let next = failure.next.unwrap_or_else(|| "install Compose 2".into());
            Row::problem(
                Kind::Container,
                "Compose",
                format!("{}, and a project is deployed here", failure.message),
                next,
            )
        }
        Err(failure) => Row::ok("Compose", format!("{}: no project can be deployed here", failure.message)),
    }
}

/// `folder`: where `config.json` is.
fn helper(found: Result<Vec<(String, Option<String>)>, Failure>, folder: &str) -> Row {
    const CHECK: &str = "credential helper";
    let helpers = match found {
        Ok(helpers) => helpers,
        Err(failure) => return Row::problem(failure.kind, CHECK, failure.message, failure.next.unwrap_or_default()),
    };
    let lacks = helpers.iter().find_map(|(name, why)| Some((name, why.as_ref()?)));
    let names: Vec<&str> = helpers.iter().map(|(name, _)| name.as_str()).collect();
    match lacks {
        Some((name, why)) => {
            let remedy = format!("install {name} where hooks find it, or take it out of config.json");
            Row::problem(Kind::Image, CHECK, format!("{folder}/config.json names {name}: {why}"), remedy)
        }
        None if names.is_empty() => {
            Row::ok(CHECK, format!("{folder}/config.json names none; ECR is asked for a token itself"))
        }
        None => Row::ok(CHECK, names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_compose_only_a_host_with_a_project_has_a_problem() {
        let missing = || Err(Failure::new(Kind::Container, "there is no Compose on this host").next("install it"));
        let found = "there is no Compose on this host: no project can be deployed here";
        assert_eq!(compose(missing(), false), Row::ok("Compose", found));
        assert_eq!(compose(missing(), true).kind, Some(Kind::Container));
        let tool = Tool { argv: vec!["/usr/bin/docker-compose".into()], version: "2.40.3".into() };
        assert_eq!(compose(Ok(tool), true), Row::ok("Compose", "2.40.3 (/usr/bin/docker-compose)"));
    }

    #[test]
    fn a_helper_that_config_json_names_and_nobody_can_run_is_a_problem() {
        let ecr = |why: Option<&str>| vec![("docker-credential-ecr-login".to_owned(), why.map(str::to_owned))];
        let row = helper(Ok(ecr(Some("it is not on the PATH of hooks"))), "/root/.docker");
        assert_eq!(row.kind, Some(Kind::Image));
        assert_eq!(
            row.found,
            "/root/.docker/config.json names docker-credential-ecr-login: it is not on the PATH of hooks"
        );
        assert_eq!(helper(Ok(ecr(None)), "/d"), Row::ok("credential helper", "docker-credential-ecr-login"));
    }
}
