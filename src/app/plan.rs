//! `plan`: what would happen. Nothing is changed.

use std::path::Path;

use crate::app::{Context, deployment, reach, say};
use crate::cli::PlanFormat;
use crate::error::{CHANGES, Failure, ObserveFailure};
use crate::modes::against::compare;
use crate::modes::observe::Observer;
use crate::modes::operation::Plan;
use crate::ui::text::Console;
use crate::ui::{json, log, markdown, text};
use crate::values::types::LifecycleEvent;

/// Which plan.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub event: LifecycleEvent,
    pub path: &'a Path,
    /// Only the bundle is looked at.
    pub offline: bool,
    /// The revision that is compared with it.
    pub against: Option<&'a Path>,
}

#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub format: PlanFormat,
    /// What stands in appspec.yml is shown although it looks like a secret.
    pub show_values: bool,
}

pub(crate) async fn plan(
    context: &Context,
    wanted: Wanted<'_>,
    Form { format, show_values }: Form,
    detailed_exitcode: bool,
) -> u8 {
    log::start(&context.settings, None);
    let mut console = Console::stdout();
    match whole(context, wanted).await {
        Ok(Made { plan, mode, code }) => {
            match format {
                PlanFormat::Text => console.page(&text::plan_with(&plan, show_values)),
                PlanFormat::Json => console.whole(&format!("{:#}\n", json::plan_with(&plan, show_values))),
                PlanFormat::Markdown => console.whole(&markdown::plan_with(&plan, mode, show_values)),
            }
            code.unwrap_or(if detailed_exitcode && plan.has_changes() { CHANGES } else { 0 })
        }
        Err(failure) => {
            match format {
                PlanFormat::Text => return say(&failure),
                PlanFormat::Json => console.whole(&format!("{:#}\n", json::failure(&failure))),
                PlanFormat::Markdown => console.whole(&markdown::failure(&failure)),
            }
            failure.kind.exit_code()
        }
    }
}

struct Made {
    plan: Plan,
    /// As its key in the section.
    mode: &'static str,
    /// How a run would end that cannot even begin.
    code: Option<u8>,
}

/// The plan, and what of it is otherwise than in the revision that it is compared with.
async fn whole(context: &Context, wanted: Wanted<'_>) -> Result<Made, Failure> {
    let (observer, warnings) = deployment::prepare(context, wanted.event, wanted.path)?;
    Console::stderr().lines(&warnings);
    let mut made = make(observer, wanted).await?;
    let Some(path) = wanted.against else { return Ok(made) };
    let before = match deployment::prepare(context, wanted.event, path) {
        Ok((observer, _)) => make(observer, wanted).await,
        Err(failure) => Err(failure),
    };
    match before {
        Ok(before) if before.mode == made.mode => compare(&mut made.plan, &before.plan, path),
        Ok(before) => {
            made.plan.notes.push(format!("{} is deployed as {}: nothing is compared", path.display(), before.mode))
        }
        Err(failure) => made.plan.notes.push(format!("nothing is compared: {}", failure.message)),
    }
    Ok(made)
}

/// The plan, as far as the host could be looked at.
async fn make(observer: Observer<'_>, Wanted { event, offline, .. }: Wanted<'_>) -> Result<Made, Failure> {
    let observer = if offline { observer.offline() } else { observer };
    let mut facts = observer.facts(event).await;
    let failures = std::mem::take(&mut facts.failures);
    let mut plan = match crate::modes::whole(event, &observer.deployment, &observer.origin, &facts) {
        Ok(plan) => plan,
        // What could not be looked up is the reason.
        Err(failure) => return Err(failures.into_iter().next().map_or(failure, |failed| failed.failure)),
    };
    plan.notes.extend(observer.engine.as_ref().ok().and_then(reach::said));
    plan.notes.extend(facts.not_yet.into_iter().chain(facts.warnings));
    let definite = failures.iter().find(|failed| failed.definite).map(|failed| &failed.failure);
    let code = definite.or(plan.would_fail.first()).map(|failure| failure.kind.exit_code());
    let mut all: Vec<Failure> = failures.into_iter().map(|ObserveFailure { failure, .. }| failure).collect();
    all.append(&mut plan.would_fail);
    for failure in all {
        if !plan.would_fail.contains(&failure) {
            plan.would_fail.push(failure);
        }
    }
    Ok(Made { plan, mode: observer.deployment.mode.key(), code })
}
