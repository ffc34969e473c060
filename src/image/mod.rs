//! Images without an engine: references, digests, and what an archive holds. Pure: bytes in, values out.

pub mod archive;
pub mod delta;
pub mod filter;
pub mod pin;
pub mod reference;
