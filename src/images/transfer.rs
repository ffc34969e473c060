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

use crate::aws::s3::{PIECE, S3, S3Error, S3Object};
use crate::images::archive::ReadError;
use crate::images::source::{Archive, read_chunk};

/// The first parts, in bytes.
const FIRST_PART: u64 = 1024 * 1024;

/// The largest part: as most tools upload them, and servers keep them.
const LARGEST_PART: u64 = 8 * 1024 * 1024;

/// Parts that are under way at most hold so many bytes together.
const IN_FLIGHT: u64 = 24 * 1024 * 1024;

const CONNECTIONS: usize = 4;

const MOST_CONNECTIONS: usize = 16;

/// Ranges of an object that are no further apart are fetched as one, and what is between them is dropped: a tar header
/// costs less than a request. Measured with `benches/images`: 151 requests instead of 170 for 20 layers.
const GAP: u64 = 64 * 1024;

/// Ranges of an archive that are being read, in order.
pub(crate) struct Transfer {
    archive: Archive,
    wanted: VecDeque<Range<u64>>,
    /// What is yet to be fetched from an object.
    spans: VecDeque<Range<u64>>,
    parts: VecDeque<Part>,
    fetched: Fetched,
    held: u64,
    in_flight: u64,
    connections: usize,
    part_size: u64,
    begun: usize,
    breaks: Arc<AtomicU32>,
    seen_breaks: u32,
}

struct Part {
    start: u64,
    length: u64,
    bytes: AbortOnDropHandle<Result<Vec<Bytes>, S3Error>>,
}

impl Transfer {
    /// Nothing is read before the first call of [`Self::next`].
    pub(crate) fn new(archive: Archive, ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let wanted: VecDeque<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        Self {
            archive,
            spans: spans(&wanted),
            wanted,
            parts: VecDeque::new(),
            fetched: Fetched::default(),
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
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
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
        loop {
            if let Some(chunk) = self.fetched.next(&mut self.wanted) {
                return Ok(Some(chunk));
            }
            self.in_flight -= std::mem::take(&mut self.held);
            self.adapt();
            self.begin_parts(s3, object);
            let Some(part) = self.parts.pop_front() else { return Ok(None) };
            if !part.bytes.is_finished() && self.connections < MOST_CONNECTIONS {
                self.connections += 1;
            }
            let range = part.start..part.start + part.length;
            let chunks = s3.wait_for(object, &range, part.bytes).await;
            let chunks = chunks.map_err(ReadError::new)?.map_err(ReadError::new)?;
            self.held = part.length;
            self.fetched = Fetched { at: part.start, chunks: chunks.into() };
        }
    }

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
            let Some(range) = self.spans.front_mut() else { return };
            // Objects are stored in parts of 8 MiB as most tools upload them: a range over two of them costs twice.
            let end = (range.start + 1).next_multiple_of(self.part_size).min(range.end);
            let length = end - range.start;
            if self.in_flight + length > IN_FLIGHT && !self.parts.is_empty() {
                return;
            }
            let start = std::mem::replace(&mut range.start, end);
            if range.is_empty() {
                self.spans.pop_front();
            }
            self.begun += 1;
            if self.begun.is_multiple_of(CONNECTIONS) {
                self.part_size = (self.part_size * 2).min(LARGEST_PART);
            }
            self.in_flight += length;
            let (s3, object, breaks) = (s3.clone(), object.clone(), self.breaks.clone());
            let bytes = AbortOnDropHandle::new(tokio::spawn(async move { s3.part(&object, start..end, breaks).await }));
            self.parts.push_back(Part { start, length, bytes });
        }
    }
}

/// What must be fetched for these ranges, in their order: those that follow one another closely are one.
fn spans(wanted: &VecDeque<Range<u64>>) -> VecDeque<Range<u64>> {
    let mut spans: VecDeque<Range<u64>> = VecDeque::new();
    for range in wanted {
        let is_near = |last: &&mut Range<u64>| range.start.checked_sub(last.end).is_some_and(|gap| gap <= GAP);
        match spans.back_mut().filter(is_near) {
            Some(last) => last.end = range.end,
            None => spans.push_back(range.clone()),
        }
    }
    spans
}

/// What has come of an object and was not passed on.
#[derive(Default)]
struct Fetched {
    /// Where it begins.
    at: u64,
    chunks: VecDeque<Bytes>,
}

impl Fetched {
    /// The next bytes of the first wanted range, which becomes shorter; what lies before it is dropped.
    fn next(&mut self, wanted: &mut VecDeque<Range<u64>>) -> Option<Bytes> {
        let range = wanted.front_mut()?;
        while let Some(mut chunk) = self.chunks.pop_front() {
            let before = chunk.split_to(count(range.start - self.at, &chunk));
            let here = chunk.split_to(count(range.end - range.start, &chunk));
            self.at += (before.len() + here.len()) as u64;
            if !chunk.is_empty() {
                self.chunks.push_front(chunk);
            }
            if !here.is_empty() {
                range.start += here.len() as u64;
                if range.is_empty() {
                    wanted.pop_front();
                }
                return Some(here);
            }
        }
        None
    }
}

/// So many bytes of a chunk, or all.
fn count(bytes: u64, chunk: &Bytes) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(chunk.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans_of(wanted: &[Range<u64>]) -> Vec<Range<u64>> {
        spans(&wanted.iter().cloned().collect()).into()
    }

    #[test]
    fn layers_that_follow_one_another_are_fetched_as_one() {
        assert_eq!(spans_of(&[512..1000, 1536..3000, 3000..4000, 200_000..200_001]), [512..4000, 200_000..200_001]);
    }

    #[test]
    fn what_lies_far_apart_or_comes_again_or_earlier_is_fetched_on_its_own() {
        let far = 1000 + GAP + 1;
        let ranges = [0..1000, far..far + 10, far..far + 10, 2000..3000, 2999..4000];
        assert_eq!(spans_of(&ranges), ranges);
        assert_eq!(spans_of(&[0..1000, far - 1..far, 0..9]), [0..far, 0..9], "just near enough");
    }

    #[test]
    fn nothing_is_passed_on_where_nothing_is_wanted() {
        let mut fetched = Fetched { at: 0, chunks: VecDeque::from([Bytes::from_static(b"bytes")]) };
        assert_eq!(fetched.next(&mut VecDeque::new()), None);
    }

    proptest! {
        #[test]
        fn the_bytes_of_each_range_are_passed_on_in_order_and_never_two_ranges_at_once(
            ranges in proptest::collection::vec((0_u64..3 * GAP, 1_u64..5000), 0..12),
            (part, piece) in (1_usize..200_000, 1_usize..100_000),
        ) {
            let wanted: VecDeque<_> = ranges.iter().map(|(start, length)| *start..start + length).collect();
            let object = |range: Range<u64>| range.map(|at| (at % 251) as u8).collect::<Vec<u8>>();
            let (mut left, mut passed_on) = (wanted.clone(), Vec::new());
            for span in spans(&wanted) {
                for at in (span.start..span.end).step_by(part) {
                    let bytes = object(at..span.end.min(at + part as u64));
                    let chunks = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
                    let mut fetched = Fetched { at, chunks };
                    while let (Some(first), Some(chunk)) = (left.front().cloned(), fetched.next(&mut left)) {
                        prop_assert_eq!(chunk.to_vec(), object(first.start..first.start + chunk.len() as u64));
                        prop_assert!(chunk.len() as u64 <= first.end - first.start);
                        passed_on.extend_from_slice(&chunk);
                    }
                }
            }
            prop_assert!(left.is_empty());
            prop_assert_eq!(passed_on, wanted.into_iter().flat_map(object).collect::<Vec<u8>>());
        }
    }
}
