//! `plan` and `check`: what would happen, and whether the file is right. Nothing is changed.

use std::io;
use std::path::Path;

use crate::app::{Context, deployment, say};
use crate::cli::{Format, ProblemFormat};
use crate::config::appspec::AppSpecText;
use crate::config::policy::Policy;
use crate::config::problem::Problems;
use crate::config::yaml::{Node, Place};
use crate::config::{Deployment, Mode, validate};
use crate::error::{CHANGES, Failure, Kind, ObserveFailure};
use crate::modes::compose::demands::refused_as_it_stands;
use crate::modes::operation::Plan;
use crate::ui::text::Console;
use crate::ui::{json, log, problems, text};
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

/// Prints every problem of the file and of the bundle around it.
pub(crate) fn check(context: &Context, path: &Path, format: ProblemFormat) -> u8 {
    let text = match deployment::text(path) {
        Ok(text) => text,
        Err(failure) => return say(&failure),
    };
    let (deployment, problems) = validate::check(&text, &context.env);
    let of_file = problems.has_errors();
    let unusable = match (deployment::policy(context), &deployment) {
        (Ok(Some(policy)), Some(deployment)) => {
            policy.report(&deployment.demands, &problems);
            project(context, &text, deployment, &policy, &problems);
            None
        }
        (Ok(_), _) => None,
        (Err(failure), _) => Some(say(&failure)),
    };
    let mut stdout = io::stdout();
    let mut console = Console::new(&mut stdout);
    match format {
        ProblemFormat::Text if problems.is_empty() && unusable.is_some() => {}
        ProblemFormat::Text if problems.is_empty() => console.line(&format!("{}: no problems", text.path.display())),
        ProblemFormat::Text => console.whole(&problems::render(&text, &problems)),
        ProblemFormat::Json => console.whole(&format!("{:#}\n", problems::json(&text, &problems))),
        ProblemFormat::Github => console.whole(&problems::github(&text, &problems)),
    }
    match (of_file, problems.has_errors()) {
        (true, _) => Kind::Appspec.exit_code(),
        (false, true) => Kind::Policy.exit_code(),
        (false, false) => unusable.unwrap_or(0),
    }
}

/// What the policy refuses of a project's files as they stand; `plan` asks Compose.
fn project(context: &Context, text: &AppSpecText, deployment: &Deployment, policy: &Policy, problems: &Problems) {
    let Mode::Compose(compose) = &deployment.mode else { return };
    let root = Node::parse(&text.text);
    let section = root.iter().find_map(|root| root.get(validate::SECTION)?.1.get("compose"));
    let place = section.map_or_else(Place::default, |(key, _)| key.place);
    let lookup = |name: &str| context.env.lookup(name).map(str::to_owned);
    for (message, help) in refused_as_it_stands(compose, &deployment.bundle_root, &lookup, policy) {
        problems.error(place, &format!("{}.compose", validate::SECTION), message, help);
    }
}
