//! `rollback`: a kept release serves again.

use std::io;

use crate::app::by_hand::{Job, Planned, code, facts, perform};
use crate::app::{Context, one_name, say};
use crate::deploy::command::Command;
use crate::deploy::state::Store;
use crate::engine::Engine;
use crate::error::Failure;
use crate::modes::release::Release;
use crate::modes::resume::is_compose;
use crate::modes::rollback;
use crate::modes::runs_now::Subject;
use crate::ui::text::{self, Console};
use crate::values::pin::ImagePin;
use crate::values::types::Name;

impl Engine {
    /// The images of a release that are not here.
    pub(crate) async fn missing<'a>(&self, release: &'a Release, name: &Name) -> Result<Vec<&'a ImagePin>, Failure> {
        let mut missing = Vec::new();
        for pin in release.images() {
            if self.find(pin, name).await?.is_none() {
                missing.push(pin);
            }
        }
        Ok(missing)
    }
}

/// Does it, or prints what it would do. Returns the exit code.
pub(crate) async fn rollback(context: &Context, wanted: Option<&Name>, to: Option<&str>, is_dry: bool) -> u8 {
    let name = &match one_name(context, wanted, rollback::COMMAND) {
        Ok(name) => name,
        Err(failure) => return say(&failure),
    };
    let planned = async |engine: &Engine, store: &Store| {
        let facts = Box::pin(facts(context, engine, store, name)).await?;
        let release = rollback::target(name, &facts.releases, to)?;
        let missing = engine.missing(release, name).await?;
        let subject = Subject::found(&facts, is_compose(&facts));
        let plan = rollback::plan(name, &facts, release, &missing)?;
        Ok(Planned { plan, subject, release: Some(release.clone()) })
    };
    let mut stdout = io::stdout();
    let mut console = Console::new(&mut stdout);
    let job = Job { command: Command::Rollback, name, is_dry };
    code(Box::pin(perform(context, job, planned, text::by_hand, &mut console)).await)
}
