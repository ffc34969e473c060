//! What a batch is made of: an OCI layout with `manifest.json`, written as tar entries around the layers' bytes.

use crate::engine::images::ImageStore;
use crate::images::archive::{ArchivedImage, Compression};
use crate::images::delta::{Batch, BatchLayer};
use crate::values::types::ContentDigest;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::Range;

/// The image of the first `count` layers alone: what a graph driver is given so that it registers them early.
pub(super) fn leading(image: &ArchivedImage, count: usize) -> ArchivedImage {
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

pub(super) struct Stored {
    pub(super) path: String,
    pub(super) media_type: &'static str,
    pub(super) size: u64,
    pub(super) digest: Option<ContentDigest>,
    pub(super) decompress: bool,
}

pub(super) fn stored(
    image: &ArchivedImage,
    place: usize,
    store: ImageStore,
    decompressed: &[(usize, u64)],
) -> Option<Stored> {
    let (layer, diff_id) = (&image.layers[place], &image.diff_ids[place]);
    let decompress = decompressed.iter().find(|(at, _)| *at == place);
    let plain = decompress.is_some() || layer.compression == Compression::None;
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
    let size = decompress.map_or(layer.size, |(_, size)| *size);
    Some(Stored { path, media_type, size, digest, decompress: decompress.is_some() })
}

pub(super) fn build(
    image: &ArchivedImage,
    range: Range<usize>,
    store: ImageStore,
    decompressed: &[(usize, u64)],
    tag: String,
) -> Option<Batch> {
    let all: Vec<Stored> =
        (0..image.layers.len()).map(|at| stored(image, at, store, decompressed)).collect::<Option<_>>()?;
    let mut at: BTreeMap<&str, usize> = BTreeMap::new();
    let mut layers: Vec<BatchLayer> = Vec::new();
    for place in range {
        let (layer, stored) = (&image.layers[place], &all[place]);
        if let Some(same) = at.get(stored.path.as_str()) {
            layers[*same].times += 1;
            continue;
        }
        at.insert(&stored.path, layers.len());
        layers.push(BatchLayer {
            place,
            times: 1,
            header: header(&stored.path, stored.size),
            range: layer.offset..layer.offset + layer.size,
            decompress: if stored.decompress { layer.compression } else { Compression::None },
            size: stored.size,
            digest: stored.digest.clone(),
            padding: padding(stored.size),
        });
    }
    Some(Batch { config: image.config_digest.clone(), tail: tail(image, &all, &tag), layers, tag })
}

/// Config, manifest, `index.json`, `oci-layout`, `manifest.json` and the archive's end.
pub(super) fn tail(image: &ArchivedImage, layers: &[Stored], tag: &str) -> Bytes {
    let config_path = format!("blobs/sha256/{}", image.config_digest.hex());
    // The archive's own names the layers as they were stored.
    let own = image.manifest.clone().filter(|_| !layers.iter().any(|layer| layer.decompress));
    let manifest = own.unwrap_or_else(|| manifest(image, layers));
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

pub(super) fn manifest(image: &ArchivedImage, layers: &[Stored]) -> Bytes {
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

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(super) fn media_type(manifest: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Typed {
        #[serde(rename = "mediaType")]
        media_type: Option<String>,
    }
    let typed: Option<Typed> = serde_json::from_slice(manifest).ok();
    typed.and_then(|typed| typed.media_type).unwrap_or_else(|| OCI_MANIFEST.into())
}

pub(crate) fn header(path: &str, size: u64) -> Bytes {
    let mut header = tar::Header::new_gnu();
    // The paths here are short: they always fit.
    let _ = header.set_path(path);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Bytes::copy_from_slice(header.as_bytes())
}

pub(crate) fn padding(size: u64) -> usize {
    usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0)
}
