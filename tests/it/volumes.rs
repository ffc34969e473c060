//! Anonymous volumes: what an image's `VOLUME` or `volumes: ["/own"]` made outlives the container.

use crate::support::images::web;
use crate::support::{Bundle, bundle, world};

const HEALTH: &str = "health: {http: /healthz, timeout: 20s}";

fn service(port: u16, more: &str) -> String {
    format!("image: {{archive: image.tar}}\nports: [\"127.0.0.1:{port}:80\"]\nstop_grace_period: 1s\n{more}")
}

fn write(name: &str, path: &str) {
    world().docker(&["exec", name, "/bin/busybox", "sh", "-c", &format!("echo kept > {path}/file")]);
}

fn read(name: &str, path: &str) -> Result<String, String> {
    world().docker_may_fail(&["exec", name, "/bin/busybox", "cat", &format!("{path}/file")])
}

fn volume(name: &str, path: &str) -> String {
    let of = format!("{{{{range .Mounts}}}}{{{{if eq .Destination \"{path}\"}}}}{{{{.Name}}}}{{{{end}}}}{{{{end}}}}");
    world().inspect(name, &of)
}

#[test]
fn anonymous_volumes_go_on_with_each_next_container_and_are_back_after_a_failed_one_and_after_application_stop() {
    let (world, name) = (world(), world().name("volumes"));
    let port = world.port();
    let mut it = Bundle::container(&name, &service(port, "volumes: [/own]"), HEALTH);
    web(&format!("{name}:1"), "one").volume("/of-image").write_into(&it.path());
    it.hook("ApplicationStart").exits(0);
    let volumes = ["/own", "/of-image"].map(|path| {
        write(&name, path);
        volume(&name, path)
    });
    let kept = || ["/own", "/of-image"].map(|path| read(&name, path)) == [Ok("kept".into()), Ok("kept".into())];

    web(&format!("{name}:2"), "two").volume("/of-image").script("exit 3").write_into(&it.path());
    it.deployment("d-2").hook("ApplicationStart").exits(8);
    assert!(kept(), "a failed release takes nothing with it");

    web(&format!("{name}:3"), "three").volume("/of-image").write_into(&it.path());
    it.run(&["plan"]).exits(0).prints(&format!("{}:/own", volumes[0])).prints(&format!("{}:/of-image", volumes[1]));
    it.deployment("d-3").hook("ApplicationStart").exits(0);
    assert!(kept() && world.get(port, "/").as_deref() == Some("three"));
    it.deployment("d-3b").hook("ApplicationStart").exits(0).says("unchanged");

    it.hook("ApplicationStop").exits(0).says(&format!("docker volume rm {}", volumes[1]));
    assert!(world.containers(&name).is_empty());
    web(&format!("{name}:4"), "four").volume("/of-image").write_into(&it.path());
    it.deployment("d-4").hook("ApplicationStart").exits(0);
    assert!(kept() && world.get(port, "/").as_deref() == Some("four"));

    // Neither the file nor the image names them any more.
    web(&format!("{name}:5"), "five").write_into(&it.path());
    it.appspec(&bundle::appspec(&name, &service(port, ""), HEALTH));
    let done = it.deployment("d-5").hook("ApplicationStart");
    done.exits(0);
    volumes.iter().for_each(|volume| {
        done.prints(&format!("docker volume rm {volume}"));
        world.docker(&["volume", "rm", volume]);
    });
    assert!(read(&name, "/own").is_err() && read(&name, "/of-image").is_err());
}

#[test]
fn a_container_that_is_taken_over_start_first_leaves_its_anonymous_volumes_to_the_new_one() {
    let (world, name) = (world(), world().name("taken"));
    let port = world.port();
    let order = "update_config: {order: start-first, drain: 0s}";
    let it = Bundle::container(&name, &service(port, order).replace("127.0.0.1:", ""), HEALTH);
    let (archive, _) = web(&format!("{name}:1"), "one").volume("/of-image").write_into(&it.path());
    world.docker(&["load", "--input", archive.to_str().unwrap()]);
    world.docker(&["run", "--detach", "--volume", "/gone", "--name", &name, &format!("{name}:1")]);
    write(&name, "/of-image");
    let gone = volume(&name, "/gone");

    let done = it.hook("ApplicationStart");

    done.exits(0).prints("open until the old one is stopped").prints(&format!("docker volume rm {gone}"));
    assert_eq!((read(&name, "/of-image"), volume(&name, "/gone")), (Ok("kept".into()), String::new()));
    world.docker(&["volume", "rm", &gone]);
}

#[test]
fn a_container_started_with_rm_is_refused_while_it_serves_and_application_stop_removes_it() {
    let (world, name) = (world(), world().name("autoremove"));
    let it = Bundle::container(&name, &service(world.port(), ""), HEALTH);
    let (archive, _) = web(&format!("{name}:1"), "one").write_into(&it.path());
    world.docker(&["load", "--input", archive.to_str().unwrap()]);
    let id = world.docker(&["run", "--detach", "--rm", "--name", &name, &format!("{name}:1")]);

    it.hook("ApplicationStart").exits(7).says("was started with `--rm`").says(&format!("docker stop {name}"));

    assert_eq!(world.inspect(&name, "{{.Id}} {{.State.Running}}"), format!("{id} true"));
    it.hook("ApplicationStop").exits(0);
    // The engine removes it in its own time.
    world.wait_for("removal", || world.docker_may_fail(&["inspect", &name]).is_err());
}
