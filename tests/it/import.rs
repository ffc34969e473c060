//! A container that was started by hand, taken over: what `import` writes of it is deployed, and the engine has the same
//! container afterwards.

use serde_json::{Value, json};

use crate::registry::push;
use crate::support::images::web;
use crate::support::world::ECR;
use crate::support::{Bundle, world};

/// Options as people write them; those of a port, a network, a volume and a name are the test's.
const OPTIONS: &[&str] = &[
    "--env",
    "LEVEL=info",
    "--env",
    "PRICE=5$",
    "--env",
    "DB_PASSWORD=hunter2 x",
    "--label",
    "team=shop",
    "--hostname",
    "shop-1",
    "--user",
    "0:0",
    "--workdir",
    "/www",
    "--add-host",
    "db:10.0.0.1",
    "--dns",
    "10.0.0.2",
    "--dns-search",
    "example.test",
    "--cap-add",
    "NET_ADMIN",
    "--cap-drop",
    "MKNOD",
    "--security-opt",
    "no-new-privileges",
    "--read-only",
    "--tmpfs",
    "/run:size=1m",
    "--mount",
    "type=tmpfs,dst=/cache,tmpfs-size=1048576,tmpfs-mode=1777",
    "--ulimit",
    "nofile=1024:2048",
    "--memory",
    "64m",
    "--pids-limit",
    "100",
    "--shm-size",
    "1m",
    "--cpu-shares",
    "512",
    "--log-driver",
    "json-file",
    "--log-opt",
    "max-size=1m",
    "--restart",
    "on-failure:3",
    "--stop-signal",
    "SIGKILL",
    "--stop-timeout",
    "2",
    "--health-cmd",
    "true",
    "--health-interval",
    "1s",
    "--init",
    "--sysctl",
    "net.ipv4.ip_unprivileged_port_start=0",
    "--network-alias",
    "www",
    "--group-add",
    "10",
    "--oom-score-adj",
    "100",
    "--device",
    "/dev/null:/dev/nothing:r",
];

#[test]
fn a_container_that_was_started_by_hand_is_taken_over_with_every_option_it_had() {
    let (world, name) = (world(), world().name("imported"));
    let (port, network, volume) = (world.port(), format!("{name}-net"), format!("{name}-data"));
    let bundle = Bundle::container(&name, "image: {archive: image.tar}", "");
    // The check runs in a shell.
    let image = web(&format!("{name}:1"), "one");
    let (archive, _) = image.write_into(&bundle.path());
    world.docker(&["load", "--input", archive.to_str().unwrap()]);
    world.docker(&["network", "create", &network]);
    let (publish, mount) = (format!("127.0.0.1:{port}:80"), format!("{volume}:/data"));
    let own = ["--publish", &publish, "--network", &network, "--volume", &mount, "--name", &name];
    world.docker(&[&["run", "--detach", "--rm=false"], OPTIONS, &own, &[&format!("{name}:1")]].concat());
    let before = chosen(&world.docker(&["inspect", &name]));

    let imported = bundle.run_bare(&["import", &name]);
    imported.exits(0).prints("not written here: DB_PASSWORD");
    assert!(!imported.stdout.contains("hunter2") && !imported.stderr.contains("hunter2"), "{}", imported.stdout);
    assert!(!imported.stdout.contains("# Not carried"), "{}", imported.stdout);
    assert!(imported.stdout.contains("gives it anyway:\n# - command"), "{}", imported.stdout);
    // The file of secrets, made by the command that the comment gives.
    let file = bundle.path().join("secrets.env");
    let here = |text: &str| text.replace(&format!("/etc/{name}.env"), &format!("'{}'", file.display()));
    let command = imported.stdout.lines().find_map(|line| line.trim().strip_prefix("#   (umask")).unwrap();
    let shell = here(&format!("(umask{command}"));
    let made = world.command("sh").args(["-c", &shell]).env("DOCKER_HOST", world.docker_host()).status().unwrap();
    assert!(made.success(), "{shell}");
    bundle.appspec(&here(&imported.stdout));

    bundle.run(&["check"]).exits(0);
    bundle.hook("ApplicationStart").exits(0);

    assert_eq!(chosen(&world.docker(&["inspect", &name])), before);
    let aliases = format!("{{{{index .NetworkSettings.Networks \"{network}\" | json}}}}");
    assert!(world.inspect(&name, &aliases).contains("\"www\""), "{}", world.inspect(&name, &aliases));
    assert_eq!(world.inspect(&name, "{{index .Config.Labels \"balehook.name\"}}"), name);
    assert_eq!(world.get(port, "/").as_deref(), Some("one"));
}

#[test]
fn what_is_written_of_hook_scripts_is_deployed_in_their_place() {
    let (world, name) = (world(), world().name("scripts"));
    let port = world.port();
    push(&name, ECR, "1", "one");
    world.wait_for_port(5000);
    let bundle = Bundle::new(
        "version: 0.0\nos: linux\nhooks:\n  ApplicationStop: [{location: scripts/stop.sh, timeout: 60}]\n  \
         ApplicationStart: [{location: scripts/start.sh, timeout: 300}]\n",
    );
    let script = |file: &str, lines: &str| {
        std::fs::create_dir_all(bundle.path().join("scripts")).unwrap();
        std::fs::write(bundle.path().join("scripts").join(file), format!("#!/bin/bash\n{lines}")).unwrap();
    };
    script("stop.sh", &format!("docker stop {name} || true\ndocker rm {name} || true\n"));
    script(
        "start.sh",
        &format!(
            "set -e\nIMAGE={ECR}/{name}:1\naws ecr get-login-password | docker login -u AWS --password-stdin {ECR}\n\
             docker pull \"$IMAGE\"\ndocker run -d --name {name} --restart unless-stopped -p 127.0.0.1:{port}:80 \
             -e LEVEL=info \"$IMAGE\"\ndocker image prune --force\n"
        ),
    );

    let imported = bundle.run_bare(&["import", bundle.path().to_str().unwrap()]);
    imported.exits(0).prints("carried: name, image, restart, ports, environment").prints("0 to do, 0 not understood");
    // As its last line says.
    std::fs::rename(bundle.path().join("appspec.balehook.yml"), bundle.path().join("appspec.yml")).unwrap();
    bundle.run(&["check"]).exits(0);
    for event in ["BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"] {
        bundle.hook(event).exits(0);
    }

    assert_eq!(world.get(port, "/").as_deref(), Some("one"));
    let options = world
        .inspect(&name, "{{.HostConfig.RestartPolicy.Name}} {{json .HostConfig.PortBindings}} {{json .Config.Env}}");
    let wanted = format!("unless-stopped {{\"80/tcp\":[{{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"{port}\"}}]}} ");
    assert!(options.starts_with(&wanted) && options.contains("\"LEVEL=info\""), "{options}");
    assert_eq!(world.inspect(&name, "{{index .Config.Labels \"balehook.name\"}}"), name);
}

/// Everything that was asked for, without the image's reference and balehook's labels.
fn chosen(inspected: &str) -> Value {
    let all: Value = serde_json::from_str(inspected).unwrap();
    let (mut config, host) = (all[0]["Config"].clone(), all[0]["HostConfig"].clone());
    config["Image"] = Value::Null;
    config["Labels"].as_object_mut().unwrap().retain(|name, _| !name.starts_with("balehook."));
    config["Env"].as_array_mut().unwrap().sort_by_key(Value::to_string);
    without_nothing(json!({ "Config": config, "HostConfig": host })).unwrap()
}

/// Docker's command writes out what stands for nothing.
fn without_nothing(value: Value) -> Option<Value> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Number(number) if [0.0, -1.0].contains(&number.as_f64().unwrap()) => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Object(entries) => {
            let entries = entries.into_iter().filter_map(|(key, value)| Some((key, without_nothing(value)?)));
            let entries: serde_json::Map<_, _> = entries.collect();
            (!entries.is_empty()).then_some(Value::Object(entries))
        }
        other => Some(other),
    }
}
