//! TODO-DOC values

pub mod bytes;
pub mod duration;
pub mod forward;
pub mod known;
pub mod labels;
pub mod names;
pub mod operation;
pub mod options;
pub mod pin;
pub mod reference;
pub mod text;
pub mod types;
