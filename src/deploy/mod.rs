//! TODO-DOC deploy

pub mod execute;
pub mod host;
pub mod origin;
pub mod plan;
pub mod state;
