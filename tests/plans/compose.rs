//! Compose projects to plan for, without any host.

use std::collections::BTreeMap;
use std::time::Duration;

use balehook::config::ArchiveLocation;
use balehook::config::Deployment;
use balehook::config::ImageNeed;
use balehook::config::ImageSource;
use balehook::config::Probe;
use balehook::config::Pull;
use balehook::deploy::journal::{JournalV1, Left};
use balehook::engine::request::{ContainerOptions, ContainerSpec};
use balehook::images::facts::ImageFacts;
use balehook::modes::compose::project::ComposeFacts;
use balehook::modes::compose::project::Project;
use balehook::modes::compose::project::ProjectContainer;
use balehook::modes::compose::project::ProjectFolder;
use balehook::modes::compose::project::ServiceFacts;
use balehook::modes::compose::project::Tool;
use balehook::modes::compose::release::ComposeRelease;
use balehook::modes::compose::release::SavedHealth;
use balehook::modes::compose::unsaved::UnsavedContainer;
use balehook::modes::facts::Facts;
use balehook::modes::release::Part;
use balehook::modes::release::Release;
use balehook::ui::text;
use balehook::values::known::Known;
use balehook::values::pin::ImagePin;
use balehook::values::target::Target;
use balehook::values::types::EnvVar;
use balehook::values::types::LifecycleEvent;
use balehook::values::types::Secret;

use crate::scenes::{self, digest, pin};

pub const APPSPEC: &str = r#"
version: 0.0
os: linux
hooks:
  ApplicationStart: [{location: hooks/balehook, timeout: 300}]
x-balehook:
  name: web
  compose:
    files: [app/compose.yml]
    profiles: [jobs]
    images: {db: {archive: "s3://releases/db.tar"}}
    wait_timeout: 45s
  health: {http: /healthz}
  keep: 2
"#;

pub fn deployment() -> Deployment {
    scenes::read(APPSPEC)
}

fn tool() -> Tool {
    Tool { argv: vec!["/plugins/docker-compose".into()], version: "2.40.3".into() }
}

fn need(service: &str) -> ImageNeed {
    let source = match service {
        "db" => ImageSource::Archive {
            location: ArchiveLocation::S3("s3://releases/db.tar".parse().unwrap()),
            reference: None,
            id: None,
            verify: None,
        },
        _ => ImageSource::Registry(
            "registry.test:5443/team/web:1.4.2".parse().unwrap(),
            Pull::Always,
            None,
            Duration::ZERO,
        ),
    };
    ImageNeed { source, platform: None }
}

fn service(name: &str) -> ServiceFacts {
    let options = [("environment.LEVEL", "info"), ("content of ./conf", "files"), ("ports", "80")];
    let options = options.map(|(option, value)| (option.to_owned(), digest(value).short().to_owned()));
    ServiceFacts {
        name: name.into(),
        need: need(name),
        options: BTreeMap::from(options),
        values: BTreeMap::from([("ports".to_owned(), "80".to_owned())]),
        fetched: Vec::new(),
        replicas: 1,
        files: Vec::new(),
    }
}

fn db_pin() -> ImagePin {
    ImagePin::Content { reference: Some("db:9".into()), config: digest("db"), diff_ids: vec![digest("layer")] }
}

fn image(service: &str) -> ImageFacts {
    let pin = if service == "db" { db_pin() } else { pin("1.4.2") };
    ImageFacts {
        key: need(service).key(std::path::Path::new("/bundle")),
        pin,
        present: false,
        bytes: None,
        missing: (service == "db").then_some(scenes::missing()),
        unknown: None,
        architecture: Some("amd64".into()),
        from_host: false,
        verify: None,
        findings: None,
    }
}

fn project(id: &str) -> Project {
    Project {
        name: "web".into(),
        tool: tool(),
        state: "/var/lib/balehook/web".into(),
        id: id.into(),
        files: vec!["compose.yml".into()],
        env_files: Vec::new(),
        profiles: vec!["jobs".into()],
        services: Vec::new(),
    }
}

/// An empty host with Compose 2.
pub fn empty() -> Facts {
    let folder = ProjectFolder {
        path: "/bundle/app".into(),
        excluded: Vec::new(),
        digest: digest("tree"),
        files: 3,
        bytes: 4_200,
    };
    let compose = ComposeFacts {
        state: "/var/lib/balehook/web".into(),
        folder,
        services: vec![service("db"), service("web")],
        left_out: Vec::new(),
        containers: Vec::new(),
        variables: vec![EnvVar { name: "TOKEN".into(), value: Some(Secret::new("hunter2")), hidden: true }],
        snapshots: Vec::new(),
        unsaved: Vec::new(),
    };
    Facts {
        images: vec![image("db"), image("web")],
        compose: Some(compose),
        compose_tool: Known::Yes(tool()),
        ..scenes::empty()
    }
}

fn container(service: &str, spec: &str, image: &str) -> ProjectContainer {
    ProjectContainer {
        name: format!("web-{service}-1"),
        service: service.into(),
        ours: true,
        good: true,
        spec: Some(spec.into()),
        image: image.into(),
    }
}

fn release(id: &str, deployment: &str, version: &str) -> Release {
    let options =
        [("web", "environment.LEVEL", "debug"), ("web", "content of ./conf", "files"), ("web", "ports", "80")];
    let options = options
        .map(|(service, option, value)| vec![service.to_owned(), option.to_owned(), digest(value).short().to_owned()]);
    let services = vec![("db".to_owned(), 1), ("web".to_owned(), 1)];
    Release {
        part: Part {
            options: options.into(),
            compose: Some(ComposeRelease {
                project: project(id),
                variables: Vec::new(),
                health_check: SavedHealth { services, timeout_ms: 45_000, probe: Probe::Http("/healthz".into()) },
            }),
            ..Part::default()
        },
        more_images: vec![pin(version)],
        image: db_pin(),
        ..scenes::release(version, deployment, "a1")
    }
}

/// `web` runs 1.4.1 with another level, `db` is as it is wanted, `cron` is no longer wanted.
pub fn serving() -> Facts {
    let mut facts = empty();
    let name = "web".parse().unwrap();
    let compose = facts.compose.as_mut().unwrap();
    let db = service("db").spec(&db_pin());
    compose.containers = vec![
        container("cron", "old", "registry.test:5443/team/web:1.4.1"),
        container("db", db.as_str(), &db_pin().retention_tag(&name)),
        container("web", "old", &pin("1.4.1").argument()),
    ];
    compose.snapshots = vec!["111111111111".into(), "222222222222".into()];
    facts.images[0].present = true;
    facts.retention_tags = vec![db_pin().retention_tag(&name), pin("1.4.1").retention_tag(&name)];
    facts.releases = vec![release("222222222222", "d-2", "1.4.1"), release("111111111111", "d-1", "1.4.0")];
    facts.containers = vec![scenes::container("web-web-1", "a1", "running")];
    facts
}

/// Everything is as it is wanted.
pub fn same() -> Facts {
    let mut facts = serving();
    let web = service("web").spec(&pin("1.4.2"));
    let compose = facts.compose.as_mut().unwrap();
    compose.containers.remove(0);
    compose.containers[1] = container("web", web.as_str(), &pin("1.4.2").argument());
    facts.images[1].present = true;
    facts
}

/// An event was killed after it had begun to change the project.
pub fn interrupted() -> Facts {
    let begun = serde_json::to_value(project("333333333333")).unwrap();
    let journal = JournalV1 { old: None, compose: Some(begun) };
    Facts { left: Some(Left::Format1(journal)), ..serving() }
}

/// A release of Compose 1 runs, and Compose is another one now.
pub fn moved() -> Facts {
    let mut facts = serving();
    for release in &mut facts.releases {
        let project = &mut release.part.compose.as_mut().unwrap().project;
        project.tool = Tool { argv: vec!["docker-compose".into()], version: "1.29.2".into() };
    }
    facts
}

/// There is no Compose on the host any more.
pub fn without_compose() -> Facts {
    Facts { compose_tool: Known::No("there is no Compose on this host".into()), ..serving() }
}

/// A project of the same name that balehook did not bring up.
pub fn unmanaged() -> Facts {
    let mut facts = serving();
    let compose = facts.compose.as_mut().unwrap();
    compose.containers.iter_mut().for_each(|container| container.ours = false);
    let there = [("web", "e5", true), ("cron", "f6", false)];
    compose.unsaved = there
        .map(|(service, id, is_running)| {
            let name = format!("web-{service}-1");
            let container = Target { name: name.clone(), id: Some(id.repeat(32)) };
            let image = scenes::pin("1.4.1");
            let (options, environment) = (ContainerOptions::default(), Vec::new());
            let spec =
                Box::new(ContainerSpec { name, image, options, environment, if_declared: Vec::new(), secrets: None });
            UnsavedContainer { container, service: service.into(), is_running, spec }
        })
        .into();
    facts.releases.clear();
    facts
}

/// Every scene with its name.
pub fn all() -> Vec<(&'static str, LifecycleEvent, Facts)> {
    vec![
        ("compose-before-install", LifecycleEvent::BeforeInstall, serving()),
        ("compose-after-install", LifecycleEvent::AfterInstall, empty()),
        ("compose-start-first", LifecycleEvent::ApplicationStart, empty()),
        ("compose-start", LifecycleEvent::ApplicationStart, serving()),
        ("compose-start-same", LifecycleEvent::ApplicationStart, same()),
        ("compose-start-after-interruption", LifecycleEvent::ApplicationStart, interrupted()),
        ("compose-start-unmanaged", LifecycleEvent::ApplicationStart, unmanaged()),
        ("compose-validate", LifecycleEvent::ValidateService, same()),
        ("compose-stop", LifecycleEvent::ApplicationStop, moved()),
        ("compose-stop-without-compose", LifecycleEvent::ApplicationStop, without_compose()),
    ]
}

#[test]
fn a_release_of_compose_1_comes_back_by_the_compose_that_the_host_has_now() {
    let printed = |facts: Facts| text::plan(&scenes::planned(LifecycleEvent::ApplicationStart, &facts));
    assert_eq!(printed(moved()), printed(serving()));
    assert!(!printed(moved()).contains(" docker-compose --"));
}

#[test]
fn a_release_on_disk_that_names_compose_1_is_still_read() {
    let text = include_str!("../golden/release-1-compose.json");
    let release = Release::from_value(serde_json::from_str(text).unwrap()).unwrap();
    let saved = release.part.compose.unwrap();
    let old = Tool { argv: vec!["docker-compose".into()], version: "1.29.2".into() };
    assert_eq!((&saved.project.tool, saved.project.name.as_str()), (&old, "shop"));
    assert_eq!(saved.health_check.services, [("web".to_owned(), 1)]);
    assert_eq!(saved.project.run_by(&Known::Yes(tool())).tool, tool());
}
