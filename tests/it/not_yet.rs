//! What an event cannot have yet: files that Install copies or that a script of another hook writes.

use std::path::PathBuf;

use crate::compose::{Project, TWO};
use crate::support::bundle::appspec;
use crate::support::cluster::{self, alone};
use crate::support::images::web;
use crate::support::{Bundle, world};

const HEALTH: &str = "health: {http: /healthz, timeout: 20s}";

/// A folder of the host beside the bundle.
fn host(bundle: &Bundle) -> PathBuf {
    let folder = bundle.path().ancestors().nth(3).unwrap().join("opt");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// `files:` with one entry more.
fn installs(text: &str, source: &str, destination: &std::path::Path) -> String {
    let files = format!("files: [{{source: {source}, destination: \"{}\"}}]\nhooks:\n", destination.display());
    text.replacen("hooks:\n", &files, 1)
}

/// Another script before our AfterInstall.
fn fetched(text: &str) -> String {
    text.replacen("AfterInstall: [{", "AfterInstall: [{location: fetch.sh, timeout: 60}, {", 1)
}

fn write(bundle: &Bundle, name: &str, text: &str) {
    let path = bundle.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn an_env_file_that_install_brings_is_said_before_and_demanded_at_application_start() {
    let (world, name) = (world(), world().name("later-env"));
    let bundle = Bundle::new("");
    let host = host(&bundle);
    let env = host.join("prod.env");
    let service = format!(
        "image: {{archive: image.tar}}\nports: [\"127.0.0.1:{}:80\"]\nenv_file: [\"{}\"]",
        world.port(),
        env.display()
    );
    bundle.appspec(&installs(&appspec(&name, &service, HEALTH), "conf", &host));
    write(&bundle, "conf/prod.env", "LEVEL=high\n");
    web(&format!("{name}:1"), "one").write_into(&bundle.path());

    let wanted = format!("{} is not there yet: `files:` installs it, and ApplicationStart needs it", env.display());
    bundle.hook("BeforeInstall").exits(0).says(&wanted);
    bundle.hook("ApplicationStart").exits(3).says("cannot read env_file");
    assert!(world.containers(&name).is_empty());

    std::fs::copy(bundle.path().join("conf/prod.env"), &env).unwrap();
    let imported = bundle.hook("AfterInstall");
    imported.exits(0).says("] load ");
    assert!(!imported.stdout.contains("not there yet"), "{}", imported.stdout);
    bundle.hook("ApplicationStart").exits(0);
    assert!(world.inspect(&name, "{{.Config.Env}}").contains("LEVEL=high"));
}

#[test]
fn an_archive_and_an_env_file_that_a_script_writes_are_said_until_application_start() {
    let (world, name) = (world(), world().name("later-script"));
    let port = world.port();
    let service = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nenv_file: [prod.env]");
    let bundle = Bundle::new(&fetched(&appspec(&name, &service, HEALTH)));
    write(&bundle, "fetch.sh", "#!/bin/sh\n");

    for event in ["BeforeInstall", "AfterInstall"] {
        let said = bundle.hook(event);
        said.exits(0).says("image.tar is not there yet: a script of another hook may write it");
        said.says("prod.env is not there yet: a script of another hook may write it");
    }
    let refused = bundle.hook("ApplicationStart");
    refused.exits(6).says("image.tar");
    assert!(world.containers(&name).is_empty());

    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    write(&bundle, "prod.env", "LEVEL=high\n");
    bundle.hook("ApplicationStart").exits(0).prints("] load ");
    assert_eq!(world.get(port, "/").as_deref(), Some("one"));
}

#[test]
fn what_nobody_brings_is_refused_at_the_first_event() {
    let name = world().name("never");
    let service = "image: {archive: image.tar}\nenv_file: [prod.env]";
    let bundle = Bundle::container(&name, service, "");
    bundle.hook("BeforeInstall").exits(6).says("image.tar");
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("BeforeInstall").exits(3).says("cannot read env_file");
}

/// Before Install the revision before lies there: that is not what is deployed.
#[test]
fn an_archive_that_install_replaces_is_read_once_it_is_the_new_one() {
    let (world, name) = (world(), world().name("later-archive"));
    let port = world.port();
    let mut bundle = Bundle::new("");
    let host = host(&bundle);
    let service = format!(
        "image: {{archive: \"{}/image.tar\"}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s",
        host.display()
    );
    bundle.appspec(&installs(&appspec(&name, &service, HEALTH), "image.tar", &host));
    for (number, body) in [(1, "one"), (2, "two")] {
        web(&format!("{name}:{number}"), body).write_into(&bundle.path());
        bundle.deployment(&format!("d-TEST0000{number}"));
        let what = if number == 1 { "is not there yet" } else { "may be that of the revision before" };
        bundle.hook("BeforeInstall").exits(0).says(&format!("image.tar {what}: `files:` installs it"));
        std::fs::copy(bundle.path().join("image.tar"), host.join("image.tar")).unwrap();
        bundle.hook("AfterInstall").exits(0).says("] load ");
        bundle.hook("ApplicationStart").exits(0);
        assert_eq!(world.get(port, "/").as_deref(), Some(body));
    }
}

#[test]
fn a_projects_env_file_that_install_brings_is_said_before_and_demanded_at_application_start() {
    let mut project = Project::two("later-compose");
    let host = host(&project.bundle);
    let env = host.join("prod.env");
    let text = TWO.replace("  db:\n", &format!("    env_file: [\"{}\"]\n  db:\n", env.display()));
    project.file("compose.yml", &text);
    let appspec = std::fs::read_to_string(project.bundle.path().join("appspec.yml")).unwrap();
    project.bundle.appspec(&installs(&appspec, "conf", &host));
    write(&project.bundle, "conf/prod.env", "LEVEL2=high\n");

    let said = project.bundle.hook("BeforeInstall");
    said.exits(0).says("`files:` installs it, and ApplicationStart needs it");
    project.bundle.hook("ApplicationStart").exits(3).says("the Compose file is refused");
    assert!(world().containers(&project.name).is_empty());

    std::fs::copy(project.bundle.path().join("conf/prod.env"), &env).unwrap();
    project.bundle.hook("AfterInstall").exits(0).says("] load ");
    project.bundle.deployment("d-TEST00002").hook("ApplicationStart").exits(0);
}

#[test]
fn a_config_that_a_script_writes_is_said_until_application_start() {
    let name = world().name("later-config");
    let service = "image: {archive: image.tar}\nstop_grace_period: 1s\nconfigs: [{source: motd, file: conf/motd}]\n\
                   deploy: {update_config: {monitor: 1s}, rollback_config: {monitor: 1s}}";
    let bundle = alone().bundle(1, &fetched(&cluster::appspec(&name, service, "health: {timeout: 30s}")));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    write(&bundle, "fetch.sh", "#!/bin/sh\n");
    for event in ["BeforeInstall", "AfterInstall"] {
        bundle.hook(event).exits(0).says("conf/motd is not there yet: a script of another hook may write it");
    }
    bundle.hook("ApplicationStart").exits(3).says("cannot make a secret or config");
    write(&bundle, "conf/motd", "hello\n");
    bundle.hook("ApplicationStart").exits(0);
}

#[test]
fn a_network_that_a_script_makes_is_said_until_application_start() {
    let (world, name) = (world(), world().name("later-network"));
    let service = format!("image: {{archive: image.tar}}\nnetworks: [{name}-front]\nstop_grace_period: 1s");
    let bundle = Bundle::new(&fetched(&appspec(&name, &service, "")));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    write(&bundle, "fetch.sh", "#!/bin/sh\n");
    let lacks = format!("network {name}-front does not exist");
    for event in ["BeforeInstall", "AfterInstall"] {
        bundle.hook(event).exits(0).says(&format!("{lacks}: a script of another hook may make it"));
    }
    bundle.hook("ApplicationStart").exits(7).says(&lacks);
    assert!(world.containers(&name).is_empty());
    bundle.appspec(&appspec(&name, &service, ""));
    bundle.hook("BeforeInstall").exits(7).says(&lacks);
}

#[test]
fn a_secret_that_a_script_makes_is_said_until_application_start() {
    let name = world().name("later-secret");
    let service = format!("image: {{archive: image.tar}}\nstop_grace_period: 1s\nsecrets: [{name}-key]");
    let text = cluster::appspec(&name, &service, "health: {timeout: 30s}");
    let bundle = alone().bundle(1, &fetched(&text));
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    write(&bundle, "fetch.sh", "#!/bin/sh\n");
    let lacks = format!("the swarm has no secret {name}-key");
    for event in ["BeforeInstall", "AfterInstall"] {
        bundle.hook(event).exits(0).says(&format!("{lacks}: a script of another hook may make it"));
    }
    bundle.hook("ApplicationStart").exits(7).says(&lacks);
    bundle.appspec(&text);
    bundle.hook("BeforeInstall").exits(7).says(&lacks);
}

#[test]
fn a_path_for_a_health_check_that_nobody_can_be_asked_for_is_refused_by_every_event_while_the_old_one_serves() {
    let (world, name) = (world(), world().name("no-port"));
    let port = world.port();
    let good = format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s");
    let mut bundle = Bundle::container(&name, &good, HEALTH);
    web(&format!("{name}:1"), "one").write_into(&bundle.path());
    bundle.hook("ApplicationStart").exits(0);
    let container = world.inspect(&name, "{{.Id}} {{.State.StartedAt}}");

    bundle.deployment("d-TEST00002");
    for service in ["image: {archive: image.tar}", "image: {archive: image.tar}\nnetwork_mode: host"] {
        bundle.appspec(&appspec(&name, service, HEALTH));
        for event in ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"] {
            let refused = bundle.hook(event);
            refused.exits(3).says("`/healthz` is a path, and").says("write `http: \"http://127.0.0.1:8080/healthz\"`");
        }
    }
    assert_eq!(world.inspect(&name, "{{.Id}} {{.State.StartedAt}}"), container);
    assert_eq!(world.get(port, "/").as_deref(), Some("one"));
}

#[test]
fn a_project_that_publishes_no_tcp_port_is_refused_a_path_by_every_event() {
    let project = Project::two("no-tcp");
    let path = project.bundle.path().join("appspec.yml");
    let text = std::fs::read_to_string(&path).unwrap();
    project.bundle.appspec(&text.replace("health: {timeout: 20s}", HEALTH));
    project.file("compose.yml", &TWO.replace("127.0.0.1:PORT:80", "127.0.0.1:PORT:80/udp"));
    for event in ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"] {
        project.bundle.hook(event).exits(3).says("no active service publishes a TCP port");
    }
    assert!(world().containers(&project.name).is_empty());
}
