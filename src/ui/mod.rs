//! What a person sees: text, JSON, progress and the log. Only `app` and `main` use it; it does nothing to a host.

pub mod excerpt;
pub mod json;
pub mod log;
pub mod problems;
pub mod progress;
pub mod status;
pub mod text;
