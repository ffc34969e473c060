//! Each option in Compose's short and long syntax, and what is wrong with a value.
#![allow(clippy::unwrap_used)]

use crate::config::pending::Pending;
use crate::config::secrets::Definitions;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

fn parse_lines(lines: &str) -> (Service, Problems) {
    let node = Node::parse(lines).unwrap();
    let problems = Problems::new();
    let lookup = |name: &str| (name == "HOSTED").then(|| "yes".to_owned());
    let around = ParseContext {
        bundle_root: Path::new("/bundle"),
        lookup: &lookup,
        pending: &Pending::default(),
        secrets: &Definitions::new(),
    };
    let service = parse(&node, "c", &around, &problems);
    (service, problems)
}

#[track_caller]
fn service(lines: &str) -> Service {
    let (service, problems) = parse_lines(lines);
    assert!(problems.is_empty(), "{lines}: {problems:?}");
    service
}

#[track_caller]
fn body(lines: &str) -> Json {
    serde_json::to_value(service(lines).body).unwrap()
}

fn why(lines: &str) -> String {
    let (_, problems) = parse_lines(lines);
    let each = problems.sorted().into_iter().map(|problem| {
        format!(
            "{} {}{}",
            problem.path,
            problem.message,
            problem.help.as_ref().map(|help| format!(" [{help}]")).unwrap_or_default()
        )
    });
    each.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_bad_value_is_named_with_what_to_write() {
    for (lines, said) in [
        ("prots: []", "c.prots unknown key `prots` [did you mean `ports`?]"),
        ("ports: ['99999:80']", "has a bad port `99999`"),
        ("ports: ['8000-8002:80-81']", "publishes 2 container ports on 3 host ports"),
        ("ports: ['80:80/icmp']", "unknown protocol `icmp`"),
        ("ports: ['localhost:80:80']", "bad host address `localhost`"),
        ("ports: ['80:80', '80:81']", "host port 80 is published twice"),
        ("ports: [{published: 80}]", "`target` is missing"),
        ("ports: 80", "expected a list, not `80`"),
        ("volumes: ['./data:/data']", "CodeDeploy removes some deployments later"),
        ("volumes: ['/a:data']", "needs an absolute path in the container"),
        ("volumes: ['/a:/b:rx']", "unknown mode `rx`"),
        ("volumes: ['/a:/b', 'c1:/b']", "`/b` is mounted twice"),
        ("volumes: [{type: bind, source: data, target: /b}]", "a bind mount needs an absolute `source`"),
        ("volumes: [{type: nfs, target: /b}]", "`nfs` is not known"),
        ("restart: sometimes", "is no restart policy"),
        ("restart: on-failure:x", "needs a whole number"),
        ("stop_signal: SIGFOO", "is no signal"),
        ("stop_grace_period: 10", "needs a unit: `10s`"),
        ("mem_limit: 12x", "is no size"),
        ("mem_limit: 512", "512 bytes are less than the 6 MB that the engine wants at least [write the unit: `512m`]"),
        ("mem_reservation: 5m", "less than the 6 MB"),
        ("deploy: {resources: {limits: {memory: 512}}}", "less than the 6 MB"),
        ("mem_swappiness: 101", "`101` is too large [write a whole number to 100]"),
        ("oom_score_adj: 1001", "`1001` is too large"),
        ("blkio_config: {weight: 1001}", "`1001` is too large"),
        ("deploy: {resources: {reservations: {devices: [{driver: nvidia}]}}}", "`capabilities` is missing"),
        ("networks: {a: {mac_address: x}}", "is no MAC address"),
        ("security_opt: [s]", "`s` is no option: write `no-new-privileges:true`"),
        ("security_opt: [seccomp=../s.json]", "must stay inside the bundle"),
        ("cpus: many", "expected a number from 0"),
        ("privileged: maybe", "expected `true` or `false`"),
        ("extra_hosts: ['db']", "is no entry for /etc/hosts"),
        ("dns: [nameserver]", "is no IP address"),
        ("devices: ['null']", "both paths must be absolute"),
        ("ulimits: {nofile: {soft: 10, hard: 5}}", "soft limit 10 is above hard limit 5"),
        ("healthcheck: {test: [check]}", "must begin with CMD, CMD-SHELL or NONE"),
        ("network_mode: service:db", "write `container:db`"),
        ("platform: windows/amd64", "is no platform of Linux"),
        ("labels: {balehook.name: x}", "is set by balehook"),
        ("env_file: ../secret.env", "must stay inside the bundle"),
        ("command: \"sh -c 'x\"", "not closed"),
        ("environment: ['=x']", "names nothing"),
        ("gpus: some", "`some` is not known [write one of all]"),
        ("mac_address: 1234", "is no MAC address"),
        ("working_dir: www", "must be an absolute path"),
        ("update_config: {order: start-first}", "needs `ports`"),
        ("update_config: {order: first}", "`first` is not known"),
        ("update_config: {drain: 5s}", "`drain` needs `order: start-first`"),
        ("ports: [\"80:80\"]\nupdate_config: {order: start-first, drain: 2h}", "must be at most"),
        ("ports: [\"80\"]\nupdate_config: {order: start-first}", "on no fixed host port"),
        ("ports: [\"8000-8010:80\"]\nupdate_config: {order: start-first}", "on one of 8000-8010"),
        ("ports: [\"80:80/sctp\"]\nupdate_config: {order: start-first}", "only tcp and udp"),
        ("network_mode: host\nupdate_config: {order: start-first}", "not possible with `network_mode: host`"),
        ("network_mode: none\nupdate_config: {order: start-first}", "not possible with `network_mode: none`"),
        (
            "ports: [\"80:80\"]\nnetworks: {front: {ipv4_address: 10.0.0.9}}\nupdate_config: {order: start-first}",
            "an address of its own on network front",
        ),
        (
            "ports: [\"80:80\"]\nmac_address: 02:42:ac:11:00:02\nupdate_config: {order: start-first}",
            "not possible with `mac_address`",
        ),
        ("build: .", "`build` is not for a deployment [build the image before"),
        ("deploy: {replicas: 2}", "unknown key `replicas`"),
    ] {
        assert!(why(lines).contains(said), "{lines}: {}", why(lines));
    }
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    for (lines, said) in [
        ("network_mode: host\nnetworks: [a]", "exclude each other"),
        ("network_mode: host\nports: ['80:80']", "cannot be published with `network_mode: host`"),
        ("mem_limit: 7m\nmem_reservation: 8m", "is larger than mem_limit"),
        (
            "mem_limit: 9m\ndeploy: {resources: {limits: {memory: 8m}}}",
            "`mem_limit` and `deploy.resources.limits.memory`",
        ),
        (
            "deploy: {resources: {limits: {memory: 8m}}}\nmem_limit: 9m",
            "`mem_limit` and `deploy.resources.limits.memory`",
        ),
        ("cpus: 1\ndeploy: {resources: {limits: {cpus: 2}}}", "`cpus` and `deploy.resources.limits.cpus`"),
        ("pids_limit: 1\ndeploy: {resources: {limits: {pids: 2}}}", "`pids_limit` and `deploy.resources.limits.pids`"),
        (
            "mem_reservation: 8m\ndeploy: {resources: {reservations: {memory: 9m}}}",
            "`mem_reservation` and `deploy.resources.reservations.memory`",
        ),
        (
            "mac_address: 02:42:ac:11:00:02\nnetworks: {a: {mac_address: 02:42:ac:11:00:03}}",
            "is not the `mac_address` of network a",
        ),
        ("mac_address: 02:42:ac:11:00:02\nnetwork_mode: none", "means nothing with `network_mode: none`"),
        ("memswap_limit: 1m", "needs mem_limit"),
        ("mem_limit: 8m\nmemswap_limit: 7m", "is smaller than mem_limit"),
        ("cpus: 1\ncpu_quota: 50000", "`cpus` excludes"),
    ] {
        assert!(why(lines).contains(said), "{lines}: {}", why(lines));
    }
}

#[test]
fn every_problem_is_reported_at_once_and_good_options_beside_them_are_kept() {
    let (service, problems) = parse_lines("prots: []\nhostname: ok\ncpus: x\nrestart: y\nvolumes: ['./a:/b']");
    assert_eq!(problems.errors(), 4);
    assert_eq!(service.body.hostname.as_deref(), Some("ok"));
}

#[test]
fn short_and_long_syntax_mean_the_same() {
    for (short, long) in [
        (
            "ports: ['127.0.0.1:8080:80/udp']",
            "ports: [{target: 80, published: '8080', host_ip: 127.0.0.1, protocol: udp, mode: host}]",
        ),
        ("ports: ['80']", "ports: [{target: 80}]"),
        ("ports: ['8000-8001:80-81']", "ports: ['8000:80', '8001:81']"),
        ("ports: ['[::1]:80:80']", "ports: [{target: 80, published: 80, host_ip: '::1'}]"),
        ("ports: ['9000-9010:80']", "ports: [{target: 80, published: 9000-9010}]"),
        ("volumes: ['/a:/b:ro']", "volumes: [{type: bind, source: /a, target: /b, read_only: true}]"),
        ("volumes: ['/a:/b:z']", "volumes: [{type: bind, source: /a, target: /b, bind: {selinux: z}}]"),
        ("environment: [A=1, B, C=]", "environment: {A: 1, B: , C: ''}"),
        ("labels: [a=b]", "labels: {a: b}"),
        ("sysctls: [net.core.somaxconn=1024]", "sysctls: {net.core.somaxconn: 1024}"),
        ("extra_hosts: ['db:10.0.0.1']", "extra_hosts: {db: 10.0.0.1}"),
        ("extra_hosts: ['db=::1']", "extra_hosts: {db: ['[::1]']}"),
        ("ulimits: {nofile: 10}", "ulimits: {nofile: {soft: 10, hard: 10}}"),
        ("networks: [a, b]", "networks: {a: , b: {}}"),
        ("command: 'a \"b c\"'", "command: [a, b c]"),
        ("tmpfs: /run", "tmpfs: [/run]"),
        ("dns: 10.0.0.1", "dns: [10.0.0.1]"),
        ("env_file: web.env", "env_file: [{path: ./web.env, required: true}]"),
        ("devices: ['/dev/a']", "devices: [{source: /dev/a, target: /dev/a, permissions: rwm}]"),
        ("gpus: all", "gpus: [{count: all}]"),
        ("cpus: 0.5", "deploy: {resources: {limits: {cpus: '0.5'}}}"),
        ("healthcheck: {test: [NONE]}", "healthcheck: {disable: true}"),
        ("healthcheck: {test: exit 0}", "healthcheck: {test: [CMD-SHELL, exit 0]}"),
        ("mem_limit: 512m", "mem_limit: 536870912"),
        ("cpu_period: 100ms", "cpu_period: 100000"),
    ] {
        assert_eq!(service(short), service(long), "{short}");
    }
}

#[test]
fn values_reach_the_request_under_the_apis_names() {
    let body = body("gpus: [{driver: nvidia, device_ids: ['0'], capabilities: [utility]}]\nstop_grace_period: 1m30s\nblkio_config: {weight: 300, weight_device: [{path: /dev/sda, weight: 400}]}\nmem_swappiness: 60\nuserns_mode: host\ncpu_rt_runtime: 95ms\nstorage_opt: {size: 1G}\nisolated: x".trim_end_matches("\nisolated: x"));
    assert_eq!(
        body["HostConfig"]["DeviceRequests"],
        json!([{"Driver": "nvidia", "DeviceIDs": ["0"], "Capabilities": [["gpu", "utility"]]}])
    );
    assert_eq!(body["StopTimeout"], json!(90));
    assert_eq!(body["HostConfig"]["BlkioWeightDevice"], json!([{"Path": "/dev/sda", "Weight": 400}]));
    assert_eq!(body["HostConfig"]["CpuRealtimeRuntime"], json!(95_000));
    assert_eq!(body["HostConfig"]["StorageOpt"], json!({"size": "1G"}));
}

#[test]
fn a_mac_address_is_that_of_the_first_network_and_of_the_default_one_where_none_is_named() {
    let of_a = "networks: {b: , a: {priority: 10}}\nmac_address: 02:42:ac:11:00:02";
    let service = service(of_a);
    let macs: Vec<_> = service.networks.iter().map(|(name, it)| (name.as_str(), it.mac_address.as_deref())).collect();
    assert_eq!(macs, [("a", Some("02:42:ac:11:00:02")), ("b", None)]);
    let endpoints = |lines: &str| body(lines)["NetworkingConfig"]["EndpointsConfig"].clone();
    let with = json!({"MacAddress": "02:42:ac:11:00:02"});
    assert_eq!(endpoints("mac_address: 02:42:ac:11:00:02"), json!({"bridge": with}));
    assert_eq!(endpoints("mac_address: 02:42:ac:11:00:02\nnetwork_mode: front"), json!({"front": with}));
}

#[test]
fn the_network_with_the_highest_priority_is_the_first_and_new_settings_need_a_new_engine() {
    let service = service(
        "networks: {a: , b: {priority: 5, gw_priority: 3}, c: {priority: 7, mac_address: 02:42:ac:11:00:02}, d: }",
    );
    let names: Vec<_> = service.networks.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["c", "b", "a", "d"]);
    assert_eq!(service.networks[1].1.gw_priority, Some(3));
    assert_eq!(service.needs, [("networks.*.mac_address", (1, 44)), ("networks.*.gw_priority", (1, 48))]);
}

#[test]
fn gpus_and_reserved_devices_are_requested_beside_each_other_in_whichever_order_they_stand() {
    let (gpus, deploy) =
        ("gpus: all", "deploy: {resources: {reservations: {devices: [{capabilities: [tpu], count: 1}]}}}");
    let wanted = json!([{"Count": 1, "Capabilities": [["tpu"]]}, {"Count": -1, "Capabilities": [["gpu"]]}]);
    for lines in [format!("{gpus}\n{deploy}"), format!("{deploy}\n{gpus}")] {
        assert_eq!(body(&lines)["HostConfig"]["DeviceRequests"], wanted, "{lines}");
    }
}

#[test]
fn a_variable_without_a_value_comes_from_the_hook_and_secrets_are_hidden_by_name() {
    let all = service("environment: [HOSTED, NOWHERE, DB_PASSWORD=hunter2, LEVEL=info]").environment;
    let shown: Vec<_> = all
        .iter()
        .map(|var| (var.name.as_str(), var.value.as_ref().map(|value| value.reveal()), var.is_hidden()))
        .collect();
    assert_eq!(
        shown,
        [
            ("HOSTED", Some("yes"), false),
            ("NOWHERE", None, false),
            ("DB_PASSWORD", Some("hunter2"), true),
            ("LEVEL", Some("info"), false)
        ]
    );
    assert!(!format!("{all:?}").contains("hunter2"));
}

#[test]
fn env_files_lie_in_the_bundle_on_the_host_or_in_s3() {
    let files = service(
        "env_file: [web.env, /etc/web.env, 's3://conf/web.env', {path: raw.env, format: raw, required: false}]",
    )
    .env_file;
    let shown: Vec<_> = files.iter().map(|file| (file.location.to_string(), file.required, file.raw)).collect();
    assert_eq!(
        shown,
        [
            ("/bundle/web.env".to_owned(), true, false),
            ("/etc/web.env".to_owned(), true, false),
            ("s3://conf/web.env".to_owned(), true, false),
            ("/bundle/raw.env".to_owned(), false, true),
        ]
    );
}

proptest! {
    #[test]
    fn no_value_of_any_key_makes_it_panic(key in proptest::sample::select(keys()), value in "[\\[\\]{}:,'\"a-z0-9/. $-]{0,40}") {
        if let Ok(node) = Node::parse(&format!("{key}: {value}")) {
            let problems = Problems::new();
            let around = ParseContext { bundle_root: Path::new("/b"), lookup: &|_| None, pending: &Pending::default(), secrets: &Definitions::new() };
            parse(&node, "c", &around, &problems);
        }
    }

    #[test]
    fn a_published_port_in_short_syntax_is_the_same_in_long_syntax(host in 1u16.., target in 1u16.., udp: bool) {
        let protocol = if udp { "udp" } else { "tcp" };
        let short = service(&format!("ports: ['{host}:{target}/{protocol}']"));
        let long = service(&format!("ports: [{{target: {target}, published: {host}, protocol: {protocol}}}]"));
        prop_assert_eq!(short, long);
    }
}
