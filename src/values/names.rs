//! The names that containers have while one replaces another.

use crate::values::types::Name;

const NEW: &str = ".balehook-new";
const OLD: &str = ".balehook-old";

/// Whether a deployment of that name would take what a replacement of another one is called.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.ends_with(NEW) || name.ends_with(OLD)
}

/// The name a new container is created under.
pub(crate) fn new_name(name: &Name) -> String {
    format!("{name}{NEW}")
}

/// The name the old container has while it is replaced.
pub(crate) fn old_name(name: &Name) -> String {
    format!("{name}{OLD}")
}
