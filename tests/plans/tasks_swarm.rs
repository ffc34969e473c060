//! Tasks around a swarm's service: which manager runs them, as what, and what they leave.

use balehook::deploy::journal::{Interrupted, Journal, Left};
use balehook::deploy::origin::MANUAL;
use balehook::deploy::origin::Origin;
use balehook::deploy::outcome::OldRelease;
use balehook::deploy::outcome::Stop;
use balehook::error::Failure;
use balehook::error::Kind;
use balehook::modes::facts::Facts;
use balehook::modes::operation::Operation;
use balehook::modes::operation::Plan;
use balehook::modes::plan;
use balehook::modes::swarm::facts::Role;
use balehook::modes::swarm::facts::SwarmFacts;
use balehook::modes::swarm::facts::TaskLockFacts;
use balehook::modes::swarm::operation::ServiceRequest;
use balehook::modes::swarm::operation::SwarmOperation;
use balehook::modes::swarm::task::SwarmTask;
use balehook::modes::swarm::task::SwarmWork;
use balehook::ui::text;
use balehook::values::types::LifecycleEvent;
use balehook::values::types::LifecycleEvent::AfterInstall;
use balehook::values::types::LifecycleEvent::ApplicationStart;
use balehook::values::types::LifecycleEvent::BeforeInstall;
use serde_json::json;

use crate::drift::{Scribe, assert_received_as_printed, run};
use crate::swarm::{APPSPEC, earlier, facts, older, seen, serving};
use crate::tasks::run_until;
use crate::{golden, scenes};

const TASKS: &str = r#"
  before:
    - {name: migrate, command: [bin/migrate, "--to", "the newest"], user: admin, environment: {LOG_LEVEL: debug}, timeout: 5m}
    - {name: dump, run: [pg_dump, --quiet], environment: {PGPASSWORD: hunter2}}
  after:
    - {name: warm, entrypoint: /bin/warm}
    - {name: smoke, run: "scripts/smoke.sh --fast", required: true}
    - {name: tell, run: "logger 'it runs'", timeout: 5s}
"#;

const MIGRATE: &str = "task migrate: run service";
const SMOKE: &str = "timeout 60 ./scripts/smoke.sh";

fn planned_by(origin: &Origin, event: LifecycleEvent, facts: &Facts) -> Result<Plan, Failure> {
    let text = format!("{}{TASKS}", APPSPEC.trim_end()).replace("timeout: 300}", "timeout: 900}");
    plan(event, &scenes::read(&text), origin, facts)
}

fn planned(event: LifecycleEvent, facts: &Facts) -> Plan {
    planned_by(&scenes::origin(), event, facts).unwrap()
}

fn start(facts: &Facts) -> Plan {
    planned(ApplicationStart, facts)
}

fn names(plan: &Plan) -> Vec<&str> {
    tasks(plan).map(|task| task.task_lock.task.as_str()).collect()
}

fn tasks(plan: &Plan) -> impl Iterator<Item = &SwarmTask> {
    plan.actions.iter().filter_map(|action| match &action.operation {
        Operation::Swarm(SwarmOperation::RunTask(task)) => Some(&**task),
        _ => None,
    })
}

fn job(plan: &Plan) -> &ServiceRequest {
    let found = tasks(plan).find_map(|task| match &task.work {
        SwarmWork::Service(service) => Some(&**service),
        SwarmWork::Command(_) => None,
    });
    found.expect("a task is a container's")
}

/// The locks that earlier deployments left, and those of this one, on this node and on another one.
fn left() -> Vec<TaskLockFacts> {
    let left = |id: &str, node: &str, deployment: &str, has_ended| TaskLockFacts {
        service: format!("balehook-task-{id}"),
        id: id.into(),
        node: node.into(),
        deployment: deployment.into(),
        has_ended,
    };
    let here = seen().node;
    vec![
        left("killed", &here, "d-CUT", false),
        left("mine", &here, "d-NEW", true),
        left("old", "other", "d-OLD", true),
        left("theirs", "other", "d-NEW", true),
        left("running", "other", "d-OTHER", false),
    ]
}

fn cleared(plan: &Plan) -> Vec<String> {
    let is_clear = |step: &&Operation| matches!(step, Operation::Swarm(SwarmOperation::RemoveTaskLock { .. }));
    plan.actions.iter().map(|action| &action.operation).filter(is_clear).map(ToString::to_string).collect()
}

/// The service is as wanted, and says which deployment made it so.
fn made_by(deployment: &str) -> Facts {
    serving(|spec| spec["Labels"]["balehook.deployment"] = deployment.into())
}

#[test]
fn a_before_that_fails_ends_the_deployment_with_the_service_untouched() {
    for (at, undone) in [
        (MIGRATE, vec!["end task migrate where this node runs it"]),
        (
            "timeout 60 env PGPASSWORD",
            vec!["end task dump where this node runs it", "end task migrate where this node runs it"],
        ),
    ] {
        let mut host = Scribe { fails_at: Some(at), ..Scribe::default() };
        let (told, outcome) = run(&start(&serving(older)), &mut host);
        let failed = outcome.unwrap_err();
        assert!(matches!(failed.old, OldRelease::Untouched), "{:?}", failed.old);
        assert_eq!(told.undone, undone);
        assert!(!told.begun.iter().any(|line| line.starts_with("update service")), "{:?}", told.begun);
    }
}

#[test]
fn a_required_after_that_fails_rolls_the_service_back_and_one_that_is_not_is_said() {
    let plan = start(&serving(older));
    let mut host = Scribe { fails_at: Some(SMOKE), ..Scribe::default() };
    let (told, outcome) = run(&plan, &mut host);
    let failed = outcome.unwrap_err();
    assert!(matches!(failed.old, OldRelease::Back(..)), "{:?}", failed.old);
    assert!(told.undone.contains(&"docker service rollback web".to_owned()), "{:?}", told.undone);
    assert!(!told.begun.iter().any(|line| line.starts_with("save release")), "{:?}", told.begun);

    let mut host = Scribe { fails_at: Some("timeout 5 logger"), ..Scribe::default() };
    let (told, outcome) = run(&plan, &mut host);
    assert!(outcome.unwrap().warnings[0].starts_with("task tell"));
    assert!(told.undone.is_empty());
}

#[test]
fn a_signal_during_a_task_ends_it_and_leaves_the_service_untouched() {
    let waits_for = Some("the manager has not answered for 9 s");
    let mut host = Scribe { hangs_at: Some(MIGRATE), waits_for, ..Scribe::default() };
    let (told, outcome) = run_until(&start(&serving(older)), &mut host, Stop::Signal("SIGTERM"));
    let failure = outcome.unwrap_err().failure;
    let said = "SIGTERM was received: the manager has not answered for 9 s";
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Interrupted, said));
    assert_eq!(told.undone, ["end task migrate where this node runs it"]);
}

#[test]
fn an_unchanged_service_and_a_worker_run_no_task() {
    let unchanged = start(&serving(earlier));
    assert!(names(&unchanged).is_empty() && !unchanged.has_changes(), "{}", text::plan(&unchanged));
    let worker = start(&facts(SwarmFacts { role: Role::Worker, ..SwarmFacts::empty(Role::Manager) }));
    assert!(names(&worker).is_empty());
    assert!(worker.notes.iter().any(|note| note == "`before` and `after` are run by a manager"), "{:?}", worker.notes);
}

#[test]
fn a_manager_that_comes_when_another_has_updated_for_this_deployment_waits_for_the_required_after_too() {
    let late = start(&made_by("d-NEW"));
    assert_eq!(names(&late), ["smoke"], "{}", text::plan(&late));
    assert!(!text::plan(&late).contains("token"), "a write now would take away what the other one can go back to");
    let mut host = Scribe { fails_at: Some(SMOKE), ..Scribe::default() };
    let (told, outcome) = run(&late, &mut host);
    outcome.unwrap_err();
    assert_eq!(told.undone, ["end task smoke where this node runs it", "docker service rollback web"]);

    assert!(names(&start(&serving(earlier))).is_empty(), "an earlier deployment made it so");
    let mut recorded = made_by("d-NEW");
    let wanted = recorded.swarm.as_ref().unwrap().service.as_ref().unwrap().spec.label("balehook.spec").unwrap();
    recorded.releases = vec![scenes::release("1.4.2", "d-NEW", "a1")];
    recorded.releases[0].spec = wanted.to_owned();
    assert!(names(&start(&recorded)).is_empty(), "this node knows that it ended well");
    let by_hand = Origin { deployment: MANUAL.into(), ..scenes::origin() };
    let plan = planned_by(&by_hand, ApplicationStart, &made_by(MANUAL)).unwrap();
    assert!(names(&plan).is_empty(), "by hand every deployment has the same name");
}

#[test]
fn managers_agree_on_the_name_of_a_tasks_lock_and_deployments_do_not() {
    let locks = |origin: &Origin, node: &str| {
        let mut facts = serving(older);
        facts.swarm.as_mut().unwrap().node = node.into();
        let plan = planned_by(origin, ApplicationStart, &facts).unwrap();
        tasks(&plan).map(|task| task.task_lock.service.clone()).collect::<Vec<_>>()
    };
    let (here, there) = (locks(&scenes::origin(), "one"), locks(&scenes::origin(), "two"));
    assert_eq!(here, there);
    let later = locks(&Origin { deployment: "d-LATER".into(), ..scenes::origin() }, "one");
    assert!(here.iter().all(|task_lock| !later.contains(task_lock) && task_lock.len() <= 63), "{here:?}");
}

#[test]
fn what_earlier_tasks_left_goes_first_but_not_what_this_deployment_has_elsewhere() {
    let with = |facts: Facts| Facts { swarm: Some(SwarmFacts { task_locks: left(), ..facts.swarm.unwrap() }), ..facts };
    let changed = start(&with(serving(older)));
    assert_eq!(
        cleared(&changed),
        [
            "docker service rm balehook-task-killed",
            "docker service rm balehook-task-mine",
            "docker service rm balehook-task-old"
        ]
    );
    assert!(changed.actions[..3].iter().all(|action| action.best_effort));
    let unchanged = start(&with(serving(earlier)));
    assert_eq!(cleared(&unchanged), ["docker service rm balehook-task-killed"]);
}

#[test]
fn a_job_has_the_services_surroundings_but_is_not_to_be_found_in_its_place() {
    let plan = start(&serving(older));
    let job = job(&plan);
    let template = &job.spec["TaskTemplate"];
    let container = &template["ContainerSpec"];
    assert_eq!(template["Networks"], json!([{ "Target": "front" }, { "Target": "back" }]), "no aliases");
    assert_eq!(template["Placement"], json!({ "Constraints": [format!("node.id=={}", seen().node)] }));
    assert_eq!(template["RestartPolicy"], json!({ "Condition": "none" }));
    assert_eq!(template["Resources"], json!({ "Limits": { "MemoryBytes": 67_108_864, "NanoCPUs": 500_000_000 } }));
    assert_eq!(container["Secrets"][0]["SecretName"], "db");
    assert_eq!(
        (&container["Args"], &container["User"]),
        (&json!(["bin/migrate", "--to", "the newest"]), &json!("admin"))
    );
    assert_eq!(container["Healthcheck"], json!({ "Test": ["NONE"] }));
    for key in ["EndpointSpec", "UpdateConfig", "RollbackConfig"] {
        assert!(job.spec[key].is_null(), "{key}: {}", job.spec);
    }
    assert!(job.spec["Labels"]["balehook.spec"].is_null() && job.spec["Labels"]["team"].is_null());
    let vars: Vec<_> =
        job.environment.iter().map(|var| (&var.name[..], var.value.as_ref().unwrap().reveal())).collect();
    assert_eq!(vars, [("DB_PASSWORD", "hunter2"), ("LOG_LEVEL", "debug")]);
}

#[test]
fn on_a_drained_node_a_job_runs_where_the_services_tasks_may() {
    let mut facts = serving(older);
    facts.swarm.as_mut().unwrap().is_drained = true;
    let plan = start(&facts);
    let placement = &job(&plan).spec["TaskTemplate"]["Placement"];
    assert_eq!(placement["Constraints"], json!(["node.role==worker"]));
    assert!(placement["MaxReplicas"].is_null());
}

#[test]
fn no_other_event_runs_a_task() {
    for event in [BeforeInstall, AfterInstall, LifecycleEvent::ApplicationStop, LifecycleEvent::ValidateService] {
        assert!(names(&planned(event, &serving(|_| ()))).is_empty(), "{event}");
    }
}

#[test]
fn what_a_killed_event_runs_on_this_node_ends_with_the_next_event_and_the_service_stays_as_it_is() {
    let plan = start(&serving(older));
    let journal = Journal::of(&plan, "d-KILLED", 3).unwrap();
    let killed = Interrupted { journal, begun: plan.actions.len(), is_saved: false };
    assert!(killed.operations().iter().any(|operation| operation.to_string().contains("rollback")));
    let facts = Facts { left: Some(Left::Plan(killed)), ..serving(older) };
    for event in [BeforeInstall, AfterInstall, ApplicationStart] {
        let recovery = planned(event, &facts).recovery.unwrap();
        let ended: Vec<String> = recovery.iter().map(|action| action.operation.to_string()).collect();
        let each =
            ["tell", "smoke", "warm", "dump", "migrate"].map(|task| format!("end task {task} where this node runs it"));
        assert_eq!(ended, each, "{event}");
    }
}

#[test]
fn every_plan_reads_as_its_golden_file_holds_no_secret_and_is_what_a_host_receives() {
    let with_left = {
        let facts = serving(older);
        Facts { swarm: Some(SwarmFacts { task_locks: left(), ..facts.swarm.clone().unwrap() }), ..facts }
    };
    let scenes = [
        ("swarm-tasks", start(&serving(older))),
        ("swarm-tasks-first", start(&facts(seen()))),
        ("swarm-tasks-left", start(&with_left)),
        ("swarm-tasks-late", start(&made_by("d-NEW"))),
    ];
    let wrong: Vec<String> =
        scenes.iter().filter_map(|(name, plan)| golden::differs(name, &text::plan(plan))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (name, plan) in &scenes {
        let forms = [text::plan(plan), format!("{plan:?}"), balehook::ui::json::plan(plan).to_string()];
        assert!(forms.iter().all(|form| !form.contains("hunter2")), "{name}");
        assert_received_as_printed(name, plan);
    }
    let writes =
        |step: &Operation| matches!(step, Operation::Swarm(SwarmOperation::Update(_) | SwarmOperation::Create(_)));
    assert!(scenes[..3].iter().all(|(_, plan)| plan.actions.iter().any(|action| writes(&action.operation))));
}
