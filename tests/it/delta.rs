//! Only what is missing travels: archives of every kind, layers that vanish, loads that are cut off.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::images::{Layered, web};
use crate::support::{Bundle, world};

const HEALTH: &str = "health: {http: /healthz, timeout: 20s}";

/// A bundle whose image is an archive of its own, and its name and port.
fn bundle(stem: &str, archive: &str) -> (Bundle, String, u16) {
    let (name, port) = (world().name(stem), world().port());
    let service = format!("image: {{archive: {archive}}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    (Bundle::container(&name, &service, HEALTH), name, port)
}

/// An image of three layers of which the uppermost is the web server's page; no other test has them.
fn release(name: &str, page: &str) -> Layered {
    let libraries = format!("{name} libraries");
    Layered::web(&format!("{name}:{page}"), page)
        .below(name.as_bytes(), 3_000_000)
        .below(libraries.as_bytes(), 2_000_000)
}

#[test]
fn only_the_changed_layer_of_the_second_release_travels_and_the_plan_says_so() {
    let (mut bundle, name, port) = bundle("delta", "image.tar");
    release(&name, "one").write(&bundle.path().join("image.tar"));
    bundle.hook("ApplicationStart").exits(0).says("3 of 3 layers missing");

    let id = release(&name, "two").write(&bundle.path().join("image.tar"));
    bundle.deployment("d-TEST00002").run(&["plan"]).exits(0).prints(": 1 of 3 layers missing, 2.0 MB of 7.0 MB");
    bundle.hook("ApplicationStart").exits(0);

    assert_eq!(world().get(port, "/").as_deref(), Some("two"));
    assert_eq!(world().config_digest(&name), id);
}

#[test]
fn an_archive_of_known_layers_alone_travels_as_its_config_and_outlives_the_image_it_shares_them_with() {
    let (mut bundle, name, port) = bundle("config", "image.tar");
    release(&name, "one").write(&bundle.path().join("image.tar"));
    bundle.hook("ApplicationStart").exits(0);

    let id = release(&name, "one").label("changed").write(&bundle.path().join("image.tar"));
    bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0).says(": 0 of 3 layers missing, 0 B of 7.0 MB");

    assert_eq!(world().config_digest(&name), id);
    assert_eq!(world().get(port, "/").as_deref(), Some("one"));
    let second = world().inspect(&name, "{{.Image}}");
    let all = world().docker(&[
        "images",
        "--filter",
        &format!("reference=balehook/{name}"),
        "--format",
        "{{.Repository}}:{{.Tag}}",
    ]);
    let ids = all.lines().map(|tag| (tag, world().docker(&["image", "inspect", "--format", "{{.Id}}", tag])));
    let first: Vec<&str> = ids.filter(|(_, id)| *id != second).map(|(tag, _)| tag).collect();
    assert_eq!(first.len(), 1, "{all}");
    world().docker(&["rm", "--force", &name]);
    world().docker(&["rmi", "--force", first[0]]);
    bundle.deployment("d-TEST00003").hook("ApplicationStart").exits(0);
    assert_eq!(world().get(port, "/").as_deref(), Some("one"));
}

#[test]
fn an_archive_that_does_not_name_its_image_is_kept_by_a_tag_of_ours() {
    let (bundle, name, port) = bundle("nameless", "image.tar");
    let id = release(&name, "one").untagged().write(&bundle.path().join("image.tar"));

    bundle.hook("AfterInstall").exits(0);
    bundle.hook("ApplicationStart").exits(0);

    assert_eq!(world().config_digest(&name), id);
    assert_eq!(world().get(port, "/").as_deref(), Some("one"));
}

fn compress(tool: &[&str], plain: &Path) -> PathBuf {
    let output = Command::new(tool[0]).args(&tool[1..]).arg(plain).output().unwrap();
    assert!(output.status.success(), "{tool:?}: {}", String::from_utf8_lossy(&output.stderr));
    let extension = if tool[0] == "gzip" { "tar.gz" } else { "tar.zst" };
    plain.with_extension(extension)
}

#[test]
fn of_a_compressed_archive_the_engine_gets_only_the_layers_it_lacks() {
    for tool in [&["gzip", "-1"][..], &["zstd", "-1", "--quiet"]] {
        let (mut bundle, name, port) = bundle("compressed", "image.tar");
        let path = bundle.path().join("image.tar");
        release(&name, "one").write(&path);
        bundle.hook("ApplicationStart").exits(0);

        release(&name, "two").blobs().write(&path);
        let compressed = compress(tool, &path);
        std::fs::rename(compressed, &path).unwrap();
        bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0).says(", compressed");

        assert_eq!(world().get(port, "/").as_deref(), Some("two"), "{tool:?}");
    }
}

#[test]
fn a_compressed_archive_that_the_engine_refuses_is_sent_twice_at_most() {
    let (bundle, name, _) = bundle("incomplete", "image.tar.gz");
    let path = bundle.path().join("image.tar");
    let mut tar = tar::Builder::new(std::fs::File::create(&path).unwrap());
    let manifest = format!(r#"[{{"Config": "c.json", "RepoTags": ["{name}:1"], "Layers": ["gone/layer.tar"]}}]"#);
    let config = format!(
        r#"{{"architecture": "amd64", "os": "linux", "rootfs": {{"type": "layers", "diff_ids": ["sha256:{}"]}}}}"#,
        "1".repeat(64)
    );
    for (entry, content) in [("c.json", &config), ("manifest.json", &manifest)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, entry, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap();
    compress(&["gzip"], &path);

    bundle.hook("ApplicationStart").exits(6).says("the engine cannot load").says("image.tar.gz");

    assert_eq!(world().docker(&["images", "--quiet", &name]), "", "no tag of a broken image is left");
}

#[test]
fn a_compressed_archive_that_was_cut_off_is_refused_with_the_byte_where_it_ends() {
    let (bundle, name, _) = bundle("cut", "image.tar.gz");
    let path = bundle.path().join("image.tar");
    Layered::web(&format!("{name}:1"), "page").below(name.as_bytes(), 1_000_000).write(&path);
    compress(&["gzip"], &path);
    let path = path.with_extension("tar.gz");
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(700_000).unwrap();

    let refused = bundle.hook("AfterInstall");

    refused.exits(6).says("image.tar.gz broke off: ").says("(after 700000 of 700000 bytes)");
    assert_eq!(world().docker(&["images", "--quiet", &name]), "");
}

/// A release in S3 of which a layer is known to the engine by another image, and so many bytes are not.
fn shared_with_another_image(stem: &str, missing: u64) -> (Bundle, String, u16, String) {
    let (world, name, port) = (world(), world().name(stem), world().port());
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let path = scratch.path().join("image.tar");
    let base = format!("{name}-base");
    Layered::web(&format!("{base}:1"), "base").below(name.as_bytes(), 3_000_000).write(&path);
    world.docker(&["load", "--input", path.to_str().unwrap()]);
    let image = Layered::web(&format!("{name}:1"), "one").below(name.as_bytes(), 3_000_000);
    image.below(b"new", missing).below(b"newer", missing).write(&path);
    let uri = world.put("releases", &format!("{name}.tar"), &path);
    let service = format!("image: {{archive: \"{uri}\"}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    (Bundle::container(&name, &service, HEALTH), name, port, base)
}

#[test]
fn a_layer_that_vanishes_while_the_others_travel_is_sent_after_all() {
    let (mut bundle, name, port, base) = shared_with_another_image("vanishes", 5_000_000);
    let proxy = crate::faults::Proxy::start(usize::MAX, crate::faults::Fault::Slow);
    bundle.env("AWS_ENDPOINT_URL_S3", &proxy.url());
    let mut running = bundle.start("ApplicationStart");
    running.wait_until_said("3 of 4 layers missing");
    world().docker(&["rmi", "--force", &format!("{base}:1")]);

    let outcome = running.wait();

    outcome.exits(0);
    assert_eq!(world().get(port, "/").as_deref(), Some("one"));
    assert_eq!(world().docker(&["images", "--quiet", "--filter", &format!("reference=balehook/{name}:part-*")]), "");
}

#[test]
fn a_load_that_was_killed_leaves_nothing_that_the_next_one_does_not_remove() {
    let (mut bundle, name, port, _) = shared_with_another_image("killed", 17_000_000);
    let proxy = crate::faults::Proxy::start(usize::MAX, crate::faults::Fault::Slow);
    let parts = || {
        let filter = format!("reference=balehook/{name}:part-*");
        world().docker(&["images", "--quiet", "--filter", &filter])
    };
    bundle.env("AWS_ENDPOINT_URL_S3", &proxy.url());
    let running = bundle.start("AfterInstall");
    world().wait_for("the first parcel", || !parts().is_empty());
    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait().code, None);
    assert_ne!(parts(), "", "there is something to remove");

    bundle.env("AWS_ENDPOINT_URL_S3", crate::support::world::S3).hook("ApplicationStart").exits(0);

    assert_eq!(parts(), "");
    assert_eq!(world().get(port, "/").as_deref(), Some("one"));
}

#[test]
fn an_archive_with_a_flipped_byte_is_refused_with_the_layer_and_no_tag_moves() {
    let (mut bundle, name, port) = bundle("flipped", "image.tar");
    let path = bundle.path().join("image.tar");
    web(&format!("{name}:1"), "one").write(&path);
    bundle.hook("ApplicationStart").exits(0);
    web(&format!("{name}:1"), &format!("only in {name}")).write(&path);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1_000_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let tags = || world().docker(&["images", "--format", "{{.Tag}} {{.ID}}", &format!("balehook/{name}")]);
    let before = tags();

    bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(6).says("layer 1 has the digest").says("damaged");

    assert_eq!(tags(), before);
    assert_eq!(world().get(port, "/").as_deref(), Some("one"));
}

/// A release whose layers are compressed with zstd, in an OCI layout: `frames` for each.
fn zstd_layout(name: &str, frames: usize, path: &Path) {
    let scratch = tempfile::tempdir_in(world().folder()).unwrap();
    let layers = [release_layer(name), crate::support::images::server_layer("one")];
    let mut blobs = Vec::new();
    let mut add = |bytes: Vec<u8>| {
        let digest = crate::support::images::sha256(&bytes);
        blobs.push((format!("blobs/sha256/{digest}"), bytes));
        serde_json::json!({ "digest": format!("sha256:{digest}"), "size": 0 })
    };
    let diff_ids = layers.each_ref().map(|layer| format!("sha256:{}", crate::support::images::sha256(layer)));
    let config = serde_json::json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "config": { "Cmd": ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"] } });
    let config = add(config.to_string().into_bytes());
    let layers = layers.map(|layer| {
        let mut frame = |part: &[u8]| {
            let plain = scratch.path().join("layer.tar");
            std::fs::write(&plain, part).unwrap();
            std::fs::read(compress(&["zstd", "-1", "--quiet", "--force"], &plain)).unwrap()
        };
        let parts = layer.chunks(layer.len().div_ceil(frames));
        let mut descriptor = add(parts.flat_map(&mut frame).collect());
        descriptor["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd".into();
        descriptor
    });
    let manifest = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": layers });
    let manifest = add(manifest.to_string().into_bytes());
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string().into_bytes();
    blobs.push(("index.json".into(), index));
    let mut tar = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (entry, content) in blobs {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, entry, &content[..]).unwrap();
    }
    tar.finish().unwrap();
}

fn release_layer(name: &str) -> Vec<u8> {
    crate::support::images::noise_layer(name.as_bytes(), 6_000_000)
}

#[test]
fn zstd_layers_travel_once_where_their_frames_say_how_much_they_unpack_to() {
    for (stem, frames) in [("zstd", 1), ("frames", 3)] {
        let (world, name, port) = (world(), world().name(stem), world().port());
        let scratch = tempfile::tempdir_in(world.folder()).unwrap();
        let path = scratch.path().join("image.tar");
        zstd_layout(&name, frames, &path);
        let size = std::fs::metadata(&path).unwrap().len();
        let uri = world.put("releases", &format!("{name}.tar"), &path);
        let service = format!("image: {{archive: \"{uri}\"}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
        let mut bundle = Bundle::container(&name, &service, HEALTH);
        let proxy = crate::faults::Proxy::start(0, crate::faults::Fault::Slow);
        bundle.env("AWS_ENDPOINT_URL_S3", &proxy.url());

        bundle.hook("ApplicationStart").exits(0);

        assert_eq!(world.get(port, "/").as_deref(), Some("one"), "{stem}");
        let sent = proxy.sent();
        assert!(frames > 1 || sent < size + size / 10, "{stem}: {sent} bytes were sent of {size}");
    }
}
