//! Which layers of an archived image must travel, and the archives that carry them to the engine.
//!
//! An engine knows a layer by its chain ID: its own diff ID and those of all layers below (OCI image specification,
//! "Layer ChainID"). The leading layers that it has may be left out of what it is given to load. The one form that graph
//! drivers and the containerd store both take with layers left out is an OCI layout and `manifest.json` in one archive.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::archive::{ArchivedImage, Compression, LayerEntry};
use crate::spec::types::ContentDigest;

/// The first parcel is closed as soon as it has so many bytes of layers: the engine has nothing to do before.
const FIRST_PARCEL: u64 = 16 * 1024 * 1024;
/// The later ones are closed at so many bytes: the engine registers each while the next travels, and every image that it
/// names costs it a little. Measured with `benches/images`: a parcel for each layer of 50 MB took 1.05 of this time.
const PARCEL: u64 = 96 * 1024 * 1024;

/// How an engine keeps images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageStore {
    /// A graph driver (overlay2): an archive is unpacked as a whole, then its layers are registered.
    Graph {
        /// Whether it takes layers that are compressed with zstd (Docker 23 and later).
        zstd: bool,
    },
    /// containerd's content store and snapshots.
    Containerd,
}

/// What must travel of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Layers that the engine lacks.
    pub layers: usize,
    /// All layers.
    pub of: usize,
    /// Bytes of the missing ones, as they are stored.
    pub bytes: u64,
    /// Bytes of all.
    pub total: u64,
    /// Bytes of the missing ones when they are unpacked, as far as it can be told.
    pub unpacked: u64,
    /// Bytes of the engine's own copies that exist at one time while it loads them.
    pub copies: u64,
}

/// The chain IDs of an image's layers, bottom first.
pub fn chain_ids<T: AsRef<str>>(diff_ids: &[T]) -> Vec<ContentDigest> {
    let mut chain: Vec<ContentDigest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids.iter().map(AsRef::as_ref) {
        let next = match chain.last() {
            Some(below) => Some(ContentDigest::of(format!("{below} {diff_id}").as_bytes())),
            None => diff_id.parse().ok(),
        };
        let Some(next) = next else { return chain };
        chain.push(next);
    }
    chain
}

/// An image and how many of its leading layers are left out.
#[derive(Debug, Clone, Copy)]
pub struct Delta<'a> {
    image: &'a ArchivedImage,
    known: usize,
}

impl<'a> Delta<'a> {
    /// Of an engine that has the layers with these chain IDs.
    pub fn new(image: &'a ArchivedImage, has: &HashSet<ContentDigest>) -> Self {
        let known = chain_ids(&image.diff_ids).iter().rposition(|chain| has.contains(chain)).map_or(0, |at| at + 1);
        Self { image, known }
    }

    /// Of an engine that has none of them.
    pub const fn whole(image: &'a ArchivedImage) -> Self {
        Self { image, known: 0 }
    }

    /// Whether any layer is left out.
    pub const fn leaves_out(&self) -> bool {
        self.known > 0
    }

    /// The missing layers, by their places in the image.
    pub fn missing_layers(&self) -> impl Iterator<Item = (usize, &'a LayerEntry)> + use<'a> {
        self.image.layers.iter().enumerate().skip(self.known)
    }

    /// What must travel, and what room it needs in the engine.
    pub fn missing(&self, store: ImageStore) -> Missing {
        let bytes = |layers: &[LayerEntry]| layers.iter().map(|layer| layer.size).sum();
        let missing = &self.image.layers[self.known..];
        let mut parcels: Vec<u64> = self.split().into_iter().map(|range| bytes(&self.image.layers[range])).collect();
        parcels.sort_unstable();
        let copies = match store {
            // A parcel is unpacked while the next one arrives.
            ImageStore::Graph { .. } => parcels.iter().rev().take(2).sum(),
            // The layers are kept as they arrived, too.
            ImageStore::Containerd => bytes(missing),
        };
        Missing {
            layers: missing.len(),
            of: self.image.layers.len(),
            bytes: bytes(missing),
            total: bytes(&self.image.layers),
            unpacked: missing.iter().map(unpacked).sum(),
            copies,
        }
    }

    /// The archives that bring the missing layers in, in the order in which they must be loaded: each makes an image
    /// of all layers up to its own, the last makes the wanted one. `inflated` has the uncompressed size of each layer
    /// that must be decompressed on the way; `tag` names the image of each parcel.
    ///
    /// `None` where this engine cannot be told what the layers are: their digests are not known before they are read.
    pub fn parcels(
        &self,
        store: ImageStore,
        inflated: &[(usize, u64)],
        tag: impl Fn(usize) -> String,
    ) -> Option<Vec<Parcel>> {
        let ranges = self.split();
        let last = ranges.len() - 1;
        let parcel = |(number, range): (usize, Range<usize>)| {
            let image = if number == last { self.image.clone() } else { leading(self.image, range.end) };
            build(&image, range, store, inflated, tag(number + 1))
        };
        ranges.into_iter().enumerate().map(parcel).collect()
    }

    /// Places of the layers of each parcel.
    fn split(&self) -> Vec<Range<usize>> {
        let all = self.known..self.image.layers.len();
        let (mut ranges, mut start, mut bytes) = (Vec::new(), all.start, 0);
        for (at, layer) in self.missing_layers() {
            bytes += layer.size;
            let enough = if ranges.is_empty() { FIRST_PARCEL } else { PARCEL };
            if bytes >= enough && at + 1 < all.end {
                ranges.push(start..at + 1);
                (start, bytes) = (at + 1, 0);
            }
        }
        ranges.push(start..all.end);
        ranges
    }
}

/// gzip and zstd make an image's layers two to three times smaller.
const fn unpacked(layer: &LayerEntry) -> u64 {
    match layer.compression {
        Compression::None => layer.size,
        _ => layer.size.saturating_mul(3),
    }
}

/// Whether a layer must be decompressed before this engine takes it.
pub const fn must_inflate(layer: &LayerEntry, store: ImageStore) -> bool {
    matches!((layer.compression, store), (Compression::Zstd, ImageStore::Graph { zstd: false }))
}

/// One archive for the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// What the image it makes is tagged with.
    pub tag: String,
    /// The digest of that image's config.
    pub config: ContentDigest,
    /// The layers' entries, in order.
    pub layers: Vec<ParcelLayer>,
    /// Config, manifests and the archive's end: whatever comes after the layers.
    pub tail: Bytes,
}

/// One layer's entry in a parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParcelLayer {
    /// Its place in the image.
    pub place: usize,
    /// The tar header.
    pub header: Bytes,
    /// Where its bytes are in the source.
    pub range: Range<u64>,
    /// Decompress them on the way.
    pub inflate: bool,
    /// How many bytes are passed on.
    pub size: u64,
    /// The digest that what is passed on must have, where it is known.
    pub digest: Option<ContentDigest>,
    /// Zeros after its bytes.
    pub padding: usize,
}

/// The image of the first `count` layers alone: what a graph driver is given so that it registers them early.
fn leading(image: &ArchivedImage, count: usize) -> ArchivedImage {
    let diff_ids = image.diff_ids[..count].to_vec();
    let config = json!({
        "architecture": image.architecture, "os": image.os, "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = Bytes::from(config.to_string());
    ArchivedImage {
        config_digest: ContentDigest::of(&config),
        references: Vec::new(),
        diff_ids,
        architecture: image.architecture.clone(),
        os: image.os.clone(),
        layers: image.layers[..count].to_vec(),
        config,
        manifest: None,
    }
}

/// A layer as it is in the parcel.
struct Stored {
    path: String,
    media_type: &'static str,
    size: u64,
    digest: Option<ContentDigest>,
    inflate: bool,
}

fn stored(image: &ArchivedImage, place: usize, store: ImageStore, inflated: &[(usize, u64)]) -> Option<Stored> {
    let (layer, diff_id) = (&image.layers[place], &image.diff_ids[place]);
    let inflate = inflated.iter().find(|(at, _)| *at == place);
    let plain = inflate.is_some() || layer.compression == Compression::None;
    let digest = if plain { Some(diff_id.clone()) } else { layer.digest.clone() };
    let path = match (&digest, store) {
        (Some(digest), _) => format!("blobs/sha256/{}", digest.hex()),
        (None, ImageStore::Graph { .. }) => format!("layers/{place}.tar"),
        (None, ImageStore::Containerd) => return None,
    };
    let media_type = match layer.compression {
        _ if plain => "application/vnd.oci.image.layer.v1.tar",
        Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => "application/vnd.oci.image.layer.v1.tar+gzip",
    };
    let size = inflate.map_or(layer.size, |(_, size)| *size);
    Some(Stored { path, media_type, size, digest, inflate: inflate.is_some() })
}

fn build(
    image: &ArchivedImage,
    range: Range<usize>,
    store: ImageStore,
    inflated: &[(usize, u64)],
    tag: String,
) -> Option<Parcel> {
    let all: Vec<Stored> =
        (0..image.layers.len()).map(|at| stored(image, at, store, inflated)).collect::<Option<_>>()?;
    let mut seen = BTreeSet::new();
    let mut layers = Vec::new();
    for place in range {
        let (layer, stored) = (&image.layers[place], &all[place]);
        if !seen.insert(stored.path.as_str()) {
            continue;
        }
        layers.push(ParcelLayer {
            place,
            header: header(&stored.path, stored.size),
            range: layer.offset..layer.offset + layer.size,
            inflate: stored.inflate,
            size: stored.size,
            digest: stored.digest.clone(),
            padding: padding(stored.size),
        });
    }
    Some(Parcel { config: image.config_digest.clone(), tail: tail(image, &all, &tag), layers, tag })
}

/// Config, manifest, `index.json`, `oci-layout`, `manifest.json` and the archive's end.
fn tail(image: &ArchivedImage, layers: &[Stored], tag: &str) -> Bytes {
    let config_path = format!("blobs/sha256/{}", image.config_digest.hex());
    let manifest = image.manifest.clone().unwrap_or_else(|| manifest(image, layers));
    let media_type = media_type(&manifest);
    let digest = ContentDigest::of(&manifest);
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": media_type,
            "digest": digest.as_str(),
            "size": manifest.len(),
            "annotations": {
                "io.containerd.image.name": format!("docker.io/{tag}"),
                "org.opencontainers.image.ref.name": tag.rsplit(':').next(),
            },
            "platform": { "architecture": image.architecture, "os": image.os },
        }],
    });
    let saved = json!([{
        "Config": config_path,
        "RepoTags": [tag],
        "Layers": layers.iter().map(|layer| layer.path.as_str()).collect::<Vec<_>>(),
    }]);
    let mut bytes = Vec::new();
    let mut entry = |path: &str, content: &[u8]| {
        bytes.extend_from_slice(&header(path, content.len() as u64));
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len() + padding(content.len() as u64), 0);
    };
    entry(&config_path, &image.config);
    entry(&format!("blobs/sha256/{}", digest.hex()), &manifest);
    entry("index.json", index.to_string().as_bytes());
    entry("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    entry("manifest.json", saved.to_string().as_bytes());
    bytes.resize(bytes.len() + 1024, 0);
    bytes.into()
}

fn manifest(image: &ArchivedImage, layers: &[Stored]) -> Bytes {
    let layer = |stored: &Stored| {
        json!({
            "mediaType": stored.media_type,
            "digest": stored.digest.as_ref().map_or("", ContentDigest::as_str),
            "size": stored.size,
        })
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": image.config_digest.as_str(),
            "size": image.config.len(),
        },
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    manifest.to_string().into()
}

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn media_type(manifest: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "mediaType")]
        media_type: Option<String>,
    }
    let typed: Option<Typed> = serde_json::from_slice(manifest).ok();
    typed.and_then(|typed| typed.media_type).unwrap_or_else(|| OCI_MANIFEST.into())
}

fn header(path: &str, size: u64) -> Bytes {
    let mut header = tar::Header::new_gnu();
    // The paths here are short: they always fit.
    let _ = header.set_path(path);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Bytes::copy_from_slice(header.as_bytes())
}

fn padding(size: u64) -> usize {
    usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read as _;

    use proptest::prelude::*;

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

    fn parcels(delta: &Delta<'_>, store: ImageStore) -> Vec<Parcel> {
        delta.parcels(store, &[], |number| format!("balehook/web:part-{number}")).unwrap()
    }

    fn places(parcels: &[Parcel]) -> Vec<Vec<usize>> {
        parcels.iter().map(|parcel| parcel.layers.iter().map(|layer| layer.place).collect()).collect()
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
            assert_eq!(places(&parcels(&delta, store)), [Vec::<usize>::new()]);
        }
    }

    #[test]
    fn large_layers_travel_in_parcels_of_their_own_and_small_ones_together() {
        let image = image(&[FIRST_PARCEL, 5, PARCEL, 7, 8]);
        let delta = Delta::whole(&image);
        assert_eq!(places(&parcels(&delta, GRAPH)), [vec![0], vec![1, 2], vec![3, 4]]);
        assert_eq!(delta.missing(GRAPH).copies, FIRST_PARCEL + PARCEL + 5, "two parcels are in the engine at one time");
        assert_eq!(delta.missing(ImageStore::Containerd).copies, FIRST_PARCEL + PARCEL + 20, "it keeps what arrived");
    }

    #[test]
    fn a_compressed_layer_without_a_digest_cannot_be_told_to_containerd() {
        let mut image = image(&[10]);
        image.layers[0].compression = Compression::Gzip;
        let tag = |_| String::from("t:1");
        assert_eq!(Delta::whole(&image).parcels(ImageStore::Containerd, &[], tag), None);
        assert_eq!(Delta::whole(&image).parcels(GRAPH, &[], tag).unwrap()[0].layers[0].digest, None);
    }

    #[test]
    fn a_repeated_layer_travels_once_in_a_parcel() {
        let mut image = image(&[10, 10]);
        image.diff_ids[1] = image.diff_ids[0].clone();
        image.layers[1] = image.layers[0].clone();
        let delta = Delta::whole(&image);
        assert_eq!(places(&parcels(&delta, GRAPH)), [[0]]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_parcel_is_an_archive_that_lists_all_layers_below_and_holds_the_missing_ones(
            sizes in proptest::collection::vec(prop_oneof![1u64..5000, FIRST_PARCEL - 10..FIRST_PARCEL + 10], 1..12),
            known in 0usize..12,
            containerd: bool,
        ) {
            let image = image(&sizes);
            let known = known.min(sizes.len());
            let store = if containerd { ImageStore::Containerd } else { GRAPH };
            let parcels = parcels(&Delta::new(&image, &engine_with(&image, known)), store);
            let carried: Vec<usize> = places(&parcels).concat();
            prop_assert_eq!(carried, (known..sizes.len()).collect::<Vec<_>>());
            prop_assert_eq!(&parcels.last().unwrap().config, &image.config_digest);
            let mut until = known;
            for parcel in &parcels {
                let mut bytes = Vec::new();
                for layer in &parcel.layers {
                    until = layer.place + 1;
                    bytes.extend_from_slice(&layer.header);
                    let end = bytes.len() + usize::try_from(sizes[layer.place]).unwrap() + layer.padding;
                    bytes.resize(end, 0);
                }
                bytes.extend_from_slice(&parcel.tail);
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
                prop_assert_eq!(ContentDigest::of(&found[config]), parcel.config.clone());
                let index: serde_json::Value = serde_json::from_slice(&found["index.json"]).unwrap();
                let manifest = index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
                let manifest: serde_json::Value = serde_json::from_slice(&found[&manifest]).unwrap();
                prop_assert_eq!(manifest["layers"].as_array().unwrap().len(), until);
            }
        }
    }
}
