//! Deployments in all three modes on one host: none touches another one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::cluster::{Cluster, appspec as swarm_appspec};
use crate::support::images::web;
use crate::support::world::repository;
use crate::support::{Bundle, world};

/// One host with its state folder, and a revision in each mode.
struct Host {
    cluster: Cluster,
    state: tempfile::TempDir,
    stem: String,
    ports: [u16; 3],
}

const MODES: [&str; 3] = ["container", "compose", "swarm"];

impl Host {
    fn new() -> Self {
        let cluster = Cluster::start(1);
        cluster.docker(1, &["swarm", "init", "--advertise-addr", "198.51.100.1"]);
        let ports = [world().port(), world().port(), world().port()];
        let state = tempfile::tempdir_in(world().folder()).unwrap();
        Self { cluster, state, stem: world().name("mode"), ports }
    }

    fn name(&self, mode: &str) -> String {
        format!("{}-{mode}", self.stem)
    }

    /// A revision in a mode: all of them have the same image.
    fn revision(&self, mode: &str, id: &str, page: &str) -> Bundle {
        let (name, [container, compose, swarm]) = (self.name(mode), self.ports);
        let health = "health: {timeout: 30s}\nkeep: 1";
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
                    "image: {{archive: image.tar}}\n{quick}\nports: [{{target: 80, published: {swarm}, mode: host}}]\n\
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
    fn containers(&self, mode: &str) -> String {
        let label = match mode {
            "container" => "balehook.name",
            "compose" => "com.docker.compose.project",
            _ => "com.docker.swarm.service.name",
        };
        let filter = format!("label={label}={}", self.name(mode));
        let ids = self.cluster.docker(1, &["ps", "--no-trunc", "--quiet", "--filter", &filter]);
        let ids: Vec<&str> = ids.split_whitespace().collect();
        assert_eq!(ids.len(), 1, "{mode}");
        self.cluster.docker(1, &["inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.Image}}", ids[0]])
    }

    /// Everything of a mode: its container, its files on disk, its images' tags.
    fn everything(&self, mode: &str) -> (String, BTreeMap<PathBuf, Vec<u8>>, String) {
        let name = self.name(mode);
        let tags = ["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", &format!("balehook/{name}")];
        (self.containers(mode), files(&self.state.path().join(&name)), self.cluster.docker(1, &tags))
    }

    /// What all modes but one have.
    fn others(&self, mode: &str) -> Vec<(String, BTreeMap<PathBuf, Vec<u8>>, String)> {
        MODES.iter().filter(|other| **other != mode).map(|other| self.everything(other)).collect()
    }
}

/// Every file below a folder with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => drop(found.insert(entry.path(), std::fs::read(entry.path()).unwrap())),
        }
    }
    found
}

const EVENTS: [&str; 4] = ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"];

#[test]
fn deployments_in_all_three_modes_live_on_one_host_and_never_touch_each_other() {
    let host = Host::new();
    let first: BTreeMap<&str, Bundle> = MODES.iter().map(|mode| (*mode, host.revision(mode, "d-1", "one"))).collect();
    // At once, as agents of several deployment groups would.
    std::thread::scope(|scope| {
        for bundle in first.values() {
            scope.spawn(|| EVENTS.map(|event| bundle.hook(event)).iter().for_each(|outcome| drop(outcome.exits(0))));
        }
    });
    for mode in MODES {
        let (before, own) = (host.others(mode), host.containers(mode));
        let second = host.revision(mode, "d-2", "two");
        second.hook("ApplicationStop").exits(0);
        EVENTS.map(|event| second.hook(event)).iter().for_each(|outcome| drop(outcome.exits(0)));
        assert_ne!(host.containers(mode), own, "{mode} was deployed");
        assert_eq!(host.others(mode), before, "{mode} was deployed, and nothing else");

        let broken = host.revision(mode, "d-3", "three");
        let (own, image) = (host.containers(mode), format!("{}:three", host.stem));
        crate::support::Image::new(&image).script("exit 3").write_into(&broken.path());
        assert_ne!(broken.hook("ApplicationStart").code, Some(0), "{mode}");
        assert_eq!(host.others(mode), before, "{mode} failed, and nothing else");
        let image_of = |line: &str| line.rsplit(' ').next().unwrap().to_owned();
        assert_eq!(image_of(&host.containers(mode)), image_of(&own), "{mode} is back");
    }
    let (compose, swarm) = (host.everything("compose"), host.everything("swarm"));
    first["container"].hook("ApplicationStop").exits(0);
    assert_eq!((host.everything("compose"), host.everything("swarm")), (compose, swarm.clone()));
    first["compose"].hook("ApplicationStop").exits(0);
    first["container"].resume().exits(0);
    assert_eq!(host.containers("swarm"), swarm.0);
    let left = host.cluster.docker(1, &["ps", "--all", "--quiet", "--no-trunc"]);
    assert_eq!(left.lines().count(), 1, "the task of the service alone runs:\n{left}");
}
