//! `balehook init`: what it writes is deployed as it is.

use std::fs;
use std::path::Path;

use crate::support::cluster::Cluster;
use crate::support::images::web;
use crate::support::world::{command_in, repository};
use crate::support::{Bundle, world};

/// Compose 2.40 for the hook.
fn with_compose(bundle: &Bundle) {
    let plugins = bundle.path().join("../../../docker-config/cli-plugins");
    bundle.docker_config("{}");
    fs::create_dir_all(&plugins).unwrap();
    let program = repository().join("target/tools/compose-2.40/usr/libexec/docker/cli-plugins/docker-compose");
    std::os::unix::fs::symlink(program, plugins.join("docker-compose")).unwrap();
}

/// What a client gets on the host itself.
fn page(cluster: &Cluster, port: u16) -> String {
    let url = format!("http://127.0.0.1:{port}/");
    let page = command_in(cluster.init(1), "curl").args(["-sS", "--max-time", "5", &url]).output().unwrap();
    String::from_utf8_lossy(&page.stdout).trim().to_owned()
}

/// Makes a revision in an empty folder, checks and deploys it, and stops it again.
fn deployed(cluster: &Cluster, args: &[&str], image: &str, serves: impl Fn() -> bool) {
    let bundle = cluster.bundle(1, "");
    let root = bundle.path();
    fs::remove_dir_all(&root).unwrap();
    let args = [&["init", "--output", root.to_str().unwrap()], args].concat();
    bundle.run_bare(&args).exits(0).says("next: `balehook check");
    web(image, "one").write_into(&root);
    with_compose(&bundle);
    bundle.run(&["check", "--strict"]).exits(0).says(": no problems");
    for event in ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"] {
        bundle.hook(event).exits(0);
    }
    assert!(serves(), "{args:?}");
    bundle.run(&["run", "ApplicationStop"]).exits(0);
}

fn project(folder: &Path) -> String {
    let file = folder.join("docker-compose.yml");
    let service = "image: init-from:1, pull_policy: never, ports: ['127.0.0.1:18095:80'], restart: always";
    let log = "logging: {driver: local}, healthcheck: {test: [CMD, /bin/busybox, 'true']}";
    fs::write(&file, format!("name: from-file\nservices:\n  web: {{{service}, {log}}}\n")).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn what_init_writes_passes_a_strict_check_and_is_deployed_as_it_is_around_a_compose_file_too() {
    let cluster = Cluster::start(1);
    let is_page = |port: u16| page(&cluster, port) == "one";
    // The other modes' are byte for byte those that other tests deploy.
    deployed(&cluster, &["--image", "image.tar"], "init-container:1", || is_page(18080));
    let (folder, _) = world().room("init");
    let (archive, _) = web("init-from:1", "one").write_into(&folder);
    cluster.docker(1, &["load", "--input", archive.to_str().unwrap()]);
    deployed(&cluster, &["--from-compose", &project(&folder)], "init-from:1", || is_page(18095));
}
