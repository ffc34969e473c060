//! What imports gave an engine, and what a kill left of them, goes in every mode.

use balehook::images::operation::ImageOperation;
use balehook::images::record::ImportedReferences;
use balehook::modes::facts::Facts;
use balehook::modes::operation::{Operation, Plan};
use balehook::values::types::LifecycleEvent;

use crate::{compose, scenes, swarm};

/// Of each mode a host on which a release serves.
fn modes() -> [(&'static str, Facts); 3] {
    [("container", scenes::serving()), ("compose", compose::serving()), ("swarm", swarm::serving(swarm::older))]
}

fn imported(version: &str) -> ImportedReferences {
    let pin = scenes::pin(version);
    ImportedReferences {
        tag: pin.retention_tag(&"web".parse().unwrap()),
        references: [format!("web:{version}"), pin.argument()].into(),
    }
}

fn untagged(plan: &Plan) -> Vec<&str> {
    let of_images = plan.all().filter_map(|action| match &action.operation {
        Operation::Image(ImageOperation::Untag { reference }) => Some(reference.as_str()),
        _ => None,
    });
    of_images.collect()
}

#[test]
fn an_image_of_a_deployment_that_was_killed_before_it_had_its_tag_goes_with_the_next_one() {
    for (mode, facts) in modes() {
        let left = imported("1.4.9-killed");
        let before = scenes::planned(LifecycleEvent::BeforeInstall, &facts);
        let facts = Facts { imported: [facts.imported.clone(), vec![left.clone()]].concat(), ..facts };
        let plan = scenes::planned(LifecycleEvent::BeforeInstall, &facts);
        let more: Vec<&str> = untagged(&plan).into_iter().filter(|name| !untagged(&before).contains(name)).collect();
        let all: Vec<&str> = left.references.iter().chain([&left.tag]).map(String::as_str).collect();
        assert_eq!(more, all, "{mode}");
    }
}

#[test]
fn of_the_image_that_is_wanted_again_nothing_goes() {
    for (mode, facts) in modes() {
        let facts = Facts { imported: vec![imported("1.4.2")], ..facts };
        let plan = scenes::planned(LifecycleEvent::BeforeInstall, &facts);
        let its_own = [vec![imported("1.4.2").tag], imported("1.4.2").references.into_iter().collect()].concat();
        assert!(
            untagged(&plan).iter().all(|name| !its_own.contains(&(*name).to_owned())),
            "{mode}: {:?}",
            plan.actions
        );
    }
}

#[test]
fn an_image_of_which_a_swarm_still_has_a_tasks_container_stays() {
    let retention_tags = vec!["balehook/web:0123456789ab".into()];
    let facts = Facts { retention_tags, ..swarm::serving(swarm::older) };
    let plan = scenes::planned(LifecycleEvent::BeforeInstall, &facts);
    let gone = untagged(&plan).into_iter().map(str::to_owned);
    let gone: Vec<String> = gone.filter(|reference| reference.starts_with("balehook/")).collect();
    assert!(!gone.is_empty());
    let in_use = Facts { of_swarm_tasks: gone.clone(), ..facts };
    let plan = scenes::planned(LifecycleEvent::BeforeInstall, &in_use);
    assert!(untagged(&plan).iter().all(|reference| !gone.contains(&(*reference).to_owned())), "{:?}", plan.actions);
}

#[test]
fn the_image_of_a_services_spec_in_force_stays_until_another_release_is_saved_also_where_no_release_names_it() {
    let tag = scenes::pin("1.5.0").retention_tag(&"web".parse().unwrap());
    let begun = |spec: &mut serde_json::Value| {
        swarm::older(spec);
        spec["Labels"]["balehook.digest"] = scenes::digest("1.5.0").to_string().into();
    };
    let facts = Facts { retention_tags: vec![tag.clone()], ..swarm::serving(begun) };
    let goes = |event| untagged(&scenes::planned(event, &facts)).contains(&tag.as_str());
    assert!(!goes(LifecycleEvent::BeforeInstall), "its tasks could not start again");
    assert!(goes(LifecycleEvent::ApplicationStart), "it is replaced then");
}

#[test]
fn a_container_that_an_image_was_tried_with_goes_before_anything_else_is_done() {
    use LifecycleEvent::{AfterInstall, ApplicationStart, BeforeInstall};
    for (mode, facts) in modes() {
        let facts = Facts { task_containers: vec!["web.balehook-try".into()], ..facts };
        for event in [BeforeInstall, AfterInstall, ApplicationStart] {
            let plan = scenes::planned(event, &facts);
            let first = plan.all().next().map(|action| action.operation.to_string());
            let wanted = "docker rm --force --volumes web.balehook-try";
            assert_eq!(first.as_deref(), Some(wanted), "{mode}, {event}");
        }
    }
}
