//! Plain values that refuse what is wrong, and text for people. They know nothing of hosts, files and plans.

pub(crate) mod bytes;
pub(crate) mod duration;
pub mod forward;
pub mod known;
pub mod labels;
pub mod mounted;
pub(crate) mod names;
pub mod operation;
pub(crate) mod options;
pub mod pin;
pub(crate) mod progress;
pub(crate) mod public_key;
pub(crate) mod reference;
pub(crate) mod s3_uri;
pub mod secret;
pub mod secret_file;
pub mod secret_value;
pub(crate) mod severity;
pub mod source;
pub mod target;
pub(crate) mod text;
pub mod types;
pub mod volume;
