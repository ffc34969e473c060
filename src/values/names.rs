//! The names that containers have while one replaces another.

use crate::values::types::Name;

/// The name a new container is created under.
pub fn new_name(name: &Name) -> String {
    format!("{name}.balehook-new")
}

/// The name of a container that is only created, to see whether its image is whole.
pub fn try_name(name: &Name) -> String {
    format!("{name}.balehook-try")
}

/// The name the old container has during a swap.
pub fn old_name(name: &Name) -> String {
    format!("{name}.balehook-old")
}
