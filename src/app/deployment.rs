//! From a path to the validated deployment with everything that a look at the host needs.

use std::path::{Path, PathBuf};

use crate::app::Context;
use crate::aws::s3::S3;
use crate::config::problem::Problems;
use crate::config::{Deployment, appspec, validate};
use crate::deploy::origin::{MANUAL, Origin};
use crate::deploy::state::Store;
use crate::engine::Engine;
use crate::error::{Failure, Kind};
use crate::images::credentials::CredentialSettings;

use crate::images::source::Archives;
use crate::modes::observe::Observer;
use crate::ui::problems;

/// Longest list of problems on the console, in bytes.
const PROBLEMS_TAIL: usize = 1300;

/// One deployment and the means to look at the host for it.
pub(crate) struct Prepared {
    pub(crate) deployment: Deployment,
    pub(crate) origin: Origin,
    pub(crate) store: Store,
    pub s3: S3,
    pub(crate) archives: Archives,
    pub(crate) credentials: CredentialSettings,
    pub(crate) engine: Result<Engine, Failure>,
    /// Warnings of the file, rendered.
    pub(crate) warnings: String,
}

/// Reads and validates the file; touches nothing else.
/// Errors: [`Kind::Appspec`], with every problem as evidence.
pub(crate) fn prepare(context: &Context, path: &Path) -> Result<Prepared, Failure> {
    let text = text(path)?;
    let (deployment, problems) = validate::validate(&text, &context.env);
    let rendered = problems::render(&text, &problems);
    let Some(deployment) = deployment.filter(|_| !problems.has_errors()) else {
        return Err(invalid(&text, &problems));
    };
    let variable = |name: &str| context.env.lookup(name).map(str::to_owned);
    let s3 = S3::from_env(&variable, &context.waits);
    Ok(Prepared {
        archives: Archives::new(s3.clone(), Some(deployment.bundle_root.clone())),
        origin: origin(context, &deployment),
        store: Store::new(&context.settings.state_dir, &deployment.name),
        s3,
        credentials: context.credentials(),
        engine: context.engine(),
        warnings: rendered,
        deployment,
    })
}

/// The file's text.
/// Errors: [`Kind::Appspec`] where it cannot be read at all.
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
        source: deployment.source(),
    }
}

impl Prepared {
    /// The means to look.
    pub(crate) fn look<'a>(&'a self, lookup: &'a dyn Fn(&str) -> Option<String>) -> Observer<'a> {
        Observer {
            engine: self.engine.as_ref(),
            s3: &self.s3,
            archives: &self.archives,
            credentials: &self.credentials,
            store: &self.store,
            deployment: &self.deployment,
            origin: &self.origin,
            lookup,
            proc: PathBuf::from("/proc"),
        }
    }
}
