//! The Compose specification's own values, read by Compose and by us: `docker compose config` prints what it made of them in
//! the long syntax, and that must mean the same to us as the original.
//!
//! Values: compose-go's test data (loader, dotenv, interpolation), Apache-2.0.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use balehook::config::env_file;
use balehook::config::interpolate::interpolate;
use balehook::config::pending::Pending;
use balehook::config::problem::Problems;
use balehook::config::service::{ParseContext, parse};
use balehook::config::yaml::Node;
use balehook::modes::create::container_options;
use serde_json::{Value, json};

const COMPOSE: &str = "target/tools/compose-2.40/usr/libexec/docker/cli-plugins/docker-compose";

/// One service each, in short syntax where there is one. Networks of the same priority stand in the order of their names: the
/// first is the first for us, Compose sorts them.
const SAME: &[&str] = &[
    "annotations: [com.example.foo=bar]",
    "blkio_config: {weight: 300, weight_device: [{path: /dev/sda, weight: 400}], device_read_bps: [{path: /dev/sdb, rate: 12mb}], device_write_iops: [{path: /dev/sdb, rate: 30}]}",
    "cap_add: [ALL]\ncap_drop: [NET_ADMIN, SYS_ADMIN]",
    "cgroup: private\ncgroup_parent: m-executor-abcd",
    "command: bundle exec thin -p 3000",
    "command: 'echo \"hello world\" ''a b'' c\\ d'",
    "command: [bundle, exec, '']",
    "command: ''",
    "command: []",
    "cpu_period: 100000\ncpu_quota: 50000",
    "cpu_rt_runtime: 400000\ncpu_rt_period: 1400000",
    "cpu_shares: 73\ncpuset: 0,1",
    "cpus: '0.001'",
    "deploy: {resources: {limits: {cpus: '0.001', memory: 50M, pids: 100}, reservations: {cpus: '0.0001', memory: 20M}}}",
    "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], driver: nvidia, device_ids: ['0', '3']}]}}}",
    "deploy: {resources: {reservations: {devices: [{capabilities: [gpu, tpu], count: all, options: {a: b}}]}}}",
    "device_cgroup_rules: ['c 1:3 mr', 'a 7:* rmw']",
    "devices: ['/dev/ttyUSB0:/dev/ttyUSB0', '/dev/a:/dev/b:r', /dev/c]",
    "dns: 8.8.8.8\ndns_search: example.com\ndns_opt: [use-vc, no-tld-query]",
    "dns: [8.8.8.8, 9.9.9.9]\ndns_search: [dc1.example.com, dc2.example.com]",
    "domainname: foo.com\nhostname: foo",
    "entrypoint: [/code/entrypoint.sh, -p, '3000']",
    "entrypoint: /code/entrypoint.sh -p 3000",
    "environment: [RACK_ENV=development, SHOW=true, SESSION_SECRET, EMPTY=, EQUALS=a=b]",
    "environment: {RACK_ENV: development, SHOW: 'true', NUMBER: 5, FLOAT: 1.5, SESSION_SECRET: , EMPTY: '', HOSTED: }",
    "environment: {A: $EMPTY, B: '$EMPTY', C: $UNSET, D: '${UNSET}', E: '${EMPTY:-d}', F: '${EMPTY-d}', G: '${HOSTED:+set}'}",
    "environment: ['A=$EMPTY', 'B=${UNSET}', 'C=$$HOSTED', 'D=5$', 'E=a$1b', 'F=$ x', 'G=${HOSTED}s']",
    "environment: {A: '${UNSET:-${HOSTED}}', B: '${HOSTED:?needed}', C: '${UNSET:-a:b}', D: '${UNSET-}', E: '${EMPTY:+x}'}",
    "expose: ['3000', 8000, 53/udp]",
    "extra_hosts: ['otherhost:50.31.209.229', 'somehost:162.242.195.82']",
    "extra_hosts: {somehost: 162.242.195.82, otherhost: [50.31.209.229, 50.31.209.230]}",
    "extra_hosts: ['myhost=[::1]', 'gw=host-gateway']",
    "gpus: all",
    "gpus: [{driver: nvidia, count: 2}]",
    "gpus: all\ndeploy: {resources: {reservations: {devices: [{capabilities: [tpu], count: 1}]}}}",
    "group_add: [mail, '1000']",
    "healthcheck: {test: 'echo \"hello world\"', interval: 10s, timeout: 1s, retries: 5, start_period: 15s, start_interval: 5s}",
    "healthcheck: {test: [CMD, curl, -f, http://localhost], interval: 1m30s, timeout: 500ms}",
    "healthcheck: {test: [NONE]}",
    "healthcheck: {disable: true}",
    "init: true\nipc: host\npid: host\nuts: host\nuserns_mode: host",
    "labels: {com.example.description: Accounting webapp, com.example.number: 42, com.example.empty-label: }",
    "labels: [com.example.number=42, com.example.empty-label]",
    "logging: {driver: syslog, options: {syslog-address: 'tcp://192.168.0.42:123'}}",
    "mac_address: 02:42:ac:11:65:43",
    "mem_limit: 50M\nmem_reservation: 20M\nmemswap_limit: 1gb\nmem_swappiness: 60\nshm_size: 64M",
    "mem_limit: 300000kb\nshm_size: 2gb",
    "mem_limit: 50M\ndeploy: {resources: {limits: {memory: '52428800'}}}",
    "mem_limit: 50M\nmemswap_limit: -1",
    "network_mode: host",
    "network_mode: none",
    "network_mode: container:0cfeab0f748b",
    "networks: [back, front]",
    "networks: {back: {ipv4_address: 172.16.238.10, ipv6_address: '2001:3984:3989::10'}, front: {aliases: [alias1, alias3]}}",
    "networks: {front: {mac_address: '02:42:72:98:65:08', priority: 5, gw_priority: 7}, back: {link_local_ips: [57.123.22.11], driver_opts: {a: b}}}",
    "networks: {back: {priority: 10}, front: }\nmac_address: 02:42:ac:11:65:43",
    "oom_kill_disable: true\noom_score_adj: -500\npids_limit: 100",
    "platform: linux/arm64",
    "ports: [3000, '3001-3005', '8000:8000', '9090-9091:8080-8081', '49100:22', '127.0.0.1:8001:8001', '127.0.0.1:5000-5010:5000-5010']",
    "ports: ['6060:6060/udp', '[::1]:6001:6001', '127.0.0.1::80', '8080-8090:80']",
    "ports: [{target: 80, published: '8080', protocol: udp, host_ip: 127.0.0.1, mode: host}, {target: 81}]",
    "privileged: true\nread_only: true\nstdin_open: true\ntty: true",
    "restart: always",
    "restart: 'no'",
    "restart: on-failure:5",
    "restart: unless-stopped\nruntime: runc",
    "security_opt: ['label=level:s0:c100,c200', 'label:type:svirt_apache_t', no-new-privileges:true]",
    "stop_grace_period: 20s\nstop_signal: SIGUSR1",
    "stop_grace_period: 1m30s",
    "storage_opt: {size: 1G}",
    "sysctls: {net.core.somaxconn: 1024, net.ipv4.tcp_syncookies: 0}",
    "sysctls: [net.core.somaxconn=1024, net.ipv4.tcp_syncookies=0]",
    "tmpfs: /run",
    "tmpfs: [/run, '/tmp:size=64m,mode=1777']",
    "ulimits: {nproc: 65535, nofile: {soft: 20000, hard: 40000}}",
    "user: someone\nworking_dir: /code",
    "volumes: [/var/lib/anonymous, '/opt/data:/var/lib/data', '/home/configs:/etc/configs:ro', 'data:/var/lib/volume']",
    "volumes: ['/opt/a:/a:z', '/opt/b:/b:rw,rslave', 'data:/c:nocopy', 'data:/d:ro']",
    "volumes: [{type: bind, source: /opt, target: /opt/cached, consistency: cached}, {type: tmpfs, target: /t, tmpfs: {size: 10000}}]",
    "volumes: [{type: volume, source: data, target: /d, read_only: true, volume: {nocopy: true}}, {type: bind, source: /s, target: /s, bind: {propagation: rshared}}]",
];

/// What both refuse.
const REFUSED: &[&str] = &[
    "environment: {A: '${B'}",
    "environment: {A: '${1}'}",
    "environment: {A: '${UNSET:?needed}'}",
    "environment: {A: [x]}",
    "ports: ['80:99999']",
    "ports: ['8000-8002:80-81']",
    "ports: ['80:80/icmp']",
    "networks: {front: {nope: 1}}",
    "network_mode: host\nnetworks: [front]",
    "mem_limit: 12x",
    "mem_limit: 50M\ndeploy: {resources: {limits: {memory: 60M}}}",
    "cpus: 1\ndeploy: {resources: {limits: {cpus: 2}}}",
    "pids_limit: 10\ndeploy: {resources: {limits: {pids: 11}}}",
    "mem_reservation: 20M\ndeploy: {resources: {reservations: {memory: 30M}}}",
    "deploy: {resources: {reservations: {devices: [{driver: nvidia}]}}}",
    "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 1, device_ids: ['0']}]}}}",
    "healthcheck: {interval: ten}",
    "privileged: maybe",
    "ulimits: {nofile: many}",
    "unknown: 1",
];

/// What Compose takes and we refuse, because the engine refuses it when the old container is stopped already, or because
/// it would mean nothing.
const REFUSED_BY_US: &[&str] = &[
    "mem_limit: 512",
    "security_opt: [nonsense]",
    "network_mode: none\nmac_address: 02:42:ac:11:65:43",
    "networks: {front: {mac_address: '02:42:ac:11:65:44'}}\nmac_address: 02:42:ac:11:65:43",
    "volumes: ['./data:/data']",
];

/// One env file each.
const ENV_FILES: &[&str] = &[
    "OPTION_A=1\nOPTION_B=2\nOPTION_C= 3\nOPTION_D =4\nOPTION_E = 5\nOPTION_F = \nOPTION_G=\n",
    "OPTION_A='1'\nOPTION_B='2'\nOPTION_C=''\nOPTION_D='\\n'\nOPTION_E=\"1\"\nOPTION_F=\"2\"\nOPTION_G=\"\"\nOPTION_H=\"\\n\"\nOPTION_I = \"echo 'asd'\"\nOPTION_J='first line\nsecond line\nthird line\nand so on'\nOPTION_Z=\"last value\"\n",
    "export OPTION_A=2\nexport OPTION_B='\\n'\nexportFOO=2\nexport_FOO =2\nexport.FOO= 2\nexport\tOPTION_C=2\n  export OPTION_D=2\n",
    "OPTION_A=postgres://localhost:5432/database?sslmode=disable\nFOO=foobar=\nOPTION_B=1:B\n",
    "OPTION_A: 1\nOPTION_B: '2'\nOPTION_C: ''\nOPTION_D: '\\n'\nOPTION_E: Foo=bar\n",
    "OPTION_A=some quoted phrase\nOPTION_B=first one with an unquoted phrase\nOPTION_C=special \u{e8} char\n",
    "OPTION_A=1\nOPTION_B=${OPTION_A}\nOPTION_C=$OPTION_B\nOPTION_D=${OPTION_A}${OPTION_B}\nOPTION_E=${OPTION_NOT_DEFINED}\n",
    "FOO=test\nBAR=$FOO\nBAZ=\"quote $FOO\"\nQUX='quote $FOO'\nESC=\"foo\\$BAR\"\nBRACE=\"foo\\${FOO} ${FOO}\"\n",
    "A=${UNSET:-d}\nB=${UNSET-d}\nC=${HOSTED:+set}\nD=${EMPTY:-e}\nE=${EMPTY-e}\n",
    "FOO=bar # this is foo\nA=\"bar#baz\" # comment\nB='bar#baz' # comment\nC=bar#baz\nD= #x\nE=#x\n# F=1\n\t # G=1\n",
    "FOO=\"escaped\\\"bar\"\nA=\"'d'\"\nB='a\"b'\nC=a\"b\"c\nD=a'b'c\nE='it\\'s'\n",
    "FOO=\"bar\\nbaz\"\nA=\"bar\\\\n\\ b\\az\"\nB=\"bar\\\\\\n\\ b\\az\"\nC=\"\\t|\\r|\\f|\\v|\\b\"\nD=\"\\q\\d\\x41\\'\"\nE=\"a\\\\\"\nF='a\\\\'\nG=a\\nb\n",
    "A=\"\\0123\\0377\"\nB=\"\\\\$HOSTED\"\nC=\"\\\\\\$HOSTED\"\n",
    "A=pa$word\nB=pa$$word\nC=$1\nD=5$\nE=\"a$ b\"\nF=$(x)\n",
    "FOO.BAR=foobar\na[1]=c\na-b=c\n\u{e1}rv=T\u{dc}\n",
    "A=1\r\nB=\"2\"\r\nC='3'\r\n",
    "\u{feff}A=1\n",
    "TEST_URLS=\"stratum+tcp://stratum.antpool.com:3333\nstratum+tcp://stratum.antpool.com:443\"\nA=after\n",
    "A=1\nA=2\nHOSTED=no\nB=$HOSTED\n",
];

/// Env files that both refuse.
const BAD_ENV_FILES: &[&str] =
    &["A B=1\n", "A=\"x\n", "A='x\n", "A=${x y}\n", "A=\"${X\"\n", "A=${UNSET:?needed}\n", "A=${1}\n"];

fn hosted(name: &str) -> Option<String> {
    [("HOSTED", "yes"), ("EMPTY", "")].into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}

/// What `docker compose config` makes of some services, or its words where it refuses them.
fn compose(folder: &Path, services: &[String]) -> Result<BTreeMap<String, Value>, String> {
    let indented = |lines: &String| lines.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let each = services.iter().enumerate();
    let services: String = each.map(|(at, lines)| format!("  c{at}:\n    image: x\n{}", indented(lines))).collect();
    let text = format!("services:\n{services}networks: {{front: , back: }}\nvolumes: {{data: }}\n");
    std::fs::write(folder.join("compose.yml"), text).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(COMPOSE);
    let mut command = Command::new(&program);
    command.args(["--project-name", "p", "config", "--format", "json"]).current_dir(folder);
    let ended = command.env_clear().env("HOSTED", "yes").env("EMPTY", "").env("HOME", folder).output();
    let ended = ended.unwrap_or_else(|error| panic!("{}: {error}: run `make setup`", program.display()));
    if !ended.status.success() {
        return Err(String::from_utf8_lossy(&ended.stderr).into_owned());
    }
    let mut printed: Value = serde_json::from_slice(&ended.stdout).unwrap();
    Ok(serde_json::from_value(printed["services"].take()).unwrap())
}

/// What we make of a service, in a form that does not depend on the syntax; or its problems.
fn ours(lines: &str) -> Result<Value, String> {
    let (mut node, problems) = (Node::parse(lines).unwrap(), Problems::new());
    interpolate(&mut node, "c", &hosted, &problems);
    let (pending, secrets) = (Pending::default(), Default::default());
    let bundle_root = Path::new("/bundle");
    let around = ParseContext { bundle_root, lookup: &hosted, pending: &pending, secrets: &secrets };
    let service = parse(&node, "c", &around, &problems);
    if problems.has_errors() {
        return Err(format!("{problems:?}"));
    }
    let mut options = serde_json::to_value(container_options(&service, None)).unwrap();
    with_mounts(&mut options["body"]);
    let hosts = options["body"]["HostConfig"]["ExtraHosts"].as_array_mut();
    hosts.into_iter().for_each(|hosts| hosts.sort_by_key(Value::to_string));
    let mut variables: Vec<_> =
        service.environment.iter().map(|var| (&var.name, var.value.as_ref().map(|value| value.reveal()))).collect();
    variables.sort();
    let mut needs = service.needs.clone();
    needs.sort();
    Ok(json!([options, variables, needs]))
}

/// A named or anonymous volume is the same as a bind and as a mount.
fn with_mounts(body: &mut Value) {
    let mut mounts: Vec<Value> = body["HostConfig"]["Mounts"].as_array().cloned().unwrap_or_default();
    let anonymous = body["Volumes"].as_object().cloned().unwrap_or_default();
    mounts.extend(anonymous.keys().map(|target| json!({"Type": "volume", "Target": target})));
    let binds = body["HostConfig"]["Binds"].as_array().cloned().unwrap_or_default();
    let (paths, volumes): (Vec<Value>, Vec<Value>) =
        binds.into_iter().partition(|bind| bind.as_str().unwrap().starts_with('/'));
    mounts.extend(volumes.iter().map(|bind| {
        let parts: Vec<&str> = bind.as_str().unwrap().split(':').collect();
        let has = |mode: &str| parts.get(2).is_some_and(|modes| modes.split(',').any(|known| known == mode));
        let mut mount = json!({"Type": "volume", "Source": parts[0], "Target": parts[1]});
        if has("ro") {
            mount["ReadOnly"] = true.into();
        }
        if has("nocopy") {
            mount["VolumeOptions"] = json!({"NoCopy": true});
        }
        mount
    }));
    for mount in &mut mounts {
        let mount = mount.as_object_mut().unwrap();
        mount.retain(|key, value| !(value.is_null() || key == "VolumeOptions" && *value == json!({})));
    }
    mounts.sort_by_key(|mount| mount["Target"].as_str().unwrap().to_owned());
    let without_rw = |bind: Value| Value::from(bind.as_str().unwrap().replace(":rw,", ":"));
    body["HostConfig"]["Binds"] = paths.into_iter().map(without_rw).collect();
    body["HostConfig"]["Mounts"] = mounts.into();
    body["Volumes"] = Value::Null;
}

/// Compose's long form as a service of ours: without what it adds for a project.
fn as_lines(mut service: Value) -> String {
    let entries = service.as_object_mut().unwrap();
    entries.remove("image");
    entries.retain(|key, value| !(value.is_null() || key == "networks" && *value == json!({"default": null})));
    if let Some(deploy) = entries.get_mut("deploy") {
        deploy.as_object_mut().unwrap().remove("placement");
    }
    // Compose prints these members of `blkio_config` as its own program calls them.
    let text = service.to_string();
    ["Path", "Rate", "Weight"]
        .iter()
        .fold(text, |text, name| text.replace(&format!("\"{name}\":"), &format!("\"{}\":", name.to_lowercase())))
}

#[test]
fn every_option_means_the_same_to_us_as_to_compose() {
    let folder = tempfile::tempdir().unwrap();
    let services: Vec<String> = SAME.iter().map(|lines| (*lines).to_owned()).collect();
    let mut printed = compose(folder.path(), &services).unwrap();
    let mut different = Vec::new();
    for (at, lines) in SAME.iter().enumerate() {
        let long = as_lines(printed.remove(&format!("c{at}")).unwrap());
        let (short, long_form) = (ours(lines), ours(&long));
        if short.is_err() || short != long_form {
            different.push(format!("{lines}\n  ours:    {short:?}\n  compose: {long}\n           {long_form:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn what_compose_refuses_is_refused_and_what_we_refuse_beyond_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    for lines in REFUSED {
        assert!(compose(folder.path(), &[(*lines).to_owned()]).is_err(), "Compose takes {lines}");
        assert!(ours(lines).is_err(), "we take {lines}");
    }
    for lines in REFUSED_BY_US {
        assert!(compose(folder.path(), &[(*lines).to_owned()]).is_ok(), "Compose refuses {lines}");
        assert!(ours(lines).is_err(), "we take {lines}");
    }
}

#[test]
fn an_env_file_holds_the_same_variables_for_us_as_for_compose() {
    let folder = tempfile::tempdir().unwrap();
    let write = |at: usize, text: &str| std::fs::write(folder.path().join(format!("f{at}.env")), text).unwrap();
    let of = |at: usize| format!("env_file: f{at}.env");
    ENV_FILES.iter().enumerate().for_each(|(at, text)| write(at, text));
    let services: Vec<String> = (0..ENV_FILES.len()).map(of).collect();
    let printed = compose(folder.path(), &services).unwrap();
    let mut different = Vec::new();
    for (at, text) in ENV_FILES.iter().enumerate() {
        let read = env_file::read("f", text, false, &hosted).map(|read| {
            let each = read.variables.into_iter();
            each.map(|var| (var.name, var.value.unwrap().reveal().to_owned())).collect::<BTreeMap<_, _>>()
        });
        let theirs: BTreeMap<String, String> =
            serde_json::from_value(printed[&format!("c{at}")]["environment"].clone()).unwrap();
        let theirs: BTreeMap<_, _> = theirs.into_iter().map(|(name, value)| (name, value.replace("$$", "$"))).collect();
        if read.as_ref().ok() != Some(&theirs) {
            different.push(format!("{text}\n  ours:    {read:?}\n  compose: {theirs:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    for (at, text) in BAD_ENV_FILES.iter().enumerate() {
        write(at, text);
        assert!(compose(folder.path(), &[of(at)]).is_err(), "Compose takes {text}");
        assert!(env_file::read("f", text, false, &hosted).is_err(), "we take {text}");
    }
}
