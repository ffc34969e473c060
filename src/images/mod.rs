//! Images without an engine: references, digests, and what an archive holds. Pure: bytes in, values out.

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
pub mod source;
pub mod transfer;
