//! How much the bytes that pass unpack to: counted before the engine gets them, and not kept.

use std::cell::Cell;
use std::io;
use std::io::Write;
use std::rc::Rc;

use crate::images::archive::Compression;

/// Counts the layers of an archive, one after another.
pub(crate) struct Unpacked {
    /// The first bytes of a layer, until they say how it is compressed.
    start: Vec<u8>,
    decoder: Option<Box<dyn Write>>,
    count: Rc<Count>,
}

struct Count {
    bytes: Cell<u64>,
    /// How often the engine unpacks the present layer.
    times: Cell<u64>,
    most: u64,
}

impl Unpacked {
    /// Nothing has passed. Counting ends soon after `most`.
    pub(crate) fn new(most: u64) -> Self {
        let count = Count { bytes: Cell::new(0), times: Cell::new(1), most };
        Self { start: Vec::new(), decoder: None, count: Rc::new(count) }
    }

    /// How many bytes all that has passed unpacks to; where that is more than it may be, some that are more.
    pub(crate) fn bytes(&self) -> u64 {
        self.count.bytes.get()
    }

    /// A layer begins, which the engine unpacks so many times.
    pub(crate) fn begin(&mut self, times: u64) {
        self.start.clear();
        self.decoder = None;
        self.count.times.set(times);
    }

    /// Counts the next bytes of the layer.
    /// Errors: They are not what they begin as.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (start, decoder) = match &mut self.decoder {
            Some(decoder) => (None, decoder),
            None => {
                self.start.extend_from_slice(bytes);
                if self.start.len() < Compression::MAGIC {
                    return Ok(());
                }
                let start = std::mem::take(&mut self.start);
                let decoder = decoder(Compression::of(&start), Counted(self.count.clone()))?;
                (Some(start), self.decoder.insert(decoder))
            }
        };
        let fed = decoder.write_all(start.as_deref().unwrap_or(bytes)).and_then(|()| decoder.flush());
        if self.count.is_over() { Ok(()) } else { fed }
    }
}

impl Count {
    const fn is_over(&self) -> bool {
        self.bytes.get() > self.most
    }
}

/// Neither Docker nor the OCI image specification has other layers than these.
fn decoder(compression: Compression, counted: Counted) -> io::Result<Box<dyn Write>> {
    Ok(match compression {
        Compression::None => Box::new(counted),
        Compression::Gzip => Box::new(flate2::write::MultiGzDecoder::new(counted)),
        Compression::Zstd => Box::new(zstd::stream::write::Decoder::new(counted)?),
        Compression::Xz | Compression::Bzip2 => {
            return Err(io::Error::other(format!("{compression} is for no layer: gzip and zstd are")));
        }
    })
}

struct Counted(Rc<Count>);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let more = (bytes.len() as u64).saturating_mul(self.0.times.get());
        self.0.bytes.set(self.0.bytes.get().saturating_add(more));
        if self.0.is_over() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 19).unwrap()
    }

    /// What is counted of it when it comes in pieces of so many bytes.
    fn counted(bytes: &[u8], piece: usize, most: u64) -> io::Result<u64> {
        let mut unpacked = Unpacked::new(most);
        bytes.chunks(piece).try_for_each(|piece| unpacked.feed(piece)).map(|()| unpacked.bytes())
    }

    #[test]
    fn what_a_layer_unpacks_to_is_counted_however_it_comes() {
        let plain = vec![7; 1_000_000];
        let twice = |one: fn(&[u8]) -> Vec<u8>| [one(&plain), one(&plain)].concat();
        let skippable = [&b"\x57\x2a\x4d\x18\x04\0\0\0skip"[..], &zstd(&plain)].concat();
        for piece in [1, 5, 100, 1 << 20] {
            let all = |bytes: &[u8]| counted(bytes, piece, u64::MAX).unwrap();
            assert_eq!(all(&plain[..5000]), 5000, "plain, {piece}");
            assert_eq!(all(&twice(gzip)), 2_000_000, "gzip, {piece}");
            assert_eq!(all(&twice(zstd)), 2_000_000, "zstd, {piece}");
            assert_eq!(all(&skippable), 1_000_000, "zstd after a frame that is skipped, {piece}");
        }
    }

    #[test]
    fn layers_are_summed_and_one_that_is_there_twice_counts_twice() {
        let mut unpacked = Unpacked::new(u64::MAX);
        for (layer, times) in [(gzip(&[7; 1000]), 1), (vec![7; 100], 2), (b"tiny".to_vec(), 1)] {
            unpacked.begin(times);
            unpacked.feed(&layer).unwrap();
        }
        assert_eq!(unpacked.bytes(), 1200);
    }

    #[test]
    fn counting_ends_soon_where_there_is_more_than_there_may_be() {
        let zeros = vec![0; 50_000_000];
        for bytes in [gzip(&zeros), zstd(&zeros)] {
            let count = counted(&bytes, 1 << 20, 1_000_000).unwrap();
            assert!((1_000_001..2_000_000).contains(&count), "{count}");
        }
    }

    #[test]
    fn what_is_not_what_it_begins_as_is_an_error() {
        let broken = |bytes: &[u8]| counted(bytes, 100, u64::MAX).unwrap_err().to_string();
        assert_eq!(broken(b"\xfd7zXZ\0 and more"), "xz is for no layer: gzip and zstd are");
        for mut bytes in [gzip(&[7; 100]), zstd(&[7; 100])] {
            bytes.extend_from_slice(b"something else");
            assert!(!broken(&bytes).is_empty());
        }
    }
}
