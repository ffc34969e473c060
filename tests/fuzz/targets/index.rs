//! The index of an archive: whatever the bytes are, it ends in an index or in an error.
#![no_main]

use balehook::image::archive::{self, ReadAt, ReadError};
use balehook::image::delta::{Delta, ImageStore};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

struct Memory(Bytes);

impl ReadAt for Memory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        Ok(self.0.slice(from..from.saturating_add(len).min(self.0.len())))
    }
}

/// Sets the checksum of every block that has a tar magic: chance alone never would.
fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let archive = Memory(with_checksums(data).into());
    let Ok(index) = futures_executor::block_on(archive::index(&archive, Some("amd64"))) else { return };
    for image in &index.images {
        for layer in &image.layers {
            assert!(layer.offset + layer.size <= archive.len(), "a layer lies within the archive");
        }
        for store in [ImageStore::Graph { zstd: true }, ImageStore::Containerd] {
            let delta = Delta::whole(image);
            let _ = (delta.missing(store), delta.parcels(store, &[], |number| format!("balehook/x:part-{number}")));
        }
    }
});
