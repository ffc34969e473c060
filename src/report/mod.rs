//! What a person sees.

pub mod json;
pub mod log;
pub mod problems;
pub mod progress;
pub mod text;
