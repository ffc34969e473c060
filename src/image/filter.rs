//! A tar archive that passes by, without the blobs that the engine has already.
//!
//! A compressed archive cannot be looked at before it is loaded. What its entries' names say is enough to leave known
//! layers out: `blobs/sha256/<digest>` holds what has that digest. Whether the rest is complete is only known when the
//! engine has taken it.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};

use crate::spec::types::ContentDigest;

/// A block of a tar archive.
const BLOCK: usize = 512;
/// An entry must have so many bytes to be worth leaving out.
const WORTH: u64 = 4096;

/// The state between two chunks.
pub struct Filter {
    known: HashSet<ContentDigest>,
    block: BytesMut,
    /// Bytes of the current entry, with its padding, that are still to come; and whether they pass.
    entry: (u64, bool),
    /// Headers that say something of the entry that follows, and their contents: they go where it goes.
    held: Vec<Bytes>,
    holding: bool,
    left_out: bool,
    /// The archive has ended, or is none: everything passes.
    ended: bool,
}

impl Filter {
    /// Leaves out blobs with these digests.
    pub fn new(known: HashSet<ContentDigest>) -> Self {
        Self {
            known,
            block: BytesMut::with_capacity(BLOCK),
            entry: (0, true),
            held: Vec::new(),
            holding: false,
            left_out: false,
            ended: false,
        }
    }

    /// Whether anything was left out so far.
    pub const fn has_left_out(&self) -> bool {
        self.left_out
    }

    /// What is to be passed on of the next bytes.
    ///
    /// # Errors
    /// A header that makes no sense.
    pub fn feed(&mut self, mut chunk: Bytes) -> Result<Vec<Bytes>, String> {
        let mut out = Vec::new();
        while !chunk.is_empty() {
            if self.ended {
                out.push(std::mem::take(&mut chunk));
            } else if self.entry.0 > 0 {
                let here = usize::try_from(self.entry.0).unwrap_or(usize::MAX).min(chunk.len());
                let piece = chunk.split_to(here);
                self.entry.0 -= here as u64;
                match (self.holding, self.entry.1) {
                    (true, _) => self.held.push(piece),
                    (false, true) => out.push(piece),
                    (false, false) => {}
                }
            } else {
                let here = (BLOCK - self.block.len()).min(chunk.len());
                self.block.extend_from_slice(&chunk.split_to(here));
                if self.block.len() == BLOCK {
                    let block = self.block.split().freeze();
                    self.header(block, &mut out)?;
                }
            }
        }
        Ok(out)
    }

    fn header(&mut self, block: Bytes, out: &mut Vec<Bytes>) -> Result<(), String> {
        if block.iter().all(|byte| *byte == 0) {
            self.ended = true;
            out.append(&mut self.held);
            out.push(block);
            return Ok(());
        }
        let header = tar::Header::from_byte_slice(&block);
        let size = header.entry_size().map_err(|error| format!("a damaged tar header: {error}"))?;
        let kind = header.entry_type();
        self.holding = kind.is_pax_local_extensions() || kind.is_gnu_longname() || kind.is_gnu_longlink();
        let padded = size.checked_next_multiple_of(BLOCK as u64).ok_or("a tar entry of an impossible size")?;
        let is_known = size >= WORTH && kind.is_file() && self.is_known(&header.path_bytes());
        self.left_out |= is_known;
        self.entry = (padded, !is_known);
        match (self.holding, is_known) {
            (true, _) => self.held.push(block),
            (false, true) => self.held.clear(),
            (false, false) => {
                out.append(&mut self.held);
                out.push(block);
            }
        }
        Ok(())
    }

    fn is_known(&self, path: &[u8]) -> bool {
        let name = std::str::from_utf8(path).ok().and_then(|path| path.strip_prefix("blobs/sha256/"));
        let digest = name.and_then(|hex| format!("sha256:{hex}").parse::<ContentDigest>().ok());
        digest.is_some_and(|digest| self.known.contains(&digest))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn archive(blobs: &[Vec<u8>]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, content).unwrap();
        };
        add(&format!("{}/json", "x".repeat(120)), b"{}");
        blobs.iter().for_each(|blob| add(&format!("blobs/sha256/{}", ContentDigest::of(blob).hex()), blob));
        add("manifest.json", b"[]");
        tar.into_inner().unwrap()
    }

    fn pass(bytes: &[u8], chunk: usize, known: &[&Vec<u8>]) -> (Vec<u8>, bool) {
        let mut filter = Filter::new(known.iter().map(|blob| ContentDigest::of(blob)).collect());
        let mut out = Vec::new();
        for piece in bytes.chunks(chunk) {
            filter.feed(Bytes::copy_from_slice(piece)).unwrap().iter().for_each(|piece| out.extend_from_slice(piece));
        }
        (out, filter.has_left_out())
    }

    proptest! {
        #[test]
        fn known_blobs_are_left_out_and_all_else_passes_however_it_is_cut(
            sizes in proptest::collection::vec(WORTH as usize..9000, 1..5),
            chunk in 1usize..3000,
            which in 0usize..5,
        ) {
            let blobs: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(at, size)| vec![at as u8; *size]).collect();
            let whole = archive(&blobs);
            prop_assert_eq!(pass(&whole, chunk, &[]), (whole.clone(), false));
            let which = which % blobs.len();
            let rest: Vec<Vec<u8>> = blobs.iter().enumerate().filter(|(at, _)| *at != which).map(|(_, b)| b.clone()).collect();
            prop_assert_eq!(pass(&whole, chunk, &[&blobs[which]]), (archive(&rest), true));
        }

        #[test]
        fn bytes_by_chance_pass_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let _ = Filter::new(HashSet::new()).feed(bytes.into());
        }
    }
}
