//! `prune`: images of ours that no kept release needs, for every name or for one.

use crate::app::by_hand::{Job, Planned, code, facts, perform};
use crate::app::{Context, names, say};
use crate::deploy::command::Command;
use crate::deploy::state::Store;
use crate::engine::Engine;
use crate::modes::prune;
use crate::modes::runs_now::Subject;
use crate::ui::text::{self, Console};
use crate::values::types::Name;

#[derive(Clone, Copy)]
pub(crate) struct Which {
    pub(crate) dry_run: bool,
    /// Images without a tag that are not ours too.
    pub(crate) unmanaged: bool,
}

/// Removes them, or prints what it would remove. Returns the worst exit code.
pub(crate) async fn prune(context: &Context, wanted: Option<&Name>, Which { dry_run, unmanaged }: Which) -> u8 {
    let mut console = Console::stdout();
    let names = match names(context, wanted) {
        Ok(names) => names,
        Err(failure) => return say(&failure),
    };
    if names.is_empty() {
        console.line("balehook has deployed nothing on this host");
    }
    let mut worst = 0;
    for (index, name) in names.iter().enumerate() {
        // What is not of a name goes once, when every name is done.
        let all = unmanaged && index + 1 == names.len();
        let planned = async |engine: &Engine, store: &Store| {
            let mut facts = Box::pin(facts(context, engine, store, name)).await?;
            let tags = engine.retention_tags(name).await?;
            let ended = crate::modes::observe::images_of_ended_tasks(&engine.list().await?);
            let of_tasks = tags.iter().filter(|(_, id)| ended.contains(id));
            facts.of_swarm_tasks = of_tasks.map(|(tag, _)| tag.clone()).collect();
            facts.retention_tags = tags.into_iter().map(|(tag, _)| tag).collect();
            let dangling = if all { engine.dangling().await? } else { Vec::new() };
            let plan = prune::plan(name, &facts, &dangling)?;
            Ok(Planned { plan, subject: Subject::Unknown, release: facts.releases.into_iter().next() })
        };
        let job = Job { command: Command::Prune, name, is_dry: dry_run };
        let done = Box::pin(perform(context, job, planned, |plan, _| text::pruned(plan), &mut console)).await;
        worst = worst.max(code(done));
    }
    worst
}
