//! What a person sees: text, JSON, progress and the log. Only `app` and `main` use it; it does nothing to a host.

pub(crate) mod changes;
pub(crate) mod console;
pub(crate) mod doctor;
pub(crate) mod excerpt;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod journal;
pub mod json;
pub mod layout;
pub(crate) mod log;
pub mod markdown;
pub(crate) mod page;
pub(crate) mod problems;
pub(crate) mod progress;
pub mod report;
pub(crate) mod schemas;
pub(crate) mod screen;
#[cfg(test)]
mod screens_tests;
pub(crate) mod status;
pub mod text;
