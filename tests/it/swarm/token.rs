//! The registry's token in a swarm.

use std::collections::HashSet;
use std::process::Command;

use crate::support::cluster::appspec;
use crate::support::images::web;
use crate::support::world::{OTHER, OTHER_PASSWORD, base64};
use crate::support::{Bundle, world};

fn auth(password: &str) -> String {
    format!(r#"{{"auths":{{"{OTHER}":{{"auth":"{}"}}}}}}"#, base64(&format!("team:{password}")))
}

/// The service's spec is written back with a token that no registry takes.
fn spoil_token(name: &str) {
    let script = r#"set -eu
        call() { curl --silent --show-error --fail --unix-socket "$1" "${@:2}"; }
        service=$(call "$1" "http://docker/services/$2")
        version=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["Version"]["Index"])' "$service")
        spec=$(python3 -c 'import json, sys; print(json.dumps(json.loads(sys.argv[1])["Spec"]))' "$service")
        bad=$(printf '{"username":"team","password":"stale","serveraddress":"%s"}' "$3" | base64 -w 0 | tr '+/' '-_')
        call "$1" -X POST -H 'Content-Type: application/json' -H "X-Registry-Auth: $bad" \
            "http://docker/services/$2/update?version=$version" --data "$spec""#;
    let socket = world().docker_host().replace("unix://", "");
    let output = Command::new("bash").args(["-c", script, "bash", &socket, name, OTHER]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether the swarm can pull: its only copy of the image is taken away, and its task is killed. One task may lack the image
/// by chance: it was prepared while the image was being removed. The next one pulls it, or lacks it too.
fn comes_back(name: &str, reference: &str) -> bool {
    let world = world();
    let filter = format!("label=com.docker.swarm.service.name={name}");
    let container = world.docker(&["ps", "--quiet", "--filter", &filter]);
    let image = world.inspect(&container, "{{.Image}}");
    let tasks_without_the_image = || -> HashSet<String> {
        let said = world.docker(&["service", "ps", "--no-trunc", "--format", "{{.ID}} {{.Error}}", name]);
        said.lines().filter(|task| task.contains("No such image")).map(str::to_owned).collect()
    };
    let before = tasks_without_the_image();
    world.docker(&["rm", "--force", &container]);
    world.docker(&["rmi", "--force", &image]);
    assert!(world.docker_may_fail(&["image", "inspect", reference]).is_err(), "the image is gone");
    let began = std::time::Instant::now();
    loop {
        let running = world.docker(&["ps", "--quiet", "--filter", &filter]);
        let lack_it = tasks_without_the_image().difference(&before).count();
        if !running.is_empty() || lack_it >= 2 {
            return !running.is_empty();
        }
        assert!(began.elapsed().as_secs() < 60, "the swarm neither pulls nor gives up: {lack_it} tasks had no image");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn the_registrys_token_is_renewed_by_every_deployment_and_by_resume_without_restarting_a_task() {
    let (world, name) = (world(), world().name("token"));
    let (archive, _) = web(&format!("{name}:1"), "one").write_into(world.folder());
    world.docker(&["load", "--input", archive.to_str().unwrap()]);
    let digest = world.push(OTHER, &format!("{name}:1"), &format!("team/{name}:1"));
    let reference = format!("{OTHER}/team/{name}@{digest}");
    let deploy = "deploy: {update_config: {monitor: 1s}, restart_policy: {delay: 4s}}";
    let swarm = format!("image: {OTHER}/team/{name}:1\ninit: true\nstop_grace_period: 1s\n{deploy}");
    let mut bundle = Bundle::new(&appspec(&name, &swarm, ""));
    bundle.docker_config(&auth(OTHER_PASSWORD));
    bundle.hook("ApplicationStart").exits(0);
    let tasks = || world.docker(&["service", "ps", "--quiet", "--no-trunc", &name]);
    let first = tasks();

    spoil_token(&name);
    let again = bundle.deployment("d-TEST00002").hook("ApplicationStart");
    again.exits(0).says("a new token of").says("unchanged");
    assert_eq!(tasks(), first, "no task was restarted by a token");
    assert!(comes_back(&name, &reference), "the token of the deployment is in force");

    spoil_token(&name);
    let before = tasks();
    bundle.run_bare(&["resume", "--tokens"]).exits(0);
    assert_eq!(tasks(), before, "no task was restarted by a token");
    assert!(comes_back(&name, &reference), "the token of resume is in force");

    spoil_token(&name);
    assert!(!comes_back(&name, &reference), "a spoilt token is spoilt: this test can fail");
    world.docker(&["service", "rm", &name]);
}
