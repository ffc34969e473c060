//! The headers of a tar archive: name, place and size of each entry.
//!
//! Source: POSIX ustar and pax, and GNU's long names and base-256 numbers.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::{ArchiveError, Compression, ReadAt, ReadError};

/// One read while walking: small entries come with their headers, and the first bytes of a layer.
const READ: usize = 16 * 1024;
/// So much of what was read while walking is kept: the manifests and configs are among it.
const REMEMBERED: usize = 4 * 1024 * 1024;
/// A block of a tar archive.
const BLOCK: u64 = 512;
/// More entries than any image has: 127 layers with three files each, and their configs.
const MAX_ENTRIES: usize = 65_536;
/// Longest name or pax record that is read.
const MAX_EXTENSION: u64 = 64 * 1024;

/// An entry's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where its bytes start.
    pub offset: u64,
    /// How many they are.
    pub size: u64,
    /// For a hard or symbolic link: the name it points to, from the archive's root.
    pub link: Option<String>,
    /// How its bytes are compressed.
    pub compression: Compression,
}

/// Entries by name, `./` stripped; a later entry of the same name wins, as when it is unpacked.
pub(super) type Entries = BTreeMap<String, Entry>;

/// An archive of which the last reads are remembered.
pub(super) struct Remembering<'a, A> {
    archive: &'a A,
    reads: RefCell<BTreeMap<u64, Bytes>>,
}

impl<'a, A> Remembering<'a, A> {
    pub(super) const fn new(archive: &'a A) -> Self {
        Self { archive, reads: RefCell::new(BTreeMap::new()) }
    }

    fn remembered(&self, offset: u64, len: usize) -> Option<Bytes> {
        let reads = self.reads.borrow();
        let (start, bytes) = reads.range(..=offset).next_back()?;
        let from = usize::try_from(offset - start).ok()?;
        let to = from.checked_add(len).filter(|to| *to <= bytes.len())?;
        Some(bytes.slice(from..to))
    }

    fn remember(&self, offset: u64, bytes: &Bytes) {
        let mut reads = self.reads.borrow_mut();
        reads.insert(offset, bytes.clone());
        while reads.values().map(Bytes::len).sum::<usize>() > REMEMBERED {
            reads.pop_first();
        }
    }
}

impl<A: ReadAt> ReadAt for Remembering<'_, A> {
    fn len(&self) -> u64 {
        self.archive.len()
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        if let Some(bytes) = self.remembered(offset, len) {
            return Ok(bytes);
        }
        let bytes = self.archive.read_at(offset, len).await?;
        self.remember(offset, &bytes);
        Ok(bytes)
    }
}

struct Walker<'a, A> {
    archive: &'a A,
    buffer: Bytes,
    start: u64,
}

/// Walks all headers.
pub(super) async fn entries(archive: &impl ReadAt) -> Result<Entries, ArchiveError> {
    let mut walker = Walker { archive, buffer: Bytes::new(), start: 0 };
    let mut found = Entries::new();
    let mut extension = Extension::default();
    let mut offset = 0;
    loop {
        let block = walker.read(offset, BLOCK).await?;
        if offset == 0 {
            recognise(&block)?;
        }
        if block.len() < BLOCK as usize || block.iter().all(|byte| *byte == 0) {
            return end(found, archive, offset, &block);
        }
        let header = tar::Header::from_byte_slice(&block);
        check(header, &block, offset)?;
        let size = extension.size.map_or_else(|| size_of(header, offset), Ok)?;
        let name = extension.name.clone().unwrap_or_else(|| text(&header.path_bytes()));
        let data = offset + BLOCK;
        let end =
            data.checked_add(size).filter(|end| *end <= archive.len()).ok_or_else(|| ArchiveError::Truncated {
                entry: name.clone(),
                offset,
                needs: data.saturating_add(size),
                has: archive.len(),
            })?;
        let kind = header.entry_type();
        if kind.is_pax_local_extensions() || kind.is_gnu_longname() || kind.is_gnu_longlink() {
            if size > MAX_EXTENSION {
                return Err(ArchiveError::Damaged { offset, why: format!("a name of {size} bytes") });
            }
            extension.take(kind, &walker.read(data, size).await?, offset)?;
        } else {
            let extension = std::mem::take(&mut extension);
            if !kind.is_pax_global_extensions() && !kind.is_dir() {
                let link = extension.link.or_else(|| header.link_name_bytes().map(|link| text(&link)));
                let link = link.filter(|_| kind.is_hard_link() || kind.is_symlink());
                let link = link.map(|link| resolve(&name, &link, kind.is_symlink()));
                let start = walker.read(data, size.min(Compression::MAGIC as u64)).await?;
                let compression = Compression::of(&start);
                found.insert(clean(&name), Entry { offset: data, size, link, compression });
            }
        }
        if found.len() > MAX_ENTRIES {
            return Err(ArchiveError::Damaged { offset, why: format!("more than {MAX_ENTRIES} entries") });
        }
        offset = end.div_ceil(BLOCK) * BLOCK;
    }
}

impl<A: ReadAt> Walker<'_, A> {
    /// `len` bytes at `offset`, from the buffer where it holds them.
    async fn read(&mut self, offset: u64, len: u64) -> Result<Bytes, ArchiveError> {
        let buffered = self.start + self.buffer.len() as u64;
        let is_known = offset >= self.start && (offset + len <= buffered || buffered >= self.archive.len());
        if !is_known || self.buffer.is_empty() {
            let want = READ.max(usize::try_from(len).unwrap_or(READ));
            self.buffer = match offset < self.archive.len() {
                true => self.archive.read_at(offset, want).await?,
                false => Bytes::new(),
            };
            self.start = offset;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX).min(self.buffer.len());
        let to = from.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)).min(self.buffer.len());
        Ok(self.buffer.slice(from..to))
    }
}

/// What a pax or GNU extension says of the entry that follows.
#[derive(Default)]
struct Extension {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Extension {
    fn take(&mut self, kind: tar::EntryType, data: &[u8], offset: u64) -> Result<(), ArchiveError> {
        if kind.is_gnu_longname() {
            self.name = Some(text(data));
        } else if kind.is_gnu_longlink() {
            self.link = Some(text(data));
        } else {
            for record in tar::PaxExtensions::new(data) {
                let record = record.map_err(|error| ArchiveError::Damaged { offset, why: error.to_string() })?;
                let value = text(record.value_bytes());
                match record.key_bytes() {
                    b"path" => self.name = Some(value),
                    b"linkpath" => self.link = Some(value),
                    b"size" => {
                        let size = value
                            .parse()
                            .map_err(|_| ArchiveError::Damaged { offset, why: format!("a size of `{value}`") })?;
                        self.size = Some(size);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn end(found: Entries, archive: &impl ReadAt, offset: u64, block: &[u8]) -> Result<Entries, ArchiveError> {
    let is_cut = !block.is_empty() && block.len() < BLOCK as usize;
    match is_cut {
        true => Err(ArchiveError::Truncated {
            entry: "(the next header)".into(),
            offset,
            needs: offset + BLOCK,
            has: archive.len(),
        }),
        false => Ok(found),
    }
}

/// The first block tells what it is, where it is no tar archive.
fn recognise(block: &[u8]) -> Result<(), ArchiveError> {
    match Compression::of(block) {
        Compression::None => {}
        compression => return Err(ArchiveError::Compressed(compression)),
    }
    if block.len() == BLOCK as usize
        && tar::Header::from_byte_slice(block).cksum().is_ok_and(|sum| sum == sum_of(block))
    {
        return Ok(());
    }
    let start = String::from_utf8_lossy(&block[..block.len().min(40)]).into_owned();
    let start = crate::report::text::printable(&start);
    Err(ArchiveError::NotAnArchive(if block.is_empty() { "nothing: it is empty".into() } else { format!("`{start}`") }))
}

fn check(header: &tar::Header, block: &[u8], offset: u64) -> Result<(), ArchiveError> {
    match header.cksum() {
        Ok(sum) if sum == sum_of(block) => Ok(()),
        _ => Err(ArchiveError::Damaged { offset, why: "a tar header was expected, its checksum is wrong".into() }),
    }
}

/// The checksum of a header: the sum of its bytes with the checksum's own field as spaces.
fn sum_of(block: &[u8]) -> u32 {
    let sum = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) });
    sum.sum()
}

fn size_of(header: &tar::Header, offset: u64) -> Result<u64, ArchiveError> {
    let kind = header.entry_type();
    if kind.is_hard_link() || kind.is_symlink() || kind.is_dir() {
        return Ok(0);
    }
    header.entry_size().map_err(|error| ArchiveError::Damaged { offset, why: error.to_string() })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

/// A name from the archive's root: `./a//b/../c` is `a/c`.
fn clean(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A hard link's name is from the archive's root, a symbolic link's from the folder it is in.
fn resolve(name: &str, link: &str, is_symbolic: bool) -> String {
    match name.rsplit_once('/').filter(|_| is_symbolic && !link.starts_with('/')) {
        Some((folder, _)) => clean(&format!("{folder}/{link}")),
        None => clean(link),
    }
}
