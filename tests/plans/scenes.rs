//! Deployments and hosts to plan for, without any host.

use std::time::Duration;

use balehook::facts::{ContainerFacts, EngineFacts, Facts, ImageFacts, Known, Room};
use balehook::image::delta::Missing;
use balehook::image::pin::ImagePin;
use balehook::input::appspec::AppSpecText;
use balehook::input::hook_env::HookEnv;
use balehook::plan::{Asker, Plan, plan};
use balehook::release::{Brought, Journal, Observed, Release, Store};
use balehook::spec::swarm::FileSource;
use balehook::spec::types::{ContentDigest, EnvVar, LifecycleEvent, Secret};
use balehook::spec::{Deployment, Mode, validate};

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
        std::fs::write(bundle.path().join(folder).join(file), "services: {}").unwrap();
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

pub fn asker() -> Asker {
    Asker { deployment: "d-NEW".into(), revision: "s3://revisions/web.zip".into(), source: "web".into() }
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
    ImageFacts { key, pin, present: false, bytes: None, missing: None, unknown: None, architecture: None }
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
    }
}

pub fn release(version: &str, deployment: &str, id: &str) -> Release {
    Release {
        format: 1,
        deployment: deployment.into(),
        revision: "s3://revisions/web.zip".into(),
        source: "web".into(),
        image: pin(version),
        more_images: Vec::new(),
        spec: digest("old options").to_string(),
        compose: None,
        options: vec![vec!["--restart".into(), "unless-stopped".into()], vec!["--publish".into(), "80:8080".into()]],
        observed: Observed { container: id.repeat(64 / id.len()), ..Observed::default() },
    }
}

/// A host on which 1.4.1 runs, and 1.4.0 and 1.3.9 are remembered.
pub fn serving() -> Facts {
    let name = "web".parse().unwrap();
    let tag = |version: &str| pin(version).keeper_tag(&name);
    Facts {
        containers: vec![container("web", "a1", "running")],
        releases: vec![release("1.4.1", "d-3", "a1"), release("1.4.0", "d-2", "b2")],
        keeper_tags: vec![tag("1.4.1"), tag("1.4.0"), tag("1.3.9")],
        brought: vec![Brought { tag: tag("1.3.9"), references: vec![pin("1.3.9").argument()] }],
        ..empty()
    }
}

/// A host on which a swap was cut off after the old container was set aside.
pub fn interrupted() -> Facts {
    let old = Some(("a1".repeat(32), true));
    Facts {
        containers: vec![container("web.balehook-old", "a1", "exited"), container("web", "c3", "running")],
        journal: Some(Journal {
            format: 1,
            event: LifecycleEvent::ApplicationStart,
            deployment: "d-CUT".into(),
            old,
            compose: None,
        }),
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
    let from_archive = matches!(facts.images.first(), Some(ImageFacts { pin: ImagePin::Content { .. }, .. }));
    let text = if facts.swarm.is_some() { crate::swarm::APPSPEC } else { APPSPEC };
    if from_archive { read(&text.replace(ARCHIVE.0, ARCHIVE.1)) } else { read(text) }
}

pub fn planned(event: LifecycleEvent, facts: &Facts) -> Plan {
    plan(event, &deployment_of(facts), &asker(), facts).unwrap()
}

/// Every scene with its name.
pub fn all() -> Vec<(&'static str, LifecycleEvent, Facts)> {
    let mut all = vec![
        ("stop", LifecycleEvent::ApplicationStop, serving()),
        ("stop-interrupted", LifecycleEvent::ApplicationStop, interrupted()),
        ("before-install", LifecycleEvent::BeforeInstall, serving()),
        ("after-install", LifecycleEvent::AfterInstall, empty()),
        ("start-first", LifecycleEvent::ApplicationStart, empty()),
        ("start-swap", LifecycleEvent::ApplicationStart, serving()),
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
