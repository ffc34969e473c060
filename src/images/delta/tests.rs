//! Which layers travel, and in which batches.
#![allow(clippy::unwrap_used)]

use std::io::Read as _;

use proptest::prelude::*;

use serde_json::json;

use super::*;

const GRAPH: ImageStore = ImageStore::Graph { zstd: true };

/// An image whose layer number n has `sizes[n]` bytes, one behind another.
fn image(sizes: &[u64]) -> ArchivedImage {
    let diff_ids: Vec<ContentDigest> =
        (0..sizes.len()).map(|layer| ContentDigest::of(layer.to_string().as_bytes())).collect();
    let mut offset = 0;
    let layers = sizes.iter().enumerate().map(|(number, size)| {
        offset += 512 + size;
        let name = format!("{number}/layer.tar");
        LayerEntry { name, offset: offset - size, size: *size, compression: Compression::None, digest: None }
    });
    let layers = layers.collect();
    let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "diff_ids": diff_ids } }).to_string();
    ArchivedImage {
        config_digest: ContentDigest::of(config.as_bytes()),
        references: vec!["web:1".into()],
        diff_ids,
        architecture: "amd64".into(),
        os: "linux".into(),
        layers,
        config: config.into(),
        manifest: None,
    }
}

fn engine_with(image: &ArchivedImage, layers: usize) -> HashSet<ContentDigest> {
    chain_ids(&image.diff_ids[..layers]).into_iter().collect()
}

fn batches(delta: &Delta<'_>, store: ImageStore) -> Vec<Batch> {
    delta.batches(store, &[], |number| format!("balehook/web:part-{number}")).unwrap()
}

fn places(batches: &[Batch]) -> Vec<Vec<usize>> {
    batches.iter().map(|batch| batch.layers.iter().map(|layer| layer.place).collect()).collect()
}

#[test]
fn a_chain_id_is_the_digest_of_the_chain_below_and_the_layer() {
    let ids = [ContentDigest::of(b"a"), ContentDigest::of(b"b")];
    let second = ContentDigest::of(format!("{} {}", ids[0], ids[1]).as_bytes());
    assert_eq!(chain_ids(&ids), [ids[0].clone(), second]);
}

#[test]
fn a_layer_counts_only_above_the_same_layers() {
    let image = image(&[10, 20, 30]);
    let elsewhere: HashSet<_> = image.diff_ids[1..].iter().cloned().collect();
    assert_eq!(Delta::new(&image, &elsewhere).missing(GRAPH).layers, 3);
    let delta = Delta::new(&image, &engine_with(&image, 2));
    let missing = delta.missing(GRAPH);
    assert_eq!((missing.layers, missing.of, missing.bytes, missing.total), (1, 3, 30, 60));
}

#[test]
fn an_image_of_known_layers_travels_as_its_config_alone() {
    let image = image(&[10, 20]);
    for store in [GRAPH, ImageStore::Containerd] {
        let delta = Delta::new(&image, &engine_with(&image, 2));
        assert_eq!(places(&batches(&delta, store)), [Vec::<usize>::new()]);
    }
}

#[test]
fn large_layers_travel_in_batches_of_their_own_and_small_ones_together() {
    let image = image(&[FIRST_BATCH, 5, LARGEST_BATCH, 7, 8]);
    let delta = Delta::whole(&image);
    assert_eq!(places(&batches(&delta, GRAPH)), [vec![0], vec![1, 2], vec![3, 4]]);
    let copies = FIRST_BATCH + LARGEST_BATCH + 5;
    assert_eq!(delta.missing(GRAPH).copies, copies, "two batches are in the engine at one time");
    assert_eq!(delta.missing(ImageStore::Containerd).copies, copies + 15, "it keeps what arrived");
}

#[test]
fn batches_grow_with_what_was_sent_before_them_and_become_smaller_towards_the_end() {
    let counts = |known| {
        let image = image(&[52_000_000; 20]);
        let delta = Delta::new(&image, &engine_with(&image, known));
        places(&batches(&delta, GRAPH)).iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(counts(0), [1, 1, 2, 4, 6, 3, 2, 1]);
    assert_eq!(counts(10), [1, 1, 2, 3, 2, 1]);
    assert_eq!(counts(19), [1]);
}

#[test]
fn a_compressed_layer_without_a_digest_cannot_be_told_to_containerd() {
    let mut image = image(&[10]);
    image.layers[0].compression = Compression::Gzip;
    let tag = |_| String::from("t:1");
    assert_eq!(Delta::whole(&image).batches(ImageStore::Containerd, &[], tag), None);
    assert_eq!(Delta::whole(&image).batches(GRAPH, &[], tag).unwrap()[0].layers[0].digest, None);
}

#[test]
fn a_repeated_layer_travels_once_in_a_batch() {
    let mut image = image(&[10, 10]);
    image.diff_ids[1] = image.diff_ids[0].clone();
    image.layers[1] = image.layers[0].clone();
    let delta = Delta::whole(&image);
    let batches = batches(&delta, GRAPH);
    assert_eq!(places(&batches), [[0]]);
    assert_eq!(batches[0].layers[0].times, 2, "the engine unpacks it twice");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_batch_is_an_archive_that_lists_all_layers_below_and_holds_the_missing_ones(
        sizes in proptest::collection::vec(prop_oneof![1u64..5000, FIRST_BATCH - 10..FIRST_BATCH + 10], 1..12),
        known in 0usize..12,
        containerd: bool,
    ) {
        let image = image(&sizes);
        let known = known.min(sizes.len());
        let store = if containerd { ImageStore::Containerd } else { GRAPH };
        let batches = batches(&Delta::new(&image, &engine_with(&image, known)), store);
        let carried: Vec<usize> = places(&batches).concat();
        prop_assert_eq!(carried, (known..sizes.len()).collect::<Vec<_>>());
        prop_assert_eq!(&batches.last().unwrap().config, &image.config_digest);
        let mut until = known;
        for batch in &batches {
            let mut bytes = Vec::new();
            for layer in &batch.layers {
                until = layer.place + 1;
                bytes.extend_from_slice(&layer.header);
                let end = bytes.len() + usize::try_from(sizes[layer.place]).unwrap() + layer.padding;
                bytes.resize(end, 0);
            }
            bytes.extend_from_slice(&batch.tail);
            let mut tar = tar::Archive::new(&bytes[..]);
            let mut found = std::collections::BTreeMap::new();
            for entry in tar.entries().unwrap() {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                found.insert(path, content);
            }
            let saved: serde_json::Value = serde_json::from_slice(&found["manifest.json"]).unwrap();
            prop_assert_eq!(saved[0]["Layers"].as_array().unwrap().len(), until);
            let config = saved[0]["Config"].as_str().unwrap();
            prop_assert_eq!(ContentDigest::of(&found[config]), batch.config.clone());
            let index: serde_json::Value = serde_json::from_slice(&found["index.json"]).unwrap();
            let manifest = index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
            let manifest: serde_json::Value = serde_json::from_slice(&found[&manifest]).unwrap();
            prop_assert_eq!(manifest["layers"].as_array().unwrap().len(), until);
        }
    }
}
