//! Container mode: one container replaces the one before it, stop-first or start-first.

pub(crate) mod drift;
pub mod facts;
mod observe;
pub mod operation;
pub(crate) mod plan;
pub mod recover;
pub(crate) mod replace;
mod replay;
pub(crate) mod secrets;
mod spec;
pub(crate) mod start_first;
mod task;
mod volumes;
