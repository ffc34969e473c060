//! What the official part of the file says about files that come later.

use std::path::{Path, PathBuf};

use crate::config::pending::{Install, Pending};
use crate::config::validate::agent::{entries, hooks, is_ours, lexical};
use crate::config::yaml::Node;
use crate::values::types::LifecycleEvent;

pub(crate) fn read(root: &Node, bundle: &Path) -> Pending {
    let installs = entries(root, "files").filter_map(|(_, entry)| {
        let text = |key: &str| entry.get(key).and_then(|(_, node)| node.as_text());
        let source = bundle.join(text("source")?.trim_start_matches('/'));
        Some(Install { source, destination: lexical(&PathBuf::from(text("destination")?))? })
    });
    let scripts = hooks(root).filter_map(|(event, _, entry)| {
        let event: LifecycleEvent = event.parse().ok()?;
        let location = entry.get("location")?.1.as_text()?;
        (Pending::EVENTS.contains(&event) && !is_ours(location)).then_some(event)
    });
    Pending { installs: installs.collect(), scripts: scripts.collect() }
}
