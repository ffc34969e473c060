//! Deployments in all three modes on one host: none touches another one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::cluster::{Cluster, appspec as swarm_appspec};
use crate::support::images::web;
use crate::support::world::repository;
use crate::support::{Bundle, Outcome, world};

/// One host with its state folder, and a revision in each mode.
pub struct Host {
    pub cluster: Cluster,
    state: tempfile::TempDir,
    stem: String,
    ports: [u16; 2],
    keep: usize,
}

/// The modes, as the host names its deployments.
pub const MODES: [&str; 3] = ["container", "compose", "swarm"];

impl Host {
    /// Each deployment keeps so many releases.
    pub fn new(keep: usize) -> Self {
        let cluster = Cluster::start(1);
        cluster.docker(1, &["swarm", "init", "--advertise-addr", "198.51.100.1"]);
        let ports = [world().port(), world().port()];
        let state = tempfile::tempdir_in(world().folder()).unwrap();
        Self { cluster, state, stem: world().name("mode"), ports, keep }
    }

    pub fn name(&self, mode: &str) -> String {
        format!("{}-{mode}", self.stem)
    }

    /// The images of all modes, without their tags.
    pub fn image(&self) -> String {
        self.stem.clone()
    }

    /// A revision in a mode: all of them have the same image.
    pub fn revision(&self, mode: &str, id: &str, page: &str) -> Bundle {
        let (name, [container, compose]) = (self.name(mode), self.ports);
        let health = &format!("health: {{timeout: 30s}}\nkeep: {}", self.keep);
        let quick = "stop_grace_period: 1s";
        let text = match mode {
            "container" => crate::support::bundle::appspec(
                &name,
                &format!("image: {{archive: image.tar}}\n{quick}\nports: [\"127.0.0.1:{container}:80\"]"),
                health,
            ),
            "compose" => crate::support::bundle::appspec(
                &name,
                "files: [app/compose.yml]\nimages: {web: {archive: image.tar}}",
                health,
            )
            .replace("\n  container:\n", "\n  compose:\n"),
            _ => swarm_appspec(
                &name,
                &format!(
                    "image: {{archive: image.tar}}\n{quick}\n\
                     deploy: {{update_config: {{monitor: 1s}}, rollback_config: {{monitor: 1s}}}}"
                ),
                health,
            ),
        };
        let mut bundle = self.cluster.bundle(1, &text);
        bundle.env("BALEHOOK_STATE_DIR", self.state.path().to_str().unwrap()).deployment(id);
        web(&format!("{}:{page}", self.stem), page).write_into(&bundle.path());
        let app = bundle.path().join("app");
        std::fs::create_dir_all(app.join("data")).unwrap();
        std::fs::write(app.join("data/page"), page).unwrap();
        let file = format!(
            "services:\n  web:\n    ports: [\"127.0.0.1:{compose}:80\"]\n    {quick}\n    volumes: [\"./data:/data\"]\n"
        );
        std::fs::write(app.join("compose.yml"), file).unwrap();
        bundle.docker_config("{}");
        let plugins = bundle.path().join("../../../docker-config/cli-plugins");
        std::fs::create_dir_all(&plugins).unwrap();
        let program = "target/tools/compose-2.40/usr/libexec/docker/cli-plugins/docker-compose";
        std::os::unix::fs::symlink(repository().join(program), plugins.join("docker-compose")).unwrap();
        bundle
    }

    /// The containers of a mode that run, with when they were started.
    pub fn containers(&self, mode: &str) -> String {
        let label = match mode {
            "container" => "balehook.name",
            "compose" => "com.docker.compose.project",
            _ => "com.docker.swarm.service.name",
        };
        let filter = format!("label={label}={}", self.name(mode));
        let ids = || self.cluster.docker(1, &["ps", "--no-trunc", "--quiet", "--filter", &filter]);
        // The swarm takes its time to stop a task that another one has replaced.
        self.cluster.wait_for(mode, || ids().lines().count() == 1);
        let ids = ids();
        self.cluster.docker(1, &["inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.Image}}", &ids])
    }

    /// Everything of a mode by its name: its container, its files on disk, its images' tags.
    fn everything(&self, mode: &str) -> BTreeMap<String, String> {
        let name = self.name(mode);
        let mut found = BTreeMap::from([(format!("{mode}'s container"), self.containers(mode))]);
        let tags = ["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", &format!("balehook/{name}")];
        for tag in self.cluster.docker(1, &tags).lines() {
            found.insert(tag.to_owned(), String::new());
        }
        files(&self.state.path().join(&name), &mut found);
        found
    }

    /// What all modes but one have.
    fn others(&self, mode: &str) -> BTreeMap<String, String> {
        MODES.iter().filter(|other| **other != mode).flat_map(|other| self.everything(other)).collect()
    }
}

/// Every file below a folder with its content.
fn files(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match entry.file_type().unwrap().is_dir() {
            true => files(&path, found),
            false => {
                let content = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
                found.insert(path.to_string_lossy().into_owned(), content);
            }
        }
    }
}

/// Asserts that nothing became another thing; names what did.
#[track_caller]
fn are_the_same(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>, what: &str) {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ: Vec<_> = names.into_iter().filter(|name| before.get(*name) != after.get(*name)).collect();
    assert!(differ.is_empty(), "{what}: {differ:#?}");
}

fn succeeded(outcome: &Outcome) {
    outcome.exits(0);
}

/// The events of a deployment that starts something.
pub const EVENTS: [&str; 4] = ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"];

#[test]
fn deployments_in_all_three_modes_live_on_one_host_and_never_touch_each_other() {
    let host = Host::new(1);
    let first: BTreeMap<&str, Bundle> = MODES.iter().map(|mode| (*mode, host.revision(mode, "d-1", "one"))).collect();
    // At once, as agents of several deployment groups would.
    std::thread::scope(|scope| {
        for bundle in first.values() {
            scope.spawn(|| EVENTS.map(|event| bundle.hook(event)).iter().for_each(succeeded));
        }
    });
    for mode in MODES {
        let (before, own) = (host.others(mode), host.containers(mode));
        let second = host.revision(mode, "d-2", "two");
        second.hook("ApplicationStop").exits(0);
        EVENTS.map(|event| second.hook(event)).iter().for_each(succeeded);
        assert_ne!(host.containers(mode), own, "{mode} was deployed");
        are_the_same(&before, &host.others(mode), &format!("{mode} was deployed"));

        let broken = host.revision(mode, "d-3", "three");
        let (own, image) = (host.containers(mode), format!("{}:three", host.stem));
        crate::support::Image::new(&image).script("exit 3").write_into(&broken.path());
        assert_ne!(broken.hook("ApplicationStart").code, Some(0), "{mode}");
        are_the_same(&before, &host.others(mode), &format!("{mode} failed"));
        let image_of = |line: &str| line.rsplit(' ').next().unwrap().to_owned();
        host.cluster.wait_for("the release before", || image_of(&host.containers(mode)) == image_of(&own));
    }
    let before = host.others("container");
    first["container"].hook("ApplicationStop").exits(0);
    are_the_same(&before, &host.others("container"), "container was stopped");
    let running = ["compose", "swarm"].map(|mode| host.containers(mode));
    first["container"].resume().exits(0);
    assert_eq!(["compose", "swarm"].map(|mode| host.containers(mode)), running);
    first["compose"].hook("ApplicationStop").exits(0);
    assert_eq!(host.containers("swarm"), running[1]);
    let left = host.cluster.docker(1, &["ps", "--quiet", "--no-trunc"]);
    assert_eq!(left.lines().count(), 1, "the task of the service alone runs:\n{left}");
}
