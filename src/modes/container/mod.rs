//! Container mode: one container replaces the one before it, stop-first or start-first.

pub mod operation;
pub mod plan;
pub mod recover;
mod replace;
mod spec;
pub mod start_first;
