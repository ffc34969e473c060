//! `prune` between two deployments.

use balehook::error::Kind;
use balehook::modes::prune;

use crate::drift::{assert_received_as_printed, printed};
use crate::{compose, golden, scenes, swarm};

#[test]
fn prune_reads_as_its_golden_file_and_a_host_receives_exactly_that() {
    let dangling =
        [(format!("sha256:{}", "ab".repeat(32)), 40_000_000), (format!("sha256:{}", "cd".repeat(32)), 2_500_000)];
    let mut text = String::new();
    let scenes = [
        ("a container", scenes::serving()),
        ("a project", compose::serving()),
        ("a service", swarm::serving(swarm::older)),
    ];
    for (scene, facts) in scenes {
        let plan = prune::plan(&"web".parse().unwrap(), &facts, &dangling).unwrap();
        assert_received_as_printed(scene, &plan);
        text += &format!("== {scene}\n{}", balehook::ui::text::plan(&plan));
    }
    assert_eq!(golden::differs("prune", &text), None);
}

#[test]
fn without_a_saved_release_the_image_of_what_runs_stays() {
    let mut facts = scenes::serving();
    facts.releases.clear();
    facts.containers[0].digest = Some(scenes::digest("1.4.1").to_string());
    let plan = prune::plan(&"web".parse().unwrap(), &facts, &[]).unwrap();
    let own = scenes::pin("1.4.1").retention_tag(&"web".parse().unwrap());
    let printed = printed(&plan);
    assert!(printed.len() > 1 && !printed.iter().any(|line| line.contains(&own)), "{printed:?}");
}

#[test]
fn a_killed_deployment_is_resumed_before_anything_is_pruned() {
    let refused = prune::plan(&"web".parse().unwrap(), &scenes::interrupted(), &[]).unwrap_err();
    assert_eq!((refused.kind, refused.next.as_deref()), (Kind::State, Some("balehook resume web, then prune")));
}
