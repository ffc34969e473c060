//! `resume` after an event that was killed at each of its actions, in all modes: what it prints, and that what it prints is
//! what a host receives.

use balehook::deploy::journal::Left;
use balehook::deploy::journal::{Interrupted, Journal};
use balehook::deploy::plan::Operation as _;
use balehook::engine::facts::ContainerFacts;
use balehook::modes::container::operation::ContainerOperation;
use balehook::modes::facts::Facts;
use balehook::modes::operation::{Operation, Plan};
use balehook::modes::resume::{self, Only};
use balehook::values::operation::Role;
use balehook::values::types::LifecycleEvent::ApplicationStart;

use crate::drift::assert_received_as_printed;
use crate::{compose, golden, scenes, swarm};

/// The host after the first `begun` actions were done, and then the event was killed.
fn killed(facts: &Facts, plan: &Plan, begun: usize) -> Facts {
    let journal = Journal::of(plan, "d-NEW", 3);
    let mut killed = Facts { ..facts.clone() };
    let mut is_saved = false;
    for action in &plan.actions[..begun] {
        if let Operation::Container(operation) = &action.operation {
            apply(operation, &mut killed);
        }
        is_saved |= action.role == Role::Saves;
    }
    killed.left = journal.map(|journal| Left::Plan(Interrupted { journal, begun, is_saved }));
    killed
}

/// What an operation makes of the host's containers.
fn apply(operation: &ContainerOperation, facts: &mut Facts) {
    let find = |facts: &mut Facts, name: &str| facts.containers.iter().position(|found| found.name == name);
    match operation {
        ContainerOperation::Create(spec) => {
            facts.containers.push(ContainerFacts { name: spec.name.clone(), ..scenes::container("", "c3", "created") });
        }
        ContainerOperation::Recreate { container, spec } => {
            let is_there = facts.containers.iter().any(|found| Some(&found.id) == container.id.as_ref());
            if !is_there {
                let found = scenes::container("", "a1", "created");
                facts.containers.push(ContainerFacts { name: spec.name.clone(), ..found });
            }
        }
        ContainerOperation::Stop { container, .. } | ContainerOperation::Kill { container } => {
            let at = find(facts, &container.name).unwrap();
            facts.containers[at].state = "exited".into();
        }
        ContainerOperation::Start { container } => {
            let at = find(facts, &container.name).unwrap();
            facts.containers[at].state = "running".into();
        }
        ContainerOperation::Rename { container, to } => {
            let at = find(facts, &container.name).unwrap();
            facts.containers[at].name.clone_from(to);
        }
        ContainerOperation::Remove { container, .. } => {
            facts.containers.retain(|found| found.name != container.name);
        }
        ContainerOperation::SaveRelease { release, .. } => {
            let observed = scenes::release("1.4.2", "d-NEW", "c3").observed;
            facts.releases.insert(0, balehook::modes::release::Release { observed, ..(**release).clone() });
        }
        ContainerOperation::WriteSecrets(set) => facts.container.secrets.folders.push(set.folder.clone()),
        ContainerOperation::RemoveSecrets { folder } => {
            facts.container.secrets.folders.retain(|known| known != folder);
        }
        ContainerOperation::CheckHealth { .. } => {}
    }
}

/// `resume` after a kill at each action of ApplicationStart.
fn at_each_action(facts: &Facts, plan: &Plan) -> Vec<(String, Plan)> {
    let each = (0..=plan.actions.len()).map(|begun| {
        let at = match begun.checked_sub(1) {
            None => "before the first action".to_owned(),
            Some(last) => format!("after {}", plan.actions[last].operation.title()),
        };
        (at, resume::plan(&"web".parse().unwrap(), &killed(facts, plan, begun), None, Only::Everything))
    });
    each.collect()
}

fn all() -> Vec<(&'static str, Vec<(String, Plan)>)> {
    let start = |facts: &Facts| scenes::planned(ApplicationStart, facts);
    let start_first = |facts: &Facts| scenes::planned_with(ApplicationStart, facts, scenes::start_first);
    vec![
        ("resume-container", at_each_action(&scenes::serving(), &start(&scenes::serving()))),
        ("resume-container-first", at_each_action(&scenes::empty(), &start(&scenes::empty()))),
        ("resume-start-first", at_each_action(&scenes::handing(), &start_first(&scenes::handing()))),
        ("resume-compose", at_each_action(&compose::serving(), &start(&compose::serving()))),
        ("resume-compose-first", at_each_action(&compose::empty(), &start(&compose::empty()))),
        ("resume-swarm", at_each_action(&swarm::serving(swarm::older), &start(&swarm::serving(swarm::older)))),
    ]
}

#[test]
fn resume_after_a_kill_at_each_action_reads_as_its_golden_file() {
    let wrong: Vec<String> = all()
        .into_iter()
        .filter_map(|(name, plans)| {
            let each = plans.iter().map(|(at, plan)| format!("== {at}\n{}", balehook::ui::text::plan(plan)));
            golden::differs(name, &each.collect::<String>())
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_host_receives_exactly_what_every_resume_prints() {
    for (name, plans) in all() {
        plans.iter().for_each(|(at, plan)| assert_received_as_printed(&format!("{name} {at}"), plan));
    }
}

#[test]
fn after_a_kill_at_any_action_exactly_one_container_runs_under_the_name_when_resume_is_done() {
    for (facts, plan) in [
        (scenes::serving(), scenes::planned(ApplicationStart, &scenes::serving())),
        (scenes::handing(), scenes::planned_with(ApplicationStart, &scenes::handing(), scenes::start_first)),
    ] {
        for begun in 0..=plan.actions.len() {
            let mut host = killed(&facts, &plan, begun);
            let is_saved = host.releases.len() > facts.releases.len();
            let resume = resume::plan(&"web".parse().unwrap(), &host, None, Only::Everything);
            for action in resume.all() {
                if let Operation::Container(operation) = &action.operation {
                    apply(operation, &mut host);
                }
            }
            let serving = if is_saved { "c3" } else { "a1" }.repeat(32);
            let left: Vec<(&str, &str, &str)> = host
                .containers
                .iter()
                .map(|found| (found.name.as_str(), found.id.as_str(), found.state.as_str()))
                .collect();
            assert_eq!(left, [("web", serving.as_str(), "running")], "begun {begun}: {resume:?}");
        }
    }
}

#[test]
fn after_a_kill_at_any_action_and_a_prune_of_all_stopped_containers_resume_creates_the_old_one_anew_with_its_volumes() {
    let facts = scenes::with_volumes();
    let plan = scenes::planned(ApplicationStart, &facts);
    let before_saved = plan.actions.iter().position(|action| action.role == Role::Saves).unwrap();
    let mut anew = 0;
    for begun in 0..=before_saved {
        let mut host = killed(&facts, &plan, begun);
        host.containers.retain(ContainerFacts::is_running);
        let is_gone = !host.containers.iter().any(|found| found.id == "a1".repeat(32));
        let resume = resume::plan(&"web".parse().unwrap(), &host, None, Only::Everything);
        for action in resume.all() {
            if let Operation::Container(operation) = &action.operation {
                apply(operation, &mut host);
            }
            if let Operation::Container(ContainerOperation::Recreate { spec, .. }) = &action.operation {
                let binds = spec.options.body.host_config.as_ref().unwrap().binds.as_ref().unwrap();
                assert_eq!(*binds, [format!("{}:/cache", "c".repeat(64)), format!("{}:/data", "d".repeat(64))]);
                anew += 1;
            }
        }
        let left: Vec<_> = host
            .containers
            .iter()
            .map(|found| (found.name.as_str(), found.id.as_str(), found.state.as_str()))
            .collect();
        assert_eq!(left, [("web", "a1".repeat(32).as_str(), "running")], "begun {begun}: {resume:?}");
        assert_eq!(is_gone, resume.all().any(|action| action.operation.to_string().contains("anew")), "begun {begun}");
    }
    assert!(anew > 2, "{anew}");
}

#[test]
fn after_a_kill_at_any_action_exactly_one_container_runs_under_the_name_where_the_state_is_lost_too() {
    use balehook::values::types::LifecycleEvent::BeforeInstall;
    let as_it_is = |text: String| text;
    for (facts, change) in
        [(scenes::serving(), as_it_is as fn(String) -> String), (scenes::handing(), scenes::start_first)]
    {
        let plan = scenes::planned_with(ApplicationStart, &facts, change);
        for begun in 0..=plan.actions.len() {
            let mut host = Facts { left: None, releases: Vec::new(), ..killed(&facts, &plan, begun) };
            let next = scenes::planned_with(BeforeInstall, &host, change);
            for action in next.all() {
                if let Operation::Container(operation) = &action.operation {
                    apply(operation, &mut host);
                }
            }
            let left: Vec<_> =
                host.containers.iter().map(|found| (found.name.as_str(), found.state.as_str())).collect();
            assert_eq!(left, [("web", "running")], "begun {begun}: {next:?}");
        }
    }
}

/// A project without a record, of which a service's container was being replaced when Compose was killed.
fn replaced(containers: &[(&str, &str, &str, &str)]) -> Facts {
    let containers = containers.iter().map(|(name, id, state, service)| ContainerFacts {
        service: Some((*service).into()),
        ..scenes::container(name, id, state)
    });
    Facts { containers: containers.collect(), releases: Vec::new(), ..compose::serving() }
}

#[test]
fn without_state_a_service_whose_container_was_being_replaced_has_its_old_one_again_or_else_the_new_one() {
    use balehook::values::types::LifecycleEvent::BeforeInstall;
    let new = ("0123456789ab_web-web-1", "c3", "created", "web");
    let (new_twice, db) =
        (("0123456789ab_0123456789ab_web-web-1", "c3", "created", "web"), ("web-db-1", "d4", "running", "db"));
    let old = |state| ("web-web-1", "a1", state, "web");
    let healthy = "check health of web: web healthy, running for 1s or exited with 0, asked every 100ms, within 30s";
    let removed = "docker rm --force 0123456789ab_web-web-1";
    for (containers, wanted) in [
        (vec![old("exited"), new, db], vec![removed, "docker start web-web-1", healthy]),
        (vec![new, db], vec!["docker rename 0123456789ab_web-web-1 web-web-1", "docker start web-web-1", healthy]),
        (
            vec![new_twice, db],
            vec!["docker rename 0123456789ab_0123456789ab_web-web-1 web-web-1", "docker start web-web-1", healthy],
        ),
        (vec![old("running"), new, db], vec![removed]),
        (vec![old("exited"), db], vec![]),
    ] {
        let facts = replaced(&containers);
        let resume = resume::plan(&"web".parse().unwrap(), &facts, None, Only::Everything);
        let recovery = |plan: &Plan| -> Vec<String> {
            plan.recovery.iter().flatten().map(|action| action.operation.to_string()).collect()
        };
        assert_eq!(recovery(&resume), wanted, "{containers:?}");
        assert_eq!(recovery(&scenes::planned(BeforeInstall, &facts)), wanted, "{containers:?}");
    }
}

#[test]
fn a_host_that_lost_its_power_before_up_was_begun_gets_its_files_back_and_starts_what_does_not_run() {
    let (facts, plan) = (compose::serving(), scenes::planned(ApplicationStart, &compose::serving()));
    let check_out = plan.actions.iter().position(|action| action.operation.title().starts_with("check out")).unwrap();
    let mut host = killed(&facts, &plan, check_out + 1);
    host.releases[0].observed.running = vec!["web-web-1".into()];
    let titles = |host: &Facts| -> Vec<String> {
        let resume = resume::plan(&"web".parse().unwrap(), host, None, Only::Everything);
        resume.all().map(|action| action.operation.title().split(" /").next().unwrap().to_owned()).collect()
    };
    assert_eq!(titles(&host), ["check out"]);

    host.containers[0].state = "exited".into();

    let titles = titles(&host);
    assert!(titles.iter().any(|title| title.ends_with("up --detach")), "{titles:?}");
}

#[test]
fn a_container_that_was_renamed_gets_its_name_back_before_it_is_replaced_or_kept() {
    use balehook::values::types::LifecycleEvent::BeforeInstall;
    let mut facts = scenes::serving();
    facts.containers[0].name = "other".into();
    facts.releases[0].observed.container.clone_from(&facts.containers[0].id);
    for plan in [
        resume::plan(&"web".parse().unwrap(), &facts, None, Only::Everything),
        scenes::planned(BeforeInstall, &facts),
        scenes::planned(ApplicationStart, &facts),
    ] {
        let first = plan.all().next().unwrap();
        assert_eq!(first.operation.to_string(), "docker rename other web", "{}", balehook::ui::text::plan(&plan));
    }

    facts.releases.clear();

    let resume = resume::plan(&"web".parse().unwrap(), &facts, None, Only::Everything);
    assert_eq!(resume.all().count(), 0, "without a record it may be anybody's");
}

#[test]
fn an_unmanaged_container_with_the_name_of_a_new_one_is_not_removed() {
    let mut facts = scenes::serving();
    let new = ContainerFacts { ours: false, ..scenes::container("web.balehook-new", "c3", "exited") };
    facts.containers.push(new);
    let resume = resume::plan(&"web".parse().unwrap(), &facts, None, Only::Everything);
    assert_eq!(resume.all().count(), 0, "{}", balehook::ui::text::plan(&resume));

    facts.containers[1].ours = true;

    let resume = resume::plan(&"web".parse().unwrap(), &facts, None, Only::Everything);
    assert_eq!(resume.all().count(), 1);
}
