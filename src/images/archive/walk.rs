//! A walk over the headers of a tar archive: name, place and size of each entry.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::images::archive::header::{BLOCK, Headers, Kind, is_header, shown};
use crate::images::archive::{ArchiveError, Compression, ReadAt, ReadError};

/// One read while walking: small entries come with their headers, and the first bytes of a layer.
const READ: usize = 16 * 1024;

/// So much of what was read while walking is kept: the manifests and configs are among it.
const REMEMBERED: usize = 4 * 1024 * 1024;

/// All names of an archive together, in bytes.
const MAX_NAMES: usize = 16 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) header: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    /// For a hard or symbolic link: the name it points to, from the archive's root.
    pub(crate) link: Option<String>,
    pub(crate) compression: Compression,
}

/// Entries by name, `./` stripped; a later entry of the same name wins, as when it is unpacked.
pub(crate) type Entries = BTreeMap<String, Entry>;

/// An archive of which the last reads are remembered.
pub(crate) struct Remembering<'a, A> {
    archive: &'a A,
    reads: RefCell<BTreeMap<u64, Bytes>>,
}

impl<'a, A> Remembering<'a, A> {
    pub(crate) const fn new(archive: &'a A) -> Self {
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

pub(crate) async fn entries(archive: &impl ReadAt) -> Result<Entries, ArchiveError> {
    let mut walker = Walker { archive, buffer: Bytes::new(), start: 0 };
    let (mut found, mut headers, mut names, mut offset) = (Entries::new(), Headers::default(), 0, 0);
    loop {
        let block = walker.read(offset, BLOCK).await?;
        if offset == 0 {
            recognise(&block)?;
        }
        if block.len() < BLOCK as usize || block.iter().all(|byte| *byte == 0) {
            return end(found, archive, offset, &block);
        }
        let announced = headers.read(&block, offset)?;
        let (data, size) = (offset + BLOCK, announced.size);
        let end = data.checked_add(size).filter(|end| *end <= archive.len());
        let end = end.ok_or_else(|| ArchiveError::Truncated {
            entry: shown(&announced.name),
            offset,
            needs: data.saturating_add(size),
            has: archive.len(),
        })?;
        let link = match announced.kind {
            Kind::Extension(about) => {
                headers.extension(about, &walker.read(data, size).await?, offset)?;
                None
            }
            Kind::Other => None,
            Kind::File => Some(None),
            Kind::Link(link) => Some(Some(link)),
        };
        if let Some(link) = link {
            names += announced.name.len() + link.as_ref().map_or(0, String::len);
            if names > MAX_NAMES {
                return Err(ArchiveError::Damaged { offset, why: format!("names of more than {MAX_NAMES} bytes") });
            }
            let compression = Compression::of(&walker.read(data, size.min(Compression::MAGIC as u64)).await?);
            found.insert(announced.name, Entry { header: offset, offset: data, size, link, compression });
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

fn end(found: Entries, archive: &impl ReadAt, offset: u64, block: &[u8]) -> Result<Entries, ArchiveError> {
    let is_cut = offset < archive.len() && block.len() < BLOCK as usize;
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
    if is_header(block) {
        return Ok(());
    }
    match Compression::of(block) {
        Compression::None => {}
        compression => return Err(ArchiveError::Compressed(compression)),
    }
    let start = String::from_utf8_lossy(&block[..block.len().min(40)]).into_owned();
    let start = crate::values::text::printable(&start);
    Err(ArchiveError::NotAnArchive(if block.is_empty() { "nothing: it is empty".into() } else { format!("`{start}`") }))
}
