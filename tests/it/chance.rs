//! Archives by chance: whatever shape an archive has, the engine ends up with what a plain `docker load` gives.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::archives::{forget, seen};
use crate::support::images::{noise_layer, server_layer, sha256};
use crate::support::{Bundle, world};

/// xorshift: the same numbers each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn shuffle<T>(&mut self, things: &mut [T]) {
        for at in (1..things.len()).rev() {
            things.swap(at, self.below(at + 1));
        }
    }
}

/// An image: its tag, its config and its layers as they are unpacked.
struct Made {
    tag: String,
    config: Vec<u8>,
    layers: Vec<Vec<u8>>,
}

impl Made {
    /// Layers come from few, so that they repeat in one image and in several.
    fn new(chance: &mut Chance, tag: String) -> Self {
        let mut layers: Vec<Vec<u8>> = (0..chance.below(6))
            .map(|_| match chance.below(5) {
                0 => vec![0; 1024],
                layer => {
                    noise_layer(&[b'a' + u8::try_from(layer).unwrap()], [0, 600, 70_000, 900_000, 9_000_000][layer])
                }
            })
            .collect();
        layers.push(server_layer(&tag));
        let digests: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05Z",
            "config": { "Cmd": ["/bin/busybox", "true"], "Env": ["A=b"], "Labels": { "tag": tag } },
            "rootfs": { "type": "layers", "diff_ids": digests },
        });
        Self { tag, config: config.to_string().into_bytes(), layers }
    }
}

/// An entry of an archive.
enum Entry {
    File(Vec<u8>),
    Hard(String),
    Symbolic(String),
    Folder,
}

/// zstd in one frame that says its size or not, or in two.
fn zstd(chance: &mut Chance, bytes: &[u8]) -> Vec<u8> {
    let said = |bytes: &[u8]| pressed("zstd", &[&format!("--stream-size={}", bytes.len())], bytes);
    match chance.below(3) {
        0 => said(bytes),
        1 => [said(&bytes[..bytes.len() / 2]), said(&bytes[bytes.len() / 2..])].concat(),
        _ => pressed("zstd", &[], bytes),
    }
}

fn pressed(tool: &str, options: &[&str], bytes: &[u8]) -> Vec<u8> {
    use std::io::{Read as _, Write as _};
    let mut child = std::process::Command::new(tool)
        .args(["-1", "--stdout"])
        .args(options)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut pressed) = (child.stdin.take().unwrap(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes).unwrap());
        child.stdout.take().unwrap().read_to_end(&mut pressed).unwrap();
    });
    assert!(child.wait().unwrap().success());
    pressed
}

/// As `docker save` writes it: layers under names of any length, repeated ones perhaps as links to any other place.
fn saved(chance: &mut Chance, images: &[Made]) -> Vec<(String, Entry)> {
    let long = ["", &"x".repeat(90), &"y".repeat(200)][chance.below(3)].to_owned();
    let (links, zipped) = (chance.below(3), chance.below(3) == 0);
    let mut entries = Vec::new();
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    let mut manifest = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let mut names = Vec::new();
        for (at, layer) in image.layers.iter().enumerate() {
            let name = format!("{number}-{at}{long}/layer.tar");
            let known = first.get(&sha256(layer)).cloned();
            let entry = match (known, links) {
                (Some(known), 1) => Entry::Hard(known),
                (Some(known), 2) => Entry::Symbolic(format!("../{known}")),
                _ if zipped => Entry::File(pressed("gzip", &[], layer)),
                _ => Entry::File(layer.clone()),
            };
            first.entry(sha256(layer)).or_insert_with(|| name.clone());
            entries.push((name.clone(), entry));
            names.push(name);
        }
        let config = format!("{}.json", sha256(&image.config));
        manifest.push(json!({ "Config": config, "RepoTags": [image.tag], "Layers": names }));
        entries.push((config, Entry::File(image.config.clone())));
    }
    entries.push(("manifest.json".into(), Entry::File(json!(manifest).to_string().into_bytes())));
    entries
}

/// As an OCI layout, its images perhaps in an index within the index; perhaps with `manifest.json` too.
fn layout(chance: &mut Chance, images: &[Made]) -> Vec<(String, Entry)> {
    let (nested, both) = (chance.below(2) == 0, chance.below(3) > 0);
    let mut blobs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut add = |bytes: Vec<u8>, kind: &str| {
        let digest = sha256(&bytes);
        let kind = format!("application/vnd.oci.image.{kind}");
        let descriptor = json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len() });
        blobs.insert(format!("blobs/sha256/{digest}"), bytes);
        descriptor
    };
    let path =
        |descriptor: &serde_json::Value| descriptor["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
    let (mut manifests, mut saved) = (Vec::new(), Vec::new());
    for image in images {
        let config = add(image.config.clone(), "config.v1+json");
        let layers: Vec<serde_json::Value> = image
            .layers
            .iter()
            .map(|layer| match chance.below(3) {
                0 => add(layer.clone(), "layer.v1.tar"),
                1 => add(pressed("gzip", &[], layer), "layer.v1.tar+gzip"),
                _ => add(zstd(chance, layer), "layer.v1.tar+zstd"),
            })
            .collect();
        saved.push(json!({ "Config": path(&config), "RepoTags": [image.tag], "Layers": layers.iter().map(path).collect::<Vec<_>>() }));
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers,
            "mediaType": "application/vnd.oci.image.manifest.v1+json" });
        let mut descriptor = add(manifest.to_string().into_bytes(), "manifest.v1+json");
        descriptor["platform"] = json!({ "architecture": "amd64", "os": "linux" });
        descriptor["annotations"] = json!({ "io.containerd.image.name": format!("docker.io/library/{}", image.tag) });
        manifests.push(descriptor);
    }
    if nested {
        let other = json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": format!("sha256:{}", "0".repeat(64)),
            "size": 7, "platform": { "architecture": "s390x", "os": "linux" } });
        manifests = manifests
            .into_iter()
            .map(|manifest| {
                let name = manifest["annotations"].clone();
                let inner = json!({ "schemaVersion": 2, "manifests": [other, manifest],
                    "mediaType": "application/vnd.oci.image.index.v1+json" });
                let mut descriptor = add(inner.to_string().into_bytes(), "index.v1+json");
                descriptor["annotations"] = name;
                descriptor
            })
            .collect();
    }
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    let mut entries: Vec<(String, Entry)> = blobs.into_iter().map(|(name, bytes)| (name, Entry::File(bytes))).collect();
    entries.push(("index.json".into(), Entry::File(index.to_string().into_bytes())));
    entries.push(("oci-layout".into(), Entry::File(br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec())));
    if both {
        entries.push(("manifest.json".into(), Entry::File(json!(saved).to_string().into_bytes())));
    }
    entries
}

/// Writes entries in any order, in any dialect of tar, with folders among them and zeros after them.
fn write(chance: &mut Chance, mut entries: Vec<(String, Entry)>, path: &Path) {
    chance.shuffle(&mut entries);
    // An engine of 20.10 extracts in order, and a hard link must find its target.
    entries.sort_by_key(|(_, entry)| matches!(entry, Entry::Hard(_)));
    let (dialect, dotted, folders, padding) =
        (chance.below(3), chance.below(4) == 0, chance.below(2) == 0, chance.below(3));
    if folders {
        entries.insert(0, ("blobs/sha256".into(), Entry::Folder));
        entries.insert(0, ("empty".into(), Entry::Folder));
    }
    let mut tar = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (name, entry) in entries {
        let name = if dotted { format!("./{name}") } else { name };
        let mut header = if dialect == 0 { tar::Header::new_gnu() } else { tar::Header::new_ustar() };
        header.set_mode(if matches!(entry, Entry::Folder) { 0o755 } else { 0o644 });
        let (kind, link, bytes) = match entry {
            Entry::File(bytes) => (tar::EntryType::Regular, None, bytes),
            Entry::Hard(link) => (tar::EntryType::Link, Some(link), Vec::new()),
            Entry::Symbolic(link) => (tar::EntryType::Symlink, Some(link), Vec::new()),
            Entry::Folder => (tar::EntryType::Directory, None, Vec::new()),
        };
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        if dialect > 0 {
            // Names by pax records, and the header's own cut off.
            let mut records: Vec<(&str, &[u8])> = vec![("path", name.as_bytes()), ("mtime", b"1700000000.5")];
            records.extend(link.as_ref().map(|link| ("linkpath", link.as_bytes())));
            tar.append_pax_extensions(records).unwrap();
            header.set_path(name.chars().take(60).collect::<String>()).unwrap();
            if let Some(link) = &link {
                header.set_link_name(link.chars().take(60).collect::<String>()).unwrap();
            }
            header.set_cksum();
            tar.append(&header, &bytes[..]).unwrap();
        } else if let Some(link) = link {
            tar.append_link(&mut header, name, link).unwrap();
        } else {
            tar.append_data(&mut header, name, &bytes[..]).unwrap();
        }
    }
    let mut file = tar.into_inner().unwrap();
    std::io::Write::write_all(&mut file, &vec![0; [0, 9000, 20 * 512][padding]]).unwrap();
}

/// The same images as the simplest archive.
fn simple(images: &[Made], path: &Path) {
    let mut chance = Chance(1);
    let mut entries = Vec::new();
    let mut manifest = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let names: Vec<String> = (0..image.layers.len()).map(|at| format!("{number}-{at}/layer.tar")).collect();
        entries.extend(names.iter().cloned().zip(image.layers.iter().cloned().map(Entry::File)));
        let config = format!("{}.json", sha256(&image.config));
        manifest.push(json!({ "Config": config, "RepoTags": [image.tag], "Layers": names }));
        entries.push((config, Entry::File(image.config.clone())));
    }
    entries.push(("manifest.json".into(), Entry::File(json!(manifest).to_string().into_bytes())));
    write(&mut chance, entries, path);
}

#[test]
fn whatever_shape_an_archive_has_the_engine_ends_up_with_what_a_plain_load_gives() {
    let mut chance = Chance(0x5eed);
    let mut directly = 0;
    for round in 0..ROUNDS {
        let name = world().name("random");
        let images: Vec<Made> =
            (0..1 + chance.below(3)).map(|number| Made::new(&mut chance, format!("{name}:{number}"))).collect();
        let wanted = &images[chance.below(images.len())];
        let service = format!("image: {{archive: image.tar, reference: \"{}\"}}", wanted.tag);
        let bundle = Bundle::container(&name, &service, "health: {timeout: 20s}");
        let archive = bundle.path().join("image.tar");
        let entries = if chance.below(2) == 0 { saved(&mut chance, &images) } else { layout(&mut chance, &images) };
        write(&mut chance, entries, &archive);

        bundle.hook("AfterInstall").exits(0);

        let ours = seen(&wanted.tag);
        let ran = world().docker(&["run", "--rm", "--network", "none", &wanted.tag]);
        forget(&wanted.tag);
        let load = |path: &Path| world().docker_may_fail(&["load", "--input", path.to_str().unwrap()]);
        let loaded =
            load(&archive).is_ok() && world().docker_may_fail(&["create", "--name", &name, &wanted.tag]).is_ok();
        if loaded {
            world().docker(&["rm", &name]);
            directly += 1;
        } else {
            // An OCI layout on a graph driver, or zstd on 20.10.
            let path = bundle.path().join("simple.tar");
            simple(&images, &path);
            load(&path).unwrap();
        }
        assert_eq!((ours, ran.as_str()), (seen(&wanted.tag), ""), "round {round}");
        // Some stay, and the next one leaves their layers out.
        if chance.below(2) == 0 {
            images
                .iter()
                .filter(|image| world().docker_may_fail(&["inspect", &image.tag]).is_ok())
                .for_each(|image| forget(&image.tag));
        }
    }
    assert!(directly >= ROUNDS / 4, "{directly} of {ROUNDS} archives were loaded as they are");
}

/// Archives.
const ROUNDS: usize = 14;
