//! Every option of `container:`, in Compose's syntax, as the engine has it in the end.

use serde_json::Value;

use crate::support::images::web;
use crate::support::{Bundle, world};

/// Deploys one container with these lines under `container:`, and looks at it.
struct Deployed {
    _bundle: Bundle,
    seen: Value,
}

impl Deployed {
    fn with(stem: &str, lines: &str) -> Self {
        let (world, name) = (world(), world().name(stem));
        let bundle =
            Bundle::container(&name, &format!("image: {{archive: image.tar}}\nstop_grace_period: 1s\n{lines}"), "");
        web(&format!("{name}:1"), "one").write_into(&bundle.path());
        bundle.hook("ApplicationStart").exits(0);
        let text = world.docker(&["inspect", &name]);
        let seen: Value = serde_json::from_str::<Value>(&text).unwrap()[0].clone();
        Self { _bundle: bundle, seen }
    }

    /// The value at a pointer, where the engine must have just this.
    #[track_caller]
    fn has(&self, pointer: &str, wanted: Value) -> &Self {
        let found = self.seen.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(*found, wanted, "{pointer}");
        self
    }
}

/// Creates a container with these lines without starting it.
fn created(stem: &str, lines: &str) -> Deployed {
    use balehook::engine::request::ContainerSpec;
    use balehook::modes::create;
    let (world, name) = (world(), world().name(stem));
    let bundle = Bundle::container(&name, &format!("image: {{archive: image.tar}}\n{lines}"), "");
    let (archive, id) = web(&format!("{name}:1"), "one").write_into(&bundle.path());
    world.docker(&["load", "--input", archive.to_str().unwrap()]);
    let text = balehook::config::appspec::read(&bundle.path()).unwrap();
    let (deployment, problems) = balehook::config::validate::validate(&text, &Default::default());
    let mode = deployment.unwrap_or_else(|| panic!("{problems:?}")).mode;
    let balehook::config::Mode::Container(container) = mode else { panic!("it is container mode") };
    let spec = ContainerSpec {
        name: name.clone(),
        image: balehook::values::pin::ImagePin::Unknown { wanted: id.clone() },
        options: create::container_options(&container.service, Some((1, 41))),
        environment: Vec::new(),
        if_declared: Vec::new(),
        secrets: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let engine = balehook::engine::Engine::connect(Some(&world.docker_host())).unwrap();
    runtime.block_on(engine.create(&spec, format!("{name}:1"))).unwrap();
    let seen: Value = serde_json::from_str::<Value>(&world.docker(&["inspect", &name])).unwrap()[0].clone();
    world.docker(&["rm", &name]);
    Deployed { _bundle: bundle, seen }
}

macro_rules! json {
    ($($all:tt)*) => { serde_json::json!($($all)*) };
}

#[test]
fn the_process_its_user_its_names_and_its_environment() {
    let world = world();
    world.docker(&["network", "create", "opt-a"]);
    world.docker(&["network", "create", "opt-b"]);
    let deployed = Deployed::with(
        "process",
        r#"command: "httpd -f -p 80 -h '/www'"
entrypoint: [/bin/busybox]
environment: {B: two, A: 1, EMPTY: ""}
user: "0:0"
working_dir: /www
hostname: host-1
domainname: example.test
extra_hosts: ["db=10.0.0.1", "gw:host-gateway"]
dns: [10.0.0.53, "10.0.0.54"]
dns_search: example.test
dns_opt: ["ndots:2"]
labels: {team: web, empty: }
stop_signal: SIGQUIT
init: true
tty: true
stdin_open: true
expose: ["9000", "9001-9002/udp"]
networks:
  opt-a: {aliases: [web-alias, other]}
  opt-b:"#,
    );
    deployed
        .has("/Config/Cmd", json!(["httpd", "-f", "-p", "80", "-h", "/www"]))
        .has("/Config/Entrypoint", json!(["/bin/busybox"]))
        .has("/Config/Env", json!(["B=two", "A=1", "EMPTY="]))
        .has("/Config/User", json!("0:0"))
        .has("/Config/WorkingDir", json!("/www"))
        .has("/Config/Hostname", json!("host-1"))
        .has("/Config/Domainname", json!("example.test"))
        .has("/HostConfig/ExtraHosts", json!(["db:10.0.0.1", "gw:host-gateway"]))
        .has("/HostConfig/Dns", json!(["10.0.0.53", "10.0.0.54"]))
        .has("/HostConfig/DnsSearch", json!(["example.test"]))
        .has("/HostConfig/DnsOptions", json!(["ndots:2"]))
        .has("/Config/Labels/team", json!("web"))
        .has("/Config/Labels/empty", json!(""))
        .has("/Config/StopSignal", json!("SIGQUIT"))
        .has("/Config/StopTimeout", json!(1))
        .has("/HostConfig/Init", json!(true))
        .has("/Config/Tty", json!(true))
        .has("/Config/OpenStdin", json!(true))
        .has("/Config/ExposedPorts", json!({"9000/tcp": {}, "9001/udp": {}, "9002/udp": {}}))
        .has("/HostConfig/NetworkMode", json!("opt-a"));
    let networks = deployed.seen.pointer("/NetworkSettings/Networks").unwrap();
    let aliases = networks["opt-a"]["Aliases"].as_array().unwrap();
    assert!(aliases.contains(&json!("web-alias")) && aliases.contains(&json!("other")), "{aliases:?}");
    assert!(
        networks.get("opt-b").is_some(),
        "the second network is connected too, on an engine that takes one at creation"
    );
}

#[test]
fn restart_logging_and_health() {
    Deployed::with(
        "policy",
        r#"restart: on-failure:3
logging: {driver: json-file, options: {max-size: 1m, max-file: 3}}
healthcheck: {test: [CMD, /bin/busybox, "true"], interval: 1m30s, timeout: 2s, retries: 4, start_period: 500ms}"#,
    )
    .has("/HostConfig/RestartPolicy", json!({"Name": "on-failure", "MaximumRetryCount": 3}))
    .has("/HostConfig/LogConfig", json!({"Type": "json-file", "Config": {"max-size": "1m", "max-file": "3"}}))
    .has(
        "/Config/Healthcheck",
        json!({"Test": ["CMD", "/bin/busybox", "true"], "Interval": 90_000_000_000u64, "Timeout": 2_000_000_000u64, "StartPeriod": 500_000_000, "Retries": 4}),
    );
}

#[test]
fn ports_ranges_addresses_and_protocols() {
    let world = world();
    let (a, b, c) = (world.port(), world.port(), world.port());
    let deployed = Deployed::with(
        "ports",
        &format!(
            "ports:\n  - \"127.0.0.1:{a}-{b}:90-91\"\n  - \"{c}:53/udp\"\n  - {{target: 80, host_ip: 127.0.0.1}}\n  - \"127.0.0.2::81\""
        ),
    );
    deployed
        .has("/HostConfig/PortBindings/90~1tcp", json!([{"HostIp": "127.0.0.1", "HostPort": a.to_string()}]))
        .has("/HostConfig/PortBindings/91~1tcp", json!([{"HostIp": "127.0.0.1", "HostPort": b.to_string()}]))
        .has("/HostConfig/PortBindings/53~1udp", json!([{"HostIp": "", "HostPort": c.to_string()}]))
        .has("/HostConfig/PortBindings/80~1tcp", json!([{"HostIp": "127.0.0.1", "HostPort": ""}]))
        .has("/HostConfig/PortBindings/81~1tcp", json!([{"HostIp": "127.0.0.2", "HostPort": ""}]));
    let ephemeral = deployed.seen.pointer("/NetworkSettings/Ports/80~1tcp/0/HostPort").unwrap().as_str().unwrap();
    assert!(ephemeral.parse::<u16>().unwrap() > 0);
}

#[test]
fn volumes_short_and_long() {
    let world = world();
    let source = world.folder().join("shared");
    std::fs::create_dir_all(&source).unwrap();
    let source = source.to_str().unwrap();
    let deployed = Deployed::with(
        "volumes",
        &format!(
            "volumes:
  - {source}:/ro:ro,z
  - named-1:/named
  - /anonymous
  - {{type: bind, source: {source}, target: /long, read_only: true, bind: {{create_host_path: false, propagation: rprivate}}}}
  - {{type: volume, source: named-2, target: /long-volume, volume: {{nocopy: true}}}}
  - {{type: tmpfs, target: /long-tmpfs, tmpfs: {{size: 64m, mode: \"1770\"}}}}
tmpfs: [/run, \"/tmp:size=8m\"]"
        ),
    );
    deployed
        .has("/HostConfig/Binds", json!([format!("{source}:/ro:ro,z"), "named-1:/named"]))
        .has("/HostConfig/Tmpfs", json!({"/run": "", "/tmp": "size=8m"}))
        .has(
            "/HostConfig/Mounts",
            json!([
                {"Type": "bind", "Source": source, "Target": "/long", "ReadOnly": true, "BindOptions": {"Propagation": "rprivate"}},
                {"Type": "volume", "Source": "named-2", "Target": "/long-volume", "VolumeOptions": {"NoCopy": true}},
                {"Type": "tmpfs", "Target": "/long-tmpfs", "TmpfsOptions": {"SizeBytes": 64 << 20, "Mode": 1016}},
            ]),
        )
        .has("/Config/Volumes", json!({"/anonymous": {}}));
}

#[test]
fn limits_of_processor_and_memory() {
    Deployed::with(
        "limits",
        "mem_limit: 256m
mem_reservation: 128m
memswap_limit: 512m
cpus: 1.5
cpu_shares: 512
cpuset: \"0\"
pids_limit: 100
oom_score_adj: 300
oom_kill_disable: false
shm_size: 32m
ulimits: {nofile: {soft: 1024, hard: 2048}, nproc: 512}",
    )
    .has("/HostConfig/Memory", json!(256 << 20))
    .has("/HostConfig/MemoryReservation", json!(128 << 20))
    .has("/HostConfig/MemorySwap", json!(512 << 20))
    .has("/HostConfig/NanoCpus", json!(1_500_000_000))
    .has("/HostConfig/CpuShares", json!(512))
    .has("/HostConfig/CpusetCpus", json!("0"))
    .has("/HostConfig/PidsLimit", json!(100))
    .has("/HostConfig/OomScoreAdj", json!(300))
    .has("/HostConfig/ShmSize", json!(32 << 20))
    .has(
        "/HostConfig/Ulimits",
        json!([{"Name": "nofile", "Soft": 1024, "Hard": 2048}, {"Name": "nproc", "Soft": 512, "Hard": 512}]),
    );
}

#[test]
fn quota_and_period_and_the_resources_of_deploy() {
    Deployed::with("quota", "cpu_quota: 50000\ncpu_period: 100ms")
        .has("/HostConfig/CpuQuota", json!(50_000))
        .has("/HostConfig/CpuPeriod", json!(100_000));
    Deployed::with(
        "deploy",
        "deploy: {resources: {limits: {cpus: \"0.5\", memory: 64m, pids: 50}, reservations: {memory: 32m}}}",
    )
    .has("/HostConfig/NanoCpus", json!(500_000_000))
    .has("/HostConfig/Memory", json!(64 << 20))
    .has("/HostConfig/MemoryReservation", json!(32 << 20))
    .has("/HostConfig/PidsLimit", json!(50));
}

#[test]
fn rights_and_namespaces() {
    Deployed::with(
        "rights",
        "read_only: true
cap_add: [NET_ADMIN]
cap_drop: [MKNOD, CHOWN]
security_opt: [\"no-new-privileges:true\"]
devices: [\"/dev/null:/dev/nothing:r\", \"/dev/zero\", {source: /dev/full, target: /dev/full2, permissions: rw}]
device_cgroup_rules: [\"c 1:3 mr\"]
group_add: [\"999\", \"998\"]
ipc: shareable
pid: host
uts: host
cgroup: host
userns_mode: host
cgroup_parent: /balehook-options
sysctls: {net.ipv4.ip_unprivileged_port_start: 0}
platform: linux/amd64
runtime: runc",
    )
    .has("/HostConfig/ReadonlyRootfs", json!(true))
    .has("/HostConfig/CapAdd", json!(["NET_ADMIN"]))
    .has("/HostConfig/CapDrop", json!(["MKNOD", "CHOWN"]))
    // The engine adds the second one for `pid: host`.
    .has("/HostConfig/SecurityOpt", json!(["no-new-privileges:true", "label=disable"]))
    .has(
        "/HostConfig/Devices",
        json!([
            {"PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "r"},
            {"PathOnHost": "/dev/zero", "PathInContainer": "/dev/zero", "CgroupPermissions": "rwm"},
            {"PathOnHost": "/dev/full", "PathInContainer": "/dev/full2", "CgroupPermissions": "rw"},
        ]),
    )
    .has("/HostConfig/DeviceCgroupRules", json!(["c 1:3 mr"]))
    .has("/HostConfig/GroupAdd", json!(["999", "998"]))
    .has("/HostConfig/IpcMode", json!("shareable"))
    .has("/HostConfig/PidMode", json!("host"))
    .has("/HostConfig/UTSMode", json!("host"))
    .has("/HostConfig/CgroupnsMode", json!("host"))
    .has("/HostConfig/UsernsMode", json!("host"))
    .has("/HostConfig/CgroupParent", json!("/balehook-options"))
    .has("/HostConfig/Sysctls", json!({"net.ipv4.ip_unprivileged_port_start": "0"}))
    .has("/HostConfig/Runtime", json!("runc"));
}

#[test]
fn privileged_and_the_hosts_network() {
    Deployed::with("host", "network_mode: host\ncommand: [/bin/busybox, sleep, \"1000\"]")
        .has("/HostConfig/NetworkMode", json!("host"));
    // Not every host can start a privileged container or weigh block devices: created is enough.
    created(
        "privileged",
        "privileged: true\nblkio_config: {device_read_bps: [{path: /dev/zero, rate: 1m}]}\nstorage_opt: {}",
    )
    .has("/HostConfig/Privileged", json!(true))
    .has("/HostConfig/BlkioDeviceReadBps", json!([{"Path": "/dev/zero", "Rate": 1 << 20}]));
}

#[test]
fn gpus_reach_the_engine_which_says_that_this_host_has_none() {
    let name = world().name("gpu");
    let bundle = Bundle::container(&name, "image: {archive: image.tar}\ngpus: all", "");
    web(&format!("{name}:1"), "one").write_into(&bundle.path());

    bundle.hook("ApplicationStart").exits(7).says("could not select device driver").says("gpu");

    assert!(world().containers(&name).is_empty());
}

#[test]
fn an_option_that_the_engine_is_too_old_for_is_refused_before_anything_is_touched() {
    let name = world().name("new");
    let bundle = Bundle::container(&name, "image: {archive: image.tar}\nannotations: {a: b}", "");
    web(&format!("{name}:1"), "one").write_into(&bundle.path());

    let outcome = bundle.hook("ApplicationStart");

    if world().engine() != "20.10" {
        outcome.exits(0);
        assert_eq!(world().inspect(&name, "{{.HostConfig.Annotations.a}}"), "b");
        return;
    }
    outcome.exits(7).says("`annotations` needs an engine with API 1.43").says("this engine is 20.10");
}

#[test]
fn env_files_of_the_bundle_and_of_s3_are_read_and_environment_wins() {
    let (world, name) = (world(), world().name("env"));
    let scratch = tempfile::tempdir_in(world.folder()).unwrap();
    let file = scratch.path().join("web.env");
    std::fs::write(&file, "SECRET_THING=from s3\nLEVEL=s3\n").unwrap();
    let uri = world.put("secrets", &format!("{name}/prod.env"), &file);
    let service = format!(
        "image: {{archive: image.tar}}\nstop_grace_period: 1s\nenv_file: [\"env/${{DEPLOYMENT_GROUP_NAME}}.env\", {{path: missing.env, required: false}}, \"{uri}\"]\nenvironment: [LEVEL=own, DEPLOYMENT_GROUP_NAME]"
    );
    let bundle = Bundle::container(&name, &service, "");
    std::fs::create_dir(bundle.path().join("env")).unwrap();
    std::fs::write(bundle.path().join("env/prod.env"), "FROM=bundle\nLEVEL=file\n").unwrap();
    web(&format!("{name}:1"), "one").write_into(&bundle.path());

    let plan = bundle.run(&["plan"]);
    plan.exits(0);
    assert!(plan.has_line("environment.FROM ***") && plan.has_line("environment.SECRET_THING ***"), "{}", plan.stdout);
    assert!(!plan.stdout.contains("from s3"), "{}", plan.stdout);
    bundle.hook("ApplicationStart").exits(0);

    let env: Value = serde_json::from_str(&world.inspect(&name, "{{json .Config.Env}}")).unwrap();
    assert_eq!(env, json!(["FROM=bundle", "LEVEL=own", "SECRET_THING=from s3", "DEPLOYMENT_GROUP_NAME=prod"]));
}

#[test]
fn a_container_that_the_engine_finished_after_its_deployment_was_killed_makes_room_and_an_unmanaged_one_does_not() {
    use balehook::engine::request::ContainerSpec;
    use balehook::modes::create;
    let (world, name) = (world(), world().name("late"));
    let bundle = Bundle::container(&name, "image: {archive: image.tar}", "");
    let (archive, _) = web(&format!("{name}:1"), "one").write_into(&bundle.path());
    world.docker(&["load", "--input", archive.to_str().unwrap()]);
    let image = format!("{name}:1");
    let text = balehook::config::appspec::read(&bundle.path()).unwrap();
    let (deployment, _) = balehook::config::validate::validate(&text, &Default::default());
    let balehook::config::Mode::Container(container) = deployment.unwrap().mode else { panic!("it is container mode") };
    let mut spec = ContainerSpec {
        name: format!("{name}.balehook-new"),
        image: balehook::values::pin::ImagePin::Unknown { wanted: image.clone() },
        options: create::container_options(&container.service, Some((1, 41))),
        environment: Vec::new(),
        if_declared: Vec::new(),
        secrets: None,
    };
    spec.options.body.labels = Some([(balehook::values::labels::LABEL_NAME.to_owned(), name.clone())].into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let engine = balehook::engine::Engine::connect(Some(&world.docker_host())).unwrap();

    let label = format!("balehook.name={name}");
    let late = world.docker(&["create", "--name", &spec.name, "--label", &label, &image]);
    let made = runtime.block_on(engine.create(&spec, image.clone())).unwrap();
    assert_ne!(made, late);
    assert_eq!(world.inspect(&spec.name, "{{.Id}}"), made);

    world.docker(&["rm", &spec.name]);
    let stranger = world.docker(&["create", "--name", &spec.name, &image]);
    let refused = runtime.block_on(engine.create(&spec, image)).unwrap_err();
    assert!(refused.message.contains("already in use"), "{refused}");
    assert_eq!(world.inspect(&spec.name, "{{.Id}}"), stranger);
    world.docker(&["rm", &spec.name]);
}
