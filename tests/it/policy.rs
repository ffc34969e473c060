//! The host's policy, through the hook: what is not allowed is refused while the old release serves.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::compose::{Project, TWO};
use crate::support::bundle::{BINARY, appspec};
use crate::support::images::web;
use crate::support::{Bundle, world};

const HEALTH: &str = "health: {http: /healthz, timeout: 20s}";

/// A process of a host that has nothing but the policy in its `/etc`.
struct Host(Child);

impl Host {
    fn new(etc: &Path) -> Self {
        let mount = format!("mount --bind '{}' /etc && exec cat", etc.display());
        let mut keeper = world().command("unshare");
        keeper.args(["--mount", "sh", "-c", &mount]).stdin(Stdio::piped()).stdout(Stdio::null());
        let host = Self(keeper.spawn().unwrap());
        let policy = format!("/proc/{}/root/etc/balehook/policy.yml", host.0.id());
        world().wait_for("the host's own /etc", || Path::new(&policy).exists());
        host
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_container_that_the_host_does_not_allow_is_refused_by_each_event_while_the_old_one_serves() {
    let (world, name) = (world(), world().name("policy"));
    let port = world.port();
    let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s\n");
    let mut bundle = Bundle::container(&name, &service, HEALTH);
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let id = || world.inspect(&name, "{{.Id}}");
    let old = id();

    let etc = bundle.path().join("../../../etc");
    let policy = etc.join("balehook/policy.yml");
    std::fs::create_dir_all(policy.parent().unwrap()).unwrap();
    std::fs::write(&policy, "privileged: false\nmounts: [/srv]\n").unwrap();
    std::fs::set_permissions(&policy, std::fs::Permissions::from_mode(0o644)).unwrap();
    let host = Host::new(&etc);
    bundle.inside(host.0.id()).deployment("d-TEST00002");
    bundle.appspec(&appspec(&name, &format!("{service}privileged: true\nvolumes: [\"/:/host\"]\n"), HEALTH));
    for event in ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"] {
        bundle
            .hook(event)
            .exits(15)
            .says("this host does not allow `privileged: true` (x-balehook.container.privileged)")
            .says(
                "help: /etc/balehook/policy.yml:1:1 says `privileged: false`: ask who runs this host, or leave it out",
            )
            .says("this host does not allow `/` (x-balehook.container.volumes[0])")
            .says(&format!("{event} was refused: nothing was touched"));
        assert_eq!(id(), old, "{event}");
        assert_eq!(world.get(port, "/").as_deref(), Some("one"), "{event}");
    }

    bundle.appspec(&appspec(&name, &format!("{service}labels: {{a: b}}\n"), HEALTH));
    bundle.hook("ApplicationStart").exits(0);
    assert_ne!(id(), old, "what is allowed is deployed");
    std::fs::set_permissions(&policy, std::fs::Permissions::from_mode(0o666)).unwrap();
    bundle.hook("ApplicationStart").exits(15).says("others may write it (mode 666)");
    bundle.hook("ApplicationStop").exits(0);
    assert_eq!(world.containers(&name), "", "stopping asks nobody");
}

#[test]
fn a_project_is_judged_by_what_compose_makes_of_its_files_while_the_old_one_serves() {
    let mut project = Project::serving("policy-compose");
    let policy = project.bundle.path().join("../../../policy.yml");
    std::fs::write(&policy, "privileged: false\nmounts: [/srv]\n").unwrap();
    let path = policy.display();
    let script = format!("#!/bin/sh\nexec '{BINARY}' --policy '{path}' \"$@\"\n");
    let program = project.bundle.program("strict", &script);
    project.bundle.env("BALEHOOK_BIN", program.to_str().unwrap()).env("ROOT", "/");
    let old = (project.running("web"), project.running("db"));

    project.file("base.yml", "services: {base: {privileged: true}}\n");
    let bind = "volumes: {store: {driver_opts: {type: none, o: bind, device: \"${ROOT}\"}}}";
    let hostile = TWO.replace("volumes: {store: {}}", bind);
    project.file("compose.yml", &hostile.replace("  db:\n", "  db:\n    extends: {file: base.yml, service: base}\n"));
    let privileged = "this host does not allow `privileged: true` (services.db.privileged)";
    let volume = "this host does not allow `/` (volumes.store.driver_opts)";
    for event in ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"] {
        let refused = project.bundle.hook(event);
        refused.exits(15).says(privileged).says(volume).says("policy.yml:1:1 says `privileged: false`");
        assert_eq!((project.running("web"), project.running("db")), old, "{event}");
        assert_eq!(project.page().as_deref(), Some("one"), "{event}");
    }
    let policy = policy.to_str().unwrap();
    let plan = project.bundle.run(&["plan", "--policy", policy]);
    plan.exits(15).prints("would fail: the host's policy").prints(privileged).prints(volume).prints(" up --detach");

    project.file("compose.yml", &TWO.replace("LEVEL: info", "LEVEL: more"));
    project.start().exits(0);
    assert_ne!(project.running("web"), old.0, "what is allowed is deployed");
}
