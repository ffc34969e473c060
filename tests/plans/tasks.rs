//! Tasks around a deployment: when they run, as what, and what becomes of the deployment when one fails.

use std::time::Duration;

use balehook::config::Deployment;
use balehook::deploy::outcome::Stop;
use balehook::deploy::outcome::{Done, Failed, OldRelease};
use balehook::error::Failure;
use balehook::error::Kind;
use balehook::images::facts::ImageFacts;
use balehook::modes::container::operation::ContainerOperation;
use balehook::modes::facts::Facts;
use balehook::modes::operation::Operation;
use balehook::modes::operation::Plan;
use balehook::modes::plan;
use balehook::tasks::operation::TaskOperation;
use balehook::ui::text;
use balehook::values::pin::ImagePin;
use balehook::values::types::LifecycleEvent;

use crate::drift::{ConsoleProgress, Scribe, assert_received_as_printed, run};
use crate::{compose, golden, scenes};

const TASKS: &str = r#"
  before:
    - {name: migrate, command: [bin/migrate, "--to", "the newest"], user: admin, environment: {LOG_LEVEL: debug}, timeout: 5m}
    - {name: dump, run: [pg_dump, --quiet], environment: {PGPASSWORD: hunter2}}
  after:
    - {name: warm, entrypoint: /bin/warm}
    - {name: smoke, run: "scripts/smoke.sh --fast", required: true}
    - {name: tell, run: "logger 'it runs'", timeout: 5s}
"#;

fn planned(event: LifecycleEvent, facts: &Facts) -> Plan {
    plan(event, &with_tasks(TASKS), &scenes::origin(), facts).unwrap()
}

fn start(facts: &Facts) -> Plan {
    planned(LifecycleEvent::ApplicationStart, facts)
}

/// A task with an image of its own.
const TOOL: &str = r#"
  before:
    - {name: tool, image: "registry.test:5443/team/tool:7", environment: {ONLY: here}}
"#;

/// The image of that task, as it was looked up, on a host that serves.
fn with_tool(architecture: &str) -> Facts {
    let mut facts = scenes::serving();
    let pin = ImagePin::Registry {
        repository: "registry.test:5443/team/tool".into(),
        tag: Some("7".into()),
        digest: scenes::digest("tool"),
    };
    let key = "registry.test:5443/team/tool:7".to_owned();
    let tool = ImageFacts { key, pin, architecture: Some(architecture.into()), ..facts.images[0].clone() };
    facts.images.push(tool);
    facts
}

fn with_tasks(tasks: &str) -> Deployment {
    scenes::read(&format!("{}{tasks}", scenes::APPSPEC.trim_end()).replace("timeout: 300}", "timeout: 900}"))
}

/// Tasks of a Compose project.
const OF_A_PROJECT: &str = r#"
  before:
    - {name: migrate, service: web, command: [bin/migrate, "--to", "the newest"], user: admin, timeout: 5m,
       environment: {LOG_LEVEL: debug, DB_PASSWORD: hunter2}}
  after:
    - {name: warm, service: db, entrypoint: [/bin/warm, "all of it"], required: true}
    - {name: tell, run: "logger 'it runs'", timeout: 5s}
"#;

fn of_a_project(tasks: &str, facts: &Facts) -> Result<Plan, Failure> {
    let deployment =
        scenes::read(&format!("{}{tasks}", compose::APPSPEC.trim_end()).replace("timeout: 300}", "timeout: 900}"));
    plan(LifecycleEvent::ApplicationStart, &deployment, &scenes::origin(), facts)
}

/// A host on which a killed deployment left the container of a task.
fn left() -> Facts {
    Facts { task_containers: vec!["web.balehook-task-migrate".into()], ..scenes::serving() }
}

fn tasks_of(plan: &Plan) -> Vec<&TaskOperation> {
    let each = plan.all().filter_map(|action| match &action.operation {
        Operation::Task(task) => Some(task),
        _ => None,
    });
    each.collect()
}

/// The plan with the release that it would put in place serving already.
fn unchanged() -> Facts {
    let wanted = start(&scenes::serving()).actions.iter().find_map(|action| match &action.operation {
        Operation::Container(ContainerOperation::Create(spec)) => {
            spec.options.body.labels.as_ref()?.get("balehook.spec").cloned()
        }
        _ => None,
    });
    let mut facts = scenes::serving();
    facts.containers[0].spec = wanted;
    facts.retention_tags.clear();
    facts.imported.clear();
    facts
}

pub fn run_until(plan: &Plan, host: &mut Scribe, stop: Stop) -> (ConsoleProgress, Result<Done, Box<Failed>>) {
    crate::drift::run_until(plan, host, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop
    })
}

const MIGRATE: &str = "task migrate: run container web.balehook-task-migrate";
const SMOKE: &str = "timeout 60 ./scripts/smoke.sh";
const WARM: &str = "task warm: run container web.balehook-task-warm";

#[test]
fn a_before_that_fails_ends_the_deployment_with_the_old_release_untouched() {
    for (at, undone) in [
        (MIGRATE, vec!["docker rm --force --volumes web.balehook-task-migrate"]),
        (
            "timeout 60 env PGPASSWORD=*** pg_dump",
            vec!["kill task dump", "docker rm --force --volumes web.balehook-task-migrate"],
        ),
    ] {
        let mut host = Scribe { fails_at: Some(at), ..Scribe::default() };
        let (told, outcome) = run(&start(&scenes::serving()), &mut host);
        let failed = outcome.unwrap_err();
        assert!(matches!(failed.old, OldRelease::Untouched), "{:?}", failed.old);
        assert_eq!(told.undone, [undone, vec!["docker rm --force --volumes web.balehook-new"]].concat());
        assert!(!host.received.iter().any(|line| line.starts_with("docker stop")), "{:?}", host.received);
    }
}

#[test]
fn a_required_after_that_fails_puts_the_old_release_back() {
    let mut host = Scribe { fails_at: Some(SMOKE), ..Scribe::default() };
    let (told, outcome) = run(&start(&scenes::serving()), &mut host);
    let failed = outcome.unwrap_err();
    assert!(matches!(failed.old, OldRelease::Back(..)), "{:?}", failed.old);
    assert!(told.undone.contains(&"docker start web".to_owned()), "{:?}", told.undone);
    assert!(!host.received.iter().any(|line| line.starts_with("save release")), "{:?}", host.received);
    assert!(failed.step.starts_with("task smoke: ./scripts/smoke.sh --fast"), "{}", failed.step);
}

#[test]
fn an_after_that_is_not_required_is_said_and_everything_goes_on() {
    for at in [WARM, "timeout 5 logger"] {
        let mut host = Scribe { fails_at: Some(at), ..Scribe::default() };
        let (told, outcome) = run(&start(&scenes::serving()), &mut host);
        let done = outcome.unwrap();
        assert!(done.warnings[0].starts_with("task "), "{:?}", done.warnings);
        assert!(told.undone.is_empty() && host.received.iter().any(|line| line.starts_with("save release")));
        assert!(host.received.iter().any(|line| line.starts_with("docker rm --force web.balehook-old")));
    }
}

#[test]
fn a_deadline_or_a_signal_during_a_task_ends_the_task_and_puts_the_old_release_back() {
    for (at, killed) in [(MIGRATE, "docker rm --force --volumes web.balehook-task-migrate"), (SMOKE, "kill task smoke")]
    {
        for stop in [Stop::Signal("SIGTERM"), Stop::Deadline(Duration::from_secs(5))] {
            let mut host = Scribe { hangs_at: Some(at), ..Scribe::default() };
            let (told, outcome) = run_until(&start(&scenes::serving()), &mut host, stop);
            let failed = outcome.unwrap_err();
            assert!(matches!(failed.failure.kind, Kind::Interrupted | Kind::Deadline));
            assert_eq!(told.undone[0], killed);
            assert!(matches!(failed.old, OldRelease::Untouched | OldRelease::Back(..)), "{:?}", failed.old);
        }
    }
}

#[test]
fn a_deadline_during_a_task_when_the_release_is_on_record_ends_the_task_alone() {
    let mut host = Scribe { hangs_at: Some("timeout 5 logger"), ..Scribe::default() };
    let (told, outcome) = run_until(&start(&scenes::serving()), &mut host, Stop::Deadline(Duration::from_secs(5)));
    let done = outcome.unwrap();
    assert_eq!(told.undone, ["kill task tell"]);
    assert!(done.warnings[0].contains("the time for ApplicationStart was up"), "{:?}", done.warnings);
}

#[test]
fn a_tasks_own_image_for_another_processor_is_refused_before_anything_is_touched() {
    for event in [LifecycleEvent::BeforeInstall, LifecycleEvent::AfterInstall, LifecycleEvent::ApplicationStart] {
        let refused = plan(event, &with_tasks(TOOL), &scenes::origin(), &with_tool("arm64")).unwrap_err();
        assert_eq!(refused.kind, Kind::Image);
        assert!(refused.message.contains("tool:7") && refused.message.contains("is built for arm64"), "{refused}");
    }
}

#[test]
fn a_task_that_names_a_service_which_the_project_lacks_is_refused_before_anything_is_touched() {
    let refused = of_a_project(&OF_A_PROJECT.replace("service: db", "service: bd"), &compose::serving()).unwrap_err();
    assert_eq!(refused.kind, Kind::Appspec);
    assert_eq!(refused.message, "task warm names `bd`, which is no active service");
    assert!(refused.next.unwrap().contains("db, web"));
}

#[test]
fn a_before_of_a_project_that_fails_comes_before_any_container_is_touched() {
    let mut host = Scribe { fails_at: Some("timeout 300 /plugins/docker-compose"), ..Scribe::default() };
    let (told, outcome) = run(&of_a_project(OF_A_PROJECT, &compose::serving()).unwrap(), &mut host);
    assert_eq!(outcome.unwrap_err().failure.message, "told to fail");
    assert_eq!(told.undone[..2], ["kill task migrate", "docker rm --force --volumes web.balehook-task-migrate"]);
    assert!(!told.begun.iter().any(|line| line.contains(" up --detach")), "{:?}", told.begun);
}

#[test]
fn an_unchanged_project_runs_no_task() {
    let plan = of_a_project(OF_A_PROJECT, &compose::same()).unwrap();
    assert!(tasks_of(&plan).is_empty(), "{}", text::plan(&plan));
}

#[test]
fn an_unchanged_release_runs_no_task() {
    let plan = start(&unchanged());
    assert!(tasks_of(&plan).is_empty() && !plan.has_changes(), "{}", text::plan(&plan));
}

#[test]
fn no_other_event_runs_a_task_and_each_removes_what_a_killed_deployment_left() {
    for event in [LifecycleEvent::ApplicationStop, LifecycleEvent::BeforeInstall, LifecycleEvent::AfterInstall] {
        let plan = planned(event, &left());
        assert!(
            matches!(tasks_of(&plan)[..], [TaskOperation::Remove { container }] if container == "web.balehook-task-migrate"),
            "{}",
            text::plan(&plan)
        );
        assert!(tasks_of(&planned(event, &scenes::serving())).is_empty());
    }
}

#[test]
fn every_plan_with_tasks_reads_as_its_golden_file_and_holds_no_secret() {
    let tool = plan(LifecycleEvent::ApplicationStart, &with_tasks(TOOL), &scenes::origin(), &with_tool("amd64"));
    let scenes = [
        ("start-task-tool", tool.unwrap()),
        ("compose-start-tasks", of_a_project(OF_A_PROJECT, &compose::serving()).unwrap()),
        ("start-tasks", start(&scenes::serving())),
        ("start-tasks-first", start(&scenes::empty())),
        ("start-tasks-left", start(&left())),
        ("stop-tasks-left", planned(LifecycleEvent::ApplicationStop, &left())),
    ];
    let wrong: Vec<String> =
        scenes.iter().filter_map(|(name, plan)| golden::differs(name, &text::plan(plan))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (name, plan) in &scenes {
        let forms = [text::plan(plan), format!("{plan:?}"), balehook::ui::json::plan(plan).to_string()];
        assert!(forms.iter().all(|form| !form.contains("hunter2")), "{name}");
    }
}

#[test]
fn a_host_receives_exactly_what_plans_with_tasks_print() {
    for facts in [scenes::serving(), scenes::empty(), left()] {
        assert_received_as_printed("tasks", &start(&facts));
    }
    assert_received_as_printed("tasks of a project", &of_a_project(OF_A_PROJECT, &compose::serving()).unwrap());
}

#[test]
fn a_tasks_container_is_not_to_be_found_in_the_services_place() {
    let plan = start(&scenes::serving());
    let TaskOperation::Container { spec, .. } = tasks_of(&plan)[0] else { panic!("the first task is a container's") };
    let body = &spec.options.body;
    let host = body.host_config.as_ref().unwrap();
    assert!(host.port_bindings.is_none() && host.restart_policy.is_none() && body.exposed_ports.is_none());
    let endpoints = body.networking_config.as_ref().unwrap().endpoints_config.as_ref().unwrap();
    assert!(endpoints.values().all(|endpoint| endpoint.aliases.is_none() && endpoint.ipam_config.is_none()));
    assert_eq!(endpoints.len() + spec.options.extra_networks.len(), 2, "it is in the service's networks");
    let labels = body.labels.as_ref().unwrap();
    assert_eq!(labels["balehook.task"], "migrate");
    assert!(!labels.contains_key("balehook.spec"));
    let vars: Vec<_> =
        spec.environment.iter().map(|var| (&var.name[..], var.value.as_ref().unwrap().reveal())).collect();
    assert_eq!(vars, [("DB_PASSWORD", "hunter2"), ("LOG_LEVEL", "debug")], "the service's own, and the task's win");
}
