//! From a path to the validated deployment with what observes the host for it.

use std::path::{Path, PathBuf};

use crate::app::Context;
use crate::config::policy::{self, Policy, Unusable};
use crate::config::problem::Problems;
use crate::config::{Deployment, appspec, validate};
use crate::deploy::origin::{MANUAL, Origin};
use crate::deploy::state::Store;
use crate::error::{Failure, Kind};

use crate::images::source::Archives;
use crate::modes::observe::{Observer, starts};
use crate::ui::problems;
use crate::values::types::LifecycleEvent;

/// Longest list of problems on the console, in bytes.
const PROBLEMS_TAIL: usize = 1300;

/// Reads and validates the file; touches nothing else. Returns what observes the host for it, and the file's warnings.
pub(crate) fn prepare<'a>(
    context: &'a Context,
    event: LifecycleEvent,
    path: &Path,
) -> Result<(Observer<'a>, String), Failure> {
    let text = text(path)?;
    let (deployment, problems) = validate::validate(&text, &context.env);
    let rendered = problems::render(&text, &problems);
    let Some(deployment) = deployment.filter(|_| !problems.has_errors()) else {
        return Err(invalid(&text, &problems));
    };
    // What only stops asks the host for nothing.
    let policy = if starts(event) { policy(context) } else { Ok(None) };
    let refused = policy
        .as_ref()
        .map_or_else(|failure| Some(failure.clone()), |policy| refused(&text, policy.as_ref(), &deployment));
    let s3 = context.s3();
    let observer = Observer {
        engine: context.engine(),
        archives: Archives::new(s3.clone(), Some(deployment.bundle_root.clone())),
        s3,
        credentials: context.credentials(),
        fetcher: context.fetcher.clone(),
        store: Store::new(&context.settings.state_dir, &deployment.name),
        origin: origin(context, &deployment),
        policy: policy.ok().flatten(),
        refused,
        deployment,
        env: &context.env,
        proc: PathBuf::from("/proc"),
        offline: false,
    };
    Ok((observer, rendered))
}

/// The host's policy.
/// Errors: [`Kind::Policy`]: there is one that cannot be used.
pub(crate) fn policy(context: &Context) -> Result<Option<Policy>, Failure> {
    let named = context.settings.policy.as_deref();
    policy::read(named.unwrap_or(Path::new(policy::PATH)), named.is_some()).map_err(|why| match why {
        Unusable::File(why, next) => Failure::new(Kind::Policy, why).next(next),
        Unusable::Wrong(file, problems) => {
            let message = format!("the host's policy {} is wrong, so nothing is deployed", file.path.display());
            Failure::new(Kind::Policy, message)
                .evidence(shown(&file, &problems))
                .next("correct it on this host, as root")
        }
    })
}

fn refused(text: &appspec::AppSpecText, policy: Option<&Policy>, deployment: &Deployment) -> Option<Failure> {
    let (policy, problems) = (policy?, Problems::new());
    policy.report(&deployment.demands, &problems);
    let message = format!("the host's policy {} refuses {}", policy.path.display(), text.path.display());
    problems.has_errors().then(|| Failure::new(Kind::Policy, message).evidence(shown(text, &problems)))
}

fn shown(file: &appspec::AppSpecText, problems: &Problems) -> Vec<String> {
    problems::render_within(file, problems, PROBLEMS_TAIL).lines().map(str::to_owned).collect()
}

/// The file's text.
pub(crate) fn text(path: &Path) -> Result<appspec::AppSpecText, Failure> {
    let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    appspec::read(&path).map_err(|why| Failure::new(Kind::Appspec, why.to_string()))
}

fn invalid(text: &appspec::AppSpecText, problems: &Problems) -> Failure {
    let count = problems.errors();
    let errors = if count == 1 { "1 error".into() } else { format!("{count} errors") };
    Failure::new(Kind::Appspec, format!("{} has {errors}", text.path.display()))
        .evidence(shown(text, problems))
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
