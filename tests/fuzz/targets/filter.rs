//! The filter of compressed archives: bytes come out as they went in, or are refused.
#![no_main]

use balehook::images::filter::Filter;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, Vec<u8>)| {
    let (chunk, data) = input;
    let mut filter = Filter::new(Default::default(), "balehook/web:part-".into(), 1 << 20);
    let mut out = Vec::new();
    for piece in data.chunks(usize::from(chunk).max(1)) {
        let Ok(pieces) = filter.feed(Bytes::copy_from_slice(piece)) else { return };
        pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    }
    let is_renamed = [&b"manifest.json"[..], b"index.json", b"repositories"].iter().any(|name| out.windows(name.len()).any(|at| at == *name));
    assert!(is_renamed || data.starts_with(&out), "nothing is left out, nothing is added");
});
