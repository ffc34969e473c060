//! `plan`: what would happen. Nothing is changed.

use std::io;
use std::path::Path;

use crate::app::{Context, deployment, say};
use crate::cli::Format;
use crate::error::{CHANGES, Failure, ObserveFailure};
use crate::modes::operation::Plan;
use crate::ui::text::Console;
use crate::ui::{json, log, text};
use crate::values::types::LifecycleEvent;

#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub format: Format,
    /// What stands in appspec.yml is shown although it looks like a secret.
    pub show_values: bool,
}

pub(crate) async fn plan(
    context: &Context,
    event: LifecycleEvent,
    path: &Path,
    Form { format, show_values }: Form,
    detailed_exitcode: bool,
) -> u8 {
    log::start(&context.settings, None);
    match make(context, event, path).await {
        Ok((plan, code)) => {
            match format {
                Format::Text => Console::new(&mut io::stdout()).whole(&text::plan_with(&plan, show_values)),
                Format::Json => {
                    Console::new(&mut io::stdout()).whole(&format!("{:#}\n", json::plan_with(&plan, show_values)));
                }
            }
            code.unwrap_or(if detailed_exitcode && plan.has_changes() { CHANGES } else { 0 })
        }
        Err(failure) if format == Format::Json => {
            Console::new(&mut io::stdout()).whole(&format!("{:#}\n", json::failure(&failure)));
            failure.kind.exit_code()
        }
        Err(failure) => say(&failure),
    }
}

/// The plan, as far as the host could be looked at, and how a run would end that cannot even begin.
async fn make(context: &Context, event: LifecycleEvent, path: &Path) -> Result<(Plan, Option<u8>), Failure> {
    let (observer, warnings) = deployment::prepare(context, event, path)?;
    Console::new(&mut io::stderr()).lines(&warnings);
    let mut facts = observer.facts(event).await;
    let failures = std::mem::take(&mut facts.failures);
    let mut plan = match crate::modes::whole(event, &observer.deployment, &observer.origin, &facts) {
        Ok(plan) => plan,
        // What could not be looked up is the reason.
        Err(failure) => return Err(failures.into_iter().next().map_or(failure, |failed| failed.failure)),
    };
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
    Ok((plan, code))
}
