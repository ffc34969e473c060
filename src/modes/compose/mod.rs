//! Compose mode: a project of services on this host, brought up by Docker Compose with every image pinned.
//!
//! `observe` reads the files and the engine, `plan` and `recover` decide, `operation` and `task` act. Nothing here knows
//! how a plan is executed, or of another mode.

pub mod config;
pub mod containers;
pub mod listing;
pub mod observe;
pub mod operation;
pub mod plan;
pub mod project;
pub mod recover;
pub mod release;
pub mod service_change;
pub mod snapshot;
pub mod task;
pub mod tool;
pub mod wait;
