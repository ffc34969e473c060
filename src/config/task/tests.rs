#![allow(clippy::unwrap_used)]

use crate::config::pending::Pending;
use crate::config::secrets::Definitions;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::problem::Problems;
use crate::config::yaml::Node;

/// Reads a section in a bundle that holds `scripts/run.sh`; what was read, and every problem.
fn read_section(text: &str, hook: u64) -> (Tasks, Vec<String>) {
    let bundle = tempfile::tempdir().unwrap();
    std::fs::create_dir(bundle.path().join("scripts")).unwrap();
    std::fs::write(bundle.path().join("scripts/run.sh"), "").unwrap();
    read_in(bundle.path(), text, hook)
}

fn read_in(root: &Path, text: &str, hook: u64) -> (Tasks, Vec<String>) {
    let section = Node::parse(text).unwrap();
    let lookup = |name: &str| (name == "HOSTED").then(|| "yes".to_owned());
    let around =
        ParseContext { bundle_root: root, lookup: &lookup, pending: &Pending::default(), secrets: &Definitions::new() };
    let timeouts = BTreeMap::from([(LifecycleEvent::ApplicationStart, Duration::from_secs(hook))]);
    let problems = Problems::new();
    let tasks = read(&field(&section, &problems), &around, &timeouts);
    let problems = problems.sorted().into_iter().map(|problem| format!("{} {}", problem.path, problem.message));
    (tasks, problems.collect())
}

fn field<'a>(node: &'a Node, problems: &'a Problems) -> Field<'a> {
    Field { node, path: "x".to_owned(), problems }
}

fn problems(text: &str) -> Vec<String> {
    read_section(text, 600).1
}

#[test]
fn a_task_that_says_not_what_to_run_or_says_it_twice_is_refused() {
    assert_eq!(problems("before: [{name: a}]"), ["x.before[0] nothing to run"]);
    assert_eq!(
        problems("before: [{name: a, run: ls, command: ls}]"),
        ["x.before[0] `run` is a command on the host, `command` belongs to a container"]
    );
    assert_eq!(
        problems("after: [{name: a, run: ls, user: app}]"),
        ["x.after[0] `run` is a command on the host, `user` belongs to a container"]
    );
}

#[test]
fn a_task_without_a_name_with_a_bad_one_or_with_that_of_another_is_refused() {
    assert_eq!(problems("before: [{command: ls}]"), ["x.before[0] `name` is missing"]);
    assert!(problems("before: [{name: my task, command: ls}]")[0].starts_with("x.before[0].name `my task` must start"));
    assert_eq!(
        problems("before: [{name: a, command: ls}]\nafter: [{name: b, run: ls}, {name: a, run: ls}]"),
        ["x.after[1].name a second task is named `a`"]
    );
}

#[test]
fn unknown_keys_and_values_of_another_kind_are_refused_all_at_once() {
    let found = problems("before: [{name: a, comand: ls, timeout: 60, required: no}]\nafter: {name: b}");
    assert_eq!(
        found,
        [
            "x.before[0] nothing to run",
            "x.before[0].comand unknown key `comand`",
            "x.before[0].timeout `60` needs a unit: `60s`, `500ms`, `1m30s`",
            "x.before[0].required expected `true` or `false`, not `no`",
            "x.after expected a list, not a mapping",
        ]
    );
    assert_eq!(problems("before: [migrate]"), ["x.before[0] expected a mapping, not `migrate`"]);
    assert_eq!(
        problems("before: [{name: a, command: ls, timeout: 2h}]"),
        ["x.before[0].timeout `2h` must be from 1s to 1h"]
    );
}

#[test]
fn a_before_task_cannot_be_made_optional() {
    assert_eq!(
        problems("before: [{name: a, command: ls, required: false}]"),
        ["x.before[0].required a `before` task that fails always ends the deployment"]
    );
    assert!(problems("before: [{name: a, command: ls, required: true}]").is_empty());
}

#[test]
fn a_script_that_is_not_in_the_bundle_or_leaves_it_is_refused() {
    assert_eq!(
        problems("before: [{name: a, run: scripts/none.sh}]"),
        ["x.before[0].run `scripts/none.sh` is not in the bundle"]
    );
    assert!(problems("before: [{name: a, run: ../x/run.sh}]")[0].contains("must stay inside the bundle"));
    assert_eq!(
        problems("before: [{name: a, run: \"s3://bucket/run.sh\"}]"),
        ["x.before[0].run `s3://bucket/run.sh` is no file"]
    );
    for empty in ["''", "[]", "' '"] {
        assert_eq!(problems(&format!("before: [{{name: a, run: {empty}}}]")), ["x.before[0].run names no program"]);
    }
}

#[test]
fn what_only_a_shell_understands_is_refused_in_a_text_and_taken_in_a_list() {
    for word in SHELL {
        let found = problems(&format!("before: [{{name: a, run: \"echo a {word} b\"}}]"));
        assert_eq!(found, [format!("x.before[0].run no shell runs this: `{word}` would be an argument of echo")]);
    }
    assert!(problems("before: [{name: a, run: [sh, -c, 'a && b | c']}]").is_empty());
    assert!(problems("before: [{name: a, run: [expr, 1, '|', 2]}]").is_empty());
}

#[test]
fn tasks_that_may_take_longer_than_the_hook_are_a_warning() {
    let (_, found) = read_section("before: [{name: a, command: ls}]\nafter: [{name: b, run: ls}]", 120);
    assert_eq!(found, ["x.before the ApplicationStart hook has 120s, its tasks alone may take 120s"]);
    assert!(read_section("after: [{name: b, run: ls}]", 61).1.is_empty());
}

#[test]
fn commands_are_read_as_a_text_and_as_a_list() {
    let (tasks, found) = read_section(
        "before:\n\
         - {name: migrate, command: \"bin/migrate 'a b'\", user: app, environment: [A=1, HOSTED], timeout: 5m}\n\
         - {name: dump, entrypoint: [/bin/dump], required: true}\n\
         after:\n\
         - {name: smoke, run: \"scripts/run.sh --fast 'a b'\", required: true}\n\
         - {name: tell, run: [./scripts/run.sh, '$x'], environment: {DB_PASSWORD: hunter2}}\n\
         - {name: log, run: [logger, done]}\n\
         - {name: far, run: /usr/bin/env}",
        700,
    );
    assert_eq!(found, Vec::<String>::new());
    let [migrate, dump] = &tasks.before[..] else { panic!("{tasks:?}") };
    let Work::Container(inside) = &migrate.work else { panic!("{migrate:?}") };
    assert_eq!(inside.command.as_ref().unwrap(), &["bin/migrate", "a b"]);
    assert_eq!(
        (inside.user.as_deref(), migrate.timeout, migrate.required),
        (Some("app"), Duration::from_secs(300), true)
    );
    let vars: Vec<_> =
        migrate.environment.iter().map(|var| (var.name.as_str(), var.value.as_ref().unwrap().reveal())).collect();
    assert_eq!(vars, [("A", "1"), ("HOSTED", "yes")]);
    assert!(matches!(&dump.work, Work::Container(inside) if inside.command.is_none() && inside.entrypoint.is_some()));
    let commands: Vec<(Vec<String>, bool)> = tasks
        .after
        .iter()
        .map(|task| match &task.work {
            Work::Command(command) => {
                let root = command.folder.to_string_lossy().into_owned() + "/";
                (command.words.iter().map(|word| word.replace(&root, "BUNDLE/")).collect(), task.required)
            }
            Work::Container(_) => panic!("{task:?}"),
        })
        .collect();
    assert_eq!(commands[0], (vec!["BUNDLE/scripts/run.sh".into(), "--fast".into(), "a b".into()], true));
    assert_eq!(commands[1], (vec!["BUNDLE/scripts/run.sh".into(), "$x".into()], false));
    assert_eq!(commands[2].0, ["logger", "done"]);
    assert_eq!(commands[3].0, ["/usr/bin/env"]);
    assert!(tasks.after[1].environment[0].is_hidden() && !format!("{tasks:?}").contains("hunter2"));
}

#[test]
fn an_image_of_its_own_is_a_reference_or_an_archive_and_checked_as_the_services() {
    assert_eq!(
        problems("before: [{name: a, image: Registry.test/Web}]"),
        ["x.before[0].image `Registry.test/Web` has capitals in `Web`: write `web`"]
    );
    assert_eq!(problems("before: [{name: a, image: {archve: x.tar}}]").len(), 2);
    let (tasks, found) = read_section(
        "before: [{name: a, image: \"db/tool:1\"}, {name: b, image: {archive: tool.tar}, command: [up]}]",
        600,
    );
    assert_eq!(found, Vec::<String>::new());
    let needs: Vec<_> = tasks.all().map(|task| task.need().unwrap().source).collect();
    assert!(matches!(&needs[0], ImageSource::Registry(reference, ..) if reference.to_string().contains("db/tool:1")));
    assert!(
        matches!(&needs[1], ImageSource::Archive { location: ArchiveLocation::File(path), .. } if path.ends_with("tool.tar"))
    );
}

#[test]
fn a_task_of_a_project_names_a_service_and_no_other_task_does() {
    assert_eq!(
        problems("before: [{name: a, command: ls, service: web}]"),
        ["x.before[0] `service` names one of a Compose project"]
    );
    let of_a_project = |task: &str| problems(&format!("compose: {{files: [a]}}\nbefore: [{{name: a, {task}}}]"));
    assert_eq!(of_a_project("command: ls"), ["x.before[0] `service` is missing"]);
    assert_eq!(
        of_a_project("service: web, image: a/b:1"),
        ["x.before[0] a task of a Compose project runs one of its services"]
    );
    for task in ["service: web", "service: web, command: ls", "run: ls"] {
        assert_eq!(of_a_project(task), Vec::<String>::new());
    }
}

#[test]
fn a_task_around_a_swarms_service_names_no_service() {
    assert_eq!(problems("swarm: {image: a}\nafter: [{name: a, run: ls}]\nbefore: []"), [""; 0]);
    assert_eq!(
        problems("swarm: {image: a}\nafter: [{name: a, service: web}]"),
        ["x.after[0] `service` names one of a Compose project"]
    );
}

#[test]
fn without_tasks_there_are_none() {
    for text in ["name: web", "before: []\nafter:", "before:"] {
        assert_eq!(read_section(text, 600), (Tasks::default(), Vec::new()));
    }
}

proptest! {
    #[test]
    fn words_that_are_quoted_come_back_as_they_were(words in prop::collection::vec("[a-z \"'\\\\$|&;éß*]{0,12}", 1..5)) {
        let root = Path::new("/nowhere");
        let text = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect::<Vec<_>>().join(" ");
        let text = format!("x{text}");
        let yaml = format!("before: [{{name: a, run: {}}}]", serde_json::to_string(&text).unwrap());
        let (tasks, found) = read_in(root, &yaml, 600);
        match tasks.before.first().map(|task| &task.work) {
            Some(Work::Command(command)) => {
                let mut wanted = words.clone();
                wanted[0].insert(0, 'x');
                prop_assert_eq!(&command.words, &wanted);
            }
            _ => prop_assert!(words.iter().skip(1).any(|word| SHELL.contains(&word.as_str())), "{:?}", found),
        }
    }

    #[test]
    fn no_text_makes_it_panic_and_what_is_refused_has_a_problem(value in "[-a-z/.'\" |&\\\\\\[\\]{}:,]{0,24}", key in "(run|command|name|timeout|required|user)") {
        let yaml = format!("before: [{{name: a, command: ls, {key}: {value}}}]");
        let Ok(section) = Node::parse(&yaml) else { return Ok(()) };
        let around = ParseContext { bundle_root: Path::new("/nowhere"), lookup: &|_| None, pending: &Pending::default(), secrets: &Definitions::new() };
        let problems = Problems::new();
        let tasks = read(&field(&section, &problems), &around, &BTreeMap::new());
        let items = section.get("before").and_then(|(_, list)| list.as_sequence()).map_or(0, <[Node]>::len);
        prop_assert!(tasks.before.len() == items || problems.has_errors());
    }
}
