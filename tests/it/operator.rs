//! What an operator does on one host, one after another: from a container that was started by hand to a host where
//! nothing of ours is left.

use crate::support::images::server;
use crate::support::machine::Machine;
use crate::support::{Image, Outcome, bundle::Running};

/// The host, and the revision in its folder `/srv/web`.
struct Operator {
    machine: Machine,
}

impl Operator {
    /// One command of ours, by its words.
    fn run(&self, line: &str) -> Outcome {
        let words: Vec<&str> = ["balehook"].into_iter().chain(line.split(' ')).collect();
        Running::start(self.machine.command(&words)).wait()
    }

    /// The agent deploys this image as deployment `d-VERSION`.
    fn deploy(&self, version: &str, image: &Image) -> Outcome {
        image.write_into(&self.machine.file("/srv/web"));
        self.machine.start_hook("/srv/web", version).wait()
    }

    fn answers(&self, version: &str) {
        self.machine.wait_for(version, || self.machine.answer().as_deref() == Ok(version));
    }
}

fn good(version: &str) -> Image {
    server(&format!("web:{version}"), version, 0, &["tcp:80"])
}

#[test]
fn a_container_that_was_started_by_hand_is_imported_deployed_brought_back_and_removed_without_a_trace() {
    let mut host = Operator { machine: Machine::boot() };
    std::fs::create_dir_all(host.machine.file("/srv/one")).unwrap();
    good("v1").write_into(&host.machine.file("/srv/one"));
    host.machine.run("docker load --quiet --input /srv/one/image.tar");
    let options = "--publish 8080:80 --env GREETING=hello --memory 64m --restart unless-stopped --stop-timeout 1";
    host.machine.run(&format!("docker run --detach --name web {options} web:v1"));
    host.answers("v1");

    host.run("import web --output /srv/web").exits(0);
    host.run("check /srv/web").exits(0);
    let appspec = host.machine.file("/srv/web/appspec.yml");
    let text = std::fs::read_to_string(&appspec).unwrap();
    let reference = "    image:\n      reference: web:v1\n      pull: missing\n";
    assert!(text.contains(reference) && text.contains("GREETING: hello"), "{text}");
    host.run("plan --appspec /srv/web").exits(0).prints("docker rename web ");
    std::fs::write(
        &appspec,
        text.replace(reference, "    image: {archive: image.tar}\n") + "  health: {http: /healthz, timeout: 10s}\n",
    )
    .unwrap();
    host.deploy("v2", &good("v2")).exits(0);
    host.answers("v2");
    let carried = "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}} {{.Config.Env}}";
    let carried = host.machine.said(&["docker", "inspect", "--format", carried, "web"]);
    assert!(carried.starts_with("67108864 unless-stopped [") && carried.contains("GREETING=hello"), "{carried}");

    let broken = Image::new("web:v3").script("echo cannot find the database; exit 3");
    host.deploy("v3", &broken).exits(8);
    host.answers("v2");
    host.run("status web --exit-code").exits(0).prints("web:v2").prints("d-v3 failed");
    host.run("history web").exits(0).prints("d-v2").prints("d-v3");
    host.run("history web --deployment d-v3").exits(0).prints("exit code 8");
    host.run("logs web --deployment d-v3").exits(0).prints("cannot find the database");

    host.deploy("v4", &good("v4")).exits(0);
    host.answers("v4");
    host.run("rollback web").exits(0);
    host.answers("v2");

    host.machine.lose_power();
    host.machine.power_on();
    host.answers("v2");
    host.run("status web --exit-code").exits(0).prints("web:v2");
    host.run("prune web").exits(0);
    host.answers("v2");

    host.run("uninstall --purge --yes").exits(0);
    assert_eq!(host.machine.containers(), "");
    let images = host.machine.said(&["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(images, "web:v1", "the one that was loaded by hand");
    assert_eq!(host.machine.rules(), [""; 0]);
    let state = host.machine.file("/var/lib/balehook");
    let left = std::fs::read_dir(&state).map(|all| all.count()).unwrap_or_default();
    assert_eq!(left, 0, "{}", state.display());
    assert!(!host.machine.said(&["docker", "network", "ls"]).contains("balehook"));
    host.run("uninstall --purge --yes").exits(0).prints("nothing");
}
