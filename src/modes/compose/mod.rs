//! TODO-DOC modes/compose

pub mod config;
pub mod observe;
pub mod operation;
pub mod perform;
pub mod plan;
pub mod project;
pub mod release;
pub mod snapshot;
pub mod task;
pub mod tool;
pub mod wait;
