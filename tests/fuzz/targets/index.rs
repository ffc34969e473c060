//! The index of an archive: whatever the bytes are, it ends in an index or in an error.
#![no_main]

use balehook::images::archive;
use balehook::images::archive::ReadAt;
use balehook::images::archive::ReadError;
use balehook::images::delta::Delta;
use balehook::images::delta::ImageStore;
use balehook::values::types::ContentDigest;
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

/// An OCI layout of the documents between NUL bytes, the last of which is `index.json`. `@0` to `@9` in one stand for the
/// digests of those before it: chance alone finds no digest.
fn layout_of(documents: &[u8]) -> Vec<u8> {
    let (mut tar, mut digests) = (Vec::new(), Vec::<ContentDigest>::new());
    let documents: Vec<&[u8]> = documents.split(|byte| *byte == 0).collect();
    for (number, document) in documents.iter().enumerate() {
        let mut text = Vec::new();
        let mut bytes = document.iter().peekable();
        while let Some(byte) = bytes.next() {
            let digit = bytes.peek().filter(|next| *byte == b'@' && next.is_ascii_digit()).map(|next| **next - b'0');
            match digit.and_then(|digit| digests.get(usize::from(digit))) {
                Some(digest) => {
                    bytes.next();
                    text.extend_from_slice(digest.as_str().as_bytes());
                }
                None => text.push(*byte),
            }
        }
        let digest = ContentDigest::of(&text);
        let is_last = number + 1 == documents.len();
        let name = if is_last { "index.json".to_owned() } else { format!("blobs/sha256/{}", digest.hex()) };
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
        block[156..163].copy_from_slice(b"0ustar\0");
        tar.extend_from_slice(&block);
        tar.extend_from_slice(&text);
        tar.resize(tar.len().next_multiple_of(512), 0);
        digests.push(digest);
    }
    tar
}

fuzz_target!(|data: &[u8]| {
    let archive = match data.strip_prefix(b"layout:") {
        Some(documents) => layout_of(documents),
        None => data.to_vec(),
    };
    let archive = Memory(with_checksums(&archive).into());
    let Ok(index) = futures_executor::block_on(archive::index(&archive, Some("amd64"))) else { return };
    for image in &index.images {
        for layer in &image.layers {
            assert!(layer.offset + layer.size <= archive.len(), "a layer lies within the archive");
        }
        for store in [ImageStore::Graph { zstd: true }, ImageStore::Containerd] {
            let delta = Delta::whole(image);
            let _ = (delta.missing(store), delta.batches(store, &[], |number| format!("balehook/x:part-{number}")));
        }
    }
});
