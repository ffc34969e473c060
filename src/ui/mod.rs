//! What a person sees.

pub mod excerpt;
pub mod json;
pub mod log;
pub mod problems;
pub mod progress;
pub mod status;
pub mod text;
