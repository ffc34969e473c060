//! Plans and their execution, releases and journals on disk. It knows no mode and no operation: a mode's operation is a type
//! parameter, and what it means is its role.

pub(crate) mod command;
pub mod execute;
mod file;
pub(crate) mod history;
pub mod journal;
pub mod origin;
pub mod outcome;
pub mod plan;
#[cfg(test)]
pub(crate) mod records_for_tests;
pub mod release;
pub mod state;
mod stopped;
#[cfg(test)]
mod tests;
pub mod undo;
