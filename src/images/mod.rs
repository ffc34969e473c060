//! Images: what an archive holds and which layers of it are missing (pure: bytes in, values out), and how they are loaded or
//! pulled. It knows no plan and no mode.

pub mod archive;
pub(crate) mod cosign;
pub(crate) mod credentials;
pub(crate) mod decompress;
pub mod delta;
pub mod facts;
pub mod filter;
pub(crate) mod import;
mod kms_key;
pub(crate) mod load;
mod load_error;
pub mod operation;
pub(crate) mod pull;
pub mod record;
pub(crate) mod registry;
pub(crate) mod rename;
mod scan;
pub(crate) mod source;
pub(crate) mod transfer;
pub(crate) mod unpacked;
pub(crate) mod verify;
