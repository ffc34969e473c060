//! `stop`, `start` and `restart` in all modes: what they print, that a host receives that, and that `resume` agrees.

use balehook::error::Kind;
use balehook::modes::by_hand::{self, ByHand};
use balehook::modes::facts::Facts;
use balehook::modes::operation::Plan;
use balehook::modes::resume::{self, Only};
use balehook::modes::swarm::facts::Role;
use balehook::values::types::LifecycleEvent::ApplicationStart;
use serde_json::json;

use crate::drift::{assert_received_as_printed, printed};
use crate::{compose, golden, scenes, swarm};

const ALL: [ByHand; 3] = [ByHand::Stop, ByHand::Start, ByHand::Restart];

fn planned(what: ByHand, facts: &Facts) -> Plan {
    by_hand::plan(what, &"web".parse().unwrap(), facts).unwrap()
}

/// The host once a person has stopped the name.
fn stopped(mut facts: Facts) -> Facts {
    facts.stopped = true;
    facts.containers.iter_mut().for_each(|container| container.state = "exited".into());
    facts
}

fn halted(spec: &mut serde_json::Value) {
    swarm::older(spec);
    spec["Labels"]["balehook.stopped"] = "5".into();
    spec["Mode"]["Replicated"]["Replicas"] = 0.into();
}

fn scenes() -> Vec<(&'static str, Facts)> {
    vec![
        ("a container that runs", scenes::serving()),
        ("a container that was stopped", stopped(scenes::serving())),
        ("a project that runs", compose::serving()),
        ("a project that was stopped", stopped(compose::serving())),
        ("a service that runs", swarm::serving(swarm::older)),
        ("a service that was stopped", swarm::serving(halted)),
    ]
}

#[test]
fn stop_start_and_restart_read_as_their_golden_file_and_a_host_receives_exactly_that() {
    let mut text = String::new();
    for (scene, facts) in scenes() {
        for what in ALL {
            let plan = planned(what, &facts);
            assert_received_as_printed(&format!("{} of {scene}", what.as_str()), &plan);
            text += &format!("== {} of {scene}\n{}", what.as_str(), balehook::ui::text::plan(&plan));
        }
    }
    assert_eq!(golden::differs("by-hand", &text), None);
}

#[test]
fn resume_starts_nothing_that_a_person_has_stopped_and_a_deployment_clears_it() {
    for facts in [stopped(scenes::serving()), stopped(compose::serving())] {
        let resume = resume::plan(&"web".parse().unwrap(), &facts, None, Only::Everything);
        assert_eq!(
            (resume.all().count(), resume.notes.last().map(String::as_str)),
            (0, Some("web was stopped by hand and stays so: balehook start web"))
        );
    }
    let deployed = scenes::planned(ApplicationStart, &stopped(scenes::serving()));
    assert_eq!(printed(&deployed).last().map(String::as_str), Some("save that it is to run: resume starts it"));
    let deployed = scenes::planned(ApplicationStart, &swarm::serving(halted));
    let update = printed(&deployed).into_iter().find(|line| line.starts_with("update service web")).unwrap();
    assert!(update.contains("deploy.replicas 5"), "{update}");
}

#[test]
fn what_cannot_be_stopped_or_started_is_refused_with_what_to_do() {
    let refused = |facts: &Facts| by_hand::plan(ByHand::Stop, &"web".parse().unwrap(), facts).unwrap_err();
    let killed = refused(&scenes::interrupted());
    assert_eq!((killed.kind, killed.next.as_deref()), (Kind::State, Some("balehook resume web, then stop it")));
    assert_eq!(refused(&scenes::empty()).message, "nothing can be done with web: no container of it is on this host");
    let without = refused(&compose::without_compose());
    assert_eq!((without.kind, without.message.as_str()), (Kind::Container, "there is no Compose on this host"));
    let global = swarm::serving(|spec| spec["Mode"] = json!({ "Global": {} }));
    assert_eq!(refused(&global).message, "service web is global: it has a task on every node");
    let mut worker = swarm::serving(swarm::older);
    worker.swarm.as_mut().unwrap().role = Role::Worker;
    let worker = refused(&worker);
    assert_eq!(
        (worker.message.as_str(), worker.next.as_deref()),
        ("this node manages no swarm: it cannot stop service web", Some("run it on a manager"))
    );
}
