//! Layers that other images share are deleted, many at a time, while loads leave them out; loads that are killed.

use std::path::Path;
use std::sync::Barrier;

use nix::sys::signal::Signal;

use crate::support::images::Layered;
use crate::support::world::repository;
use crate::support::{Bundle, Outcome, world};

/// Deployments at a time, and images below each that share its layers.
const DEPLOYMENTS: usize = 8;
const BASES: usize = 5;

/// The first `layers` layers of a deployment, under the web server.
fn stack(name: &str, tag: &str, layers: usize) -> Layered {
    let layer = |image: Layered, number: usize| image.below(format!("{name} {number}").as_bytes(), 400_000);
    (0..layers).fold(Layered::web(tag, "one"), layer)
}

/// A deployment whose layers the engine has through other images; these images' tags.
fn shared(archive: &str) -> (Bundle, String, Vec<String>) {
    let name = world().name("race");
    let bundle = Bundle::container(&name, &format!("image: {{archive: {archive}}}"), "health: {timeout: 20s}");
    let path = bundle.path().join("image.tar");
    let bases: Vec<String> = (1..=BASES).map(|layers| format!("{name}-base{layers}:1")).collect();
    for (number, base) in bases.iter().enumerate() {
        stack(&name, base, number + 1).label(base).write(&path);
        world().docker(&["load", "--input", path.to_str().unwrap()]);
    }
    stack(&name, &format!("{name}:1"), BASES).label("wanted").write(&path);
    (bundle, name, bases)
}

/// No tag of ours or of the archive names an image of which no container can be created.
fn nothing_is_broken(name: &str, outcome: &Outcome) {
    let tags = world().docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let ours = [format!("balehook/{name}:"), format!("{name}:")];
    for tag in tags.lines().filter(|tag| ours.iter().any(|prefix| tag.starts_with(prefix.as_str()))) {
        assert!(!tag.contains(":part-"), "{tag} is left\n{}", outcome.stdout);
        let container = world().docker(&["create", tag]);
        world().docker(&["rm", &container]);
    }
}

#[test]
fn forty_images_that_are_removed_at_once_while_loads_leave_their_layers_out_leave_no_broken_image() {
    let deployments: Vec<_> = (0..DEPLOYMENTS).map(|_| shared("image.tar")).collect();
    let barrier = Barrier::new(DEPLOYMENTS * (1 + BASES));
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let running: Vec<_> = deployments
            .iter()
            .map(|(bundle, _, bases)| {
                for (number, base) in bases.iter().enumerate() {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        barrier.wait();
                        // From before the question to after the load.
                        std::thread::sleep(std::time::Duration::from_millis(60 * number as u64));
                        world().docker_may_fail(&["rmi", "--force", base])
                    });
                }
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    bundle.hook("AfterInstall")
                })
            })
            .collect();
        running.into_iter().map(|deployment| deployment.join().unwrap()).collect()
    });

    for ((bundle, name, _), outcome) in deployments.iter().zip(&outcomes) {
        nothing_is_broken(name, outcome);
        if outcome.code != Some(0) {
            outcome.exits(6).says("the engine cannot load");
            // Nobody removes anything now: what was lost is sent.
            bundle.hook("AfterInstall").exits(0);
        }
        let tags = world().docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", &format!("balehook/{name}")]);
        assert_eq!(tags.lines().count(), 1, "{tags}");
        let made = world().docker(&["create", &tags]);
        world().docker(&["rm", &made]);
    }
}

#[test]
fn what_a_killed_load_left_goes_with_the_next_event_although_that_one_loads_nothing() {
    let (world, name, port) = (world(), world().name("left"), world().port());
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let path = scratch.path().join("image.tar");
    let service = |archive: &str| {
        format!("image: {{archive: \"{archive}\"}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s")
    };
    Layered::web(&format!("{name}:1"), "one").write(&path);
    let first = world.put("releases", &format!("{name}-1.tar"), &path);
    let second = Layered::web(&format!("{name}:2"), "two").below(name.as_bytes(), 17_000_000);
    // So much that it is still on its way at the end: an engine ends a load that it was given whole, whichever process is killed.
    second.below(b"and more", 100_000_000).write(&path);
    let second = world.put("releases", &format!("{name}-2.tar"), &path);
    let health = "health: {http: /healthz, timeout: 20s}";
    let mut bundle = Bundle::container(&name, &service(&first), health);
    bundle.hook("ApplicationStart").exits(0);
    let parts = || {
        let filter = format!("reference=balehook/{name}:part-*");
        world.docker(&["images", "--quiet", "--filter", &filter])
    };
    let proxy = crate::faults::Proxy::start(usize::MAX, crate::faults::Fault::Slow);
    bundle.appspec(&crate::support::bundle::appspec(&name, &service(&second), health));
    bundle.env("AWS_ENDPOINT_URL_S3", &proxy.url()).deployment("d-TEST00002");
    let running = bundle.start("AfterInstall");
    world.wait_for("the first parcel", || !parts().is_empty());
    running.signal(Signal::SIGKILL);
    assert_eq!(running.wait().code, None);

    // Back to the first release, whose image is there.
    bundle.appspec(&crate::support::bundle::appspec(&name, &service(&first), health));
    bundle.env("AWS_ENDPOINT_URL_S3", crate::support::world::S3).deployment("d-TEST00003");
    bundle.hook("ApplicationStart").exits(0);

    assert_eq!(parts(), "");
    assert_eq!(world.get(port, "/").as_deref(), Some("one"));
}

/// A script that takes an image away: on the containerd store its layers alone, as a removal does that meets a load; a
/// graph driver has no image without its layers.
pub fn losing(image: &str, config: &str) -> String {
    losing_on(&world().docker_host(), &world().folder().join("exec"), image, config)
}

/// The same of an engine whose state is in `exec`.
pub fn losing_on(host: &str, exec: &Path, image: &str, config: &str) -> String {
    let docker = format!("docker --host {host}");
    if !world().has_containerd_store() {
        return format!("#!/bin/sh\n{docker} rmi --force {config}\n");
    }
    let ctr = repository().join("target/tools/engine-28/usr/bin/ctr");
    let socket = exec.join("containerd/containerd.sock");
    let moby = format!("{} --address {} --namespace moby", ctr.display(), socket.display());
    // This label is what holds them as they are unpacked; the end of a lease collects what nothing holds.
    format!(
        "#!/bin/sh\nset -e\n\
         id=$({docker} images --quiet --no-trunc --filter label=test={image})\n\
         layers=$({docker} image inspect --format '{{{{join .RootFS.Layers \" \"}}}}' $id)\n\
         {moby} content label {config} containerd.io/gc.ref.snapshot.overlayfs=\n\
         {moby} leases create --id {image}\n\
         {moby} leases delete --sync {image}\n\
         for layer in $layers; do {moby} content delete $layer; done\n"
    )
}

/// A deployment whose image is in, its port, and where in the bundle the script is that takes the image away.
fn brought(rest: &str) -> (Bundle, u16, std::path::PathBuf) {
    let (name, port) = (world().name("lost"), world().port());
    let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    let bundle = Bundle::container(&name, &service, &format!("health: {{http: /healthz, timeout: 20s}}\n{rest}"));
    let image = format!("{name}:1");
    let config = stack(&name, &image, 2).write(&bundle.path().join("image.tar"));
    let script = bundle.program("lose", &losing(&image, &config));
    bundle.hook("AfterInstall").exits(0);
    (bundle, port, script)
}

#[test]
fn an_image_that_is_lost_between_two_events_is_brought_in_once_more() {
    let (bundle, port, script) = brought("");
    let lost = world().command(script).output().unwrap();
    assert!(lost.status.success(), "{}", String::from_utf8_lossy(&lost.stderr));

    bundle.hook("ApplicationStart").exits(0).says("3 of 3 layers missing");

    assert_eq!(world().get(port, "/").as_deref(), Some("one"));
    // What was repaired is whole: the next event has nothing to do.
    bundle.hook("ApplicationStart").exits(0).says("runs, unchanged");
}

#[test]
fn an_image_that_is_lost_between_two_steps_is_brought_in_once_more() {
    let (bundle, port, script) = brought("before:\n  - {name: lose, run: lose}");
    std::fs::copy(script, bundle.path().join("lose")).unwrap();

    bundle.hook("ApplicationStart").exits(0);

    assert_eq!(world().get(port, "/").as_deref(), Some("one"));
    bundle.hook("ApplicationStart").exits(0).says("runs, unchanged");
}
