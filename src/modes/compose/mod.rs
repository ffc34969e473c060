//! Compose mode: a project on each host, its images pinned and its files in a copy of the host's own. It knows no other mode.

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
