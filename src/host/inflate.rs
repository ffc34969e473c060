//! Decompressing a stream on its way.

use std::io;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use futures_util::StreamExt as _;
use tokio_util::io::{ReaderStream, StreamReader};

use super::source::ByteStream;
use crate::image::archive::Compression;

/// Decompressed bytes are passed on in pieces of so many.
const CHUNK: usize = 128 * 1024;

/// The decompressed bytes of a gzip or zstd stream, of all its members or frames; any other stream as it is.
pub fn stream(compressed: ByteStream, compression: Compression) -> ByteStream {
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
        Compression::None | Compression::Xz | Compression::Bzip2 => Box::pin(reader.into_inner()),
    }
}

/// How many bytes a stream has when it is decompressed.
///
/// # Errors
/// It cannot be read or decompressed.
pub async fn size(compressed: ByteStream, compression: Compression) -> io::Result<u64> {
    let mut stream = stream(compressed, compression);
    let mut size = 0;
    while let Some(chunk) = stream.next().await {
        size += chunk?.len() as u64;
    }
    Ok(size)
}
