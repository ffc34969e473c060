//! Archives that want more than they should have, and the `tar` crate as a second opinion.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::images::archive::tests::{Tar, blob, config, descriptor, index_of, saved};

/// An archive of which only the written pieces are there: the rest is zeros.
struct Holes {
    pieces: Vec<(u64, Vec<u8>)>,
    len: u64,
    read: std::cell::Cell<usize>,
}

impl ReadAt for Holes {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        let mut bytes = vec![0; usize::try_from(self.len.saturating_sub(offset)).unwrap().min(len)];
        self.read.set(self.read.get() + bytes.len());
        for (at, piece) in &self.pieces {
            for (number, byte) in piece.iter().enumerate() {
                let place = (at + number as u64).checked_sub(offset).and_then(|place| usize::try_from(place).ok());
                if let Some(slot) = place.and_then(|place| bytes.get_mut(place)) {
                    *slot = *byte;
                }
            }
        }
        Ok(bytes.into())
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn said(tar: Tar) -> String {
    index_of(tar.bytes()).unwrap_err().to_string()
}

/// A header as any tool may write it, of an entry that has `content`.
fn raw(name: &[u8], kind: u8, size: &[u8; 12], content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().size = *size;
    header.as_old_mut().linkflag = [kind];
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn octal(size: u64) -> [u8; 12] {
    format!("{size:011o}\0").into_bytes().try_into().unwrap()
}

fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let length = (1..).find(|length: &usize| length.to_string().len() + rest.len() == *length).unwrap();
    let record = format!("{length}{rest}").into_bytes();
    raw(b"pax", b'x', &octal(record.len() as u64), &record)
}

/// An archive of one image whose layer `l` is announced by `header` and has `size` bytes of zeros.
fn with_large_layer(header: Vec<u8>, size: u64) -> Holes {
    let manifest = json!([{ "Config": "c.json", "RepoTags": ["web:1"], "Layers": ["l"] }]);
    let tail = Tar::default().file("c.json", config(&[b"l"], "amd64")).file("manifest.json", manifest.to_string());
    let (tail, at) = (tail.bytes(), header.len() as u64 + size.next_multiple_of(512));
    Holes { len: at + tail.len() as u64, pieces: vec![(0, header), (at, tail)], read: 0.into() }
}

#[test]
fn layers_of_more_than_8_gib_are_found_by_either_way_to_write_their_size_and_not_read() {
    let size = (9u64 << 30) + 77;
    let mut base256 = [0; 12];
    base256[0] = 0x80;
    base256[4..].copy_from_slice(&size.to_be_bytes());
    let gnu = raw(b"l", b'0', &base256, b"");
    let posix = [pax("size", &size.to_string()), raw(b"l", b'0', &octal(0), b"")].concat();
    for header in [gnu, posix] {
        let offset = header.len() as u64;
        let archive = with_large_layer(header, size);
        let found = run(index(&archive, None)).unwrap();
        let layer = &found.images[0].layers[0];
        assert_eq!((layer.offset, layer.size), (offset, size));
        assert!(archive.read.get() < 100_000, "{} bytes were read", archive.read.get());
    }
}

#[test]
fn a_size_that_the_file_cannot_have_is_told_with_the_entry_and_its_place() {
    let all = |size: [u8; 12]| {
        let header = raw(b"huge/layer.tar", b'0', &size, b"");
        index_of([raw(b"a", b'0', &octal(3), b"abc"), header].concat()).unwrap_err().to_string()
    };
    let mut most = [0xff; 12];
    most[0] = 0x80;
    assert!(all(most).starts_with("is truncated: entry `huge/layer.tar` at byte 1024 needs "), "{}", all(most));
    assert_eq!(all(*b"eleven-byte\0"), "is damaged at byte 1024: `huge/layer.tar` has a size of `eleven-byte `");
}

#[test]
fn what_links_folders_and_devices_say_of_their_size_does_not_count_as_for_an_engine() {
    for kind in [b'1', b'2', b'3', b'4', b'5', b'6'] {
        let odd = [pax("size", "9999"), raw(b"odd", kind, &octal(77_777), b"")].concat();
        let found = index_of([odd, saved().bytes()].concat());
        assert_eq!(found.unwrap().images.len(), 1, "{}", char::from(kind));
    }
    let old_folder = raw(b"folder/", 0, &octal(77_777), b"");
    assert_eq!(index_of([old_folder, saved().bytes()].concat()).unwrap().images.len(), 1);
}

#[test]
fn an_extended_attribute_with_newlines_does_not_confuse_the_pax_records() {
    let odd = [pax("SCHILY.xattr.user.x", "one\n12 path=evil\n\ntwo"), raw(b"odd", b'0', &octal(0), b"")].concat();
    assert_eq!(index_of([odd, saved().bytes()].concat()).unwrap().images.len(), 1);
}

#[test]
fn extensions_that_make_no_sense_are_damage_at_their_own_byte() {
    let bad = |bytes: Vec<u8>| match index_of([raw(b"a", b'0', &octal(0), b""), bytes].concat()).unwrap_err() {
        ArchiveError::Damaged { offset: 512, why } => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(bad(raw(b"x", b'x', &octal(9), b"99 path=a\n")), "a pax record whose length is wrong");
    assert_eq!(bad(pax("size", "-1")), "a pax record with a size of `-1`");
    let long = "n".repeat(5000);
    assert!(bad(pax("path", &long)).starts_with("a name of 5000 bytes"));
    assert!(bad(raw(b"x", b'L', &octal(5000), long.as_bytes())).starts_with("a name of 5000 bytes"));
    assert!(bad(raw(b"x", b'x', &octal(1 << 30), b"")).starts_with("a name or pax record of 1073741824 bytes"));
    assert!(bad(raw(b"sparse", b'S', &octal(0), b"")).contains("`sparse` is stored with holes"));
}

#[test]
fn an_endless_row_of_headers_is_left_at_a_bound() {
    let folder = raw(b"f", b'5', &octal(0), b"");
    let error = index_of(folder.repeat(131_073)).unwrap_err().to_string();
    assert_eq!(error, format!("is damaged at byte {}: more than 131072 headers", 131_072 * 512));
    let mut tar = Tar::default();
    for number in 0..4500 {
        tar = tar.file(&format!("{number}{}", "n".repeat(4000)), "");
    }
    assert!(said(tar).ends_with("names of more than 16777216 bytes"));
}

#[test]
fn json_that_is_nested_deep_or_large_or_long_is_refused_with_its_entry() {
    // What is not known is skipped without recursion.
    let deep = said(Tar::default().file("manifest.json", format!("[{{\"x\": {}", "[".repeat(200_000))));
    assert!(deep.starts_with("has a bad `manifest.json` at byte 0: EOF while parsing"), "{deep}");
    let large = said(Tar::default().file("a", "").file("manifest.json", vec![b' '; 5_000_000]));
    assert_eq!(large, "has a bad `manifest.json` at byte 512: it has 5000000 bytes; at most 4194304 are read");
    let images = vec![json!({ "Config": "c.json", "Layers": [] }); 1025];
    assert!(said(Tar::default().file("manifest.json", json!(images).to_string())).contains("it lists 1025 images"));
    let layers = json!([{ "Config": "c.json", "Layers": vec!["l"; 1025] }]).to_string();
    assert!(said(Tar::default().file("l", "").file("manifest.json", layers)).contains("an image of 1025 layers"));
}

#[test]
fn a_chain_of_eight_links_is_followed_and_one_more_or_a_circle_is_not() {
    let chain = |links: usize| {
        let mut tar = Tar::default().file("c0", config(&[], "amd64"));
        for number in 1..=links {
            let kind = if number % 2 == 0 { tar::EntryType::Symlink } else { tar::EntryType::Link };
            tar = tar.link(&format!("c{number}"), kind, &format!("c{}", number - 1));
        }
        tar.file("manifest.json", json!([{ "Config": format!("c{links}"), "Layers": [] }]).to_string())
    };
    assert!(index_of(chain(8).bytes()).is_ok());
    assert!(said(chain(9)).contains("it names `c9`, which leads to `c0`: more than 8 links follow one another"));
    let circle = Tar::default().link("a", tar::EntryType::Symlink, "b").link("b", tar::EntryType::Symlink, "a");
    let circle = circle.file("manifest.json", r#"[{"Config": "a", "Layers": []}]"#);
    assert!(said(circle).contains("has a bad `manifest.json` at byte 1024: it names `a`, which leads to `"));
    let nowhere = Tar::default().link("a", tar::EntryType::Symlink, "../../gone");
    let nowhere = nowhere.file("manifest.json", r#"[{"Config": "a", "Layers": []}]"#);
    assert!(said(nowhere).ends_with("it names `a`, which leads to `gone`: the archive has no such entry"));
}

#[test]
fn of_an_entry_that_is_there_twice_the_later_one_counts() {
    let manifest = json!([{ "Config": "c.json", "RepoTags": ["web:1"], "Layers": ["l"] }]).to_string();
    let tar = Tar::default().file("l", "old").file("manifest.json", "[]").file("c.json", config(&[b"new"], "amd64"));
    let found = index_of(tar.file("l", "newer").file("manifest.json", manifest).bytes()).unwrap();
    assert_eq!(found.images[0].layers[0].size, 5);
}

#[test]
fn a_manifest_that_was_changed_after_it_was_named_is_damaged() {
    let manifest = json!({ "config": descriptor(b"c", "config.v1+json"), "layers": [] }).to_string();
    let index = json!({ "manifests": [descriptor(manifest.as_bytes(), "manifest.v1+json")] }).to_string();
    let name = format!("blobs/sha256/{}", ContentDigest::of(manifest.as_bytes()).hex());
    let error = said(Tar::default().file(&name, "{}").file("index.json", index));
    assert!(error.starts_with(&format!("has a bad `{name}` at byte 0: its digest is sha256:")), "{error}");
}

/// An index around `inner` that does not say what `inner` is, `depth` times.
fn nested(mut tar: Tar, mut inner: Vec<u8>, depth: usize) -> Tar {
    for _ in 0..depth {
        tar = blob(tar, &inner);
        inner = json!({ "manifests": [{ "digest": ContentDigest::of(&inner) }] }).to_string().into_bytes();
    }
    tar.file("index.json", inner)
}

#[test]
fn indexes_are_told_from_manifests_by_what_they_are_down_to_a_depth() {
    let (layer, config) = (b"layer".to_vec(), config(&[b"layer"], "amd64"));
    let manifest = json!({ "config": { "digest": ContentDigest::of(&config) }, "layers": [{ "digest": ContentDigest::of(&layer) }] });
    let tar = || blob(blob(Tar::default(), &layer), &config);
    let found = index_of(nested(tar(), manifest.to_string().into_bytes(), 5).bytes()).unwrap();
    assert_eq!(found.images[0].layers[0].size, 5);
    let error = said(nested(tar(), manifest.to_string().into_bytes(), 6));
    assert!(error.ends_with("it is an index within 4 others"), "{error}");
}

#[test]
fn a_signature_beside_an_image_is_no_image() {
    let (layer, config) = (b"layer".to_vec(), config(&[b"layer"], "amd64"));
    let image =
        json!({ "config": descriptor(&config, "config.v1+json"), "layers": [descriptor(&layer, "layer.v1.tar")] });
    let signature = json!({ "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": ContentDigest::of(b"{}") }, "layers": [] });
    let (image, signature) = (image.to_string().into_bytes(), signature.to_string().into_bytes());
    let index =
        json!({ "manifests": [descriptor(&signature, "manifest.v1+json"), descriptor(&image, "manifest.v1+json")] });
    let tar = blob(blob(blob(blob(Tar::default(), &layer), &config), &image), &signature);
    assert_eq!(index_of(tar.file("index.json", index.to_string()).bytes()).unwrap().images.len(), 1);
}

#[test]
fn names_from_an_archive_are_short_and_printable_in_every_message() {
    let nasty = format!("\u{1b}[31m\n{}", "y".repeat(3000));
    let manifest = json!([{ "Config": nasty, "RepoTags": [], "Layers": [] }]).to_string();
    let images = json!(vec![json!({ "Config": "c", "RepoTags": [nasty], "Layers": [] }); 40]).to_string();
    let many = index_of(Tar::default().file("c", config(&[], "amd64")).file("manifest.json", images).bytes()).unwrap();
    let wanted = "web:1".parse().unwrap();
    for error in [
        said(Tar::default().file("manifest.json", manifest)),
        said(Tar::default().file(&nasty, "x")),
        index_of(Tar::default().file(&nasty, vec![0; 9000]).bytes()[..8192].to_vec()).unwrap_err().to_string(),
        select(&many, None, None).unwrap_err().to_string(),
        select(&many, Some(&wanted), None).unwrap_err().to_string(),
    ] {
        assert!(error.len() < 800 && !error.contains(|letter: char| letter.is_control()), "{error:?}");
    }
}

/// Entries by name as the `tar` crate reads them: place, size, target of a link.
fn second_opinion(bytes: &[u8]) -> BTreeMap<String, (u64, u64, bool)> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(Result::unwrap);
    let entry = |entry: tar::Entry<'_, &[u8]>| {
        let is_link = entry.header().entry_type().is_hard_link() || entry.header().entry_type().is_symlink();
        let name = header::clean(&String::from_utf8_lossy(&entry.path_bytes()));
        (!entry.header().entry_type().is_dir())
            .then(|| (name, (entry.raw_file_position(), if is_link { 0 } else { entry.size() }, is_link)))
    };
    entries.filter_map(entry).collect()
}

proptest! {
    #[test]
    fn the_walk_finds_what_the_tar_crate_finds(
        entries in proptest::collection::vec((0usize..300, 0usize..3000, 0u8..6, any::<bool>()), 1..20),
    ) {
        let mut tar = tar::Builder::new(Vec::new());
        for (number, (length, size, kind, extra)) in entries.into_iter().enumerate() {
            let name = format!("{number}/n{}", "n".repeat(length));
            let mut header = if kind % 2 == 0 { tar::Header::new_gnu() } else { tar::Header::new_ustar() };
            header.set_mode(0o644);
            header.set_size(0);
            if extra {
                let long = format!("pax/{name}");
                tar.append_pax_extensions([("path", long.as_bytes()), ("mtime", b"1.5")]).unwrap();
            }
            match kind {
                0 => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    tar.append_link(&mut header, format!("s{number}"), &name).unwrap();
                }
                1 => {
                    header.set_entry_type(tar::EntryType::Link);
                    tar.append_link(&mut header, format!("h{number}"), "short").unwrap();
                }
                2 => {
                    header.set_entry_type(tar::EntryType::Directory);
                    tar.append_data(&mut header, &name, &[][..]).unwrap();
                }
                _ => {
                    header.set_size(size as u64);
                    let name = if kind % 2 == 0 { name } else { name.chars().take(90).collect() };
                    tar.append_data(&mut header, &name, &vec![7; size][..]).unwrap();
                }
            }
        }
        let bytes = tar.into_inner().unwrap();
        let archive = Holes { len: bytes.len() as u64, pieces: vec![(0, bytes.clone())], read: 0.into() };
        let ours = run(walk::entries(&archive)).unwrap();
        let ours: BTreeMap<_, _> =
            ours.into_iter().map(|(name, found)| (name, (found.offset, found.size, found.link.is_some()))).collect();
        prop_assert_eq!(ours, second_opinion(&bytes));
    }
}
