//! `rollback` in all modes: what it prints, and that a host receives exactly that.

use balehook::modes::compose::operation::ComposeOperation;
use balehook::modes::container::operation::ContainerOperation;
use balehook::modes::facts::Facts;
use balehook::modes::operation::Operation;
use balehook::modes::release::Release;
use balehook::modes::rollback;
use balehook::modes::swarm::operation::SwarmOperation;
use balehook::values::types::LifecycleEvent;

use crate::drift::assert_received_as_printed;
use crate::{compose, golden, scenes, swarm};

/// What the scene's own deployment saves, as a release that is kept behind the one that serves.
fn with_earlier(mut facts: Facts) -> Facts {
    let plan = scenes::planned(LifecycleEvent::ApplicationStart, &facts);
    let saved = plan.all().find_map(|action| match &action.operation {
        Operation::Container(ContainerOperation::SaveRelease { release, .. })
        | Operation::Compose(ComposeOperation::SaveRelease(release))
        | Operation::Swarm(SwarmOperation::SaveRelease { release, .. }) => Some(release.clone()),
        _ => None,
    });
    let earlier = Release { deployment: "d-1".into(), ..*saved.unwrap() };
    facts.releases.insert(1, earlier);
    facts
}

fn scenes() -> Vec<(&'static str, Facts)> {
    let container = with_earlier(scenes::serving());
    let mut stopped = container.clone();
    stopped.stopped = true;
    vec![
        ("a container", container),
        ("a container that was stopped", stopped),
        ("a project", with_earlier(compose::serving())),
        ("a service", with_earlier(swarm::serving(swarm::older))),
    ]
}

#[test]
fn a_rollback_reads_as_its_golden_file_and_a_host_receives_exactly_that() {
    let name = "web".parse().unwrap();
    let mut text = String::new();
    for (scene, facts) in scenes() {
        let release = rollback::target(&name, &facts.releases, Some("d-1")).unwrap();
        let plan = rollback::plan(&name, &facts, release, &[]).unwrap();
        assert_received_as_printed(scene, &plan);
        text += &format!("== {scene}\n{}", balehook::ui::text::plan(&plan));
    }
    assert_eq!(golden::differs("rollback", &text), None);
}

#[test]
fn the_release_before_is_meant_where_none_is_named_and_one_that_is_not_kept_is_refused_with_those_that_are() {
    let name = "web".parse().unwrap();
    let (_, facts) = scenes().remove(0);
    assert_eq!(rollback::target(&name, &facts.releases, None).unwrap().deployment, "d-1");
    let refused = rollback::target(&name, &facts.releases, Some("9.9")).unwrap_err();
    assert!(refused.message.starts_with("no release 9.9 of web is kept; kept are: "), "{refused}");
    let missing = [&facts.releases[1].image];
    let gone = rollback::plan(&name, &facts, &facts.releases[1], &missing);
    match missing[0] {
        balehook::values::pin::ImagePin::Registry { .. } => assert!(gone.is_ok(), "it is pulled again"),
        _ => assert_eq!(gone.unwrap_err().kind, balehook::error::Kind::Image),
    }
}
