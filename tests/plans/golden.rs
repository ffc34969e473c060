//! What a person reads. `make golden` writes the files anew.

use balehook::error::Kind;
use balehook::modes::facts::Facts;
use balehook::modes::plan;
use balehook::modes::release::Part;
use balehook::ui::layout::Layout;
use balehook::ui::{markdown, text};
use balehook::values::types::LifecycleEvent;
use serde_json::json;

use crate::scenes;

#[test]
fn every_plan_reads_as_its_golden_file() {
    let wrong: Vec<String> =
        scenes::plans().into_iter().filter_map(|(name, plan)| differs(name, &text::plan(&plan))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_comment_on_a_pull_request_reads_as_its_golden_file() {
    let modes = [("start-swap", "container"), ("start-blind", "container"), ("compose-start", "compose")];
    let modes = modes.into_iter().chain([("swarm-update", "swarm"), ("swarm-unchanged", "swarm")]);
    let plans = scenes::plans();
    let wrong: Vec<String> = modes
        .filter_map(|(name, mode)| {
            let (_, plan) = plans.iter().find(|(known, _)| *known == name).unwrap();
            differs_from(&format!("plan-{name}.md"), &markdown::plan(plan, mode))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_terminal_of_80_and_of_200_columns_shows_them_folded() {
    let plans = scenes::plans();
    let scenes = ["start-swap", "start-by-hand", "compose-start", "swarm-update"];
    let wrong = scenes.into_iter().flat_map(|name| {
        let (_, plan) = plans.iter().find(|(known, _)| *known == name).unwrap();
        [80, 200].into_iter().filter_map(move |width| folded_differs(name, &text::plan(plan), width))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Plans that are folded too, because a command prints them: at 80 and at 200 columns.
const FOLDED: [&str; 5] = ["prune", "rollback", "resume-container-first", "resume-compose", "resume-swarm"];

/// What was printed, where that is not what the plan's golden file holds.
pub fn differs(name: &str, printed: &str) -> Option<String> {
    let widths = if FOLDED.contains(&name) { &[80, 200][..] } else { &[] };
    let folded = widths.iter().filter_map(|width| folded_differs(name, printed, *width));
    let all: Vec<String> = folded.chain(differs_from(&format!("plan-{name}.txt"), printed)).collect();
    (!all.is_empty()).then(|| all.join("\n"))
}

fn folded_differs(name: &str, printed: &str, width: usize) -> Option<String> {
    let printed = Layout { width: Some(width), has_color: false }.lay_out(printed);
    let longest = printed.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(longest <= width, "{name}: {longest} columns");
    differs_from(&format!("plan-{name}.{width}.txt"), &printed)
}

#[test]
fn every_plan_is_as_its_schema_says_as_json() {
    let plans = scenes::plans();
    let documents: Vec<_> = plans.iter().map(|(_, plan)| ("plan", balehook::ui::json::plan(plan))).collect();
    assert!(documents.len() > 20, "{}", documents.len());
    assert_eq!(crate::schemas::refused(&documents), Vec::<String>::new());
}

fn differs_from(name: &str, printed: &str) -> Option<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let path = folder.join(name);
    if std::env::var_os("BALEHOOK_GOLDEN").is_some() {
        std::fs::write(&path, printed).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    (printed != wanted).then(|| format!("{name}:\n{printed}"))
}

#[test]
fn no_plan_prints_or_holds_a_secret() {
    for (name, plan) in scenes::plans() {
        let json = balehook::ui::json::plan(&plan).to_string();
        let forms = [text::plan(&plan), markdown::plan(&plan, "container"), format!("{plan:?}"), json];
        for form in forms {
            assert!(!form.contains("hunter2"), "{name}: {form}");
        }
    }
}

#[test]
fn where_an_older_balehook_saved_the_release_the_plan_says_that_it_cannot_compare_and_marks_nothing() {
    let mut facts = scenes::serving();
    let options = vec![vec!["--publish".into(), "80:8080".into()], vec!["--privileged".into()]];
    facts.releases[0].part = Part { options, ..Part::default() };
    let printed = text::plan(&scenes::planned(LifecycleEvent::ApplicationStart, &facts));
    let note = "  note: an older balehook saved the last release: which options change is not known";
    assert!(printed.lines().any(|line| line == note) && !printed.contains("compared with"), "{printed}");
}

#[test]
fn a_program_is_given_every_option_and_what_has_changed() {
    let plan = scenes::planned(LifecycleEvent::ApplicationStart, &scenes::serving());
    let printed = balehook::ui::json::plan(&plan);
    let create = printed["steps"].as_array().unwrap().iter().find(|step| !step["options"].is_null()).unwrap();
    let all = create["options"].as_array().unwrap();
    assert!(all.contains(&json!({ "name": "ports", "value": "80:8080" })), "{create}");
    assert_eq!(printed["compared_with"], "release d-3");
    let changed = printed["changes"].as_array().unwrap();
    let change = |op: &str,
                  option: &str,
                  key: Option<&str>,
                  was: Option<&str>,
                  becomes: Option<&str>,
                  sensitive: bool| {
        json!({ "op": op, "service": null, "option": option, "key": key, "was": was, "becomes": becomes, "sensitive": sensitive })
    };
    for wanted in [
        change("change", "environment", Some("LOG_LEVEL"), Some("debug"), Some("info"), false),
        change("change", "environment", Some("DB_PASSWORD"), None, None, true),
        change("remove", "hostname", None, Some("web-1"), None, false),
        change("add", "ports", None, None, Some("127.0.0.1:9000:9000/udp"), false),
    ] {
        assert!(changed.contains(&wanted), "{wanted}: {changed:#?}");
    }
    assert_eq!(changed[0]["option"], "image");
}

#[test]
fn of_a_container_that_was_started_by_hand_only_what_was_chosen_is_compared() {
    let plan = scenes::planned(LifecycleEvent::ApplicationStart, &scenes::by_hand());
    let printed = text::plan(&plan);
    let changes = printed.lines().skip(1).take_while(|line| line.starts_with("  changes") || is_change(line));
    let changes: Vec<String> = changes.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(changes[0], "changes, compared with container web (a1a1a1a1a1a1), which is not managed by balehook:");
    for change in [
        "- environment FEATURE_X (sensitive, removed)",
        "~ environment LOG_LEVEL (sensitive, changed)",
        "- labels team shop",
        "- mem_limit 256M",
        "+ restart unless-stopped",
        "~ volumes /srv/old:/data → /srv/data:/data:ro",
        "+ command serve --greeting 'hello world'",
        "+ logging.driver awslogs",
    ] {
        assert!(changes.iter().any(|found| found == change), "{change}: {changes:#?}");
    }
    let given =
        ["DB_PASSWORD", "PATH", "org.image", "shm_size", "runtime", "ipc", "hostname", "masked", "bridge", "swap"];
    assert!(!given.iter().any(|given| changes[1..].iter().any(|change| change.contains(given))), "{changes:#?}");
}

fn is_change(line: &str) -> bool {
    ["  + ", "  ~ ", "  - "].iter().any(|begin| line.starts_with(begin))
}

#[test]
fn what_is_known_to_fail_is_refused_by_the_plan() {
    let refused = |change: &dyn Fn(&mut balehook::modes::facts::Facts)| {
        let mut facts = scenes::serving();
        change(&mut facts);
        plan(LifecycleEvent::ApplicationStart, &scenes::deployment_of(&facts), &scenes::origin(), &facts).unwrap_err()
    };
    let arm = refused(&|facts| facts.images[0].architecture = Some("arm64".into()));
    assert_eq!((arm.kind, arm.message.contains("is built for arm64")), (Kind::Image, true));
    let lost = refused(&|facts| facts.containers[0].auto_remove = true);
    assert_eq!((lost.kind, lost.message.contains("was started with `--rm`")), (Kind::Container, true));
    let network = refused(&|facts| facts.container.networks_missing = vec!["front".into()]);
    let full = refused(&|facts| {
        *facts = balehook::modes::facts::Facts { retention_tags: vec![], imported: vec![], ..scenes::full() }
    });
    assert_eq!(full.message, "loading needs 10.2 MB in /var/lib/docker, 1.0 MB are free");
    assert_eq!(
        (network.kind, network.message.as_str()),
        (Kind::Container, "appspec.yml:16:16: network front does not exist")
    );
}

#[test]
fn where_the_kernel_cannot_hand_the_ports_over_the_plan_says_why_and_never_falls_back_to_the_swap() {
    let refused = |change: &dyn Fn(&mut balehook::ports::facts::PortsFacts)| {
        let mut facts = scenes::handing();
        change(facts.container.ports.as_mut().unwrap());
        let deployment = scenes::read(&scenes::start_first(scenes::text_of(&facts)));
        plan(LifecycleEvent::ApplicationStart, &deployment, &scenes::origin(), &facts).unwrap_err()
    };
    let rootless =
        refused(&|seen| seen.obstacle = Some(("the engine is rootless".into(), "use a rootful engine".into())));
    assert_eq!(rootless.message, "`order: start-first` is not possible here: the engine is rootless");
    assert_eq!(rootless.next.as_deref(), Some("use a rootful engine, or use `order: stop-first`"));
    let route = refused(&|seen| seen.before_ours = vec!["back".into()]);
    assert!(route.message.contains("the default route to network back"), "{route}");
    let full = refused(&|seen| seen.taken = (0..=255).map(|last| [198, 18, 200, last].into()).collect());
    assert_eq!((full.kind, full.message.as_str()), (Kind::Container, "network balehook has no free address"));
}

#[test]
fn an_event_that_has_nothing_to_do_with_containers_has_no_steps() {
    let plan = scenes::planned(LifecycleEvent::AfterBlockTraffic, &scenes::serving());
    assert!(plan.actions.is_empty() && !plan.has_changes());
    let left =
        Facts { task_containers: vec!["web.balehook-task-warm".into()], ..crate::swarm::serving(crate::swarm::older) };
    let swarm = scenes::read(crate::swarm::APPSPEC);
    let plan = balehook::modes::plan(LifecycleEvent::BeforeAllowTraffic, &swarm, &scenes::origin(), &left).unwrap();
    assert_eq!(plan.all().count(), 0, "what an earlier event left is not its concern");
}
