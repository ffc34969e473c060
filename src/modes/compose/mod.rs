//! Compose mode: a project of services on this host, deployed by Docker Compose with every image pinned.
//!
//! `observe` reads the files and the engine, `plan` and `recover` decide, `operation` and `task` act. Nothing here knows
//! how a plan is executed, or of another mode.

pub(crate) mod against;
mod call;
pub(crate) mod changes;
pub(crate) mod check_out;
pub(crate) mod config;
pub(crate) mod containers;
pub(crate) mod demands;
pub(crate) mod drift;
pub(crate) mod fetched;
pub(crate) mod files;
pub(crate) mod listing;
pub(crate) mod observe;
pub mod operation;
pub(crate) mod plan;
pub mod project;
pub(crate) mod recover;
pub mod release;
pub mod service_change;
pub(crate) mod shown;
mod snapshot;
pub(crate) mod task;
pub(crate) mod tool;
pub mod unsaved;
mod variables;
pub mod wait;
