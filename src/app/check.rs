//! `check`: whether the file is right, and what of it may surprise. Without `--fix` nothing is changed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::app::{Context, deployment, say, say_as};
use crate::cli::ProblemFormat;
use crate::config::appspec::AppSpecText;
use crate::config::fix::{self, Fix};
use crate::config::lint;
use crate::config::policy::Policy;
use crate::config::problem::Problems;
use crate::config::rules::POLICY;
use crate::config::yaml::{Node, Place};
use crate::config::{Deployment, Mode, validate};
use crate::error::{Failure, Kind};
use crate::files;
use crate::modes::compose::demands::refused_as_it_stands;
use crate::ui::problems::sarif::sarif;
use crate::ui::problems::{self, Checked};
use crate::ui::text::Console;

#[derive(Clone, Copy)]
pub(crate) struct How {
    /// A warning fails too.
    pub(crate) strict: bool,
    /// What is safe is fixed first.
    pub(crate) fix: bool,
}

/// Prints every problem of the file and of the bundle around it.
pub(crate) fn check(context: &Context, path: &Path, format: ProblemFormat, how: How) -> u8 {
    let fixed = if how.fix { fix(path) } else { Ok(()) };
    let text = match fixed.and_then(|()| deployment::text(path)) {
        Ok(text) => text,
        Err(failure) => return say_as(format == ProblemFormat::Json, &failure),
    };
    let (deployment, problems) = validate::check(&text, &context.env);
    lint::appspec(&text, deployment.as_ref(), &problems);
    let of_file = problems.has_errors();
    let unusable = match (deployment::policy(context), &deployment) {
        (Ok(Some(policy)), Some(deployment)) => {
            policy.report(&deployment.demands, &problems);
            project(context, &text, deployment, &policy, &problems);
            once(&problems);
            None
        }
        (Ok(_), _) => None,
        (Err(failure), _) => Some(say(&failure)),
    };
    let refused = problems.has_errors();
    let mut all = vec![(text, problems)];
    all.extend(deployment.iter().flat_map(lint::compose_files));
    print(&all, format, unusable.is_some());
    let warned = how.strict && all.iter().any(|(_, problems)| problems.warnings() > 0);
    match (of_file || warned, refused) {
        (true, _) => Kind::Appspec.exit_code(),
        (false, true) => Kind::Policy.exit_code(),
        (false, false) => unusable.unwrap_or(0),
    }
}

/// What the policy refuses is not warned of too.
fn once(problems: &Problems) {
    let refused = problems.sorted().into_iter().filter(|problem| problem.rule == POLICY);
    let refused: Vec<Place> = refused.map(|problem| problem.place).collect();
    problems.drop_warnings(|problem| refused.contains(&problem.place));
}

/// Fixes what is safe: first the file, which names the scripts.
fn fix(path: &Path) -> Result<(), Failure> {
    apply(fix::tabs(&deployment::text(path)?))?;
    apply(fix::scripts(&deployment::text(path)?))
}

fn apply(fixes: impl IntoIterator<Item = Fix>) -> Result<(), Failure> {
    for Fix { path, what, content, mode } in fixes {
        let written = content.map_or(Ok(()), |content| files::replace(&path, &content));
        written.and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode))).map_err(|error| {
            let message = format!("cannot fix {}: {error}", path.display());
            Failure::new(Kind::Appspec, message).next("run `check --fix` as the user who owns the bundle")
        })?;
        Console::stderr().line(&format!("fixed: {}: {what}", path.display()));
    }
    Ok(())
}

fn print(all: &[Checked], format: ProblemFormat, is_unusable: bool) {
    let mut console = Console::stdout();
    let is_empty = all.iter().all(|(_, problems)| problems.is_empty());
    match (format, all.first()) {
        (ProblemFormat::Text, _) if is_empty && is_unusable => {}
        (ProblemFormat::Text, Some((file, _))) if is_empty => {
            console.success(&format!("{}: no problems", file.path.display()));
        }
        (ProblemFormat::Text, _) => console.listing(&problems::render_all(all)),
        (ProblemFormat::Json, _) => console.whole(&format!("{:#}\n", problems::json(all))),
        (ProblemFormat::Github, _) => console.whole(&problems::github(all)),
        (ProblemFormat::Sarif, _) => {
            let folder = std::env::current_dir().unwrap_or_default();
            console.whole(&format!("{:#}\n", sarif(all, &folder)));
        }
    }
}

/// What the policy refuses of a project's files as they stand; `plan` asks Compose.
fn project(context: &Context, text: &AppSpecText, deployment: &Deployment, policy: &Policy, problems: &Problems) {
    let Mode::Compose(compose) = &deployment.mode else { return };
    let root = Node::parse(&text.text);
    let section = root.iter().find_map(|root| root.get(validate::SECTION)?.1.get("compose"));
    let place = section.map_or_else(Place::default, |(key, _)| key.place);
    let lookup = |name: &str| deployment.variable(name, context.env.lookup(name));
    for (message, help) in refused_as_it_stands(compose, &deployment.bundle_root, &lookup, policy) {
        problems.broken(POLICY, place, &format!("{}.compose", validate::SECTION), message, help);
    }
}

#[cfg(test)]
mod tests;
