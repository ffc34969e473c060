//! The tests on real things: an engine, registries with TLS, an S3 server, the ECR API and its credential helper.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[allow(dead_code, reason = "tests/docs reads more of the pages")]
#[path = "../docs/book.rs"]
mod book;

mod archives;
mod aws;
mod bad_values;
mod boot;
mod broken;
mod by_hand;
mod chance;
mod commands;
mod compose;
mod delta;
mod deploy;
mod docs_commands;
mod doctor;
mod ecr;
mod endpoint;
mod failing_undo;
mod faults;
mod handover;
mod hangs;
mod health;
mod history;
mod iam;
mod images;
mod import;
mod init;
mod interrupt;
mod journal;
mod kill_matrix;
mod leaks;
mod not_yet;
mod notify;
mod operator;
mod options;
mod policy;
mod pruned;
mod pulls;
mod race;
mod recipes;
mod registry;
mod rollback;
mod room;
#[path = "../schemas/mod.rs"]
mod schemas;
mod screen;
mod secrets;
mod sharing;
mod side_by_side;
mod status;
mod support;
mod swarm;
mod tasks;
mod tasks_compose;
mod tasks_swarm;
mod trust;
mod tutorial;
mod uninstall;
mod values;
mod volumes;
