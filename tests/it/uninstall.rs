//! Pinned releases, the history of commands, and the end of it all, on an engine of their own.

use std::path::Path;

use crate::support::bundle::appspec;
use crate::support::cluster::Cluster;
use crate::support::images::web;
use crate::support::{Bundle, world};

fn release(bundle: &mut Bundle, name: &str, version: u8) {
    web(&format!("{name}:{version}"), &format!("v{version}")).write_into(&bundle.path());
    bundle.deployment(&format!("d-{version}")).hook("ApplicationStart").exits(0);
}

fn files_below(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn a_pinned_release_outlives_every_prune_the_history_has_each_command_and_a_purge_leaves_nothing() {
    let host = Cluster::start(1);
    let docker = |args: &[&str]| host.docker(1, args);
    let name = world().name("leaving");
    let options = "image: {archive: image.tar}\nports: [\"80:80\"]\nstop_grace_period: 1s";
    let rest = "keep: 1\nhealth: {http: /, timeout: 20s}";
    let mut bundle = host.bundle(1, &appspec(&name, options, rest));
    let before = docker(&["network", "ls", "--format", "{{.Name}}"]);

    release(&mut bundle, &name, 1);
    bundle.run_bare(&["pin", &name, "9"]).exits(11);
    bundle.run_bare(&["pin", &name, "1"]).exits(0).says(&format!("{name}: pinned"));
    bundle.run_bare(&["pin", &name, "1"]).exits(0).says("is pinned already");
    (2..=4).for_each(|version| release(&mut bundle, &name, version));
    bundle.run_bare(&["status", &name]).exits(0).prints(&format!("  pinned     {name}:1 "));
    bundle.run_bare(&["prune"]).exits(0);
    docker(&["image", "prune", "--force"]);
    let unkept = bundle.run_bare(&["pin", &name, "2"]);
    unkept.exits(11);
    assert!(unkept.stderr.contains("no release 2 ") && unkept.stderr.contains("of d-1"), "{}", unkept.stderr);

    bundle.run_bare(&["rollback", &name, "--to", "1"]).exits(0).says(&format!("{name}: runs"));
    assert_eq!(docker(&["exec", &name, "/bin/busybox", "cat", "/www/index.html"]), "v1");
    bundle.run_bare(&["unpin", &name, "1"]).exits(0).says(&format!("{name}: unpinned"));
    bundle.run_bare(&["stop", &name]).exits(0);
    bundle.run_bare(&["start", &name]).exits(0);
    let history = bundle.run_bare(&["history", &name]);
    history.exits(0).prints("rollback to 1\n");
    for command in ["pin.", "rollback.", "unpin.", "stop.", "start."] {
        let lines = history.stdout.lines().filter(|line| line.contains(&format!(" {command}"))).count();
        assert_eq!(lines, 1, "{command}: {}", history.stdout);
    }

    bundle.run_bare(&["uninstall", "--dry-run"]).exits(0).prints("goes on running: ").prints("+ ");
    let unanswered = bundle.run_bare(&["uninstall"]);
    unanswered.exits(64);
    assert!(unanswered.stderr.contains("--yes"), "{}", unanswered.stderr);
    bundle.run_bare(&["pin", &name, "1"]).exits(0);
    docker(&["rm", "--force", &name]);
    docker(&["image", "prune", "--all", "--force"]);
    bundle.run_bare(&["status", &name]).prints(", whose image was removed\n");
    bundle.run_bare(&["uninstall", "--purge", "--yes"]).exits(0).says("uninstalled");
    let left = [
        docker(&["ps", "--all", "--quiet"]),
        docker(&["images", "--all", "--quiet"]),
        docker(&["network", "ls", "--format", "{{.Name}}"]).replace(&before, ""),
    ];
    assert_eq!((left, files_below(bundle.state())), ([const { String::new() }; 3], 0));
    let rules = String::from_utf8_lossy(&host.saved(1, "iptables-save")).to_lowercase();
    assert!(!rules.contains("balehook"), "{rules}");
    bundle.run_bare(&["uninstall"]).exits(0).prints("nothing to remove");
}
