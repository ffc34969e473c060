//! What a person reads. `make golden` writes the files anew.

use balehook::error::Kind;
use balehook::plan::plan;
use balehook::report::text;
use balehook::spec::types::LifecycleEvent;

use crate::scenes;

#[test]
fn every_plan_reads_as_its_golden_file() {
    let wrong: Vec<String> =
        scenes::plans().into_iter().filter_map(|(name, plan)| differs(name, &text::plan(&plan))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What was printed, where that is not what the plan's golden file holds.
pub fn differs(name: &str, printed: &str) -> Option<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let path = folder.join(format!("plan-{name}.txt"));
    if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
        std::fs::write(&path, printed).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    (printed != wanted).then(|| format!("{name}:\n{printed}"))
}

#[test]
fn no_plan_prints_or_holds_a_secret() {
    for (name, plan) in scenes::plans() {
        let forms = [
            text::plan(&plan),
            format!("{plan:?}"),
            balehook::report::json::plan(&plan).to_string(),
            serde_json::to_string(&plan).unwrap(),
        ];
        for form in forms {
            assert!(!form.contains("hunter2"), "{name}: {form}");
        }
    }
}

#[test]
fn what_is_known_to_fail_is_refused_by_the_plan() {
    let refused = |change: &dyn Fn(&mut balehook::facts::Facts)| {
        let mut facts = scenes::serving();
        change(&mut facts);
        plan(LifecycleEvent::ApplicationStart, &scenes::deployment_of(&facts), &scenes::asker(), &facts).unwrap_err()
    };
    let arm = refused(&|facts| facts.images[0].architecture = Some("arm64".into()));
    assert_eq!((arm.kind, arm.message.contains("is built for arm64")), (Kind::Image, true));
    let network = refused(&|facts| facts.networks_missing = vec!["front".into()]);
    let full = refused(&|facts| *facts = balehook::facts::Facts { keeper_tags: Vec::new(), ..scenes::full() });
    assert_eq!(full.message, "loading needs 10.2 MB in /var/lib/docker, 1.0 MB are free");
    assert_eq!((network.kind, network.message.as_str()), (Kind::Container, "network front does not exist"));
}

#[test]
fn an_event_that_has_nothing_to_do_with_containers_has_no_steps() {
    let plan = scenes::planned(LifecycleEvent::AfterBlockTraffic, &scenes::serving());
    assert!(plan.actions.is_empty() && !plan.has_changes());
}
