//! `doctor`: everything on this host that a deployment needs, looked at once. Each check is a row with its remedy. All run at
//! the same time, and each has so long and no longer: it ends also where everything hangs.

mod agent;
mod cloud;
mod disk;
mod engine;
mod leftovers;
mod state;
mod tools;
mod units;

use std::path::Path;
use std::time::Duration;

use crate::app::{Context, deployment};
use crate::cli::Format;
use crate::ui::doctor::{self, Row};
use crate::ui::text::Console;

/// How long one check may take. There are two rounds of them.
const LIMIT: Duration = Duration::from_secs(4);

/// Prints what it found. Returns the exit code of the first problem.
pub(crate) async fn doctor(context: &Context, format: Format) -> u8 {
    let rows = rows(context, Path::new("/")).await;
    match format {
        Format::Text => Console::stdout().page(&doctor::text(&rows)),
        Format::Json => Console::stdout().whole(&format!("{:#}\n", doctor::json(&rows))),
    }
    doctor::exit_code(&rows)
}

/// `root`: where this host's files are.
async fn rows(context: &Context, root: &Path) -> Vec<Row> {
    let (state_dir, host) = (context.settings.state_dir.clone(), root.to_owned());
    let state = within(apart(move || state::observe(&state_dir)));
    let agent = within(apart(move || agent::observe(&host)));
    let (state, agent, engine, cloud) =
        tokio::join!(state, agent, engine::observe(context), cloud::observe(context, root));
    let (state, agent) = (state.flatten().unwrap_or_default(), agent.flatten());
    let folders = disk::folders(&state, agent.as_ref(), &engine);
    let (disks, tools, asked, rules, units) = tokio::join!(
        within(apart(move || disk::observe(folders))),
        tools::rows(context, &state, &engine),
        cloud::rows(context, &cloud, &state),
        leftovers::rules(&engine, &state),
        units::row(context, root, &engine, &state),
    );
    let mut rows = engine::rows(&engine);
    rows.extend(tools);
    rows.extend(agent::row(agent.as_ref()));
    rows.extend(asked);
    rows.extend(disk::rows(disks.flatten()));
    rows.extend(state::rows(&state));
    rows.extend(leftovers::containers(&engine, &state));
    rows.extend(rules);
    rows.push(units);
    rows.push(policy(context));
    rows
}

fn policy(context: &Context) -> Row {
    match deployment::policy(context) {
        Ok(None) => Row::ok("policy", "this host has none: every valid revision may be deployed"),
        Ok(Some(policy)) => Row::ok("policy", format!("{} is valid", policy.path.display())),
        Err(failure) => {
            let found: Vec<&str> =
                [&failure.message].into_iter().chain(&failure.evidence).map(String::as_str).collect();
            Row::problem(failure.kind, "policy", found.join(" "), failure.next.unwrap_or_default())
        }
    }
}

/// What comes within a check's time.
async fn within<T>(check: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(LIMIT, check).await.ok()
}

/// The same as rows; one that did not come says so.
async fn bounded(check: &'static str, rows: impl Future<Output = Vec<Row>>) -> Vec<Row> {
    within(rows).await.unwrap_or_else(|| vec![silent(check)])
}

fn silent(check: &'static str) -> Row {
    Row::not_known(check, format!("nothing was heard for {} s", LIMIT.as_secs()))
}

/// Does what a disk may hang at on a thread of its own, which nobody waits for at the end.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (said, heard) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || said.send(work()));
    heard.await.ok()
}
