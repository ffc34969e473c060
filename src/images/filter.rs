//! A tar archive that passes by, without the blobs that the engine has already.
//!
//! A compressed archive cannot be indexed before it is loaded. What its entries' names say is enough to leave known
//! layers out: `blobs/sha256/<digest>` holds what has that digest. Whether the rest is complete is only known when the
//! engine has taken it. The images get tags of ours on their way, and what their layers unpack to is counted.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};

use crate::images::archive::ArchiveError;
use crate::images::archive::header::{BLOCK, Extends, Headers, Kind};
use crate::images::delta::{header, padding};
use crate::images::rename::{Document, Renamed};
use crate::images::unpacked::Unpacked;
use crate::values::types::ContentDigest;

/// An entry must have so many bytes to be worth leaving out.
const WORTH: u64 = 4096;

/// Names and pax records of one entry, or a document that names the images, in bytes.
const MAX_HELD: usize = 4 * 1024 * 1024;

/// The state between two chunks.
pub struct Filter {
    known: HashSet<ContentDigest>,
    headers: Headers,
    /// Where the next byte is in the archive.
    at: u64,
    block: BytesMut,
    /// What is done with the current entry's bytes, and how many are still to come, its padding among them.
    entry: (Passage, u64),
    /// Headers that say something of the entry that follows, and their contents: they go where it goes.
    held: Vec<Bytes>,
    left_out: bool,
    /// What tags of ours begin with, and those that were given.
    prefix: String,
    renamed: Vec<Renamed>,
    /// What all that was passed on unpacks to.
    unpacked: Unpacked,
    /// The archive has ended: everything passes.
    ended: bool,
}

#[derive(Clone, Copy)]
enum Passage {
    /// So many bytes of it are padding.
    Passes(u64),
    /// It is held until its end, so many bytes without the padding, and passes with other names.
    Renamed(Document, u64),
    LeftOut,
    /// It says something of the next entry: so many bytes of it, without the padding.
    Held(Extends, u64),
}

impl Filter {
    /// Leaves out blobs with these digests; the tags that images get are `prefix` and a number. What is passed on is
    /// counted unpacked, up to a little more than `most`.
    pub fn new(known: HashSet<ContentDigest>, prefix: String, most: u64) -> Self {
        Self {
            known,
            prefix,
            unpacked: Unpacked::new(most),
            renamed: Vec::new(),
            headers: Headers::default(),
            at: 0,
            block: BytesMut::with_capacity(BLOCK as usize),
            entry: (Passage::Passes(0), 0),
            held: Vec::new(),
            left_out: false,
            ended: false,
        }
    }

    /// Whether anything was left out so far.
    pub(crate) const fn has_left_out(&self) -> bool {
        self.left_out
    }

    /// The tags that the images got so far.
    pub(crate) fn renamed(&self) -> &[Renamed] {
        &self.renamed
    }

    /// How many bytes everything that was passed on has when it is unpacked.
    pub(crate) fn unpacked(&self) -> u64 {
        self.unpacked.bytes()
    }

    /// The entry that it came to.
    pub(crate) fn last(&self) -> String {
        format!("`{}`", self.headers.last())
    }

    /// What is to be passed on of the next bytes.
    ///
    /// # Errors
    /// A header that makes no sense, or a compressed layer that is none.
    pub fn feed(&mut self, mut chunk: Bytes) -> Result<Vec<Bytes>, ArchiveError> {
        let mut out = Vec::new();
        while !chunk.is_empty() {
            let (passage, left) = self.entry;
            let wanted = match left {
                _ if self.ended => chunk.len(),
                0 => BLOCK as usize - self.block.len(),
                left => usize::try_from(left).unwrap_or(usize::MAX),
            };
            let piece = chunk.split_to(wanted.min(chunk.len()));
            self.at += piece.len() as u64;
            if self.ended {
                out.push(piece);
            } else if left > 0 {
                self.entry.1 -= piece.len() as u64;
                self.content(passage, piece, &mut out)?;
            } else {
                self.block.extend_from_slice(&piece);
                if self.block.len() == BLOCK as usize {
                    let block = self.block.split().freeze();
                    self.header(block, &mut out)?;
                }
            }
        }
        Ok(out)
    }

    fn content(&mut self, passage: Passage, piece: Bytes, out: &mut Vec<Bytes>) -> Result<(), ArchiveError> {
        match passage {
            Passage::Passes(padding) => {
                let of_it = padding.saturating_sub(self.entry.1).min(piece.len() as u64);
                let counted = self.unpacked.feed(&piece[..piece.len() - usize::try_from(of_it).unwrap_or(0)]);
                let why = |error| format!("what is here cannot be unpacked: {error}");
                counted.map_err(|error| damaged(self.at - piece.len() as u64, why(error)))?;
                out.push(piece);
            }
            Passage::Renamed(document, size) => {
                self.block.extend_from_slice(&piece);
                if self.entry.1 == 0 {
                    let content = self.block.split();
                    self.rename(document, &content[..usize::try_from(size).unwrap_or(0)], out)?;
                }
            }
            Passage::LeftOut => {}
            Passage::Held(about, size) => {
                self.block.extend_from_slice(&piece);
                if self.entry.1 == 0 {
                    let data = self.block.split().freeze();
                    let header = self.at - data.len() as u64 - BLOCK;
                    self.headers.extension(about, &data[..usize::try_from(size).unwrap_or(0)], header)?;
                    self.hold(data)?;
                }
            }
        }
        Ok(())
    }

    fn header(&mut self, block: Bytes, out: &mut Vec<Bytes>) -> Result<(), ArchiveError> {
        if block.iter().all(|byte| *byte == 0) {
            self.ended = true;
            out.append(&mut self.held);
            out.push(block);
            return Ok(());
        }
        let offset = self.at - BLOCK;
        let announced = self.headers.read(&block, offset)?;
        let padded = announced.size.checked_next_multiple_of(BLOCK);
        let padded = padded.ok_or_else(|| damaged(offset, format!("an entry of {} bytes", announced.size)))?;
        let is_known = announced.kind == Kind::File && announced.size >= WORTH && self.is_known(&announced.name);
        self.left_out |= is_known;
        if let Kind::Extension(about) = announced.kind {
            self.entry = (Passage::Held(about, announced.size), padded);
            return match padded {
                0 => self.headers.extension(about, &[], offset).and_then(|()| self.hold(block)),
                _ => self.hold(block),
            };
        }
        if let Some(document) = Document::called(&announced.name) {
            self.held.clear();
            let is_readable = announced.kind == Kind::File && (1..=MAX_HELD as u64).contains(&announced.size);
            self.entry = (Passage::Renamed(document, announced.size), padded);
            return match is_readable {
                true => Ok(()),
                false => Err(damaged(offset, format!("`{}` is no file that can be read", announced.name))),
            };
        }
        if is_known {
            self.entry = (Passage::LeftOut, padded);
            self.held.clear();
        } else {
            self.entry = (Passage::Passes(padded - announced.size), padded);
            self.unpacked.begin(1);
            out.append(&mut self.held);
            out.push(block);
        }
        Ok(())
    }

    fn rename(&mut self, document: Document, content: &[u8], out: &mut Vec<Bytes>) -> Result<(), ArchiveError> {
        let new = document.rename(content, &self.prefix, &mut self.renamed);
        let new =
            new.map_err(|error| damaged(self.at - content.len() as u64, format!("{}: {error}", document.name())))?;
        let (length, zeros) = (new.len() as u64, padding(new.len() as u64));
        out.extend([header(document.name(), length), new.into(), vec![0; zeros].into()]);
        Ok(())
    }

    fn hold(&mut self, bytes: Bytes) -> Result<(), ArchiveError> {
        self.held.push(bytes);
        match self.held.iter().map(Bytes::len).sum::<usize>() > MAX_HELD {
            true => Err(damaged(self.at, format!("names and pax records of more than {MAX_HELD} bytes"))),
            false => Ok(()),
        }
    }

    fn is_known(&self, name: &str) -> bool {
        let hex = name.strip_prefix("blobs/sha256/");
        let digest = hex.and_then(|hex| format!("sha256:{hex}").parse::<ContentDigest>().ok());
        digest.is_some_and(|digest| self.known.contains(&digest))
    }
}

const fn damaged(offset: u64, why: String) -> ArchiveError {
    ArchiveError::Damaged { offset, why }
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
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, content).unwrap();
        };
        add(&format!("{}/json", "x".repeat(120)), b"{}");
        blobs.iter().for_each(|blob| add(&format!("blobs/sha256/{}", ContentDigest::of(blob).hex()), blob));
        add("manifest.json", b"[]");
        tar.into_inner().unwrap()
    }

    fn pass(bytes: &[u8], chunk: usize, known: &[&Vec<u8>]) -> (Vec<u8>, bool) {
        let mut filter =
            Filter::new(known.iter().map(|blob| ContentDigest::of(blob)).collect(), String::new(), u64::MAX);
        let mut out = Vec::new();
        for piece in bytes.chunks(chunk) {
            filter.feed(Bytes::copy_from_slice(piece)).unwrap().iter().for_each(|piece| out.extend_from_slice(piece));
        }
        (out, filter.has_left_out())
    }

    /// An archive of one entry, `name`, with `content`.
    fn one(kind: tar::EntryType, name: &str, content: &[u8]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        if kind.is_symlink() {
            header.set_link_name("other.json").unwrap();
        }
        tar.append_data(&mut header, name, content).unwrap();
        tar.into_inner().unwrap()
    }

    #[test]
    fn images_pass_with_tags_of_ours_however_the_archive_is_cut() {
        let manifest = br#"[{"Config": "c", "RepoTags": ["nginx:latest", "balehook/other:0123"], "Layers": []}]"#;
        let ours = br#"[{"Config":"c","Layers":[],"RepoTags":["balehook/web:part-1"]}]"#;
        for chunk in [1, 511, 4096] {
            let mut filter = Filter::new(HashSet::new(), "balehook/web:part-".into(), u64::MAX);
            let mut out = Vec::new();
            for piece in one(tar::EntryType::Regular, "./manifest.json", manifest).chunks(chunk) {
                filter.feed(piece.to_vec().into()).unwrap().iter().for_each(|piece| out.extend_from_slice(piece));
            }
            assert_eq!(out, one(tar::EntryType::Regular, "manifest.json", ours), "{chunk}");
            assert_eq!(filter.renamed()[0].references, ["nginx:latest", "balehook/other:0123"]);
        }
    }

    #[test]
    fn a_document_that_names_images_and_is_a_link_a_folder_or_no_document_is_refused() {
        let refused = |archive: Vec<u8>| {
            Filter::new(HashSet::new(), String::new(), u64::MAX).feed(archive.into()).unwrap_err().to_string()
        };
        for name in ["manifest.json", "./index.json", "repositories"] {
            let link = refused(one(tar::EntryType::Symlink, name, b""));
            assert!(link.ends_with("` is no file that can be read"), "{link}");
        }
        let broken = refused(one(tar::EntryType::Regular, "manifest.json", b"{\"nginx\": 1}"));
        assert!(broken.contains("manifest.json: invalid type: map, expected a sequence"), "{broken}");
    }

    #[test]
    fn names_without_end_are_refused_and_not_kept_in_memory() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(b'x'));
        header.set_size(0);
        header.set_cksum();
        let endless = header.as_bytes().repeat(9000);
        let error = Filter::new(HashSet::new(), String::new(), u64::MAX).feed(endless.into()).unwrap_err().to_string();
        assert!(error.contains("names and pax records of more than 4194304 bytes"), "{error}");
        let error =
            Filter::new(HashSet::new(), String::new(), u64::MAX).feed(vec![b'x'; 600].into()).unwrap_err().to_string();
        assert_eq!(error, "is damaged at byte 0: a tar header was expected, its checksum is wrong");
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
        fn a_size_that_only_pax_tells_and_a_link_with_one_do_not_confuse_it(chunk in 1usize..3000) {
            let blob = vec![b'b'; 9000];
            let mut tar = tar::Builder::new(Vec::new());
            tar.append_pax_extensions([("size", b"9000".as_slice())]).unwrap();
            let mut header = tar::Header::new_ustar();
            header.set_path(format!("./blobs/sha256/{}", ContentDigest::of(&blob).hex())).unwrap();
            header.set_size(0);
            header.set_cksum();
            tar.append(&header, &blob[..]).unwrap();
            let whole = [&tar.into_inner().unwrap()[..1536], &blob, &[0; 216]].concat();
            let mut link = tar::Header::new_gnu();
            link.set_entry_type(tar::EntryType::Link);
            link.set_size(77_777);
            link.set_link_name("a").unwrap();
            link.set_cksum();
            let whole = [&whole[..], link.as_bytes(), &archive(&[])].concat();
            prop_assert_eq!(pass(&whole, chunk, &[]), (whole.clone(), false));
            prop_assert_eq!(pass(&whole, chunk, &[&blob]), ([link.as_bytes(), &archive(&[])[..]].concat(), true));
        }

        #[test]
        fn bytes_by_chance_pass_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let _ = Filter::new(HashSet::new(), String::new(), u64::MAX).feed(bytes.into());
        }
    }
}
