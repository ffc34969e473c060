//! Images without an engine: references, digests, and what an archive holds. Pure: bytes in, values out.

pub mod archive;
pub mod pin;
pub mod reference;
