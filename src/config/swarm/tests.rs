#![allow(clippy::unwrap_used)]

use crate::config::Pull;
use crate::config::pending::Pending;
use crate::config::secrets::Definitions;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::problem::Problems;
use crate::config::yaml::Node;
use crate::values::reference::ImageReference;

fn read(yaml: &str) -> (Swarm, Vec<String>) {
    let node = Node::parse(yaml).unwrap();
    let problems = Problems::new();
    let around = ParseContext {
        bundle_root: Path::new("/bundle"),
        lookup: &|_| None,
        pending: &Pending::default(),
        secrets: &Definitions::new(),
    };
    let image = ImageSource::Registry("web:1".parse::<ImageReference>().unwrap(), Pull::Always, None, Duration::ZERO);
    let field = Field { node: &node, path: "swarm".into(), problems: &problems };
    let swarm = parse(&field, Some(image), &around).unwrap();
    let lines = problems.sorted().into_iter().map(|problem| {
        let help = problem.help.as_deref().unwrap_or_default();
        format!("{} {}: {} [{help}]", problem.place, problem.path, problem.message)
    });
    (swarm, lines.collect())
}

#[track_caller]
fn refused(yaml: &str, wanted: &[&str]) {
    let (_, lines) = read(yaml);
    for part in wanted {
        assert!(lines.iter().any(|line| line.contains(part)), "{part:?} is not among {lines:#?}");
    }
    assert_eq!(lines.len(), wanted.len(), "{lines:#?}");
}

#[test]
fn what_a_swarm_cannot_do_is_an_error_that_names_the_key_and_what_to_do_instead() {
    refused(
        "privileged: true\ndevices: [/dev/a]\nnetwork_mode: host\ncontainer_name: x\nupdate_config: {order: stop-first}\nipc: host",
        &[
            "1:1 swarm.privileged: `privileged` is not for a deployment [swarm runs no privileged tasks",
            "swarm.devices",
            "swarm.network_mode: `network_mode` is not for a deployment [write `networks: [host]`",
            "swarm.container_name",
            "swarm.update_config: `update_config` is not for a deployment [write it under `deploy:`]",
            "swarm.ipc",
        ],
    );
}

#[test]
fn an_unknown_key_is_an_error_with_the_nearest_known_one() {
    refused("prots: [80]", &["1:1 swarm.prots: unknown key `prots` [did you mean `ports`?]"]);
    refused("deploy: {replica: 2}", &["swarm.deploy.replica: unknown key `replica` [did you mean `replicas`?]"]);
    refused("networks: {a: {ipv4_address: 10.0.0.1}}", &["swarm gives each task its own address: no `ipv4_address`"]);
}

#[test]
fn an_address_or_a_range_of_host_ports_is_refused() {
    refused("ports: [\"127.0.0.1:80:80\"]", &["swarm cannot publish port 80 on 127.0.0.1 alone"]);
    refused("ports: [\"8000-8010:80\"]", &["swarm cannot choose from the range 8000-8010 for port 80"]);
}

#[test]
fn a_port_of_the_host_stops_the_old_task_first_and_start_first_is_refused_there() {
    let ports = "ports: [{target: 80, published: 8080, mode: host}]";
    let (swarm, lines) = read(ports);
    assert_eq!((swarm.deploy.update.order, lines), (Order::StopFirst, vec![]));
    refused(
        &format!("{ports}\ndeploy: {{update_config: {{order: start-first}}}}"),
        &["`order: start-first` cannot work with a port of the host"],
    );
}

#[test]
fn an_ingress_port_needs_the_services_own_address() {
    refused("ports: [80]\ndeploy: {endpoint_mode: dnsrr}", &["`endpoint_mode: dnsrr` has no address to publish"]);
}

#[test]
fn bad_values_of_deploy_are_all_reported_with_their_places() {
    refused(
        "deploy:\n  mode: globl\n  update_config: {max_failure_ratio: 1.5, failure_action: retry, delay: 5}\n  rollback_config: {failure_action: rollback}\n  placement: {constraints: [\"node.role=worker\"]}\n  resources: {reservations: {devices: []}}\n  restart_policy: {condition: always}",
        &[
            "2:9 swarm.deploy.mode: `globl` is not known [did you mean `global`?]",
            "`1.5` is no part of the tasks",
            "`retry` is not known",
            "`5` needs a unit",
            "swarm.deploy.rollback_config.failure_action: `rollback` is not known",
            "`node.role=worker` is no constraint [write `node.role==worker`",
            "swarm gives no devices",
            "swarm.deploy.restart_policy.condition: `always` is not known",
        ],
    );
    refused("deploy: {mode: global, replicas: 2}", &["`replicas` means nothing with `mode: global`"]);
    refused("deploy: {mode: replicated-job}", &["a job ends, and cannot be deployed as a service"]);
}

#[test]
fn a_secret_without_a_source_a_target_twice_and_a_file_outside_the_bundle_are_refused() {
    refused("secrets: [{file: a}]", &["swarm.secrets[0]: `source` is missing"]);
    refused("secrets: [db, {source: other, target: db}]", &["two of the secrets have the target db"]);
    refused("configs: [{source: a, file: ../a}]", &["must stay inside the bundle"]);
    refused(
        "configs: [{source: a, mode: \"9\"}, {source: \"a b\"}]",
        &["`9` is no octal mode", "is no name", "`source` is missing"],
    );
}

#[test]
fn selinux_labels_and_options_of_a_tmpfs_that_swarm_lacks_are_refused() {
    refused("volumes: [\"/srv:/srv:z\"]", &["swarm sets no SELinux labels: `/srv:/srv:z` has `z`"]);
    refused("tmpfs: [\"/run:uid=5\"]", &["swarm's tmpfs knows `size` and `mode`, not `uid=5`"]);
    refused("volumes: [./data:/data]", &["mounts `./data` of the bundle"]);
}

#[test]
fn our_defaults_start_the_new_task_first_and_roll_back() {
    let (swarm, lines) = read("image: web:1");
    let deploy = &swarm.deploy;
    assert!(lines.is_empty() && !swarm.init && swarm.with_registry_auth);
    assert_eq!((deploy.update.order, deploy.update.failure_action), (Order::StartFirst, FailureAction::Rollback));
    assert_eq!((deploy.update.parallelism, deploy.update.monitor, deploy.replicas), (1, Duration::from_secs(5), None));
}

#[test]
fn mounts_keep_what_their_short_forms_say() {
    let (swarm, lines) =
        read("volumes: [\"/srv:/a:ro,rslave\", \"data:/b:nocopy\", /c]\ntmpfs: [\"/run:size=1m,mode=1777\"]");
    assert_eq!(lines, Vec::<String>::new());
    let shown: Vec<String> = swarm.mounts.iter().map(|mount| serde_json::to_string(mount).unwrap()).collect();
    for (mount, part) in
        shown.iter().zip(["\"Propagation\":\"rslave\"", "\"NoCopy\":true", "\"Target\":\"/c\"", "\"Mode\":1023"])
    {
        assert!(mount.contains(part), "{part} is not in {mount}");
    }
    assert!(shown[0].contains("\"ReadOnly\":true") && shown[3].contains("\"SizeBytes\":1048576"), "{shown:?}");
}

#[test]
fn restart_beside_deploy_is_read_as_docker_stack_reads_it() {
    for (text, condition, attempts) in [("\"no\"", "none", 0), ("always", "any", 0), ("on-failure:3", "on-failure", 3)]
    {
        let (swarm, _) = read(&format!("restart: {text}"));
        assert_eq!(
            (swarm.deploy.restart.condition, swarm.deploy.restart.max_attempts),
            (condition, attempts),
            "{text}"
        );
    }
}

#[test]
fn what_excludes_each_other_is_said_also_where_the_image_is_missing() {
    let (node, problems) = (Node::parse("ports: [80]\ndeploy: {endpoint_mode: dnsrr}").unwrap(), Problems::new());
    let around = ParseContext {
        bundle_root: Path::new("/bundle"),
        lookup: &|_| None,
        pending: &Pending::default(),
        secrets: &Definitions::new(),
    };
    let field = Field { node: &node, path: "swarm".into(), problems: &problems };
    assert_eq!(parse(&field, None, &around), None);
    assert!(problems.sorted()[0].message.contains("has no address to publish"), "{problems:?}");
}
