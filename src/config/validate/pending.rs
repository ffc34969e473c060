//! What the official part of the file says about files that come later.

use std::path::Path;

use crate::config::field::Field;
use crate::config::pending::{Install, Pending};
use crate::config::validate::agent::{entries, hooks, is_ours, lexical};
use crate::values::types::LifecycleEvent;

pub(crate) fn read(root: &Field<'_>, bundle: &Path) -> Pending {
    let installs = entries(root, "files").filter_map(|entry| {
        let source = bundle.join(entry.text_of("source")?.trim_start_matches('/'));
        Some(Install { source, destination: lexical(Path::new(entry.text_of("destination")?))? })
    });
    let scripts = hooks(root).filter_map(|(event, entry)| {
        let event: LifecycleEvent = event.parse().ok()?;
        (Pending::EVENTS.contains(&event) && !is_ours(entry.text_of("location")?)).then_some(event)
    });
    Pending { installs: installs.collect(), scripts: scripts.collect() }
}
