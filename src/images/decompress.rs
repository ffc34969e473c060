//! Decompressing a stream on its way.

use std::io;

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder, XzDecoder, ZstdDecoder};
use futures_util::StreamExt as _;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::images::archive::{Compression, LayerEntry, ReadAt as _};
use crate::images::source::{Archive, ByteStream};

/// Decompressed bytes are passed on in pieces of so many.
const CHUNK: usize = 128 * 1024;

/// The most memory that decompressing xz takes: `xz -9` makes what needs 65 MiB.
const XZ_MEMORY: u64 = 100 * 1024 * 1024;

/// The decompressed bytes of a stream, of all its members or frames; one that is not compressed as it is.
pub(crate) fn stream(compressed: ByteStream, compression: Compression) -> ByteStream {
    let reader = StreamReader::new(compressed);
    match compression {
        Compression::Gzip => {
            let mut decoder = GzipDecoder::new(reader);
            decoder.multiple_members(true);
            Box::pin(ReaderStream::with_capacity(decoder, CHUNK))
        }
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::new(reader);
            decoder.multiple_members(true);
            Box::pin(ReaderStream::with_capacity(decoder, CHUNK))
        }
        Compression::Xz => {
            let mut decoder = XzDecoder::with_mem_limit(reader, XZ_MEMORY);
            decoder.multiple_members(true);
            Box::pin(ReaderStream::with_capacity(decoder, CHUNK))
        }
        Compression::Bzip2 => {
            let mut decoder = BzDecoder::new(reader);
            decoder.multiple_members(true);
            Box::pin(ReaderStream::with_capacity(decoder, CHUNK))
        }
        Compression::None => Box::pin(reader.into_inner()),
    }
}

/// How the size of a layer is found out that must be decompressed on the way: its tar header comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// What its first zstd frame says: wrong where it has several.
    Claimed,
    /// By decompressing it once more than it is sent.
    Counted,
}

/// How many bytes a compressed layer of an archive has when it is decompressed; where that is more than `most`, some that are more.
pub(crate) async fn size(archive: &Archive, layer: &LayerEntry, sizes: Sizes, most: u64) -> io::Result<u64> {
    if sizes == Sizes::Claimed {
        let start = archive.read_at(layer.offset, FRAME_HEADER.min(usize::try_from(layer.size).unwrap_or(0))).await;
        if let Some(size) = content_size(&start.map_err(io::Error::other)?) {
            return Ok(size);
        }
    }
    let compressed = archive.stream(layer.offset..layer.offset + layer.size);
    let mut stream = stream(compressed, layer.compression);
    let mut size = 0;
    while size <= most
        && let Some(chunk) = stream.next().await
    {
        size += chunk?.len() as u64;
    }
    Ok(size)
}

/// The longest header of a zstd frame, with its magic number, in bytes.
const FRAME_HEADER: usize = 18;

/// No layer is larger: 1 TiB.
const LARGEST: u64 = 1 << 40;

/// What a zstd frame says of its size when it is decompressed. Source: RFC 8878, section 3.1.1.1.
fn content_size(start: &[u8]) -> Option<u64> {
    let descriptor = *start.strip_prefix(b"\x28\xb5\x2f\xfd")?.first()?;
    let is_single = descriptor & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let at = 5 + usize::from(!is_single) + dictionary;
    let length = match descriptor >> 6 {
        0 => usize::from(is_single),
        flag => 1 << flag,
    };
    let field = start.get(at..at + length).filter(|field| !field.is_empty())?;
    let size = field.iter().rev().fold(0, |size, byte| size << 8 | u64::from(*byte));
    let size = if length == 2 { size + 256 } else { size };
    Some(size).filter(|size| *size <= LARGEST)
}

#[cfg(test)]
mod tests {
    use super::content_size;

    #[test]
    fn a_frame_that_says_its_size_is_believed_and_one_that_does_not_is_not() {
        let frame = |rest: &[u8]| content_size(&[b"\x28\xb5\x2f\xfd", rest].concat());
        assert_eq!(frame(&[0x20, 7]), Some(7), "one segment, one byte");
        assert_eq!(frame(&[0x60, 1, 0]), Some(257), "one segment, two bytes");
        assert_eq!(frame(&[0xa4, 0, 0, 1, 0]), Some(65_536), "one segment, four bytes");
        assert_eq!(frame(&[0x80, 0x58, 0, 0, 0, 1]), Some(1 << 24), "a window, four bytes");
        assert_eq!(frame(&[0xc3, 0x58, 9, 9, 9, 9, 1, 0, 0, 0, 0, 0, 0, 0]), Some(1), "a dictionary, eight bytes");
        assert_eq!(frame(&[0x00, 0x58, 1, 2, 3]), None, "a window, no size");
        assert_eq!(frame(&[0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None, "nobody's size");
        assert_eq!(frame(&[0xe0, 1, 0]), None, "cut off");
        assert_eq!(content_size(b"\x50\x2a\x4d\x18 skippable"), None);
    }
}
