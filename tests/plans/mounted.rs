//! Releases that differ from what runs in a mounted file alone.

use balehook::modes::facts::Facts;
use balehook::modes::operation::Plan;
use balehook::ui::text;
use balehook::values::mounted::MountedFile;
use balehook::values::types::LifecycleEvent;

use crate::scenes::{self, digest};

fn file(inode: u64, content: &str) -> MountedFile {
    MountedFile { path: "/etc/app.conf".into(), inode, digest: digest(content) }
}

fn started(facts: &Facts) -> Plan {
    scenes::planned(LifecycleEvent::ApplicationStart, facts)
}

/// The wanted release runs, created with `had`.
fn running(had: MountedFile, now: MountedFile) -> Facts {
    let label = |plan: Plan| {
        let printed = balehook::ui::json::plan(&plan);
        let options = printed["steps"].as_array().unwrap().iter().flat_map(|step| step["options"].as_array()).flatten();
        let spec = options.into_iter().find(|option| option["name"] == "labels.balehook.spec").unwrap();
        spec["value"].as_str().unwrap().to_owned()
    };
    let mut facts = scenes::serving();
    facts.containers[0].spec = Some(label(started(&facts)));
    facts.containers[0].files = vec![had];
    facts.container.files = vec![now];
    facts
}

#[test]
fn a_container_whose_mounted_file_was_replaced_is_replaced_and_the_plan_names_the_file() {
    let printed = text::plan(&started(&running(file(1, "one"), file(2, "two"))));
    assert!(printed.contains("note: /etc/app.conf is another file than web has\n"), "{printed}");
    let content = format!("content of /etc/app.conf       {}\n", digest("two").short());
    assert!(printed.contains("  + content of /etc/app.conf\n"), "{printed}");
    assert!(printed.contains(&content) && printed.contains("docker stop"), "{printed}");
}

#[test]
fn a_container_keeps_running_where_its_file_was_written_into_or_written_anew_with_the_same_content() {
    for now in [file(1, "two"), file(2, "one")] {
        let printed = text::plan(&started(&running(file(1, "one"), now)));
        assert!(!printed.contains("create container") && !printed.contains("/etc/app.conf"), "{printed}");
    }
}

#[test]
fn a_service_of_a_project_is_recreated_for_its_mounted_file_and_the_others_keep_theirs() {
    let mut facts = crate::compose::same();
    facts.containers[0].spec = facts.compose.as_ref().unwrap().containers[1].spec.clone();
    facts.containers[0].service = Some("web".into());
    facts.containers[0].files = vec![file(1, "one")];
    let change = |facts: &mut Facts, now| {
        facts.compose.as_mut().unwrap().services[1].files = vec![now];
        text::plan(&started(facts))
    };
    let printed = change(&mut facts, file(2, "two"));
    assert!(printed.contains("web: recreated (content of /etc/app.conf)\n"), "{printed}");
    assert!(printed.contains("db: unchanged\n") && printed.contains("\\\"inode\\\":2"), "{printed}");

    let printed = change(&mut facts, file(2, "one"));
    assert!(!printed.contains("recreated"), "{printed}");
    assert!(printed.contains("\\\"inode\\\":1"), "its label stays, or Compose would recreate it:\n{printed}");
}
