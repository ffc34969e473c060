//! Archives that other tools made: what the engine ends up with is what a plain `docker load` gives, and it serves.

use std::path::Path;
use std::process::Command;

use crate::support::images::Layered;
use crate::support::world::repository;
use crate::support::{Bundle, world};

const HEALTH: &str = "health: {http: /healthz, timeout: 20s}";

/// What a person can see of an image: its layers and how it runs.
pub fn seen(image: &str) -> serde_json::Value {
    let text = world().docker(&["image", "inspect", "--format", "{{json .}}", image]);
    let image: serde_json::Value = serde_json::from_str(&text).unwrap();
    let config = &image["Config"];
    let keys = ["Cmd", "Entrypoint", "Env", "Labels", "User", "WorkingDir", "ExposedPorts", "Volumes", "StopSignal"];
    // An engine may say nothing in several ways.
    let value = |key: &str| match &config[key] {
        serde_json::Value::Null => String::new(),
        value if matches!(value.to_string().as_str(), "{}" | "[]" | "\"\"") => String::new(),
        value => value.to_string(),
    };
    serde_json::json!({
        "layers": image["RootFS"]["Layers"], "platform": [image["Os"], image["Architecture"]],
        "config": keys.map(value),
    })
}

/// Takes an image and every tag of it out of the engine.
pub fn forget(image: &str) {
    let id = world().docker(&["image", "inspect", "--format", "{{.Id}}", image]);
    let tags = world().docker(&["image", "inspect", "--format", "{{join .RepoTags \" \"}}", image]);
    for tag in tags.split_whitespace() {
        world().docker(&["rmi", "--force", tag]);
    }
    let _ = world().docker_may_fail(&["rmi", "--force", &id]);
}

/// What `docker load` makes of an archive, or of the same image in `simple`: no graph driver reads an OCI layout, 20.10 no
/// zstd, and the containerd store cannot find again what an OCI layout calls `web:1` without a host, nor unpack xz layers.
fn plainly_loaded(archive: &Path, simple: &Path) -> serde_json::Value {
    let load = |path: &Path| {
        let said = world().docker_may_fail(&["load", "--input", path.to_str().unwrap()]).ok()?;
        let line = said.lines().find_map(|line| line.split_once("Loaded image"))?.1;
        let loaded = line.split_once(": ")?.1.to_owned();
        world().docker_may_fail(&["image", "inspect", &loaded]).ok()?;
        let created = world().docker_may_fail(&["create", &loaded]);
        match &created {
            Ok(container) => drop(world().docker(&["rm", container])),
            Err(_) => forget(&loaded),
        }
        created.ok().map(|_| loaded)
    };
    let loaded = load(archive).or_else(|| load(simple)).unwrap();
    let seen = seen(&loaded);
    forget(&loaded);
    seen
}

/// Deploys an archive that a tool makes of a simple one, and loads it plainly once all of it is gone again.
fn deploys(stem: &str, make: impl FnOnce(&Path, &Path, &str)) {
    let (name, port) = (world().name(stem), world().port());
    let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    let bundle = Bundle::container(&name, &service, HEALTH);
    let archive = bundle.path().join("image.tar");
    let scratch = tempfile::tempdir_in(world().folder()).unwrap();
    let simple = scratch.path().join("simple.tar");
    release(&name).write(&simple);
    make(&archive, &simple, &name);

    bundle.hook("ApplicationStart").exits(0);

    assert_eq!(world().get(port, "/").as_deref(), Some("one"), "{stem}");
    let parts = world().docker(&["images", "--quiet", "--filter", &format!("reference=balehook/{name}:part-*")]);
    assert_eq!(parts, "", "{stem}: nothing of the way there is left");
    let image = world().inspect(&name, "{{.Image}}");
    let ours = seen(&image);
    world().docker(&["rm", "--force", &name]);
    forget(&image);
    assert_eq!(ours, plainly_loaded(&archive, &simple), "{stem}");
}

/// A web server above two layers that no other test has.
fn release(name: &str) -> Layered {
    let libraries = format!("{name} libraries");
    let image = Layered::web(&format!("{name}:one"), "one").below(name.as_bytes(), 3_000_000);
    image.below(libraries.as_bytes(), 2_000_000)
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn skopeo(args: &[&str]) {
    run("skopeo", &[&["--insecure-policy", "copy", "--quiet"], args].concat());
}

#[test]
fn an_archive_that_this_engine_saved_is_read() {
    deploys("saved", |archive, simple, name| {
        let tag = format!("{name}:one");
        world().docker(&["load", "--input", simple.to_str().unwrap()]);
        world().docker(&["save", "--output", archive.to_str().unwrap(), &tag]);
        world().docker(&["rmi", "--force", &tag]);
    });
}

#[test]
fn archives_of_skopeo_are_read_with_layers_plain_gzipped_and_zstd() {
    let from = |simple: &Path| format!("docker-archive:{}", simple.display());
    for form in ["docker-archive", "oci-archive"] {
        deploys(&format!("skopeo-{form}"), |archive, simple, name| {
            skopeo(&[&from(simple), &format!("{form}:{}:{name}:one", archive.display())]);
        });
    }
    deploys("skopeo-zstd", |archive, simple, name| {
        let scratch = tempfile::tempdir_in(world().folder()).unwrap();
        let folder = scratch.path().join("layout");
        let layout = format!("oci:{}:{name}:one", folder.display());
        let zstd = ["--dest-compress", "--dest-compress-format", "zstd"];
        skopeo(&[&zstd[..], &[&from(simple), &layout]].concat());
        let mut tar = tar::Builder::new(std::fs::File::create(archive).unwrap());
        tar.append_dir_all(".", &folder).unwrap();
        tar.finish().unwrap();
        let manifest = Command::new("grep").args(["-rl", "tar+zstd"]).arg(&folder).status().unwrap();
        assert!(manifest.success(), "the layers are compressed with zstd");
    });
}

/// No tool makes them, but graph drivers take them; containerd's store does not.
#[test]
fn layers_and_archives_that_are_compressed_with_xz_and_bzip2_are_read() {
    for program in ["xz", "bzip2"] {
        deploys(&format!("layers-{program}"), |archive, _, name| {
            release(name).compressed(program).write(archive);
        });
        deploys(&format!("whole-{program}"), |archive, simple, _| {
            let output = Command::new(program).args(["--stdout", "--keep"]).arg(simple).output().unwrap();
            std::fs::write(archive, output.stdout).unwrap();
        });
    }
}

#[test]
fn archives_of_podman_and_buildah_are_read() {
    for (tool, form) in
        ["podman", "buildah"].iter().flat_map(|tool| ["docker-archive", "oci-archive"].map(|form| (*tool, form)))
    {
        deploys(&format!("{tool}-{form}"), |archive, simple, name| {
            let scratch = tempfile::tempdir_in(world().folder()).unwrap();
            let (root, runroot) = (scratch.path().join("root"), scratch.path().join("run"));
            let store =
                ["--root", root.to_str().unwrap(), "--runroot", runroot.to_str().unwrap(), "--storage-driver", "vfs"];
            let image = format!("localhost/{name}:one");
            run("podman", &[&store[..], &["load", "--input", simple.to_str().unwrap()]].concat());
            match tool {
                "podman" => {
                    let save = ["save", "--format", form, "--output", archive.to_str().unwrap(), &image];
                    run(tool, &[&store[..], &save].concat());
                }
                _ => {
                    let target = format!("{form}:{}:{name}:one", archive.display());
                    run(tool, &[&store[..], &["push", &image, &target]].concat());
                }
            }
        });
    }
}

#[test]
fn archives_of_buildkit_are_read_with_gzip_and_zstd_and_of_several_platforms() {
    let scratch = tempfile::tempdir_in(world().folder()).unwrap();
    let (folder, name) = (scratch.path(), world().name("buildkit"));
    let context = folder.join("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::copy("/bin/busybox", context.join("busybox")).unwrap();
    std::fs::write(context.join("page"), "one\n").unwrap();
    let dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY page /www/index.html\nCOPY page /www/healthz\n\
        ENV A=b\nEXPOSE 80\nLABEL made=here\nCMD [\"/bin/busybox\", \"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/www\"]\n";
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let (script, tools) = (repository().join("tests/it/support/buildkit.sh"), repository().join("target/tools"));
    let namespaces = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "bash"];
    let arguments = [script.to_str().unwrap(), folder.to_str().unwrap(), tools.to_str().unwrap(), &name];
    run("unshare", &[&namespaces[..], &arguments].concat());

    for kind in ["docker", "oci", "zstd", "platforms"] {
        deploys(&format!("buildkit-{kind}"), |archive, simple, _| {
            std::fs::copy(folder.join("docker.tar"), simple).unwrap();
            std::fs::copy(folder.join(format!("{kind}.tar")), archive).unwrap();
        });
    }
}
