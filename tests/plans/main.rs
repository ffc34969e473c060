//! Plans as values: golden texts, and the proof that what is printed is what a host is given.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod by_hand;
mod compose;
mod drift;
mod failures;
mod golden;
mod images;
mod import;
mod mounted;
mod pinned;
mod ports;
mod prune;
mod request;
mod resume;
mod rollback;
mod scenes;
#[path = "../schemas/mod.rs"]
mod schemas;
mod specification;
mod swarm;
mod tasks;
mod tasks_swarm;
