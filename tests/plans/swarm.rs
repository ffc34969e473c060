//! Plans in swarm mode.

use std::collections::{BTreeMap, BTreeSet};

use balehook::config::swarm::FileKind;
use balehook::error::Kind;
use balehook::modes::facts::Facts;
use balehook::modes::operation::Operation;
use balehook::modes::plan;
use balehook::modes::release::{Part, Release};
use balehook::modes::swarm::facts::LiveSpec;
use balehook::modes::swarm::facts::Role;
use balehook::modes::swarm::facts::ServiceFacts;
use balehook::modes::swarm::facts::SwarmFacts;
use balehook::modes::swarm::operation::ServiceRequest;
use balehook::modes::swarm::operation::SwarmOperation;
use balehook::modes::swarm::placement::NodeProperties;
use balehook::modes::swarm::task::SwarmWork;
use balehook::ui::text;
use balehook::values::known::Known;
use balehook::values::types::LifecycleEvent;
use balehook::values::types::LifecycleEvent::AfterInstall;
use balehook::values::types::LifecycleEvent::ApplicationStart;
use balehook::values::types::LifecycleEvent::ApplicationStop;
use balehook::values::types::LifecycleEvent::BeforeInstall;
use balehook::values::types::LifecycleEvent::ValidateService;
use balehook::values::types::Secret;
use serde_json::{Value, json};

use crate::drift::{command_line, described, health, saved, with_rows};
use crate::{request, scenes};

pub const APPSPEC: &str = r#"
version: 0.0
os: linux
hooks:
  ApplicationStart: [{location: hooks/balehook, timeout: 300}]
x-balehook:
  name: web
  swarm:
    image: registry.test:5443/team/web:1.4.2
    command: [serve, --greeting, "hello world"]
    ports: ["80:8080"]
    environment: {LOG_LEVEL: info, DB_PASSWORD: hunter2}
    healthcheck: {test: [CMD, /bin/check], interval: 5s}
    networks: {front: {aliases: [www]}, back: {attachable: true}}
    volumes: ["data:/data:ro"]
    secrets: [db]
    configs: [{source: app, file: conf/app.conf, target: /etc/app.conf, mode: "0440"}]
    stop_grace_period: 20s
    logging: {driver: awslogs, options: {awslogs-group: web}}
    deploy:
      labels: {team: shop}
      placement: {constraints: [node.role==worker], preferences: [{spread: node.labels.zone}], max_replicas_per_node: 2}
      resources: {limits: {cpus: "0.5", memory: 64M}, reservations: {memory: 32M}}
      update_config: {parallelism: 2, delay: 1s}
  health: {http: /healthz, timeout: 45s}
  keep: 2
"#;

/// The file that the config is made from.
pub const CONFIG: &str = "conf/app.conf";

pub fn seen() -> SwarmFacts {
    let path = scenes::deployment_text(APPSPEC).bundle_root.join(CONFIG);
    SwarmFacts {
        node: "node1".repeat(5),
        nodes: vec!["node-a".into(), "node-b".into()],
        networks: BTreeMap::from([("front".into(), "id-of-front".into())]),
        files: BTreeSet::from([(FileKind::Secret, "db".into()), (FileKind::Config, "app-old".into())]),
        made: BTreeSet::from([(FileKind::Config, "app-old".into())]),
        contents: BTreeMap::from([(path, scenes::digest("app.conf"))]),
        ..SwarmFacts::empty(Role::Manager)
    }
}

pub fn facts(swarm: SwarmFacts) -> Facts {
    Facts { swarm: Some(swarm), ..scenes::empty() }
}

/// The request that a first deployment would send.
fn requested(facts: &Facts) -> Value {
    let request = request_of(facts);
    let mut spec = request.spec;
    spec["TaskTemplate"]["ContainerSpec"]["Image"] = request.image.argument().into();
    spec["TaskTemplate"]["ContainerSpec"]["Env"] = json!(["LOG_LEVEL=info", "DB_PASSWORD=hunter2"]);
    spec["TaskTemplate"]["Networks"][0]["Target"] = "id-of-front".into();
    spec
}

fn request_of(facts: &Facts) -> ServiceRequest {
    let planned = scenes::planned(ApplicationStart, facts);
    let request = planned.actions.iter().find_map(|action| match &action.operation {
        Operation::Swarm(SwarmOperation::Create(request)) => Some(request.clone()),
        _ => None,
    });
    *request.expect("the service is created")
}

/// A swarm that runs what `change` made of the wanted service.
pub fn serving(change: impl FnOnce(&mut Value)) -> Facts {
    let mut spec = requested(&facts(seen()));
    change(&mut spec);
    let service = ServiceFacts { id: "service1".repeat(3), began: None, spec: LiveSpec::new(spec) };
    let mut facts = facts(SwarmFacts { service: Some(service), ..seen() });
    facts.images[0].present = true;
    facts.releases = vec![older_release(&facts)];
    facts.retention_tags = vec![scenes::pin("1.4.2").retention_tag(&"web".parse().unwrap())];
    facts
}

pub fn older(spec: &mut Value) {
    spec["Labels"]["balehook.spec"] = scenes::digest("older").to_string().into();
    spec["Labels"]["balehook.digest"] = scenes::digest("1.4.1").to_string().into();
    let container = &mut spec["TaskTemplate"]["ContainerSpec"];
    container["Image"] = scenes::pin("1.4.1").argument().into();
    container["Env"] = json!(["LOG_LEVEL=debug", "BY_HAND_TOKEN=hunter2"]);
    spec["Mode"]["Replicated"]["Replicas"] = 5.into();
    spec["TaskTemplate"]["Resources"]["Limits"]["Pids"] = 100.into();
}

/// The release that is older, as it was saved: before a token and a limit were set by hand.
fn older_release(facts: &Facts) -> Release {
    let mut request = request_of(&Facts { swarm: Some(seen()), ..facts.clone() });
    request.image = scenes::pin("1.4.1");
    request.spec["Mode"]["Replicated"]["Replicas"] = 5.into();
    request.environment.retain(|var| var.name == "LOG_LEVEL");
    request.environment[0].value = Some(Secret::new("debug"));
    let mut release = scenes::release("1.4.1", "d-OLD", "a1");
    release.spec = scenes::digest("older").to_string();
    release.part = Part { swarm: Some(Box::new(request)), ..Part::default() };
    release.observed.image_id = scenes::pin("1.4.1").argument();
    release
}

/// What is wanted was put in place by an earlier deployment.
pub fn earlier(spec: &mut Value) {
    spec["Labels"]["balehook.deployment"] = "d-OLD".into();
}

/// What a swarm of archives looks like: no registry.
fn archived() -> Facts {
    Facts { images: scenes::archived().images, ..serving(older) }
}

pub fn all() -> Vec<(&'static str, LifecycleEvent, Facts)> {
    let role = |role| facts(SwarmFacts { role, ..SwarmFacts::empty(Role::Manager) });
    vec![
        ("swarm-stop", ApplicationStop, facts(seen())),
        ("swarm-before-install", BeforeInstall, facts(seen())),
        ("swarm-after-install", AfterInstall, facts(seen())),
        ("swarm-create", ApplicationStart, facts(seen())),
        ("swarm-update", ApplicationStart, serving(older)),
        ("swarm-update-archive", ApplicationStart, archived()),
        ("swarm-unchanged", ApplicationStart, serving(earlier)),
        (
            "swarm-by-hand",
            ApplicationStart,
            serving(|spec| spec["TaskTemplate"]["ContainerSpec"]["Hostname"] = "x".into()),
        ),
        ("swarm-worker", ApplicationStart, role(Role::Worker)),
        ("swarm-validate", ValidateService, serving(|_| ())),
    ]
}

/// What a host is given, in words of its own making.
pub fn received(step: &SwarmOperation) -> String {
    match step {
        SwarmOperation::Create(service) => {
            let line = format!("create service {} from {}", service.name, described(&service.image));
            with_rows(line, request::service(service))
        }
        SwarmOperation::Update(service) => {
            let line = format!("update service {} to {}", service.name, described(&service.image));
            with_rows(line, request::service(service))
        }
        SwarmOperation::CheckNodes(check) => {
            let (image, seconds) = (described(&check.image), check.patience.as_secs());
            let line = format!("check that each node has {image}, within {seconds}s: create service {}", check.name);
            with_rows(line, request::spec(&check.spec, &check.image, &[]))
        }
        SwarmOperation::Init => "docker swarm init".into(),
        SwarmOperation::Network { name } => format!("docker network create --driver overlay --attachable {name}"),
        SwarmOperation::File { kind, name, path, .. } => {
            format!("docker {} create {name} {}", kind.as_str(), path.display())
        }
        SwarmOperation::Secret { name, variable, .. } => {
            format!("docker secret create {name} - (the value of {variable})")
        }
        SwarmOperation::RenewToken { service, registry } => {
            format!("docker service update --with-registry-auth {service}: a new token of {registry}, no restart")
        }
        SwarmOperation::RolloutCheck(wanted) => {
            format!("wait for {}: every task runs for {}s", wanted.service, wanted.monitor.as_secs())
        }
        SwarmOperation::Probe { service, health_check } => {
            format!("check health of {service}: {}", health(health_check))
        }
        SwarmOperation::LocalTasks { service, patience, .. } => {
            let seconds = patience.as_secs();
            format!("wait for the tasks of {service} on this node, within {seconds}s: a manager updates it")
        }
        SwarmOperation::SaveRelease { service, release } => {
            format!("save release {service}: {}", saved(release))
        }
        SwarmOperation::Rollback { service, .. } => format!("docker service rollback {service}"),
        SwarmOperation::Remove { service, .. } => format!("docker service rm {service}"),
        SwarmOperation::Scale { service, to, stopped } => {
            let before = stopped.map(|before| format!(", with the label that it had {before}")).unwrap_or_default();
            format!("docker service scale {service}={to}{before}")
        }
        SwarmOperation::Restart { service } => format!("docker service update --force {service}"),
        SwarmOperation::RunTask(task) => match &task.work {
            SwarmWork::Command(command) => command_line(command, task.timeout),
            SwarmWork::Service(service) => {
                let (name, image) = (&task.task_lock.task, described(&service.image));
                let once = format!("run service {} from {image} once", service.name);
                let line = format!("task {name}: {once}, within {}s", task.timeout.as_secs());
                with_rows(line, request::service(service))
            }
        },
        SwarmOperation::EndTask(task_lock) => format!("end task {} where this node runs it", task_lock.task),
        SwarmOperation::RemoveTaskLock { service, .. } => format!("docker service rm {service}"),
        SwarmOperation::RemoveFile { kind, name } => format!("docker {} rm {name}", kind.as_str()),
    }
}

#[test]
fn what_is_known_to_fail_is_refused_by_the_plan() {
    let refused = |event, change: &dyn Fn(&mut SwarmFacts)| {
        let mut seen = seen();
        change(&mut seen);
        plan(event, &scenes::deployment_text(APPSPEC), &scenes::origin(), &facts(seen)).unwrap_err()
    };
    let outside = refused(BeforeInstall, &|seen| seen.role = Role::Outside);
    assert_eq!((outside.kind, outside.message.as_str()), (Kind::Engine, "this host is in no swarm"));
    assert!(outside.next.unwrap().contains("docker swarm init"));
    let locked = refused(ApplicationStart, &|seen| seen.role = Role::Unusable("this node is locked".into()));
    assert_eq!(locked.message, "the swarm cannot be used: this node is locked");
    let network = refused(ApplicationStart, &|seen| seen.networks.clear());
    assert_eq!(network.message, "appspec.yml:13:16: the swarm has no network front");
    let secret = refused(ApplicationStart, &|seen| seen.files.clear());
    assert_eq!(secret.message, "appspec.yml:15:15: the swarm has no secret db");
    let manager = || NodeProperties::of(&json!({ "ID": "node1", "Spec": { "Role": "manager" } }));
    let nowhere = refused(BeforeInstall, &|seen| seen.properties = vec![manager()]);
    assert_eq!(nowhere.message, "appspec.yml:21:33: no node of the swarm meets `node.role==worker`");
    let none = refused(ValidateService, &|_| ());
    assert_eq!((none.kind, none.message.as_str()), (Kind::Health, "the swarm has no service web"));
    let global = plan(
        ApplicationStart,
        &scenes::deployment_text(APPSPEC),
        &scenes::origin(),
        &serving(|spec| spec["Mode"] = json!({ "Global": {} })),
    );
    assert_eq!(global.unwrap_err().message, "a swarm cannot change the mode of service web");
    let other =
        plan(ValidateService, &scenes::deployment_text(APPSPEC), &scenes::origin(), &serving(older)).unwrap_err();
    assert!(other.message.contains("not the wanted registry.test:5443/team/web:1.4.2"), "{}", other.message);
}

#[test]
fn a_service_that_is_as_wanted_is_not_written_but_for_the_token() {
    let planned = scenes::planned(ApplicationStart, &serving(earlier));
    assert!(!planned.has_changes());
    let writes =
        |step: &Operation| matches!(step, Operation::Swarm(SwarmOperation::Create(_) | SwarmOperation::Update(_)));
    assert!(!planned.actions.iter().any(|action| writes(&action.operation)));
    let open = APPSPEC.replace("    command:", "    with_registry_auth: false\n    command:");
    let without =
        plan(ApplicationStart, &scenes::deployment_text(&open), &scenes::origin(), &serving(earlier)).unwrap();
    assert!(!text::plan(&without).contains("token"), "{}", text::plan(&without));
}

#[test]
fn the_number_of_tasks_set_by_hand_stays_where_the_file_says_none() {
    let scaled = serving(|spec| spec["Mode"]["Replicated"]["Replicas"] = 7.into());
    assert!(!scenes::planned(ApplicationStart, &scaled).has_changes());
    let said = APPSPEC.replace("    deploy:", "    deploy:\n      replicas: 2");
    let planned = plan(ApplicationStart, &scenes::deployment_text(&said), &scenes::origin(), &scaled).unwrap();
    let printed = text::plan(&planned);
    assert!(printed.lines().any(|line| line == "  ~ deploy.replicas  7 → 2"), "{printed}");
}

#[test]
fn where_the_release_before_is_not_known_here_nothing_is_said_to_be_set_by_hand() {
    let mut facts = serving(older);
    let by_hand = |facts: &Facts| text::plan(&scenes::planned(ApplicationStart, facts)).contains("set by hand");
    assert!(by_hand(&facts));
    facts.releases.clear();
    assert!(!by_hand(&facts));
}

#[test]
fn without_an_engine_the_plan_assumes_a_manager_and_says_so() {
    let blind = Facts { engine: Known::No("no socket".into()), swarm: Some(seen()), ..scenes::blind() };
    let printed =
        text::plan(&plan(ApplicationStart, &scenes::deployment_text(APPSPEC), &scenes::origin(), &blind).unwrap());
    assert!(printed.contains("assumed that this host is a manager of a swarm without the service"), "{printed}");
}
