//! Images: what an archive holds and which layers of it are missing (pure: bytes in, values out), and how they are loaded or
//! pulled. It knows no plan and no mode.

pub mod archive;
pub mod credentials;
pub mod decompress;
pub mod delta;
pub mod facts;
pub mod filter;
pub mod import;
pub mod load;
pub mod operation;
pub mod pull;
pub mod record;
pub mod source;
pub mod transfer;
