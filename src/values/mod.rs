//! Plain values that refuse what is wrong, and text for people. They know nothing of hosts, files and plans.

pub mod bytes;
pub mod duration;
pub mod forward;
pub mod known;
pub mod labels;
pub mod names;
pub mod operation;
pub mod options;
pub mod pin;
pub mod progress;
pub mod reference;
pub mod secret;
pub mod text;
pub mod types;
