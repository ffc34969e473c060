//! Archives as engines write them, and everything that can be wrong with one.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// An archive in memory, which counts what is read of it.
struct Memory {
    bytes: Vec<u8>,
    read: std::cell::Cell<usize>,
}

impl ReadAt for Memory {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        let from = usize::try_from(offset).unwrap().min(self.bytes.len());
        let to = (from + len).min(self.bytes.len());
        self.read.set(self.read.get() + to - from);
        Ok(Bytes::copy_from_slice(&self.bytes[from..to]))
    }
}

fn read(bytes: Vec<u8>) -> (Result<ArchiveIndex, ArchiveError>, usize) {
    let memory = Memory { bytes, read: 0.into() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let index = runtime.block_on(index(&memory, Some("amd64")));
    (index, memory.read.get())
}

pub(crate) fn index_of(bytes: Vec<u8>) -> Result<ArchiveIndex, ArchiveError> {
    read(bytes).0
}

#[derive(Default)]
pub(crate) struct Tar(Vec<(String, Vec<u8>, Link)>);

pub(crate) type Link = Option<(tar::EntryType, String)>;

impl Tar {
    pub(crate) fn file(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.push((name.into(), bytes.into(), None));
        self
    }

    pub(crate) fn link(mut self, name: &str, kind: tar::EntryType, to: &str) -> Self {
        self.0.push((name.into(), Vec::new(), Some((kind, to.into()))));
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes, link) in self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            match link {
                Some((kind, to)) => {
                    header.set_entry_type(kind);
                    tar.append_link(&mut header, name, to).unwrap();
                }
                None => tar.append_data(&mut header, name, &bytes[..]).unwrap(),
            }
        }
        tar.into_inner().unwrap()
    }
}

pub(crate) fn config(layers: &[&[u8]], architecture: &str) -> Vec<u8> {
    let diff_ids: Vec<ContentDigest> = layers.iter().map(|layer| ContentDigest::of(layer)).collect();
    json!({ "architecture": architecture, "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids } })
        .to_string()
        .into_bytes()
}

/// As 20.10 writes it: the second layer is a symbolic link to the first, before its target.
pub(crate) fn saved() -> Tar {
    let layer = b"layer one".as_slice();
    let manifest = json!([{ "Config": "c.json", "RepoTags": ["web:1"], "Layers": ["b/layer.tar", "a/layer.tar"] }]);
    Tar::default()
        .link("b/layer.tar", tar::EntryType::Symlink, "../a/layer.tar")
        .file("a/layer.tar", layer)
        .file("c.json", config(&[layer, layer], "amd64"))
        .file("manifest.json", manifest.to_string())
}

pub(crate) fn descriptor(bytes: &[u8], kind: &str) -> serde_json::Value {
    json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": ContentDigest::of(bytes), "size": bytes.len() })
}

pub(crate) fn blob(tar: Tar, bytes: &[u8]) -> Tar {
    tar.file(&format!("blobs/sha256/{}", ContentDigest::of(bytes).hex()), bytes)
}

/// An OCI layout with a nested index of two platforms and an attestation.
pub(crate) fn layout() -> Tar {
    let mut tar = Tar::default();
    let mut manifests = Vec::new();
    for architecture in ["arm64", "amd64"] {
        let layer = format!("layer for {architecture}").into_bytes();
        let config = config(&[&layer], architecture);
        let manifest =
            json!({ "config": descriptor(&config, "config.v1+json"), "layers": [descriptor(&layer, "layer.v1.tar")] });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = descriptor(&manifest, "manifest.v1+json");
        entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
        manifests.push(entry);
        tar = blob(blob(blob(tar, &layer), &config), &manifest);
    }
    let mut attestation = descriptor(b"nowhere", "manifest.v1+json");
    attestation["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
    manifests.push(attestation);
    let nested = json!({ "manifests": manifests }).to_string().into_bytes();
    let mut entry = descriptor(&nested, "index.v1+json");
    entry["annotations"] = json!({ "io.containerd.image.name": "host.test/web:2" });
    blob(tar, &nested).file("index.json", json!({ "manifests": [entry] }).to_string()).file("oci-layout", "{}")
}

#[test]
fn what_is_no_archive_of_images_is_told_by_what_it_is() {
    let said = |bytes: Vec<u8>| index_of(bytes).unwrap_err().to_string();
    assert!(said(b"<html>Access Denied</html>".repeat(40)).contains("it starts with `<html>Access Denied"));
    assert!(said(Vec::new()).contains("it is empty"));
    assert!(matches!(index_of(b"\x1f\x8b\x08rest".to_vec()), Err(ArchiveError::Compressed(Compression::Gzip))));
    assert!(matches!(index_of(b"\x28\xb5\x2f\xfdrest".to_vec()), Err(ArchiveError::Compressed(Compression::Zstd))));
    assert!(said(Tar::default().file("etc/passwd", "x").bytes()).contains("etc/passwd"));
}

#[test]
fn a_truncated_archive_names_the_entry_that_is_cut() {
    let whole = Tar::default().file("big/layer.tar", vec![7; 100_000]).bytes();
    let error = index_of(whole[..50_000].to_vec()).unwrap_err();
    assert!(
        matches!(&error, ArchiveError::Truncated { entry, offset: 0, needs: 100_512, has: 50_000 } if entry == "big/layer.tar"),
        "{error}"
    );
    assert!(matches!(index_of(saved().bytes()[..700].to_vec()), Err(ArchiveError::Truncated { .. })));
}

#[test]
fn a_bad_header_a_bad_manifest_and_a_missing_entry_are_told_with_their_place() {
    let mut bytes = saved().bytes();
    bytes[512 + 3] ^= 1;
    assert!(matches!(index_of(bytes), Err(ArchiveError::Damaged { offset: 512, .. })));
    let said =
        |manifest: &str| index_of(Tar::default().file("manifest.json", manifest).bytes()).unwrap_err().to_string();
    assert!(said("[").starts_with("has a bad `manifest.json`"));
    assert!(said("[]").contains("it lists 0 images"));
    assert!(said(r#"[{"Config": "../../etc/shadow", "Layers": []}]"#).contains("the archive has no such entry"));
    assert!(said(r#"[{"Config": "manifest.json", "Layers": []}]"#).contains("has a bad `manifest.json`"));
    let loops = Tar::default()
        .link("c.json", tar::EntryType::Symlink, "c.json")
        .file("manifest.json", r#"[{"Config": "c.json", "Layers": []}]"#);
    assert!(index_of(loops.bytes()).unwrap_err().to_string().contains("more than 8 links follow one another"));
}

#[test]
fn an_archive_of_an_old_engine_is_read_with_layers_behind_links() {
    let found = index_of(saved().bytes()).unwrap();
    let image = select(&found, None, None).unwrap();
    assert_eq!((image.references.clone(), image.diff_ids.len()), (vec!["web:1".to_owned()], 2));
    assert_eq!(image.layers[0].offset, image.layers[1].offset, "the repeated layer is one entry");
    assert_eq!(image.config_digest, ContentDigest::of(&config(&[b"layer one", b"layer one"], "amd64")));
}

#[test]
fn of_a_multi_platform_layout_the_hosts_image_is_taken() {
    let found = index_of(layout().bytes()).unwrap();
    let image = select(&found, None, None).unwrap();
    assert_eq!((image.architecture.as_str(), image.references[0].as_str()), ("amd64", "host.test/web:2"));
    assert_eq!(image.diff_ids, [ContentDigest::of(b"layer for amd64")]);
}

#[test]
fn of_several_images_the_wanted_one_must_be_named() {
    let layer = b"l".as_slice();
    let manifest = json!([
        { "Config": "1.json", "RepoTags": ["a:1"], "Layers": ["l"] },
        { "Config": "2.json", "RepoTags": ["docker.io/library/b:latest"], "Layers": ["l"] },
    ]);
    let tar = Tar::default().file("1.json", config(&[layer], "amd64")).file("2.json", config(&[layer], "arm64"));
    let found = index_of(tar.file("l", layer).file("manifest.json", manifest.to_string()).bytes()).unwrap();
    let wanted = |text: &str| text.parse::<ImageReference>().unwrap();
    assert!(matches!(select(&found, None, None), Err(SelectError::Ambiguous(names)) if names.len() == 2));
    assert!(matches!(select(&found, Some(&wanted("c:1")), None), Err(SelectError::NoReference { .. })));
    assert_eq!(select(&found, Some(&wanted("b")), None).unwrap().architecture, "arm64");
    let id = found.images[1].config_digest.clone();
    assert_eq!(select(&found, None, Some(&id)).unwrap().architecture, "arm64");
    assert!(matches!(select(&found, Some(&wanted("a:1")), Some(&id)), Err(SelectError::WrongId { .. })));
}

#[test]
fn long_names_and_large_layers_are_walked_without_reading_the_layers() {
    let long = format!("{}/layer.tar", "x".repeat(180));
    let layer = vec![9u8; 3_000_000];
    let manifest = json!([{ "Config": "c.json", "RepoTags": null, "Layers": [long] }]);
    let tar = Tar::default().file(&long, layer.clone()).file("c.json", config(&[&layer], "amd64"));
    let (found, read) = read(tar.file("manifest.json", manifest.to_string()).bytes());
    assert_eq!(found.unwrap().images[0].layers[0].size, 3_000_000);
    assert!(read < 300_000, "{read} bytes were read");
}

proptest! {
    #[test]
    fn a_damaged_archive_never_makes_it_panic(at in 0usize..6000, byte: u8, cut in 0usize..6000) {
        for mut bytes in [saved().bytes(), layout().bytes()] {
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(bytes.len() - cut % bytes.len());
            let _ = index_of(bytes);
        }
    }

    #[test]
    fn bytes_by_chance_never_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = index_of(bytes);
    }

    #[test]
    fn any_order_of_entries_gives_the_same_images(order in proptest::collection::vec(any::<u16>(), 4)) {
        let mut tar = saved();
        let mut keyed: Vec<_> = order.into_iter().zip(std::mem::take(&mut tar.0)).collect();
        keyed.sort_by_key(|(key, _)| *key);
        tar.0 = keyed.into_iter().map(|(_, entry)| entry).collect();
        let found = index_of(tar.bytes()).unwrap();
        let wanted = index_of(saved().bytes()).unwrap();
        prop_assert_eq!(&found.images[0].diff_ids, &wanted.images[0].diff_ids);
        prop_assert_eq!(&found.images[0].config_digest, &wanted.images[0].config_digest);
    }
}
