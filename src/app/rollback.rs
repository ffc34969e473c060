//! `rollback`: a kept release serves again.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::app::by_hand::{Job, Planned, code, facts, perform};
use crate::app::notify::Notification;
use crate::app::{Context, one_name, say};
use crate::config::notify::Occasion;
use crate::deploy::command::Command;
use crate::deploy::state::Store;
use crate::engine::Engine;
use crate::modes::resume::is_compose;
use crate::modes::rollback;
use crate::modes::runs_now::Subject;
use crate::ui::text::{self, Console};
use crate::values::types::Name;

/// By hand there is no hook whose time is up.
const LIMIT: Duration = Duration::from_secs(3600);

/// Does it, or prints what it would do. Returns the exit code.
pub(crate) async fn rollback(context: &Context, wanted: Option<&Name>, to: Option<&str>, is_dry: bool) -> u8 {
    let name = &match one_name(context, wanted, rollback::COMMAND) {
        Ok(name) => name,
        Err(failure) => return say(&failure),
    };
    let (began, notification) = (Instant::now(), RefCell::new(None));
    let planned = async |engine: &Engine, store: &Store| {
        let facts = Box::pin(facts(context, engine, store, name)).await?;
        let release = rollback::target(name, &facts.releases, to)?;
        *notification.borrow_mut() = Notification::of_rollback(store, name.as_str(), release, began + LIMIT);
        let missing = release.missing(engine, name).await?;
        let subject = Subject::found(&facts, is_compose(&facts));
        let plan = rollback::plan(name, &facts, release, &missing)?;
        Ok(Planned { plan, subject, release: Some(release.clone()) })
    };
    let mut console = Console::stdout();
    let job = Job { command: Command::Rollback, name, is_dry };
    let done = Box::pin(perform(context, job, planned, text::by_hand, &mut console)).await;
    let failure = done.as_ref().err().cloned();
    let code = code(done);
    if let Some(notification) = notification.into_inner().filter(|_| !is_dry) {
        let occasion = if code == 0 { Occasion::Rollback } else { Occasion::Failure };
        Box::pin(notification.send(
            context,
            occasion,
            (rollback::COMMAND, code, failure.as_ref()),
            began,
            &mut console,
        ))
        .await;
    }
    code
}
