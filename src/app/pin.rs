//! `pin` and `unpin`: a release that is never pruned.

use crate::app::by_hand::{Job, Planned, code, facts, perform};
use crate::app::{Context, names, say};
use crate::cli::PinArgs;
use crate::deploy::command::Command;
use crate::deploy::state::Store;
use crate::engine::Engine;
use crate::modes::runs_now::Subject;
use crate::modes::{pinned, rollback};
use crate::ui::text::{self, Console};

/// Pins it, where `is_pin`, or lets it go; or prints what it would do. Returns the exit code.
pub(crate) async fn pin(context: &Context, is_pin: bool, PinArgs { name, release, dry_run }: &PinArgs) -> u8 {
    if let Err(failure) = names(context, Some(name)) {
        return say(&failure);
    }
    let planned = async |engine: &Engine, store: &Store| {
        let mut facts = Box::pin(facts(context, engine, store, name)).await?;
        facts.retention_tags = engine.retention_tags(name).await?.into_iter().map(|(tag, _)| tag).collect();
        let found = rollback::target(name, &facts.releases, Some(release))?.clone();
        let plan = match is_pin {
            true => pinned::pin(name, &facts, release, &found.missing(engine, name).await?)?,
            false => pinned::unpin(name, &facts, release)?,
        };
        Ok(Planned { plan, subject: Subject::Unknown, release: Some(found) })
    };
    let mut console = Console::stdout();
    let command = if is_pin { Command::Pin } else { Command::Unpin };
    let job = Job { command, name, is_dry: *dry_run };
    code(Box::pin(perform(context, job, planned, |plan, _| text::pinned(plan), &mut console)).await)
}
