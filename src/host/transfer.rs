//! Ranges of an archive, in order, with bounded memory: read from a file, or fetched from S3 in parallel parts.
//!
//! Parts begin small, so that the engine has something to do at once, and grow. A connection is added whenever the
//! engine had to wait for bytes, and half of them are dropped when the server breaks one off or asks to slow down.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

use super::s3::{PIECE, S3, S3Error, S3Object};
use super::source::{Archive, read_chunk};
use crate::image::archive::ReadError;

/// The first parts, in bytes.
const FIRST_PART: u64 = 1024 * 1024;
/// The largest part: as most tools upload them, and servers keep them.
const LARGEST_PART: u64 = 8 * 1024 * 1024;
/// Parts that are under way at most hold so many bytes together.
const IN_FLIGHT: u64 = 24 * 1024 * 1024;
/// Connections to begin with.
const CONNECTIONS: usize = 4;
/// Most connections.
const MOST_CONNECTIONS: usize = 16;

/// Ranges of an archive that are being read, in order.
pub struct Transfer {
    archive: Archive,
    wanted: VecDeque<Range<u64>>,
    parts: VecDeque<Part>,
    front: VecDeque<Bytes>,
    held: u64,
    in_flight: u64,
    connections: usize,
    part_size: u64,
    begun: usize,
    breaks: Arc<AtomicU32>,
    seen_breaks: u32,
}

struct Part {
    length: u64,
    bytes: AbortOnDropHandle<Result<Vec<Bytes>, S3Error>>,
}

impl Transfer {
    /// Nothing is read before the first call of [`Self::next`].
    pub fn new(archive: Archive, ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        Self {
            archive,
            wanted: ranges.into_iter().filter(|range| !range.is_empty()).collect(),
            parts: VecDeque::new(),
            front: VecDeque::new(),
            held: 0,
            in_flight: 0,
            connections: CONNECTIONS,
            part_size: FIRST_PART,
            begun: 0,
            breaks: Arc::new(AtomicU32::new(0)),
            seen_breaks: 0,
        }
    }

    /// The next bytes; never of two ranges at once. `None` after the last range.
    ///
    /// # Errors
    /// The archive cannot be read, or is another one by now.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        match self.archive.clone() {
            Archive::File { file, .. } => self.next_of_file(&file),
            Archive::S3 { s3, object } => self.next_of_object(&s3, &object).await,
        }
    }

    fn next_of_file(&mut self, file: &std::fs::File) -> Result<Option<Bytes>, ReadError> {
        let Some(range) = self.wanted.front_mut() else { return Ok(None) };
        let chunk =
            read_chunk(file, range.start, (PIECE as u64).min(range.end - range.start)).map_err(ReadError::new)?;
        range.start += chunk.len() as u64;
        if range.is_empty() {
            self.wanted.pop_front();
        }
        Ok(Some(chunk))
    }

    async fn next_of_object(&mut self, s3: &S3, object: &S3Object) -> Result<Option<Bytes>, ReadError> {
        while self.front.is_empty() {
            self.in_flight -= std::mem::take(&mut self.held);
            self.adapt();
            self.begin_parts(s3, object);
            let Some(part) = self.parts.pop_front() else { return Ok(None) };
            if !part.bytes.is_finished() && self.connections < MOST_CONNECTIONS {
                self.connections += 1;
            }
            let bytes = part.bytes.await.map_err(ReadError::new)?;
            self.held = part.length;
            self.front = bytes.map_err(ReadError::new)?.into();
        }
        Ok(self.front.pop_front())
    }

    /// Fewer connections after one broke.
    fn adapt(&mut self) {
        let breaks = self.breaks.load(Ordering::Relaxed);
        if breaks != self.seen_breaks {
            self.seen_breaks = breaks;
            self.connections = (self.connections / 2).max(1);
        }
    }

    /// As many parts as connections and memory allow.
    fn begin_parts(&mut self, s3: &S3, object: &S3Object) {
        while self.parts.len() < self.connections {
            let Some(range) = self.wanted.front_mut() else { return };
            // Objects are stored in parts of 8 MiB as most tools upload them: a range over two of them costs twice.
            let end = (range.start + 1).next_multiple_of(self.part_size).min(range.end);
            let length = end - range.start;
            if self.in_flight + length > IN_FLIGHT && !self.parts.is_empty() {
                return;
            }
            let part = range.start..range.start + length;
            range.start = part.end;
            if range.is_empty() {
                self.wanted.pop_front();
            }
            self.begun += 1;
            if self.begun.is_multiple_of(CONNECTIONS) {
                self.part_size = (self.part_size * 2).min(LARGEST_PART);
            }
            self.in_flight += length;
            let (s3, object, breaks) = (s3.clone(), object.clone(), self.breaks.clone());
            let bytes = AbortOnDropHandle::new(tokio::spawn(async move { s3.part(&object, part, breaks).await }));
            self.parts.push_back(Part { length, bytes });
        }
    }
}
