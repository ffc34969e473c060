//! `pin` and `unpin`, and what is planned while a release is pinned.

use balehook::error::Kind;
use balehook::modes::{pinned, prune};
use balehook::values::types::{LifecycleEvent, Name};

use crate::drift::{assert_received_as_printed, printed};
use crate::{compose, golden, scenes};

fn web() -> Name {
    "web".parse().unwrap()
}

#[test]
fn a_pin_reads_as_its_golden_file_and_a_host_receives_exactly_that() {
    let facts = scenes::serving();
    let mut untagged = scenes::serving();
    untagged.retention_tags.clear();
    let mut already = scenes::serving();
    already.releases[1].pinned = true;
    let gone = scenes::pin("1.4.0");
    let plans = [
        ("an earlier release", pinned::pin(&web(), &facts, "1.4.0", &[])),
        ("one whose tag was taken off its image", pinned::pin(&web(), &untagged, "d-2", &[])),
        ("one whose image is in the registry alone", pinned::pin(&web(), &facts, "d-2", &[&gone])),
        ("one that is pinned already", pinned::pin(&web(), &already, "d-2", &[])),
        ("it is let go", pinned::unpin(&web(), &already, scenes::digest("1.4.0").as_str())),
        ("one that is not pinned is let go", pinned::unpin(&web(), &facts, "d-2")),
    ];
    let mut text = String::new();
    for (scene, plan) in plans {
        let plan = plan.unwrap();
        assert_received_as_printed(scene, &plan);
        text += &format!("== {scene}\n{}", balehook::ui::text::plan(&plan));
    }
    assert_eq!(golden::differs("pin", &text), None);
}

#[test]
fn a_release_that_is_not_kept_is_refused_with_those_that_are_and_after_a_kill_nothing_is_pinned() {
    let facts = scenes::serving();
    for refused in [pinned::pin(&web(), &facts, "1.3.9", &[]), pinned::unpin(&web(), &facts, "1.3.9")] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind, Kind::State);
        let kept = "no release 1.3.9 of web is kept; kept are: ";
        assert!(refused.message.starts_with(kept) && refused.message.contains("of d-2"), "{refused}");
    }
    let killed = pinned::pin(&web(), &scenes::interrupted(), "d-2", &[]).unwrap_err();
    assert_eq!((killed.kind, killed.next.as_deref()), (Kind::State, Some("balehook resume web, then pin it")));
}

#[test]
fn neither_a_full_disk_nor_keep_nor_prune_takes_the_image_of_a_pinned_release() {
    let mut facts = scenes::full();
    let own = scenes::pin("1.4.0").retention_tag(&web());
    let takes = |lines: &[String]| lines.iter().any(|line| line.contains(&own));
    let before = LifecycleEvent::BeforeInstall;
    assert!(takes(&printed(&scenes::planned(before, &facts))), "a full disk takes it where it is not pinned");
    facts.releases[1].pinned = true;
    assert!(!takes(&printed(&scenes::planned(before, &facts))));
    assert!(!takes(&printed(&prune::plan(&web(), &facts, &[]).unwrap())));
}

#[test]
fn the_snapshot_of_a_pinned_project_stays() {
    let deleted = |facts: &_| {
        let plan = scenes::planned(LifecycleEvent::ApplicationStart, facts);
        printed(&plan).iter().filter(|line| line.contains("delete snapshot")).count()
    };
    let mut facts = compose::serving();
    let newest = facts.releases[0].clone();
    for number in 0..5 {
        let mut newer = newest.clone();
        newer.deployment = format!("d-{number}0");
        newer.part.compose.as_mut().unwrap().project.id = format!("newer{number}");
        facts.releases.insert(0, newer);
    }
    let before = deleted(&facts);
    facts.releases.last_mut().unwrap().pinned = true;
    assert_eq!((before, deleted(&facts)), (2, 1));
}
