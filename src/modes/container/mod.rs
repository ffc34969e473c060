//! TODO-DOC modes/container

pub mod create;
pub mod operation;
pub mod plan;
pub mod recover;
pub mod start_first;
