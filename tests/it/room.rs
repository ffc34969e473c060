//! The room on the engine's disk: what is said beforehand, beside what the engine really takes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::images::{Image, Layered};
use crate::support::world::{inner_pid, repository};
use crate::support::{Bundle, world};

/// An engine whose data is on a small disk of its own.
pub struct SmallDisk {
    folder: PathBuf,
    _keeper: Child,
    pid: u32,
}

impl SmallDisk {
    pub fn start() -> Self {
        let folder = world().folder().join(world().name("small"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut keeper = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "bash"])
            .arg(repository().join("tests/it/support/small.sh"))
            .arg(&folder)
            .args([repository().join("target/tools").as_os_str(), world().engine().as_ref()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = inner_pid(&mut keeper);
        let disk = Self { folder, _keeper: keeper, pid };
        world().wait_for("the second engine", || disk.docker(&["version"]).is_some());
        disk
    }

    fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.display())
    }

    pub fn docker(&self, args: &[&str]) -> Option<String> {
        let output = Command::new("docker").args(args).env("DOCKER_HOST", self.host()).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    fn used(&self) -> u64 {
        let data = format!("/proc/{}/root{}/data", self.pid, self.folder.display());
        let disk = nix::sys::statvfs::statvfs(data.as_str()).unwrap();
        (disk.blocks() - disk.blocks_free()) * disk.fragment_size()
    }

    /// Makes the disk so large that just so much is free.
    fn leave(&self, free: u64) {
        let size = (self.used() + free).next_multiple_of(4096);
        let data = self.folder.join("data");
        let mount = Command::new("nsenter")
            .arg(format!("--mount=/proc/{}/ns/mnt", self.pid))
            .args(["mount", "-o", &format!("remount,size={size}")])
            .arg(data)
            .status();
        assert!(mount.unwrap().success());
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The first process of its namespaces.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// A deployment into this engine, of a container without a network.
    fn bundle(&self, name: &str) -> Bundle {
        self.bundle_of(name, "{archive: image.tar}")
    }

    pub fn bundle_of(&self, name: &str, image: &str) -> Bundle {
        let service = format!("image: {image}\nnetwork_mode: none\nstop_grace_period: 1s");
        let mut bundle = Bundle::container(name, &service, "health: {timeout: 20s}\nkeep: 3");
        bundle.inside(self.pid).env("DOCKER_HOST", &self.host());
        bundle
    }
}

/// A release of a few large layers that no other has.
fn release(name: &str, number: usize, layers: usize, bytes: u64) -> Layered {
    let layer = |image: Layered, layer: usize| image.below(format!("{name} {number} {layer}").as_bytes(), bytes);
    (0..layers).fold(Layered::web(&format!("{name}:{number}"), "page"), layer)
}

/// The megabytes that a refusal says loading needs.
fn needed(said: &str) -> u64 {
    let number = said.split("loading needs ").nth(1).and_then(|rest| rest.split(" MB").next()).unwrap();
    (number.parse::<f64>().unwrap() * 1e6) as u64
}

#[test]
fn an_image_is_refused_where_it_does_not_fit_and_loaded_where_it_just_does() {
    let (disk, name) = (SmallDisk::start(), world().name("fits"));
    let bundle = disk.bundle(&name);
    release(&name, 1, 6, 12_000_000).write(&bundle.path().join("image.tar"));
    disk.leave(70_000_000);
    let refused = bundle.hook("AfterInstall");
    refused.exits(6).says("loading needs ").says(" are free").says("docker system df");
    let needed = needed(&refused.stdout);
    disk.leave(needed - needed / 20);
    bundle.hook("AfterInstall").exits(6).says("loading needs ");
    assert_eq!(disk.docker(&["images", "--quiet"]).as_deref(), Some(""), "nothing was loaded");

    disk.leave(needed + needed / 10);
    let (before, ended) = (disk.used(), AtomicBool::new(false));
    let most = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !ended.load(Ordering::SeqCst) {
                most = most.max(disk.used());
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            most
        });
        let outcome = bundle.hook("AfterInstall");
        ended.store(true, Ordering::SeqCst);
        outcome.exits(0);
        watcher.join().unwrap() - before
    });

    assert!(most <= needed + needed / 10, "{most} bytes were taken, {needed} were said");
    assert!(most >= needed / 2, "{most} bytes were taken, {needed} were said: too cautious");
}

#[test]
fn a_compressed_archive_that_unpacks_to_more_than_there_is_room_for_is_refused_before_it_fills_the_disk() {
    let (disk, name) = (SmallDisk::start(), world().name("bomb"));
    let bundle = disk.bundle(&name);
    let path = bundle.path().join("image.tar");
    Image::new(&format!("{name}:1")).write_sparse(&path, 200_000_000);
    assert!(Command::new("gzip").arg(&path).status().unwrap().success());
    std::fs::rename(path.with_extension("tar.gz"), &path).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 1_000_000);
    disk.leave(80_000_000);

    bundle.hook("BeforeInstall").exits(0);
    bundle.hook("AfterInstall").exits(6).says("unpacks to more than there is room for: ").says(" are free in ");

    assert_eq!(disk.docker(&["images", "--quiet"]).as_deref(), Some(""), "nothing was loaded");
}

/// A release that serves; the one after it has a layer that unpacks to 200 MB, where 80 MB are free.
fn refused_bomb(program: &'static str, whole: bool) {
    let (disk, name) = (SmallDisk::start(), world().name("layer"));
    let mut bundle = disk.bundle(&name);
    let path = bundle.path().join("image.tar");
    release(&name, 1, 1, 1_000_000).write(&path);
    bundle.hook("ApplicationStart").exits(0);
    let images = disk.docker(&["images", "--quiet", "--no-trunc"]);
    Layered::web(&format!("{name}:2"), "page").zeros(200_000_000).compressed(program).write(&path);
    assert!(std::fs::metadata(&path).unwrap().len() < 2_000_000);
    if whole {
        assert!(Command::new("xz").arg(&path).status().unwrap().success());
        std::fs::rename(path.with_extension("tar.xz"), &path).unwrap();
    }
    disk.leave(80_000_000);
    let before = disk.used();

    bundle.deployment("d-TEST00002").hook("BeforeInstall").exits(0);
    let at = if whole { "in `blobs/sha256/" } else { "in layer 1 it takes " };
    let refused = bundle.hook("AfterInstall");
    refused.exits(6).says(" unpacks to more than there is room for: ").says(at).says(" are free in ");
    bundle.hook("ApplicationStart").exits(6).says(" unpacks to more than there is room for: ");

    assert_eq!(disk.docker(&["images", "--quiet", "--no-trunc"]), images, "nothing was loaded");
    assert_eq!(disk.docker(&["inspect", "--format", "{{.State.Running}}", &name]).as_deref(), Some("true\n"));
    world().wait_for("the room", || disk.used() < before + 5_000_000);
    disk.docker(&["rm", "--force", &name]).unwrap();
}

#[test]
fn a_layer_that_unpacks_to_more_than_there_is_room_for_is_refused_before_it_fills_the_disk() {
    for (program, whole) in [("gzip", false), ("zstd", false), ("gzip", true)] {
        refused_bomb(program, whole);
    }
}

#[test]
fn images_of_releases_before_the_present_one_make_room_for_the_next() {
    let (disk, name) = (SmallDisk::start(), world().name("makes"));
    let mut bundle = disk.bundle(&name);
    for number in 1..=2 {
        release(&name, number, 2, 30_000_000).write(&bundle.path().join("image.tar"));
        bundle.deployment(&format!("d-TEST0000{number}")).hook("ApplicationStart").exits(0);
    }
    release(&name, 3, 2, 30_000_000).write(&bundle.path().join("image.tar"));
    disk.leave(100_000_000);

    bundle.deployment("d-TEST00003").hook("BeforeInstall").exits(0).says(&format!("docker rmi balehook/{name}:"));
    bundle.hook("AfterInstall").exits(0);

    let of = |number: usize| disk.docker(&["images", "--quiet", "--filter", &format!("label=test={name}:{number}")]);
    assert_eq!([1, 2, 3].map(|number| of(number).is_some_and(|found| !found.is_empty())), [false, true, true]);
    disk.docker(&["rm", "--force", &name]).unwrap();
}
