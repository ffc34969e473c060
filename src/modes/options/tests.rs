//! What is printed of a request, and how two requests differ.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::json;

use super::*;
use crate::config::pending::Pending;
use crate::config::problem::Problems;
use crate::config::secrets::Definitions;
use crate::config::service::{ParseContext, Service, keys, parse};
use crate::config::yaml::Node;
use crate::engine::request::ContainerOptions;
use crate::modes::create::container_options;
use crate::values::options::changes;
use crate::values::pin::ImagePin;
use crate::values::secret_file::SecretSource;
use crate::values::types::Secret;

fn container(body: Value) -> ContainerSpec {
    let image = ImagePin::Unknown { wanted: "web".into() };
    let mut spec = ContainerSpec {
        name: "web".into(),
        image,
        options: Default::default(),
        environment: Vec::new(),
        if_declared: Vec::new(),
        secrets: None,
    };
    spec.options.body = serde_json::from_value(body).unwrap();
    spec
}

fn shown(options: &[SetOption]) -> Vec<String> {
    options.iter().map(|SetOption { name, value, .. }| format!("{name}={value}")).collect()
}

/// All but the image, which is always given.
fn given(options: &[SetOption]) -> Vec<String> {
    let (image, others): (Vec<_>, Vec<_>) = shown(options).into_iter().partition(|option| option == "image=web");
    assert_eq!(image.len(), 1, "{others:?}");
    others
}

fn of_body(body: Value) -> Vec<String> {
    given(&of_container(&container(body)))
}

fn of_spec(spec: Value) -> Vec<String> {
    given(&of_service(&spec, "web", &[], None))
}

#[test]
fn what_has_no_name_here_is_printed_by_the_apis_own() {
    assert_eq!(
        of_spec(
            json!({ "TaskTemplate": { "ContainerSpec": { "NewThing": { "SomeLimit": 0, "Names": ["a", "b"] } } } })
        ),
        ["new_thing.names=a", "new_thing.names=b", "new_thing.some_limit=0"]
    );
    assert_eq!(of_spec(json!({ "Whole": { "Kind": [] } })), ["whole.kind=[]"]);
}

#[test]
fn zero_false_and_nothing_are_printed_where_they_are_given() {
    assert_eq!(
        of_body(json!({ "Hostname": "", "Tty": false, "Entrypoint": [], "Cmd": [""],
            "HostConfig": { "MemorySwappiness": 0, "Binds": [], "Memory": 0, "MemorySwap": -1 } })),
        [
            "command=''", "entrypoint=[]", "hostname=\"\"", "mem_limit=0", "mem_swappiness=0", "memswap_limit=-1",
            "tty=false", "volumes=[]"
        ]
    );
}

#[test]
fn keys_of_the_users_own_choice_are_never_taken_for_the_apis() {
    let labels = json!({ "Cmd": "a", "NanoCPUs": "1", "SomeThing": "", "Delay": "5" });
    let printed = ["labels.Cmd=a", "labels.Delay=5", "labels.NanoCPUs=1", "labels.SomeThing=\"\""];
    assert_eq!(of_body(json!({ "Labels": labels })), printed);
    assert_eq!(of_spec(json!({ "TaskTemplate": { "ContainerSpec": { "Labels": labels } } })), printed);
    let volume = json!([{ "Type": "volume", "VolumeOptions": { "Labels": { "SomeThing": "x" }, "NoCopy": true } }]);
    assert_eq!(
        of_body(json!({ "HostConfig": { "Mounts": volume } })),
        ["volumes=type=volume,volume_options.labels.SomeThing=x,volume_options.no_copy=true"]
    );
}

#[test]
fn a_value_that_would_break_the_line_is_quoted_and_a_hidden_one_is_not_printed() {
    let var =
        |name: &str, value: Option<&str>, hidden| EnvVar { name: name.into(), value: value.map(Secret::new), hidden };
    let mut spec = container(json!({ "Cmd": ["sh", "-c", "echo 'a'\nexit"] }));
    spec.environment =
        vec![var("KEY", Some("hunter2"), true), var("LINES", Some("a\nb"), false), var("NONE", None, true)];
    assert_eq!(
        given(&of_container(&spec)),
        [
            r#"command="sh -c \"echo 'a'\nexit\"""#,
            "environment.KEY=***",
            r#"environment.LINES="a\nb""#,
            "environment.NONE=not set"
        ]
    );
}

#[test]
fn a_published_port_and_a_network_are_printed_once_also_where_the_engine_takes_one_network_at_a_time() {
    let mut spec = container(json!({ "ExposedPorts": { "80/tcp": {}, "81/udp": {} },
        "HostConfig": { "NetworkMode": "front", "PortBindings": { "80/tcp": [{ "HostIp": "::1", "HostPort": "8080" }] } },
        "NetworkingConfig": { "EndpointsConfig": { "front": { "Aliases": ["www"] } } } }));
    spec.options.extra_networks = vec![("back".into(), Default::default())];
    spec.options.platform = Some("linux/arm64".into());
    assert_eq!(
        given(&of_container(&spec)),
        [
            "expose=81/udp", "networks.back={}", "networks.front.aliases=www", "platform=linux/arm64",
            "ports=[::1]:8080:80"
        ]
    );
    assert_eq!(of_body(json!({ "HostConfig": { "NetworkMode": "host" } })), ["network_mode=host"]);
}

#[test]
fn values_of_a_swarm_read_as_in_a_compose_file() {
    let port = |published: u32, protocol: &str, mode: &str| json!({ "PublishedPort": published, "TargetPort": 80, "Protocol": protocol, "PublishMode": mode });
    let printed = of_spec(json!({
        "Mode": { "Global": {} },
        "EndpointSpec": { "Ports": [port(8080, "tcp", "ingress"), port(53, "udp", "host")] },
        "TaskTemplate": {
            "ContainerSpec": {
                "Ulimits": [{ "Name": "core", "Soft": 0, "Hard": 10 }],
                "DNSConfig": { "Nameservers": ["10.0.0.1"], "Options": ["ndots:1"] },
                "Healthcheck": { "Test": ["CMD-SHELL", "exit 0"], "StartPeriod": 1_500_000_000 },
            },
            "Placement": { "Platforms": [{ "OS": "linux", "Architecture": "arm64" }] },
            "Resources": { "Limits": { "NanoCPUs": 1_500_000_000, "MemoryBytes": 1_000_000 },
                "Reservations": { "GenericResources": [{ "DiscreteResourceSpec": { "Kind": "gpu", "Value": 2 } }] } },
        },
    }));
    assert_eq!(
        printed,
        [
            "deploy.mode=global",
            "deploy.resources.limits.cpus=1.5",
            "deploy.resources.limits.memory=1000000",
            "deploy.resources.reservations.generic_resources=gpu=2",
            "dns=10.0.0.1",
            "dns_opt=ndots:1",
            "healthcheck.start_period=1.5s",
            "healthcheck.test=CMD-SHELL 'exit 0'",
            "platform=linux/arm64",
            "ports=8080:80",
            "ports=published=53,target=80,protocol=udp,mode=host",
            "ulimits.core.hard=10",
            "ulimits.core.soft=0"
        ]
    );
}

#[test]
fn what_looks_like_a_secret_is_hidden_wherever_the_users_own_words_stand() {
    let body = json!({
        "Cmd": ["serve", "--password=hunter2", "--db-password", "hunter2", "redis://:hunter2@h"],
        "Labels": { "app.token": "hunter2", "app.url": "http://u:hunter2@h/", "app.name": "web", "balehook.spec": "sha256:12" },
        "Healthcheck": { "Test": ["CMD-SHELL", "curl -H 'Authorization: Basic hunter2' http://h"] },
        "HostConfig": {
            "Binds": ["/etc/secrets/token:/run/token"],
            "LogConfig": { "Type": "splunk", "Config": { "splunk-token": "hunter2", "splunk-url": "https://s" } },
        },
    });
    let shown = of_body(body.clone());
    assert_eq!(
        shown,
        [
            "command=serve '--password=***' --db-password '***' 'redis://:***@h'",
            "healthcheck.test=CMD-SHELL \"curl -H 'Authorization:***' http://h\"",
            "labels.app.name=web",
            "labels.app.token=***",
            "labels.app.url=http://u:***@h/",
            "labels.balehook.spec=sha256:12",
            "logging.driver=splunk",
            "logging.options.splunk-token=***",
            "logging.options.splunk-url=https://s",
            "volumes=/etc/secrets/token:/run/token",
        ]
    );
    let options = of_container(&container(body));
    assert!(!format!("{options:?}").contains("hunter"));
    let printed: Vec<_> = options.iter().map(|option| option.printed(true)).collect();
    assert_eq!(printed.iter().filter(|value| value.contains("hunter2")).count(), 5);
}

#[test]
fn a_hidden_value_of_a_label_that_is_another_one_is_a_change() {
    let with = |token: &str| of_container(&container(json!({ "Labels": { "token": token } })));
    let changes = crate::values::options::changes(&with("hunter1"), &with("hunter2"));
    let changes: Vec<_> = changes.iter().map(|it| (&*it.name, &it.was, &it.becomes, it.is_sensitive)).collect();
    assert_eq!(changes, [("labels.token", &None, &None, true)]);
}

#[track_caller]
fn service(lines: &str) -> Service {
    let (node, problems) = (Node::parse(lines).unwrap(), Problems::new());
    let around = ParseContext {
        bundle_root: Path::new("/bundle"),
        lookup: &|_| None,
        pending: &Pending::default(),
        secrets: &Definitions::new(),
    };
    let service = parse(&node, "c", &around, &problems);
    assert!(problems.is_empty(), "{lines}: {problems:?}");
    service
}

#[test]
fn the_engine_is_given_a_seccomp_profiles_content_and_the_plan_shows_its_digest() {
    let service =
        service("security_opt: [label=disable, seccomp=sec/s.json, seccomp=unconfined, systempaths=unconfined]");
    let store = crate::deploy::state::Store::new(Path::new("/nowhere"), &"web".parse().unwrap());
    let mut facts = crate::modes::facts::Facts::unseen(&store);
    facts.container.seccomp = vec![("/bundle/sec/s.json".into(), r#"{"a":1}"#.into())];
    let options = crate::modes::create::options(&service, &facts);
    let host = options.body.host_config.clone().unwrap();
    assert_eq!(host.security_opt.unwrap(), ["label=disable", r#"seccomp={"a":1}"#, "seccomp=unconfined"]);
    assert_eq!((host.masked_paths, host.readonly_paths), (Some(Vec::new()), Some(Vec::new())));
    let image = ImagePin::Unknown { wanted: "i".into() };
    let shown = of_container(&ContainerSpec {
        name: "c".into(),
        image,
        options,
        environment: Vec::new(),
        if_declared: Vec::new(),
        secrets: None,
    });
    let shown: Vec<_> = shown.iter().filter(|it| it.name == "security_opt").map(|it| it.value.as_str()).collect();
    assert_eq!(shown, ["label=disable", "seccomp=(profile 015abd7f5cc5)", "seccomp=unconfined"]);
}

#[test]
fn an_engine_that_takes_one_network_gets_the_others_afterwards() {
    let service = service("networks: {a: {ipv4_address: 10.1.0.5}, b: {aliases: [x]}}");
    let count = |options: &ContainerOptions| {
        let endpoints = options.body.networking_config.as_ref().unwrap().endpoints_config.as_ref().unwrap().len();
        (endpoints, options.extra_networks.len())
    };
    assert_eq!(count(&container_options(&service, Some((1, 41)))), (1, 1));
    assert_eq!(count(&container_options(&service, Some((1, 44)))), (2, 0));
}

/// One line for each key, of values that differ from the engine's default.
const EVERY_OPTION: &[&str] = &[
    "annotations: {a: b}",
    "blkio_config: {weight: 300}",
    "cap_add: [NET_ADMIN]",
    "cap_drop: [ALL]",
    "cgroup: private",
    "cgroup_parent: /x",
    "command: [a]",
    "cpu_period: 100000",
    "cpu_quota: 50000",
    "cpu_rt_period: 1000",
    "cpu_rt_runtime: 900",
    "cpu_shares: 3",
    "cpus: 2",
    "cpuset: '0'",
    "device_cgroup_rules: ['c 1:3 r']",
    "devices: [/dev/null]",
    "dns: [10.0.0.1]",
    "dns_opt: [a]",
    "dns_search: [b]",
    "domainname: d",
    "entrypoint: [e]",
    "environment: {A: b}",
    "expose: ['81']",
    "extra_hosts: ['a=10.0.0.1']",
    "gpus: all",
    "group_add: ['5']",
    "healthcheck: {test: [CMD, x]}",
    "healthcheck: {test: x}",
    "healthcheck: {interval: 7s}",
    "healthcheck: {retries: 9}",
    "hostname: h",
    "init: true",
    "ipc: host",
    "labels: {a: b}",
    "logging: {driver: none}",
    "logging: {options: {a: b}}",
    "mac_address: '02:42:ac:11:00:02'",
    "mem_limit: 9m",
    "mem_reservation: 8m",
    "mem_swappiness: 7",
    "mem_limit: 9m\nmemswap_limit: 10m",
    "network_mode: host",
    "networks: [n]",
    "networks: {n: {aliases: [q]}}",
    "networks: {n: {ipv4_address: 10.9.9.9}}",
    "oom_kill_disable: true",
    "oom_score_adj: 6",
    "pid: host",
    "pids_limit: 66",
    "platform: linux/arm64",
    "ports: ['80:80']",
    "ports: ['127.0.0.1:80:80']",
    "ports: ['80:80/udp']",
    "privileged: true",
    "read_only: true",
    "restart: always",
    "restart: on-failure:2",
    "runtime: r",
    "security_opt: [no-new-privileges]",
    "security_opt: [systempaths=unconfined]",
    "security_opt: [seccomp=s.json]",
    "shm_size: 1m",
    "stdin_open: true",
    "stop_grace_period: 9s",
    "stop_signal: SIGINT",
    "storage_opt: {size: 1G}",
    "sysctls: {a: 1}",
    "tmpfs: [/t]",
    "tty: true",
    "ulimits: {core: 1}",
    "user: u",
    "userns_mode: host",
    "uts: host",
    "volumes: ['/a:/b']",
    "volumes: [/anonymous]",
    "volumes: [{type: volume, source: vv, target: /v}]",
    "working_dir: /w",
];

#[test]
fn of_a_secret_the_plan_shows_where_it_comes_from_and_that_its_value_is_another_one() {
    let of = |digest: &str| {
        let mut spec = container(json!({}));
        let source = SecretSource::Bundle("conf/key".into());
        let (name, target) = ("key".into(), "/run/secrets/key".into());
        let file = SecretFile { name, target, uid: None, gid: None, mode: 0o400, source, digest: digest.into() };
        let (folder, image) = (format!("/run/balehook/secrets/web/{digest}"), spec.image.clone());
        spec.secrets = Some(SecretSet { folder, image, user: None, files: vec![file] });
        of_container(&spec)
    };
    assert_eq!(given(&of("d1")), ["secrets.key=/run/secrets/key of conf/key (mode 0400)"]);
    assert_eq!(changes(&of("d1"), &of("d1")), []);
    let changed = changes(&of("d1"), &of("d2"));
    let seen: Vec<_> = changed.iter().map(|change| (change.name.as_str(), change.is_sensitive)).collect();
    assert_eq!(seen, [("secrets.key", true)]);
    assert!(!format!("{changed:?}").contains("d1"), "not even a digest is printed: {changed:?}");
}

#[test]
fn no_option_is_forgotten_by_the_printed_plan() {
    let mut seen: Vec<(String, &str)> = Vec::new();
    for lines in EVERY_OPTION {
        let service = service(lines);
        let options = container_options(&service, None);
        let (image, environment) = (ImagePin::Unknown { wanted: "i".into() }, service.environment);
        let spec =
            ContainerSpec { name: "c".into(), image, options, environment, if_declared: Vec::new(), secrets: None };
        let line = format!("{:?}", of_container(&spec));
        if let Some((_, other)) = seen.iter().find(|(known, _)| *known == line) {
            panic!("`{lines}` prints as `{other}` does: {line}");
        }
        seen.push((line, lines));
    }
    let covered =
        |key: &&str| EVERY_OPTION.iter().any(|lines| lines.lines().any(|line| line.starts_with(&format!("{key}:"))));
    let elsewhere = ["image", "env_file", "update_config", "deploy", "secrets"];
    let missing: Vec<_> = keys().into_iter().filter(|key| !elsewhere.contains(key) && !covered(key)).collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
}
