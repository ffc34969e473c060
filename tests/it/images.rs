//! Archives: from the bundle and from S3, and what is wrong with some.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::bundle::appspec;
use crate::support::engine_proxy::{EngineProxy, Fault, Which};
use crate::support::images::web;
use crate::support::world::{OTHER, OTHER_PASSWORD, base64};
use crate::support::{Bundle, Image, world};

const HEALTH: &str = "health: {http: /healthz, timeout: 20s}";

/// A bundle whose image is `source`, and its name and port.
fn bundle(stem: &str, source: &str) -> (Bundle, String, u16) {
    let (name, port) = (world().name(stem), world().port());
    let service = format!("image: {source}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    (Bundle::container(&name, &service, HEALTH), name, port)
}

/// Deploys; it must fail with exit code 6 and leave nothing in the engine.
fn refused(bundle: &Bundle, name: &str) -> crate::support::Outcome {
    let outcome = bundle.hook("ApplicationStart");
    outcome.exits(6);
    assert!(world().containers(name).is_empty());
    assert_eq!(world().docker(&["images", "--quiet", &format!("balehook/{name}")]), "");
    outcome
}

#[test]
fn a_missing_archive_is_named_with_its_path() {
    let (bundle, name, _) = bundle("gone", "{archive: images/web.tar}");
    refused(&bundle, &name).says("cannot read the archive").says("images/web.tar").says("put it into the bundle");
}

#[test]
fn something_else_than_an_archive_is_recognised() {
    let (bundle, name, _) = bundle("html", "{archive: image.tar}");
    std::fs::write(bundle.path().join("image.tar"), "<html>Access Denied</html>".repeat(50)).unwrap();
    refused(&bundle, &name).says("is not an archive of images").says("<html>Access Denied");
}

#[test]
fn a_plain_tar_archive_is_told_from_a_saved_image() {
    let (bundle, name, _) = bundle("export", "{archive: image.tar}");
    let mut tar = tar::Builder::new(std::fs::File::create(bundle.path().join("image.tar")).unwrap());
    tar.append_path_with_name("/bin/busybox", "bin/busybox").unwrap();
    tar.finish().unwrap();
    refused(&bundle, &name).says("holds neither manifest.json nor index.json").says("docker export");
}

#[test]
fn a_truncated_archive_is_named_with_the_entry_that_is_cut_and_never_loaded() {
    let (bundle, name, _) = bundle("cut", "{archive: image.tar}");
    let (path, _) = web(&format!("{name}:1"), "one").write_into(&bundle.path());
    std::fs::File::options().write(true).open(path).unwrap().set_len(1_000_000).unwrap();
    refused(&bundle, &name).says("is truncated: entry").says("layer.tar");
}

#[test]
fn another_image_than_the_pinned_one_is_refused_with_both_ids() {
    let wanted = format!("sha256:{}", "1".repeat(64));
    let (bundle, name, _) = bundle("pinned", &format!("{{archive: image.tar, id: \"{wanted}\"}}"));
    let (_, id) = web(&format!("{name}:1"), "one").write_into(&bundle.path());
    refused(&bundle, &name).says(&wanted).says(&id);
}

#[test]
fn the_pinned_image_is_not_even_looked_for_in_the_archive_when_the_engine_has_it() {
    let (world, name, port) = (world(), world().name("pin"), world().port());
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let (archive, id) = web(&format!("{name}:1"), "one").write_into(scratch.path());
    world.docker(&["load", "--input", archive.to_str().unwrap()]);
    let service = |archive: &str| {
        let image = format!("image: {{archive: {archive}, id: \"{id}\"}}");
        format!("{image}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s")
    };
    let mut bundle = Bundle::container(&name, &service("image.tar"), HEALTH);
    // Only what a release of ours records is known there by its config's digest.
    if world.has_containerd_store() {
        std::fs::copy(&archive, bundle.path().join("image.tar")).unwrap();
        bundle.hook("ApplicationStart").exits(0);
        std::fs::remove_file(bundle.path().join("image.tar")).unwrap();
        world.docker(&["rm", "--force", &name]);
    }
    bundle.appspec(&appspec(&name, &service("deleted.tar"), HEALTH));

    bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0);

    assert_eq!(world.get(port, "/").as_deref(), Some("one"));
}

#[test]
fn a_reference_that_the_archive_lacks_is_refused_with_those_it_has() {
    let (bundle, name, _) = bundle("which", "{archive: image.tar, reference: \"web:9\"}");
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    refused(&bundle, &name).says("does not hold web:9").says(&format!("{name}:1"));
}

#[test]
fn a_gzipped_archive_is_loaded_and_recognised_the_next_time() {
    let (mut bundle, name, port) = bundle("gzip", "{archive: image.tar.gz}");
    let (path, _) = web(&format!("{name}:1"), "one").write_into(&bundle.path());
    assert!(std::process::Command::new("gzip").arg(path).status().unwrap().success());

    bundle.hook("ApplicationStart").exits(0).says("] load ");
    assert_eq!(world().get(port, "/").as_deref(), Some("one"));

    // The agent unpacks the next bundle anew, in another folder.
    let file = std::fs::File::open(bundle.path().join("image.tar.gz")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let again = bundle.deployment("d-TEST00002").hook("ApplicationStart");
    again.exits(0).says("unchanged").says(" of image.tar.gz (sha256:");
    assert!(!again.stdout.contains(" load "), "{}", again.stdout);
}

#[test]
fn an_archive_in_s3_is_streamed_into_the_engine_and_not_fetched_again_when_it_is_there() {
    let (world, name, port) = (world(), world().name("s3"), world().port());
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let (archive, id) = web(&format!("{name}:1"), "from s3").write_into(scratch.path());
    let uri = world.put("releases", &format!("{name}/web 1+2.tar"), &archive);
    let service = format!("image: {{archive: \"{uri}\"}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    let mut bundle = Bundle::container(&name, &service, HEALTH);

    bundle.hook("BeforeInstall").exits(0);
    bundle.hook("AfterInstall").exits(0).says("] load ");
    bundle.hook("ApplicationStart").exits(0);

    assert_eq!(world.get(port, "/").as_deref(), Some("from s3"));
    assert_eq!(world.config_digest(&name), id);
    let again = bundle.deployment("d-TEST00002").hook("AfterInstall");
    assert!(!again.exits(0).stdout.contains(" load "), "{}", again.stdout);
}

#[test]
fn a_missing_bucket_a_missing_key_and_refused_credentials_are_told_apart() {
    let world = world();
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let (archive, _) = Image::new("x:1").write_into(scratch.path());
    world.put("releases", "there.tar", &archive);

    let (mut bundle_1, name, _) = bundle("bucket", "{archive: \"s3://no-such-bucket/web.tar\"}");
    bundle_1.is_refused("s3:GetObject arn:aws:s3:::no-such-bucket/web.tar");
    bundle_1.is_refused("s3:ListBucket arn:aws:s3:::no-such-bucket");
    refused(&bundle_1, &name).says("bucket no-such-bucket does not exist");

    let (bundle_2, name, _) = bundle("key", "{archive: \"s3://releases/nothing.tar\"}");
    refused(&bundle_2, &name).says("s3://releases/nothing.tar does not exist").says("upload it first");

    let (mut bundle_3, name, _) = bundle("denied", "{archive: \"s3://releases/there.tar\"}");
    bundle_3.env("AWS_SECRET_ACCESS_KEY", "wrong");
    let outcome = refused(&bundle_3, &name);
    outcome.says("access to s3://releases/there.tar is denied").says("s3:GetObject");
    assert!(!outcome.stdout.contains("wrong"), "no secret is printed");
}

#[test]
fn without_any_credentials_it_is_said_where_they_are_looked_for() {
    let (mut bundle, name, _) = bundle("nobody", "{archive: \"s3://releases/web.tar\"}");
    bundle.env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
    refused(&bundle, &name).says("no AWS credentials for s3://releases/web.tar").says("instance profile");
}

#[test]
fn an_s3_server_that_is_gone_is_said_and_a_dry_run_assumes() {
    let (mut bundle, name, _) = bundle("unplugged", "{archive: \"s3://releases/web.tar\"}");
    bundle.env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9");
    refused(&bundle, &name).says("S3 cannot be reached for s3://releases/web.tar");
    bundle.run(&["plan"]).exits(0).prints("assumed: s3://releases/web.tar was not looked up");
}

#[test]
fn a_gigabyte_from_s3_is_loaded_in_less_than_56_megabytes_of_memory() {
    let (world, name, port) = (world(), world().name("big"), world().port());
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let (archive, _) = web(&format!("{name}:1"), "big").padding(1_000_000_000).write_into(scratch.path());
    let uri = world.put("releases", &format!("{name}.tar"), &archive);
    std::fs::remove_file(&archive).unwrap();
    let service = format!("image: {{archive: \"{uri}\"}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    let bundle = Bundle::container(&name, &service, HEALTH);

    let (outcome, kilobytes) = bundle.hook_with_peak_memory("AfterInstall");

    outcome.exits(0).says("] load ");
    assert!(kilobytes < 56 * 1024, "peak memory: {kilobytes} kB");
    let kept = world.docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", &format!("balehook/{name}")]);
    kept.lines().for_each(|tag| drop(world.docker(&["rmi", "--force", tag])));
    world.docker_may_fail(&["image", "prune", "--force"]).unwrap();
}

#[test]
fn the_agents_restart_mode_goes_on_without_the_image_file_that_a_hook_had_deleted() {
    let (mut bundle, name, port) = bundle("restart", "{archive: image.tar}");
    bundle.env("BUNDLE_ETAG", "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"");
    let (archive, _) = web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    std::fs::remove_file(archive).unwrap();

    bundle.deployment("d-TEST00002").hook("ApplicationStop").exits(0);
    bundle
        .hook("BeforeInstall")
        .exits(0)
        .says("image.tar is not there: the image that d-TEST00001 loaded from this same bundle is taken");
    bundle.hook("ApplicationStart").exits(0);

    assert_eq!(world().get(port, "/").as_deref(), Some("one"));
}

#[test]
fn a_bundle_without_its_image_file_that_is_not_the_recorded_one_is_refused() {
    let (mut bundle, name, port) = bundle("no-file", "{archive: image.tar}");
    let (archive, _) = web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.env("BUNDLE_ETAG", "\"1\"").hook("ApplicationStart").exits(0);
    std::fs::remove_file(archive).unwrap();
    let mut refused = |id: &str, changed: &[(&str, &str)]| {
        changed.iter().for_each(|(name, value)| {
            bundle.env(name, value);
        });
        bundle.deployment(id).hook("BeforeInstall").exits(6).says("image.tar");
        bundle.hook("ApplicationStart").exits(6).says("image.tar");
    };

    refused("d-TEST00002", &[("BUNDLE_ETAG", "\"2\"")]);
    refused("d-TEST00003", &[("BUNDLE_ETAG", "")]);
    refused("d-TEST00004", &[("BUNDLE_ETAG", "\"1\""), ("BUNDLE_KEY", "other.zip")]);
    refused("d-TEST00005", &[("BUNDLE_KEY", ""), ("BUNDLE_BUCKET", "")]);

    assert_eq!(world().get(port, "/").as_deref(), Some("one"));
}

#[test]
fn an_archive_that_the_disk_has_no_room_for_is_refused_with_both_numbers() {
    let (bundle, name, _) = bundle("room", "{archive: image.tar}");
    // Sparse: its layer claims more than any disk here has.
    web(&format!("{name}:1"), "one").write_sparse(&bundle.path().join("image.tar"), 1 << 42);

    refused(&bundle, &name).says("loading needs 8796.09 GB in ").says(" are free").says("docker system df");
}

/// AfterInstall is killed as soon as the engine has `given`, before it can say so; then `NAME:3` is deployed.
fn killed_when_it_had(request: &str, given: &str, bundle: &mut Bundle, name: &str, port: u16) {
    let engine = EngineProxy::start(&world().docker_host());
    engine.on(request, Which::Only(1), Fault::HoldAnswer);
    bundle.env("DOCKER_HOST", &engine.docker_host());
    let is_there = || world().docker_may_fail(&["image", "inspect", given]).is_ok();
    let running = bundle.start("AfterInstall");
    world().wait_for("the image", is_there);
    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait().code, None, "it was killed");
    engine.release();
    assert!(is_there());

    let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    bundle.appspec(&appspec(name, &service, &format!("{HEALTH}\nkeep: 1")));
    web(&format!("{name}:3"), "three").write_into(&bundle.path());
    bundle.deployment("d-TEST00003").hook("BeforeInstall").exits(0);
    bundle.hook("ApplicationStart").exits(0);

    assert_eq!(world().get(port, "/").as_deref(), Some("three"));
    assert!(!is_there(), "{given} stays for ever");
}

#[test]
fn what_a_killed_load_of_a_compressed_archive_gave_goes_with_the_next_deployment() {
    let (mut bundle, name, port) = bundle("kgz", "{archive: image.tar.gz}");
    let (archive, _) = web(&format!("{name}:2"), "two").write_into(&bundle.path());
    assert!(Command::new("gzip").arg(archive).status().unwrap().success());
    killed_when_it_had("POST /images/load*", &format!("balehook/{name}:part-1"), &mut bundle, &name, port);
}

/// An archive says that its image is `nginx:latest` of this host, or what another name keeps.
#[test]
fn an_archive_gives_no_tag_but_the_one_that_the_revision_asks_for() {
    for tool in ["none", "gzip", "xz"] {
        let (mut bundle, name, port) = bundle(&format!("tags-{tool}"), "{archive: image.tar}");
        let scratch = tempfile::tempdir_in(world().folder()).unwrap();
        let (theirs, kept, own) =
            (format!("{name}-host:latest"), format!("balehook/{name}-other:0123456789ab"), format!("{name}:1"));
        let (archive, _) = web(&theirs, "of the host").write_into(scratch.path());
        world().docker(&["load", "--input", archive.to_str().unwrap()]);
        let id = |tag: &str| world().docker_may_fail(&["image", "inspect", "--format", "{{.Id}}", tag]).ok();
        let before = id(&theirs);
        let path = bundle.path().join("image.tar");
        web(&own, "one").also(&[&theirs, &kept]).write(&path);
        if tool != "none" {
            assert!(Command::new(tool).arg(&path).status().unwrap().success());
            let extension = if tool == "gzip" { "gz" } else { "xz" };
            std::fs::rename(path.with_extension(format!("tar.{extension}")), &path).unwrap();
        }
        let image = |image: &str| format!("image: {image}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
        bundle.appspec(&appspec(
            &name,
            &image("{archive: image.tar, reference: \"NAME:1\"}").replace("NAME", &name),
            HEALTH,
        ));

        bundle.hook("ApplicationStart").exits(0);

        assert_eq!(world().get(port, "/").as_deref(), Some("one"), "{tool}");
        assert_eq!((id(&theirs), id(&kept)), (before, None), "{tool}");
        assert_eq!(id(&own), Some(world().inspect(&name, "{{.Image}}")), "{tool}");
        let parts = world().docker(&["images", "--quiet", "--filter", &format!("reference=balehook/{name}:part-*")]);
        assert_eq!(parts, "", "{tool}");
        bundle.deployment("d-TEST00002");
        world().docker(&["rm", "--force", &name]);
    }
}

#[test]
fn what_a_killed_pull_gave_goes_with_the_next_deployment() {
    let (mut bundle, name, port) = bundle("kpull", "none");
    let scratch = tempfile::tempdir_in(world().folder()).unwrap();
    let (local, target) = (format!("push-{name}:2"), format!("team/{name}:2"));
    let (archive, _) = web(&local, "two").write_into(scratch.path());
    world().docker(&["load", "--input", archive.to_str().unwrap()]);
    let digest = world().push(OTHER, &local, &target);
    world().docker(&["rmi", "--force", &local]);
    let service = format!("image: {OTHER}/{target}\nports: [\"127.0.0.1:{port}:80\"]");
    bundle.appspec(&appspec(&name, &service, HEALTH));
    let auth = base64(&format!("team:{OTHER_PASSWORD}"));
    bundle.docker_config(&format!(r#"{{"auths":{{"{OTHER}":{{"auth":"{auth}"}}}}}}"#));
    killed_when_it_had("POST /images/create*", &format!("{OTHER}/team/{name}@{digest}"), &mut bundle, &name, port);
}

#[test]
fn a_container_of_any_name_is_in_nobodys_way_when_an_image_is_tried() {
    let name = world().name("tried");
    let it = Bundle::container(&name, "image: {archive: image.tar}\nstop_grace_period: 1s", "");
    let (archive, _) = web(&format!("{name}:1"), "one").write_into(&it.path());
    world().docker(&["load", "--input", archive.to_str().unwrap()]);
    let left = format!("{name}.balehook-try");
    world().docker(&["create", "--name", &left, &format!("{name}:1")]);

    web(&format!("{name}:2"), "two").write_into(&it.path());
    it.hook("AfterInstall").exits(0);

    world().docker(&["rm", &left]);
}
