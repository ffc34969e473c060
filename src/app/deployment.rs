//! From a path to the validated deployment with what observes the host for it.

use std::path::{Path, PathBuf};

use crate::app::Context;
use crate::config::problem::Problems;
use crate::config::{Deployment, appspec, validate};
use crate::deploy::origin::{MANUAL, Origin};
use crate::deploy::state::Store;
use crate::error::{Failure, Kind};

use crate::images::source::Archives;
use crate::modes::observe::Observer;
use crate::ui::problems;

/// Longest list of problems on the console, in bytes.
const PROBLEMS_TAIL: usize = 1300;

/// Reads and validates the file; touches nothing else. Returns what observes the host for it, and the file's warnings.
pub(crate) fn prepare<'a>(context: &'a Context, path: &Path) -> Result<(Observer<'a>, String), Failure> {
    let text = text(path)?;
    let (deployment, problems) = validate::validate(&text, &context.env);
    let rendered = problems::render(&text, &problems);
    let Some(deployment) = deployment.filter(|_| !problems.has_errors()) else {
        return Err(invalid(&text, &problems));
    };
    let s3 = context.s3();
    let observer = Observer {
        engine: context.engine(),
        archives: Archives::new(s3.clone(), Some(deployment.bundle_root.clone())),
        s3,
        credentials: context.credentials(),
        store: Store::new(&context.settings.state_dir, &deployment.name),
        origin: origin(context, &deployment),
        deployment,
        env: &context.env,
        proc: PathBuf::from("/proc"),
    };
    Ok((observer, rendered))
}

/// The file's text.
pub(crate) fn text(path: &Path) -> Result<appspec::AppSpecText, Failure> {
    let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    appspec::read(&path).map_err(|why| Failure::new(Kind::Appspec, why.to_string()))
}

fn invalid(text: &appspec::AppSpecText, problems: &Problems) -> Failure {
    let evidence = problems::render_within(text, problems, PROBLEMS_TAIL);
    let count = problems.errors();
    let errors = if count == 1 { "1 error".into() } else { format!("{count} errors") };
    Failure::new(Kind::Appspec, format!("{} has {errors}", text.path.display()))
        .evidence(evidence.lines().map(str::to_owned).collect())
        .next("`balehook check --appspec PATH` shows them all on your own machine")
}

fn origin(context: &Context, deployment: &Deployment) -> Origin {
    Origin {
        deployment: context.env.deployment_id().unwrap_or(MANUAL).to_owned(),
        revision: context.env.revision(),
        etag: context.env.etag(),
        source: deployment.source(),
    }
}
