//! Deployments and hosts to plan for, without any host.

use std::time::Duration;

use balehook::config::Deployment;
use balehook::config::Mode;
use balehook::config::Probe;
use balehook::config::appspec::AppSpecText;
use balehook::config::hook_env::HookEnv;
use balehook::config::swarm::FileSource;
use balehook::config::validate;
use balehook::deploy::journal::{JournalV1, Left};
use balehook::deploy::origin::Origin;
use balehook::deploy::release::Observed;
use balehook::deploy::state::Store;
use balehook::engine::facts::ContainerFacts;
use balehook::engine::facts::EngineFacts;
use balehook::engine::request::{ContainerOptions, ContainerSpec};
use balehook::health::check::HealthCheck;
use balehook::images::delta::Missing;
use balehook::images::facts::ImageFacts;
use balehook::images::facts::Room;
use balehook::images::record::ImportedReferences;
use balehook::modes::as_it_is::AsItIs;
use balehook::modes::container::facts::ContainerModeFacts;
use balehook::modes::facts::Facts;
use balehook::modes::operation::Plan;
use balehook::modes::plan;
use balehook::modes::release::Release;
use balehook::modes::release::{ContainerRelease, Part};
use balehook::ports::facts::NetworkFacts;
use balehook::ports::facts::PortsFacts;
use balehook::values::forward::SwitchedPorts;
use balehook::values::known::Known;
use balehook::values::pin::ImagePin;
use balehook::values::types::ContentDigest;
use balehook::values::types::EnvVar;
use balehook::values::types::LifecycleEvent;
use balehook::values::types::Secret;
use balehook::values::volume::AnonymousVolume;
use serde_json::json;

pub const APPSPEC: &str = r#"
version: 0.0
os: linux
hooks:
  ApplicationStart: [{location: hooks/balehook, timeout: 300}]
x-balehook:
  name: web
  container:
    image: registry.test:5443/team/web:1.4.2
    command: [serve, --greeting, "hello world"]
    ports: ["80:8080", "127.0.0.1:9000:9000/udp"]
    volumes: ["/srv/data:/data:ro"]
    environment: {LOG_LEVEL: info, DB_PASSWORD: hunter2}
    restart: unless-stopped
    logging: {driver: awslogs, options: {awslogs-group: web}}
    healthcheck: {test: [CMD, /bin/check], interval: 5s}
    networks: {front: {aliases: [www]}, back: }
    stop_grace_period: 20s
  health: {http: "http://127.0.0.1:80/healthz", timeout: 45s, stable_for: 2s}
  keep: 2
"#;

/// The same, from an archive.
const ARCHIVE: (&str, &str) =
    ("registry.test:5443/team/web:1.4.2", "{archive: \"s3://releases/web-1.4.2.tar\", reference: \"web:1.4.2\"}");

/// The deployment of any text. The bundle's folder is always the same: plans name files of it.
pub fn deployment_text(text: &str) -> Deployment {
    read(text)
}

pub fn read(text: &str) -> Deployment {
    let bundle = tempfile::tempdir().unwrap();
    for (folder, file) in [("hooks", "balehook"), ("scripts", "smoke.sh"), ("app", "compose.yml")] {
        std::fs::create_dir_all(bundle.path().join(folder)).unwrap();
        std::fs::write(bundle.path().join(folder).join(file), "services: {web: {ports: [80]}}").unwrap();
    }
    let text = AppSpecText { path: bundle.path().join("appspec.yml"), text: text.trim_start().into(), had_mark: false };
    let (deployment, problems) = validate::validate(&text, &HookEnv::default());
    let mut deployment = deployment.unwrap_or_else(|| panic!("{problems:?}"));
    if let Mode::Swarm(swarm) = &mut deployment.mode {
        let root = std::path::Path::new("/bundle");
        for file in &mut swarm.files {
            if let FileSource::File { path, .. } = &mut file.source {
                *path = root.join(path.strip_prefix(&deployment.bundle_root).unwrap());
            }
        }
        deployment.bundle_root = root.to_owned();
    }
    deployment
}

pub fn digest(of: &str) -> ContentDigest {
    ContentDigest::of(of.as_bytes())
}

pub fn pin(version: &str) -> ImagePin {
    ImagePin::Registry {
        repository: "registry.test:5443/team/web".into(),
        tag: Some(version.into()),
        digest: digest(version),
    }
}

pub fn origin() -> Origin {
    Origin { deployment: "d-NEW".into(), revision: "s3://revisions/web.zip".into(), etag: None, source: "web".into() }
}

/// An empty host with a 20.10 engine.
pub fn empty() -> Facts {
    let nowhere = Store::new(std::path::Path::new("/nowhere"), &"web".parse().unwrap());
    Facts {
        engine: Known::Yes(EngineFacts { version: "20.10.24".into(), api: (1, 41), architecture: "amd64".into() }),
        images: vec![image(pin("1.4.2"))],
        environment: Known::Yes(vec![var("LOG_LEVEL", "info", false), var("DB_PASSWORD", "hunter2", true)]),
        ..Facts::unseen(&nowhere)
    }
}

fn image(pin: ImagePin) -> ImageFacts {
    let key = match &pin {
        ImagePin::Content { .. } => "s3://releases/web-1.4.2.tar web:1.4.2".into(),
        _ => "registry.test:5443/team/web:1.4.2".into(),
    };
    ImageFacts { key, ..ImageFacts::of(pin) }
}

/// An archive of which one layer is missing on a host that serves an earlier release.
pub fn archived() -> Facts {
    let diff_ids = (0..14).map(|layer| digest(&layer.to_string())).collect();
    let pin = ImagePin::Content { reference: Some("web:1.4.2".into()), config: digest("1.4.2"), diff_ids };
    Facts { images: vec![ImageFacts { missing: Some(missing()), ..image(pin) }], ..serving() }
}

/// One layer of many.
pub fn missing() -> Missing {
    Missing { layers: 1, of: 14, bytes: 5_100_000, total: 812_000_000, unpacked: 5_100_000, copies: 5_100_000 }
}

/// The same where the disk is full.
pub fn full() -> Facts {
    let room = Room { folder: "/var/lib/docker".into(), free: 1_000_000, needed: 10_200_000 };
    Facts { room: Some(room), ..archived() }
}

fn var(name: &str, value: &str, hidden: bool) -> EnvVar {
    EnvVar { name: name.into(), value: Some(Secret::new(value)), hidden }
}

pub fn container(name: &str, id: &str, state: &str) -> ContainerFacts {
    ContainerFacts {
        id: id.repeat(64 / id.len()),
        name: name.into(),
        ours: true,
        state: state.into(),
        spec: Some(digest("old options").to_string()),
        digest: Some(digest("1.4.1").to_string()),
        deployment: Some("d-OLD".into()),
        stop_grace: Duration::from_secs(20),
        image: pin("1.4.1").argument(),
        service: None,
        stopped_by_hand: false,
        folder: None,
        switched: None,
        pid: None,
        files: Vec::new(),
        files_now: Vec::new(),
        volumes: Vec::new(),
        auto_remove: false,
    }
}

pub fn release(version: &str, deployment: &str, id: &str) -> Release {
    Release {
        format: 1,
        deployment: deployment.into(),
        etag: None,
        revision: "s3://revisions/web.zip".into(),
        source: "web".into(),
        image: pin(version),
        more_images: Vec::new(),
        spec: digest("old options").to_string(),
        part: Part::default(),
        observed: Observed { container: id.repeat(64 / id.len()), ..Observed::default() },
        pinned: false,
        number: 0,
    }
}

/// The same with the request that it was created by.
fn kept(release: Release) -> Release {
    let body = json!({
        "Hostname": "web-1",
        "HostConfig": { "PortBindings": { "8080/tcp": [{ "HostPort": "80" }] }, "RestartPolicy": { "Name": "unless-stopped" } },
    });
    let options = ContainerOptions { body: serde_json::from_value(body).unwrap(), ..ContainerOptions::default() };
    let environment = vec![var("LOG_LEVEL", "debug", false), var("DB_PASSWORD", "hunter1", true)];
    let request = ContainerSpec {
        name: "web".into(),
        image: release.image.clone(),
        options,
        environment,
        if_declared: Vec::new(),
        secrets: None,
    };
    let seconds = Duration::from_secs;
    let health_check = HealthCheck {
        probe: Probe::Auto,
        healthcheck: true,
        timeout: seconds(60),
        interval: seconds(1),
        stable_for: seconds(0),
        successes: 1,
        settle: seconds(3),
    };
    let container = ContainerRelease { request, health_check, start_first: None };
    Release { part: Part { container: Some(Box::new(container)), ..Part::default() }, ..release }
}

/// A host on which 1.4.1 runs, and 1.4.0 and 1.3.9 are remembered.
pub fn serving() -> Facts {
    let name = "web".parse().unwrap();
    let tag = |version: &str| pin(version).retention_tag(&name);
    Facts {
        containers: vec![container("web", "a1", "running")],
        releases: vec![kept(release("1.4.1", "d-3", "a1")), release("1.4.0", "d-2", "b2")],
        retention_tags: vec![tag("1.4.1"), tag("1.4.0"), tag("1.3.9")],
        imported: vec![ImportedReferences { tag: tag("1.3.9"), references: [pin("1.3.9").argument()].into() }],
        ..empty()
    }
}

/// The same where a value of Secrets Manager is another one than the release had, and one of SSM is the same.
pub fn rotated() -> Facts {
    let of = |name: &str, digest: &str| -> EnvVar {
        let from = match name {
            "DB_PASSWORD" => json!({"secretsmanager": "prod/db", "key": "password"}),
            _ => json!({"ssm": format!("/prod/{name}")}),
        };
        serde_json::from_value(json!({"name": name, "value": {"from": from, "digest": digest}, "hidden": true}))
            .unwrap()
    };
    let mut facts = serving();
    let kept = facts.releases[0].part.container.as_mut().unwrap();
    kept.request.environment = vec![of("DB_PASSWORD", "5a17:0d"), of("LEVEL", "5a17:1e")];
    facts.environment = Known::Yes(vec![of("DB_PASSWORD", "5a17:2f"), of("LEVEL", "5a17:1e")]);
    facts
}

/// The same where the container has anonymous volumes: of its image, and at a path where something else is mounted now.
pub fn with_volumes() -> Facts {
    let volume = |digit: &str, path: &str| AnonymousVolume { name: digit.repeat(64), path: path.into() };
    let volumes = vec![volume("c", "/cache"), volume("d", "/data")];
    Facts { containers: vec![ContainerFacts { volumes, ..container("web", "a1", "running") }], ..serving() }
}

/// A container that was started by `docker run`, as the engine describes it.
pub fn by_hand() -> Facts {
    let inspected = json!({
        "Id": "a1".repeat(32), "Name": "/web", "Image": digest("by hand").as_str(), "State": { "Running": true },
        "Config": {
            "Hostname": "a1a1a1a1a1a1", "Image": "web:1.4.1", "AttachStdout": false, "Tty": false,
            "Env": ["LOG_LEVEL=debug", "FEATURE_X=on", "DB_PASSWORD=hunter2", "PATH=/usr/bin:/bin"],
            "Cmd": ["serve"], "Entrypoint": null, "WorkingDir": "/srv", "ExposedPorts": { "8080/tcp": {} },
            "Labels": { "team": "shop", "org.image": "made by" },
        },
        "HostConfig": {
            "Binds": ["/srv/old:/data"], "LogConfig": { "Type": "json-file", "Config": {} }, "NetworkMode": "default",
            "PortBindings": { "8080/tcp": [{ "HostIp": "", "HostPort": "80" }] }, "Memory": 268_435_456,
            "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 }, "IpcMode": "private", "CgroupnsMode": "private",
            "ShmSize": 67_108_864, "Runtime": "runc", "Privileged": false, "MaskedPaths": ["/proc/acpi"], "Dns": [],
            "ConsoleSize": [0, 0], "UTSMode": "", "VolumeDriver": "", "MemorySwap": 536_870_912,
        },
        "NetworkSettings": { "Networks": { "bridge": { "IPAddress": "172.17.0.2" } } },
    });
    let image = json!({
        "Config": {
            "Env": ["PATH=/usr/bin:/bin"], "Cmd": ["serve"], "WorkingDir": "/srv", "ExposedPorts": { "8080/tcp": {} },
            "Labels": { "org.image": "made by" },
        },
        "RootFS": { "Type": "layers", "Layers": [digest("layer").as_str()] },
    });
    let [inspected, image] = [inspected.to_string(), image.to_string()];
    let it = AsItIs::of(serde_json::from_str(&inspected).unwrap(), serde_json::from_str(&image).unwrap());
    Facts {
        containers: vec![ContainerFacts { ours: false, ..container("web", "a1", "running") }],
        container: ContainerModeFacts { unsaved: it, ..ContainerModeFacts::default() },
        ..empty()
    }
}

/// A host on which a swap was cut off after the old container was set aside.
pub fn interrupted() -> Facts {
    let old = Some(("a1".repeat(32), true));
    Facts {
        containers: vec![container("web.balehook-old", "a1", "exited"), container("web", "c3", "running")],
        left: Some(Left::Format1(JournalV1 { old, compose: None })),
        ..serving()
    }
}

/// A dev box: no engine, no registry.
pub fn blind() -> Facts {
    let wanted = "registry.test:5443/team/web:1.4.2".to_owned();
    let why = Some("no engine to ask the registry with".to_owned());
    Facts {
        engine: Known::No("the engine at unix:///var/run/docker.sock cannot be reached".into()),
        images: vec![ImageFacts { pin: ImagePin::Unknown { wanted }, unknown: why, ..image(pin("1.4.2")) }],
        ..empty()
    }
}

/// The deployment that a scene is of.
pub fn deployment_of(facts: &Facts) -> Deployment {
    if facts.compose.is_some() {
        return crate::compose::deployment();
    }
    read(&text_of(facts))
}

/// The scenes' file.
pub fn text_of(facts: &Facts) -> String {
    let from_archive = matches!(facts.images.first(), Some(ImageFacts { pin: ImagePin::Content { .. }, .. }));
    let text = if facts.swarm.is_some() { crate::swarm::APPSPEC } else { APPSPEC };
    if from_archive { text.replace(ARCHIVE.0, ARCHIVE.1) } else { text.to_owned() }
}

/// The order in which releases follow each other in a scene.
pub const START_FIRST: &str = "    update_config: {order: start-first, drain: 15s}\n";

/// A host whose kernel can switch ports; `behind`: the container that they lead to.
pub fn kernel(exists: bool, behind: Option<&str>) -> PortsFacts {
    let subnet = ("198.18.200.0".parse().unwrap(), 24);
    PortsFacts {
        network: NetworkFacts { subnet, subnet6: None, bridge: "balehook0".into() },
        exists,
        taken: Vec::new(),
        before_ours: Vec::new(),
        behind: behind.map(|id| id.repeat(64 / id.len())),
        is_open: behind.is_some(),
        obstacle: None,
    }
}

fn by_kernel(ports: PortsFacts) -> ContainerModeFacts {
    ContainerModeFacts { ports: Some(ports), ..ContainerModeFacts::default() }
}

/// A container to which the kernel hands the ports.
pub fn switched(name: &str, id: &str, address: &str) -> ContainerFacts {
    let forwards = vec!["127.0.0.1:9000->9000/udp".parse().unwrap(), "80->8080/tcp".parse().unwrap()];
    let switched = SwitchedPorts { address: address.parse().unwrap(), address6: None, forwards };
    ContainerFacts { switched: Some(switched), ..container(name, id, "running") }
}

/// A host on which 1.4.1 runs behind switched ports.
pub fn handing() -> Facts {
    let containers = vec![switched("web", "a1", "198.18.200.130")];
    Facts { containers, container: by_kernel(kernel(true, Some("a1"))), ..serving() }
}

/// The same where the tables were flushed.
pub fn flushed() -> Facts {
    Facts { container: by_kernel(kernel(true, None)), ..handing() }
}

/// A host on which a handover was cut off before the release was recorded.
pub fn cut() -> Facts {
    let containers =
        vec![switched("web.balehook-old", "a1", "198.18.200.130"), switched("web", "c3", "198.18.200.131")];
    Facts { containers, container: by_kernel(kernel(true, Some("c3"))), left: interrupted().left, ..serving() }
}

/// A host on which a handover was cut off after that.
pub fn cut_late() -> Facts {
    let mut facts = cut();
    facts.releases.insert(0, release("1.4.2", "d-CUT", "c3"));
    facts
}

pub fn planned(event: LifecycleEvent, facts: &Facts) -> Plan {
    plan(event, &deployment_of(facts), &origin(), facts).unwrap()
}

/// The plan for the scenes' file after a change to it.
pub fn planned_with(event: LifecycleEvent, facts: &Facts, change: impl Fn(String) -> String) -> Plan {
    plan(event, &read(&change(text_of(facts))), &origin(), facts).unwrap()
}

/// The scenes' file with the handover.
pub fn start_first(text: String) -> String {
    text.replace("  health: {", &format!("{START_FIRST}  health: {{"))
}

/// Every scene of the handover with its name and its plan.
pub fn handovers() -> Vec<(&'static str, Plan)> {
    let (start, stop) = (LifecycleEvent::ApplicationStart, LifecycleEvent::ApplicationStop);
    let fresh = Facts { container: by_kernel(kernel(false, None)), ..empty() };
    let crossing = Facts { container: by_kernel(kernel(true, None)), ..serving() };
    vec![
        ("handover-first", planned_with(start, &fresh, start_first)),
        ("handover", planned_with(start, &handing(), start_first)),
        ("handover-after-a-flush", planned_with(start, &flushed(), start_first)),
        ("handover-after-interruption", planned_with(start, &cut(), start_first)),
        ("handover-after-late-interruption", planned_with(start, &cut_late(), start_first)),
        ("handover-from-the-swap", planned_with(start, &crossing, start_first)),
        ("handover-to-the-swap", planned(start, &handing())),
        ("handover-stop", planned_with(stop, &handing(), start_first)),
        ("handover-validate", planned_with(LifecycleEvent::ValidateService, &validated(), start_first)),
    ]
}

/// The wanted image serves.
fn validated() -> Facts {
    let serving =
        ContainerFacts { digest: Some(digest("1.4.2").to_string()), ..switched("web", "a1", "198.18.200.130") };
    Facts { containers: vec![serving], ..handing() }
}

/// Every plan with its name.
pub fn plans() -> Vec<(&'static str, Plan)> {
    let swaps = all().into_iter().map(|(name, event, facts)| (name, planned(event, &facts)));
    swaps.chain(handovers()).collect()
}

/// Every scene with its name.
pub fn all() -> Vec<(&'static str, LifecycleEvent, Facts)> {
    let mut all = vec![
        ("stop", LifecycleEvent::ApplicationStop, serving()),
        ("stop-volumes", LifecycleEvent::ApplicationStop, with_volumes()),
        ("start-volumes", LifecycleEvent::ApplicationStart, with_volumes()),
        ("stop-interrupted", LifecycleEvent::ApplicationStop, interrupted()),
        ("before-install", LifecycleEvent::BeforeInstall, serving()),
        ("after-install", LifecycleEvent::AfterInstall, empty()),
        ("start-first", LifecycleEvent::ApplicationStart, empty()),
        ("start-swap", LifecycleEvent::ApplicationStart, serving()),
        ("start-rotated", LifecycleEvent::ApplicationStart, rotated()),
        ("start-by-hand", LifecycleEvent::ApplicationStart, by_hand()),
        ("start-after-interruption", LifecycleEvent::ApplicationStart, interrupted()),
        ("start-blind", LifecycleEvent::ApplicationStart, blind()),
        ("after-install-archive", LifecycleEvent::AfterInstall, archived()),
        ("before-install-full-disk", LifecycleEvent::BeforeInstall, full()),
        ("start-full-disk", LifecycleEvent::ApplicationStart, full()),
        ("traffic", LifecycleEvent::BeforeAllowTraffic, empty()),
    ];
    all.extend(crate::swarm::all());
    all.extend(crate::compose::all());
    all
}
